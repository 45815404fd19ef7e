package delta_test

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/store"
)

func TestVerify(t *testing.T) {
	data := func(t *testing.T, st store.Store, a delta.Add) (string, []byte) {
		t.Helper()
		key, err := delta.DataKey(a.Path)
		must(t, err)
		b, err := st.Get(t.Context(), key)
		must(t, err)
		return key, b
	}
	for name, c := range map[string]struct {
		damage func(t *testing.T, st store.Store, a delta.Add)
		rows   bool // only seen when rows are read
		want   string
	}{
		"none": {func(*testing.T, store.Store, delta.Add) {}, false, ""},
		"missing file": {func(t *testing.T, st store.Store, a delta.Add) {
			t.Helper()
			key, _ := data(t, st, a)
			must(t, st.Delete(t.Context(), key))
		}, false, "missing"},
		"cut": {func(t *testing.T, st store.Store, a delta.Add) {
			t.Helper()
			key, b := data(t, st, a)
			must(t, st.Put(t.Context(), key, b[:len(b)-9]))
		}, false, "bytes, the log says"},
		"bit flip in a page": {func(t *testing.T, st store.Store, a delta.Add) {
			t.Helper()
			key, b := data(t, st, a)
			for i := 4; i < 20; i++ { // the first page's header
				b[i] ^= 0xff
			}
			must(t, st.Put(t.Context(), key, b))
		}, true, "data file"},
		"another file": {func(t *testing.T, st store.Store, a delta.Add) {
			t.Helper()
			other := create(t, store.NewMemory(), delta.CreateOptions{})
			_, b := data(t, other.Store(), write(t, other, longs(7))[0])
			key, _ := data(t, st, a)
			must(t, st.Put(t.Context(), key, b))
		}, false, "the file has 1 rows, its statistics say 3"},
		"wrong checkpoint": {func(t *testing.T, st store.Store, a delta.Add) {
			t.Helper()
			other := store.NewMemory()
			for v := range int64(4) {
				b, err := st.Get(t.Context(), key(v))
				must(t, err)
				must(t, other.Put(t.Context(), key(v), bytes.ReplaceAll(b, []byte(a.Path), []byte("other"))))
			}
			must(t, open(t, other, delta.Options{}).Checkpoint(t.Context()))
			b, err := other.Get(t.Context(), checkpointFile(3))
			must(t, err)
			must(t, st.Put(t.Context(), checkpointFile(3), b))
		}, false, "the checkpoint of version 3 lacks the file"},
	} {
		t.Run(name, func(t *testing.T) {
			st := store.NewMemory()
			table := create(t, st, delta.CreateOptions{})
			write(t, table, longs(1))
			gone := write(t, table, longs(2))[0]
			a := write(t, table, longs(3, 4, 5))[0]
			commit(t, table, fixed(delta.Transaction{Operation: "DELETE", Removes: []delta.Remove{{Path: gone.Path, DataChange: true}}}))
			must(t, table.Checkpoint(t.Context()))
			if name == "wrong checkpoint" { // of an earlier version, so that there is one to damage
				must(t, st.Delete(t.Context(), checkpointFile(4)))
			}
			c.damage(t, st, a)
			for _, rows := range []bool{false, true} {
				report, err := table.Verify(t.Context(), delta.VerifyOptions{Rows: rows})
				must(t, err)
				if c.want == "" || c.rows && !rows {
					if len(report.Problems) != 0 || report.Rows != 4 || report.Files != 2 || report.Version != 4 {
						t.Errorf("report %+v", report)
					}
					continue
				}
				found := false
				for _, p := range report.Problems {
					found = found || strings.Contains(p.Reason, c.want) && p.Path == a.Path
				}
				if !found {
					t.Errorf("problems %+v, want one with %q", report.Problems, c.want)
				}
			}
		})
	}
}

func TestVerifyGoldenTables(t *testing.T) {
	dir, names := goldenTables(t)
	whole := 0
	for _, name := range names {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if strings.HasPrefix(name, "parquet-decimal-dictionaries") {
			continue // a million rows each
		}
		if _, readable := goldenLine(t, path); !readable {
			continue
		}
		report, err := open(t, localStore(t, path), delta.Options{}).Verify(t.Context(), delta.VerifyOptions{Rows: true})
		if err != nil || len(report.Problems) != 0 {
			t.Errorf("%s: %+v, %v", name, report.Problems, err)
		}
		whole++
	}
	t.Logf("%d golden tables are whole", whole)
}
