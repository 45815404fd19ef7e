// Package realdata sends real data sets through weir and compares what a foreign reader finds in the tables with what a
// program of another language computes from the data.
package realdata

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/test/harness"
)

// records is what records.py says of the records of a file or a table.
type records struct {
	Rows    int64    `json:"rows"`
	SHA256  string   `json:"sha256"`
	Rescued int      `json:"rescued"` // rows with something in _rescued
	Columns []string `json:"columns"` // those at the top that are single values
	Leaves  int      `json:"leaves"`  // leaf columns
}

// comparison is what records.py says of a table.
type comparison struct {
	Name  string   `json:"name"`
	Want  records  `json:"want"`
	Got   records  `json:"got"`
	Wrong []string `json:"wrong"` // columns whose type is not the one that one would write
	Mixed []string `json:"mixed"` // fields whose values no type holds
}

func run(t *testing.T, cmd *exec.Cmd, into any) {
	t.Helper()
	out, err := harness.Output(cmd)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out, into); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestRealData: 329 payloads of GitHub's webhooks, once with columns for all and once with the default limit, 10,000 bird
// strikes, 200,000 flights and 100 files of csv. Everything lands: each table holds, in columns or in _rescued, exactly
// the values of its records.
func TestRealData(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes about a minute")
	}
	peers := harness.RequirePeers(t)
	dir := t.TempDir()
	var made struct {
		Sets   []string `json:"sets"`
		Events int      `json:"events"`
	}
	run(t, peers.RealData(t.Context(), "make", peers.Cache(), dir), &made)
	if len(made.Sets) != 103 || made.Events != 58 {
		t.Fatalf("%d sets, %d types of events", len(made.Sets), made.Events)
	}
	var file strings.Builder
	for _, name := range made.Sets {
		limit := 1000
		if name == "github" {
			limit = 10_000
			file.WriteString(pipeline("github-default", dir, 1000))
		}
		file.WriteString(pipeline(name, dir, limit))
	}
	bin, err := harness.Build(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	w, err := harness.Run(t.Context(), bin, dir, harness.Pipeline{File: file.String()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Kill)
	for _, name := range made.Sets {
		send(t, w, name, filepath.Join(dir, name+".ndjson"))
	}
	send(t, w, "github-default", filepath.Join(dir, "github.ndjson"))
	if err := w.Stop(); err != nil {
		t.Fatal(err)
	}
	pairs := []string{"compare", dir, "github-default=github"}
	pairs = append(pairs, made.Sets...)
	out, err := harness.Output(peers.RealData(t.Context(), pairs...))
	if err != nil {
		t.Fatal(err)
	}
	all := json.NewDecoder(bytes.NewReader(out))
	for range len(made.Sets) + 1 {
		var c comparison
		if err := all.Decode(&c); err != nil {
			t.Fatal(err)
		}
		t.Run(c.Name, func(t *testing.T) { c.check(t) })
	}
}

func pipeline(name, dir string, maxColumns int) string {
	return fmt.Sprintf(`---
apiVersion: weir.dev/v1alpha1
kind: Pipeline
metadata: {name: %s}
spec:
  ingress: {rsocket: {port: 0}, http: {port: 0}}
  observability: {metricsPort: 0}
  schema: {maxColumns: %d}
  flow: {memory: 64Mi}
  sink: {delta: {uri: %q, batch: {maxAge: 50ms}}}
`, name, maxColumns, filepath.Join(dir, "tables", name))
}

// send posts a file in parts of whole lines.
func send(t *testing.T, w *harness.Weir, name, file string) {
	t.Helper()
	rest, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for len(rest) > 0 {
		n := len(rest)
		if most := 1 << 20; n > most {
			n = bytes.LastIndexByte(rest[:most], '\n') + 1
		}
		post(t, "http://"+w.HTTP+"/v1/pipelines/"+name+"/events", rest[:n])
		rest = rest[n:]
	}
}

// post sends a payload until the pipeline has room for it. Nothing of it may be refused.
func post(t *testing.T, url string, body []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	err := harness.Poll(ctx, 50*time.Millisecond, func() (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return false, err
		}
		req.Header.Set("Content-Type", "application/x-ndjson")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, err
		}
		defer res.Body.Close()
		answer, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode == http.StatusTooManyRequests {
			return false, err
		}
		if want := bytes.Count(body, []byte("\n")); res.StatusCode != http.StatusOK || !strings.Contains(string(answer), fmt.Sprintf(`"records":%d,`, want)) || strings.Contains(string(answer), `"reason"`) {
			return false, fmt.Errorf("%s: %d %.500s; want %d records", url, res.StatusCode, answer, want)
		}
		return true, nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// schemas are those that one would write by hand.
var schemas = map[string][]string{
	"flights": {"delay: long", "distance: long", "time: double"},
	"birdstrikes": {
		"Airport_Name: string", "Aircraft_Make_Model: string", "Effect_Amount_of_damage: string", "Flight_Date: string",
		"Aircraft_Airline_Operator: string", "Origin_State: string", "Phase_of_flight: string", "Wildlife_Size: string",
		"Wildlife_Species: string", "Time_of_day: string", "Cost_Other: long", "Cost_Repair: long", "Cost_Total_$: long", "Speed_IAS_in_knots: long",
	},
}

// otherwise are the columns whose types one would not write after a look at all the data: a text behind times, which are
// settled by then, goes to _rescued.
var otherwise = map[string][]string{"github": {
	"check_run.app.created_at: string would be written, the table has timestamp",
	"check_run.app.updated_at: string would be written, the table has timestamp",
	"check_run.check_suite.app.created_at: string would be written, the table has timestamp",
	"check_run.check_suite.app.updated_at: string would be written, the table has timestamp",
}}

func (c *comparison) check(t *testing.T) {
	t.Helper()
	want, got := c.Want, c.Got
	if got.Rows != want.Rows || got.SHA256 != want.SHA256 {
		t.Errorf("the table holds %d rows, hash %s; the data has %d, hash %s", got.Rows, got.SHA256, want.Rows, want.SHA256)
	}
	if columns, ok := schemas[c.Name]; ok && !slices.Equal(got.Columns, columns) {
		t.Errorf("columns %q, want %q", got.Columns, columns)
	}
	switch {
	case c.Name == "github-default":
		if got.Leaves > 1001 {
			t.Errorf("%d leaf columns beyond the limit", got.Leaves)
		}
		c.Wrong, c.Mixed = nil, nil // most fields are no columns there
	case c.Name == "github" && (got.Rescued > 20 || got.Leaves < 3000):
		t.Errorf("%d leaf columns, %d rows with misfits", got.Leaves, got.Rescued)
	}
	if !slices.Equal(c.Wrong, otherwise[c.Name]) {
		t.Errorf("types that one would not write:\n%s", strings.Join(c.Wrong, "\n"))
	}
	t.Logf("%d rows, %d leaf columns, %d rows with something in _rescued; mixed: %q", got.Rows, got.Leaves, got.Rescued, c.Mixed)
}
