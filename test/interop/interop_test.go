// Package interop runs weir against clients and readers of other projects.
package interop

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/weir-dev/weir/test/gen"
	"github.com/weir-dev/weir/test/harness"
)

// buildDir holds the weir binary of this run.
var buildDir string

func TestMain(m *testing.M) {
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weir-interop-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	buildDir = dir
	return m.Run()
}

var build = sync.OnceValues(func() (string, error) { return harness.Build(context.Background(), buildDir) })

// runWeir starts `weir run` for the time of the test. At the end of the test it must stop cleanly.
func runWeir(t *testing.T, p harness.Pipeline) *harness.Weir {
	t.Helper()
	bin, err := build()
	if err != nil {
		t.Fatal(err)
	}
	if p.Table == "" {
		p.Table = filepath.Join(t.TempDir(), "table")
	}
	w, err := harness.Run(t.Context(), bin, t.TempDir(), p)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Kill)
	return w
}

func stop(t *testing.T, w *harness.Weir) {
	t.Helper()
	if err := w.Stop(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		t.Logf("weir said:\n%s", w.Log())
	}
}

// events writes rows of the interop set to a file.
func events(t *testing.T, rows int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "events.ndjson")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w, set := bufio.NewWriter(f), gen.Interop{Seed: 1, Rows: rows}
	for i := range rows {
		if _, err := w.Write(append(set.Append(nil, i), '\n')); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return path
}

// rows is what a reader says of a table.
type rows struct {
	Rows       int64          `json:"rows"`
	SHA256     string         `json:"sha256"` // of the sorted rows
	Schema     map[string]any `json:"schema"`
	Partitions []string       `json:"partitions"`
	Protocol   []int          `json:"protocol"` // reader, writer
}

// schemaFile says which table the interop set must become.
func schemaFile(p *harness.Peers) string {
	return p.Path("test", "interop", "python", "interop.schema.json")
}

// expect computes what a table of the events must hold, from the events alone.
func expect(t *testing.T, p *harness.Peers, files ...string) rows {
	t.Helper()
	return pythonRows(t, p, append([]string{"expect", schemaFile(p)}, files...)...)
}

func pythonRows(t *testing.T, p *harness.Peers, args ...string) rows {
	t.Helper()
	var r rows
	last(t, output(t, p.Python, "rows.py", args...), &r)
	return r
}

// program starts a script of a language: [harness.Peers.Python] or [harness.Peers.Node].
type program func(ctx context.Context, script string, args ...string) *exec.Cmd

// output runs a script to its end.
func output(t *testing.T, run program, script string, args ...string) []byte {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	out, err := harness.Output(run(ctx, script, args...))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func last(t *testing.T, out []byte, v any) {
	t.Helper()
	if err := harness.LastJSON(out, v); err != nil {
		t.Fatal(err)
	}
}

// sparkRows reads tables with Spark, all in one virtual machine because its start takes ten seconds.
func sparkRows(t *testing.T, p *harness.Peers, tables ...string) []rows {
	t.Helper()
	cmd, err := p.Java(t.Context(), "TableRows", tables...)
	if err != nil {
		t.Fatal(err)
	}
	out, err := harness.Output(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return rowsOf(t, out, len(tables))
}

// rowsOf are the lines that a reader printed, one for each of n tables.
func rowsOf(t *testing.T, out []byte, n int) []rows {
	t.Helper()
	all := make([]rows, 0, n)
	for line := range bytes.Lines(out) {
		var r rows
		if err := json.Unmarshal(line, &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		all = append(all, r)
	}
	if len(all) != n {
		t.Fatalf("%d of %d tables were read", len(all), n)
	}
	return all
}

// same fails unless a reader got the rows that are expected.
func same(t *testing.T, reader string, got, want rows) {
	t.Helper()
	if got.Rows != want.Rows || got.SHA256 != want.SHA256 {
		t.Errorf("%s reads %d rows with hash %.12s, want %d rows with hash %.12s", reader, got.Rows, got.SHA256, want.Rows, want.SHA256)
	}
}
