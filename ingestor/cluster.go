package ingestor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weir-dev/weir/balancer"
	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// Cluster says who else runs the pipelines of this ingestor.
type Cluster struct {
	Pod       string            // id of this pod; default Advertise
	Advertise string            // host:port where producers reach this pod; default the address of the RSocket door
	Peers     balancer.Resolver // finds the pods, this one included; nil: there are no others
}

const (
	clusterEvery = time.Second // between two messages of cluster.watch, and two questions to a peer
	peerWait     = time.Second // for a peer's answer
	maxPeers     = 1000        // connections to peers
)

// peers knows the other pods of a pipeline. It asks nobody before somebody asks for them: a pod without watchers has no
// connection to others.
type peers struct {
	p    *Pipeline
	conf Cluster

	mu   sync.Mutex // guards what follows; held while asking, so that many watchers make one question
	pool *balancer.Pool
	last []protocol.Pod
	at   time.Time
}

// self is this pod.
func (c *peers) self() protocol.Pod {
	s := c.p.Status()
	load := protocol.Load{Streams: s.Streams, InFlight: s.InFlight, AcceptedPerSec: s.AcceptedPerSec}
	if s.Memory.Capacity > 0 {
		load.Memory = float64(s.Memory.Held*1000/s.Memory.Capacity) / 1000
	}
	return protocol.Pod{ID: cmp.Or(c.conf.Pod, c.conf.Advertise), Addr: c.conf.Advertise, State: s.State, Load: load}
}

// all returns this pod and then the others, by id.
func (c *peers) all(ctx context.Context) protocol.Cluster {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); c.conf.Peers != nil && now.Sub(c.at) >= clusterEvery {
		c.last, c.at = c.ask(ctx), now
	}
	return protocol.Cluster{Pods: append([]protocol.Pod{c.self()}, c.last...)}
}

// ask asks every peer, with mu held. While the peers cannot be found, there are those of before.
func (c *peers) ask(ctx context.Context) []protocol.Pod {
	if c.pool == nil {
		pool, err := balancer.NewPool(ctx, balancer.Options{Resolver: c.conf.Peers, Dial: dialPeer, MaxPods: maxPeers})
		if err != nil {
			c.p.limited.Warn("the other pods cannot be found", "pipeline", c.p.set.Name, "error", err)
			return c.last
		}
		c.pool = pool
	}
	nodes := c.pool.Snapshot().Nodes
	found := make([]protocol.Pod, len(nodes))
	var asking sync.WaitGroup
	for i, n := range nodes {
		asking.Go(func() { found[i] = c.peer(ctx, n) })
	}
	asking.Wait()
	me := c.self()
	found = slices.DeleteFunc(found, func(p protocol.Pod) bool { return p.ID == me.ID || p.Addr == me.Addr })
	slices.SortFunc(found, func(a, b protocol.Pod) int { return cmp.Compare(a.ID, b.ID) })
	return slices.CompactFunc(found, func(a, b protocol.Pod) bool { return a.ID == b.ID })
}

// peer is what the pod of n says of itself.
func (c *peers) peer(ctx context.Context, n *balancer.Node) protocol.Pod {
	none := protocol.Pod{ID: n.ID, Addr: n.Addr(), State: protocol.PodUnreachable}
	ctx, cancel := context.WithTimeout(ctx, peerWait)
	defer cancel()
	conn, err := n.Await(ctx)
	if err != nil {
		return none
	}
	route := rsocket.AppendComposite(nil, rsocket.MIMERouting, rsocket.AppendRoute(nil, c.p.set.Name+"."+protocol.RouteSelf))
	answer, err := conn.RequestResponse(ctx, rsocket.NewPayload(nil, route))
	if err != nil {
		return none
	}
	var pod protocol.Pod
	if json.Unmarshal(answer.Data, &pod) != nil || pod.ID == "" || pod.Addr == "" {
		return none
	}
	return pod
}

func dialPeer(ctx context.Context, e balancer.Endpoint) (*rsocket.Conn, error) {
	return rsocket.Dial(ctx, "tcp", e.Addr, rsocket.ClientOptions{
		KeepAlive: 5 * time.Second, MaxLifetime: 15 * time.Second, Limits: rsocket.Limits{MaxPayload: 64 << 10},
	})
}

func (c *peers) close(ctx context.Context) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pool == nil {
		return nil
	}
	return c.pool.Close(ctx)
}

// serveCluster handles cluster.watch: the pods of the pipeline, one message a second while there is demand. The last one of a
// pod that drains says so.
func (p *Pipeline) serveCluster(ctx context.Context, _ *rsocket.Request, out *rsocket.Sender) error {
	return p.watch(ctx, out, clusterEvery, func(ctx context.Context) (b []byte, last bool, err error) {
		last = p.stopping.Load()
		b, err = json.Marshal(p.peers.all(ctx))
		return b, last, err
	})
}

// serveSelf handles cluster.self: this pod.
func (p *Pipeline) serveSelf(_ context.Context, _ *rsocket.Request, reply *rsocket.Reply) {
	b, err := json.Marshal(p.peers.self())
	if err != nil {
		_ = reply.Error(fmt.Errorf("cluster: %w", err)) // the peer has gone if this fails
		return
	}
	_ = reply.Send(rsocket.Payload{Data: b}) // as above
}
