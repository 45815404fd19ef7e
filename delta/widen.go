package delta

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
)

// WidenOptions say how [Table.Widen] works. The zero value is useful.
type WidenOptions struct {
	Memory  int64 // bytes of rows held while files are rewritten; 0 means 64 MiB
	Parquet parquet.WriterOptions
	DryRun  bool // only say what would be rewritten
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
// the table may be append-only. When another commit got in the way, all is done again on the newer snapshot, so writers are
// better stopped meanwhile; one that comes later finds the new schema.
//
// What widens is what the Delta protocol allows: byte, short, integer and long among each other upwards, the three smaller ones and
// float to double, and these integers and decimals to a decimal with no fewer digits on either side of the point.
//
// Errors: *WideningError; those of [Snapshot.Read] and [Table.Commit].
func (t *Table) Widen(ctx context.Context, columns map[string]*schema.Type, o WidenOptions) (WidenResult, error) {
	if o.Memory <= 0 {
		o.Memory = defaultMergeMemory
	}
	var done WidenResult
	err := t.editing(ctx, "widen", func(s *Snapshot) (*tableEdit, error) {
		w := &widening{t: t, s: s, o: &o, columns: columns, result: WidenResult{Version: s.version}}
		err := w.run(ctx)
		done = w.result
		return w.edit, err
	})
	if err != nil {
		return WidenResult{}, err
	}
	return done, nil
}

// widening is one attempt, over one snapshot.
type widening struct {
	t       *Table
	s       *Snapshot
	o       *WidenOptions
	columns map[string]*schema.Type
	edit    *tableEdit
	result  WidenResult
}

func (w *widening) run(ctx context.Context) error {
	if err := checkWritable(w.s.protocol, w.s.metadata, w.s.schema); err != nil {
		return err
	}
	to, err := w.widened()
	if err != nil || to == w.s.schema {
		return err
	}
	w.edit = w.t.newTableEdit(w.s, to, w.o.Parquet, w.o.Memory)
	for _, a := range w.s.inOrder() {
		w.result.FilesRemoved++
		w.result.BytesRemoved += a.Size
		if w.o.DryRun {
			continue
		}
		w.edit.removes = append(w.edit.removes, a.remove(false))
		if err := w.edit.rewrite(ctx, a, deletedRows{}, nil); err != nil {
			return err
		}
	}
	if w.o.DryRun {
		return nil
	}
	return w.commit(ctx)
}

// widened is the schema with the new types, the table's own if it has them already.
func (w *widening) widened() (*schema.Type, error) {
	to := w.s.schema
	for _, name := range slices.Sorted(maps.Keys(w.columns)) {
		if slices.Contains(w.s.metadata.PartitionColumns, name) {
			return nil, &WideningError{name, "it partitions the table, and its values are in the names of directories: write a new table"}
		}
		var err error
		if to, err = retype(to, name, strings.Split(name, "."), w.columns[name]); err != nil {
			return nil, err
		}
	}
	return to, nil
}

// retype is the struct s in which the column has the type to. name is the whole path of the column, path what is left of it.
func retype(s *schema.Type, name string, path []string, to *schema.Type) (*schema.Type, error) {
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
		if wide, err = retype(from, name, path[1:], to); err != nil {
			return nil, err
		}
	case from.Kind == to.Kind && from.Precision == to.Precision && from.Scale == to.Scale:
		wide = from
	case !widens(from, to):
		return nil, &WideningError{name, "it is " + from.String() + ", and not all of its values are values of " + to.String()}
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

func (w *widening) commit(ctx context.Context) error {
	tx := w.edit.transaction()
	for i := range tx.Adds {
		tx.Adds[i].DataChange = false
		w.result.BytesAdded += tx.Adds[i].Size
	}
	w.result.FilesAdded = len(tx.Adds)
	types := map[string]string{}
	for name, to := range w.columns {
		types[name] = to.String()
	}
	tx.Operation, tx.Parameters = "CHANGE COLUMNS", map[string]any{"columns": types}
	tx.Metrics = map[string]string{
		"numRemovedFiles": strconv.Itoa(w.result.FilesRemoved), "numAddedFiles": strconv.Itoa(w.result.FilesAdded),
		"numCopiedRows": strconv.FormatInt(w.edit.kept, 10),
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
