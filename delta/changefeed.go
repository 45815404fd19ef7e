package delta

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// The change data feed ("Add CDC File" of the protocol): a commit that updates or deletes rows says in files of its own which.
// What appends add, and what goes with whole files, follows from the files themselves.

// changeFeedProperty is the table property that asks writers for change files.
const changeFeedProperty = "delta.enableChangeDataFeed"

// The columns that the feed adds to those of the table.
const (
	ChangeTypeColumn      = "_change_type" // one of the changes below
	CommitVersionColumn   = "_commit_version"
	CommitTimestampColumn = "_commit_timestamp"
)

// The changes of the feed.
const (
	ChangeInsert = "insert"
	ChangeDelete = "delete"
	ChangeBefore = "update_preimage"
	ChangeAfter  = "update_postimage"
)

// changeDir is where the files of the feed are.
const changeDir = "_change_data/"

// changeFile is an action that names a file of changed rows.
type changeFile struct {
	Path            string            `json:"path"`
	PartitionValues PartitionValues   `json:"partitionValues"`
	Size            int64             `json:"size"`
	DataChange      bool              `json:"dataChange"` // always false
	Tags            map[string]string `json:"tags,omitempty"`
}

// feeds says whether the table wants change files.
func (s *state) feeds() bool {
	return s.metadata != nil && isTrue(s.metadata.Configuration[changeFeedProperty])
}

// EnableChangeFeed makes commits from now on say which rows they change, for [Table.Changes]. It raises the writer version to
// 4; readers are not affected. It does nothing if that is so already.
//
// Errors: those of [Table.Commit]; *InvalidTransactionError if the table has a column of the feed's name.
func (t *Table) EnableChangeFeed(ctx context.Context) error {
	if t.Snapshot().feeds() {
		return nil
	}
	_, err := t.Commit(ctx, func(_ context.Context, s *Snapshot) (*Transaction, error) {
		for _, name := range []string{ChangeTypeColumn, CommitVersionColumn, CommitTimestampColumn} {
			if _, ok := s.schema.Field(name); ok {
				return nil, invalid("column %s has the name of a column of the change data feed", name)
			}
		}
		md := s.Metadata()
		if md.Configuration == nil {
			md.Configuration = map[string]string{}
		}
		md.Configuration[changeFeedProperty] = "true"
		tx := &Transaction{
			Operation: "SET TBLPROPERTIES", Parameters: map[string]any{"properties": `{"` + changeFeedProperty + `":"true"}`}, Metadata: &md,
		}
		switch p := s.Protocol(); {
		case p.MinWriterVersion == featureWriterVersion:
			tx.Protocol = s.protocol.withFeature("changeDataFeed")
		case p.MinWriterVersion < 4:
			p.MinWriterVersion = 4
			tx.Protocol = &p
		}
		return tx, nil
	})
	return err
}

// feedWriter writes the change files of one commit.
type feedWriter struct {
	s      *Snapshot
	schema *schema.Type // of the table afterwards
	out    *dataWriter
	memory int64
	held   []*column.Batch
	size   int64
}

// withChangeType is a schema with the column that says what a row is.
func withChangeType(s *schema.Type) *schema.Type {
	out := *s
	out.Fields = append(slices.Clip(s.Fields), schema.Field{Name: ChangeTypeColumn, Type: &schema.Type{Kind: schema.String}, Nullable: true})
	return &out
}

func (t *Table) newFeedWriter(s *Snapshot, to *schema.Type, o parquet.WriterOptions, memory int64) *feedWriter {
	o.StatsColumns = -1
	f := &feedWriter{s: s, schema: withChangeType(to), memory: memory}
	f.out = t.newDataWriter(f.schema, s.metadata.PartitionColumns, o)
	f.out.dir, f.out.name = changeDir, "cdc"
	return f
}

