package rsocket

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
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

// What was appended before Close is written, also if whoever appended it has yet to help.
func TestCloseWritesWhatIsDue(t *testing.T) {
	c, peer := socketPair(t)
	peer.expect(FrameSetup)
	tx, _, err := c.RequestChannel(testContext(t), data("o"), 1, ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	peer.expect(FrameRequestChannel)
	peer.send(appendRequestN(nil, 1, 1000))
	eventually(t, func() bool { return tx.Credit() == 1000 }, "credit")
	ps := make([]Payload, 50)
	for i := range ps {
		ps[i] = Payload{Data: make([]byte, 1000)}
	}
	if n, err := tx.s.trySendMany(ps); n != 50 || err != nil { // SendBatch, before it helps
		t.Fatal(n, err)
	}
	go func() { _ = c.Close() }()
	for range ps {
		peer.expect(FramePayload)
	}
}

// Close, shutdown and reset in the middle of writes: nobody hangs, nothing is held, what was acknowledged before Close arrives.
func TestCloseInMidWrite(t *testing.T) {
	for i := range 45 {
		b := &limit{max: 64 << 20}
		var got atomic.Int64
		ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback
		if err != nil {
			t.Fatal(err)
		}
		s := NewServer(ServerOptions{Budget: b, Handlers: Handlers{
			FireAndForget:   func(context.Context, *Request) { got.Add(1) },
			RequestResponse: func(_ context.Context, r *Request, reply *Reply) { _ = reply.Send(r.Payload) },
		}})
		served := make(chan error, 1)
		go func() { served <- s.Serve(context.Background(), smallBuffers{ln}) }()
		nc, err := net.Dial("tcp", ln.Addr().String()) //nolint:noctx // loopback
		if err != nil {
			t.Fatal(err)
		}
		_ = nc.(*net.TCPConn).SetWriteBuffer(16 << 10)
		c, err := NewClient(nc, ClientOptions{})
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		var sent atomic.Int64
		for g := range 8 {
			wg.Go(func() {
				p := Payload{Data: make([]byte, 700)}
				for n := 0; ; n++ {
					if g%2 == 0 {
						if err := c.FireAndForget(context.Background(), p); err != nil {
							return
						}
						sent.Add(1)
						continue
					}
					if _, err := c.RequestResponse(context.Background(), p); err != nil {
						if !errors.Is(err, ErrConnClosed) && !errors.Is(err, ErrConnDraining) {
							var e *Error
							if !errors.As(err, &e) || e.Code != CodeRejected {
								t.Errorf("%v", err)
							}
						}
						return
					}
				}
			})
		}
		time.Sleep(time.Duration(i*37) * time.Microsecond) //nolint:forbidigo // any moment will do
		switch i % 3 {
		case 0:
			_ = c.Close()
			wg.Wait()
		case 1:
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
			_ = s.Shutdown(ctx)
			cancel()
			wg.Wait()
		case 2:
			_ = nc.(*net.TCPConn).SetLinger(0)
			_ = nc.Close()
			wg.Wait()
		}
		_ = c.Close()
		_ = s.Shutdown(context.Background())
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
		if i%3 == 0 && got.Load() != sent.Load() {
			t.Errorf("round %d: sent %d, got %d", i, sent.Load(), got.Load())
		}
		if n := b.held(); n != 0 {
			t.Errorf("case %d: %d bytes held", i%3, n)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
}

// A single small message never waits for another one.
func TestNoMessageWaitsForAnother(t *testing.T) {
	c := pair(t, Handlers{RequestChannel: func(ctx context.Context, _ *Request, in *Receiver, out *Sender) error {
		in.Grant(maxCredit)
		for p, err := range in.All(ctx) {
			if err != nil {
				return err
			}
			if p.Data[0] == 1 {
				if err := out.Send(ctx, p); err != nil {
					return err
				}
			}
		}
		return nil
	}})
	ctx := testContext(t)
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			tx, rx, err := c.RequestChannel(ctx, data("o"), maxCredit, ChannelOptions{})
			if err != nil {
				t.Error(err)
				return
			}
			r := rand.New(rand.NewPCG(1, uint64(g)))
			for i := range 400 {
				ps := make([]Payload, 1+r.IntN(60))
				for j := range ps {
					ps[j] = Payload{Data: make([]byte, 1+r.IntN(2000))}
				}
				ps[len(ps)-1].Data[0] = 1
				if _, err := tx.SendBatch(ctx, ps); err != nil {
					t.Error(err)
					return
				}
				cx, cancel := context.WithTimeout(ctx, 15*time.Second) // before KEEPALIVE takes it along
				if _, err := rx.Recv(cx); err != nil {
					t.Errorf("round %d: %v", i, err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
}
