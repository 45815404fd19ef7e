package balancer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-dev/weir/rsocket"
)

// Errors of a pool; test for them with [errors.Is].
var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("the pool is closed")
	// ErrGone says that the pod is not part of the cluster any more.
	ErrGone = errors.New("the pod is gone")
)

// Options of a pool. Zero fields take the default, Resolver and Dial are needed.
type Options struct {
	Resolver Resolver
	Dial     func(ctx context.Context, e Endpoint) (*rsocket.Conn, error)

	Refresh    time.Duration // between two questions to the resolver, ± 20 %; default 5 s
	MinBackoff time.Duration // before dialing again, see the package client; default 100 ms
	MaxBackoff time.Duration // default 10 s
	DialWait   time.Duration // for one attempt to connect; default 10 s
	DrainWait  time.Duration // for what is pending on a pod that left the cluster; default 30 s
	MaxPods    int           // connections at most; default 12
	Policy     Policy        // default [P2C]
	Random     func() uint64 // 64 random bits, from any goroutine; default math/rand/v2
	Stats      *Stats        // nil: not kept
}

func (o Options) withDefaults() Options {
	o.Refresh = cmp.Or(o.Refresh, defaultRefresh)
	o.MinBackoff = cmp.Or(o.MinBackoff, 100*time.Millisecond)
	o.MaxBackoff = max(o.MinBackoff, cmp.Or(o.MaxBackoff, 10*time.Second))
	o.DialWait = cmp.Or(o.DialWait, 10*time.Second)
	o.DrainWait = cmp.Or(o.DrainWait, 30*time.Second)
	o.MaxPods = cmp.Or(o.MaxPods, 12)
	if o.Policy == nil {
		o.Policy = P2C
	}
	if o.Random == nil {
		o.Random = rand.Uint64
	}
	if o.Stats == nil {
		o.Stats = new(Stats)
	}
	return o
}

// Stats counts what pools do. One Stats may serve many pools.
type Stats struct {
	Resolves      atomic.Int64 // answers of the resolver that named pods
	ResolveErrors atomic.Int64 // failures, and answers without pods
	Dials         atomic.Int64 // attempts to connect
	DialErrors    atomic.Int64 // those that failed
	Losses        atomic.Int64 // connections lost that were not closed by this side
	Joined        atomic.Int64 // pods that came
	Left          atomic.Int64 // pods that left the cluster
}

// Snapshot is the cluster at one moment. It does not change; the states of its nodes do.
type Snapshot struct {
	Nodes   []*Node       // by id, those that drain included
	Changed chan struct{} // closed when there is a newer snapshot
	picker  Picker
}

// Pool keeps the nodes of a cluster. Two goroutines serve it, and one more for each node: refresh asks the resolver, tend
// looks after what time brings.
type Pool struct {
	o     Options
	start time.Time
	snap  atomic.Pointer[Snapshot]
	nudge chan struct{} // capacity 1: resolve soon

	ctx    context.Context //nolint:containedctx // the lifetime of the goroutines
	cancel context.CancelFunc
	busy   sync.WaitGroup

	mu      sync.Mutex // guards what follows, and fields of nodes; never held while blocking
	members members
	nodes   map[string]*Node
	closed  bool
}

// NewPool asks the resolver where the pods are and begins to connect. It fails if that cannot be learned; a pool that has
// pods goes on with those it knows. ctx bounds the first question.
func NewPool(ctx context.Context, o Options) (*Pool, error) {
	o = o.withDefaults()
	p := &Pool{
		o: o, start: time.Now(), nudge: make(chan struct{}, 1), nodes: map[string]*Node{},
		members: members{seed: o.Random(), max: o.MaxPods, drainWait: o.DrainWait, byID: map[string]*member{}},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.snap.Store(&Snapshot{Changed: make(chan struct{}), picker: o.Policy(nil, o.Random)})
	if err := p.resolve(ctx); err != nil {
		p.cancel()
		return nil, fmt.Errorf("find pods: %w", err)
	}
	p.busy.Go(p.refresh)
	p.busy.Go(p.tend)
	return p, nil
}

// Snapshot returns the cluster of now.
func (p *Pool) Snapshot() *Snapshot { return p.snap.Load() }

// Now returns the time that the loads of this pool's nodes go by.
func (p *Pool) Now() time.Duration { return p.now() }

func (p *Pool) now() time.Duration { return time.Since(p.start) }

// Policy returns how this pool picks.
func (p *Pool) Policy() (Policy, func() uint64) { return p.o.Policy, p.o.Random }

// Pick returns a pod that is ready, with its connection. While there is none it waits, at most until ctx ends.
func (p *Pool) Pick(ctx context.Context) (*Node, *rsocket.Conn, error) {
	for {
		s := p.snap.Load()
		if i := s.picker.Pick(p.now()); i >= 0 {
			if c := s.Nodes[i].conn.Load(); live(c) {
				return s.Nodes[i], c, nil
			}
		}
		if p.ctx.Err() != nil {
			return nil, nil, ErrClosed
		}
		p.hurry()
		select {
		case <-s.Changed:
		case <-p.ctx.Done():
		case <-ctx.Done():
			return nil, nil, errors.Join(context.Cause(ctx), p.Err())
		}
	}
}

// live says whether c can still be used; that it has ended may not be noted yet.
func live(c *rsocket.Conn) bool {
	if c == nil {
		return false
	}
	select {
	case <-c.Done():
		return false
	default:
		return true
	}
}

// Await waits until a pod is ready, or an attempt to connect has failed with every one; the error then says why.
func (p *Pool) Await(ctx context.Context) error {
	for {
		s, tried := p.snap.Load(), true
		for _, n := range s.Nodes {
			if n.State() == Ready {
				return nil
			}
			p.mu.Lock()
			tried = tried && n.tried
			p.mu.Unlock()
		}
		if err := p.Err(); tried && err != nil {
			return err
		}
		select {
		case <-s.Changed:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), p.Err())
		}
	}
}

