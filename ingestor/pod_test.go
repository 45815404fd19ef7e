package ingestor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/ingestor/batch"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/protocol"
)

// bucket is a store that can be away: every write fails then as that of a service which refuses does.
type bucket struct {
	store.Store
	away atomic.Bool
	n    atomic.Int64
}

func (b *bucket) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if b.away.Load() {
		return &store.KeyError{Op: "put", Key: key, Err: fmt.Errorf("https://lake: 403 AccessDenied, RequestID: R%d, HostID: h==", b.n.Add(1))}
	}
	return b.Store.PutIfAbsent(ctx, key, data)
}

// podUnderTest is RunPod over a store.
type podUnderTest struct {
	*testing.T
	admin  string
	doors  chan string // URL of the HTTP door, once it is open
	cancel context.CancelFunc
	done   chan error
}

func runPod(t *testing.T, s store.Store) *podUnderTest {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	admin := listen(t)
	p := &podUnderTest{T: t, admin: "http://" + admin.Addr().String(), cancel: cancel, done: make(chan error, 1)}
	doors := make(chan string, 1)
	conf := PodConfig{
		Name: "p-1", Pipeline: "p", Version: "test", Admin: admin, Pause: time.Millisecond, Log: slog.New(slog.DiscardHandler),
		Configure: func(context.Context) (Config, error) {
			return Config{
				Pipelines: []Settings{{
					Name: "p", Store: s, Memory: 64 << 20, Decode: decode.Options{MaxEventBytes: 1 << 20},
					Batch: batch.Settings{MaxRecords: 1000, MaxAge: time.Millisecond, MaxBytes: 16 << 20, MinGap: time.Millisecond},
				}},
				Grace: 20 * time.Second, Version: "test", Registry: newTestRegistry(), Log: slog.New(slog.DiscardHandler),
			}, nil
		},
		Doors: func(context.Context) (rs, h net.Listener, err error) {
			rs, h = listen(t), listen(t)
			doors <- "http://" + h.Addr().String()
			return rs, h, nil
		},
	}
	go func() { p.done <- RunPod(ctx, conf) }()
	t.Cleanup(cancel)
	p.doors = doors
	return p
}

func (p *podUnderTest) get(path string) (int, string) {
	p.Helper()
	req, err := http.NewRequestWithContext(p.Context(), http.MethodGet, p.admin+path, http.NoBody)
	if err != nil {
		p.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		p.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		p.Fatal(err)
	}
	return res.StatusCode, string(b)
}

// until waits for a status that is as want says.
func (p *podUnderTest) until(want func(protocol.PodStatus) bool) protocol.PodStatus {
	p.Helper()
	for {
		var s protocol.PodStatus
		_, body := p.get("/status")
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			p.Fatal(err)
		}
		if want(s) {
			return s
		}
		select {
		case err := <-p.done:
			p.Fatalf("the pod ended: %v; its status was %+v", err, s)
		case <-time.After(time.Millisecond):
		}
	}
}

// TestPodWaitsForItsStore: while the store is away the pod is alive and says why it is not ready; when the store comes back
// it takes events.
func TestPodWaitsForItsStore(t *testing.T) {
	b := &bucket{Store: store.NewMemory()}
	b.away.Store(true)
	p := runPod(t, b)
	s := p.until(func(s protocol.PodStatus) bool { return s.Pipelines[0].Storage.State == protocol.CheckFailed })
	if s.Ready || s.Pod != "p-1" || s.Message != "cannot start: "+s.Pipelines[0].Error || s.Pipelines[0].State != protocol.StateStarting ||
		s.Pipelines[0].Table.State != protocol.CheckUnknown || s.Pipelines[0].Storage.Reason != protocol.ReasonUnreachable {
		t.Errorf("%+v", s)
	}
	if message := s.Pipelines[0].Storage.Message; message != "pipeline p: table: probe memory://: https://lake: 403 AccessDenied" {
		t.Errorf("the message is %q; want it without what is another in each answer", message)
	}
	if status, body := p.get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "AccessDenied") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	if status, _ := p.get("/livez"); status != http.StatusOK {
		t.Errorf("/livez: %d", status)
	}
	b.away.Store(false)
	s = p.until(func(s protocol.PodStatus) bool { return s.Ready })
	if st := s.Pipelines[0]; st.Storage.Reason != protocol.ReasonPutIfAbsent || st.Table.Reason != protocol.ReasonNoTableYet {
		t.Errorf("%+v", st)
	}
	if status, body := p.get("/metrics"); status != http.StatusOK || !strings.Contains(body, `weir_ready{pipeline="p"} 1`) {
		t.Errorf("/metrics: %d", status)
	}
	p.cancel()
	if err := <-p.done; err != nil {
		t.Error(err)
	}
}

