package parquet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// goldenFiles returns the Parquet files of the Delta project's golden tables: Spark's data files and checkpoints, old list
// forms, INT96, every decimal form.
func goldenFiles(t *testing.T) []string {
	t.Helper()
	root := os.Getenv("WEIR_GOLDEN")
	if root == "" {
		root = filepath.Join("..", "..", "..", "shared", "golden")
	}
	var files []string
	err := filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err == nil && filepath.Ext(path) == ".parquet" {
			files = append(files, path)
		}
		return err
	})
	if err != nil || len(files) == 0 {
		t.Skipf("no golden tables at %s (WEIR_GOLDEN names their directory): no file of another writer was read", root)
	}
	return files
}

// TestGoldenFiles reads every file whole, and has pyarrow compare the values of the smaller ones.
func TestGoldenFiles(t *testing.T) {
	dir, compared := t.TempDir(), 0
	for i, name := range goldenFiles(t) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		var lines bytes.Buffer
		e := json.NewEncoder(&lines)
		_ = e.Encode(name)
		rows := int64(0)
		for b, err := range f.Read(t.Context(), f.Schema()) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for k := 0; k < b.Rows && f.Rows() <= 1000; k++ {
				_ = e.Encode(canonical(f.Schema(), b.Row(k)))
			}
			rows += int64(b.Rows)
		}
		if rows != f.Rows() {
			t.Errorf("%s: %d rows read, %d in the footer", name, rows, f.Rows())
		}
		if f.Rows() <= 1000 {
			writeFile(t, filepath.Join(dir, fmt.Sprintf("%04d.jsonl", i)), lines.Bytes())
			compared++
		}
	}
	python := os.Getenv("WEIR_PYTHON")
	if python == "" {
		t.Logf("WEIR_PYTHON is not set: the values of %d files were read but not compared with pyarrow", compared)
		return
	}
	out, err := exec.CommandContext(t.Context(), python, "testdata/verify.py", "golden", dir).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}
