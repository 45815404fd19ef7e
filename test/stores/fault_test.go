package stores

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/backends"
	"github.com/weir-dev/weir/delta/store/remote"
	"github.com/weir-dev/weir/test/peers"
)

// hasty gives up early, so that a test is short.
var hasty = remote.Options{Attempts: 4, Delay: 5 * time.Millisecond, MaxDelay: 20 * time.Millisecond, Timeout: 2 * time.Second}

func openHasty(t *testing.T, endpoint, uri string) store.Store {
	t.Helper()
	st, err := backends.Open(t.Context(), uri, backends.Settings{Endpoint: endpoint, Remote: hasty})
	must(t, err)
	return st
}

// stormy does something bad to a part of the requests: storms of 503 and 500, cut connections, answers that are lost after
// the server did its work, and answers cut in the middle.
func stormy(seed uint64, part float64) func(*http.Request) peers.Fault {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 7))
	faults := []peers.Fault{peers.Busy, peers.Busy, peers.Broken, peers.CutBefore, peers.LostAnswer, peers.LostAnswer, peers.LateError, peers.HalfAnswer}
	return func(*http.Request) peers.Fault {
		mu.Lock()
		defer mu.Unlock()
		if r.Float64() >= part {
			return peers.Pass
		}
		return faults[r.IntN(len(faults))]
	}
}

// TestStorm: whatever the store does, an acknowledged commit is in the log once, a refused one not at all, and one of
// unknown outcome at most once.
func TestStorm(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			server.Setenv(t)
			proxy := peers.NewProxy(t, server)
			storm(t, "s3", proxy, func() string { return proxy.URL })
		})
	}
	t.Run("fake-gcs-server", func(t *testing.T) {
		server := peers.FakeGCS(t)
		proxy := peers.NewProxy(t, server)
		proxy.Host = strings.TrimPrefix(server.URL, "http://") // it serves one host, and nobody signs
		storm(t, "gs", proxy, func() string {
			t.Setenv("STORAGE_EMULATOR_HOST", proxy.URL) // an endpoint that is given otherwise wants credentials
			return ""
		})
	})
	t.Run("azurite", func(t *testing.T) {
		server := peers.Azurite(t)
		path := "/" + peers.AzureAccount
		proxy := peers.NewProxy(t, &peers.Server{URL: strings.TrimSuffix(server.URL, path)})
		storm(t, "az", proxy, func() string { return proxy.URL + path })
	})
}

