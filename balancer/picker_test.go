package balancer

import (
	"math/rand/v2"
	"slices"
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

func seeded(seed uint64) func() uint64 { return rand.New(rand.NewPCG(seed, seed)).Uint64 }

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

// Of two, the one with less pending is taken; equals share evenly.
func TestPicksTheLessLoaded(t *testing.T) {
	all := candidates(3)
	all[1].Load.Begin(1000)
	p := P2C(all, seeded(1))
	got := make([]int, 3)
	for range 9000 {
		got[p.Pick(0)]++
	}
	if got[1] != 0 {
		t.Errorf("the loaded one was picked %d times", got[1])
	}
	if lo, hi := min(got[0], got[2]), max(got[0], got[2]); float64(hi)/float64(lo) > 1.1 {
		t.Errorf("shares %v", got)
	}
	// What is taken counts at once, so shares even out.
	got = make([]int, 3)
	for range 9000 {
		i := p.Pick(0)
		all[i].Load.Begin(1)
		got[i]++
	}
	if lo, hi := slices.Min(got), slices.Max(got); hi-lo > 1010 {
		t.Errorf("after 1000 in advance, shares %v", got)
	}
}

// Acks wait until a pod's batch is full, so of equal pods the busier one answers sooner. That must not feed on itself.
func TestBusierPodsDoNotAttractMore(t *testing.T) {
	const batch, maxAge = 1000, 5 * time.Second
	all := candidates(3)
	p := P2C(all, seeded(7))
	type waiting struct {
		n     int
		since time.Duration
	}
	pods := make([]waiting, 3)
	got := make([]int, 3)
	loads := []*Load{all[0].Load, all[1].Load, all[2].Load}
	commit := func(i int, now time.Duration) {
		all[i].Load.End(pods[i].n)
		all[i].Load.Observe(now-pods[i].since, now)
		pods[i] = waiting{}
	}
	// One of them begins with a high latency, as a pod has that gets little.
	all[2].Load.Observe(maxAge, 1)
	for k := range 300_000 {
		now := time.Duration(k) * time.Millisecond // 1000/s over three pods
		if k%1000 == 0 {
			judge(loads)
		}
		i := p.Pick(now)
		all[i].Load.Begin(1)
		if pods[i].n == 0 {
			pods[i].since = now
		}
		pods[i].n++
		got[i]++
		for j := range pods {
			if pods[j].n >= batch || pods[j].n > 0 && now-pods[j].since >= maxAge {
				commit(j, now)
			}
		}
	}
	if lo, hi := slices.Min(got), slices.Max(got); float64(hi)/float64(lo) > 1.2 {
		t.Errorf("shares %v", got)
	}
}

func TestScore(t *testing.T) {
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
		"idle":               {func(*Load) {}, 0, 1},
		"pending":            {func(l *Load) { l.Begin(4); l.End(1) }, 0, 4},
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
		if got := l.score(tc.now); got != tc.want {
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

func BenchmarkPick(b *testing.B) {
	for _, n := range []int{3, 12, 100} {
		b.Run(map[int]string{3: "3 pods", 12: "12 pods", 100: "100 pods"}[n], func(b *testing.B) {
			p := P2C(candidates(n), rand.Uint64)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					p.Pick(time.Minute)
				}
			})
		})
	}
}
