package ingestor

import (
	"net/http"
	"strings"
	"testing"
)

// TestFirstRecordsThatMakeNoTable: what a producer sends first, of which no table could be made, does not stop the
// pipeline for all others.
func TestFirstRecordsThatMakeNoTable(t *testing.T) {
	h := start(t, func(c *Config) { c.Pipelines[0].PartitionBy = []string{"day"} })
	for _, first := range []string{`{}`, `{"a":null,"b":{},"c":[]}`, `{"day":"mon"}`} {
		status, body, _ := h.post("/v1/pipelines/p/events", "application/json", first)
		if status != http.StatusBadRequest || !strings.Contains(body, "no column") {
			t.Errorf("%s: %d %s", first, status, body)
		}
	}
	for _, record := range []string{`{"a":1,"day":"tue"}`, `{}`} {
		if status, body, _ := h.post("/v1/pipelines/p/events", "application/json", record); status != http.StatusOK {
			t.Errorf("%s: %d %s", record, status, body)
		}
	}
	h.wantRows(`{"a":1,"day":"tue"}`, `{"a":null,"day":null}`)
}

// TestFirstRecordWithAnOddPartition rescues a partition value of which no partition can be made, and one whose name
// differs from the partition's by case.
func TestFirstRecordWithAnOddPartition(t *testing.T) {
	for record, want := range map[string]string{
		`{"a":1,"day":{"n":1}}`: `{"_rescued":"{\"day\":{\"n\":1}}","a":1,"day":null}`,
		`{"a":1,"day":[1]}`:     `{"_rescued":"{\"day\":[1]}","a":1,"day":null}`,
		`{"a":1,"Day":"mon"}`:   `{"_rescued":"{\"Day\":\"mon\"}","a":1,"day":null}`,
	} {
		h := start(t, func(c *Config) { c.Pipelines[0].PartitionBy = []string{"day"} })
		if status, body, _ := h.post("/v1/pipelines/p/events", "application/json", record); status != http.StatusOK {
			t.Errorf("%s: %d %s", record, status, body)
			continue
		}
		h.wantRows(want)
	}
}
