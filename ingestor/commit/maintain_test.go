package commit

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// change is a record of a merged table.
func change(id, seq int64) *column.Batch {
	long := &schema.Type{Kind: schema.Long}
	b := column.NewBatch(&schema.Type{Kind: schema.Struct, Fields: []schema.Field{{Name: "id", Type: long, Nullable: true}, {Name: "seq", Type: long, Nullable: true}}})
	b.Columns[0].AppendInt64(id)
	b.Columns[1].AppendInt64(seq)
	b.Seal(1)
	return b
}

// TestMaintenanceBesideMerges: while the table is packed without rest, no merge is worked out twice, and none is lost.
func TestMaintenanceBesideMerges(t *testing.T) {
	for _, vectors := range []bool{false, true} {
		t.Run("deletionVectors="+strconv.FormatBool(vectors), func(t *testing.T) {
			l, err := NewLocal(t.Context(), Settings{
				Store: store.NewMemory(), Merge: &Merge{Key: []string{"id"}, Sequence: "seq", DeletionVectors: vectors, Tombstones: time.Hour},
			})
			if err != nil {
				t.Fatal(err)
			}
			ctx, stop := context.WithCancel(t.Context())
			var packed, failed atomic.Int64
			var care sync.WaitGroup
			care.Go(func() {
				l.Maintain(ctx, delta.MaintenancePolicy{
					Compact: true, Share: 1, Every: time.Millisecond, MinFiles: 4,
					Report: func(r delta.MaintenanceReport) {
						packed.Add(int64(r.Files))
						if r.Err != nil {
							t.Log(r.Err)
							failed.Add(1)
						}
					},
				})
			})
			const rows, atLeast, atMost = 40, 120, 5_000
			for n := int64(0); n < atLeast || packed.Load() < 8 && n < atMost; n++ {
				b := change(n%rows, n)
				v := submit(t, l, &Submission{Source: []*column.Batch{b}, Schema: b.Schema, Rows: 1})
				if v.Merged.Attempts != 1 {
					t.Errorf("merge %d was worked out %d times", n, v.Merged.Attempts)
				}
			}
			stop()
			care.Wait()
			s := l.table.Load().Snapshot()
			if n, ok := s.NumRecords(); !ok || n != rows || packed.Load() < 8 || failed.Load() > 0 {
				t.Errorf("%d rows in %d files; %d files were packed, %d times it failed", n, s.NumFiles(), packed.Load(), failed.Load())
			}
			if err := l.Close(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestMaintenanceWaitsForTheTable and ends without one.
func TestMaintenanceWaitsForTheTable(t *testing.T) {
	l := newLocal(t, store.NewMemory())
	ctx, stop := context.WithCancel(t.Context())
	stop()
	l.Maintain(ctx, delta.MaintenancePolicy{Every: time.Hour})
	if files, bytes := l.Size(); files != 0 || bytes != 0 {
		t.Errorf("%d files of %d bytes", files, bytes)
	}
}
