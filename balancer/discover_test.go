package balancer

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// zone is a name server.
type zone struct {
	addrs map[string][]string
	srv   map[string][]*net.SRV
	down  map[string]bool
}

var errServfail = &net.DNSError{Err: "server misbehaving", IsTemporary: true}

func (z *zone) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if z.down[host] {
		return nil, errServfail
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	var out []netip.Addr
	for _, s := range z.addrs[host] {
		out = append(out, netip.MustParseAddr(s))
	}
	if out == nil {
		return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
	}
	return out, nil
}

func (z *zone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if all := z.srv[name]; all != nil && service == "rsocket" && proto == "tcp" && !z.down[name] {
		return name, all, nil
	}
	return "", nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

func resolve(t *testing.T, r Resolver) []Endpoint {
	t.Helper()
	got, err := r.Resolve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func dnsOf(t *testing.T, target string, z *zone) *DNS {
	t.Helper()
	parsed, err := ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	return NewDNS(&parsed, z)
}

// Each address is a pod, once, and those of the other family are the same pods.
func TestDNSAddresses(t *testing.T) {
	z := &zone{addrs: map[string][]string{
		"h":  {"10.0.0.2", "10.0.0.1", "10.0.0.2", "fd00::1", "::ffff:10.0.0.3"},
		"v6": {"fd00::2"},
	}}
	at := func(host string, all ...string) (out []Endpoint) {
		for _, a := range all {
			out = append(out, Endpoint{a, a, host})
		}
		return out
	}
	for target, want := range map[string][]Endpoint{
		"weir://h":                at("h", "10.0.0.1:7000", "10.0.0.2:7000", "10.0.0.3:7000"),
		"weir://h:1":              at("h", "10.0.0.1:1", "10.0.0.2:1", "10.0.0.3:1"),
		"weir://h:1?family=6":     at("h", "[fd00::1]:1"),
		"weir://v6":               at("v6", "[fd00::2]:7000"),
		"weir://10.9.9.9,v6:2":    append(at("10.9.9.9", "10.9.9.9:7000"), at("v6", "[fd00::2]:2")...),
		"weir://[fd00::7]:3,10.1": nil,
	} {
		d := dnsOf(t, target, z)
		if want == nil {
			want = at("fd00::7", "[fd00::7]:3")
		}
		if diff := cmp.Diff(want, resolve(t, d)); diff != "" {
			t.Errorf("%s: %s", target, diff)
		}
	}
}

// SRV records name the pods; a pod whose address is not known yet is left out.
func TestDNSNames(t *testing.T) {
	z := &zone{
		addrs: map[string][]string{"e-0.h.": {"10.0.0.1", "fd00::1"}, "e-1.h.": {"10.0.0.2"}, "h": {"10.0.0.9"}},
		srv:   map[string][]*net.SRV{"h": {{Target: "e-1.h.", Port: 7001}, {Target: "e-0.h.", Port: 7000}, {Target: "e-2.h.", Port: 7000}}},
	}
	want := []Endpoint{{"e-1.h", "10.0.0.2:7001", "h"}, {"e-0.h", "10.0.0.1:7000", "h"}}
	if diff := cmp.Diff(want, resolve(t, dnsOf(t, "weir://h", z))); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]Endpoint{{"10.0.0.9:5", "10.0.0.9:5", "h"}}, resolve(t, dnsOf(t, "weir://h:5", z))); diff != "" {
		t.Error("with a port:", diff)
	}
	z.srv["h"] = nil
	if diff := cmp.Diff([]Endpoint{{"10.0.0.9:7000", "10.0.0.9:7000", "h"}}, resolve(t, dnsOf(t, "weir://h", z))); diff != "" {
		t.Error("without records:", diff)
	}
}

// Of several hosts, one that cannot be looked up keeps its pods.
func TestDNSKeepsLastAnswer(t *testing.T) {
	z := &zone{addrs: map[string][]string{"a": {"10.0.0.1"}, "b": {"10.0.0.2"}}, down: map[string]bool{}}
	d := dnsOf(t, "weir://a,b", z)
	both := resolve(t, d)
	z.down["a"] = true
	if diff := cmp.Diff(both, resolve(t, d)); diff != "" {
		t.Error(diff)
	}
	z.down["b"] = true
	if got, err := d.Resolve(t.Context()); !errors.Is(err, errServfail) {
		t.Errorf("%v %v", got, err)
	}
	z.down, z.addrs["a"] = nil, []string{"fd00::1"}
	if diff := cmp.Diff([]Endpoint{{"[fd00::1]:7000", "[fd00::1]:7000", "a"}, both[1]}, resolve(t, d)); diff != "" {
		t.Error(diff)
	}
}
