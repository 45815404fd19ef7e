package balancer

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/weir-dev/weir/rsocket"
)

// State is what a pod is to this client.
type State int32

// The states of a pod.
const (
	Connecting State = iota // there is no connection, one is being made
	Ready                   // may be picked
	Draining                // it left the cluster, or said that it is about to: not picked, its connection is kept
	Gone                    // forgotten; the connection is closed
)

var stateNames = [...]string{"connecting", "ready", "draining", "gone"}

// String returns the state as metrics and reports name it.
func (s State) String() string {
	if s < 0 || int(s) >= len(stateNames) {
		return fmt.Sprintf("State(%d)", int32(s))
	}
	return stateNames[s]
}

// Node is a pod with its connection. One goroutine keeps the connection: it dials, waits until it is lost, and dials again.
type Node struct {
	ID   string
	Load Load // kept by whoever sends to the pod

	pool   *Pool
	host   string     // see Endpoint
	pick   *Candidate // for requests
	conn   atomic.Pointer[rsocket.Conn]
	state  atomic.Int32
	cancel context.CancelFunc // ends keep

	// Guarded by the pool's mutex.
	addr    string
	left    bool          // drains because it left the cluster
	retired bool          // drains because it said so
	tried   bool          // one attempt to connect has ended
	stable  chan struct{} // closed when a connection comes, replaced when it goes
	err     error         // of the newest attempt, or why the connection was lost
	dials   int64
	losses  int64
}

// State returns what the pod is now.
func (n *Node) State() State { return State(n.state.Load()) }

// Addr returns where the pod is dialed.
func (n *Node) Addr() string {
	n.pool.mu.Lock()
	defer n.pool.mu.Unlock()
	return n.addr
}

// Conn returns the connection to the pod, nil while there is none.
func (n *Node) Conn() *rsocket.Conn { return n.conn.Load() }

// Await returns the connection to the pod as soon as there is one. It fails when ctx ends or the pod is gone; the error says
// why there is no connection.
func (n *Node) Await(ctx context.Context) (*rsocket.Conn, error) {
	for {
		n.pool.mu.Lock()
		stable, err := n.stable, n.err
		n.pool.mu.Unlock()
		if n.State() == Gone {
			return nil, fmt.Errorf("pod %s: %w", n.ID, ErrGone)
		}
		if c := n.conn.Load(); c != nil {
			return c, nil
		}
		select {
		case <-stable:
		case <-n.pool.ctx.Done():
			return nil, ErrClosed
		case <-ctx.Done():
			if err == nil {
				err = context.Cause(ctx)
			}
			return nil, fmt.Errorf("pod %s: %w", n.ID, err)
		}
	}
}

// Retire says that the pod wants nothing new on the connection c: it drains until it has another connection, or Revive.
func (n *Node) Retire(c *rsocket.Conn) { n.pool.retire(n, c, true) }

// Revive says that the pod takes something on the connection c.
func (n *Node) Revive(c *rsocket.Conn) {
	if n.State() == Draining {
		n.pool.retire(n, c, false)
	}
}

// keep holds a connection until ctx ends.
func (n *Node) keep(ctx context.Context) {
	b := backoff{min: n.pool.o.MinBackoff, max: n.pool.o.MaxBackoff, random: n.pool.o.Random}
	for ctx.Err() == nil {
		conn, err := n.pool.dial(ctx, n)
		if err == nil {
			began := n.pool.now()
			n.pool.connected(n, conn)
			select {
			case <-conn.Done():
			case <-ctx.Done():
				_ = conn.Close() // there is nothing on it any more
			}
			err = conn.Err()
			if n.pool.now()-began >= b.max { // one that is lost at once must not be made in a tight loop
				b.attempts = 0
			}
		}
		n.pool.disconnected(n, err)
		wait := time.NewTimer(b.next())
		select {
		case <-wait.C:
		case <-ctx.Done():
		}
		wait.Stop()
	}
}

// backoff gives waits with full jitter: a random part of min·2^attempts, at most of max.
type backoff struct {
	min, max time.Duration
	random   func() uint64
	attempts int
}

func (b *backoff) next() time.Duration {
	ceiling := b.max
	if b.attempts < 30 && b.min<<b.attempts < b.max {
		ceiling = b.min << b.attempts
	}
	b.attempts++
	return time.Duration(b.random()%uint64(ceiling)) + 1
}
