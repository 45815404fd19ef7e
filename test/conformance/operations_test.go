package conformance

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/column/columntest"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

func build(s *schema.Type, rows []map[string]any) *column.Batch { return columntest.Build(s, rows) }

// create makes the table, by either side.
func (q *sequence) create() error {
	st, err := store.NewLocal(q.dir)
	if err != nil {
		return err
	}
	if q.r.IntN(2) == 0 {
		q.partitionBy = []string{"p"}
	}
	q.known = map[int64]*model{}
	if q.r.IntN(2) == 0 {
		return q.createTheirs(st)
	}
	c := delta.CreateOptions{
		Schema: baseColumns, PartitionColumns: q.partitionBy, Configuration: map[string]string{},
		Options: delta.Options{CheckpointEvery: 1 + q.r.IntN(4)},
	}
	if q.peer == spark && q.r.IntN(2) == 0 { // deltalake 1.6.6 does not write to such tables
		c.Configuration["delta.enableDeletionVectors"] = "true"
		c.Features = []string{"deletionVectors"}
	}
	q.steps = append(q.steps, fmt.Sprintf("create %v %v", q.partitionBy, c.Configuration))
	if q.table, err = delta.Create(q.t.Context(), st, c); err != nil {
		return err
	}
	q.model = &model{schema: baseColumns, rows: map[int64]map[string]any{}}
	q.remember(-1, false)
	return nil
}

func (q *sequence) createTheirs(st store.Store) error {
	q.steps = append(q.steps, fmt.Sprintf("their create %v", q.partitionBy))
	s := q.drawSource(false)
	if _, err := q.peer.do(q.appendCommand(s)); err != nil {
		return err
	}
	q.model = &model{schema: s.schema, rows: map[int64]map[string]any{}}
	s.add(q.model.rows)
	var err error
	if q.table, err = delta.Open(q.t.Context(), st, delta.Options{CheckpointEvery: 1 + q.r.IntN(4)}); err != nil {
		return err
	}
	q.remember(-1, true)
	return nil
}

// operations are what either side can do now. Those that return no answer are weir's: the peer then looks.
func (q *sequence) operations() map[string]func() (*answer, error) {
	ops := map[string]func() (*answer, error){
		"append": q.append, "evolve": q.append, "merge": q.merge, "delete": q.delete, "optimize": q.optimize, "zorder": q.zorder,
		"checkpoint": q.checkpoint, "restore": q.restore, "vacuum": q.vacuum, "together": q.together,
		"their append": q.theirAppend, "their delete": q.theirDelete, "their update": q.theirUpdate, "their merge": q.theirMerge,
	}
	for _, op := range []string{"compact", "checkpoint", "vacuum"} {
		ops["their "+op] = func() (*answer, error) { return q.peer.do(q.command(op)) }
	}
	ops["their zorder"] = func() (*answer, error) {
		c := q.command("zorder")
		c["by"] = "id"
		return q.peer.do(c)
	}
	ops["their restore"] = q.theirRestore
	return ops
}

// write is an append by weir through a handle of its own.
func write(ctx context.Context, table *delta.Table, s *source) error {
	merged, err := schema.Merge(table.Snapshot().Schema(), s.schema)
	if err != nil {
		return err
	}
	adds, err := table.WriteData(ctx, merged, table.Snapshot().PartitionColumns(), []*column.Batch{s.batch()}, parquet.WriterOptions{})
	if err != nil {
		return err
	}
	_, err = table.Commit(ctx, func(_ context.Context, now *delta.Snapshot) (*delta.Transaction, error) {
		tx := &delta.Transaction{Operation: "WRITE", BlindAppend: true, Adds: adds, Constraints: now.Constraints()}
		if !merged.Equal(now.Schema()) {
			md := now.Metadata()
			md.SetSchema(merged)
			tx.Metadata = &md
		}
		return tx, nil
	})
	return err
}

func (q *sequence) append() (*answer, error) {
	s := q.drawSource(true)
	q.step("%s", s.schema)
	if err := write(q.t.Context(), q.table, s); err != nil {
		return nil, err
	}
	var err error
	q.model, err = q.model.with(s.schema, s.add)
	return nil, err
}