// TestPodStopsWhileItWaits: a pod that has not started stops at once.
func TestPodStopsWhileItWaits(t *testing.T) {
	b := &bucket{Store: store.NewMemory()}
	b.away.Store(true)
	p := runPod(t, b)
	p.until(func(s protocol.PodStatus) bool { return s.Pipelines[0].Storage.State == protocol.CheckFailed })
	p.cancel()
	if err := <-p.done; err != nil {
		t.Error(err)
	}
}

// TestPodThatCannotGoOn stays, so that somebody can look at it, and takes nothing.
func TestPodThatCannotGoOn(t *testing.T) {
	p := runPod(t, recreated{store.NewMemory()})
	p.until(func(s protocol.PodStatus) bool { return s.Ready })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, <-p.doors+"/v1/pipelines/p/events", strings.NewReader(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	s := p.until(func(s protocol.PodStatus) bool { return s.Pipelines[0].State == protocol.StateFailed && !s.Ready })
	if st := s.Pipelines[0]; st.Table.Reason != protocol.ReasonRecreated || st.Storage.State != protocol.CheckPassed {
		t.Errorf("%+v", st)
	}
	p.cancel()
	if err := <-p.done; !errors.Is(err, delta.ErrTableRecreated) {
		t.Errorf("the pod ended with %v", err)
	}
}

func TestChecks(t *testing.T) {
	unsafe := &store.UnsafeError{Store: "s3://b", Reason: "it replaced an object"}
	tests := map[string]struct {
		err                    error
		storage, table, reason string
	}{
		"fine":             {nil, "Passed", "Passed", protocol.ReasonWritable},
		"unsafe":           {&openError{storagePart, unsafe}, "Failed", "Unknown", protocol.ReasonUnsafePutIfAbsent},
		"unreadable log":   {&openError{tablePart, &store.KeyError{Op: "get", Key: "k", Err: io.ErrUnexpectedEOF}}, "Failed", "Unknown", protocol.ReasonUnreachable},
		"feature":          {&openError{tablePart, &delta.UnsupportedFeatureError{Feature: "x", Write: true}}, "Passed", "Failed", protocol.ReasonUnsupported},
		"partitioning":     {&openError{tablePart, errors.New("is partitioned by [a]")}, "Passed", "Failed", protocol.ReasonMismatch},
		"damaged":          {&openError{tablePart, &delta.CorruptLogError{Err: io.EOF}}, "Passed", "Failed", protocol.ReasonDamaged},
		"commit refused":   {&delta.UnsupportedFeatureError{Feature: "x"}, "Passed", "Failed", protocol.ReasonUnsupported},
		"commit fails":     {fmt.Errorf("commit: %w", io.ErrUnexpectedEOF), "Failed", "Passed", protocol.ReasonUnreachable},
		"table made again": {delta.ErrTableRecreated, "Passed", "Failed", protocol.ReasonRecreated},
	}
	for name, tt := range tests {
		storage, table := checks(tt.err, 1)
		reason := storage.Reason
		if table.State == protocol.CheckFailed || tt.err == nil {
			reason = table.Reason
		}
		if storage.State != tt.storage || table.State != tt.table || reason != tt.reason {
			t.Errorf("%s: storage %+v, table %+v", name, storage, table)
		}
	}
}
