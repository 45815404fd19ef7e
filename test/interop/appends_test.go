package interop

import (
	"bytes"
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/test/harness"
)

// contents is what ids.py says of a table.
type contents struct {
	Writers map[string]writer `json:"writers"`
	Commits map[string]int    `json:"commits"` // by engine
}

type writer struct {
	Rows     int64 `json:"rows"`
	Distinct int64 `json:"distinct"`
	Min      int64 `json:"min"`
	Max      int64 `json:"max"`
}

// TestTwoWriters lets `weir run` and deltalake commit to one table at the same time. Every commit of both must be there,
// once.
func TestTwoWriters(t *testing.T) {
	t.Parallel()
	const (
		commits  = 500
		perPost  = 1000 // makes a batch eligible at once, so that every post is a commit of its own
		perWrite = 20
		foreign  = 1_000_000_000 // where the ids of deltalake start
		pause    = "0.15"        // seconds; weir commits at most five times a second, so both last about as long
	)
	p := harness.RequirePeers(t)
	w := runWeir(t, harness.Pipeline{})
	post(t, w, 0, perPost) // makes the columns

	appended := make(chan error, 1)
	go func() {
		_, err := harness.Output(p.Python(t.Context(), "append.py", w.Table, strconv.Itoa(commits), strconv.Itoa(perWrite), strconv.Itoa(foreign), pause))
		appended <- err
	}()
	for i := int64(1); i < commits; i++ {
		post(t, w, i*perPost, perPost)
	}
	if err := <-appended; err != nil {
		t.Fatal(err)
	}
	stop(t, w)

	var got contents
	last(t, output(t, p.Python, "ids.py", w.Table), &got)
	want := map[string]writer{
		"weir":      {commits * perPost, commits * perPost, 0, commits*perPost - 1},
		"deltalake": {commits * perWrite, commits * perWrite, foreign, foreign + commits*perWrite - 1},
	}
	if diff := cmp.Diff(want, got.Writers); diff != "" {
		t.Errorf("rows in the table (-want +got):\n%s", diff)
	}
	if got.Commits["delta-rs"] != commits || got.Commits["weir"] < commits {
		t.Errorf("commits by engine: %v, want %d of delta-rs and as many of weir", got.Commits, commits)
	}
}

// post sends records with consecutive ids as NDJSON and waits for their commit.
func post(t *testing.T, w *harness.Weir, first int64, n int) {
	t.Helper()
	var body bytes.Buffer
	for i := range n {
		fmt.Fprintf(&body, "{\"id\":%d,\"writer\":\"weir\"}\n", first+int64(i))
	}
	url := "http://" + w.HTTP + "/v1/pipelines/" + w.Name + "/events"
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, &body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-ndjson")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatalf("%v\nweir said:\n%s", err, w.Log())
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Fatalf("POST %s: %s", url, res.Status)
	}
}
