package balancer

import (
	"math"
	"sync/atomic"
	"time"
)

// Load is what this client knows of one pod. Whoever sends to the pod keeps it: Begin before, End and Observe after. All methods may be
// called from any goroutine and allocate nothing. Times are durations since one fixed moment, the same for all calls.
type Load struct {
	pending atomic.Int64
	recent  atomic.Int64  // begun lately: a tenth is forgotten every second
	run     atomic.Int64  // begun at once, the last time
	latency atomic.Int64  // EWMA in ns, 0 before the first answer
	seen    atomic.Int64  // time of the newest answer
	born    atomic.Int64  // time from which slow start counts
	failed  atomic.Int64  // time of the newest failure, 0: none
	penalty atomic.Uint64 // float64 bits, 0 means 1: set by the verdict of the control plane
}

// latencyWindow is the time constant of the latency average.
const latencyWindow = time.Second

// Begin books n requests or payloads that are on their way.
func (l *Load) Begin(n int) {
	l.pending.Add(int64(n))
	l.recent.Add(int64(n))
	l.run.Store(int64(n))
}

// End books that n of them are over, answered or not.
func (l *Load) End(n int) { l.pending.Add(-int64(n)) }

// Fail books a failure or a refusal: for a short while the pod looks worse than it is.
func (l *Load) Fail(now time.Duration) { l.failed.Store(int64(max(now, 1))) }

// fade forgets a part of what was begun.
func (l *Load) fade() { l.recent.Add(-l.recent.Load() / fadeShare) }

// Pending returns how many are on their way.
func (l *Load) Pending() int64 { return l.pending.Load() }

// Latency returns the average time to an answer, 0 before the first.
func (l *Load) Latency() time.Duration { return time.Duration(l.latency.Load()) }

// Observe books that an answer took so long. The average moves by the share of its window that has passed since the answer
// before. Of answers that come at once one may be lost.
func (l *Load) Observe(took, now time.Duration) {
	old, at := l.latency.Load(), l.seen.Swap(int64(now))
	if old == 0 {
		l.latency.CompareAndSwap(0, max(1, int64(took)))
		return
	}
	share := 1 - math.Exp(-float64(int64(now)-at)/float64(latencyWindow))
	l.latency.CompareAndSwap(old, max(1, old+int64(share*float64(int64(took)-old))))
}
