package rsocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// cutter relays connections to a server and cuts them on demand.
type cutter struct {
	l    net.Listener
	addr string

	mu    sync.Mutex
	pairs [][2]net.Conn // client's side, server's side
	wg    sync.WaitGroup
}

func newCutter(tb testing.TB, addr string) *cutter {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // returns at once
	if err != nil {
		tb.Fatal(err)
	}
	x := &cutter{l: l, addr: addr}
	x.wg.Go(x.serve)
	tb.Cleanup(func() {
		_ = l.Close()
		x.cut(false)
		x.wg.Wait()
	})
	return x
}

func (x *cutter) serve() {
	for {
		near, err := x.l.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", x.addr) //nolint:noctx // loopback
		if err != nil {
			_ = near.Close()
			continue
		}
		x.mu.Lock()
		x.pairs = append(x.pairs, [2]net.Conn{near, far})
		x.mu.Unlock()
		x.wg.Go(func() { _, _ = io.Copy(far, near) })
		x.wg.Go(func() {
			_, _ = io.Copy(near, far)
			_ = near.Close()
		})
	}
}

// cut ends the connections. With halfOpen only the clients notice.
func (x *cutter) cut(halfOpen bool) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range x.pairs {
		_ = p[0].Close()
		if !halfOpen {
			_ = p[1].Close()
		}
	}
}

// counting handlers stream numbers down and check numbers that come up.
func counting() Handlers {
	return Handlers{
		RequestStream: func(ctx context.Context, r *Request, out *Sender) error {
			n := binary.BigEndian.Uint64(r.Data)
			for i := range n {
				if err := out.Send(ctx, number(i)); err != nil {
					return err
				}
			}
			return nil
		},
		RequestChannel: func(ctx context.Context, _ *Request, in *Receiver, out *Sender) error {
			in.Grant(256)
			var next uint64
			for p, err := range in.All(ctx) {
				if err != nil {
					return err
				}
				if i := binary.BigEndian.Uint64(p.Data); i != next {
					return Errorf(CodeApplicationError, "got %d, want %d", i, next)
				}
				next++
				if next%128 == 0 {
					in.Grant(128)
				}
			}
			return out.Send(ctx, number(next))
		},
		RequestResponse: func(_ context.Context, r *Request, reply *Reply) { _ = reply.Send(r.Payload) },
	}
}

func number(i uint64) Payload {
	return Payload{Data: binary.BigEndian.AppendUint64(make([]byte, 0, 64), i)}
}

