package ingestor

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column/columntest"
	"github.com/weir-dev/weir/ingestor/commit"
	"github.com/weir-dev/weir/ingestor/decode"
)

// merging makes the pipeline one whose table is merged.
func merging(marks bool) func(*Config) {
	return func(c *Config) {
		p := &c.Pipelines[0]
		p.Merge = &commit.Merge{
			Key: []string{"id"}, Sequence: "at", Op: "op", Deletes: []string{"d"}, Tombstones: time.Hour, DeletionVectors: marks,
		}
		p.Decode.Identity = &decode.Identity{Key: []string{"id"}, Sequence: "at", Op: "op", Ops: []string{"c", "r", "u", "d"}}
	}
}

// lines sends NDJSON and returns the answer.
func (h *harness) lines(lines ...string) (status int, body string) {
	h.Helper()
	status, body, _ = h.post("/v1/pipelines/p/events", "application/x-ndjson", strings.Join(lines, "\n"))
	return status, body
}

// TestMergedTable: events insert, update and delete rows, late ones change nothing, and what cannot be merged is refused.
func TestMergedTable(t *testing.T) {
	for _, marks := range []bool{false, true} {
		t.Run(fmt.Sprintf("marks %v", marks), func(t *testing.T) {
			h := start(t, merging(marks))
			for _, lines := range [][]string{
				{`{"id":1,"at":1,"op":"c","v":"a"}`, `{"id":2,"at":1,"op":"c","v":"b"}`, `{"id":3,"at":1,"op":"r","v":"c"}`},
				{`{"id":1,"at":3,"op":"u","v":"a3"}`, `{"id":1,"at":2,"op":"u","v":"a2"}`, `{"id":2,"at":5,"op":"d"}`},
				{`{"id":2,"at":4,"op":"u","v":"late"}`, `{"id":3,"at":2,"v":"c2","new":true}`, `{"id":4,"at":9,"op":"d"}`},
				{`{"id":4,"at":8,"op":"c","v":"before its delete"}`, `{"id":5,"at":1,"op":"u","v":"upsert"}`, `{"id":2,"at":6,"op":"c","v":"again"}`},
			} {
				if status, body := h.lines(lines...); status != http.StatusOK {
					t.Fatalf("%d %s", status, body)
				}
			}
			status, body := h.lines(`{"at":1,"op":"c"}`, `{"id":7,"op":"c"}`, `{"id":null,"at":1}`, `{"id":7,"at":1,"op":"x"}`)
			for _, want := range []string{"id has no value", "at has no value", "op is none of c, r, u, d"} {
				if !strings.Contains(body, want) {
					t.Errorf("%d %s: it does not say %q", status, body, want)
				}
			}
			want := []string{
				"map[at:1 id:5 new:<nil> v:upsert]", "map[at:2 id:3 new:true v:c2]", "map[at:3 id:1 new:<nil> v:a3]",
				"map[at:6 id:2 new:<nil> v:again]",
			}
			if d := cmp.Diff(want, mergedRows(h)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func mergedRows(h *harness) []string {
	h.Helper()
	table, err := delta.Open(h.Context(), h.store, delta.Options{})
	if err != nil {
		h.Fatal(err)
	}
	out := []string{}
	for b, err := range table.Snapshot().Read(h.Context(), nil) {
		if err != nil {
			h.Fatal(err)
		}
		for _, row := range columntest.Rows(b) {
			out = append(out, fmt.Sprint(row))
		}
	}
	slices.Sort(out)
	return out
}
