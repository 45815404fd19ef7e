package delta

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
)

// WidenOptions say how [Table.Widen] works. The zero value is useful.
type WidenOptions struct {
	Memory  int64 // bytes of rows held while files are rewritten; 0 means 64 MiB
	Parquet parquet.WriterOptions
	DryRun  bool // only say what would be rewritten; rows are not read
	// Exact also allows types that do not hold all values of the old one, such as double for long or integer for long, if the
	// value of every row is exactly one of the new type: numbers only.
	Exact bool
}

// WidenResult says what [Table.Widen] did, or would do.
type WidenResult struct {
	Version      int64 // of the commit; of the table if nothing was to be done
	FilesRemoved int
	FilesAdded   int // not known in a dry run
	BytesRemoved int64
	BytesAdded   int64 // as FilesAdded
}

// WideningError says that a column cannot have the type that is asked for.
type WideningError struct {
	Column string
	Reason string
}

func (e *WideningError) Error() string { return "column " + strconv.Quote(e.Column) + ": " + e.Reason }

// Widen gives columns a type that holds all values of the one they have, and writes every file of the table anew, in one
// commit. It needs no table feature, so whoever could read the table still can; its price is that all is written once more.
// A column inside of structs has a dot behind each of them. The rows stay the same: the commit says dataChange = false, and
// the table may be append-only. When another commit got in the way, the files that it added are written anew as well, unless
// it changed schema or properties: then all are. Whoever commits later finds the new schema.
//
// What widens is what the Delta protocol allows: byte, short, integer and long among each other upwards, the three smaller ones and
// float to double, and these integers and decimals to a decimal with no fewer digits on either side of the point. Any other
// number type needs [WidenOptions.Exact]; a row whose value it cannot have is named, and nothing is changed.
//
// Errors: *WideningError; those of [Snapshot.Read] and [Table.Commit].
func (t *Table) Widen(ctx context.Context, columns map[string]*schema.Type, o WidenOptions) (WidenResult, error) {
	if o.Memory <= 0 {
		o.Memory = defaultMergeMemory
	}
	w := &widening{t: t, o: &o, columns: columns}
	err := t.editing(ctx, "widen", func(s *Snapshot) (*tableEdit, error) { return nil, w.run(ctx, s) })
	if _, unknown := errors.AsType[*UnknownOutcomeError](err); !unknown {
		err = errors.Join(err, w.clean(ctx, err == nil))
	}
	if err != nil {
		return WidenResult{}, err
	}
	return w.result, nil
}

// widening is the work over all attempts.
type widening struct {
	t       *Table
	o       *WidenOptions
	columns map[string]*schema.Type
	result  WidenResult

	s       *Snapshot    // of the attempt
	to      *schema.Type // of the table afterwards
	read    *schema.Type // that its files are read with: to, but for the columns that have to be looked at value by value
	written *dataWriter
	anew    map[string]anewFile // by the id of the file whose rows it has; those of earlier attempts too
}

// anewFile is what became of a file. It has no action if all its rows are deleted.
type anewFile struct {
	adds []Add
	rows int64
}

func (w *widening) run(ctx context.Context, s *Snapshot) error {
	if err := checkWritable(s.protocol, s.metadata, s.schema); err != nil {
		return err
	}
	if w.s == nil || w.s.metadata != s.metadata {
		if err := w.begin(ctx, s); err != nil {
			return err
		}
	}
	w.s, w.result = s, WidenResult{Version: s.version}
	if w.to == s.schema {
		return nil
	}
	tx := &Transaction{Base: s, Constraints: s.Constraints()}
	rows := int64(0)
	for _, a := range s.inOrder() {
		w.result.FilesRemoved++
		w.result.BytesRemoved += a.Size
		if w.o.DryRun {
			continue
		}
		f, err := w.rewritten(ctx, a)
		if err != nil {
			return err
		}
		rows += f.rows
		tx.Removes, tx.Adds = append(tx.Removes, a.remove(false)), append(tx.Adds, f.adds...)
	}
	if w.o.DryRun {
		return nil
	}
	return w.commit(ctx, tx, rows)
}

// begin settles the types over a snapshot, and drops what was written with others.
func (w *widening) begin(ctx context.Context, s *Snapshot) error {
	if err := w.clean(ctx, false); err != nil {
		return err
	}
	w.s = s
	var err error
	if w.to, err = w.widened(); err != nil {
		return err
	}
	w.read = readableAs(s.schema, w.to)
	w.written, w.anew = w.t.newDataWriter(w.to, s.metadata.PartitionColumns, w.o.Parquet), map[string]anewFile{}
	return nil
}

// rewritten is the file anew, written now unless an earlier attempt has done it.
func (w *widening) rewritten(ctx context.Context, a *Add) (anewFile, error) {
	id := fileID(a.Path, a.DeletionVector)
	done, ok := w.anew[id]
	if ok {
		return done, nil
	}
	before := len(w.written.adds)
	f := w.written.begin(a.PartitionValues, w.o.Memory)
	for b, err := range w.s.readStored(ctx, a, w.read) {
		var rows *column.Batch
		if err == nil {
			rows, err = w.exactly(&b, a)
		}
		if err == nil {
			done.rows += int64(rows.Rows)
			err = f.add(ctx, rows)
		}
		if err != nil {
			return anewFile{}, errors.Join(err, f.abort())
		}
	}
	if err := f.close(); err != nil {
		return anewFile{}, err
	}
	for _, add := range w.written.adds[before:] {
		add.DataChange = false
		done.adds = append(done.adds, add)
	}
	w.anew[id] = done
	return done, nil
}

