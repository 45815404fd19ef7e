package rsocket

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// manualLeases hands the connection to the test, which sends leases itself.
func manualLeases(conns chan *Conn) func(*ConnInfo) LeaseSource {
	return func(*ConnInfo) LeaseSource { return LeaseFunc(func(c *Conn) { conns <- c }) }
}

func leaseServer(t *testing.T, h Handlers) (l *MemoryListener, conns chan *Conn, m *Metrics, stop func()) {
	t.Helper()
	conns, m = make(chan *Conn, 8), new(Metrics)
	l, stop = memoryServer(t, ServerOptions{Handlers: h, Leases: manualLeases(conns), Metrics: m})
	return l, conns, m, stop
}

func TestLeaseFailFast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var fnf atomic.Int64
		h := echoHandlers()
		h.FireAndForget = func(context.Context, *Request) { fnf.Add(1) }
		l, conns, m, stop := leaseServer(t, h)
		defer stop()
		leases := make(chan Lease, 10)
		c := memoryDial(t, l, ClientOptions{Lease: &RequesterLeases{Received: func(_ *Conn, l Lease) { leases <- l }}})
		defer c.Close()
		server := <-conns
		ctx := context.Background()
		if _, err := c.RequestResponse(ctx, data("x")); !errors.Is(err, ErrNoLease) {
			t.Errorf("before the first lease: %v", err)
		}
		if err := server.SendLease(Lease{TTL: time.Minute, Requests: 3, Metadata: []byte("report")}); err != nil {
			t.Fatal(err)
		}
		if l := <-leases; l.TTL != time.Minute || l.Requests != 3 || string(l.Metadata) != "report" {
			t.Errorf("lease %+v", l)
		}
		if _, err := c.RequestResponse(ctx, data("x")); err != nil {
			t.Error(err)
		}
		if err := c.FireAndForget(ctx, data("x")); err != nil {
			t.Error(err)
		}
		if _, err := c.RequestStream(ctx, data("x"), 1); err != nil {
			t.Error(err)
		}
		if err := c.FireAndForget(ctx, data("x")); !errors.Is(err, ErrNoLease) {
			t.Errorf("beyond the lease: %v", err)
		}
		if err := server.SendLease(Lease{TTL: time.Second, Requests: 10}); err != nil {
			t.Fatal(err)
		}
		<-leases
		time.Sleep(time.Second) //nolint:forbidigo // fake time
		if err := c.FireAndForget(ctx, data("x")); !errors.Is(err, ErrNoLease) {
			t.Errorf("after the lease expired: %v", err)
		}
		synctest.Wait()
		if fnf.Load() != 1 || m.FNFDropped.Load() != 0 {
			t.Errorf("%d handled, %d dropped", fnf.Load(), m.FNFDropped.Load())
		}
	})
}

func TestLeaseQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, conns, _, stop := leaseServer(t, echoHandlers())
		defer stop()
		c := memoryDial(t, l, ClientOptions{Lease: &RequesterLeases{Queue: 3}})
		server := <-conns
		results := make(chan error, 8)
		request := func(ctx context.Context) {
			_, err := c.RequestResponse(ctx, data("x"))
			results <- err
		}
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		go request(short)
		synctest.Wait()
		go request(context.Background())
		go request(context.Background())
		synctest.Wait()
		go request(context.Background())
		if err := <-results; !errors.Is(err, ErrLeaseQueueFull) {
			t.Errorf("fourth request: %v", err)
		}
		if err := <-results; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("first request: %v", err)
		}
		if err := server.SendLease(Lease{TTL: time.Second, Requests: 1}); err != nil {
			t.Fatal(err)
		}
		if err := <-results; err != nil {
			t.Errorf("under the lease: %v", err)
		}
		select {
		case err := <-results:
			t.Errorf("two requests under a lease of one: %v", err)
		case <-time.After(10 * time.Second):
		}
		_ = c.Close()
		if err := <-results; !errors.Is(err, ErrConnClosed) {
			t.Errorf("waiting when the connection closed: %v", err)
		}
	})
}

