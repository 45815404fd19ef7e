package balancer

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestParseTarget(t *testing.T) {
	hosts := func(all ...string) (out []HostPort) {
		for _, h := range all {
			host, port, _ := strings.Cut(h, "|")
			out = append(out, HostPort{host, port})
		}
		return out
	}
	plain := Target{Discover: DiscoverStatic, Refresh: defaultRefresh}
	weir := Target{Discover: DiscoverDNS, Refresh: defaultRefresh, Scheme: true}
	with := func(t Target, h []HostPort, pipeline string, more ...func(*Target)) Target {
		t.Hosts, t.Pipeline = h, pipeline
		for _, m := range more {
			m(&t)
		}
		return t
	}
	for target, want := range map[string]Target{
		"localhost:7000":         with(plain, hosts("localhost|7000"), ""),
		"localhost:7000/clicks":  with(plain, hosts("localhost|7000"), "clicks"),
		"a:1,b:2":                with(plain, hosts("a|1", "b|2"), ""),
		"[::1]:7000":             with(plain, hosts("::1|7000"), ""),
		"weir://h:1/clicks":      with(weir, hosts("h|1"), "clicks"),
		"weir://h:1":             with(weir, hosts("h|1"), ""),
		"weir://h:1/":            with(weir, hosts("h|1"), ""),
		"weir://h":               with(weir, hosts("h|"), ""),
		"weir://[fd00::1],h:2/p": with(weir, hosts("fd00::1|", "h|2"), "p"),
		"weir://h/p?discover=watch&refresh=1m&family=6": with(weir, hosts("h|"), "p", func(t *Target) {
			t.Discover, t.Refresh, t.Family = DiscoverWatch, time.Minute, 6
		}),
		"weir://h:1?discover=static": with(weir, hosts("h|1"), "", func(t *Target) { t.Discover = DiscoverStatic }),
	} {
		got, err := ParseTarget(target)
		if err != nil {
			t.Errorf("%s: %v", target, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", target, diff)
		}
	}
	for target, reason := range map[string]string{
		"localhost":                   "has no port",
		"a:1,b":                       `"b" has no port`,
		"http://h:1/x":                "the only scheme is weir://",
		"":                            "a host is missing",
		"weir://":                     "a host is missing",
		"weir://a,,b":                 "a host is missing",
		"weir://h:1/a/b":              "use host:port",
		"h:1/":                        "use host:port",
		"weir://user@h:1/a":           "use host:port",
		"weir://h:":                   "has a colon and no port",
		"weir://::1":                  "an IPv6 address in brackets",
		"weir://[h]":                  "only an IPv6 address",
		"weir://a:1,a:1":              "named twice",
		"weir://h:1/a?ack=durable":    `option "ack" is not known`,
		"weir://h?refresh=1ms":        "from 1s to 10m0s",
		"weir://h?refresh=5s&refresh": "given twice",
		"weir://h?family=5":           "use 4 or 6",
		"weir://h?discover=gossip":    "use dns, watch or static",
		"h:1?family=4":                "use host:port",
	} {
		if got, err := ParseTarget(target); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: %+v, %v; want %q", target, got, err, reason)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	for _, s := range []string{"a:1", "weir://h/p?refresh=5s", "weir://[::1]:1,b", "h:1,i:2/p"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got, err := ParseTarget(s)
		if err != nil {
			return
		}
		if len(got.Hosts) == 0 || got.Refresh < MinRefresh || got.Refresh > MaxRefresh {
			t.Errorf("%q: %+v", s, got)
		}
		for _, h := range got.Hosts {
			if h.Host == "" || h.Port == "" && !got.Scheme {
				t.Errorf("%q: %+v", s, got)
			}
		}
	})
}