// storm has four writers commit through the proxy, at the endpoint that through returns.
func storm(t *testing.T, scheme string, proxy *peers.Proxy, through func() string) {
	t.Helper()
	uri := scheme + "://" + peers.Bucket + "/storm"
	direct := openStore(t, uri)
	createTable(t, direct)
	endpoint := through()
	const writers, each = 4, 10
	var mu sync.Mutex
	acked, failed := map[int64]string{}, map[string]error{}
	var wg sync.WaitGroup
	tables := make([]*delta.Table, writers)
	for w := range tables {
		table, err := delta.Open(t.Context(), openHasty(t, endpoint, uri), delta.Options{MaxAttempts: 1000})
		must(t, err)
		tables[w] = table
	}
	proxy.On(stormy(1, 0.3), nil)
	for w, table := range tables {
		wg.Go(func() {
			for i := range each {
				file := fmt.Sprintf("w%d-%d", w, i)
				res, err := table.Commit(t.Context(), appending(file))
				mu.Lock()
				if err == nil {
					acked[res.Version] = file
				} else {
					failed[file] = err
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	proxy.On(nil, nil)
	s := checkLog(t, direct, acked)
	unknown := 0
	for file, err := range failed {
		if _, open := errors.AsType[*delta.UnknownOutcomeError](err); open {
			unknown++
		} else if s.Contains(file) {
			t.Errorf("%s failed with %v and is in the table", file, err)
		}
	}
	if len(acked) < writers*each/2 {
		t.Errorf("only %d of %d commits got through; failed: %v", len(acked), writers*each, failed)
	}
	t.Logf("3 requests of 10 fail: %d commits acknowledged, %d refused, %d unknown; version %d", len(acked), len(failed)-unknown, unknown, s.Version())
	for _, table := range tables {
		must(t, table.Close(context.WithoutCancel(t.Context())))
	}
}

// TestAmbiguousPut: the server writes the object and its answer is lost, cut or late. The put is settled by reading back:
// it succeeds, once; and when another was first, it says so.
func TestAmbiguousPut(t *testing.T) {
	server := peers.S3(t)
	server.Setenv(t)
	proxy := peers.NewProxy(t, server)
	uri := "s3://" + peers.Bucket + "/ambiguous"
	direct := openStore(t, uri)
	for name, fault := range map[string]peers.Fault{"lost answer": peers.LostAnswer, "late error": peers.LateError, "cut before": peers.CutBefore, "busy": peers.Busy} {
		t.Run(name, func(t *testing.T) {
			st := openHasty(t, proxy.URL, uri)
			once := func() func(*http.Request) peers.Fault {
				var first sync.Once
				return func(r *http.Request) (f peers.Fault) {
					if r.Method == http.MethodPut {
						first.Do(func() { f = fault })
					}
					return f
				}
			}
			proxy.On(once(), nil)
			must(t, st.PutIfAbsent(t.Context(), name+"/mine", []byte("mine")))
			must(t, direct.PutIfAbsent(t.Context(), name+"/theirs", []byte("same bytes")))
			proxy.On(once(), nil)
			if err := st.PutIfAbsent(t.Context(), name+"/theirs", []byte("same bytes")); !errors.Is(err, store.ErrExist) {
				t.Errorf("the key was taken by another put of the same bytes: %v", err)
			}
		})
	}
	t.Run("late answer", func(t *testing.T) {
		o := hasty
		o.Timeout = 300 * time.Millisecond
		st, err := backends.Open(t.Context(), uri, backends.Settings{Endpoint: proxy.URL, Remote: o})
		must(t, err)
		release := make(chan struct{})
		var first sync.Once
		proxy.On(nil, func(r *http.Request) {
			if r.Method == http.MethodPut {
				first.Do(func() { <-release })
			}
		})
		defer close(release)
		must(t, st.PutIfAbsent(t.Context(), "late", []byte("late")))
	})
}

// TestOutage: a server that is gone gives a clear error soon, after which surely nothing was written.
func TestOutage(t *testing.T) {
	server := peers.S3(t)
	server.Setenv(t)
	st := openHasty(t, server.URL, "s3://"+peers.Bucket+"/outage")
	must(t, st.Put(t.Context(), "a", []byte("x")))
	server.Stop()
	err := st.PutIfAbsent(t.Context(), "b", nil)
	if !errors.Is(err, store.ErrNotWritten) || store.ClassOf(err) != store.Retry || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("put: %v", err)
	}
	if _, err := st.Get(t.Context(), "a"); store.ClassOf(err) != store.Retry || !strings.Contains(err.Error(), "4 attempts failed") {
		t.Errorf("get: %v", err)
	}
}

// TestRefusals: what a service refuses is told at once, with what to do about it.
func TestRefusals(t *testing.T) {
	good := peers.S3(t)
	good.Setenv(t)
	skewed := peers.S3(t, "--clock", "1h")
	for name, c := range map[string]struct {
		server *peers.Server
		uri    string
		env    map[string]string
		want   []string
	}{
		"skewed clock": {skewed, "s3://tables/x", nil, []string{"RequestTimeTooSkewed", "(HTTP 403)", "the clock of this machine"}},
		"no bucket":    {good, "s3://nobody/x", nil, []string{"NoSuchBucket", "(HTTP 404)", "make the bucket"}},
		"wrong key":    {good, "s3://tables/x", map[string]string{"AWS_ACCESS_KEY_ID": "who"}, []string{"InvalidAccessKeyId", "check AWS_ACCESS_KEY_ID"}},
		"wrong secret": {good, "s3://tables/x", map[string]string{"AWS_SECRET_ACCESS_KEY": "what"}, []string{"SignatureDoesNotMatch", "check AWS_SECRET_ACCESS_KEY"}},
		"no key":       {good, "s3://tables/x", map[string]string{"AWS_ACCESS_KEY_ID": ""}, []string{"no credentials for S3", "set AWS_ACCESS_KEY_ID"}},
		"anonymous":    {good, "s3://tables/x", map[string]string{"AWS_SKIP_SIGNATURE": "true"}, []string{"AccessDenied", "docs/storage.md"}},
	} {
		t.Run(name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			st := openHasty(t, c.server.URL, c.uri)
			requests := map[string]error{"probe": store.Probe(t.Context(), st, "_weir"), "put": st.Put(t.Context(), "a", nil)}
			_, requests["get"] = st.Get(t.Context(), "a")
			for _, err := range st.List(t.Context(), "", "") {
				requests["list"] = err
			}
			for request, err := range requests {
				if store.ClassOf(err) != store.Reject {
					t.Errorf("%s: %v, of class %v; want it refused", request, err, store.ClassOf(err))
					continue
				}
				for _, want := range c.want {
					if !strings.Contains(err.Error(), want) {
						t.Errorf("%s: %v; want it to say %q", request, err, want)
					}
				}
			}
		})
	}
}

// TestProbe refuses services that do not put an object only if it is absent.
func TestProbe(t *testing.T) {
	server := peers.S3(t, "--access-key", "") // so that a header may be taken away
	server.Setenv(t)
	proxy := peers.NewProxy(t, server)
	st := openHasty(t, proxy.URL, "s3://"+peers.Bucket+"/probe")
	must(t, store.Probe(t.Context(), st, "_weir"))
	proxy.On(func(r *http.Request) peers.Fault {
		r.Header.Del("If-None-Match")
		return peers.Pass
	}, nil)
	err := store.Probe(t.Context(), st, "_weir")
	if _, unsafe := errors.AsType[*store.UnsafeError](err); !unsafe || store.ClassOf(err) != store.Fatal {
		t.Errorf("a service that ignores If-None-Match: %v", err)
	}
	proxy.On(func(r *http.Request) peers.Fault {
		if r.Header.Get("If-None-Match") != "" {
			return peers.Unknown
		}
		return peers.Pass
	}, nil)
	err = store.Probe(t.Context(), st, "_weir")
	if _, unsafe := errors.AsType[*store.UnsafeError](err); !unsafe || !strings.Contains(err.Error(), "NotImplemented") {
		t.Errorf("a service that does not implement If-None-Match: %v", err)
	}
}
