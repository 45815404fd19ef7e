package commit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/schema"
)

// Merge says how records change a table that is merged instead of appended to.
type Merge struct {
	Key             []string // columns that name a row
	Sequence        string   // column of which the highest value is the last change of a row
	Op              string   // column that says what a record does; empty: all upsert. The table does not have it
	Deletes         []string // values of Op
	Tombstones      time.Duration
	DeletionVectors bool
}

// merge merges the source of s. It may be repeated after any error: a merge that was made already is found, or changes nothing.
func (l *Local) merge(ctx context.Context, s *Submission) (Verdict, error) {
	if l.table.Load() == nil {
		if err := l.create(ctx, s.Schema); err != nil {
			return Verdict{}, err
		}
	}
	t, m := l.table.Load(), l.set.Merge
	if m.DeletionVectors {
		if err := t.EnableDeletionVectors(ctx); err != nil {
			return Verdict{}, fmt.Errorf("merge: %w", err)
		}
	}
	done, err := l.takeTurn(ctx)
	if err != nil {
		return Verdict{}, fmt.Errorf("merge: %w", err)
	}
	defer done()
	res, err := t.Merge(ctx, s.Source, delta.MergeOptions{
		Key: m.Key, Sequence: m.Sequence, Op: m.Op, Deletes: m.Deletes, Matched: delta.MatchedUpdateIfNewer,
		Evolve: true, Tombstones: m.Tombstones, Parquet: l.set.Parquet, Earlier: &s.attempts,
	})
	if _, moved := errors.AsType[*schema.MergeError](err); moved {
		return Verdict{NewerSchema: t.Snapshot().Schema()}, nil
	}
	if err != nil {
		return Verdict{}, fmt.Errorf("commit: %w", err)
	}
	l.streams.advance(s.Ranges)
	return Verdict{Version: res.Version, Merged: &res}, nil
}

// columns are those of the table: without the one that says what a record does.
func (m *Merge) columns(s *schema.Type) *schema.Type {
	if m == nil || m.Op == "" {
		return s
	}
	out := *s
	out.Fields = slices.DeleteFunc(slices.Clone(s.Fields), func(f schema.Field) bool { return f.Name == m.Op })
	return &out
}
