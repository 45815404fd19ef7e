package balancer

import (
	"cmp"
	"hash/fnv"
	"slices"
	"time"
)

// members keeps who belongs to the cluster. It has no clock and no I/O: answers and the time are arguments.
//
// A member is wanted while answers name it and the subset includes it. One that is not wanted any more drains: it is not
// picked, and goes when nothing is pending on it or drainWait has passed. If it comes back before, nothing has happened.
type members struct {
	seed      uint64
	max       int // of wanted members
	drainWait time.Duration
	byID      map[string]*member
}

type member struct {
	Endpoint
	draining bool
	since    time.Duration // of draining
}

// change is what an answer did.
type change struct {
	joined  []*member
	drained []*member // they were wanted and are not
	back    []*member // they drained and are wanted again
	moved   []*member // the address is a new one: another process under the same name
}

// apply takes an answer in. One without endpoints says nothing.
func (m *members) apply(answer []Endpoint, now time.Duration) (c change) {
	if len(answer) == 0 {
		return c
	}
	wanted := map[string]Endpoint{}
	for _, e := range m.subset(answer) {
		wanted[e.ID] = e
	}
	for id, mb := range m.byID {
		e, ok := wanted[id]
		switch {
		case !ok && !mb.draining:
			mb.draining, mb.since = true, now
			c.drained = append(c.drained, mb)
		case ok && mb.Addr != e.Addr:
			mb.Endpoint, mb.draining = e, false
			c.moved = append(c.moved, mb)
		case ok && mb.draining:
			mb.draining = false
			c.back = append(c.back, mb)
		}
	}
	for id, e := range wanted {
		if m.byID[id] == nil {
			mb := &member{Endpoint: e}
			m.byID[id] = mb
			c.joined = append(c.joined, mb)
		}
	}
	return c
}

// leaving returns those whose time to drain is over, and forgets them.
func (m *members) leaving(now time.Duration, pending func(id string) int64) []*member {
	var gone []*member
	for id, mb := range m.byID {
		if mb.draining && (pending(id) == 0 || now-mb.since >= m.drainWait) {
			gone = append(gone, mb)
			delete(m.byID, id)
		}
	}
	return gone
}

// subset picks at most max endpoints by rendezvous hashing: each client has its own choice, and a pod that comes or goes
// changes it by at most one member.
func (m *members) subset(all []Endpoint) []Endpoint {
	if len(all) <= m.max {
		return all
	}
	type ranked struct {
		Endpoint
		rank uint64
	}
	order := make([]ranked, len(all))
	for i, e := range all {
		order[i] = ranked{e, rendezvous(m.seed, e.ID)}
	}
	slices.SortFunc(order, func(a, b ranked) int { return cmp.Or(cmp.Compare(a.rank, b.rank), cmp.Compare(a.ID, b.ID)) })
	chosen := make([]Endpoint, m.max)
	for i := range chosen {
		chosen[i] = order[i].Endpoint
	}
	return chosen
}

// rendezvous mixes a client's seed and a pod's id; the finalizer is that of splitmix64.
func rendezvous(seed uint64, id string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(id)) // never fails
	x := h.Sum64() ^ seed
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
