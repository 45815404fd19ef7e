package delta

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
)

// tableEdit takes rows out of a snapshot's files and puts rows in, and makes the transaction of it.
type tableEdit struct {
	t      *Table
	s      *Snapshot
	schema *schema.Type // of the table afterwards
	memory int64        // bytes of rows held while a file is rewritten
	mark   bool         // by deletion vectors where that pays

	feed    *feedWriter // nil: nobody wants to know which rows change
	written *dataWriter
	pending []*column.Batch // rows for new files
	removes []Remove
	marks   []markedFile
	touched map[string]struct{} // paths of the files that lost rows
	side    []string            // keys of other files written

	marked    int   // files that got a deletion vector
	kept      int64 // rows that were copied from one file to another
	sideBytes int64 // of the files in side
}

// markedFile is a file that stays, with more rows deleted.
type markedFile struct {
	add  Add
	dead deletedRows
}

func (t *Table) newTableEdit(s *Snapshot, to *schema.Type, o parquet.WriterOptions, memory int64) *tableEdit {
	e := &tableEdit{
		t: t, s: s, schema: to, memory: memory, touched: map[string]struct{}{},
		written: t.newDataWriter(to, s.metadata.PartitionColumns, o),
	}
	if s.feeds() {
		e.feed = t.newFeedWriter(s, to, o, memory)
	}
	return e
}

// editing has an edit made on the newest snapshot, and again on a newer one when another commit got in its way. What an attempt
// wrote and did not commit is deleted.
func (t *Table) editing(ctx context.Context, what string, attempt func(s *Snapshot) (*tableEdit, error)) error {
	for n := 1; ; n++ {
		s, err := t.Update(ctx)
		if err != nil {
			return err
		}
		edit, err := attempt(s)
		if err == nil {
			return nil
		}
		if _, unknown := errors.AsType[*UnknownOutcomeError](err); !unknown && edit != nil {
			err = errors.Join(err, edit.undo(ctx))
		}
		if _, conflict := errors.AsType[*ConflictError](err); !conflict || n >= t.opt.MaxAttempts {
			return fmt.Errorf("%s: %w", what, err)
		}
		if err := pause(ctx, n); err != nil {
			return err
		}
	}
}

// insert puts rows in.
func (e *tableEdit) insert(ctx context.Context, batches []*column.Batch) error {
	if err := e.check(batches); err != nil {
		return err
	}
	if e.feed != nil {
		if err := e.feed.add(ctx, ChangeInsert, batches...); err != nil {
			return err
		}
	}
	e.pending = append(e.pending, batches...)
	return nil
}

// check refuses rows that the table does not allow.
func (e *tableEdit) check(batches []*column.Batch) error {
	for _, f := range e.schema.Fields {
		if err := checkNotNull(f, batches); err != nil {
			return err
		}
	}
	return e.s.checkRows(batches)
}

// remove takes the dead rows out of a file, and puts others in, in the same file if it is rewritten. Those that others take
// the place of are updated, which matters to the change data feed alone.
func (e *tableEdit) remove(ctx context.Context, a *Add, dead, updated deletedRows, in []*column.Batch) error {
	if dead.len() == 0 {
		return e.insert(ctx, in)
	}
	if err := e.check(in); err != nil {
		return err
	}
	if e.feed != nil {
		if err := errors.Join(e.feed.gone(ctx, a, dead, updated), e.feed.add(ctx, ChangeAfter, in...)); err != nil {
			return err
		}
	}
	e.touched[a.Path] = struct{}{}
	e.removes = append(e.removes, a.remove(true))
	if e.mark {
		done, err := e.markRows(ctx, a, dead)
		if err != nil {
			return err
		}
		if done {
			e.pending = append(e.pending, in...)
			return nil
		}
	}
	return e.rewrite(ctx, a, dead, in)
}

// markRows gives the file a larger deletion vector. It does not when more rows of the file would be dead than alive: the
// file is rewritten then, so that over time at most one row is copied for each that was deleted.
func (e *tableEdit) markRows(ctx context.Context, a *Add, dead deletedRows) (bool, error) {
	rows, ok := a.storedRecords()
	if !ok {
		r, f, err := e.s.openFile(ctx, a)
		if err != nil {
			return false, err
		}
		rows = f.Rows()
		if err := r.Close(); err != nil {
			return false, err
		}
	}
	old, err := loadDeletionVector(ctx, e.s.store, a, rows)
	if err != nil {
		return false, err
	}
	dead.merge(old)
	switch n := dead.len(); {
	case n == rows:
		return true, nil // nothing is left of it
	case 2*n > rows:
		return false, nil
	}
	add := *a
	add.DataChange = true
	if add.Stats, err = looseStats(a.Stats, rows); err != nil {
		return false, err
	}
	e.marks = append(e.marks, markedFile{add, dead})
	e.marked++
	return true, nil
}

