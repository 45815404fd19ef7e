package client

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/weir-dev/weir/balancer"
	"github.com/weir-dev/weir/rsocket"
)

// reopenWait is how long a lane whose connection was lost may try to get back to its pod, before what it had in flight goes
// to another one.
const reopenWait = time.Second

// laneSuffix is about what lanes append to the name of their stream, in bytes.
const laneSuffix = 24

// dialPods finds the pods of t and connects to them.
func (c *Client) dialPods(ctx context.Context, t *balancer.Target) error {
	o := balancer.Options{
		Dial:    c.dial,
		Refresh: t.Refresh, MinBackoff: c.o.MinBackoff, MaxBackoff: c.o.MaxBackoff, MaxPods: c.o.MaxPods, Stats: c.o.PodStats,
	}
	w := &watch{c: c, seeds: t.Hosts}
	switch {
	case c.o.Resolver != nil:
		o.Resolver = c.o.Resolver
	case t.Discover == balancer.DiscoverStatic:
		o.Resolver = balancer.StaticTarget(t)
	case t.Discover == balancer.DiscoverWatch:
		o.Resolver = w
	default:
		o.Resolver = balancer.NewDNS(t, nil)
	}
	pool, err := balancer.NewPool(ctx, o)
	if err != nil {
		return err
	}
	w.pool.Store(pool)
	if err := pool.Await(ctx); err != nil {
		closing, cancel := context.WithCancel(context.WithoutCancel(ctx))
		cancel()
		_ = pool.Close(closing) // there is no connection to wait for
		return err
	}
	c.pool = pool
	return nil
}

// Pods describes the pods of a cluster, by id; nil for a single address.
func (c *Client) Pods() []balancer.NodeStatus {
	if c.pool == nil {
		return nil
	}
	return c.pool.Status()
}

// source is where a lane gets connections from.
type source interface {
	acquire(ctx context.Context) (link, error)
}

// link is a connection in use. release gives it back; retire says that its server wants nothing new.
type link struct {
	*rsocket.Conn
	release func(retire bool)
}

// podSource is a pod of a cluster, whose connection the pool keeps.
type podSource struct{ node *balancer.Node }

func (p podSource) acquire(ctx context.Context) (link, error) {
	c, err := p.node.Await(ctx)
	if err != nil {
		return link{}, err
	}
	return link{c, func(retire bool) {
		if retire {
			p.node.Retire(c)
		}
	}}, nil
}

// follow keeps a lane for every pod until the stream ends.
func (s *Stream) follow() {
	for {
		snap := s.pool.Snapshot()
		s.sync(snap)
		select {
		case <-snap.Changed:
		case <-s.followed:
		case <-s.ctx.Done():
		}
		if s.finished() {
			return
		}
		if s.ctx.Err() != nil {
			s.fail(context.Cause(s.ctx)) // there may be no lane to say so
			return
		}
	}
}

// sync makes lanes for pods that came, ends those of pods that are gone, and has those leave whose pod drains. It returns the
// number of lanes that were made.
func (s *Stream) sync(snap *balancer.Snapshot) (made int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.lanes {
		if !slices.Contains(snap.Nodes, l.node) {
			l.cancel() // and run removes it
		}
	}
	for _, n := range snap.Nodes {
		i := slices.IndexFunc(s.lanes, func(l *lane) bool { return l.node == n })
		switch {
		case i >= 0:
			s.lanes[i].leave(n.State() == balancer.Draining)
		case !s.over():
			s.add(n)
			made++
		}
	}
	if made > 0 {
		s.repick()
	}
	return made
}

// add makes a lane to n, with mu held.
func (s *Stream) add(n *balancer.Node) {
	l := newLane(s, podSource{n}, s.laneName())
	l.node, l.pick = n, balancer.NewCandidate(&n.Load)
	s.lanes = append(s.lanes, l)
	s.busy.Go(func() {
		l.run()
		s.remove(l)
	})
}

// remove forgets a lane that has ended, and keeps its figures.
func (s *Stream) remove(l *lane) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l.win.flight.n > 0 { // Close returns it
		l.node.Load.End(l.win.flight.n)
		return
	}
	s.past[l.node.ID] = add(s.past[l.node.ID], l.stats())
	s.lanes = slices.DeleteFunc(slices.Clone(s.lanes), func(x *lane) bool { return x == l })
	s.repick()
}

// repick makes the picker for the lanes that there are, with mu held.
func (s *Stream) repick() {
	policy, random := s.pool.Policy()
	all := make([]*balancer.Candidate, len(s.lanes))
	for i, l := range s.lanes {
		all[i] = l.pick
	}
	s.picker = policy(all, random)
}

// stats are the figures of l, with mu held.
func (l *lane) stats() PodStats {
	st := PodStats{Pod: l.node.ID, Addr: l.node.Addr(), State: l.node.State().String(), Sent: l.sent, Acked: l.acks, InFlight: int64(l.win.flight.n)}
	if l.a != nil {
		st.Connected, st.Credit = true, l.a.out.Credit()
	}
	return st
}

func add(a, b PodStats) PodStats {
	b.Sent += a.Sent
	b.Acked += a.Acked
	return b
}

// Pods returns the figures of each pod that the stream has gone to, by id; nil for a single address.
func (s *Stream) Pods() []PodStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pool == nil {
		return nil
	}
	byPod := maps.Clone(s.past)
	for _, l := range s.lanes {
		byPod[l.node.ID] = add(byPod[l.node.ID], l.stats())
	}
	all := make([]PodStats, 0, len(byPod))
	for _, st := range byPod {
		all = append(all, st)
	}
	slices.SortFunc(all, func(a, b PodStats) int { return cmp.Compare(a.Pod, b.Pod) })
	return all
}
