package ingestor

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

func TestRequest(t *testing.T) {
	h := start(t, nil)
	c := h.dial()
	p, err := c.RequestResponse(t.Context(), rsocket.NewPayload([]byte(`{"a":1}`), route(protocol.RouteRequest)))
	if err != nil {
		t.Fatal(err)
	}
	if m, err := protocol.ParseMessage(p.Data); err != nil || m.Type != protocol.TypeAck || m.Records != 1 {
		t.Fatalf("%s, %v", p.Data, err)
	}
	_, err = c.RequestResponse(t.Context(), rsocket.NewPayload([]byte(`{"a":`), route(protocol.RouteRequest)))
	if e, ok := errors.AsType[*rsocket.Error](err); !ok || e.Code != rsocket.CodeInvalid {
		t.Fatalf("a malformed record: %v", err)
	}
	h.wantRows(`{"a":1}`)
}

func TestFireAndForget(t *testing.T) {
	h := start(t, nil)
	c := h.dial()
	for _, e := range []string{`{"a":1}`, `{`, `{"a":2}`} {
		if err := c.FireAndForget(t.Context(), rsocket.NewPayload([]byte(e), route("p."+protocol.RouteFireAndForget))); err != nil {
			t.Fatal(err)
		}
	}
	for h.in.pipelines["p"].metrics.totals.committed.Load() < 2 {
		<-time.After(time.Millisecond)
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	h.wantRows(`{"a":1}`, `{"a":2}`)
	if s := h.in.Status()[0]; s.Accepted != 2 || s.Rejected != 1 || s.Committed != 2 {
		t.Errorf("%+v", s)
	}
}

func TestStatusWatch(t *testing.T) {
	h := start(t, nil)
	in, err := h.dial().RequestStream(t.Context(), rsocket.NewPayload(nil, route(protocol.RouteStatus)), 1)
	if err != nil {
		t.Fatal(err)
	}
	p, err := in.Recv(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{`"pipeline":"p"`, `"state":"Running"`, `"limitedBy":"producers"`} {
		if !bytes.Contains(p.Data, []byte(part)) {
			t.Errorf("%s lacks %s", p.Data, part)
		}
	}
	in.Cancel()
}

// post returns status and body of a POST.
func (h *harness) post(path, mime, body string) (int, string, http.Header) {
	h.Helper()
	req, err := http.NewRequestWithContext(h.Context(), http.MethodPost, h.http+path, strings.NewReader(body))
	if err != nil {
		h.Fatal(err)
	}
	req.Header.Set("Content-Type", mime)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		h.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		h.Fatal(err)
	}
	return res.StatusCode, string(b), res.Header
}

func TestHTTP(t *testing.T) {
	h := start(t, func(c *Config) { c.Pipelines[0].Decode.MaxEventBytes = 64 << 10 })
	const events = "/v1/pipelines/p/events"
	for name, tc := range map[string]struct {
		path, mime, body string
		status           int
		says             string
	}{
		"one":            {events, "application/json", `{"a":1}`, 200, `"records":1`},
		"many":           {events, "application/x-ndjson", "{\"a\":2}\n{\"a\":3}\n", 200, `"records":2`},
		"some bad":       {events, "application/x-ndjson", "{\"a\":4}\n{\"a\":\n", 200, `"row":1`},
		"all bad":        {events, "application/json", `{`, 400, `"reason"`},
		"empty":          {events, "application/json", ``, 400, `"reason"`},
		"unknown":        {"/v1/pipelines/q/events", "application/json", `{}`, 404, `p`},
		"wrong type":     {events, "text/csv", "a,b", 415, `application/x-ndjson`},
		"event too long": {events, "application/json", `{"a":"` + strings.Repeat("x", 65<<10) + `"}`, 400, `"reason"`},
		"body too long":  {events, "application/json", strings.Repeat("x", 9<<20), 413, `split`},
	} {
		status, body, _ := h.post(tc.path, tc.mime, tc.body)
		if status != tc.status || !strings.Contains(body, tc.says) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	h.wantRows(`{"a":1}`, `{"a":2}`, `{"a":3}`, `{"a":4}`)
}

// TestHTTPIsHeldByTheSameAdmission fills the pool through the store's stall and expects 429 with Retry-After.
func TestHTTPIsHeldByTheSameAdmission(t *testing.T) {
	gate := newGate()
	h := start(t, func(c *Config) {
		c.Pipelines[0].Memory = minMemory
		c.Pipelines[0].Store = gate.wrap(c.Pipelines[0].Store)
	})
	gate.close()
	body := `{"a":"` + strings.Repeat("x", 1000<<10) + `"}`
	var posts sync.WaitGroup
	for range 8 { // 8 MiB is the pool
		posts.Go(func() {
			if status, body, _ := h.post("/v1/pipelines/p/events", "application/json", body); status != http.StatusOK {
				t.Errorf("held post: %d %s", status, body)
			}
		})
	}
	h.until(func() bool { // until the posts hold the pool, and want no more of it
		held, _ := h.in.admit.pool.Usage()
		return held >= 8*int64(len(body))
	})
	status, answer, head := h.post("/v1/pipelines/p/events", "application/json", body)
	if status != http.StatusTooManyRequests || head.Get("Retry-After") == "" {
		t.Errorf("beyond the pool: %d %s, Retry-After %q", status, answer, head.Get("Retry-After"))
	}
	gate.open()
	posts.Wait()
	if got := len(h.rows()); got != 8 {
		t.Errorf("%d rows of 8", got)
	}
}

func TestAdmin(t *testing.T) {
	h := start(t, nil)
	get := func(path string) (int, string) {
		req, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodGet, h.admin+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	for h.in.ready() != nil {
		<-time.After(time.Millisecond)
	}
	for path, says := range map[string]string{
		"/livez": "ok", "/readyz": "ok", "/status": `"ready":true,"pipelines":[{"pipeline":"p","state":"Running"`, "/metrics": `weir_records_accepted_total{door="stream",pipeline="p"} 0`,
	} {
		if status, body := get(path); status != http.StatusOK || !strings.Contains(body, says) {
			t.Errorf("%s: %d %.500s", path, status, body)
		}
	}
	h.in.pipelines["p"].stopping.Store(true)
	if status, body := get("/readyz"); status != http.StatusServiceUnavailable || !strings.Contains(body, "draining") {
		t.Errorf("while draining: %d %s", status, body)
	}
}

// TestFireAndForgetOutlivesItsConnection: what a connection left in its queue when it was closed is taken once there is
// room again.
func TestFireAndForgetOutlivesItsConnection(t *testing.T) {
	gate := newGate()
	h := start(t, func(c *Config) {
		c.Pipelines[0].Memory = minMemory
		c.Pipelines[0].Store = gate.wrap(c.Pipelines[0].Store)
	})
	gate.close()
	c := h.dial()
	event := []byte(`{"a":"` + strings.Repeat("x", 100<<10) + `"}`)
	const n = 60 // of which the growing batch takes 4 MiB
	sent := make(chan error, 1)
	go func() {
		for range n {
			if err := c.FireAndForget(t.Context(), rsocket.NewPayload(event, route(protocol.RouteFireAndForget))); err != nil {
				sent <- err
				return
			}
		}
		sent <- nil
	}()
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	for h.in.pipelines["p"].metrics.totals.accepted.Load() < 20 {
		<-time.After(time.Millisecond)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	gate.open()
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	accepted := h.in.pipelines["p"].metrics.totals.accepted.Load()
	if got := int64(len(h.rows())); got != accepted || accepted < 20 {
		t.Errorf("%d rows, %d accepted", got, accepted)
	}
	families, err := h.in.conf.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "weir_payloads_dropped_total" {
			t.Errorf("payloads were dropped when their connection ended: %v", f)
		}
	}
}

// TestWatchersHoldNoShutdownUp: neither one who has demand nor one who takes nothing.
func TestWatchersHoldNoShutdownUp(t *testing.T) {
	h := start(t, func(c *Config) { c.Grace = 2 * time.Second })
	c := h.dial()
	for _, what := range []string{protocol.RouteStatus, protocol.RouteCluster} {
		for _, demand := range []int{1, 100} {
			in, err := c.RequestStream(t.Context(), rsocket.NewPayload(nil, route(what)), demand)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := in.Recv(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := h.stop(); err != nil {
		t.Errorf("stop: %v", err)
	}
}

// TestAProducerThatTakesNoAckLeavesTimeForTheRest: its stream is cut off, and what came in behind the drain is flushed all the
// same.
func TestAProducerThatTakesNoAckLeavesTimeForTheRest(t *testing.T) {
	h := start(t, func(c *Config) { c.Grace = time.Second })
	out, in, err := h.dial().RequestChannel(t.Context(), rsocket.NewPayload([]byte(`{"a":1}`), route(protocol.RouteStream)), 1, rsocket.ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Recv(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := out.Send(t.Context(), rsocket.NewPayload([]byte(`{"a":2}`), nil)); err != nil {
		t.Fatal(err)
	}
	h.until(func() bool { return h.in.pipelines["p"].metrics.totals.committed.Load() == 2 })
	if err := h.stop(); !errors.Is(err, context.DeadlineExceeded) || strings.Contains(err.Error(), "flush") {
		t.Errorf("stop: %v", err)
	}
}

// TestShortMemoryHastensTheCommit also while there is no channel: what waits in the batch would otherwise hold the memory until it
// is old enough, and every door without credit shut.
func TestShortMemoryHastensTheCommit(t *testing.T) {
	for _, door := range []string{protocol.RouteRequest, protocol.RouteFireAndForget, "http"} {
		t.Run(door, func(t *testing.T) {
			h := start(t, func(c *Config) { c.Pipelines[0].Batch.MaxAge = time.Hour })
			c, p := h.dial(), h.in.pipelines["p"]
			event := rsocket.NewPayload([]byte(`{"a":1}`), route(protocol.RouteFireAndForget))
			if err := c.FireAndForget(t.Context(), event); err != nil {
				t.Fatal(err)
			}
			h.accepted(1)
			all := p.admit.pool.Capacity()
			p.admit.pool.Hold(all)
			var err error
			switch door {
			case "http":
				if status, body, _ := h.post("/v1/pipelines/p/events", "application/json", `{"a":2}`); status != http.StatusTooManyRequests {
					t.Error(status, body)
				}
			case protocol.RouteRequest:
				if _, err := c.RequestResponse(t.Context(), rsocket.NewPayload([]byte(`{"a":2}`), route(door))); err == nil {
					t.Error("a request was taken without memory")
				}
			default:
				err = c.FireAndForget(t.Context(), event)
			}
			if err != nil {
				t.Error(err)
			}
			late := time.After(time.Minute)
			for p.metrics.totals.committed.Load() == 0 {
				select {
				case <-late:
					t.Fatal("the batch is not committed")
				case <-time.After(time.Millisecond):
				}
			}
			p.admit.pool.Hold(-all)
		})
	}
}
