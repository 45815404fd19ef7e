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

	// A pod is passed over when more than passOver times as much is pending on it as on the other one.
	passOver = 2
	// fadeShare is the part of what was begun, 1/fadeShare, that is forgotten every second.
	fadeShare = 10
)

// weight is how much heavier than others the pod is to be taken.
func (l *Load) weight(now time.Duration) float64 {
	w := 1.0
	if p := l.penalty.Load(); p != 0 {
		w = math.Float64frombits(p)
	}
	if failed := l.failed.Load(); failed != 0 && now-time.Duration(failed) < failWindow {
		w *= failWeight
	}
	if age := now - time.Duration(l.born.Load()); age < slowStart {
		w /= max(slowFloor, float64(age)/float64(slowStart))
	}
	return w
}

// before says whether the pod of l is to be picked rather than that of m.
//
// One on which far more is pending is passed over. Between others the one that got less lately is picked, so that pods that
// keep up get equal shares, whatever the moments at which they commit.
//
// Latency is not a factor, as it is in peak-EWMA balancers: acks come after a commit, which waits for a batch, so the busier
// of two equal pods answers faster, and would get ever more.
func (l *Load) before(m *Load, now time.Duration) bool {
	lw, mw := l.weight(now), m.weight(now)
	lp, mp := float64(l.pending.Load()+1)*lw, float64(m.pending.Load()+1)*mw
	slack := float64(4 * max(l.run.Load(), m.run.Load(), 1))
	switch {
	case lp > passOver*mp+slack*lw:
		return false
	case mp > passOver*lp+slack*mw:
		return true
	}
	return float64(l.recent.Load()+1)*lw < float64(m.recent.Load()+1)*mw
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
