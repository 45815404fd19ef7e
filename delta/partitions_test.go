package delta_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/column/columntest"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// weighing is a store that counts the files being written at once, and weighs the heap now and then while they are.
type weighing struct {
	store.Store
	open, most int
	made       int
	heap       uint64 // the most that was alive, in bytes
}

func (w *weighing) Create(ctx context.Context, key string) (store.Writer, error) {
	f, err := w.Store.Create(ctx, key)
	w.open++
	w.most = max(w.most, w.open)
	if w.made++; w.made%100 == 0 {
		w.heap = max(w.heap, liveHeap())
	}
	return &weighed{f, w}, err
}

type weighed struct {
	store.Writer
	w *weighing
}

func (f *weighed) Close() error { f.w.open--; return f.Writer.Close() }
func (f *weighed) Abort() error { f.w.open--; return f.Writer.Abort() }

func liveHeap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// TestAThousandPartitions: a batch that touches 1,000 partitions is written and merged with one file open at a time and
// a few MiB beside the batch.
func TestAThousandPartitions(t *testing.T) {
	const partitions, each = 1000, 20
	s := structOf(field("id", schema.Long), field("p", schema.String), field("text", schema.String))
	batch := func(round int64) *column.Batch {
		b := column.NewBatch(s)
		for i := range int64(partitions * each) {
			b.Columns[0].AppendInt64(i)
			b.Columns[1].AppendString(fmt.Sprintf("%03d", i*7919%partitions)) // rows of all partitions, mixed
			b.Columns[2].AppendString(fmt.Sprintf("%d-%d-%s", round, i, strings.Repeat("x", 200)))
		}
		b.Seal(partitions * each)
		return b
	}
	w := &weighing{Store: localStore(t, t.TempDir())}
	table := create(t, w, delta.CreateOptions{Schema: s, PartitionColumns: []string{"p"}})
	one := batch(0)
	bounded := func(what string, allowed uint64, do func()) {
		t.Helper()
		before := liveHeap()
		w.made, w.most, w.heap = 0, 0, 0
		do()
		if w.made < partitions || w.most != 1 {
			t.Errorf("%s: %d files, %d at a time", what, w.made, w.most)
		}
		beside := int64(w.heap) - int64(before)
		t.Logf("%s of %d partitions, %d bytes: %d bytes beside it", what, partitions, one.Bytes(), beside)
		if beside > int64(allowed) {
			t.Errorf("%s: %d bytes beside the batch of %d, at most %d are allowed", what, beside, one.Bytes(), allowed)
		}
	}
	bounded("write", 4<<20, func() { write(t, table, one) })
	source := batch(1)
	bounded("merge", 16<<20, func() {
		_, err := table.Merge(t.Context(), []*column.Batch{source}, delta.MergeOptions{Key: []string{"p", "id"}, Filters: -1})
		must(t, err)
	})
	if n, ok := table.Snapshot().NumRecords(); !ok || n != partitions*each {
		t.Errorf("%d rows", n)
	}
}

// TestIsolationOfTheTable: delta.isolationLevel says what a transaction that names no level is checked for.
func TestIsolationOfTheTable(t *testing.T) {
	for level, conflicts := range map[string]bool{"": true, "Serializable": true, "WriteSerializable": false} {
		table := create(t, store.NewMemory(), delta.CreateOptions{Configuration: map[string]string{"delta.isolationLevel": level}})
		base := table.Snapshot()
		commit(t, table, appending("theirs"))
		_, err := table.Commit(t.Context(), fixed(delta.Transaction{
			Operation: "UPDATE", Base: base, Reads: delta.ReadSet{Whole: true}, Adds: []delta.Add{file("ours")},
		}))
		if (err != nil) != conflicts {
			t.Errorf("beside a blind append under %q: %v", level, err)
		}
		history, err := table.History(t.Context(), 1)
		must(t, err)
		if !conflicts && history[0].IsolationLevel != "WriteSerializable" {
			t.Errorf("the commit says %s", history[0].IsolationLevel)
		}
	}
}

// TestDecimalPartitionOfAnotherType: a value with more digits than the column has would be in the log, where nobody can read it.
func TestDecimalPartitionOfAnotherType(t *testing.T) {
	partitioned := func(scale int) *schema.Type {
		d := &schema.Type{Kind: schema.Decimal, Precision: 10, Scale: scale}
		return structOf(field("id", schema.Long), schema.Field{Name: "p", Type: d, Nullable: true})
	}
	table := create(t, store.NewMemory(), delta.CreateOptions{Schema: partitioned(2), PartitionColumns: []string{"p"}})
	b := columntest.Build(partitioned(4), []map[string]any{{"id": int64(1), "p": "1.2345"}})
	_, err := table.WriteData(t.Context(), partitioned(2), []string{"p"}, []*column.Batch{b}, parquet.WriterOptions{})
	if !errors.Is(err, parquet.ErrMisfit) {
		t.Errorf("the batch was taken: %v", err)
	}
}