// A stream and a channel of 100,000 elements each are cut ten times: nothing is lost, nothing comes twice.
func TestResumeThroughCuts(t *testing.T) {
	for name, halfOpen := range map[string]bool{"both sides notice": false, "the server does not notice": true} {
		t.Run(name, func(t *testing.T) {
			m := new(Metrics)
			_, addr := startServer(t, ServerOptions{Handlers: counting(), Resume: &ResumeOptions{Buffer: 64 << 10}, Metrics: m})
			x := newCutter(t, addr)
			cm := new(Metrics)
			c := dial(t, x.l.Addr().String(), ClientOptions{
				Resume: &ClientResume{Buffer: 64 << 10, MinBackoff: time.Millisecond, MaxBackoff: 10 * time.Millisecond}, Metrics: cm,
			})
			const n = 100_000
			ctx := testContext(t)
			down, err := c.RequestStream(ctx, number(n), 256)
			if err != nil {
				t.Fatal(err)
			}
			out, in, err := c.RequestChannel(ctx, Payload{}, 1, ChannelOptions{})
			if err != nil {
				t.Fatal(err)
			}
			var wg sync.WaitGroup
			wg.Go(func() {
				for i := range uint64(n) {
					if err := out.Send(ctx, number(i)); err != nil {
						t.Errorf("Send %d: %v", i, err)
						return
					}
				}
				if err := out.Complete(); err != nil {
					t.Error(err)
				}
			})
			var next uint64
			cuts := int64(0)
			for p, err := range down.All(ctx) {
				if err != nil {
					t.Fatalf("after %d: %v", next, err)
				}
				if i := binary.BigEndian.Uint64(p.Data); i != next {
					t.Fatalf("got %d, want %d", i, next)
				}
				next++
				if next%128 == 0 {
					down.Grant(128)
				}
				if next%(n/11) == 0 && cuts < 10 {
					cuts++
					x.cut(halfOpen)
					eventually(t, func() bool { return cm.Resumed.Load() >= cuts }, "resumed")
				}
			}
			wg.Wait()
			if next != n {
				t.Errorf("%d received, want %d", next, n)
			}
			p, err := in.Recv(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if i := binary.BigEndian.Uint64(p.Data); i != n {
				t.Errorf("the server received %d, want %d", i, n)
			}
			if cm.Resumed.Load() < 10 || m.Resumed.Load() < 10 {
				t.Errorf("resumed %d and %d times", cm.Resumed.Load(), m.Resumed.Load())
			}
		})
	}
}

// Without a transport a sender waits when the store is full; memory stays bounded.
func TestStoreIsBounded(t *testing.T) {
	_, addr := startServer(t, ServerOptions{Handlers: counting(), Resume: &ResumeOptions{}})
	gate := make(chan struct{})
	c := dial(t, addr, ClientOptions{Resume: &ClientResume{
		Buffer: 32 << 10, MinBackoff: time.Millisecond,
		Redial: func(ctx context.Context) (Transport, error) {
			select {
			case <-gate:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			var d net.Dialer
			return d.DialContext(ctx, "tcp", addr)
		},
	}})
	ctx := testContext(t)
	out, in, err := c.RequestChannel(ctx, Payload{}, 1, ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := out.AwaitCredit(ctx); err != nil {
		t.Fatal(err)
	}
	_ = c.transport().Close()
	eventually(t, c.away.Load, "transport lost")
	sent := uint64(0)
	big := func() Payload { return Payload{Data: append(number(sent).Data, make([]byte, 1000)...)} }
	for out.TrySend(big()) {
		sent++
	}
	if sent < 25 || sent > 40 {
		t.Errorf("%d payloads of 1 KiB in a store of 32 KiB", sent)
	}
	close(gate)
	for sent < 500 {
		if err := out.Send(ctx, big()); err != nil {
			t.Fatal(err)
		}
		sent++
	}
	if err := out.Complete(); err != nil {
		t.Fatal(err)
	}
	p, err := in.Recv(ctx)
	if err != nil || binary.BigEndian.Uint64(p.Data) != sent {
		t.Errorf("the server received %x, %v", p.Data, err)
	}
}

func TestResumeWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, stop := memoryServer(t, ServerOptions{Handlers: counting(), Resume: &ResumeOptions{Window: 5 * time.Second}})
		defer stop()
		refuse := errors.New("no network")
		c := memoryDial(t, l, ClientOptions{Resume: &ClientResume{
			Window: 30 * time.Second,
			Redial: func(context.Context) (Transport, error) { return nil, refuse },
		}})
		r, err := c.RequestStream(context.Background(), number(10), 5)
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		_ = c.transport().Close()
		for range 5 { // what was queued can be taken
			if _, err := r.Recv(context.Background()); err != nil {
				break
			}
		}
		<-c.Done()
		if d := time.Since(start); d < 29*time.Second || d > 31*time.Second {
			t.Errorf("gave up after %v", d)
		}
		if err := c.Err(); !errors.Is(err, ErrSessionLost) || !errors.Is(err, refuse) {
			t.Errorf("ended with %v", err)
		}
		_ = c.Close()
	})
}

// The server forgets the session after its window; a client that comes later gets a typed error.
func TestSessionGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, stop := memoryServer(t, ServerOptions{Handlers: counting(), Resume: &ResumeOptions{Window: 5 * time.Second}})
		defer stop()
		c := memoryDial(t, l, ClientOptions{Resume: &ClientResume{
			Window: 30 * time.Second,
			Redial: func(ctx context.Context) (Transport, error) {
				if !pause(ctx, 10*time.Second) {
					return nil, ctx.Err()
				}
				return l.Dial(ctx)
			},
		}})
		if _, err := c.RequestResponse(context.Background(), data("x")); err != nil {
			t.Fatal(err)
		}
		_ = c.transport().Close()
		<-c.Done()
		var e *Error
		if err := c.Err(); !errors.Is(err, ErrSessionLost) || !errors.As(err, &e) || e.Code != CodeRejectedResume {
			t.Errorf("ended with %v", err)
		}
		_ = c.Close()
	})
}

