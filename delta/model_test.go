package delta_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// model is a table as plain maps.
type model struct {
	version  int64
	files    map[string]delta.Add
	txns     map[string]int64
	domains  map[string]string
	metadata delta.Metadata
}

func (m *model) check(t *rapid.T, s *delta.Snapshot) {
	t.Helper()
	if s.Version() != m.version {
		t.Fatalf("version %d, want %d", s.Version(), m.version)
	}
	got := map[string]delta.Add{}
	bytes := int64(0)
	for a := range s.Files() {
		got[a.Path] = a
		bytes += a.Size
	}
	if d := cmp.Diff(m.files, got); d != "" {
		t.Fatalf("files (-want +got):\n%s", d)
	}
	if s.NumFiles() != len(m.files) || s.Bytes() != bytes {
		t.Fatalf("%d files, %d bytes, want %d, %d", s.NumFiles(), s.Bytes(), len(m.files), bytes)
	}
	for app, v := range m.txns {
		if got, ok := s.Txn(app); !ok || got != v {
			t.Fatalf("txn %s is %d, want %d", app, got, v)
		}
	}
	for _, d := range []string{"d1", "d2"} {
		want, wantOK := m.domains[d]
		if got, ok := s.Domain(d); got != want || ok != wantOK {
			t.Fatalf("domain %s is %q %v, want %q %v", d, got, ok, want, wantOK)
		}
	}
	if d := cmp.Diff(m.metadata, s.Metadata()); d != "" {
		t.Fatalf("metadata (-want +got):\n%s", d)
	}
}

// step draws a transaction and applies it to the model.
func (m *model) step(t *rapid.T) delta.Transaction {
	tx := delta.Transaction{Operation: "TEST"}
	for i := range rapid.IntRange(0, 3).Draw(t, "adds") {
		a := file(fmt.Sprintf("f%d-%d é%%.parquet", m.version, i))
		a.Path = rapid.SampledFrom([]string{a.Path, fmt.Sprintf("f%d-%d", m.version, i)}).Draw(t, "path")
		a.Path = string(bytes.ReplaceAll([]byte(a.Path), []byte("%"), []byte("%25")))
		a.PartitionValues = delta.PartitionValues{}
		a.Size = rapid.Int64Range(0, 1<<40).Draw(t, "size")
		a.Stats = rapid.SampledFrom([]string{"", `{"numRecords":2,"minValues":{"id":"<&>"}}`}).Draw(t, "stats")
		a.Tags = rapid.SampledFrom([]map[string]string{nil, {"k": "v", "empty": ""}}).Draw(t, "tags")
		tx.Adds = append(tx.Adds, a)
	}
	live := slices.Sorted(maps.Keys(m.files))
	for len(live) > 0 && rapid.Bool().Draw(t, "remove") {
		i := rapid.IntRange(0, len(live)-1).Draw(t, "which")
		tx.Removes = append(tx.Removes, delta.Remove{Path: live[i], DataChange: true, Size: m.files[live[i]].Size})
		live = slices.Delete(live, i, i+1)
	}
	if rapid.Bool().Draw(t, "txn") {
		app := rapid.SampledFrom([]string{"a", "b/c", "é"}).Draw(t, "app")
		tx.Txns = []delta.Txn{{AppID: app, Version: m.version}}
		m.txns[app] = m.version
	}
	m.drawDomain(t, &tx)
	if rapid.IntRange(0, 9).Draw(t, "metadata") == 0 {
		m.metadata.SetSchema(structOf(field("id", schema.Long), field(fmt.Sprintf("c%d", m.version), schema.String)))
		m.metadata.Description = fmt.Sprint("since ", m.version)
		md := m.metadata
		tx.Metadata = &md
	}
	for _, r := range tx.Removes {
		delete(m.files, r.Path)
	}
	for _, a := range tx.Adds {
		a.DataChange = false
		m.files[a.Path] = a
	}
	m.version++
	return tx
}

func (m *model) drawDomain(t *rapid.T, tx *delta.Transaction) {
	if !rapid.Bool().Draw(t, "domain") {
		return
	}
	d := delta.DomainMetadata{
		Domain: rapid.SampledFrom([]string{"d1", "d2"}).Draw(t, "name"), Configuration: strconv.FormatInt(m.version, 10),
		Removed: rapid.Bool().Draw(t, "removed"),
	}
	tx.Domains = append(tx.Domains, d)
	if d.Removed {
		delete(m.domains, d.Domain)
	} else {
		m.domains[d.Domain] = d.Configuration
	}
}

// TestSnapshotAgainstModel commits at random, from two tables, with checkpoints and lost log entries in between, and
// compares every way to come by a snapshot.
func TestSnapshotAgainstModel(t *testing.T) {
	ctx := t.Context()
	rapid.Check(t, func(t *rapid.T) {
		st := store.NewMemory()
		first, err := delta.Create(ctx, st, delta.CreateOptions{Schema: oneColumn})
		if err != nil {
			t.Fatal(err)
		}
		second, err := delta.Open(ctx, st, delta.Options{CheckpointEvery: 3})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = second.Close(context.Background()) }()
		m := &model{files: map[string]delta.Add{}, txns: map[string]int64{}, domains: map[string]string{}, metadata: first.Snapshot().Metadata()}
		cleaned := int64(0)
		for range rapid.IntRange(1, 12).Draw(t, "commits") {
			table := first
			if rapid.Bool().Draw(t, "second") {
				table = second
			}
			if _, err := table.Update(ctx); err != nil {
				t.Fatal(err)
			}
			old := table.Snapshot()
			before := describe(old)
			tx := m.step(t)
			if _, err := table.Commit(ctx, fixed(tx)); err != nil {
				t.Fatal(err)
			}
			m.check(t, table.Snapshot())
			if d := cmp.Diff(before, describe(old)); d != "" {
				t.Fatalf("an earlier snapshot changed:\n%s", d)
			}
			if rapid.IntRange(0, 3).Draw(t, "checkpoint") == 0 {
				if err := table.Checkpoint(ctx); err != nil {
					t.Fatal(err)
				}
				// Entries that someone has yet to read are younger than any log cleanup.
				known := min(first.Snapshot().Version(), second.Snapshot().Version())
				for ; cleaned <= known && rapid.Bool().Draw(t, "clean"); cleaned++ {
					if err := st.Delete(ctx, key(cleaned)); err != nil {
						t.Fatal(err)
					}
				}
			}
			loaded, err := delta.Open(ctx, st, delta.Options{})
			if err != nil {
				t.Fatal(err)
			}
			m.check(t, loaded.Snapshot())
		}
	})
}
