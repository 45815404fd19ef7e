package main

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// weir runs a command in this process and returns what it printed.
func weir(t *testing.T, args ...string) (stdout string, err error) {
	t.Helper()
	var out bytes.Buffer
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(t.Output())
	err = root.ExecuteContext(t.Context())
	return out.String(), err
}

// goldenTables are the tables that the Delta project's own tests read.
func goldenTables(t *testing.T) []string {
	t.Helper()
	dir := os.Getenv("WEIR_GOLDEN")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "shared", "golden")
	}
	var tables []string
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.Name() != "_delta_log" {
			return err
		}
		tables = append(tables, filepath.Dir(path))
		return fs.SkipDir
	})
	if err != nil {
		t.Skipf("NOT TESTED: the golden tables are not at %s; WEIR_GOLDEN says where they are (%v)", dir, err)
	}
	return tables
}

// TestTableCommandsAgreeOnGoldenTables looks at tables of other writers: what one command says is what the others show.
func TestTableCommandsAgreeOnGoldenTables(t *testing.T) {
	opened := 0
	for _, table := range goldenTables(t) {
		out, err := weir(t, "table", "show", "-o", "json", table)
		if err != nil {
			if !strings.Contains(err.Error(), table) {
				t.Errorf("%s: the refusal does not name the table: %v", table, err)
			}
			continue
		}
		opened++
		t.Run(filepath.Base(table), func(t *testing.T) {
			var sum tableSummary
			if err := json.Unmarshal([]byte(out), &sum); err != nil {
				t.Fatal(err)
			}
			if files := strings.Count(output(t, "table", "files", "-o", "json", table), "\n"); int64(files) != sum.Files {
				t.Errorf("files prints %d, show says %d", files, sum.Files)
			}
			if lines := strings.Count(output(t, "table", "files", table), "\n"); int64(lines) != sum.Files+1 {
				t.Errorf("files prints %d lines for %d files", lines, sum.Files)
			}
			for _, args := range [][]string{{"show", table}, {"history", table}, {"history", "-o", "json", table}} {
				version := strconv.FormatInt(sum.Version, 10)
				if out := output(t, append([]string{"table"}, args...)...); !strings.Contains(out, version) {
					t.Errorf("%q does not have version %s:\n%s", args, version, out)
				}
			}
			checkHead(t, table, sum)
		})
	}
	if opened < 50 {
		t.Errorf("only %d of the golden tables could be opened", opened)
	}
}

// checkHead compares the rows that head prints with their number; rows that cannot be read are refused by name.
func checkHead(t *testing.T, table string, sum tableSummary) {
	t.Helper()
	out, err := weir(t, "table", "head", "-n", "7", "-o", "json", table)
	if err != nil {
		t.Logf("refused: %v", err)
		return
	}
	rows := 0
	for line := range strings.Lines(out) {
		rows++
		var row map[string]any
		if err := json.Unmarshal([]byte(line), &row); err != nil || len(row) != len(sum.Columns) {
			t.Errorf("%s: %d fields, want %d: %v", line, len(row), len(sum.Columns), err)
		}
	}
	if sum.Rows != nil && int64(rows) != min(7, *sum.Rows) {
		t.Errorf("head prints %d rows of %d", rows, *sum.Rows)
	}
	if lines := strings.Count(output(t, "table", "head", "-n", "7", table), "\n"); len(sum.Columns) > 0 && lines != rows+1 {
		t.Errorf("the grid has %d lines for %d rows", lines, rows)
	}
}

func output(t *testing.T, args ...string) string {
	t.Helper()
	out, err := weir(t, args...)
	if err != nil {
		t.Errorf("weir %q: %v", args, err)
	}
	return out
}

func TestFittingColumns(t *testing.T) {
	names, rows := []string{"id", "name", "x"}, [][]string{{"1", "Zürich", "true"}, {"1000", "b", ""}}
	// Widths are 4, 6 and 4, with two blanks in between.
	for width, want := range map[int]int{0: 3, 1: 1, 4: 1, 11: 1, 12: 2, 17: 2, 18: 3, 80: 3} {
		if got := fitting(names, rows, width); got != want {
			t.Errorf("%d columns fit into %d, want %d", got, width, want)
		}
	}
}

func TestCellIsOneShortLine(t *testing.T) {
	for want, v := range map[string]any{
		"null":                             nil,
		"a b":                              "a\nb",
		"12.5":                             12.5,
		`{"<b>":[1,null]}`:                 object{{"<b>", []any{1, nil}}},
		"0123456789012345678901234567890…": strings.Repeat("0123456789", 4),
		"ééééééééééééééééééééééééééééééé…": strings.Repeat("é", 33),
	} {
		if got := cell(v); got != want {
			t.Errorf("%v is printed as %q, want %q", v, got, want)
		}
	}
}

// TestTableDiffWithDeletionVectors: a file that both versions have, with the same rows deleted, did not change.
func TestTableDiffWithDeletionVectors(t *testing.T) {
	table := t.TempDir()
	entries := []string{
		`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors"]}}
{"metaData":{"id":"1","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"n\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}}]}","partitionColumns":[],"configuration":{}}}
{"add":{"path":"same","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true,"deletionVector":{"storageType":"i","pathOrInlineDv":"00000","sizeInBytes":4,"cardinality":1}}}
{"add":{"path":"marked","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true}}
`,
		`{"remove":{"path":"marked","deletionTimestamp":1,"dataChange":true}}
{"add":{"path":"marked","partitionValues":{},"size":1,"modificationTime":1,"dataChange":true,"deletionVector":{"storageType":"i","pathOrInlineDv":"11111","sizeInBytes":4,"cardinality":1}}}
`,
	}
	if err := os.Mkdir(filepath.Join(table, "_delta_log"), 0o755); err != nil {
		t.Fatal(err)
	}
	for v, entry := range entries {
		name := filepath.Join(table, "_delta_log", strings.Repeat("0", 19)+strconv.Itoa(v)+".json")
		if err := os.WriteFile(name, []byte(entry), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	out, err := weir(t, "table", "diff", "--from", "0", "-o", "json", table)
	if err != nil {
		t.Fatal(err)
	}
	var diff tableDiffReport
	if err := json.Unmarshal([]byte(out), &diff); err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, f := range diff.Files {
		files = append(files, f.Change+" "+f.Path)
	}
	if got := strings.Join(files, ", "); got != "removed marked, added marked" {
		t.Errorf("the files that changed are: %s", got)
	}
}
