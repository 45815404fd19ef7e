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

func (c *cluster) run(name string) *pod {
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
	return p
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
	<-p.served
}

// drain ends the pod in order.
func (p *pod) drain() {
	close(p.stop)
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	_ = p.server.Shutdown(ctx) // waits for the streams
	<-p.served
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
	over    bool
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

// A stream goes over all pods, about evenly, and its acks are one.
func TestStreamOverPods(t *testing.T) {
	inCluster(t, []string{"a", "b", "c"}, func(t *testing.T, c *cluster) {
		var acks []int64
		cl, s := c.client(Options{}, StreamOptions{Name: "s", OnAck: func(a Ack) { acks = append(acks, a.Sequence) }})
		produce(t, s, 1, 20_000)
		st := c.finish(t, cl, s, 20_000)
		if got := shares(s); len(got) != 3 || spread(got) > 1.2 {
			t.Errorf("shares %v", got)
		}
		if st.Moved != 0 || st.Uncertain != 0 || st.Reopened != 0 || st.Records != 20_000 {
			t.Errorf("%+v", st)
		}
		if !slices.IsSorted(acks) || acks[len(acks)-1] != 20_000 {
			t.Errorf("acks end at %d, sorted: %v", acks[len(acks)-1], slices.IsSorted(acks))
		}
	})
}

// What a dead pod has not acknowledged goes to the others.
func TestPodDies(t *testing.T) {
	inCluster(t, []string{"a", "b", "c"}, func(t *testing.T, c *cluster) {
		cl, s := c.client(Options{}, StreamOptions{})
		produce(t, s, 1, 3000)
		c.mu.Lock()
		b := c.pods["b"]
		c.mu.Unlock()
		b.mu.Lock()
		b.mute = true // so that it has committed more than it said
		b.mu.Unlock()
		produce(t, s, 3001, 5500)
		b.kill()
		produce(t, s, 5501, 8000)
		c.announce(nil, "a", "c")
		produce(t, s, 8001, 12_000)
		st := c.finish(t, cl, s, 12_000)
		if st.Uncertain == 0 || st.Uncertain != st.Moved {
			t.Errorf("%+v", st)
		}
	})
}

// A pod that only loses its connections gets everything again itself, and nothing is stored twice.
func TestConnectionsAreCut(t *testing.T) {
	inCluster(t, []string{"a", "b", "c"}, func(t *testing.T, c *cluster) {
		cl, s := c.client(Options{}, StreamOptions{})
		for k := range 10 {
			produce(t, s, 1+500*k, 500*(k+1))
			c.mu.Lock()
			p := c.pods[[]string{"a", "b", "c"}[k%3]]
			c.mu.Unlock()
			p.cut()
		}
		st := c.finish(t, cl, s, 5000)
		if st.Uncertain != 0 || st.Reopened == 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A pod that drains acknowledges what it took, and the rest goes elsewhere: nothing is uncertain.
func TestPodDrains(t *testing.T) {
	inCluster(t, []string{"a", "b", "c"}, func(t *testing.T, c *cluster) {
		cl, s := c.client(Options{}, StreamOptions{})
		produce(t, s, 1, 3000)
		c.mu.Lock()
		a, b := c.pods["a"], c.pods["b"]
		c.mu.Unlock()
		c.announce(nil, "b", "c") // as Kubernetes does it: out of DNS, then SIGTERM
		a.drain()
		produce(t, s, 3001, 6000)
		b.drain() // and one of which DNS has not heard
		produce(t, s, 6001, 9000)
		c.announce(nil, "c")
		produce(t, s, 9001, 12_000)
		if st := c.finish(t, cl, s, 12_000); st.Uncertain != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// New pods get their share within seconds.
func TestPodsJoin(t *testing.T) {
	inCluster(t, []string{"a"}, func(t *testing.T, c *cluster) {
		cl, s := c.client(Options{}, StreamOptions{})
		produce(t, s, 1, 3000)
		c.run("b")
		c.run("c")
		c.announce(nil, "a", "b", "c")
		produce(t, s, 3001, 15_000) // 6 s until it is known at the latest, and 5 s of slow start
		before := shares(s)
		produce(t, s, 15_001, 30_000)
		s.Pods()
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		after := shares(s)
		for i := range after {
			after[i] -= before[i]
		}
		if len(after) != 3 || spread(after) > 1.2 {
			t.Errorf("shares %v after %v", after, before)
		}
		c.finish(t, cl, s, 30_000)
	})
}

// Answers without pods, and failures to answer, cut nobody; a pod that is missing for a moment loses no connection.
func TestNameServerFails(t *testing.T) {
	inCluster(t, []string{"a", "b", "c"}, func(t *testing.T, c *cluster) {
		stats := new(balancer.Stats)
		cl, s := c.client(Options{PodStats: stats}, StreamOptions{})
		sent := 0
		more := func() {
			produce(t, s, sent+1, sent+10_000)
			sent += 10_000
		}
		more()
		c.announce(nil)
		more()
		c.announce(errors.New("server misbehaving"))
		more()
		c.announce(nil, "a", "b", "c")
		more()
		if n := stats.Losses.Load(); n != 0 || stats.Dials.Load() != 3 || stats.ResolveErrors.Load() == 0 {
			t.Errorf("%d connections lost, %d made", n, stats.Dials.Load())
		}
		st := c.finish(t, cl, s, sent)
		if got := shares(s); st.Moved+st.Reopened != 0 || spread(got) > 1.2 {
			t.Errorf("%+v, shares %v", st, got)
		}
	})
}

// Close returns what no pod has acknowledged.
func TestCloseReturnsTheRest(t *testing.T) {
	inCluster(t, []string{"a", "b"}, func(t *testing.T, c *cluster) {
		cl, s := c.client(Options{}, StreamOptions{})
		produce(t, s, 1, 3000)
		c.mu.Lock()
		pods := []*pod{c.pods["a"], c.pods["b"]}
		c.mu.Unlock()
		for _, p := range pods {
			p.kill()
		}
		produce(t, s, 3001, 4000)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		rest, err := s.Close(ctx)
		if !errors.Is(err, ErrUnacked) || len(rest) < 1000 {
			t.Errorf("%d payloads, %v", len(rest), err)
		}
		st := s.Stats()
		if int64(len(rest)) != st.Sent-st.Acked {
			t.Errorf("%d payloads returned, %+v", len(rest), st)
		}
		returned := map[string]bool{}
		for _, u := range rest {
			returned[string(u.Data)] = true
		}
		for i := 1; i <= 4000; i++ {
			if k := fmt.Sprint(i); c.table[k] == 0 && !returned[k] {
				t.Errorf("payload %d is lost", i)
			}
		}
		if err := cl.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// The buffer is one for all pods.
func TestBufferIsBoundedAcrossPods(t *testing.T) {
	inCluster(t, []string{"a", "b", "c"}, func(t *testing.T, c *cluster) {
		for _, p := range c.pods {
			p.mute = true
		}
		cl, s := c.client(Options{}, StreamOptions{Buffer: Buffer{Records: 100}, Overflow: Fail})
		taken := 0
		for ; ; taken++ {
			if _, err := s.Send(t.Context(), fmt.Append(nil, taken)); err != nil {
				if !errors.Is(err, ErrBufferFull) {
					t.Error(err)
				}
				break
			}
			synctest.Wait()
		}
		if st := s.Stats(); taken != 100 || st.Buffered != 100 {
			t.Errorf("%d taken, %+v", taken, st)
		}
		if rest, _ := s.Close(canceled()); len(rest) != 100 {
			t.Errorf("%d payloads returned", len(rest))
		}
		if err := cl.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// All pods gone for longer than GiveUpAfter end the stream.
func TestGiveUpOnAllPods(t *testing.T) {
	inCluster(t, []string{"a", "b"}, func(t *testing.T, c *cluster) {
		cl, s := c.client(Options{GiveUpAfter: time.Minute}, StreamOptions{})
		c.mu.Lock()
		pods := []*pod{c.pods["a"], c.pods["b"]}
		c.mu.Unlock()
		pods[0].kill()
		produce(t, s, 1, 120_300) // two minutes with one of them are no reason
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
		pods[1].kill()
		start := time.Now()
		rest, err := s.Close(t.Context())
		if d := time.Since(start); !errors.Is(err, ErrGaveUp) || len(rest) == 0 || d > 3*time.Minute {
			t.Errorf("%d payloads, %v after %v", len(rest), err, d)
		}
		if err := cl.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Requests go through the picker; a pod that refuses is passed over.
func TestRequestsOverPods(t *testing.T) {
	inCluster(t, []string{"a", "b", "c"}, func(t *testing.T, c *cluster) {
		cl, s := c.client(Options{}, StreamOptions{})
		synctest.Wait() // until all are connected
		c.pods["b"].mu.Lock()
		c.pods["b"].refus = true
		c.pods["b"].mu.Unlock()
		for i := range 600 {
			if _, err := cl.Request(t.Context(), fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
			if err := cl.FireAndForget(t.Context(), fmt.Append(nil, 600+i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := cl.Barrier(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		a, b, d := c.pods["a"].got, c.pods["b"].got, c.pods["c"].got
		if a+b+d != 1200 || a < 300 || d < 300 {
			t.Errorf("%d, %d and %d", a, b, d)
		}
		c.finish(t, cl, s, 0)
	})
}