func (q *sequence) merge() (*answer, error) {
	s := q.drawChanges(true)
	q.step("%s of %d", s.schema, len(s.rows))
	_, err := q.table.Merge(q.t.Context(), []*column.Batch{s.batch()}, delta.MergeOptions{
		Key: []string{"id"}, Op: "op", Deletes: []string{"d"}, Evolve: true,
	})
	if err != nil {
		return nil, err
	}
	q.model, err = q.model.merge(s, true)
	return nil, err
}

func (q *sequence) delete() (*answer, error) {
	return nil, q.deleteWhere(q.drawCondition())
}

func (q *sequence) deleteWhere(c condition) error {
	q.step("%s", c.sql)
	where, err := delta.ParsePredicate(c.sql, q.table.Snapshot().Schema())
	if err != nil {
		return err
	}
	if _, err := q.table.Delete(q.t.Context(), delta.DeleteOptions{Where: where}); err != nil {
		return err
	}
	return q.without(c)
}

// without takes the rows of a condition out of the model.
func (q *sequence) without(c condition) (err error) {
	q.model, err = q.model.with(structOf(), func(rows map[int64]map[string]any) {
		maps.DeleteFunc(rows, func(_ int64, row map[string]any) bool { return c.holds(row) })
	})
	return err
}

func (q *sequence) optimize() (*answer, error) {
	_, err := q.table.Optimize(q.t.Context(), delta.OptimizeOptions{})
	return nil, err
}

func (q *sequence) zorder() (*answer, error) {
	columns := []string{"id", "s"}[q.r.IntN(2):]
	_, err := q.table.Optimize(q.t.Context(), delta.OptimizeOptions{ZOrder: columns})
	return nil, err
}

func (q *sequence) checkpoint() (*answer, error) { return nil, q.table.Checkpoint(q.t.Context()) }

func (q *sequence) vacuum() (*answer, error) {
	_, err := q.table.Vacuum(q.t.Context(), delta.VacuumOptions{Force: true})
	return nil, err
}

func (q *sequence) drawVersion() int64 {
	v := pick(q.r, slices.Sorted(maps.Keys(q.known)))
	q.step("%d", v)
	return v
}

func (q *sequence) restore() (*answer, error) {
	v := q.drawVersion()
	_, err := q.table.Restore(q.t.Context(), v)
	if errors.As(err, new(*delta.MissingFileError)) { // it was vacuumed: nothing has changed
		q.step("(vacuumed)")
		return nil, nil
	}
	if err == nil {
		q.model = q.known[v]
	}
	return nil, err
}

func (q *sequence) theirRestore() (*answer, error) {
	v := q.drawVersion()
	c := q.command("restore")
	c["version"] = v
	a, err := q.peer.do(c)
	if errors.As(err, new(*peerError)) { // likewise, but whether that is why the peer refuses only weir can tell
		q.step("(refused)")
		if q.peer == deltalake && v == q.table.Snapshot().Version() { // it does not restore the newest version
			return nil, nil
		}
		return nil, q.mustMiss(v, err)
	}
	if err == nil {
		q.model = q.known[v]
	}
	return a, err
}

// mustMiss says whether files of the version are missing; refused is returned if they are not.
func (q *sequence) mustMiss(v int64, refused error) error {
	s, err := delta.OpenAt(q.t.Context(), q.table.Store(), v)
	if err != nil {
		return err
	}
	for a := range s.Files() {
		key, err := delta.DataKey(a.Path)
		if err != nil {
			return err
		}
		if f, err := q.table.Store().Open(q.t.Context(), key); errors.Is(err, store.ErrNotExist) {
			return nil
		} else if err != nil {
			return err
		} else if err := f.Close(); err != nil {
			return err
		}
	}
	return refused
}

func (q *sequence) appendCommand(s *source) command {
	c := q.command("append")
	c["schema"], c["rows"], c["partitionBy"] = s.schema.JSON(), s.plain(), q.partitionBy
	return c
}

