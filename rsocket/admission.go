package rsocket

import (
	"net"
	"net/netip"
	"sync"
	"time"
)

// admission decides on connections before anything is read from them.
type admission struct {
	perAddress int     // connections of one address at once; 0: no limit
	rate       float64 // connections a second, with as many at once; 0: no limit

	mu     sync.Mutex // guards the fields below
	open   map[netip.Addr]int
	tokens float64
	filled time.Time
}

// admit takes a place for the address, or says why there is none.
func (a *admission) admit(addr netip.Addr, now time.Time) (refusal string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.perAddress > 0 && addr.IsValid() && a.open[addr] >= a.perAddress {
		return "too many connections from this address"
	}
	if !a.spend(now) {
		return "too many new connections, try again later"
	}
	if a.perAddress > 0 && addr.IsValid() {
		if a.open == nil {
			a.open = make(map[netip.Addr]int)
		}
		a.open[addr]++
	}
	return ""
}

// spend takes a token of the bucket, with mu held. The bucket holds the tokens of one second, and at least one.
func (a *admission) spend(now time.Time) bool {
	if a.rate <= 0 {
		return true
	}
	most := max(a.rate, 1)
	if a.filled.IsZero() {
		a.tokens = most
	} else {
		a.tokens = min(most, a.tokens+a.rate*now.Sub(a.filled).Seconds())
	}
	a.filled = now
	if a.tokens < 1 {
		return false
	}
	a.tokens--
	return true
}

// leave gives the place of the address back.
func (a *admission) leave(addr netip.Addr) {
	if a.perAddress <= 0 || !addr.IsValid() {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open[addr]--; a.open[addr] <= 0 {
		delete(a.open, addr)
	}
}

// addressOf returns the address without its port; it is invalid for transports without one.
func addressOf(a net.Addr) netip.Addr {
	if t, ok := a.(*net.TCPAddr); ok {
		ip := t.AddrPort().Addr()
		return ip.Unmap()
	}
	return netip.Addr{}
}