// Err says why pods are not connected, nil if all are.
func (p *Pool) Err() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	var errs []error
	for _, n := range p.snap.Load().Nodes {
		if n.conn.Load() == nil && n.err != nil {
			errs = append(errs, fmt.Errorf("pod %s: %w", n.ID, n.err))
		}
	}
	return errors.Join(errs...)
}

// Close ends all connections once what was sent on them is written; ctx bounds the wait for requests in progress.
func (p *Pool) Close(ctx context.Context) error {
	p.mu.Lock()
	closed := p.closed
	p.closed = true
	p.mu.Unlock()
	if closed {
		return nil
	}
	nodes := p.snap.Load().Nodes
	errs := make([]error, len(nodes))
	var closing sync.WaitGroup
	for i, n := range nodes {
		if c := n.conn.Load(); c != nil {
			closing.Go(func() { errs[i] = c.Shutdown(ctx) })
		}
	}
	closing.Wait()
	p.cancel()
	p.busy.Wait()
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close connections: %w", err)
	}
	return nil
}

// hurry has the resolver asked soon: something that was known is not so any more.
func (p *Pool) hurry() {
	select {
	case p.nudge <- struct{}{}:
	default:
	}
}

// refresh asks the resolver from time to time, and soon when a connection is lost or nothing is ready.
func (p *Pool) refresh() {
	retry := backoff{min: minGap, max: p.o.Refresh, random: p.o.Random}
	wait := p.spread(p.o.Refresh)
	for {
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-p.nudge:
			t.Reset(minGap)
			select {
			case <-t.C:
			case <-p.ctx.Done():
			}
		case <-p.ctx.Done():
		}
		t.Stop()
		if p.ctx.Err() != nil {
			return
		}
		if err := p.resolve(p.ctx); err != nil {
			wait = retry.next()
		} else {
			wait, retry.attempts = p.spread(p.o.Refresh), 0
		}
	}
}

// minGap is the least time between two questions to the resolver, and the longest wait after the first failure.
const minGap = time.Second

// resolveWait bounds one question.
const resolveWait = 5 * time.Second

// spread keeps clients that began together from asking together.
func (p *Pool) spread(d time.Duration) time.Duration {
	return d*4/5 + time.Duration(p.o.Random()%uint64(d*2/5+1))
}

// resolve asks once.
func (p *Pool) resolve(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, resolveWait)
	defer cancel()
	answer, err := p.o.Resolver.Resolve(ctx)
	if err == nil && len(answer) == 0 {
		err = ErrNoPods
	}
	if err != nil {
		p.o.Stats.ResolveErrors.Add(1)
		return err
	}
	p.o.Stats.Resolves.Add(1)
	p.apply(answer)
	return nil
}

// apply takes an answer in.
func (p *Pool) apply(answer []Endpoint) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return
	}
	c := p.members.apply(answer, p.now())
	for _, m := range c.joined {
		p.join(m)
	}
	for _, m := range c.drained {
		p.o.Stats.Left.Add(1)
		p.nodes[m.ID].left = true
		p.settle(p.nodes[m.ID])
	}
	for _, m := range c.back {
		p.nodes[m.ID].left = false
		p.settle(p.nodes[m.ID])
	}
	for _, m := range c.moved {
		p.forget(m.ID)
		p.join(m)
	}
	if len(c.joined)+len(c.drained)+len(c.back)+len(c.moved) > 0 {
		p.publish()
	}
}

// join begins a node, with mu held.
func (p *Pool) join(m *member) {
	p.o.Stats.Joined.Add(1)
	n := &Node{ID: m.ID, host: m.Host, addr: m.Addr, pool: p, stable: make(chan struct{})}
	n.pick = NewCandidate(&n.Load)
	ctx, cancel := context.WithCancel(p.ctx)
	n.cancel = cancel
	p.nodes[m.ID] = n
	p.busy.Go(func() { n.keep(ctx) })
}

