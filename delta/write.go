package delta

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
)

// NotNullError refuses a null in a column that must not have one.
type NotNullError struct{ Column string }

func (e *NotNullError) Error() string {
	return fmt.Sprintf("column %s is NOT NULL and a row has no value for it", e.Column)
}

// WriteData writes batches as data files of the schema s, one for each partition that occurs, and returns the actions that
// add them. The files are part of the table once those are committed. Columns go by name; one that a batch lacks is null.
// Partition columns are left out of the files. An empty or NUL-free string is what a partition value can hold: the empty
// string is null.
//
// Statistics cover the first 32 columns unless o or the table property delta.dataSkippingNumIndexedCols says otherwise. The
// table property delta.parquet.format.version = 1.0.0 keeps the files to encodings that old readers know.
//
// Rows are checked against NOT NULL and the constraints of the newest snapshot; see [Transaction.Constraints].
//
// Errors: *NotNullError, *TextError, *ConstraintError, *PartitionValueError, parquet.ErrMisfit, those of the store. After an
// error no file is left, as far as the store lets them be deleted.
func (t *Table) WriteData(ctx context.Context, s *schema.Type, partitionBy []string, batches []*column.Batch, o parquet.WriterOptions) ([]Add, error) {
	for _, f := range s.Fields {
		if err := checkNotNull(f, batches); err != nil {
			return nil, err
		}
	}
	if err := checkText(batches); err != nil {
		return nil, err
	}
	if err := t.snap.Load().checkRows(batches); err != nil {
		return nil, err
	}
	w := t.newDataWriter(s, partitionBy, o)
	parts, err := split(s, partitionBy, batches)
	if err != nil {
		return nil, err
	}
	for _, p := range parts {
		if err := w.write(ctx, p); err != nil {
			return nil, errors.Join(err, w.undo(ctx))
		}
	}
	return w.adds, nil
}

// writerOptions takes the table's word for which columns get statistics and for the encodings, unless o decides.
// delta.parquet.format.version is a property of Delta Lake and the Delta kernel: 1.0.0 is what old readers know.
func (s *Snapshot) writerOptions(o parquet.WriterOptions) parquet.WriterOptions {
	if s.metadata != nil && strings.HasPrefix(s.metadata.Configuration["delta.parquet.format.version"], "1.") {
		o.Encodings = parquet.EncodingsV1
	}
	n, ok := s.intProperty("delta.dataSkippingNumIndexedCols")
	switch {
	case !ok || o.StatsColumns != 0:
	case n < 0:
		o.StatsColumns = math.MaxInt32
	case n == 0:
		o.StatsColumns = -1
	default:
		o.StatsColumns = int(min(n, math.MaxInt32))
	}
	return o
}

func checkNotNull(f schema.Field, batches []*column.Batch) error {
	if f.Nullable {
		return nil
	}
	for _, b := range batches {
		if v := find(b, f.Name); b.Rows > 0 && (v == nil || v.NullCount() > 0) {
			return &NotNullError{Column: f.Name}
		}
	}
	return nil
}

// find is the column of that name, nil if the batch has none.
func find(b *column.Batch, name string) *column.Vector {
	if i := b.Schema.Index(name); i >= 0 {
		return b.Columns[i]
	}
	return nil
}

// dataWriter writes files and collects the actions that add them.
type dataWriter struct {
	table       *Table
	fields      []schema.Field // of the files
	partitionBy []string
	options     parquet.WriterOptions
	adds        []Add

	dir, name string // of the files: a directory with a slash, and what their names begin with
}

func (t *Table) newDataWriter(s *schema.Type, partitionBy []string, o parquet.WriterOptions) *dataWriter {
	w := &dataWriter{table: t, partitionBy: partitionBy, options: t.snap.Load().writerOptions(o), name: "part"}
	for _, f := range s.Fields {
		if !slices.Contains(partitionBy, f.Name) {
			w.fields = append(w.fields, f)
		}
	}
	return w
}

// newKey is the key of the next file of a partition.
func (w *dataWriter) newKey(values PartitionValues) string {
	return fmt.Sprintf("%s%s%s-%05d-%s-c000.%sparquet", w.dir, partitionDir(w.partitionBy, values), w.name, len(w.adds), newUUID(), w.codec())
}

// write writes one file.
func (w *dataWriter) write(ctx context.Context, p partition) error {
	key := w.newKey(p.values)
	f, err := w.table.store.Create(ctx, key)
	if err != nil {
		return err
	}
	info, err := parquet.Write(f, &schema.Type{Kind: schema.Struct, Fields: w.fields}, p.rows(), w.options)
	if err != nil {
		return fmt.Errorf("write %s: %w", key, errors.Join(err, f.Abort()))
	}
	if err := f.Close(); err != nil {
		return err
	}
	w.added(key, p.values, info)
	return nil
}

