package delta_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// TestMergeOnce: the put of a merge without sequences is given up. Whatever becomes of it, the merge counts once, and a later
// merge of the same key is not overwritten when it is tried again.
func TestMergeOnce(t *testing.T) {
	s := structOf(field("id", schema.Long), field("v", schema.Long))
	source := func(v int64) []*column.Batch {
		b := column.NewBatch(s)
		for id := range int64(2) {
			b.Columns[0].AppendInt64(id)
			b.Columns[1].AppendInt64(v)
		}
		b.Seal(2)
		return []*column.Batch{b}
	}
	byID := delta.MergeOptions{Key: []string{"id"}, Parquet: parquet.WriterOptions{Codec: parquet.Uncompressed}} // zstd encoders outlive a bubble
	theirs := func(t *testing.T, h *held) {
		t.Helper()
		h.land(t, 0)
		_, err := open(t, h.f.Store, delta.Options{}).Merge(t.Context(), source(3), byID)
		must(t, err)
	}
	for name, c := range map[string]struct {
		before, during func(t *testing.T, h *held) // the second call, and its put
		found          bool
		want           []string
		unused         int // data files: those that were replaced, and that of an entry which never came
	}{
		"it is never carried out":             {want: []string{"map[id:0 v:2]", "map[id:1 v:2]"}, unused: 2},
		"it lands before the retry":           {before: func(t *testing.T, h *held) { t.Helper(); h.land(t, 0) }, found: true, want: []string{"map[id:0 v:2]", "map[id:1 v:2]"}, unused: 1},
		"it lands, and others merge":          {before: theirs, found: true, want: []string{"map[id:0 v:3]", "map[id:1 v:3]"}, unused: 2},
		"it lands while the retry works":      {during: func(t *testing.T, h *held) { t.Helper(); h.land(t, 0) }, found: true, want: []string{"map[id:0 v:2]", "map[id:1 v:2]"}, unused: 1},
		"others merge, too, while it does so": {during: theirs, found: true, want: []string{"map[id:0 v:3]", "map[id:1 v:3]"}, unused: 2},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &faulty{Store: store.NewMemory()}
				h := &held{f: f}
				table := create(t, f, delta.CreateOptions{Schema: s})
				first, err := table.Merge(t.Context(), source(1), byID)
				must(t, err)
				o := byID
				o.Earlier = new(delta.Attempts)
				f.set(func(f *faulty) { f.put = h.hold })
				_, err = table.Merge(t.Context(), source(2), o)
				if _, ok := errors.AsType[*delta.UnknownOutcomeError](err); !ok || !o.Earlier.Open() {
					t.Fatalf("got %v, want an unknown outcome", err)
				}
				if c.before != nil {
					c.before(t, h)
				}
				h.beforeNextPut(t, c.during)
				res, err := table.Merge(t.Context(), source(2), o)
				must(t, err)
				if res.Version != first.Version+1 || (res.Attempts == 0) != c.found || res.Updated != 2 || res.Inserted != 0 || res.FilesRemoved != 1 || res.BytesAdded == 0 {
					t.Errorf("result %+v", res)
				}
				snapshot, err := table.Update(t.Context())
				must(t, err)
				if d := cmp.Diff(c.want, rows(t, snapshot, nil)); d != "" {
					t.Errorf("rows (-want +got):\n%s", d)
				}
				files := 0
				for _, err := range f.List(t.Context(), "part-", "") {
					must(t, err)
					files++
				}
				if files != 1+c.unused {
					t.Errorf("%d files, want 1 of the table and %d others", files, c.unused)
				}
			})
		})
	}
}
