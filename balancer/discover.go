package balancer

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// Endpoint is where a pod is to be reached.
type Endpoint struct {
	ID   string // of the pod, the same as long as it is the same pod; its address if nothing better is known
	Addr string // host:port
	Host string // the name by which the pod was found, which its certificate has; "": the host of Addr
}

// Resolver says which pods there are now. An error, or an answer without pods, means that nothing is known: nobody is cut off
// because of it. Resolve is called by one goroutine at a time.
type Resolver interface {
	Resolve(ctx context.Context) ([]Endpoint, error)
}

// Static is a list of pods that does not change.
type Static []Endpoint

// Resolve implements [Resolver].
func (s Static) Resolve(context.Context) ([]Endpoint, error) { return s, nil }

// StaticTarget is the list of the hosts of t.
func StaticTarget(t *Target) Static {
	s := make(Static, len(t.Hosts))
	for i, h := range t.Hosts {
		s[i] = Endpoint{ID: h.String(), Addr: h.String()}
	}
	return s
}

// Lookup is the part of [net.Resolver] that discovery needs.
type Lookup interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
}

// ErrNoPods is the answer of a name that has no addresses now.
var ErrNoPods = errors.New("no pods are known by this name")

// maxPods bounds what is taken from one answer.
const maxPods = 4096

// DNS asks for the addresses of headless services. A host without a port is first asked for SRV records of
// _rsocket._tcp, which name the pods one by one with their ports: a Kubernetes service has them for a port called
// rsocket. Otherwise every A record, or AAAA record if there is no other, is a pod; a pod with addresses of both families
// would count twice.
//
// Each host keeps its last answer while a new one cannot be had.
type DNS struct {
	Hosts  []HostPort
	Family int    // as in [Target]
	Lookup Lookup // nil: net.DefaultResolver

	last map[HostPort][]Endpoint
}

// NewDNS returns the discovery of a target by DNS.
func NewDNS(t *Target, l Lookup) *DNS { return &DNS{Hosts: t.Hosts, Family: t.Family, Lookup: l} }

// Resolve implements [Resolver].
func (d *DNS) Resolve(ctx context.Context) ([]Endpoint, error) {
	if d.last == nil {
		d.last = map[HostPort][]Endpoint{}
	}
	var all []Endpoint
	var errs []error
	for _, h := range d.Hosts {
		found, err := d.host(ctx, h)
		if err != nil {
			errs = append(errs, fmt.Errorf("look up %s: %w", h.Host, err))
			found = d.last[h]
		}
		d.last[h] = found
		all = append(all, found...)
	}
	if len(errs) == len(d.Hosts) {
		return nil, errors.Join(errs...)
	}
	return all, nil
}

func (d *DNS) host(ctx context.Context, h HostPort) ([]Endpoint, error) {
	lookup := d.Lookup
	if lookup == nil {
		lookup = net.DefaultResolver
	}
	if h.Port == "" && !isAddr(h.Host) {
		if found, err := d.byName(ctx, lookup, h.Host); err == nil && len(found) > 0 {
			return found, nil
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	addrs, err := d.addrs(ctx, lookup, h.Host)
	if err != nil {
		return nil, err
	}
	found := make([]Endpoint, 0, len(addrs))
	for _, a := range addrs {
		addr := net.JoinHostPort(a.String(), cmp.Or(h.Port, DefaultPort))
		found = append(found, Endpoint{ID: addr, Addr: addr, Host: h.Host})
	}
	return found, nil
}

func isAddr(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// byName returns the pods that SRV records name. One whose own name has no address yet is left out.
func (d *DNS) byName(ctx context.Context, lookup Lookup, host string) ([]Endpoint, error) {
	_, records, err := lookup.LookupSRV(ctx, "rsocket", "tcp", host)
	if err != nil {
		return nil, err
	}
	var found []Endpoint
	for _, r := range records[:min(len(records), maxPods)] {
		addrs, err := d.addrs(ctx, lookup, r.Target)
		if err != nil {
			continue
		}
		id := strings.TrimSuffix(r.Target, ".")
		found = append(found, Endpoint{ID: id, Addr: net.JoinHostPort(addrs[0].String(), strconv.Itoa(int(r.Port))), Host: host})
	}
	return found, nil
}

// addrs returns the addresses of one family, sorted, at least one.
func (d *DNS) addrs(ctx context.Context, lookup Lookup, host string) ([]netip.Addr, error) {
	all, err := lookup.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var v4, v6 []netip.Addr
	for _, a := range all[:min(len(all), maxPods)] {
		if a = a.Unmap(); a.Is4() {
			v4 = append(v4, a)
		} else {
			v6 = append(v6, a)
		}
	}
	found := v4
	if d.Family == 6 || d.Family == 0 && len(v4) == 0 {
		found = v6
	}
	if len(found) == 0 {
		return nil, ErrNoPods
	}
	slices.SortFunc(found, netip.Addr.Compare)
	return slices.Compact(found), nil
}
