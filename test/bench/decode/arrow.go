package main

import (
	"bytes"
	"errors"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
)

// arrowDecoder reads lines with arrow-go's JSON reader into a record batch of Arrow.
type arrowDecoder struct {
	load   *load
	schema *arrow.Schema
	record arrow.RecordBatch
}

func openArrow(l *load) (decoder, error) {
	fields := arrowFields(l.schema)
	return &arrowDecoder{load: l, schema: arrow.NewSchema(fields, nil)}, nil
}

func arrowFields(t *schema.Type) []arrow.Field {
	var all []arrow.Field
	for i := range t.Fields {
		all = append(all, arrow.Field{Name: decode.SourceName(&t.Fields[i]), Type: arrowType(t.Fields[i].Type), Nullable: true})
	}
	return all
}

func arrowType(t *schema.Type) arrow.DataType {
	switch t.Kind {
	case schema.Struct:
		return arrow.StructOf(arrowFields(t)...)
	case schema.Array:
		return arrow.ListOf(arrowType(t.Elem))
	case schema.Timestamp:
		return arrow.FixedWidthTypes.Timestamp_us
	case schema.String:
		return arrow.BinaryTypes.String
	case schema.Long:
		return arrow.PrimitiveTypes.Int64
	case schema.Double:
		return arrow.PrimitiveTypes.Float64
	case schema.Boolean:
		return arrow.FixedWidthTypes.Boolean
	default:
		panic("no Arrow type for " + t.String())
	}
}

func (d *arrowDecoder) decode() error {
	if d.record != nil {
		d.record.Release()
		d.record = nil
	}
	r := array.NewJSONReader(bytes.NewReader(d.load.lines), d.schema, array.WithChunk(-1), array.WithAllocator(memory.DefaultAllocator))
	defer r.Release()
	if !r.Next() {
		return errors.Join(r.Err(), errors.New("no record batch"))
	}
	d.record = r.RecordBatch()
	d.record.Retain()
	return r.Err()
}

func (d *arrowDecoder) rows() ([]map[string]any, error) {
	var all []map[string]any
	for i := range int(d.record.NumRows()) {
		row := make(map[string]any)
		for c, f := range d.load.schema.Fields {
			row[f.Name] = arrowValue(d.record.Column(c), i, f.Type)
		}
		all = append(all, row)
	}
	return all, nil
}

// arrowValue is slot i of a as weir's columns have it.
func arrowValue(a arrow.Array, i int, t *schema.Type) any {
	if a.IsNull(i) {
		return nil
	}
	switch a := a.(type) {
	case *array.Struct:
		row := make(map[string]any)
		for c, f := range t.Fields {
			row[f.Name] = arrowValue(a.Field(c), i, f.Type)
		}
		return row
	case *array.List:
		from, to := a.ValueOffsets(i)
		all := make([]any, 0, to-from)
		for e := from; e < to; e++ {
			all = append(all, arrowValue(a.ListValues(), int(e), t.Elem))
		}
		return all
	case *array.Timestamp:
		return int64(a.Value(i))
	case *array.String:
		return a.Value(i)
	case *array.Int64:
		return a.Value(i)
	case *array.Float64:
		return a.Value(i)
	default:
		return a.(*array.Boolean).Value(i)
	}
}
