package delta

import (
	"context"
	"strconv"

	"github.com/weir-dev/weir/delta/parquet"
)

// DeleteOptions say how [Table.Delete] works. The zero value is useful.
type DeleteOptions struct {
	Where       *Predicate // nil: every row
	CopyOnWrite bool       // rewrite files even in a table with delta.enableDeletionVectors
	Memory      int64      // bytes of rows held while files are rewritten; 0 means 64 MiB
	Parquet     parquet.WriterOptions
}

// DeleteResult says what [Table.Delete] did.
type DeleteResult struct {
	Version       int64 // of the commit; of the table if there was nothing to delete
	Deleted       int64 // rows
	FilesRead     int   // those that could hold such rows
	FilesRemoved  int
	FilesAdded    int
	FilesMarked   int // got a new deletion vector
	BytesAdded    int64
	RowsRewritten int64 // that stay, but stood in a rewritten file
}

// Delete removes the rows for which the condition is true. A file that loses all its rows is only taken out of the log. When
// another commit got in the way, all is done again on the newer snapshot.
//
// Errors: ErrAppendOnly; those of [Snapshot.Read] and [Table.Commit].
func (t *Table) Delete(ctx context.Context, o DeleteOptions) (DeleteResult, error) {
	if o.Memory <= 0 {
		o.Memory = defaultMergeMemory
	}
	var done DeleteResult
	err := t.editing(ctx, "delete", func(s *Snapshot) (*tableEdit, error) {
		d := &deletion{t: t, s: s, o: &o, result: DeleteResult{Version: s.version}}
		err := d.run(ctx)
		done = d.result
		return d.edit, err
	})
	if err != nil {
		return DeleteResult{}, err
	}
	return done, nil
}

// deletion is one attempt, over one snapshot.
type deletion struct {
	t      *Table
	s      *Snapshot
	o      *DeleteOptions
	edit   *tableEdit
	result DeleteResult
}

func (d *deletion) run(ctx context.Context) error {
	if err := checkWritable(d.s.protocol, d.s.metadata, d.s.schema); err != nil {
		return err
	}
	d.edit = d.t.newTableEdit(d.s, d.s.schema, d.o.Parquet, d.o.Memory)
	d.edit.mark = d.s.deletionVectors() && !d.o.CopyOnWrite
	for _, a := range d.s.inOrder() {
		if !d.reads(a) {
			continue
		}
		d.result.FilesRead++
		dead, err := d.dead(ctx, a)
		if err != nil {
			return err
		}
		d.result.Deleted += dead.len()
		if err := d.edit.remove(ctx, a, dead, nil, nil); err != nil {
			return err
		}
	}
	if err := d.edit.finish(ctx); err != nil {
		return err
	}
	return d.commit(ctx)
}

// reads says whether a file can hold rows to delete.
func (d *deletion) reads(a *Add) bool {
	return d.o.Where == nil || d.o.Where.root.possible(d.s.boundsOf(a))
}

// dead are the rows of a file that go.
func (d *deletion) dead(ctx context.Context, a *Add) (deletedRows, error) {
	var names []string
	if d.o.Where != nil {
		names = d.o.Where.Columns()
	}
	dead := deletedRows{}
	for b, err := range d.s.readStored(ctx, a, withColumns(noColumns, d.s.schema, names)) {
		if err != nil {
			return nil, err
		}
		var holds []truth
		if d.o.Where != nil {
			holds = d.o.Where.root.eval(b.Batch)
		}
		for row := range b.Rows {
			at := b.first + int64(row)
			if (holds == nil || holds[row] == isTrue3) && !b.deleted.has(at) {
				dead.set(at)
			}
		}
	}
	return dead, nil
}

func (d *deletion) commit(ctx context.Context) error {
	tx := d.edit.transaction()
	if len(tx.Removes) == 0 {
		return nil
	}
	where := "true"
	if d.o.Where != nil {
		where = d.o.Where.text
	}
	d.result.FilesMarked = d.edit.marked
	d.result.FilesRemoved = len(tx.Removes) - d.edit.marked
	d.result.FilesAdded = len(d.edit.written.adds)
	d.result.RowsRewritten = d.edit.kept
	for _, a := range d.edit.written.adds {
		d.result.BytesAdded += a.Size
	}
	tx.Operation, tx.Parameters = "DELETE", map[string]any{"predicate": []string{where}}
	tx.Reads.Match = d.reads
	tx.Metrics = map[string]string{
		"numDeletedRows": strconv.FormatInt(d.result.Deleted, 10), "numCopiedRows": strconv.FormatInt(d.result.RowsRewritten, 10),
		"numRemovedFiles": strconv.Itoa(d.result.FilesRemoved), "numAddedFiles": strconv.Itoa(d.result.FilesAdded),
		"numDeletionVectorsUpdated": strconv.Itoa(d.result.FilesMarked),
	}
	res, err := d.t.Commit(ctx, func(context.Context, *Snapshot) (*Transaction, error) {
		again := *tx
		return &again, nil
	})
	if err != nil {
		return err
	}
	d.result.Version = res.Version
	return nil
}
