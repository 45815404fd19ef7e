package delta_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func field(name string, k schema.Kind) schema.Field {
	return schema.Field{Name: name, Type: &schema.Type{Kind: k}, Nullable: true}
}

func structOf(fields ...schema.Field) *schema.Type {
	return &schema.Type{Kind: schema.Struct, Fields: fields}
}

// oneColumn is the schema of most tables here.
var oneColumn = structOf(field("id", schema.Long))

func localStore(t *testing.T, dir string) store.Store {
	t.Helper()
	st, err := store.NewLocal(dir)
	must(t, err)
	return st
}

func create(t *testing.T, st store.Store, c delta.CreateOptions) *delta.Table {
	t.Helper()
	if c.Schema == nil {
		c.Schema = oneColumn
	}
	table, err := delta.Create(t.Context(), st, c)
	must(t, err)
	t.Cleanup(func() { must(t, table.Close(context.Background())) })
	return table
}

func open(t *testing.T, st store.Store, o delta.Options) *delta.Table {
	t.Helper()
	table, err := delta.Open(t.Context(), st, o)
	must(t, err)
	t.Cleanup(func() { must(t, table.Close(context.Background())) })
	return table
}

func file(path string) delta.Add {
	return delta.Add{Path: path, Size: 10, ModificationTime: 1, DataChange: true, Stats: `{"numRecords":1}`}
}

// appending builds a blind append of files that are not written.
func appending(paths ...string) func(context.Context, *delta.Snapshot) (*delta.Transaction, error) {
	return func(context.Context, *delta.Snapshot) (*delta.Transaction, error) {
		tx := &delta.Transaction{Operation: "WRITE", Parameters: map[string]any{"mode": "Append"}, BlindAppend: true}
		for _, p := range paths {
			tx.Adds = append(tx.Adds, file(p))
		}
		return tx, nil
	}
}

// fixed builds the same transaction every time.
func fixed(tx delta.Transaction) func(context.Context, *delta.Snapshot) (*delta.Transaction, error) {
	return func(context.Context, *delta.Snapshot) (*delta.Transaction, error) { c := tx; return &c, nil }
}

func commit(t *testing.T, table *delta.Table, build func(context.Context, *delta.Snapshot) (*delta.Transaction, error)) delta.CommitResult {
	t.Helper()
	res, err := table.Commit(t.Context(), build)
	must(t, err)
	return res
}

func paths(s *delta.Snapshot) []string {
	out := []string{}
	for a := range s.Files() {
		out = append(out, a.Path)
	}
	slices.Sort(out)
	return out
}

// wantSame compares two snapshots of one version in every respect.
func wantSame(t *testing.T, want, got *delta.Snapshot) {
	t.Helper()
	if d := cmp.Diff(describe(want), describe(got)); d != "" {
		t.Errorf("snapshots differ (-want +got):\n%s", d)
	}
}

type description struct {
	Version  int64
	Protocol delta.Protocol
	Metadata delta.Metadata
	Schema   string
	Files    []delta.Add
	Bytes    int64
	Time     string
}

func describe(s *delta.Snapshot) description {
	d := description{
		Version: s.Version(), Protocol: s.Protocol(), Metadata: s.Metadata(), Schema: s.Schema().JSON(), Bytes: s.Bytes(),
		Time: s.Timestamp().String(),
	}
	byPath := map[string]delta.Add{}
	for a := range s.Files() {
		byPath[a.Path+fmt.Sprint(a.DeletionVector)] = a
	}
	for _, k := range slices.Sorted(maps.Keys(byPath)) {
		d.Files = append(d.Files, byPath[k])
	}
	return d
}
