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

// kind is a server that every fault is tried at.
type kind struct {
	scheme   string
	speech   peers.Speech
	start    func(*testing.T) *peers.Server
	refusals map[string]refusal // see refusal_test.go
}

var kinds = map[string]kind{
	"gofakes3":        {"s3", peers.S3Speech, servers["gofakes3"], s3Refusals},
	"versitygw":       {"s3", peers.S3Speech, servers["versitygw"], s3Refusals},
	"fake-gcs-server": {"gs", peers.GCSSpeech, peers.FakeGCS, gcsRefusals},
	"azurite":         {"az", peers.AzureSpeech, peers.Azurite, azureRefusals},
}

// front is a server behind a proxy.
type front struct {
	kind
	server   *peers.Server
	proxy    *peers.Proxy
	endpoint string // of the proxy
}

func (k kind) front(t *testing.T) *front {
	t.Helper()
	f := &front{kind: k, server: k.start(t)}
	switch k.scheme {
	case "s3":
		f.server.Setenv(t)
		f.proxy = peers.NewProxy(t, f.server)
		f.endpoint = f.proxy.URL
	case "gs":
		t.Setenv("GOOGLE_SKIP_SIGNATURE", "true") // an endpoint that is given wants credentials otherwise
		f.proxy = peers.NewProxy(t, f.server)
		f.proxy.Host = strings.TrimPrefix(f.server.URL, "http://") // it serves one host
		f.endpoint = f.proxy.URL
	case "az":
		path := "/" + peers.AzureAccount
		f.proxy = peers.NewProxy(t, &peers.Server{URL: strings.TrimSuffix(f.server.URL, path)})
		f.endpoint = f.proxy.URL + path
	}
	f.proxy.Speech = k.speech
	return f
}

func (f *front) uri(dir string) string { return f.scheme + "://" + peers.Bucket + "/" + dir }

// open opens a store through the proxy.
func (f *front) open(t *testing.T, uri string, o remote.Options) store.Store {
	t.Helper()
	st, err := backends.Open(t.Context(), uri, backends.Settings{Endpoint: f.endpoint, Remote: o})
	must(t, err)
	t.Cleanup(st.(interface{ Close() }).Close)
	return st
}

// TestFaults: what may go wrong before a store, before a server of each kind.
func TestFaults(t *testing.T) {
	for name, k := range kinds {
		t.Run(name, func(t *testing.T) {
			f := k.front(t)
			t.Run("storm", f.storm)
			t.Run("ambiguous put", f.ambiguousPut)
			t.Run("ambiguous commit", f.ambiguousCommit)
			t.Run("slow put", f.slowPut)
			t.Run("asked to wait", f.askedToWait)
			t.Run("cut uploads", f.cutUpload)
			t.Run("broken uploads", f.brokenUpload)
			t.Run("refusals", f.refused)
			t.Run("untrusted", f.untrusted)
			t.Run("probe", f.probe)
			t.Run("outage", f.outage) // the last: the server is gone then
		})
	}
}

// on sets what the proxy does until the test ends.
func (f *front) on(t *testing.T, decide func(*http.Request) peers.Fault, answer func(*http.Request)) {
	t.Helper()
	f.proxy.On(decide, answer)
	t.Cleanup(func() { f.proxy.On(nil, nil) })
}

// stormy does something bad to a part of the requests: storms of 503 and 500, cut connections, answers that are lost after
// the server did its work, and answers cut in the middle.
func stormy(seed uint64, part float64) func(*http.Request) peers.Fault {
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 7))
	faults := []peers.Fault{peers.Busy, peers.Busy, peers.Broken, peers.CutBefore, peers.HalfRequest, peers.LostAnswer, peers.LostAnswer, peers.LateError, peers.HalfAnswer}
	return func(*http.Request) peers.Fault {
		mu.Lock()
		defer mu.Unlock()
		if r.Float64() >= part {
			return peers.Pass
		}
		return faults[r.IntN(len(faults))]
	}
}

// storm: whatever the store does, an acknowledged commit is in the log once, a refused one not at all, and one of unknown
// outcome at most once.
func (f *front) storm(t *testing.T) {
	uri := f.uri("storm")
	direct := openStore(t, uri)
	createTable(t, direct)
	const writers, each = 4, 10
	var mu sync.Mutex
	acked, failed := map[int64]string{}, map[string]error{}
	var wg sync.WaitGroup
	tables := make([]*delta.Table, writers)
	for w := range tables {
		table, err := delta.Open(t.Context(), f.open(t, uri, hasty), delta.Options{MaxAttempts: 1000})
		must(t, err)
		tables[w] = table
	}
	f.on(t, stormy(1, 0.3), nil)
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
	f.on(t, nil, nil)
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

// askedToWait: a service that says when to come again is not asked before, and one that says so for long not at all.
func (f *front) askedToWait(t *testing.T) {
	st, requests := f.open(t, f.uri("wait"), hasty), map[string]error{}
	n := 0
	f.on(t, func(*http.Request) peers.Fault {
		n++
		return peers.Throttled
	}, nil)
	_, requests["get"] = st.Get(t.Context(), "a")
	requests["put"] = st.PutIfAbsent(t.Context(), "a", []byte("x"))
	for _, err := range st.List(t.Context(), "", "") {
		requests["list"] = err
	}
	for name, err := range requests {
		if store.ClassOf(err) != store.Retry || !strings.Contains(err.Error(), "asks to be left alone for 1h0m0s") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if !errors.Is(requests["put"], store.ErrNotWritten) || n != len(requests) {
		t.Errorf("%d requests: %v", n, requests["put"])
	}
}

// outage: a server that is gone gives a clear error soon, after which surely nothing was written.
func (f *front) outage(t *testing.T) {
	st, err := backends.Open(t.Context(), f.uri("outage"), backends.Settings{Remote: hasty})
	must(t, err)
	must(t, st.Put(t.Context(), "a", []byte("x")))
	f.server.Kill()
	if _, err := st.Get(t.Context(), "a"); store.ClassOf(err) != store.Retry || !strings.Contains(err.Error(), "4 attempts failed") {
		t.Errorf("get: %v", err)
	}
	// The connections from before are gone by now; what went out on one of them could have been written.
	err = st.PutIfAbsent(t.Context(), "b", nil)
	if !errors.Is(err, store.ErrNotWritten) || store.ClassOf(err) != store.Retry || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("put: %v", err)
	}
	for _, err := range st.List(t.Context(), "", "") {
		if store.ClassOf(err) != store.Retry || !strings.Contains(err.Error(), "the service is not there, or the endpoint is wrong") {
			t.Errorf("list: %v", err)
		}
	}
}
