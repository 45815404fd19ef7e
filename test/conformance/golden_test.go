package conformance

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
)

// goldenRefused are the golden tables that weir does not read, and what it says. Each was looked at: there is no way to
// read them, or none that does not guess; docs/delta.md has the reasons.
var goldenRefused = map[string]string{
	"checkpoint":                "is in the log but not in the store",
	"corrupted-last-checkpoint": "is in the log but not in the store",
	"delete-re-add-same-file-different-transactions":                 "is in the log but not in the store",
	"deltalog-commit-info":                                           "is in the log but not in the store",
	"log-replay-special-characters-b":                                "is in the log but not in the store",
	"update-deleted-directory":                                       "is in the log but not in the store",
	"data-reader-absolute-paths-escaped-chars":                       "no metaData action",
	"deltalog-state-reconstruction-from-checkpoint-missing-metadata": "no metaData action",
	"deltalog-state-reconstruction-without-metadata":                 "no metaData action",
	"deltalog-state-reconstruction-from-checkpoint-missing-protocol": "no protocol action",
	"deltalog-state-reconstruction-without-protocol":                 "no protocol action",
	"deltalog-invalid-protocol-version":                              "reader version 99",
	"log-store-listFrom":                                             "not a Delta table",
	"log-store-read":                                                 "not a Delta table",
	"no-delta-log-folder":                                            "not a Delta table",
	"spark-variant-checkpoint":                                       "type variant",
	"versions-not-contiguous":                                        "versions are not contiguous",
}

// goldenPeerRefuses are those that weir reads and a peer does not, and what that says.
var goldenPeerRefuses = map[*peer]map[string]string{
	deltalake: {
		"basic-with-vacuum-protocol-check-feature": "VacuumProtocolCheck",
		"canonicalized-paths-normal-a":             "schemaString",
		"canonicalized-paths-normal-b":             "schemaString",
		"canonicalized-paths-special-a":            "schemaString",
		"canonicalized-paths-special-b":            "schemaString",
		"type-widening":                            "TypeWidening",
		"type-widening-nested":                     "TypeWidening",
	},
	spark: {
		"canonicalized-paths-normal-a":  "DELTA_READ_TABLE_WITHOUT_COLUMNS",
		"canonicalized-paths-normal-b":  "DELTA_READ_TABLE_WITHOUT_COLUMNS",
		"canonicalized-paths-special-a": "DELTA_READ_TABLE_WITHOUT_COLUMNS",
		"canonicalized-paths-special-b": "DELTA_READ_TABLE_WITHOUT_COLUMNS",
	},
}

// goldenTables are the tables that the Delta project wrote with Spark for the tests of its readers: the directories, and
// in those without a log of their own the tables below.
func goldenTables(t *testing.T) (dir string, names []string) {
	t.Helper()
	dir = os.Getenv("WEIR_GOLDEN")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "golden")
	}
	top, err := os.ReadDir(dir)
	if err != nil {
		t.Skipf("NOT TESTED: the golden tables are not at %s; WEIR_GOLDEN says where they are", dir)
	}
	dir, err = filepath.Abs(dir)
	must(t, err)
	for _, e := range top {
		if !e.IsDir() {
			continue
		}
		found := []string{}
		must(t, filepath.WalkDir(filepath.Join(dir, e.Name()), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.Name() != "_delta_log" {
				return err
			}
			rel, err := filepath.Rel(dir, filepath.Dir(path))
			if err != nil {
				return err
			}
			found = append(found, filepath.ToSlash(rel))
			return fs.SkipDir
		}))
		if len(found) == 0 {
			found = []string{e.Name()} // no log: that is what it tests
		}
		names = append(names, found...)
	}
	return dir, names
}

// TestGoldenTables: each golden table is read as deltalake reads it, and with -long as Spark does, or refused for the known
// reason. None is left out.
func TestGoldenTables(t *testing.T) {
	readers := []*peer{deltalake}
	if *long {
		readers = peers
	}
	for _, p := range readers {
		p.require(t)
	}
	dir, names := goldenTables(t)
	read, agree, known := 0, map[string]int{}, map[string]int{}
	for _, name := range names {
		path := filepath.Join(dir, filepath.FromSlash(name))
		s, rows, err := readAll(t, path)
		if why, ok := goldenRefused[name]; ok || err != nil {
			if err == nil || !ok || !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v, want a refusal with %q", name, err, why)
			}
			known[name]++
			t.Logf("refused: %s: %v", name, err)
			continue
		}
		read++
		if len(rows) >= 1_000_000 && !*long {
			t.Logf("%s: %d rows, compared with -long only", name, len(rows))
			continue
		}
		for _, p := range readers {
			if agrees(t, name, path, p, s, rows) {
				agree[p.name]++
			}
		}
	}
	for name := range goldenRefused {
		if known[name] == 0 {
			t.Errorf("%s is not there", name)
		}
	}
	t.Logf("golden tables: %d of %d read, %d refused with the known reason; read alike by weir and: %v", read, len(names), len(names)-read, agree)
}

// readAll reads a table by weir.
func readAll(t *testing.T, path string) (*delta.Snapshot, []string, error) {
	t.Helper()
	table, err := delta.Open(t.Context(), localStore(t, path), delta.Options{})
	if err != nil {
		return nil, nil, err
	}
	defer func() { must(t, table.Close(t.Context())) }()
	rows, err := textsOf(t.Context(), table.Snapshot())
	return table.Snapshot(), rows, err
}

func agrees(t *testing.T, name, path string, p *peer, s *delta.Snapshot, rows []string) bool {
	t.Helper()
	a, err := p.do(command{"op": "look", "path": path})
	if why, ok := goldenPeerRefuses[p][name]; ok {
		if err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%s: %s says %v, want a refusal with %q", name, p.name, err, why)
		}
		return false
	}
	if err != nil {
		t.Errorf("%s: weir reads %d rows, %v", name, len(rows), err)
		return false
	}
	theirs, err := a.texts()
	must(t, err)
	columns, err := a.columns()
	must(t, err)
	if !slices.Equal(rows, theirs) || columns != s.Schema().String() || a.Version != s.Version() {
		d := cmp.Diff(theirs, rows)
		t.Errorf("%s: version %d of %s, %s has %d of %s (-%s +weir):\n%s", name, s.Version(), s.Schema(), p.name, a.Version, columns, p.name, d[:min(len(d), 2000)])
		return false
	}
	return true
}