// gone notes the rows of a file that go; those in updated come back in another form.
func (f *feedWriter) gone(ctx context.Context, a *Add, dead, updated deletedRows) error {
	table := &schema.Type{Kind: schema.Struct, Fields: f.schema.Fields[:len(f.schema.Fields)-1]}
	for b, err := range f.s.readStored(ctx, a, table) {
		if err != nil {
			return err
		}
		byChange := map[string][]int{}
		for row := range b.Rows {
			switch at := b.first + int64(row); {
			case !dead.has(at) || b.deleted.has(at):
			case updated.has(at):
				byChange[ChangeBefore] = append(byChange[ChangeBefore], row)
			default:
				byChange[ChangeDelete] = append(byChange[ChangeDelete], row)
			}
		}
		for _, change := range []string{ChangeBefore, ChangeDelete} {
			if rows := byChange[change]; len(rows) > 0 {
				if err := f.add(ctx, change, b.Gather(rows)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// add notes rows.
func (f *feedWriter) add(ctx context.Context, change string, batches ...*column.Batch) error {
	for _, b := range batches {
		f.held = append(f.held, labelled(b, change))
		f.size += b.Bytes()
	}
	if f.size < f.memory {
		return nil
	}
	return f.flush(ctx)
}

// labelled is b with a column more, the same for every row.
func labelled(b *column.Batch, change string) *column.Batch {
	return withConstant(b, ChangeTypeColumn, &schema.Type{Kind: schema.String}, func(v *column.Vector) { v.AppendString(change) })
}

// withConstant is b with a column more, of n times what one appends.
func withConstant(b *column.Batch, name string, t *schema.Type, one func(*column.Vector)) *column.Batch {
	v := column.New(t)
	for range b.Rows {
		one(v)
	}
	v.Seal(b.Rows)
	out := *b
	s := *b.Schema
	s.Fields = append(slices.Clip(s.Fields), schema.Field{Name: name, Type: t, Nullable: true})
	out.Schema, out.Columns = &s, append(slices.Clip(b.Columns), v)
	return &out
}

func (f *feedWriter) flush(ctx context.Context) error {
	parts, err := split(f.schema, f.s.metadata.PartitionColumns, f.held)
	if err != nil {
		return err
	}
	f.held, f.size = nil, 0
	for _, p := range parts {
		if err := f.out.write(ctx, p); err != nil {
			return fmt.Errorf("change data feed: %w", err)
		}
	}
	return nil
}

// actions are those that name the files.
func (f *feedWriter) actions() []changeFile {
	out := make([]changeFile, len(f.out.adds))
	for i, a := range f.out.adds {
		out[i] = changeFile{Path: a.Path, PartitionValues: a.PartitionValues, Size: a.Size}
	}
	return out
}

// ChangeFeedError says why the changes of a version cannot be told.
type ChangeFeedError struct {
	Version int64
	Reason  string
}

func (e *ChangeFeedError) Error() string {
	return fmt.Sprintf("changes of version %d: %s", e.Version, e.Reason)
}

// Changes reads which rows the versions from to to (included) changed, in their order: the columns of the table as of version
// to, _change_type (insert, delete, update_preimage, update_postimage), _commit_version and _commit_timestamp. The feed must
// have been on in each of them. A to below zero is the newest version.
//
// Errors: *ChangeFeedError, *VersionError, *MissingFileError (vacuumed since), those of [Snapshot.Read]. The sequence ends after
// the first error.
func (t *Table) Changes(ctx context.Context, from, to int64) iter.Seq2[*column.Batch, error] {
	return func(yield func(*column.Batch, error) bool) {
		end, err := t.Update(ctx)
		if err == nil && to >= 0 && to != end.version {
			end, err = OpenAt(ctx, t.store, to)
		}
		if err == nil && (from < 0 || from > end.version) {
			err = &VersionError{from, fmt.Sprintf("is not between 0 and %d", end.version)}
		}
		if err != nil {
			yield(nil, err)
			return
		}
		r := changeReader{end: end, yield: yield}
		if err := r.start(ctx, t.store, from); err != nil {
			yield(nil, err)
			return
		}
		for v := from; v <= end.version; v++ {
			if !r.version(ctx, t.store, v) {
				return
			}
		}
	}
}

// changeReader reads version after version.
type changeReader struct {
	end   *Snapshot // whose columns are read
	on    bool      // the feed was on before the next version
	yield func(*column.Batch, error) bool
}

func (r *changeReader) start(ctx context.Context, st store.Store, from int64) error {
	if from == 0 {
		return nil
	}
	before, err := OpenAt(ctx, st, from-1)
	if err != nil {
		// cleaned up: what the version itself was under is what there is
		if before, err = OpenAt(ctx, st, from); err != nil {
			return err
		}
	}
	r.on = before.feeds()
	return nil
}

// version yields the changes of one version; false ends the sequence.
func (r *changeReader) version(ctx context.Context, st store.Store, v int64) bool {
	e, err := readEntry(ctx, st, v)
	if errors.Is(err, store.ErrNotExist) {
		err = &ChangeFeedError{v, "its entry is no longer in the log"}
	}
	if err != nil {
		r.yield(nil, err)
		return false
	}
	for i := range e.actions {
		if m := e.actions[i].Metadata; m != nil {
			r.on = isTrue(m.Configuration[changeFeedProperty])
		}
	}
	if !r.on {
		r.yield(nil, &ChangeFeedError{v, "the table property " + changeFeedProperty + " was not set"})
		return false
	}
	return r.entry(ctx, e)
}

func (r *changeReader) entry(ctx context.Context, e *entry) bool {
	told := slices.ContainsFunc(e.actions, func(a action) bool { return a.Change != nil })
	pairs := restated(e)
	for i := range e.actions {
		more := true
		switch a := &e.actions[i]; {
		case a.Change != nil:
			more = r.file(ctx, e, &Add{Path: a.Change.Path, PartitionValues: a.Change.PartitionValues}, "")
		case told:
		case a.Add != nil && a.Add.DataChange && pairs[a.Add.Path] != nil:
			more = r.marked(ctx, e, a.Add, pairs[a.Add.Path])
		case a.Add != nil && a.Add.DataChange:
			more = r.file(ctx, e, a.Add, ChangeInsert)
		case a.Remove != nil && a.Remove.DataChange && pairs[a.Remove.Path] == nil:
			more = r.removed(ctx, e, a.Remove)
		}
		if !more {
			return false
		}
	}
	return true
}

// removed yields the rows of a file that goes. Where they belong the action may leave out, and nothing else says so any more; one
// that has extended metadata leaves out nulls alone.
func (r *changeReader) removed(ctx context.Context, e *entry, rm *Remove) bool {
	if !rm.ExtendedFileMetadata && len(rm.PartitionValues) < len(r.end.metadata.PartitionColumns) {
		r.yield(nil, &ChangeFeedError{e.version, "the remove of " + rm.Path + " does not say its partition values"})
		return false
	}
	return r.file(ctx, e, &Add{Path: rm.Path, PartitionValues: rm.PartitionValues, DeletionVector: rm.DeletionVector}, ChangeDelete)
}

// restated are the files that a commit takes out and puts back in with another deletion vector, by path: Spark says so, without
// change files, what it deletes from a table that has deletion vectors.
func restated(e *entry) map[string]*Remove {
	adds, out := map[string]bool{}, map[string]*Remove{}
	for i := range e.actions {
		if a := e.actions[i].Add; a != nil && a.DataChange {
			adds[a.Path] = true
		}
	}
	for i := range e.actions {
		if rm := e.actions[i].Remove; rm != nil && rm.DataChange && adds[rm.Path] {
			out[rm.Path] = rm
		}
	}
	return out
}

// file yields the rows of a file, all of one change unless it is a change file.
func (r *changeReader) file(ctx context.Context, e *entry, a *Add, change string) bool {
	want := r.end.schema
	if change == "" {
		want = withChangeType(want)
	}
	return r.end.readFile(ctx, a, want, func(b *column.Batch, err error) bool { return r.tell(e, b, change, err) })
}

// marked yields the rows that the deletion vector of a takes out and that of before did not, and those that come back.
func (r *changeReader) marked(ctx context.Context, e *entry, a *Add, before *Remove) bool {
	was, err := r.deletedBefore(ctx, before)
	if err != nil {
		return r.tell(e, nil, "", err)
	}
	for b, err := range r.end.readStored(ctx, a, r.end.schema) {
		if err != nil {
			return r.tell(e, nil, "", err)
		}
		var gone, back []int
		for row := range b.Rows {
			switch at := b.first + int64(row); {
			case b.deleted.has(at) && !was.has(at):
				gone = append(gone, row)
			case !b.deleted.has(at) && was.has(at):
				back = append(back, row)
			}
		}
		if len(gone) > 0 && !r.tell(e, b.Gather(gone), ChangeDelete, nil) || len(back) > 0 && !r.tell(e, b.Gather(back), ChangeInsert, nil) {
			return false
		}
	}
	return true
}

func (r *changeReader) deletedBefore(ctx context.Context, before *Remove) (deletedRows, error) {
	a := &Add{Path: before.Path, DeletionVector: before.DeletionVector}
	reader, f, err := r.end.openFile(ctx, a)
	if err != nil {
		return nil, err
	}
	defer func() { _ = reader.Close() }() // only read
	return loadDeletionVector(ctx, r.end.store, a, f.Rows())
}

// tell yields rows with the columns of the feed; change is empty if they have that of their kind. After an error it is false.
func (r *changeReader) tell(e *entry, b *column.Batch, change string, err error) bool {
	if err != nil {
		r.yield(nil, fmt.Errorf("changes of version %d: %w", e.version, err))
		return false
	}
	if change != "" {
		b = labelled(b, change)
	}
	info := e.info()
	at := info.Time().UnixMicro()
	b = withConstant(b, CommitVersionColumn, &schema.Type{Kind: schema.Long}, func(v *column.Vector) { v.AppendInt64(e.version) })
	return r.yield(withConstant(b, CommitTimestampColumn, &schema.Type{Kind: schema.Timestamp}, func(v *column.Vector) { v.AppendInt64(at) }), nil)
}
