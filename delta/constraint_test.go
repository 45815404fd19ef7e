package delta_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/column/columntest"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// checked are the options of a table with constraints of both kinds.
func checked(condition string) delta.CreateOptions {
	s := structOf(field("id", schema.Long), field("v", schema.Double))
	s.Fields[1].Metadata = map[string]any{"delta.invariants": `{"expression":{"expression":"v <= 100"}}`}
	return delta.CreateOptions{
		Schema: s, Features: []string{"checkConstraints"},
		Configuration: map[string]string{"delta.constraints.positive": condition},
	}
}

func TestConstraints(t *testing.T) {
	table := create(t, store.NewMemory(), checked("id > 0 and v is not null"))
	s := table.Snapshot().Schema()
	row := func(id int64, v any) []*column.Batch {
		return []*column.Batch{columntest.Build(s, []map[string]any{{"id": int64(5), "v": 1.0}, {"id": id, "v": v}})}
	}
	for name, c := range map[string]struct {
		rows   []*column.Batch
		broken string
	}{
		"good": {row(1, 100.0), ""}, "check": {row(0, 1.0), "positive"}, "null": {row(1, nil), "positive"}, "invariant": {row(1, 100.5), "v"},
	} {
		_, werr := table.WriteData(t.Context(), s, nil, c.rows, parquet.WriterOptions{})
		_, merr := table.Merge(t.Context(), c.rows, delta.MergeOptions{Key: []string{"id"}})
		for way, err := range map[string]error{"write": werr, "merge": merr} {
			broken, ok := errors.AsType[*delta.ConstraintError](err)
			if ok != (c.broken != "") || ok && (broken.Name != c.broken || !delta.IsReject(err)) {
				t.Errorf("%s, %s: %v, want %q broken", name, way, err, c.broken)
			}
		}
	}
	adds, err := table.WriteData(t.Context(), s, nil, row(7, 7.0), parquet.WriterOptions{})
	must(t, err)
	tx := delta.Transaction{Operation: "WRITE", BlindAppend: true, Adds: adds}
	if _, err := table.Commit(t.Context(), fixed(tx)); err == nil {
		t.Error("rows that nobody says were checked were committed")
	}
	tx.Constraints = table.Snapshot().Constraints()
	commit(t, table, fixed(tx))

	// Rows that were checked against what no longer holds do not get in.
	adds, err = table.WriteData(t.Context(), s, nil, row(8, 7.0), parquet.WriterOptions{})
	must(t, err)
	commit(t, table, func(_ context.Context, s *delta.Snapshot) (*delta.Transaction, error) {
		md := s.Metadata()
		md.Configuration["delta.constraints.small"] = "id < 8"
		return &delta.Transaction{Operation: "ADD CONSTRAINT", Metadata: &md}, nil
	})
	tx.Adds = adds
	if _, err := table.Commit(t.Context(), fixed(tx)); err == nil || !delta.IsRetry(err) {
		t.Errorf("rows checked against older constraints: %v, want a conflict", err)
	}
	if _, err := table.Optimize(t.Context(), delta.OptimizeOptions{}); err != nil {
		t.Errorf("rows of the table were checked again: %v", err)
	}
}

// TestConstraintsRefused: a table whose condition cannot be evaluated is read, and not written.
func TestConstraintsRefused(t *testing.T) {
	_, err := delta.Create(t.Context(), store.NewMemory(), checked("length(id) > 0"))
	if unsupported, ok := errors.AsType[*delta.UnsupportedFeatureError](err); !ok || !unsupported.Write {
		t.Errorf("%v, want an unsupported feature", err)
	}
	t.Log(err)
}

// TestConstraintsOfDeltaLake: a table made by deltalake, with a constraint that it states, is held to it by weir.
func TestConstraintsOfDeltaLake(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "table")
	peer(t, "constrained", dir)
	table := open(t, localStore(t, dir), delta.Options{})
	t.Log(table.Snapshot().Constraints())
	s := table.Snapshot().Schema()
	o := delta.MergeOptions{Key: []string{"id"}}
	rows := func(id int64, p string) []*column.Batch {
		return []*column.Batch{columntest.Build(s, []map[string]any{{"id": id, "p": p}})}
	}
	if _, err := table.Merge(t.Context(), rows(-1, "x"), o); err == nil {
		t.Error("a row that breaks the constraint was merged")
	}
	_, err := table.Merge(t.Context(), rows(3, "y"), o)
	must(t, err)
	if got := sortedRows(t, peer(t, "rows", dir)); len(got) != 3 {
		t.Errorf("deltalake reads %v, want 3 rows", got)
	}
}