func (q *sequence) theirAppend() (*answer, error) {
	s := q.drawSource(true)
	q.step("%s", s.schema)
	a, err := q.peer.do(q.appendCommand(s))
	if err != nil {
		return nil, err
	}
	q.model, err = q.model.with(s.schema, s.add)
	return a, err
}

func (q *sequence) theirMerge() (*answer, error) {
	s := q.drawChanges(false)
	q.step("%s of %d", s.schema, len(s.rows))
	c := q.command("merge")
	c["schema"], c["rows"] = s.schema.JSON(), s.plain()
	a, err := q.peer.do(c)
	if err != nil {
		return nil, err
	}
	q.model, err = q.model.merge(s, false)
	return a, err
}

func (q *sequence) theirDelete() (*answer, error) {
	where := q.drawCondition()
	q.step("%s", where.sql)
	c := q.command("delete")
	c["where"] = where.sql
	a, err := q.peer.do(c)
	if err != nil {
		return nil, err
	}
	return a, q.without(where)
}

func (q *sequence) theirUpdate() (*answer, error) {
	where := q.drawCondition()
	q.step("%s", where.sql)
	c := q.command("update")
	c["set"], c["where"] = "s = 'updated'", where.sql
	a, err := q.peer.do(c)
	if err != nil {
		return nil, err
	}
	q.model, err = q.model.with(structOf(), func(rows map[int64]map[string]any) {
		for id, row := range rows {
			if where.holds(row) {
				row = maps.Clone(row)
				row["s"] = "updated"
				rows[id] = row
			}
		}
	})
	return a, err
}

// together lets the peer append while weir appends through a second handle, merges, deletes or optimizes. All of it must
// succeed: weir does its part anew on the peer's commit, and an append does not mind others.
func (q *sequence) together() (*answer, error) {
	where := q.drawRange() // of rows that are there before: others would depend on who is faster
	s := q.drawSource(false)
	theirs := make(chan error, 1)
	c := q.appendCommand(s)
	var ours []*source
	for range 3 {
		ours = append(ours, q.drawSource(false))
	}
	changes := q.drawChanges(false)
	go func() {
		_, err := q.peer.do(c)
		theirs <- err
	}()
	if err := q.ours(ours, changes, where); err != nil {
		return nil, errors.Join(err, <-theirs)
	}
	err := <-theirs
	if q.conflicted(err) {
		return nil, nil
	}
	if err == nil {
		q.model, err = q.model.with(structOf(), s.add)
	}
	return nil, err
}

// conflicted says whether deltalake gave an append up. It counts every file of the table as read by an append, so one that
// is removed meanwhile is a conflict, which the protocol does not ask for.
func (q *sequence) conflicted(err error) bool {
	refused, ok := errors.AsType[*peerError](err)
	if !ok || q.peer != deltalake || !strings.Contains(refused.text, "CommitFailedError") {
		return false
	}
	q.step("(append given up)")
	return true
}

func (q *sequence) ours(appends []*source, changes *source, where condition) error {
	switch q.r.IntN(4) {
	case 0:
		q.step("appends")
		return q.appendTwice(appends)
	case 1:
		q.step("merge")
		_, err := q.table.Merge(q.t.Context(), []*column.Batch{changes.batch()}, delta.MergeOptions{Key: []string{"id"}, Op: "op", Deletes: []string{"d"}})
		if err == nil {
			q.model, err = q.model.merge(changes, true)
		}
		return err
	case 2:
		return q.deleteWhere(where)
	}
	q.step("optimize")
	_, err := q.table.Optimize(q.t.Context(), delta.OptimizeOptions{})
	return err
}

// appendTwice appends through two handles in turns.
func (q *sequence) appendTwice(appends []*source) error {
	second, err := delta.Open(q.t.Context(), q.table.Store(), delta.Options{})
	if err != nil {
		return err
	}
	for i, s := range appends {
		table := q.table
		if i%2 == 0 {
			table = second
		}
		if err := write(q.t.Context(), table, s); err != nil {
			return err
		}
		if q.model, err = q.model.with(structOf(), s.add); err != nil {
			return err
		}
	}
	return second.Close(q.t.Context())
}
