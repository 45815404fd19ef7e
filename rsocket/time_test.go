package rsocket

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// The tests of this file run in bubbles of fake time over in-memory connections.

// memoryServer serves in memory until stop is called.
func memoryServer(t *testing.T, o ServerOptions) (*MemoryListener, func()) {
	t.Helper()
	l := NewMemoryListener()
	s := NewServer(o)
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	return l, func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = s.Shutdown(ctx) // streams may be cut off
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	}
}

func memoryDial(t *testing.T, l *MemoryListener, o ClientOptions) *Conn {
	t.Helper()
	nc, err := l.Dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	c, err := NewClient(nc, o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestSetupDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, stop := memoryServer(t, ServerOptions{SetupTimeout: 3 * time.Second})
		defer stop()
		nc, err := l.Dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		p := newRawPeer(t, nc)
		if msg := p.expectError(0, CodeInvalidSetup); msg != "no SETUP in time" {
			t.Errorf("message %q", msg)
		}
		p.expectEOF()
		if d := time.Since(start); d < 3*time.Second || d > 4*time.Second {
			t.Errorf("closed after %v", d)
		}
	})
}

func TestIdleConnectionLivesByKeepAlive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		count := map[Direction]int{}
		l, stop := memoryServer(t, ServerOptions{Tap: func(_ uint64, d Direction, h FrameHeader) {
			mu.Lock()
			defer mu.Unlock()
			if h.Type == FrameKeepAlive {
				count[d]++
			}
		}})
		defer stop()
		c := memoryDial(t, l, ClientOptions{KeepAlive: time.Second, MaxLifetime: 3 * time.Second})
		time.Sleep(time.Hour) //nolint:forbidigo // fake time
		if c.Err() != nil {
			t.Fatal(c.Err())
		}
		if c.RTT() <= 0 {
			t.Errorf("round trip time %v", c.RTT())
		}
		_ = c.Close()
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if count[In] < 3599 || count[In] > 3600 || count[Out] != count[In] {
			t.Errorf("KEEPALIVE in and out: %v", count)
		}
	})
}

// A client whose server is silent gives up after the maximum lifetime.
func TestClientLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewMemoryListener()
		go func() {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			var b [1024]byte
			for {
				if _, err := nc.Read(b[:]); err != nil { // reads, never answers
					_ = nc.Close()
					return
				}
			}
		}()
		c := memoryDial(t, l, ClientOptions{KeepAlive: time.Second, MaxLifetime: 5 * time.Second})
		start := time.Now()
		<-c.Done()
		if d := time.Since(start); d < 5*time.Second || d > 7*time.Second {
			t.Errorf("gave up after %v", d)
		}
		if !errors.Is(c.Err(), ErrLifetimeExceeded) {
			t.Errorf("error %v", c.Err())
		}
		_, err := c.RequestResponse(context.Background(), Payload{})
		if !errors.Is(err, ErrConnClosed) || !errors.Is(err, ErrLifetimeExceeded) {
			t.Errorf("request afterwards: %v", err)
		}
		_ = c.Close()
		_ = l.Close()
	})
}

// A server whose client is silent gives up after the client's maximum lifetime: half-open connections.
func TestServerLifetime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, stop := memoryServer(t, ServerOptions{Handlers: echoHandlers()})
		defer stop()
		nc, err := l.Dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		p := newRawPeer(t, nc)
		p.send(encodeSetup(0, &setupFields{major: 1, keepAlive: 1000, maxLifetime: 5000}, &Payload{}))
		start := time.Now()
		p.expectError(0, CodeConnectionError)
		if d := time.Since(start); d < 5*time.Second || d > 7*time.Second {
			t.Errorf("gave up after %v", d)
		}
		p.expectEOF()
	})
}

// A blocked fire-and-forget handler stops the reading of its connection for ten minutes. Both sides stay alive, nothing is
// lost and other connections are not touched.
func TestBlockedHandlerPausesItsConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		var got int
		m := new(Metrics)
		l, stop := memoryServer(t, ServerOptions{
			Metrics: m, Limits: Limits{WorkQueue: 4},
			Handlers: Handlers{
				FireAndForget: func(context.Context, *Request) {
					<-release
					got++
				},
				RequestResponse: func(_ context.Context, r *Request, reply *Reply) { _ = reply.Send(r.Payload) },
			},
		})
		defer stop()
		c := memoryDial(t, l, ClientOptions{KeepAlive: time.Second, MaxLifetime: 4 * time.Second})
		other := memoryDial(t, l, ClientOptions{KeepAlive: time.Second, MaxLifetime: 4 * time.Second})
		const n = 10_000
		sent := make(chan int, 1)
		go func() {
			for i := range n {
				if c.FireAndForget(context.Background(), data("x")) != nil {
					sent <- i
					return
				}
			}
			sent <- n
		}()
		time.Sleep(10 * time.Minute) //nolint:forbidigo // fake time
		if c.Err() != nil {
			t.Fatalf("connection ended: %v", c.Err())
		}
		if m.ReaderPauses.Load() == 0 {
			t.Error("the reader never paused")
		}
		if _, err := other.RequestResponse(context.Background(), data("x")); err != nil {
			t.Errorf("other connection: %v", err)
		}
		close(release)
		if k := <-sent; k != n {
			t.Fatalf("%d sent: %v", k, c.Err())
		}
		if _, err := c.RequestResponse(context.Background(), data("barrier")); err != nil {
			t.Fatal(err)
		}
		if got != n {
			t.Errorf("%d handled, want %d", got, n)
		}
		_ = c.Close()
		_ = other.Close()
	})
}

