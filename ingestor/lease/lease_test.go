package lease

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestSizesAreAtMostAQuarterTooHigh(t *testing.T) {
	for n := int64(1); n < 1<<24; n += 1 + n/7 {
		var s sizes
		s.add(100, n)
		if s.p99 < n || s.p99 > n+n/4+1 {
			t.Fatalf("payloads of %d bytes are estimated at %d", n, s.p99)
		}
	}
}

func TestSizesFollowAChange(t *testing.T) {
	var s sizes
	s.add(100_000, 100)
	for range 20 {
		s.add(1000, 10_000)
	}
	if s.p99 < 10_000 {
		t.Fatalf("after 20,000 payloads of 10,000 bytes the estimate is %d", s.p99)
	}
	s = sizes{}
	s.add(995, 100)
	s.add(5, 1<<20)
	if s.p99 > 200 {
		t.Fatalf("half a percent of large payloads moves the estimate to %d", s.p99)
	}
}

// model is what the allocator's channels are known to have, by the rules of REQUEST_N alone.
type model struct {
	credit int64
	held   int64
}

// TestAllocatorInvariants plays random joins, leaves, arrivals and settlements of producers that obey their credit, with
// payloads no larger than the estimate.
func TestAllocatorInvariants(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		capacity := rapid.Int64Range(64<<10, 64<<20).Draw(t, "capacity")
		size := rapid.Int64Range(64, capacity/64).Draw(t, "payload size")
		pool := NewPool(capacity, 0)
		a := NewAllocator(pool, capacity/8)
		a.size.add(1000, size)
		now := time.Unix(0, 0)
		channels := map[*Channel]*model{}
		var gone []*model // left with payloads held
		pick := func() *Channel {
			all := make([]*Channel, 0, len(channels))
			for c := range channels {
				all = append(all, c)
			}
			return rapid.SampledFrom(all).Draw(t, "channel")
		}
		some := func(t *rapid.T) {
			if len(channels) == 0 {
				t.Skip("no channel")
			}
		}
		t.Repeat(map[string]func(*rapid.T){
			"join": func(t *rapid.T) {
				c, err := a.Join(now)
				if full := int64(len(channels)+1)*a.Estimate() > capacity/4; full != errors.Is(err, ErrFull) {
					t.Fatalf("join of channel %d of %d bytes a payload over %d: %v", len(channels)+1, a.Estimate(), capacity, err)
				}
				if err == nil {
					channels[c] = &model{}
				}
			},
			"leave": func(t *rapid.T) {
				some(t)
				c := pick()
				a.Leave(c)
				gone = append(gone, channels[c])
				delete(channels, c)
			},
			"next": func(t *rapid.T) {
				some(t)
				c := pick()
				channels[c].credit += int64(a.Next(c, now))
			},
			"tick": func(t *rapid.T) {
				now = now.Add(tick)
				for _, g := range a.Tick(now, nil, func(*Channel) bool { return true }) {
					if g.N < 1 {
						t.Fatalf("grant of %d", g.N)
					}
					channels[g.Channel].credit += int64(g.N)
				}
			},
			"arrive": func(t *rapid.T) {
				some(t)
				c := pick()
				m := channels[c]
				n := rapid.Int64Range(0, m.credit).Draw(t, "payloads")
				if n == 0 {
					return
				}
				if !pool.Reserve(int(n * size)) {
					t.Fatalf("a producer that obeys its credit is refused: %d payloads", n)
				}
				a.Arrived(c, int(n), n*size, now)
				m.credit -= n
				m.held += n * size
			},
			"settle": func(t *rapid.T) {
				some(t)
				c := pick()
				m := channels[c]
				pool.Release(int(m.held))
				a.Settled(c, m.held)
				m.held = 0
			},
			"": func(t *rapid.T) {
				var credit, held int64
				for c, m := range channels {
					if c.outstanding != m.credit || c.held != m.held {
						t.Fatalf("ledger says %d payloads out, %d bytes held; they are %d and %d", c.outstanding, c.held, m.credit, m.held)
					}
					credit += c.charged
					held += m.held
				}
				for _, m := range gone {
					held += m.held
				}
				poolHeld, promised := pool.Usage()
				if poolHeld != held || promised != credit || credit < 0 {
					t.Fatalf("pool has %d held, %d promised; the channels %d and %d", poolHeld, promised, held, credit)
				}
				if held+credit > capacity {
					t.Fatalf("%d held and %d promised exceed %d", held, credit, capacity)
				}
			},
		})
	})
}