// A peer that sends more than its lease is refused; fire-and-forget is dropped and counted.
func TestLeaseEnforced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := echoHandlers()
		h.FireAndForget = func(context.Context, *Request) {}
		l, conns, m, stop := leaseServer(t, h)
		defer stop()
		nc, err := l.Dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		p := newRawPeer(t, nc)
		p.send(encodeSetup(FlagLease, &setupFields{major: 1, keepAlive: 60_000, maxLifetime: 120_000}, &Payload{}))
		server := <-conns
		p.send(opened(FrameRequestResponse, 1, 0, 0, data("x")))
		p.expectError(1, CodeRejected)
		lease := func(n int) (mark []byte) {
			go func() {
				if err := server.SendLease(Lease{TTL: 10 * time.Second, Requests: n}); err != nil {
					t.Error(err)
				}
			}()
			if f := p.expect(FrameLease); f.N != uint32(n) || f.ttl != 10_000 {
				t.Errorf("lease of %d for %d ms", f.N, f.ttl)
			}
			return p.expect(FrameKeepAlive).data
		}
		lease(2)
		lease(1)
		if n := server.LeaseOutstanding(); n != 3 {
			t.Errorf("%d outstanding before the second lease is confirmed", n)
		}
		for id := range uint32(3) { // the first lease may have been used before the second one came
			p.send(opened(FrameRequestResponse, 2*id+3, 0, 0, data("x")))
			p.expect(FramePayload)
		}
		p.send(opened(FrameRequestResponse, 9, 0, 0, data("x")))
		p.expectError(9, CodeRejected)
		if n := server.LeaseOutstanding(); n != 0 {
			t.Errorf("%d outstanding with all leases used", n)
		}
		lease(5)
		mark := lease(1)
		p.send(appendKeepAlive(nil, false, 0, mark)) // now the lease of 5 is void
		p.send(opened(FrameRequestResponse, 11, 0, 0, data("x")))
		p.expect(FramePayload)
		p.send(opened(FrameRequestFNF, 13, 0, 0, data("x")), opened(FrameRequestResponse, 15, 0, 0, data("x")))
		p.expectError(15, CodeRejected)
		if n := m.FNFDropped.Load(); n != 1 {
			t.Errorf("%d dropped", n)
		}
		lease(5)
		time.Sleep(13 * time.Second) //nolint:forbidigo // fake time
		p.send(opened(FrameRequestResponse, 17, 0, 0, data("x")))
		p.expectError(17, CodeRejected)
		_ = nc.Close()
	})
}

func TestLeaseNotSentUnasked(t *testing.T) {
	conns := make(chan *Conn, 1)
	_, addr := startServer(t, ServerOptions{
		Leases: manualLeases(conns),
		Handlers: Handlers{RequestResponse: func(_ context.Context, r *Request, reply *Reply) {
			if err := r.Conn.SendLease(Lease{TTL: time.Second, Requests: 1}); !errors.Is(err, ErrNoLease) {
				t.Errorf("SendLease: %v", err)
			}
			_ = reply.Complete()
		}},
	})
	p := rawClient(t, addr)
	p.send(opened(FrameRequestResponse, 1, 0, 0, data("x")))
	p.expect(FramePayload)
	if len(conns) > 0 {
		t.Error("a source was asked for")
	}
}

func TestPeriodicLeasesAndMirroredRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conns := make(chan *Conn, 1)
		h := echoHandlers()
		h.FireAndForget = func(_ context.Context, r *Request) { conns <- r.Conn }
		l, stop := memoryServer(t, ServerOptions{
			Handlers: h, Leases: PeriodicLeases(time.Second, 5), RequesterLeases: RequesterLeases{Queue: 10},
		})
		defer stop()
		c := memoryDial(t, l, ClientOptions{
			Lease: &RequesterLeases{Queue: 10}, Leases: PeriodicLeases(time.Minute, 1), Handlers: echoHandlers(),
		})
		start := time.Now()
		for range 20 {
			if _, err := c.RequestResponse(context.Background(), data("x")); err != nil {
				t.Fatal(err)
			}
		}
		if d := time.Since(start); d < 3*time.Second || d > 4*time.Second {
			t.Errorf("20 requests at 5 a second took %v", d)
		}
		if err := c.FireAndForget(context.Background(), Payload{}); err != nil {
			t.Fatal(err)
		}
		server := <-conns
		for range 2 {
			if _, err := server.RequestResponse(context.Background(), data("x")); err != nil {
				t.Error(err)
			}
		}
		if d := time.Since(start); d < time.Minute {
			t.Errorf("the server sent 2 requests under a lease of 1 in %v", d)
		}
		_ = c.Close()
	})
}

// Shutdown lets requests under a lease still come, until the client has learned that it has none.
func TestShutdownDrainsLeases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := NewMemoryListener()
		conns := make(chan *Conn, 1)
		s := NewServer(ServerOptions{Handlers: echoHandlers(), Leases: manualLeases(conns)})
		served := make(chan error, 1)
		go func() { served <- s.Serve(context.Background(), l) }()
		nc, err := l.Dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		p := newRawPeer(t, nc)
		p.send(encodeSetup(FlagLease, &setupFields{major: 1, keepAlive: 60_000, maxLifetime: 120_000}, &Payload{}))
		server := <-conns
		go func() { _ = server.SendLease(Lease{TTL: 5 * time.Second, Requests: 2}) }()
		p.expect(FrameLease)
		p.expect(FrameKeepAlive)
		down := make(chan error, 1)
		go func() { down <- s.Shutdown(context.Background()) }()
		if f := p.expect(FrameLease); f.N != 0 {
			t.Errorf("last lease of %d", f.N)
		}
		mark := p.expect(FrameKeepAlive).data
		p.send(opened(FrameRequestResponse, 1, 0, 0, data("under way")))
		p.expect(FramePayload)
		p.send(appendKeepAlive(nil, false, 0, mark))
		p.expectError(0, CodeConnectionClose)
		_ = nc.Close()
		if err := <-down; err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
}

// Leases that a silent peer never confirms do not pile up.
func TestUnconfirmedLeasesExpire(t *testing.T) {
	g := new(leaseLedger)
	for i := range 1000 {
		now := time.Duration(i) * time.Second
		if _, err := g.add(1, now, now+5*time.Second); err != nil {
			t.Fatal(err)
		}
	}
	if len(g.grants) != 5 {
		t.Errorf("%d leases kept, want 5", len(g.grants))
	}
}
