package parquet

import (
	"bytes"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	ap "github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	as "github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
)

func arrowProperties(codec string) *ap.WriterProperties {
	o := []ap.WriterProperty{
		ap.WithDataPageVersion(ap.DataPageV1), ap.WithDictionaryDefault(true),
		ap.WithDictionaryFor("id", false), ap.WithDictionaryFor("url", false), ap.WithDictionaryFor("ts", false),
		ap.WithDictionaryFor("latency", false), ap.WithDictionaryFor("bytes", false),
	}
	switch codec {
	case "snappy":
		o = append(o, ap.WithCompression(compress.Codecs.Snappy))
	case "zstd1":
		o = append(o, ap.WithCompression(compress.Codecs.Zstd), ap.WithCompressionLevel(1))
	case "zstd2":
		o = append(o, ap.WithCompression(compress.Codecs.Zstd), ap.WithCompressionLevel(3))
	}
	return ap.NewWriterProperties(o...)
}

// arrowRoot returns the schema as arrow-go reads it from a file of weir's.
func arrowRoot(s *schema.Type) (*as.GroupNode, error) {
	var buf bytes.Buffer
	if _, err := parquet.Write(&buf, s, nil, parquet.WriterOptions{}); err != nil {
		return nil, err
	}
	r, err := file.NewParquetReader(bytes.NewReader(buf.Bytes()))
	if err != nil {
		return nil, err
	}
	return r.MetaData().Schema.Root(), nil
}

// arrowColumnsWriter writes through arrow-go's column chunk writers: values, definition and repetition levels.
func arrowColumnsWriter(codec string) writeFunc {
	return func(w io.Writer, s *schema.Type, batches []*column.Batch) error {
		root, err := arrowRoot(s)
		if err != nil {
			return err
		}
		fw := file.NewParquetWriter(w, root, file.WithWriterProps(arrowProperties(codec)))
		g, err := fw.AppendRowGroupChecked()
		if err != nil {
			return err
		}
		a := &arrowColumns{}
		for i, f := range s.Fields {
			if err := a.column(g, f.Type, batches, func(b *column.Batch) *column.Vector { return b.Columns[i] }, 1); err != nil {
				return err
			}
		}
		if err := g.Close(); err != nil {
			return err
		}
		return fw.Close()
	}
}

type arrowColumns struct {
	def, rep []int16
	bytes    []ap.ByteArray
}

func (a *arrowColumns) column(g file.SerialRowGroupWriter, t *schema.Type, bs []*column.Batch,
	pick func(*column.Batch) *column.Vector, def int16,
) error {
	if t.Kind == schema.Struct {
		for k, f := range t.Fields {
			child := func(b *column.Batch) *column.Vector { return pick(b).Children[k] }
			if err := a.column(g, f.Type, bs, child, def+1); err != nil {
				return err
			}
		}
		return nil
	}
	w, err := g.NextColumn()
	if err != nil {
		return err
	}
	for _, b := range bs {
		v := pick(b)
		if t.Kind == schema.Array {
			err = a.list(w, v)
		} else {
			err = a.flat(w, v, def)
		}
		if err != nil {
			return err
		}
	}
	return w.Close()
}

func (a *arrowColumns) flat(w file.ColumnChunkWriter, v *column.Vector, def int16) error {
	a.def = a.def[:0]
	for i := range v.Len {
		d := def
		if v.IsNull(i) {
			d--
		}
		a.def = append(a.def, d)
	}
	return a.write(w, v, nil)
}

func (a *arrowColumns) list(w file.ColumnChunkWriter, v *column.Vector) error {
	a.def, a.rep = a.def[:0], a.rep[:0]
	for i := range v.Len {
		n := int(v.Offsets[i+1] - v.Offsets[i])
		if n == 0 {
			a.def, a.rep = append(a.def, 1), append(a.rep, 0)
		}
		for e := range n {
			a.def, a.rep = append(a.def, 3), append(a.rep, int16(min(e, 1)))
		}
	}
	return a.write(w, v.Children[0], a.rep)
}

