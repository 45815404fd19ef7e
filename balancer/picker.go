package balancer

import (
	"sync/atomic"
	"time"
)

// Candidate is a pod that may be picked, with what is known of it. Usable is the owner's word, for one purpose: a pod without
// connection, one that drains, or a stream without credit is not usable.
type Candidate struct {
	Load   *Load
	usable atomic.Bool
}

// NewCandidate returns a candidate that is not usable yet.
func NewCandidate(l *Load) *Candidate { return &Candidate{Load: l} }

// SetUsable says whether the candidate may be picked.
func (c *Candidate) SetUsable(on bool) { c.usable.Store(on) }

// Usable says whether the candidate may be picked.
func (c *Candidate) Usable() bool { return c.usable.Load() }

// Picker picks among the candidates it was made of. It is immutable: candidates change through their atomics, and when they
// come and go there is a new Picker. Pick may be called from any goroutine, takes no lock and allocates nothing.
type Picker interface {
	// Pick returns the index of a usable candidate, -1 if there is none.
	Pick(now time.Duration) int
}

// Policy makes a Picker. random returns 64 random bits; with the same bits a Picker makes the same picks.
type Policy func(candidates []*Candidate, random func() uint64) Picker

// P2C draws two candidates and takes the better one (M. Mitzenmacher, "The power of two choices in randomized
// load balancing", 2001): clients that know only their own requests do not all run to the same pod, as they would to the
// least loaded of all.
//
// A pick costs one draw and one comparison. Only if neither of the two is usable, it looks through the others.
func P2C(candidates []*Candidate, random func() uint64) Picker {
	return &p2c{candidates, random}
}

type p2c struct {
	candidates []*Candidate
	random     func() uint64
}

// Pick implements [Picker].
func (p *p2c) Pick(now time.Duration) int {
	n := uint64(len(p.candidates))
	if n == 0 {
		return -1
	}
	r := p.random()
	i := int(r >> 32 * n >> 32)
	if n == 1 {
		return p.only(i)
	}
	j := int(r & (1<<32 - 1) * (n - 1) >> 32)
	if j >= i {
		j++
	}
	a, b := p.candidates[i], p.candidates[j]
	switch aOK, bOK := a.Usable(), b.Usable(); {
	case aOK && bOK:
		if b.Load.before(a.Load, now) {
			return j
		}
		return i
	case aOK:
		return i
	case bOK:
		return j
	}
	return p.any(i, now)
}

func (p *p2c) only(i int) int {
	if p.candidates[i].Usable() {
		return i
	}
	return -1
}

// any returns the best of the usable candidates.
func (p *p2c) any(from int, now time.Duration) int {
	best := -1
	for k := range p.candidates {
		i := (from + k) % len(p.candidates)
		if c := p.candidates[i]; c.Usable() && (best < 0 || c.Load.before(p.candidates[best].Load, now)) {
			best = i
		}
	}
	return best
}
