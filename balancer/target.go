package balancer

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"
)

// DefaultPort is the port of a weir:// host that names none.
const DefaultPort = "7000"

// The ways of finding pods.
const (
	DiscoverDNS    = "dns"    // the addresses of each host are the pods
	DiscoverWatch  = "watch"  // the hosts are asked which pods there are
	DiscoverStatic = "static" // each host is a pod
)

// Bounds of refresh.
const (
	MinRefresh     = time.Second
	MaxRefresh     = 10 * time.Minute
	defaultRefresh = 5 * time.Second
)

// Target says where a pipeline is to be found. It is written as
//
//	target   = address *( "," address ) [ "/" pipeline ]
//	         / "weir://" host *( "," host ) [ "/" pipeline ] [ "?" option *( "&" option ) ]
//	address  = name ":" port / IPv4 ":" port / "[" IPv6 "]" ":" port
//	host     = address / name / IPv4 / "[" IPv6 "]"
//	option   = "discover=" ( "dns" / "watch" / "static" ) / "refresh=" duration / "family=" ( "4" / "6" )
//
// Addresses without a scheme are dialed as they are. With weir:// every host is looked up, and each of its addresses is a pod.
type Target struct {
	Hosts    []HostPort
	Pipeline string // empty: the only one of the server
	Discover string
	Refresh  time.Duration // between two questions where the pods are
	Family   int           // 4, 6, or 0: IPv4 unless there are only IPv6 addresses
	Scheme   bool          // it began with weir://
}

// HostPort is a host of a target. Port is empty if the target names none.
type HostPort struct{ Host, Port string }

// String joins host and port, [DefaultPort] if it has none.
func (h HostPort) String() string {
	port := h.Port
	if port == "" {
		port = DefaultPort
	}
	return net.JoinHostPort(h.Host, port)
}

// ParseTarget reads a target. Its errors name it and say what is wrong.
func ParseTarget(s string) (Target, error) {
	t, err := parseTarget(s)
	if err != nil {
		return Target{}, fmt.Errorf("target %q: %w", s, err)
	}
	return t, nil
}

func parseTarget(s string) (Target, error) {
	t := Target{Discover: DiscoverStatic, Refresh: defaultRefresh}
	rest, scheme := strings.CutPrefix(s, "weir://")
	if !scheme && strings.Contains(s, "://") {
		return t, errors.New("the only scheme is weir://")
	}
	if scheme {
		t.Scheme, t.Discover = true, DiscoverDNS
		var query string
		rest, query, _ = strings.Cut(rest, "?")
		if err := t.options(query); err != nil {
			return t, err
		}
	}
	hosts, pipeline, slash := strings.Cut(rest, "/")
	pipeline = strings.TrimSuffix(pipeline, "/")
	if strings.ContainsAny(hosts+pipeline, "/ \t\n?#@") || slash && pipeline == "" && !scheme {
		return t, errors.New("use host:port, or weir://host:port/pipeline")
	}
	t.Pipeline = pipeline
	for h := range strings.SplitSeq(hosts, ",") {
		hp, err := splitHost(h)
		if err != nil {
			return t, err
		}
		if hp.Port == "" && !scheme {
			return t, fmt.Errorf("use host:port, or weir://host:port/pipeline: %q has no port", h)
		}
		if slices.Contains(t.Hosts, hp) {
			return t, fmt.Errorf("%q is named twice", h)
		}
		t.Hosts = append(t.Hosts, hp)
	}
	return t, nil
}

// splitHost reads host, host:port, IPv4, [IPv6] or [IPv6]:port.
func splitHost(s string) (HostPort, error) {
	host, port := s, ""
	switch {
	case strings.HasPrefix(s, "[") && strings.HasSuffix(s, "]"):
		host = s[1 : len(s)-1]
	case strings.Contains(s, ":"):
		var err error
		if host, port, err = net.SplitHostPort(s); err != nil {
			return HostPort{}, fmt.Errorf("host %q: use host:port, an IPv6 address in brackets: %w", s, err)
		}
		if port == "" {
			return HostPort{}, fmt.Errorf("host %q has a colon and no port", s)
		}
	}
	if host == "" {
		return HostPort{}, errors.New("a host is missing: use host:port, or weir://host:port/pipeline")
	}
	if strings.HasPrefix(s, "[") {
		if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
			return HostPort{}, fmt.Errorf("host %q: only an IPv6 address stands in brackets", s)
		}
	}
	return HostPort{host, port}, nil
}

func (t *Target) options(query string) error {
	values, err := url.ParseQuery(query)
	if err != nil {
		return err
	}
	for name, v := range values {
		if len(v) > 1 {
			return fmt.Errorf("%s is given twice", name)
		}
		if err := t.option(name, v[0]); err != nil {
			return err
		}
	}
	return nil
}

func (t *Target) option(name, v string) error {
	switch name {
	case "discover":
		if v != DiscoverDNS && v != DiscoverWatch && v != DiscoverStatic {
			return fmt.Errorf("discover=%s: use dns, watch or static", v)
		}
		t.Discover = v
	case "refresh":
		d, err := time.ParseDuration(v)
		if err != nil || d < MinRefresh || d > MaxRefresh {
			return fmt.Errorf("refresh=%s: use a duration from %v to %v", v, MinRefresh, MaxRefresh)
		}
		t.Refresh = d
	case "family":
		if v != "4" && v != "6" {
			return fmt.Errorf("family=%s: use 4 or 6", v)
		}
		t.Family = int(v[0] - '0')
	default:
		return fmt.Errorf("option %q is not known: use discover, refresh or family", name)
	}
	return nil
}

// Single says that the target is one address that is dialed as it is.
func (t *Target) Single() bool { return !t.Scheme && len(t.Hosts) == 1 }
