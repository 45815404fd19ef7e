package interop

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/weir-dev/weir/test/harness"
)

// TestReadersAgree checks the readers on a table that deltalake wrote, without weir: the ways to a hash agree, and another
// value gives another hash.
func TestReadersAgree(t *testing.T) {
	t.Parallel()
	p := harness.RequirePeers(t)
	file, table := events(t, 5000), filepath.Join(t.TempDir(), "table")
	want := expect(t, p, file)
	output(t, p.Python, "rows.py", "write", schemaFile(p), file, table, "region")
	same(t, "deltalake", pythonRows(t, p, "deltalake", table), want)
	same(t, "duckdb", pythonRows(t, p, "duckdb", table), want)
	same(t, "spark", sparkRows(t, p, table)[0], want)

	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	b[len(`{"id":`)]++ // row 0 is now a second row 1
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	if expect(t, p, file).SHA256 == want.SHA256 {
		t.Error("another id gives the same hash")
	}
}
