package balancer

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func candidates(n int) []*Candidate {
	all := make([]*Candidate, n)
	for i := range all {
		l := new(Load)
		l.born.Store(int64(-time.Hour))
		all[i] = NewCandidate(l)
		all[i].SetUsable(true)
	}
	return all
}

func seeded(seed uint64) func() uint64 {
	var mu sync.Mutex // guards r: a pool draws from several goroutines
	r := rand.New(rand.NewPCG(seed, seed))
	return func() uint64 {
		mu.Lock()
		defer mu.Unlock()
		return r.Uint64()
	}
}

// I12: what is not usable is never picked, and what is usable is found.
// I14: the same bits make the same picks.
func TestPicksAreUsableAndRepeatable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := candidates(rapid.IntRange(0, 20).Draw(t, "n"))
		seed := rapid.Uint64().Draw(t, "seed")
		a, b := P2C(all, seeded(seed)), P2C(all, seeded(seed))
		now := time.Duration(0)
		for range 50 {
			now += time.Duration(rapid.IntRange(0, int(time.Second)).Draw(t, "dt"))
			usable := 0
			for _, c := range all {
				c.SetUsable(rapid.Bool().Draw(t, "usable"))
				if c.Usable() {
					usable++
				}
				c.Load.pending.Store(int64(rapid.IntRange(0, 9).Draw(t, "pending")))
			}
			i := a.Pick(now)
			if (i >= 0) != (usable > 0) || i >= 0 && !all[i].Usable() {
				t.Fatalf("picked %d of %d usable", i, usable)
			}
			if j := b.Pick(now); i != j {
				t.Fatalf("picked %d and %d with the same bits", i, j)
			}
		}
	})
}