const tick = 10 * time.Millisecond

// TestNobodyStarves fills the pool with one greedy channel; others still get their floor, and the greedy one goes on
// once it is settled.
func TestNobodyStarves(t *testing.T) {
	pool := NewPool(1<<20, 0)
	a := NewAllocator(pool, 1<<17)
	now := time.Unix(0, 0)
	greedy, err := a.Join(now)
	if err != nil {
		t.Fatal(err)
	}
	var held int64
	for range 100 {
		n := a.Next(greedy, now)
		held += int64(n) << 10
		pool.Hold(int64(n) << 10)
		a.Arrived(greedy, n, int64(n)<<10, now)
	}
	if held < pool.Capacity()/2 {
		t.Fatalf("one channel alone gets only %d of %d bytes", held, pool.Capacity())
	}
	for i := range 20 {
		c, err := a.Join(now)
		if err != nil {
			t.Fatal(err)
		}
		if a.Next(c, now) == 0 {
			t.Fatalf("channel %d gets nothing beside a greedy one", i)
		}
	}
	pool.Release(int(held))
	a.Settled(greedy, held)
	if len(a.Tick(now, nil, func(*Channel) bool { return true })) == 0 {
		t.Fatal("nothing is granted after everything was settled")
	}
}

// TestTheFirstPayloadMayBeLarge: before sizes are known, channels that all begin with the largest payload stay within
// pool and reserve.
func TestTheFirstPayloadMayBeLarge(t *testing.T) {
	const largest = 1 << 20
	pool := NewPool(16*largest, 4*largest)
	a := NewAllocator(pool, largest)
	now := time.Unix(0, 0)
	var cs []*Channel
	for range 12 {
		c, err := a.Join(now)
		if err != nil {
			t.Fatal(err)
		}
		cs = append(cs, c)
	}
	var grants []int
	for _, c := range cs {
		grants = append(grants, a.Next(c, now))
	}
	for round := range 3 {
		for i, c := range cs {
			for range grants[i] {
				if !pool.Reserve(largest) {
					t.Fatalf("round %d: a producer that obeys its credit is refused", round)
				}
				a.Arrived(c, 1, largest, now)
			}
			grants[i] = 0
		}
		for i, c := range cs {
			grants[i] = a.Next(c, now)
		}
	}
}

// TestEqualChannelsGetEqualShares has channels that always use what they get while a store settles at a steady pace.
func TestEqualChannelsGetEqualShares(t *testing.T) {
	pool := NewPool(8<<20, 0)
	a := NewAllocator(pool, 1<<20)
	now := time.Unix(0, 0)
	const n, size = 5, 1024
	var cs [n]*Channel
	var total, held [n]int64
	for i := range cs {
		c, err := a.Join(now)
		if err != nil {
			t.Fatal(err)
		}
		cs[i] = c
	}
	index := func(c *Channel) int {
		for i := range cs {
			if cs[i] == c {
				return i
			}
		}
		t.Fatal("unknown channel")
		return 0
	}
	for range 2000 {
		now = now.Add(tick)
		for _, g := range a.Tick(now, nil, func(*Channel) bool { return true }) {
			i := index(g.Channel)
			bytes := int64(g.N) * size
			pool.Hold(bytes)
			a.Arrived(g.Channel, g.N, bytes, now)
			total[i] += bytes
			held[i] += bytes
		}
		for i := range cs { // the store takes 1 MiB a tick, oldest first is not modelled
			done := min(held[i], 1<<20/n)
			pool.Release(int(done))
			a.Settled(cs[i], done)
			held[i] -= done
		}
	}
	for i := range total {
		if total[i]*10 < total[0]*9 || total[i]*10 > total[0]*11 {
			t.Fatalf("shares differ: %v", total)
		}
	}
}

func TestAwait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		pool := NewPool(100, 50)
		if !pool.Reserve(150) || pool.Reserve(1) {
			t.Fatal("capacity and overdraft are not 150")
		}
		if pool.TryTake(1) {
			t.Fatal("a request took from the overdraft")
		}
		ctx, cancel := context.WithCancel(t.Context())
		waiting := make(chan error, 2)
		go func() { waiting <- pool.Await(t.Context()) }()
		go func() { waiting <- pool.Await(ctx) }()
		synctest.Wait()
		cancel()
		if err := <-waiting; !errors.Is(err, context.Canceled) {
			t.Fatalf("cancelled wait: %v", err)
		}
		pool.Release(50)
		if err := <-waiting; err != nil {
			t.Fatal(err)
		}
	})
}