func (a *arrowColumns) write(w file.ColumnChunkWriter, v *column.Vector, rep []int16) error {
	var err error
	switch w := w.(type) {
	case *file.Int64ColumnChunkWriter:
		_, err = w.WriteBatch(v.Int64s, a.def, rep)
	case *file.Float64ColumnChunkWriter:
		_, err = w.WriteBatch(v.Float64s, a.def, rep)
	case *file.BooleanColumnChunkWriter:
		_, err = w.WriteBatch(v.Bools, a.def, rep)
	case *file.ByteArrayColumnChunkWriter:
		a.bytes = a.bytes[:0]
		for i := range v.Present() {
			a.bytes = append(a.bytes, v.BytesAt(i))
		}
		_, err = w.WriteBatch(a.bytes, a.def, rep)
	default:
		err = fmt.Errorf("column writer %T", w)
	}
	return err
}

// arrowRecordsWriter builds an Arrow record per batch and hands it to pqarrow. The records are built outside the
// benchmark's loop on first use, in favour of this way.
func arrowRecordsWriter(codec string) writeFunc {
	var records []arrow.RecordBatch
	return func(w io.Writer, s *schema.Type, batches []*column.Batch) error {
		as := arrowSchema(s)
		if len(records) != len(batches) {
			records = records[:0]
			for _, b := range batches {
				records = append(records, arrowRecord(as, b))
			}
		}
		fw, err := pqarrow.NewFileWriter(as, w, arrowProperties(codec), pqarrow.DefaultWriterProps())
		if err != nil {
			return err
		}
		for _, r := range records {
			if err := fw.WriteBuffered(r); err != nil {
				return err
			}
		}
		return fw.Close()
	}
}

func arrowSchema(s *schema.Type) *arrow.Schema {
	fields := make([]arrow.Field, 0, len(s.Fields))
	for _, f := range s.Fields {
		fields = append(fields, arrow.Field{Name: f.Name, Type: arrowType(f.Type), Nullable: true})
	}
	return arrow.NewSchema(fields, nil)
}

func arrowType(t *schema.Type) arrow.DataType {
	switch t.Kind {
	case schema.Boolean:
		return arrow.FixedWidthTypes.Boolean
	case schema.Double:
		return arrow.PrimitiveTypes.Float64
	case schema.Timestamp:
		return arrow.FixedWidthTypes.Timestamp_us
	case schema.String:
		return arrow.BinaryTypes.String
	case schema.Array:
		return arrow.ListOf(arrowType(t.Elem))
	case schema.Struct:
		fields := make([]arrow.Field, 0, len(t.Fields))
		for _, f := range t.Fields {
			fields = append(fields, arrow.Field{Name: f.Name, Type: arrowType(f.Type), Nullable: true})
		}
		return arrow.StructOf(fields...)
	default:
		return arrow.PrimitiveTypes.Int64
	}
}

func arrowRecord(s *arrow.Schema, b *column.Batch) arrow.RecordBatch {
	rb := array.NewRecordBuilder(memory.DefaultAllocator, s)
	defer rb.Release()
	for i, c := range b.Columns {
		arrowAppend(rb.Field(i), c, 0, c.Len)
	}
	return rb.NewRecordBatch()
}

// arrowAppend appends the slots from..to; v has no nulls unless from is 0.
func arrowAppend(b array.Builder, v *column.Vector, from, to int) {
	next := from
	for i := from; i < to; i++ {
		if v.IsNull(i) {
			b.AppendNull()
			continue
		}
		switch b := b.(type) {
		case *array.BooleanBuilder:
			b.Append(v.Bools[next])
		case *array.Float64Builder:
			b.Append(v.Float64s[next])
		case *array.TimestampBuilder:
			b.Append(arrow.Timestamp(v.Int64s[next]))
		case *array.StringBuilder:
			b.Append(string(v.BytesAt(next)))
		case *array.StructBuilder:
			b.Append(true)
			for k, c := range v.Children {
				arrowAppend(b.FieldBuilder(k), c, i, i+1)
			}
		case *array.ListBuilder:
			b.Append(true)
			arrowAppend(b.ValueBuilder(), v.Children[0], int(v.Offsets[i]), int(v.Offsets[i+1]))
		case *array.Int64Builder:
			b.Append(v.Int64s[next])
		}
		next++
	}
}
