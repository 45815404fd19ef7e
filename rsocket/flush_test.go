package rsocket

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
	"time"
)

// socketPair returns a client of a peer that the test plays, over TCP with small buffers.
func socketPair(t *testing.T) (*Conn, *rawPeer) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	nc, err := net.Dial("tcp", ln.Addr().String()) //nolint:noctx // as above
	if err != nil {
		t.Fatal(err)
	}
	if err := nc.(*net.TCPConn).SetWriteBuffer(16 << 10); err != nil {
		t.Fatal(err)
	}
	peer, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(nc, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c, newRawPeer(t, peer)
}

// A socket that takes only a part of what its writer offers gets the rest from the flusher, in order.
func TestHalfTakenWrites(t *testing.T) {
	c, peer := socketPair(t)
	const events, size = 5000, 1000
	sent := make(chan error, 1)
	go func() {
		p := Payload{Data: make([]byte, size)}
		for i := range events {
			binary.BigEndian.PutUint32(p.Data, uint32(i))
			if err := c.FireAndForget(t.Context(), p); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	eventually(t, func() bool { // the sender waits for the peer, which has read nothing
		c.w.mu.Lock()
		defer c.w.mu.Unlock()
		return c.w.writing && len(c.w.waiters) > 0
	}, "the sender waits")
	peer.expect(FrameSetup)
	for i := range events {
		f := peer.expect(FrameRequestFNF)
		if len(f.data) != size || binary.BigEndian.Uint32(f.data) != uint32(i) {
			t.Fatalf("frame %d: %d bytes, begun by %x", i, len(f.data), f.data[:4])
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
}

// Whoever writes by himself and finds the connection reset is told so, and nobody waits for ever.
func TestResetUnderWriters(t *testing.T) {
	c, peer := socketPair(t)
	if err := peer.nc.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	errs := make([]error, 8)
	for i := range errs {
		wg.Go(func() {
			for errs[i] == nil {
				errs[i] = c.FireAndForget(t.Context(), Payload{Data: make([]byte, 1000)})
			}
		})
	}
	peer.expect(FrameSetup)
	_ = peer.nc.Close()
	wg.Wait()
	for i, err := range errs {
		if !errors.Is(err, ErrConnClosed) {
			t.Errorf("sender %d: %v", i, err)
		}
	}
}

// Requests are kept and used again. Every caller gets its own answer, whoever else gives up meanwhile and however the
// answers come.
func TestAnswersFindTheirCallers(t *testing.T) {
	slow := make(chan *Reply, 64)
	c := pair(t, Handlers{RequestResponse: func(_ context.Context, r *Request, reply *Reply) {
		switch binary.BigEndian.Uint32(r.Data) % 7 {
		case 0: // later, or never
			select {
			case slow <- reply:
			default:
				_ = reply.Error(errors.New("no"))
			}
		case 1:
			_ = reply.Complete()
		case 2:
			_ = reply.Error(fmt.Errorf("%d", binary.BigEndian.Uint32(r.Data)))
		default:
			_ = reply.Send(r.Payload)
		}
	}})
	ctx := testContext(t)
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 1))
			for i := range 400 {
				askOnce(ctx, t, c, rng, uint32(g*1000+i))
			}
		})
	}
	wg.Wait()
	close(slow)
	for r := range slow {
		_ = r.Complete()
	}
}

// askOnce asks for number n and checks the answer that TestAnswersFindTheirCallers gives.
func askOnce(ctx context.Context, t *testing.T, c *Conn, rng *rand.Rand, n uint32) {
	t.Helper()
	if n%7 == 0 || rng.IntN(4) == 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(300))*time.Microsecond)
		defer cancel()
	}
	p, err := c.RequestResponse(ctx, Payload{Data: binary.BigEndian.AppendUint32(nil, n)})
	if ctx.Err() != nil && err != nil {
		return
	}
	var e *Error
	switch {
	case n%7 == 1 && err == nil && len(p.Data) == 0:
	case n%7 == 2 && errors.As(err, &e) && e.Message == fmt.Sprint(n):
	case n%7 == 0 && err != nil:
	case n%7 > 2 && err == nil && len(p.Data) == 4 && binary.BigEndian.Uint32(p.Data) == n:
	default:
		t.Errorf("request %d: %x, %v", n, p.Data, err)
	}
}
