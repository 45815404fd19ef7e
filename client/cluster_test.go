package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-dev/weir/balancer"
	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// cluster is a table, pods that write to it, and the name server that knows them.
type cluster struct {
	t testing.TB

	mu    sync.Mutex
	table map[string]int // how often each payload was stored
	pods  map[string]*pod
	names []string // what the name server answers
	fail  error    // what it answers instead
	asked int
}

func newCluster(t testing.TB) *cluster {
	t.Helper()
	return &cluster{t: t, table: map[string]int{}, pods: map[string]*pod{}}
}

// Resolve implements balancer.Resolver.
func (c *cluster) Resolve(context.Context) ([]balancer.Endpoint, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.asked++
	if c.fail != nil {
		return nil, c.fail
	}
	var all []balancer.Endpoint
	for _, n := range c.names {
		all = append(all, balancer.Endpoint{ID: n, Addr: n + ":7000"})
	}
	return all, nil
}

// announce is what the name server answers from now on.
func (c *cluster) announce(err error, names ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.names, c.fail = names, err
}

func (c *cluster) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	host, _, _ := net.SplitHostPort(addr)
	c.mu.Lock()
	p := c.pods[host]
	c.mu.Unlock()
	if p == nil {
		return nil, fmt.Errorf("dial %s: connection refused", addr)
	}
	return p.listener.Dial(ctx)
}

// client connects to the pods, which must be running, and opens a stream.
func (c *cluster) client(o Options, so StreamOptions) (*Client, *Stream) {
	c.t.Helper()
	o.Resolver, o.DialContext = c, c.dial
	cl, err := Dial(context.Background(), "weir://events:7000", o)
	if err != nil {
		c.t.Fatal(err)
	}
	s, err := cl.OpenStream(context.Background(), so)
	if err != nil {
		c.t.Fatal(err)
	}
	return cl, s
}

// pod takes streams as docs/protocol.md has it. It commits once a second what it has taken, and loses the rest when it dies.
type pod struct {
	c        *cluster
	name     string
	listener *rsocket.MemoryListener
	server   *rsocket.Server
	served   chan error
	stop     chan struct{} // closed when it drains
	credit   int           // payloads a stream may be ahead of its commit

	mu    sync.Mutex
	known map[string]*known
	mute  bool // commits and does not say so
	dead  bool
	refus bool // answers opens with unavailable
	conns map[*rsocket.Conn]bool
	got   int
}

type known struct{ epoch, mark int64 }

func (c *cluster) run(name string) {
	p := &pod{
		c: c, name: name, listener: rsocket.NewMemoryListener(), served: make(chan error, 1), stop: make(chan struct{}),
		credit: 1000, known: map[string]*known{}, conns: map[*rsocket.Conn]bool{},
	}
	mux := new(rsocket.Mux)
	mux.HandleChannel(protocol.RouteStream, p.stream)
	mux.HandleRequest(protocol.RouteRequest, func(_ context.Context, r *rsocket.Request, reply *rsocket.Reply) {
		p.mu.Lock()
		refuse := p.refus
		p.mu.Unlock()
		if refuse {
			_ = reply.Error(&rsocket.Error{Code: rsocket.CodeRejected, Message: "no memory"})
			return
		}
		p.store(string(r.Data))
		m := protocol.Message{Type: protocol.TypeAck, Level: protocol.LevelCommitted, Sequence: 1, Records: 1, Version: 1}
		_ = reply.Send(rsocket.Payload{Data: m.Append(nil)})
	})
	mux.HandleFireAndForget(protocol.RouteFireAndForget, func(_ context.Context, r *rsocket.Request) { p.store(string(r.Data)) })
	p.server = rsocket.NewServer(rsocket.ServerOptions{Handlers: mux.Handlers()})
	go func() { p.served <- p.server.Serve(context.Background(), p.listener) }()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.pods[name] = p
}

func (p *pod) store(payload string) {
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	p.c.table[payload]++
	p.got++
}

