package delta

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// TestTombstonesAreForgotten: a table that stays open does not remember every file that it ever removed.
func TestTombstonesAreForgotten(t *testing.T) {
	var passed atomic.Int64 // checkpoints ask for the time as well
	now := func() time.Time { return time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Add(time.Duration(passed.Load())) }
	st := store.NewMemory()
	s := &schema.Type{Kind: schema.Struct, Fields: []schema.Field{leaf("id", schema.Long)}}
	table, err := Create(t.Context(), st, CreateOptions{Schema: s, Options: Options{Now: now}})
	if err != nil {
		t.Fatal(err)
	}
	follower, err := Open(t.Context(), st, Options{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	for v := range 2 * forgetEach { // half an hour each: a week has 336
		tx := Transaction{Operation: "TEST", Adds: []Add{{Path: fmt.Sprintf("%d.parquet", v), Size: 1, DataChange: true}}}
		if v > 0 {
			tx.Removes = []Remove{{Path: fmt.Sprintf("%d.parquet", v-1), DataChange: true}}
		}
		if _, err := table.Commit(t.Context(), func(context.Context, *Snapshot) (*Transaction, error) { return &tx, nil }); err != nil {
			t.Fatal(err)
		}
		passed.Add(int64(30 * time.Minute))
	}
	if _, err := follower.Update(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := table.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*Snapshot{table.Snapshot(), follower.Snapshot()} {
		if n := s.tombstones.len; n < 336-2 || n > 336+2 {
			t.Errorf("version %d remembers %d removed files, want those of a week", s.version, n)
		}
		if _, ok := s.tombstones.get(fileID(fmt.Sprintf("%d.parquet", 2*forgetEach-2), nil)); !ok {
			t.Error("the newest is forgotten")
		}
	}
}

// TestRetiredTombstonesAreRecalled: one list of names that is lost or garbled does not keep those of all later ones for ever.
func TestRetiredTombstonesAreRecalled(t *testing.T) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	st := store.NewMemory()
	for key, text := range map[string]string{"garbled": "{", "good": `[{"path":"old","since":1}]`, "young": `[]`} {
		if err := st.PutIfAbsent(t.Context(), key, []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	e := &tombstoneEdit{m: &merge{t: &Table{store: st}}, now: now}
	e.list.Retired = []obsoleteFile{{"lost", 1}, {"garbled", 1}, {"young", now.UnixMilli()}, {"good", 2}}
	for range 2 {
		e.recall(t.Context())
		if len(e.list.Retired) != 3 || len(e.list.Obsolete) != 2 || e.list.Obsolete[0].Key != "old" || e.list.Obsolete[1].Key != "good" {
			t.Fatalf("%+v", e.list)
		}
	}
}