// forget ends a node, with mu held.
func (p *Pool) forget(id string) {
	n := p.nodes[id]
	delete(p.nodes, id)
	n.state.Store(int32(Gone))
	n.pick.SetUsable(false)
	if n.conn.Load() == nil {
		close(n.stable)
	}
	n.cancel()
}

// publish makes a new snapshot, with mu held.
func (p *Pool) publish() {
	s := &Snapshot{Changed: make(chan struct{})}
	for _, n := range p.nodes {
		s.Nodes = append(s.Nodes, n)
	}
	slices.SortFunc(s.Nodes, func(a, b *Node) int { return cmp.Compare(a.ID, b.ID) })
	candidates := make([]*Candidate, len(s.Nodes))
	for i, n := range s.Nodes {
		candidates[i] = n.pick
	}
	s.picker = p.o.Policy(candidates, p.o.Random)
	close(p.snap.Swap(s).Changed)
}

// settle derives the state of n, with mu held.
func (p *Pool) settle(n *Node) {
	state := Connecting
	switch {
	case n.State() == Gone:
		return
	case n.left || n.retired:
		state = Draining
	case n.conn.Load() != nil:
		state = Ready
	}
	n.state.Store(int32(state))
	n.pick.SetUsable(state == Ready)
}

// dial tries once to connect to n.
func (p *Pool) dial(ctx context.Context, n *Node) (*rsocket.Conn, error) {
	p.o.Stats.Dials.Add(1)
	ctx, cancel := context.WithTimeout(ctx, p.o.DialWait)
	defer cancel()
	conn, err := p.o.Dial(ctx, Endpoint{ID: n.ID, Addr: n.Addr(), Host: n.host})
	if err != nil {
		p.o.Stats.DialErrors.Add(1)
	}
	return conn, err
}

// usual is what pods got lately, with mu held: one that comes back, or is new, has nothing to make up for.
func (p *Pool) usual() int64 {
	sum, count := int64(0), int64(0)
	for _, n := range p.nodes {
		if n.State() == Ready {
			sum, count = sum+n.Load.recent.Load(), count+1
		}
	}
	return sum / max(1, count)
}

func (p *Pool) connected(n *Node, c *rsocket.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.dials, n.tried, n.retired, n.err = n.dials+1, true, false, nil
	n.Load.born.Store(int64(p.now()))
	n.Load.recent.Store(p.usual())
	if n.State() == Gone {
		return
	}
	n.conn.Store(c)
	close(n.stable)
	p.settle(n)
	p.publish()
}

// disconnected notes a lost connection, or one that could not be made.
func (p *Pool) disconnected(n *Node, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	n.tried, n.err = true, cmp.Or(err, rsocket.ErrConnClosed)
	n.Load.Fail(p.now())
	if n.conn.Swap(nil) != nil {
		if n.losses++; !p.closed {
			p.o.Stats.Losses.Add(1)
		}
		if n.State() != Gone { // otherwise those who wait are to see that
			n.stable = make(chan struct{})
		}
	}
	n.retired = false
	p.settle(n)
	if n.State() != Gone {
		p.publish()
	}
	if !n.left {
		p.hurry()
	}
}

// retire notes what a pod said about its connection c.
func (p *Pool) retire(n *Node, c *rsocket.Conn, retired bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if n.conn.Load() != c || n.retired == retired {
		return
	}
	n.retired = retired
	p.settle(n)
	p.publish()
	p.hurry()
}

// tend lets pods go that have drained, and compares those that are left.
func (p *Pool) tend() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			p.tick()
		case <-p.ctx.Done():
			return
		}
	}
}

func (p *Pool) tick() {
	p.mu.Lock()
	defer p.mu.Unlock()
	gone := p.members.leaving(p.now(), func(id string) int64 { return p.nodes[id].Load.Pending() })
	for _, m := range gone {
		p.forget(m.ID)
	}
	if len(gone) > 0 {
		p.publish()
	}
	loads := make([]*Load, 0, len(p.nodes))
	for _, n := range p.nodes {
		n.Load.fade()
		if n.State() == Ready {
			loads = append(loads, &n.Load)
		}
	}
	judge(loads)
}

// NodeStatus describes a node for people and metrics.
type NodeStatus struct {
	ID, Addr string
	State    State
	Pending  int64         // requests and payloads without an answer
	Latency  time.Duration // average time to an answer
	Dials    int64         // connections made
	Losses   int64         // connections lost
	Err      error         // why there is no connection
}

// Status describes all nodes, by id.
func (p *Pool) Status() []NodeStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []NodeStatus
	for _, n := range p.snap.Load().Nodes {
		all = append(all, NodeStatus{
			ID: n.ID, Addr: n.addr, State: n.State(), Pending: n.Load.Pending(), Latency: n.Load.Latency(),
			Dials: n.dials, Losses: n.losses, Err: n.err,
		})
	}
	return all
}