func (w *dataWriter) added(key string, values PartitionValues, info parquet.FileInfo) {
	w.adds = append(w.adds, Add{
		Path: encodePath(key), PartitionValues: values, Size: info.Size, Stats: info.Stats.JSON(),
		ModificationTime: w.table.opt.Now().UnixMilli(), DataChange: true,
	})
}

func (w *dataWriter) codec() string {
	if w.options.Codec == parquet.Uncompressed {
		return ""
	}
	return strings.ToLower(w.options.Codec.String()) + "."
}

// undo deletes the files written so far, which no commit names.
func (w *dataWriter) undo(ctx context.Context) error {
	var errs []error
	for _, a := range w.adds {
		key, err := DataKey(a.Path)
		if err == nil {
			err = w.table.store.Delete(context.WithoutCancel(ctx), key)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// partition is the rows of all batches that have the same partition values.
type partition struct {
	values PartitionValues
	of     []rowSet
}

// rowSet is some rows of a batch; all of them if rows is nil.
type rowSet struct {
	batch *column.Batch
	rows  []int
}

// rows copies the partition's rows out of the batches, so that only one partition is held twice at a time.
func (p *partition) rows() []*column.Batch {
	out := make([]*column.Batch, len(p.of))
	for i, s := range p.of {
		out[i] = s.batch
		if s.rows != nil {
			out[i] = s.batch.Gather(s.rows)
		}
	}
	return out
}

// split sorts the rows by partition, the partitions in the order of their values.
func split(s *schema.Type, partitionBy []string, batches []*column.Batch) ([]partition, error) {
	parts := map[string]*partition{}
	for _, b := range batches {
		if b.Rows == 0 {
			continue
		}
		if len(partitionBy) == 0 {
			p := parts[""]
			if p == nil {
				p = &partition{values: PartitionValues{}}
				parts[""] = p
			}
			p.of = append(p.of, rowSet{batch: b})
			continue
		}
		if err := splitBatch(parts, s, partitionBy, b); err != nil {
			return nil, err
		}
	}
	out := make([]partition, 0, len(parts))
	for _, key := range slices.Sorted(maps.Keys(parts)) {
		out = append(out, *parts[key])
	}
	return out, nil
}

// splitBatch adds the rows of b to parts, which are by the concatenation of their values, each after its length.
func splitBatch(parts map[string]*partition, s *schema.Type, partitionBy []string, b *column.Batch) error {
	columns := make([]partitionColumn, len(partitionBy))
	for i, name := range partitionBy {
		f, ok := s.Field(name)
		if !ok {
			return invalid("partition column %q is not in the schema", name)
		}
		columns[i] = partitionColumn{field: f, vector: find(b, name)}
		if v := columns[i].vector; v != nil {
			if v.Type.Kind != f.Type.Kind || v.Type.Precision != f.Type.Precision || v.Type.Scale != f.Type.Scale {
				return fmt.Errorf("%w: partition column %s is %s, not %s", parquet.ErrMisfit, name, v.Type, f.Type)
			}
			columns[i].at = v.Positions(nil)
		}
	}
	var key []byte
	for row := range b.Rows {
		key = key[:0]
		for i := range columns {
			var err error
			if key, err = columns[i].append(key, row); err != nil {
				return err
			}
		}
		p := parts[string(key)]
		if p == nil {
			p = &partition{values: valuesOf(partitionBy, key)}
			parts[string(key)] = p
		}
		if n := len(p.of); n == 0 || p.of[n-1].batch != b {
			p.of = append(p.of, rowSet{batch: b})
		}
		last := &p.of[len(p.of)-1]
		last.rows = append(last.rows, row)
	}
	return nil
}

type partitionColumn struct {
	field  schema.Field
	vector *column.Vector // nil: null everywhere
	at     []int32        // where a row's value is, -1 for null
}

// append appends the row's value after its length in four bytes; null is the empty string.
func (c *partitionColumn) append(key []byte, row int) ([]byte, error) {
	start := len(key)
	key = append(key, 0, 0, 0, 0)
	if c.vector != nil && c.at[row] >= 0 {
		var err error
		if key, err = appendPartitionValue(key, c.vector, int(c.at[row])); err != nil {
			return nil, &PartitionValueError{Column: c.field.Name, Type: c.field.Type, Value: fmt.Sprint(c.vector.Value(row)), Reason: err.Error()}
		}
	}
	binary.BigEndian.PutUint32(key[start:], uint32(len(key)-start-4))
	return key, nil
}

func valuesOf(partitionBy []string, key []byte) PartitionValues {
	values := make(PartitionValues, len(partitionBy))
	for _, name := range partitionBy {
		n := binary.BigEndian.Uint32(key)
		values[name] = string(key[4 : 4+n])
		key = key[4+n:]
	}
	return values
}