// I13: a pick allocates nothing, whatever the number of pods.
func TestPickDoesNotAllocate(t *testing.T) {
	p := P2C(candidates(12), rand.Uint64)
	if n := testing.AllocsPerRun(1000, func() { p.Pick(time.Minute) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// One on which far more is pending is passed over; others share evenly, and what is taken counts at once.
func TestPicksTheLessLoaded(t *testing.T) {
	all := candidates(3)
	all[1].Load.pending.Store(100_000)
	p := P2C(all, seeded(1))
	got := make([]int, 3)
	for range 9000 {
		i := p.Pick(0)
		all[i].Load.Begin(1)
		got[i]++
	}
	if got[1] != 0 || spread(got[0], got[2]) > 1.01 {
		t.Errorf("shares %v", got)
	}
}

func spread(shares ...int) float64 {
	return float64(slices.Max(shares)) / float64(max(1, slices.Min(shares)))
}

// town plays pods that commit when a batch is full or old enough, and then take stall(i) to do it.
type town struct {
	all   []*Candidate
	p     Picker
	batch []townBatch
	got   []int
	stall func(i int) time.Duration
}

type townBatch struct {
	n, committing       int
	since, began, until time.Duration
}

func newTown(n int, stall func(int) time.Duration) *town {
	all := candidates(n)
	return &town{all: all, p: P2C(all, seeded(7)), batch: make([]townBatch, n), got: make([]int, n), stall: stall}
}

// run plays events at 1000 a second.
func (tw *town) run(events int) {
	const size, maxAge = 1000, 5 * time.Second
	var loads []*Load
	for _, c := range tw.all {
		loads = append(loads, c.Load)
	}
	for k := range events {
		now := time.Duration(k) * time.Millisecond
		if k%1000 == 0 {
			for _, l := range loads {
				l.fade()
			}
			judge(loads)
		}
		i := tw.p.Pick(now)
		tw.all[i].Load.Begin(1)
		tw.got[i]++
		if b := &tw.batch[i]; b.n == 0 {
			b.since = now
		}
		tw.batch[i].n++
		for j := range tw.batch {
			b := &tw.batch[j]
			if b.committing > 0 && now >= b.until {
				loads[j].End(b.committing)
				loads[j].Observe(now-b.began, now)
				b.committing = 0
			}
			if b.committing == 0 && (b.n >= size || b.n > 0 && now-b.since >= maxAge) {
				b.committing, b.n, b.began, b.until = b.n, 0, b.since, now+tw.stall(j)
			}
		}
	}
}

// Acks wait until a pod's batch is full, so of equal pods the busier one answers sooner. That must not feed on itself.
func TestBusierPodsDoNotAttractMore(t *testing.T) {
	tw := newTown(3, func(int) time.Duration { return 100 * time.Millisecond })
	tw.all[2].Load.Observe(5*time.Second, 1) // as a pod has that gets little
	tw.run(100_000)
	if spread(tw.got...) > 1.02 {
		t.Errorf("shares %v", tw.got)
	}
}

// Pods whose commits are now and then slow, one as often as the other, get equal shares all the same.
func TestSharesOfUnsteadyPods(t *testing.T) {
	random := seeded(3)
	tw := newTown(3, func(int) time.Duration { return time.Duration(random() % uint64(2*time.Second)) })
	tw.run(60_000)
	if spread(tw.got...) > 1.1 {
		t.Errorf("shares %v", tw.got)
	}
}

// A pod that is always slower gets less, and what is pending on it stays within bounds.
func TestSlowPodGetsLess(t *testing.T) {
	tw := newTown(3, func(i int) time.Duration {
		return []time.Duration{50 * time.Millisecond, 20 * time.Second, 50 * time.Millisecond}[i]
	})
	tw.run(100_000)
	if tw.got[1] > tw.got[0]/2 || tw.got[1] > tw.got[2]/2 {
		t.Errorf("shares %v", tw.got)
	}
	if most := tw.all[1].Load.Pending(); most > 5000 {
		t.Errorf("%d pending on the slow one", most)
	}
}

func TestWeight(t *testing.T) {
	fresh := func() *Load {
		l := new(Load)
		l.born.Store(int64(-time.Hour))
		return l
	}
	for name, tc := range map[string]struct {
		do   func(l *Load)
		now  time.Duration
		want float64
	}{
		"known":              {func(*Load) {}, 0, 1},
		"failed just now":    {func(l *Load) { l.Fail(time.Second) }, time.Second + failWindow - 1, 8},
		"failed a while ago": {func(l *Load) { l.Fail(time.Second) }, time.Second + failWindow, 1},
		"new":                {func(l *Load) { l.born.Store(0) }, 0, 10},
		"half grown":         {func(l *Load) { l.born.Store(0) }, slowStart / 2, 2},
		"grown":              {func(l *Load) { l.born.Store(0) }, slowStart, 1},
		"far slower": {func(l *Load) {
			l.Observe(time.Second, 1)
			a, b := fresh(), fresh()
			a.Observe(100*time.Millisecond, 1)
			b.Observe(110*time.Millisecond, 1)
			judge([]*Load{a, l, b})
		}, 1, 2},
	} {
		l := fresh()
		tc.do(l)
		if got := l.weight(tc.now); got != tc.want {
			t.Errorf("%s: %v, want %v", name, got, tc.want)
		}
	}
}

func TestLatencyFollows(t *testing.T) {
	l := new(Load)
	l.Observe(100*time.Millisecond, time.Second)
	if l.Latency() != 100*time.Millisecond {
		t.Errorf("%v after the first answer", l.Latency())
	}
	l.Observe(time.Second, 2*time.Second) // one window later: 63 % of the way
	if got := l.Latency().Round(10 * time.Millisecond); got != 670*time.Millisecond {
		t.Errorf("%v after one window", got)
	}
	if n := testing.AllocsPerRun(100, func() { l.Begin(1); l.Observe(1, 3*time.Second); l.End(1); l.Fail(1) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// BenchmarkPick measures a pick: among pods at rest, and among pods as they are in use, with what is pending and what was
// begun changing with every pick, verdicts passed, and two goroutines at it.
func BenchmarkPick(b *testing.B) {
	for _, n := range []int{3, 12, 100} {
		b.Run(fmt.Sprintf("at rest/%d pods", n), func(b *testing.B) {
			p := P2C(candidates(n), rand.Uint64)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					p.Pick(time.Minute)
				}
			})
		})
		b.Run(fmt.Sprintf("in use/%d pods", n), func(b *testing.B) {
			all := candidates(n)
			loads := make([]*Load, n)
			for i, c := range all {
				loads[i] = c.Load
				c.Load.Observe(time.Duration(1+i)*time.Millisecond, 0)
			}
			judge(loads)
			p := P2C(all, rand.Uint64)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					i := p.Pick(time.Minute)
					all[i].Load.pending.Store(int64(i+b.N) & 1023) // as Begin and End would, without their own cost
					all[i].Load.recent.Add(1)
				}
			})
		})
	}
}
