package rsocket

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// Shutdown is bounded by its context also if a client with leases does not read.
func TestShutdownOfLeasesIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conns := make(chan *Conn, 1)
		l := NewMemoryListener()
		s := NewServer(ServerOptions{
			Leases: func(*ConnInfo) LeaseSource {
				return LeaseFunc(func(c *Conn) { _ = c.SendLease(Lease{TTL: time.Hour, Requests: 10}) })
			},
			Handlers: Handlers{RequestStream: func(ctx context.Context, r *Request, out *Sender) error {
				conns <- r.Conn
				for {
					if err := out.Send(ctx, Payload{Data: make([]byte, 1000)}); err != nil {
						return err
					}
				}
			}},
		})
		served := make(chan error, 1)
		go func() { served <- s.Serve(context.Background(), l) }()
		nc, err := l.Dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		p := newRawPeer(t, nc)
		_ = nc.SetDeadline(time.Time{})
		p.send(encodeSetup(FlagLease, &setupFields{major: 1, keepAlive: 1000000, maxLifetime: 100000000, metadataMIME: []byte("m"), dataMIME: []byte("d")}, &Payload{}))
		p.expect(FrameLease)
		p.send(opened(FrameRequestStream, 1, maxCredit, 0, data("s")))
		c := <-conns
		synctest.Wait()
		fillWriteBuffer(p, c)
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		late := time.AfterFunc(10*time.Minute, func() {
			t.Error("Shutdown of one second still runs after ten minutes")
			_ = nc.Close()
		})
		if err := s.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		late.Stop()
		_ = nc.Close()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
	})
}

// A request whose last fragment arrives while the server drains is in progress, and is waited for.
func TestShutdownWaitsForFragments(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewMemoryListener()
		s := NewServer(ServerOptions{Handlers: Handlers{RequestResponse: Blocking(func(_ context.Context, r *Request) (Payload, error) {
			time.Sleep(time.Second) //nolint:forbidigo // fake time
			return r.Payload, nil
		})}})
		served := make(chan error, 1)
		go func() { served <- s.Serve(context.Background(), l) }()
		nc, err := l.Dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		p := newRawPeer(t, nc)
		p.send(goodSetup(), opened(FrameRequestResponse, 1, 0, FlagFollows, data("a")))
		synctest.Wait()
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		synctest.Wait()
		p.send(opened(FramePayload, 1, 0, FlagNext, data("b")))
		f, err := p.frame()
		if err != nil || f.Type != FramePayload || string(f.data) != "ab" {
			t.Errorf("got %v %q, %v", f.Type, f.data, err)
		}
		_ = nc.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
	})
}

// An answer by ERROR goes out before the connection is closed for want of requests in progress.
func TestShutdownSendsErrorsFirst(t *testing.T) {
	for range 100 {
		l := NewMemoryListener()
		answer := make(chan struct{})
		s := NewServer(ServerOptions{Handlers: Handlers{RequestResponse: Blocking(func(context.Context, *Request) (Payload, error) {
			<-answer
			return Payload{}, errors.New("no")
		})}})
		served := make(chan error, 1)
		go func() { served <- s.Serve(context.Background(), l) }()
		c := memoryDial(t, l, ClientOptions{})
		var wg sync.WaitGroup
		started := make(chan struct{}, 8)
		for range 8 {
			wg.Go(func() {
				started <- struct{}{}
				_, err := c.RequestResponse(context.Background(), data("x"))
				var e *Error
				if !errors.As(err, &e) || e.Code != CodeApplicationError {
					t.Errorf("answered with %v", err)
				}
			})
		}
		eventually(t, func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			for c := range s.conns {
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.opened == 8 && !c.working
			}
			return false
		}, "opened")
		done := make(chan error, 1)
		go func() { done <- s.Shutdown(context.Background()) }()
		eventually(t, func() bool { return len(started) == 8 }, "started")
		close(answer)
		wg.Wait()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
		_ = c.Close()
		if t.Failed() {
			return
		}
	}
}

// A server may be shut down while clients set leases up.
func TestShutdownDuringSetup(t *testing.T) {
	for i := range 100 {
		l := NewMemoryListener()
		s := NewServer(ServerOptions{Handlers: echoHandlers(), Leases: PeriodicLeases(time.Second, 10), Resume: &ResumeOptions{}})
		served := make(chan error, 1)
		go func() { served <- s.Serve(context.Background(), l) }()
		nc, err := l.Dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		c, err := NewClient(nc, ClientOptions{Lease: &RequesterLeases{}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(i) * time.Microsecond) //nolint:forbidigo // any moment will do
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		_ = s.Shutdown(ctx)
		cancel()
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Error(err)
		}
		_ = c.Close()
	}
}

// Shutdown is bounded also by clients that do not shake hands.
func TestShutdownDuringHandshake(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue(t, "server")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // loopback
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(ServerOptions{Handlers: echoHandlers(), SetupTimeout: time.Minute})
	served := make(chan error, 1)
	go func() {
		served <- s.Serve(context.Background(), tls.NewListener(ln, &tls.Config{Certificates: []tls.Certificate{pair}}))
	}()
	nc, err := net.Dial("tcp", ln.Addr().String()) //nolint:noctx // loopback
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	eventually(t, func() bool { return s.Conns() == 1 }, "accepted")
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	start := time.Now()
	err = s.Shutdown(ctx)
	if err := <-served; !errors.Is(err, ErrServerClosed) {
		t.Error(err)
	}
	if d := time.Since(start); err != nil || d > 30*time.Second { // of the minute that SETUP has
		t.Errorf("Shutdown took %v, %v", d, err)
	}
}