// With the budget used up, fire-and-forget waits in the socket instead of being dropped.
func TestBudgetPausesFireAndForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &limit{max: 1000}
		var got int
		l, stop := memoryServer(t, ServerOptions{
			Budget: b,
			Handlers: Handlers{
				FireAndForget:   func(context.Context, *Request) { got++ },
				RequestResponse: func(_ context.Context, r *Request, reply *Reply) { _ = reply.Send(r.Payload) },
			},
		})
		defer stop()
		c := memoryDial(t, l, ClientOptions{KeepAlive: time.Second, MaxLifetime: 4 * time.Second})
		if !b.Reserve(950) {
			t.Fatal("reserve")
		}
		for range 10 {
			if err := c.FireAndForget(context.Background(), Payload{Data: make([]byte, 100)}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute) //nolint:forbidigo // fake time
		if got != 0 || c.Err() != nil {
			t.Fatalf("%d handled without room, connection %v", got, c.Err())
		}
		b.Release(950)
		if _, err := c.RequestResponse(context.Background(), data("barrier")); err != nil {
			t.Fatal(err)
		}
		if got != 10 {
			t.Errorf("%d handled, want 10", got)
		}
		_ = c.Close()
		synctest.Wait()
		if n := b.held(); n != 0 {
			t.Errorf("%d bytes still charged", n)
		}
	})
}

func TestShutdownWaitsForHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewMemoryListener()
		s := NewServer(ServerOptions{Handlers: Handlers{RequestResponse: Blocking(func(context.Context, *Request) (Payload, error) {
			time.Sleep(5 * time.Second) //nolint:forbidigo // fake time
			return data("late"), nil
		})}})
		served := make(chan error, 1)
		go func() { served <- s.Serve(context.Background(), l) }()
		c := memoryDial(t, l, ClientOptions{})
		answer := make(chan Payload, 1)
		go func() {
			p, err := c.RequestResponse(context.Background(), data("x"))
			if err != nil {
				t.Error(err)
			}
			answer <- p
		}()
		synctest.Wait()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if p := <-answer; string(p.Data) != "late" {
			t.Errorf("answer %q", p.Data)
		}
		<-c.Done()
		var e *Error
		if err := c.Err(); !errors.As(err, &e) || e.Code != CodeConnectionClose {
			t.Errorf("client ended with %v", err)
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		_ = c.Close()
	})
}

func TestShutdownCutsOffAtItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewMemoryListener()
		s := NewServer(ServerOptions{Handlers: Handlers{RequestStream: func(ctx context.Context, _ *Request, _ *Sender) error {
			<-ctx.Done()
			return ctx.Err()
		}}})
		served := make(chan error, 1)
		go func() { served <- s.Serve(context.Background(), l) }()
		c := memoryDial(t, l, ClientOptions{})
		r, err := c.RequestStream(context.Background(), Payload{}, 1)
		if err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Shutdown: %v", err)
		}
		if _, err := r.Recv(context.Background()); err == nil {
			t.Error("the stream went on")
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		_ = c.Close()
	})
}

// Fragments that nobody finishes give their memory back.
func TestSlowFragments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &limit{max: 1 << 20}
		l, stop := memoryServer(t, ServerOptions{Handlers: echoHandlers(), Budget: b})
		defer stop()
		nc, err := l.Dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		p := newRawPeer(t, nc)
		_ = nc.SetDeadline(time.Time{})
		p.send(encodeSetup(0, &setupFields{major: 1, keepAlive: 10_000, maxLifetime: 30_000}, &Payload{}))
		p.send(opened(FrameRequestResponse, 1, 0, FlagFollows, Payload{Data: make([]byte, 1000)}))
		for range 6 {
			p.alive()
			if b.held() != 1000 {
				t.Fatalf("%d bytes held", b.held())
			}
			time.Sleep(10 * time.Second) //nolint:forbidigo // fake time
		}
		p.send(appendKeepAlive(nil, true, 0, nil))
		p.expect(FrameKeepAlive)
		time.Sleep(10 * time.Second) //nolint:forbidigo // fake time
		p.send(goodPing())
		p.expect(FrameKeepAlive)
		p.expectError(1, CodeRejected)
		if b.held() != 0 {
			t.Errorf("%d bytes held", b.held())
		}
		_ = nc.Close()
	})
}

// Shutdown lets the worker finish what was received, with a valid context.
func TestShutdownFinishesFireAndForget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewMemoryListener()
		handled := 0
		s := NewServer(ServerOptions{Handlers: Handlers{FireAndForget: func(ctx context.Context, _ *Request) {
			if pause(ctx, time.Second) {
				handled++
			}
		}}})
		served := make(chan error, 1)
		go func() { served <- s.Serve(context.Background(), l) }()
		c := memoryDial(t, l, ClientOptions{})
		for range 5 {
			if err := c.FireAndForget(context.Background(), data("x")); err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if err := s.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if handled != 5 {
			t.Errorf("%d of 5 handled", handled)
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
		_ = c.Close()
	})
}
