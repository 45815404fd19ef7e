package parquet

import (
	"io"

	pg "github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress/zstd"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// parquetGoWriter writes through parquet-go's column writers, whose unit is a 24-byte Value.
func parquetGoWriter(codec string) writeFunc {
	text := func() pg.Node { return pg.Optional(pg.String()) }
	few := func() pg.Node { return pg.Optional(pg.Encoded(pg.String(), &pg.RLEDictionary)) }
	long := func() pg.Node { return pg.Optional(pg.Int(64)) }
	double := func() pg.Node { return pg.Optional(pg.Leaf(pg.DoubleType)) }
	s := pg.NewSchema("schema", pg.Group{
		"id": text(), "ts": pg.Optional(pg.Timestamp(pg.Microsecond)), "user": few(), "region": few(),
		"status": pg.Optional(pg.Encoded(pg.Int(64), &pg.RLEDictionary)), "latency": double(), "bytes": long(),
		"score": double(), "ok": pg.Optional(pg.Leaf(pg.BooleanType)), "url": text(),
		"device": pg.Optional(pg.Group{"os": few(), "version": few(), "model": few()}),
		"tags":   pg.Optional(pg.List(few())),
	})
	return func(w io.Writer, _ *schema.Type, batches []*column.Batch) error {
		pw := pg.NewGenericWriter[any](w, s, parquetGoCodec(codec), pg.DataPageVersion(1))
		if err := parquetGoColumns(pw, s, batches); err != nil {
			return err
		}
		return pw.Close()
	}
}

func parquetGoCodec(codec string) pg.WriterOption {
	switch codec {
	case "snappy":
		return pg.Compression(&pg.Snappy)
	case "zstd1":
		return pg.Compression(&zstd.Codec{Level: zstd.SpeedFastest})
	case "zstd2":
		return pg.Compression(&zstd.Codec{Level: zstd.SpeedDefault})
	default:
		return pg.Compression(&pg.Uncompressed)
	}
}

func parquetGoColumns(pw *pg.GenericWriter[any], s *pg.Schema, batches []*column.Batch) error {
	columns := pw.ColumnWriters()
	values := make([]pg.Value, 0, 1024)
	for _, b := range batches {
		for i, f := range b.Schema.Fields {
			v := b.Columns[i]
			switch f.Type.Kind {
			case schema.Struct:
				for k, c := range f.Type.Fields {
					l, _ := s.Lookup(f.Name, c.Name)
					if err := parquetGoFlat(columns[l.ColumnIndex], v.Children[k], l.ColumnIndex, 2, values); err != nil {
						return err
					}
				}
			case schema.Array:
				l, _ := s.Lookup(f.Name, "list", "element")
				if err := parquetGoList(columns[l.ColumnIndex], v, l.ColumnIndex, values); err != nil {
					return err
				}
			default:
				l, _ := s.Lookup(f.Name)
				if err := parquetGoFlat(columns[l.ColumnIndex], v, l.ColumnIndex, 1, values); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func parquetGoFlat(w *pg.ColumnWriter, v *column.Vector, at, def int, values []pg.Value) error {
	next := 0
	for i := range v.Len {
		x, d := pg.NullValue(), def-1
		if !v.IsNull(i) {
			x, d = parquetGoValue(v, next), def
			next++
		}
		if values = append(values, x.Level(0, d, at)); len(values) == cap(values) {
			if _, err := w.WriteRowValues(values); err != nil {
				return err
			}
			values = values[:0]
		}
	}
	_, err := w.WriteRowValues(values)
	return err
}

func parquetGoValue(v *column.Vector, i int) pg.Value {
	switch v.Type.Kind {
	case schema.Boolean:
		return pg.BooleanValue(v.Bools[i])
	case schema.Double:
		return pg.DoubleValue(v.Float64s[i])
	case schema.String:
		return pg.ByteArrayValue(v.BytesAt(i))
	default:
		return pg.Int64Value(v.Int64s[i])
	}
}

// parquetGoList writes lists without nulls at any level.
func parquetGoList(w *pg.ColumnWriter, v *column.Vector, at int, values []pg.Value) error {
	for i := range v.Len {
		from, to := int(v.Offsets[i]), int(v.Offsets[i+1])
		if from == to {
			values = append(values, pg.NullValue().Level(0, 1, at))
		}
		for e := from; e < to; e++ {
			rep := 1
			if e == from {
				rep = 0
			}
			values = append(values, pg.ByteArrayValue(v.Children[0].BytesAt(e)).Level(rep, 3, at))
		}
		if len(values) > 1000 {
			if _, err := w.WriteRowValues(values); err != nil {
				return err
			}
			values = values[:0]
		}
	}
	_, err := w.WriteRowValues(values)
	return err
}
