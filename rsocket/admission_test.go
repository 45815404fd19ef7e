package rsocket

import (
	"net/netip"
	"testing"
	"time"
)

func TestAdmission(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	a := admission{perAddress: 2, rate: 3}
	for i, addr := range []netip.Addr{one, one, two} {
		if why := a.admit(addr, now); why != "" {
			t.Fatalf("connection %d: %s", i, why)
		}
	}
	if a.admit(one, now.Add(time.Hour)) == "" {
		t.Error("third connection of an address admitted")
	}
	if a.admit(two, now) == "" {
		t.Error("fourth connection of a second admitted")
	}
	if why := a.admit(two, now.Add(400*time.Millisecond)); why != "" {
		t.Errorf("after 0.4 s: %s", why)
	}
	a.leave(one)
	if why := a.admit(one, now.Add(time.Second)); why != "" {
		t.Errorf("after one left: %s", why)
	}
	for range 2 {
		a.leave(one)
		a.leave(two)
	}
	if len(a.open) != 0 {
		t.Errorf("left over: %v", a.open)
	}
}

func TestConnectionsPerAddress(t *testing.T) {
	m := new(Metrics)
	s, addr := startServer(t, ServerOptions{Handlers: echoHandlers(), MaxConnsPerAddr: 1, Metrics: m})
	c := dial(t, addr, ClientOptions{})
	if _, err := c.RequestResponse(testContext(t), data("x")); err != nil {
		t.Fatal(err)
	}
	p := rawDial(t, addr)
	if msg := p.expectError(0, CodeRejectedSetup); msg != "too many connections from this address" {
		t.Errorf("message %q", msg)
	}
	_ = c.Close()
	eventually(t, func() bool { return s.Conns() == 0 }, "connection ended")
	c = dial(t, addr, ClientOptions{})
	if _, err := c.RequestResponse(testContext(t), data("x")); err != nil {
		t.Errorf("after the first has left: %v", err)
	}
	if m.Refused.Load() != 1 {
		t.Errorf("%d refused", m.Refused.Load())
	}
}

// A rate of less than one a second admits the first connection, and the next when it is due.
func TestSlowAdmission(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	a := admission{rate: 0.5}
	for i, c := range []struct {
		after time.Duration
		admit bool
	}{{0, true}, {time.Second, false}, {2 * time.Second, true}, {time.Hour, true}, {time.Hour, false}} {
		if why := a.admit(netip.Addr{}, now.Add(c.after)); (why == "") != c.admit {
			t.Errorf("connection %d after %v: %q", i, c.after, why)
		}
	}
}
