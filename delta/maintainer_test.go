package delta_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// atOnce is a policy that packs what there is without resting.
func atOnce(reports *[]delta.MaintenanceReport) delta.MaintenancePolicy {
	return delta.MaintenancePolicy{
		Compact: true, Share: 1, Every: time.Millisecond, MinFiles: 4,
		Report: func(r delta.MaintenanceReport) { *reports = append(*reports, r) },
	}
}

// TestMaintainerBesideCommits: while a maintainer packs without rest, every commit succeeds, few files are there at any time,
// and the rows are those that were written.
func TestMaintainerBesideCommits(t *testing.T) {
	table := create(t, localStore(t, t.TempDir()), delta.CreateOptions{})
	var reports []delta.MaintenanceReport
	m := delta.NewMaintainer(table, atOnce(&reports))
	ctx, stop := context.WithCancel(t.Context())
	var runs sync.WaitGroup
	runs.Go(func() { m.Run(ctx) })
	var want []string
	for i := range int64(100) {
		write(t, table, longs(i))
		want = append(want, fmt.Sprintf("map[id:%d]", i))
	}
	stop()
	runs.Wait()
	m.Look(t.Context()) // what the last ones left
	s := table.Snapshot()
	if s.NumFiles() > 40 {
		t.Errorf("%d files", s.NumFiles())
	}
	slices.Sort(want)
	if d := cmp.Diff(want, rows(t, s, nil)); d != "" {
		t.Errorf("rows (-written +read):\n%s", d)
	}
	for _, r := range reports {
		if r.Err != nil || r.Task != delta.TaskCompact || r.Bytes == 0 || r.BytesWritten == 0 {
			t.Errorf("report %+v", r)
		}
	}
	history, err := table.History(t.Context(), 0)
	must(t, err)
	i := slices.IndexFunc(history, func(c delta.CommitInfo) bool { return c.Operation == "OPTIMIZE" })
	if i < 0 || history[i].Parameters["auto"] != "true" {
		t.Errorf("no automatic OPTIMIZE in %d commits", len(history))
	}
}

// TestMaintainerLoses against a commit that takes rows out of a file that it packs, and packs the others.
func TestMaintainerLoses(t *testing.T) {
	table := create(t, localStore(t, t.TempDir()), delta.CreateOptions{})
	for i := range int64(8) {
		write(t, table, longs(i, 100+i))
	}
	var reports []delta.MaintenanceReport
	p := atOnce(&reports)
	once := sync.OnceFunc(func() {
		where, err := delta.ParsePredicate("id = 3", oneColumn)
		must(t, err)
		_, err = table.Delete(t.Context(), delta.DeleteOptions{Where: where})
		must(t, err)
	})
	turns := 0
	p.Turn = func(context.Context) (func(), error) { once(); return func() { turns++ }, nil }
	m := delta.NewMaintainer(table, p)
	m.Look(t.Context()) // packs the other seven, with commits waiting
	if n, ok := table.Snapshot().NumRecords(); !ok || n != 15 || table.Snapshot().NumFiles() != 2 || turns != 2 {
		t.Fatalf("%d rows in %d files after %d turns: %+v", n, table.Snapshot().NumFiles(), turns, reports)
	}
	// A commit that always gets in the way is reported in the end.
	for i := range int64(8) {
		write(t, table, longs(1000+i))
	}
	p.Turn = func(context.Context) (func(), error) {
		return nil, &delta.ConflictError{Kind: delta.ConflictDeleteRead}
	}
	reports = nil
	m = delta.NewMaintainer(table, p)
	m.Look(t.Context())
	if table.Snapshot().NumFiles() != 10 || len(reports) != 0 {
		t.Fatalf("%d files, %+v", table.Snapshot().NumFiles(), reports)
	}
	p.Turn = func(context.Context) (func(), error) { return nil, errors.New("broken") }
	m = delta.NewMaintainer(table, p)
	m.Look(t.Context())
	if len(reports) != 1 || reports[0].Err == nil {
		t.Fatalf("%+v", reports)
	}
}

// TestMaintainerSorts packs along a Z-order curve.
func TestMaintainerSorts(t *testing.T) {
	s := structOf(field("a", schema.Long), field("b", schema.Long))
	table := create(t, store.NewMemory(), delta.CreateOptions{Schema: s})
	for i := range int64(5) {
		b := column.NewBatch(s)
		for j := range int64(100) {
			b.Columns[0].AppendInt64(j * 7 % 100)
			b.Columns[1].AppendInt64(i)
		}
		b.Seal(100)
		write(t, table, b)
	}
	var reports []delta.MaintenanceReport
	p := atOnce(&reports)
	p.ZOrder = []string{"a"}
	delta.NewMaintainer(table, p).Look(t.Context())
	if table.Snapshot().NumFiles() != 1 {
		t.Fatalf("%d files: %+v", table.Snapshot().NumFiles(), reports)
	}
	last := int64(-1)
	for b, err := range table.Snapshot().Read(t.Context(), nil) {
		must(t, err)
		for _, a := range b.Columns[0].Int64s {
			if a < last {
				t.Fatalf("%d after %d", a, last)
			}
			last = a
		}
	}
}

// TestMaintainerSweeps: once a day, what the table has not used for a week is deleted, if it looks like a file of the table.
func TestMaintainerSweeps(t *testing.T) {
	dir := t.TempDir()
	now := time.Now()
	table := create(t, localStore(t, dir), delta.CreateOptions{Options: delta.Options{Now: func() time.Time { return now }, CheckpointEvery: 5}})
	for i := range int64(6) {
		write(t, table, longs(i))
	}
	for _, name := range []string{"part-orphan.parquet", "notes.txt"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("x"), 0o600))
	}
	var reports []delta.MaintenanceReport
	p := atOnce(&reports)
	p.Vacuum, p.CleanLog = true, true
	m := delta.NewMaintainer(table, p)
	m.Look(t.Context()) // packs
	if len(reports) != 1 || reports[0].Files != 6 {
		t.Fatalf("%+v", reports)
	}
	now = now.Add(8 * 24 * time.Hour)
	m.Look(t.Context())
	m.Look(t.Context()) // not again on the same day
	if len(reports) != 2 || reports[1].Task != delta.TaskVacuum || reports[1].Files != 7 || reports[1].Bytes == 0 {
		t.Fatalf("%+v", reports)
	}
	if _, err := os.Stat(filepath.Join(dir, "notes.txt")); err != nil {
		t.Errorf("a file of someone else: %v", err)
	}
	must(t, table.Checkpoint(t.Context()))
	now = now.Add(40 * 24 * time.Hour)
	write(t, table, longs(77))
	m.Look(t.Context())
	if i := slices.IndexFunc(reports, func(r delta.MaintenanceReport) bool {
		return r.Task == delta.TaskCleanLog && r.Err == nil && r.Files > 0
	}); i < 0 {
		t.Errorf("the log was not cleaned: %+v", reports)
	}
	if n, _ := table.Snapshot().NumRecords(); n != 7 {
		t.Errorf("%d rows", n)
	}
}