// looseStats are the statistics of a file with deleted rows: those of all its rows, said to be no more than bounds.
func looseStats(stats string, rows int64) (string, error) {
	members := map[string]json.RawMessage{}
	if stats != "" {
		if err := json.Unmarshal([]byte(stats), &members); err != nil {
			return "", fmt.Errorf("statistics: %w", err)
		}
	}
	members["numRecords"] = fmt.Appendf(nil, "%d", rows)
	members["tightBounds"] = json.RawMessage("false")
	out, err := json.Marshal(members)
	return string(out), err
}

// rewrite copies the rows that stay into a new file, together with those of in that belong to its partition.
func (e *tableEdit) rewrite(ctx context.Context, a *Add, dead deletedRows, in []*column.Batch) error {
	f := e.written.begin(a.PartitionValues, e.memory)
	for b, err := range e.s.readStored(ctx, a, e.schema) {
		if err == nil {
			b.deleted.mergeInto(dead, b.first, b.Rows)
			live := dead.live(b.Batch, b.first)
			e.kept += int64(live.Rows)
			err = f.add(ctx, live)
		}
		if err != nil {
			return errors.Join(err, f.abort())
		}
	}
	parts, err := split(e.schema, e.s.metadata.PartitionColumns, in)
	if err != nil {
		return errors.Join(err, f.abort())
	}
	own := partitionKey(a.PartitionValues)
	for _, p := range parts {
		rows := p.rows()
		if partitionKey(p.values) != own {
			e.pending = append(e.pending, rows...)
			continue
		}
		for _, b := range rows {
			if err := f.add(ctx, b); err != nil {
				return errors.Join(err, f.abort())
			}
		}
	}
	return f.close()
}

// finish writes what is left to write.
func (e *tableEdit) finish(ctx context.Context) error {
	parts, err := split(e.schema, e.s.metadata.PartitionColumns, e.pending)
	if err != nil {
		return err
	}
	e.pending = nil
	for _, p := range parts {
		if err := e.written.write(ctx, p); err != nil {
			return err
		}
	}
	if e.feed != nil && (len(e.removes) > 0 || len(e.feed.out.adds) > 0) { // what is only added tells its story itself
		if err := e.feed.flush(ctx); err != nil {
			return err
		}
	}
	return e.writeVectors(ctx)
}

// writeVectors writes the deletion vectors, all into one file.
func (e *tableEdit) writeVectors(ctx context.Context) error {
	if len(e.marks) == 0 {
		return nil
	}
	file := newVectorFile()
	for i := range e.marks {
		e.marks[i].add.DeletionVector = file.add(e.marks[i].dead)
	}
	if file.empty() {
		return nil
	}
	if err := e.t.store.Put(ctx, file.key(), file.data); err != nil {
		return fmt.Errorf("write deletion vectors: %w", err)
	}
	e.side = append(e.side, file.key())
	e.sideBytes += int64(len(file.data))
	return nil
}

// transaction is what the edit amounts to, over its snapshot.
func (e *tableEdit) transaction() *Transaction {
	tx := &Transaction{Base: e.s, Constraints: e.s.Constraints(), Removes: e.removes, Reads: ReadSet{Files: e.touched}}
	tx.Adds = append(tx.Adds, e.written.adds...)
	for _, m := range e.marks {
		tx.Adds = append(tx.Adds, m.add)
	}
	if e.feed != nil {
		tx.changes = e.feed.actions()
		for _, c := range tx.changes {
			e.sideBytes += c.Size
		}
	}
	if e.schema != e.s.schema {
		md := e.s.Metadata()
		md.SetSchema(e.schema)
		tx.Metadata = &md
	}
	return tx
}

// undo deletes the files written, which no commit names.
func (e *tableEdit) undo(ctx context.Context) error {
	errs := []error{e.written.undo(ctx)}
	if e.feed != nil {
		errs = append(errs, e.feed.out.undo(ctx))
	}
	for _, key := range e.side {
		errs = append(errs, e.t.store.Delete(context.WithoutCancel(ctx), key))
	}
	return errors.Join(errs...)
}