func TestResumeRefusals(t *testing.T) {
	_, addr := startServer(t, ServerOptions{Handlers: counting(), Resume: &ResumeOptions{Window: time.Minute}})
	setup := encodeSetup(0, &setupFields{major: 1, keepAlive: 60_000, maxLifetime: 120_000, token: []byte("tok")}, &Payload{})
	p := rawDial(t, addr)
	p.send(setup, opened(FrameRequestResponse, 1, 0, 0, data("x")))
	p.expect(FramePayload)
	twice := rawDial(t, addr)
	twice.send(setup)
	twice.expectError(0, CodeRejectedSetup)
	unknown := rawDial(t, addr)
	unknown.send(encodeResume([]byte("other"), 0, 0))
	unknown.expectError(0, CodeRejectedResume)
	eager := rawDial(t, addr)
	eager.send(append(encodeResume([]byte("tok"), 0, 0), goodPing()...))
	eager.expectError(0, CodeRejectedResume)
	p.alive()
	good := rawDial(t, addr)
	resume := encodeResume([]byte("tok"), 0, 7)
	resume[lengthSize+headerSize+1], resume[lengthSize+headerSize+3] = 0, 1 // rsocket-js 1.0.0-alpha.3 swaps major and minor
	good.send(resume)                                                       // the answer was 7 bytes long; it was not received; 7 bytes were sent
	if f := good.expect(FrameResumeOK); f.position != 7 {
		t.Errorf("position %d", f.position)
	}
	if f := good.expect(FramePayload); string(f.data) != "x" {
		t.Errorf("answer %q", f.data)
	}
	p.expectEOF()
	bad := rawDial(t, addr)
	bad.send(encodeResume([]byte("tok"), 3, 7)) // not the beginning of a frame
	bad.expectError(0, CodeRejectedResume)
	again := rawDial(t, addr)
	again.send(encodeResume([]byte("tok"), 7, 7))
	again.expectError(0, CodeRejectedResume)
}

func TestKeepAliveTrimsTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, stop := memoryServer(t, ServerOptions{Handlers: counting(), Resume: &ResumeOptions{}})
		defer stop()
		c := memoryDial(t, l, ClientOptions{KeepAlive: time.Second, Resume: &ClientResume{Redial: redialing(l)}})
		if _, err := c.RequestResponse(context.Background(), data("hello")); err != nil {
			t.Fatal(err)
		}
		if n := c.w.available(); n != 0 {
			t.Errorf("confirmed to %d before any KEEPALIVE", n)
		}
		time.Sleep(1500 * time.Millisecond) //nolint:forbidigo // fake time
		if n := c.w.available(); n != headerSize+5 {
			t.Errorf("confirmed to %d", n)
		}
		_ = c.Close()
	})
}

// Leases do not survive a transport; the source grants new ones.
func TestLeasesStartAgainAfterResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conns := make(chan *Conn, 2)
		l, stop := memoryServer(t, ServerOptions{Handlers: counting(), Resume: &ResumeOptions{}, Leases: manualLeases(conns)})
		defer stop()
		c := memoryDial(t, l, ClientOptions{Lease: &RequesterLeases{}, Resume: &ClientResume{Redial: redialing(l)}})
		server := <-conns
		if err := server.SendLease(Lease{TTL: time.Hour, Requests: 100}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := c.RequestResponse(context.Background(), data("x")); err != nil {
			t.Error(err)
		}
		_ = c.transport().Close()
		if again := <-conns; again != server {
			t.Error("another connection")
		}
		synctest.Wait()
		if _, err := c.RequestResponse(context.Background(), data("x")); !errors.Is(err, ErrNoLease) {
			t.Errorf("under a lease of the old transport: %v", err)
		}
		if err := server.SendLease(Lease{TTL: time.Hour, Requests: 1}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if _, err := c.RequestResponse(context.Background(), data("x")); err != nil {
			t.Error(err)
		}
		_ = c.Close()
	})
}

// A peer that reads everything and confirms nothing cannot make the store grow: its connection ends.
func TestStoreOfAPeerThatDoesNotConfirm(t *testing.T) {
	m := new(Metrics)
	s, addr := startServer(t, ServerOptions{Handlers: Handlers{}, Resume: &ResumeOptions{Buffer: 64 << 10}, Metrics: m})
	p := rawDial(t, addr)
	p.send(encodeSetup(0, &setupFields{major: 1, keepAlive: 60_000, maxLifetime: 120_000, token: []byte("t")}, &Payload{}))
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		drainPeer(p)
	}()
	request := bytes.Repeat(opened(FrameRequestStream, 1, 1, 0, data("refused")), 1000)
	for {
		if _, err := p.nc.Write(request); err != nil {
			break
		}
		if m.RequestsIn.Load() > 1_000_000 {
			t.Fatal("the store grows without bound")
		}
	}
	<-gone
	eventually(t, func() bool { return s.Conns() == 0 }, "connection ended")
}

func redialing(l *MemoryListener) func(context.Context) (Transport, error) {
	return func(ctx context.Context) (Transport, error) { return l.Dial(ctx) }
}

// Answers whose confirmation stands behind requests that wait for the handlers do not wait for it.
func TestAnswersDoNotWaitForConfirmation(t *testing.T) {
	_, addr := startServer(t, ServerOptions{Handlers: echoHandlers(), Resume: &ResumeOptions{Buffer: 256 << 10}, Limits: Limits{WorkQueue: 16}})
	c := dial(t, addr, ClientOptions{Resume: &ClientResume{Buffer: 4 << 20}})
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for range 2000 {
		wg.Go(func() {
			if _, err := c.RequestResponse(ctx, Payload{Data: make([]byte, 1024)}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}