// kill ends the pod at once: what it has not committed is lost.
func (p *pod) kill() {
	p.c.mu.Lock()
	delete(p.c.pods, p.name)
	p.c.mu.Unlock()
	p.mu.Lock()
	p.dead = true
	conns := p.conns
	p.conns = nil
	p.mu.Unlock()
	for conn := range conns {
		_ = conn.Close()
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = p.server.Shutdown(ctx) // cut off
	p.ended()
}

func (p *pod) ended() {
	if err := <-p.served; !errors.Is(err, rsocket.ErrServerClosed) {
		p.c.t.Errorf("serve: %v", err)
	}
}

// drain ends the pod in order.
func (p *pod) drain() {
	close(p.stop)
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	_ = p.server.Shutdown(ctx) // waits for the streams
	p.ended()
	p.c.mu.Lock()
	defer p.c.mu.Unlock()
	delete(p.c.pods, p.name)
}

// cut loses the connections and nothing else.
func (p *pod) cut() {
	p.mu.Lock()
	conns := p.conns
	p.conns = map[*rsocket.Conn]bool{}
	p.mu.Unlock()
	for conn := range conns {
		_ = conn.Close()
	}
}

// taking is one open stream of a pod.
type taking struct {
	p       *pod
	k       *known
	epoch   int64
	out     *rsocket.Sender
	in      *rsocket.Receiver
	mu      sync.Mutex
	waiting []string
	records int64
}

func (p *pod) stream(ctx context.Context, r *rsocket.Request, in *rsocket.Receiver, out *rsocket.Sender) error {
	content, _, err := rsocket.FindComposite(r.Metadata, protocol.MIMEStream)
	if err != nil {
		return err
	}
	h, err := protocol.ParseHeader(content)
	if err != nil {
		return err
	}
	say := func(m protocol.Message) error { return out.Send(ctx, rsocket.Payload{Data: m.Append(nil)}) }
	p.mu.Lock()
	if p.dead || p.refus {
		p.mu.Unlock()
		return say(protocol.Message{Type: protocol.TypeError, Code: protocol.CodeUnavailable, Message: "draining"})
	}
	p.conns[r.Conn] = true
	k := p.known[h.Stream]
	if k == nil {
		k = &known{mark: h.Acked}
		p.known[h.Stream] = k
	}
	if h.Epoch <= k.epoch {
		defer p.mu.Unlock()
		return say(protocol.Message{Type: protocol.TypeStaleEpoch, Highest: k.epoch})
	}
	k.epoch = h.Epoch
	t := &taking{p: p, k: k, epoch: h.Epoch, in: in, out: out}
	from := k.mark + 1
	p.mu.Unlock()
	if err := say(protocol.Message{Type: protocol.TypeOpened, Epoch: h.Epoch, ResumeFrom: from}); err != nil {
		return err
	}
	in.Grant(p.credit)
	return t.serve(ctx)
}

func (t *taking) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	received := make(chan error, 1)
	var receiving sync.WaitGroup
	receiving.Go(func() { received <- t.receive(ctx) })
	defer receiving.Wait()
	defer cancel()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			if err := t.commit(ctx); err != nil {
				return err
			}
		case err := <-received:
			if errors.Is(err, io.EOF) && !errors.Is(err, rsocket.ErrConnClosed) {
				return t.commit(ctx)
			}
			return err
		case <-t.p.stop:
			m := protocol.Message{Type: protocol.TypeDrain}
			if err := t.out.Send(ctx, rsocket.Payload{Data: m.Append(nil)}); err != nil {
				return err
			}
			t.in.Cancel()
			receiving.Wait()
			return t.commit(ctx)
		}
	}
}

func (t *taking) receive(ctx context.Context) error {
	for {
		r, err := t.in.Recv(ctx)
		if err != nil {
			return err
		}
		t.mu.Lock()
		t.waiting = append(t.waiting, string(r.Data))
		t.mu.Unlock()
	}
}

func (t *taking) commit(ctx context.Context) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(t.waiting)
	if n == 0 {
		return nil
	}
	t.p.mu.Lock()
	if t.p.dead || t.k.epoch != t.epoch {
		t.p.mu.Unlock()
		return errors.New("gone")
	}
	t.k.mark += int64(n)
	mark, mute := t.k.mark, t.p.mute
	t.p.mu.Unlock()
	for _, payload := range t.waiting {
		t.p.store(payload)
	}
	t.waiting, t.records = nil, t.records+int64(n)
	if mute {
		return nil
	}
	t.in.Grant(n)
	m := protocol.Message{Type: protocol.TypeAck, Level: protocol.LevelCommitted, Sequence: mark, Records: t.records, Version: mark}
	return t.out.Send(ctx, rsocket.Payload{Data: m.Append(nil)})
}

// inCluster runs a test in fake time with some pods that are announced.
func inCluster(t *testing.T, names []string, test func(t *testing.T, c *cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := newCluster(t)
		for _, n := range names {
			c.run(n)
		}
		c.announce(nil, names...)
		test(t, c)
		c.mu.Lock()
		rest := make([]*pod, 0, len(c.pods))
		for _, p := range c.pods {
			rest = append(rest, p)
		}
		c.mu.Unlock()
		for _, p := range rest {
			p.kill()
		}
	})
}

// produce sends numbers at 1000 a second.
func produce(t *testing.T, s *Stream, from, to int) {
	t.Helper()
	for i := from; i <= to; i++ {
		if _, err := s.Send(context.Background(), fmt.Appendf(nil, "%d", i)); err != nil {
			t.Fatalf("send %d: %v", i, err)
		}
		time.Sleep(time.Millisecond) //nolint:forbidigo // fake time
	}
}

// finish closes the stream and the client, and compares the table: everything is there, and twice at most what was uncertain.
func (c *cluster) finish(t *testing.T, cl *Client, s *Stream, sent int) Stats {
	t.Helper()
	rest, err := s.Close(context.Background())
	if len(rest) > 0 || err != nil {
		t.Errorf("%d payloads unacknowledged: %v", len(rest), err)
	}
	st := s.Stats()
	if st.Sent != int64(sent) || st.Acked != int64(sent) || st.Buffered != 0 || s.Acked() != int64(sent) {
		t.Errorf("%d sent, acknowledged to %d: %+v", sent, s.Acked(), st)
	}
	if err := cl.Close(context.Background()); err != nil {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	twice := 0
	for i := 1; i <= sent; i++ {
		n := c.table[fmt.Sprint(i)]
		if n == 0 {
			t.Errorf("payload %d is lost", i)
		}
		twice += max(0, n-1)
	}
	if int64(twice) > st.Uncertain {
		t.Errorf("%d payloads are in the table twice, %d were uncertain", twice, st.Uncertain)
	}
	return st
}

func shares(s *Stream) (all []int64) {
	for _, p := range s.Pods() {
		all = append(all, p.Acked)
	}
	return all
}

func spread(all []int64) float64 { return float64(slices.Max(all)) / float64(max(1, slices.Min(all))) }
