package ingestor

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/rsocket"
)

// lockedBuffer is a log that is read while it is written.
type lockedBuffer struct {
	mu sync.Mutex // guards b
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// hostileRecords are valid records that no table is made for. Each has an id of its own.
func hostileRecords() []string {
	var all []string
	add := func(members string) { all = append(all, fmt.Sprintf(`{"id":%d,%s}`, len(all), members)) }
	for range 4 {
		for _, v := range []string{`1`, `"x"`, `1.5`, `true`, `[1]`, `{"a":1}`, `"2026-11-24T16:00:00Z"`, `[{"a":[2]}]`} {
			add(`"alternates":` + v)
			add(`"list":[` + v + `,1]`)
		}
	}
	for i := range 64 {
		key := []byte("casing")
		for j := range key {
			if i>>j&1 == 1 {
				key[j] -= 'a' - 'A'
			}
		}
		add(fmt.Sprintf(`"%s":%d`, key, i))
	}
	for _, name := range []string{`a,b;c{d}(e)=f\n\tg`, `a_b_c_d__e__f__g`, `,`, `;`, `{}`, `\n`, ` `, `=`, `\u0000`, strings.Repeat("n", 2000)} {
		add(`"` + name + `":1`)
	}
	for _, c := range []string{"x", `\n`, "é", "日"} {
		add(`"long` + c + `":"` + strings.Repeat(c, 1<<20/len(c)) + `"`)
	}
	for _, n := range []string{strings.Repeat("9", 400), "-" + strings.Repeat("1", 400), "0." + strings.Repeat("3", 400) + "e500", "1e400", "-1e-400"} {
		add(`"number":` + n)
		add(`"digits":1,"more":{"digits":` + n + `}`)
	}
	var keys strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&keys, `,"key%d":%d`, i, i)
	}
	add(keys.String()[1:])
	return all
}

// TestHostileData sends through a running pipeline what no table is made for: alternating types, a key in each casing, names
// that tables cannot have, texts of 1 MiB, numbers of 400 digits, 100,000 keys in one event and 20,000 over as many events.
// All of it lands, each value under its name in a column or in _rescued. What is no JSON is refused with advice.
func TestHostileData(t *testing.T) {
	log := &lockedBuffer{}
	h := start(t, func(c *Config) {
		c.Pipelines[0].Memory = 128 << 20
		c.Pipelines[0].Decode.MaxEventBytes = 4 << 20
		c.Pipelines[0].Decode.MaxColumns = 40
		c.Log = slog.New(slog.NewTextHandler(log, nil))
	})
	s, _ := h.openNamed(h.dial(), 1, 0)
	want := map[string]map[string]string{}
	seq := int64(0)
	send := func(records ...string) {
		seq++
		payload := rsocket.NewPayload([]byte(strings.Join(records, "\n")), rsocket.AppendComposite(nil, rsocket.MIMEPerStreamData, rsocket.AppendStreamMIME(nil, "application/x-ndjson")))
		if err := s.out.Send(t.Context(), payload); err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			l := leavesOf(t, r)
			want[l["id"]] = l
		}
	}
	all := hostileRecords()
	for _, r := range all {
		send(r)
	}
	if m := s.ackTo(seq); m.Records != int64(len(all)) || len(m.Rejected) > 0 {
		t.Fatalf("%d of %d records, %d rejected: %.1000v", m.Records, len(all), len(m.Rejected), m.Rejected)
	}
	const perPayload, distinct = 1000, 20_000
	for i := 0; i < distinct; i += perPayload {
		var lines []string
		for n := i; n < i+perPayload; n++ {
			lines = append(lines, fmt.Sprintf(`{"id":%d,"d%d":%d}`, len(all)+n, n, n))
		}
		send(lines...)
	}
	if m := s.ackTo(seq); m.Records != int64(len(all)+distinct) || len(m.Rejected) > 0 {
		t.Fatalf("%d records, %d rejected", m.Records, len(m.Rejected))
	}
	for _, c := range []struct{ event, advice string }{
		{`{"id":1,"number":NaN}`, "JSON has no NaN and no Infinity: send null"},
		{`{"id":1,"number":-Infinity}`, "JSON has no NaN and no Infinity: send null"},
		{`{"id":1,"text":"` + strings.Repeat("x", 4<<20) + `"}`, "split it, or raise the pipeline's limit for events"},
	} {
		s.send(c.event)
		seq++
		if m := s.ackTo(seq); len(m.Rejected) != 1 || !strings.Contains(m.Rejected[0].Reason, c.advice) {
			t.Errorf("%.40s: %+v", c.event, m.Rejected)
		}
	}
	if s := h.in.PodStatus(); !s.Ready {
		t.Errorf("not ready: %s", s.Message)
	}
	if !strings.Contains(log.String(), "schema.maxColumns") || strings.Count(log.String(), "schema.maxColumns") > 1 {
		t.Errorf("the log does not say once that no more columns are made: %.2000s", log.String())
	}
	compareLeaves(t, want, h.rows())
}

func compareLeaves(t *testing.T, want map[string]map[string]string, rows []string) {
	t.Helper()
	if len(rows) != len(want) {
		t.Errorf("%d rows of %d records", len(rows), len(want))
	}
	wrong := 0
	for _, row := range rows {
		got := leavesOf(t, row)
		if sent := want[got["id"]]; !maps.Equal(sent, got) {
			if wrong++; wrong < 5 {
				t.Errorf("record %s (-sent +in the table):\n%.2000s", got["id"], cmp.Diff(sent, got))
			}
		}
	}
}

// leavesOf are the values of a record by path, or those of a row together with its _rescued; what names of columns cannot
// have is "_" in both.
func leavesOf(t *testing.T, text string) map[string]string {
	t.Helper()
	out := map[string]string{}
	record := parseNumbers(t, text)
	if rescued, ok := record["_rescued"].(string); ok {
		for path, v := range parseNumbers(t, rescued) {
			if path == "$" {
				path = ""
			}
			flatten(out, path, v)
		}
	}
	delete(record, "_rescued")
	flatten(out, "", record)
	return out
}

func parseNumbers(t *testing.T, text string) map[string]any {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v map[string]any
	if err := dec.Decode(&v); err != nil {
		t.Fatalf("%v: %.200s", err, text)
	}
	return v
}

var cleanName = strings.NewReplacer(" ", "_", ",", "_", ";", "_", "{", "_", "}", "_", "(", "_", ")", "_", "=", "_", "\n", "_", "\t", "_", "\x00", "_", "`", "")

func flatten(out map[string]string, path string, v any) {
	switch v := v.(type) {
	case nil:
	case map[string]any:
		for name, inner := range v {
			full := cleanName.Replace(name)
			if path != "" {
				full = path + "." + full
			}
			flatten(out, full, inner)
		}
	case []any:
		for i, inner := range v {
			flatten(out, fmt.Sprintf("%s[%d]", cleanName.Replace(path), i), inner)
		}
	default:
		out[cleanName.Replace(path)] = fmt.Sprint(v)
	}
}
