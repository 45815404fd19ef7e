package ingestor

import (
	"context"
	"sync"
	"time"

	"github.com/weir-dev/weir/ingestor/lease"
)

// tick is how often channels that stand still are looked at again.
const tick = 10 * time.Millisecond

// admission is the one owner of admission: every door asks it. It serialises the allocator and carries its grants out.
type admission struct {
	pool *lease.Pool

	mu       sync.Mutex // guards what follows; never held while granting
	alloc    *lease.Allocator
	sessions map[*lease.Channel]*session
	joined   chan struct{} // has a token when the first channel joined
	granted  []lease.Grant
}

func newAdmission(capacity, reserve, maxPayload int64) *admission {
	pool := lease.NewPool(capacity, reserve)
	return &admission{
		pool: pool, alloc: lease.NewAllocator(pool, maxPayload),
		sessions: map[*lease.Channel]*session{}, joined: make(chan struct{}, 1),
	}
}

// join takes a session in and gives its first credit.
func (a *admission) join(s *session) error {
	a.mu.Lock()
	c, err := a.alloc.Join(time.Now())
	if err == nil {
		s.channel = c
		a.sessions[c] = s
	}
	a.mu.Unlock()
	if err != nil {
		return err
	}
	select {
	case a.joined <- struct{}{}:
	default:
	}
	a.next(s)
	return nil
}

func (a *admission) leave(s *session) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.alloc.Leave(s.channel)
	delete(a.sessions, s.channel)
}

// arrived books payloads of s that came on credit.
func (a *admission) arrived(s *session, items int, bytes int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.alloc.Arrived(s.channel, items, bytes, time.Now())
}

// next gives s the credit it may have now.
func (a *admission) next(s *session) {
	if !s.mayGrant() {
		return
	}
	a.mu.Lock()
	n := a.alloc.Next(s.channel, time.Now())
	a.mu.Unlock()
	if n > 0 {
		s.in.Grant(n)
	}
}

// settled books that bytes of s's payloads have left memory.
func (a *admission) settled(s *session, bytes int64) {
	a.pool.Release(int(bytes))
	a.mu.Lock()
	defer a.mu.Unlock()
	a.alloc.Settled(s.channel, bytes)
}

func (a *admission) channels() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.alloc.Len()
}

// run grants to channels that stood still, as memory comes free, until ctx is done. It sleeps while there is no channel.
func (a *admission) run(ctx context.Context, hasten func()) {
	t := time.NewTicker(tick)
	defer t.Stop()
	for ctx.Err() == nil {
		if a.channels() == 0 {
			t.Stop()
			select {
			case <-a.joined:
				t.Reset(tick)
			case <-ctx.Done():
				return
			}
		}
		select {
		case now := <-t.C:
			a.tick(now)
			if held, promised := a.pool.Usage(); held > a.pool.Capacity()/2 || held+promised > a.pool.Capacity()*7/8 {
				hasten()
			}
		case <-ctx.Done():
			return
		}
	}
}

func (a *admission) tick(now time.Time) {
	a.mu.Lock()
	a.granted = a.alloc.Tick(now, a.granted[:0], func(c *lease.Channel) bool { return a.sessions[c].mayGrant() })
	grants := make([]*session, len(a.granted))
	for i, g := range a.granted {
		grants[i] = a.sessions[g.Channel]
	}
	a.mu.Unlock()
	for i, s := range grants {
		s.in.Grant(a.granted[i].N)
	}
}