// clean deletes what was written and no commit names: after one, the rows of files that left the table meanwhile.
func (w *widening) clean(ctx context.Context, committed bool) error {
	if w.written == nil {
		return nil
	}
	if committed {
		used := map[string]bool{}
		for a := range w.t.snap.Load().Files() {
			used[a.Path] = true
		}
		w.written.adds = slices.DeleteFunc(w.written.adds, func(a Add) bool { return used[a.Path] })
	}
	return w.written.undo(ctx)
}

// widened is the schema with the new types, the table's own if it has them already.
func (w *widening) widened() (*schema.Type, error) {
	to := w.s.schema
	for _, name := range slices.Sorted(maps.Keys(w.columns)) {
		if slices.Contains(w.s.metadata.PartitionColumns, name) {
			return nil, &WideningError{name, "it partitions the table, and its values are in the names of directories: write a new table"}
		}
		var err error
		if to, err = retype(to, name, strings.Split(name, "."), w.columns[name], w.o.Exact); err != nil {
			return nil, err
		}
	}
	return to, nil
}

// readableAs is the type to, but for what reading does not widen: that has the type from.
func readableAs(from, to *schema.Type) *schema.Type {
	switch {
	case from == to || widens(from, to):
		return to
	case from.Kind != schema.Struct:
		return from
	}
	out := *to
	out.Fields = slices.Clone(to.Fields)
	for i := range out.Fields {
		out.Fields[i].Type = readableAs(from.Fields[i].Type, to.Fields[i].Type)
	}
	return &out
}

// retype is the struct s in which the column has the type to. name is the whole path of the column, path what is left of it.
func retype(s *schema.Type, name string, path []string, to *schema.Type, exact bool) (*schema.Type, error) {
	i, rest := s.Index(strings.Join(path, ".")), 0
	if i < 0 {
		i, rest = s.Index(path[0]), len(path)-1
	}
	if i < 0 || rest > 0 && s.Fields[i].Type.Kind != schema.Struct {
		return nil, &WideningError{name, "the table has no such column"}
	}
	from := s.Fields[i].Type
	wide := to
	switch {
	case rest > 0:
		var err error
		if wide, err = retype(from, name, path[1:], to, exact); err != nil {
			return nil, err
		}
	case from.Kind == to.Kind && from.Precision == to.Precision && from.Scale == to.Scale:
		wide = from
	case !widens(from, to) && (!isNumber(from) || !isNumber(to)):
		return nil, &WideningError{name, "it is " + from.String() + ", and not all of its values are values of " + to.String()}
	case !widens(from, to) && !exact:
		return nil, &WideningError{name, "it is " + from.String() + ", and not all of its values are values of " + to.String() +
			": ask for an exact change if those of all rows are"}
	}
	if wide == from {
		return s, nil
	}
	out := *s
	out.Fields = slices.Clone(s.Fields)
	out.Fields[i].Type = wide
	return &out, nil
}

// widens says whether every value of the type from is one of the type to. Source: the Delta protocol, "Supported Type
// Changes", but for date to timestamp_ntz, which needs a table feature.
func widens(from, to *schema.Type) bool {
	size := func(k schema.Kind) int {
		return slices.Index([]schema.Kind{schema.Byte, schema.Short, schema.Integer, schema.Long}, k)
	}
	n := size(from.Kind)
	switch to.Kind {
	case schema.Short, schema.Integer, schema.Long:
		return n >= 0 && n < size(to.Kind)
	case schema.Double:
		return from.Kind == schema.Float || n >= 0 && from.Kind != schema.Long
	case schema.Decimal:
		whole, scale := 10, 0 // digits before and behind the point
		switch {
		case from.Kind == schema.Decimal:
			whole, scale = from.Precision-from.Scale, from.Scale
		case from.Kind == schema.Long:
			whole = 20
		case n < 0:
			return false
		}
		return to.Precision-to.Scale >= whole && to.Scale >= scale
	default:
		return false
	}
}

func (w *widening) commit(ctx context.Context, tx *Transaction, rows int64) error {
	for i := range tx.Adds {
		w.result.BytesAdded += tx.Adds[i].Size
	}
	w.result.FilesAdded = len(tx.Adds)
	types := map[string]string{}
	for name, to := range w.columns {
		types[name] = to.String()
	}
	md := w.s.Metadata()
	md.SetSchema(w.to)
	tx.Metadata = &md
	tx.Operation, tx.Parameters = "CHANGE COLUMNS", map[string]any{"columns": types}
	tx.Metrics = map[string]string{
		"numRemovedFiles": strconv.Itoa(w.result.FilesRemoved), "numAddedFiles": strconv.Itoa(w.result.FilesAdded),
		"numCopiedRows": strconv.FormatInt(rows, 10),
	}
	tx.Isolation, tx.Reads = Serializable, ReadSet{Whole: true} // a file that is added meanwhile has the old type
	res, err := w.t.Commit(ctx, func(context.Context, *Snapshot) (*Transaction, error) {
		again := *tx
		return &again, nil
	})
	if err != nil {
		return err
	}
	w.result.Version = res.Version
	return nil
}
