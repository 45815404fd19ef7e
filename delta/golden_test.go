package delta_test

import (
	"crypto/sha256"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
)

var updateGolden = flag.Bool("update-golden", false, "write testdata/golden.txt anew")

// goldenTables are the tables that the Delta project wrote with Spark for the tests of its own readers.
func goldenTables(t *testing.T) (dir string, names []string) {
	t.Helper()
	dir = os.Getenv("WEIR_GOLDEN")
	if dir == "" {
		dir = filepath.Join("..", "..", "shared", "golden")
	}
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("NOT TESTED: the golden tables are not at %s; WEIR_GOLDEN says where they are", dir)
	}
	top, err := os.ReadDir(dir)
	must(t, err)
	for _, e := range top {
		if !e.IsDir() {
			continue
		}
		inner := goldenTablesIn(t, dir, e.Name())
		if len(inner) == 0 {
			inner = []string{e.Name()} // no log: that is what it tests
		}
		names = append(names, inner...)
	}
	return dir, names
}

func goldenTablesIn(t *testing.T, dir, name string) (names []string) {
	t.Helper()
	must(t, filepath.WalkDir(filepath.Join(dir, name), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "_delta_log" {
			return err
		}
		rel, err := filepath.Rel(dir, filepath.Dir(path))
		if err != nil {
			return err
		}
		names = append(names, filepath.ToSlash(rel))
		return fs.SkipDir
	}))
	return names
}

// TestGoldenTables compares what becomes of each table with testdata/golden.txt: its version, files and rows, or why it
// is refused. test/conformance compares the rows with those that deltalake and Spark read.
func TestGoldenTables(t *testing.T) {
	dir, names := goldenTables(t)
	var got strings.Builder
	readable := 0
	for _, name := range names {
		line, ok := goldenLine(t, filepath.Join(dir, filepath.FromSlash(name)))
		if ok {
			readable++
		}
		fmt.Fprintf(&got, "%s: %s\n", name, line)
	}
	t.Logf("%d of %d golden tables are read, the others refused", readable, len(names))
	file := filepath.Join("testdata", "golden.txt")
	if *updateGolden {
		must(t, os.WriteFile(file, []byte(got.String()), 0o600))
	}
	want, err := os.ReadFile(file)
	must(t, err)
	if d := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got.String(), "\n")); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func goldenLine(t *testing.T, dir string) (line string, readable bool) {
	t.Helper()
	table, err := delta.Open(t.Context(), localStore(t, dir), delta.Options{})
	if err != nil {
		return err.Error(), false
	}
	s := table.Snapshot()
	rows := 0
	for b, err := range s.Read(t.Context(), nil) {
		if err != nil {
			return fmt.Sprintf("version %d, %d files, %v", s.Version(), s.NumFiles(), err), false
		}
		rows += b.Rows
	}
	if n, ok := s.NumRecords(); ok && n != int64(rows) {
		t.Errorf("%s has %d rows, %d by its statistics", dir, rows, n)
	}
	line = fmt.Sprintf("version %d, %d files, %d rows", s.Version(), s.NumFiles(), rows)
	if rows < 10_000 {
		line += fmt.Sprintf(", hash %.8x", sha256.Sum256([]byte(strings.Join(peerRows(t, s), "\n"))))
	}
	return line, true
}
