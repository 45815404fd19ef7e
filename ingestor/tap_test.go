package ingestor

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
	"github.com/weir-dev/weir/ingestor/transform"
)

// TestTapIsLocal: taps are answered to the same host only, and not to pages that a browser was told are there.
func TestTapIsLocal(t *testing.T) {
	for _, c := range []struct {
		from, host string
		want       bool
	}{
		{"127.0.0.1:5", "localhost:9090", true},
		{"127.0.0.1:5", "127.0.0.1", true},
		{"[::1]:5", "[::1]:9090", true},
		{"[::ffff:127.0.0.1]:5", "localhost", true},
		{"10.0.0.7:5", "localhost:9090", false},
		{"10.0.0.7:5", "10.0.0.1:9090", false},
		{"127.0.0.1:5", "evil.example:9090", false},
		{"127.0.0.1:5", "10.0.0.1:9090", false},
		{"", "localhost", false},
	} {
		if got := local(&http.Request{RemoteAddr: c.from, Host: c.host}); got != c.want {
			t.Errorf("from %q for %q: %t", c.from, c.host, got)
		}
	}
}

// TestTapPolicy: what a pipeline with steps that hide something shows, by policy.
func TestTapPolicy(t *testing.T) {
	mask, faults := transform.Compile(transform.Options{Steps: []transform.Step{{Mask: &transform.Mask{Columns: []string{"card"}}}}})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	open, faults := transform.Compile(transform.Options{Steps: []transform.Step{{Filter: "a > 1"}}})
	if len(faults) > 0 {
		t.Fatal(faults)
	}
	for _, c := range []struct {
		policy  TapPolicy
		steps   *transform.Program
		stage   string
		refused bool
	}{
		{TapMasked, nil, stageReceived, false},
		{TapMasked, open, stageRejected, false},
		{TapMasked, mask, stageReceived, true},
		{TapMasked, mask, stageRejected, true},
		{TapMasked, mask, stageDecoded, false},
		{TapAll, mask, stageReceived, false},
		{TapOff, nil, stageDecoded, true},
	} {
		p := &Pipeline{set: Settings{Taps: c.policy, Transform: c.steps}}
		if why := p.tapRefusal(c.stage); (why != "") != c.refused {
			t.Errorf("policy %d, stage %s: %q", c.policy, c.stage, why)
		}
	}
}

func testTap(stage, query string) *tap {
	t, problem := newTap(httptest.NewRequestWithContext(context.Background(), http.MethodGet, "/tap/p?stage="+stage+query, http.NoBody))
	if problem != "" {
		panic(problem)
	}
	return t
}

// TestTapIsBounded: rate, queue and sizes, and what is left out is counted.
func TestTapIsBounded(t *testing.T) {
	n := testTap(stageReceived, "&rate=2&bytes=5")
	now := n.since
	l := &tapList{n}
	for i := range 10 {
		l.payload(tapped{at: now, door: doorStream, stream: "s", seq: int64(i), mime: event.JSON, data: []byte(`"aäü"`)}, nil)
	}
	if len(n.out) != 2 {
		t.Fatalf("%d samples in no time at 2 a second", len(n.out))
	}
	if s := <-n.out; *s.Text != `"aä` || !s.Cut || s.Bytes != 7 || s.Skipped != 0 {
		t.Errorf("%+v, %q", s, *s.Text)
	}
	<-n.out
	l.payload(tapped{at: now.Add(time.Second), mime: event.JSON, data: []byte("\xff{")}, nil)
	if s := <-n.out; s.Skipped != 8 || s.Text != nil || string(s.Base64) != "\xff{" {
		t.Errorf("%+v", s)
	}
	n = testTap(stageReceived, "&rate=1000")
	l = &tapList{n}
	for range 1000 {
		l.payload(tapped{at: now, mime: event.JSON, data: []byte("{}")}, nil)
	}
	if len(n.out) != tapQueue || n.skipped != 1000-tapQueue {
		t.Errorf("%d samples wait, %d are skipped", len(n.out), n.skipped)
	}
}

// TestTapRejected shows the record of each reject.
func TestTapRejected(t *testing.T) {
	n := testTap(stageRejected, "")
	l := &tapList{n}
	l.payload(tapped{at: n.since, mime: event.NDJSON, data: []byte("{}\nx\n\ny")}, []decode.Reject{{Row: 1, Reason: "a"}, {Row: 3, Reason: "b"}})
	l.payload(tapped{at: n.since, mime: event.JSON, data: []byte("{}")}, nil)
	for _, want := range []string{"x", "y"} {
		if s := <-n.out; *s.Text != want || s.Reason == "" {
			t.Errorf("%+v", s)
		}
	}
	if len(n.out) > 0 {
		t.Error("a sample of a payload without rejects")
	}
}

// TestTapDecoded draws rows over several batches.
func TestTapDecoded(t *testing.T) {
	var all taps
	n := testTap(stageDecoded, "&rate=64&bytes=30")
	if _, problem := all.open(n); problem != "" {
		t.Fatal(problem)
	}
	typ := &schema.Type{Kind: schema.Struct, Fields: []schema.Field{{Name: `a"b`, Type: &schema.Type{Kind: schema.Long}, Nullable: true}}}
	var batches []*column.Batch
	next := int64(0)
	for _, rows := range []int{3, 0, 40} {
		b := column.NewBatch(typ)
		for range rows {
			b.Columns[0].AppendInt64(next)
			next++
		}
		b.Seal(rows)
		batches = append(batches, b)
	}
	all.decoded(batches)
	last := int64(-1)
	if len(n.out) != 43 {
		t.Fatalf("%d samples of 43 rows", len(n.out))
	}
	for len(n.out) > 0 {
		var row map[string]int64
		if err := json.Unmarshal((<-n.out).Row, &row); err != nil || row[`a"b`] != last+1 {
			t.Fatalf("%v after %d: %v", row, last, err)
		}
		last++
	}
	all.decoded(batches)
	if some := len(n.out); some < 21 || (<-n.out).Skipped != int64(43-some) {
		t.Errorf("%d samples of 43 rows", some)
	}
	all.remove(n)
	if all.all.Load() != nil {
		t.Error("a tap is left")
	}
}

// TestTapDoor taps a running pipeline: as many as may, until it stops.
func TestTapDoor(t *testing.T) {
	h := start(t, nil)
	get := func() (status int, lines *bufio.Reader) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, h.admin+"/tap/p", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = res.Body.Close() })
		return res.StatusCode, bufio.NewReader(res.Body)
	}
	var lines []*bufio.Reader
	for range maxTaps {
		status, samples := get()
		if status != http.StatusOK {
			t.Fatalf("status %d", status)
		}
		lines = append(lines, samples)
	}
	if status, _ := get(); status != http.StatusTooManyRequests {
		t.Errorf("one tap more: status %d", status)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.http+"/v1/pipelines/p/events", strings.NewReader(`{"a":1}`))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	for _, l := range lines {
		text, err := l.ReadBytes('\n')
		if err != nil {
			t.Fatal(err)
		}
		var s sample
		if err := json.Unmarshal(text, &s); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(`{"a":1}`, string(s.Row)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if err := h.stop(); err != nil {
		t.Fatal(err)
	}
	for _, l := range lines {
		if _, err := l.ReadBytes('\n'); err == nil {
			t.Error("a sample after the stop")
		}
	}
}
