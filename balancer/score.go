package balancer

import (
	"math"
	"slices"
	"time"
)

const (
	failWindow = 200 * time.Millisecond // for which a failure counts
	failWeight = 8
	slowStart  = 5 * time.Second // in which a new pod comes to its full share
	slowFloor  = 0.1             // of the share, at the start

	// A pod that takes more than slowRatio times as long as the median counts slowWeight times. The first is above the
	// second for a reason: answers wait until the pod's batch is full, so a pod that gets half as much takes twice as
	// long, and would be judged by what the judgement itself has done to it.
	slowRatio  = 3
	slowWeight = 2
)

// score is the cost of sending one more to the pod: lower is better. What is pending leads. Latency is not a factor of it,
// as it is in peak-EWMA balancers: acks come after a commit, which waits for a batch, so the busier of two equal pods
// answers faster, and would get ever more.
func (l *Load) score(now time.Duration) float64 {
	s := float64(l.pending.Load() + 1)
	if p := l.penalty.Load(); p != 0 {
		s *= math.Float64frombits(p)
	}
	if failed := l.failed.Load(); failed != 0 && now-time.Duration(failed) < failWindow {
		s *= failWeight
	}
	if age := now - time.Duration(l.born.Load()); age < slowStart {
		s /= max(slowFloor, float64(age)/float64(slowStart))
	}
	return s
}

// judge compares the pods' latencies, and lets those stand back that are far slower than the others.
func judge(loads []*Load) {
	var known []time.Duration
	for _, l := range loads {
		if d := l.Latency(); d > 0 {
			known = append(known, d)
		}
	}
	slices.Sort(known)
	for _, l := range loads {
		weight := 1.0
		if len(known) > 1 && l.Latency() > slowRatio*known[(len(known)-1)/2] {
			weight = slowWeight
		}
		l.penalty.Store(math.Float64bits(weight))
	}
}
