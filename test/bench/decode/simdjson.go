package main

import (
	"errors"
	"unsafe"

	"github.com/minio/simdjson-go"

	"github.com/weir-dev/weir/delta/schema"
)

// simdjsonDecoder walks simdjson-go's tape.
type simdjsonDecoder struct {
	*table
	parsed *simdjson.ParsedJson
	root   simdjson.Iter
}

func openSimdjson(l *load) (decoder, error) {
	if !simdjson.SupportedCPU() {
		return nil, errors.New("the processor lacks AVX2 or CLMUL")
	}
	return &simdjsonDecoder{table: newTable(l)}, nil
}

func (d *simdjsonDecoder) decode() error {
	return d.fill(func(e []byte, row int) (err error) {
		if d.parsed, err = simdjson.Parse(e, d.parsed, simdjson.WithCopyStrings(false)); err != nil {
			return err
		}
		top := d.parsed.Iter()
		top.Advance()
		if _, _, err := top.Root(&d.root); err != nil {
			return err
		}
		return d.table.root.tapeObject(&d.root, row)
	})
}

func (f *field) tapeObject(it *simdjson.Iter, slot int) error {
	var o simdjson.Object
	if _, err := it.Object(&o); err != nil {
		return err
	}
	f.next = 0
	var v simdjson.Iter
	for {
		key, t, err := o.NextElementBytes(&v)
		if err != nil {
			return err
		}
		if t == simdjson.TypeNone {
			return nil
		}
		if c := f.find(key); c != nil && t != simdjson.TypeNull {
			if err := c.tape(&v, slot); err != nil {
				return err
			}
		}
	}
}

// tape appends a value to the field.
func (f *field) tape(it *simdjson.Iter, slot int) error {
	switch f.kind {
	case schema.Struct:
		f.vec.PadNulls(slot)
		return f.tapeObject(it, f.vec.AppendStruct())
	case schema.Array:
		return f.tapeList(it, slot)
	case schema.Timestamp:
		text, err := it.StringBytes()
		if err != nil {
			return err
		}
		return f.time(unsafe.String(unsafe.SliceData(text), len(text)), slot)
	default:
		f.vec.PadNulls(slot)
		return f.tapeScalar(it)
	}
}

func (f *field) tapeScalar(it *simdjson.Iter) error {
	switch f.kind {
	case schema.String:
		text, err := it.StringBytes()
		f.vec.AppendBytes(text)
		return err
	case schema.Long:
		x, err := it.Int()
		f.vec.AppendInt64(x)
		return err
	case schema.Double:
		x, err := it.Float()
		f.vec.AppendFloat64(x)
		return err
	case schema.Boolean:
		x, err := it.Bool()
		f.vec.AppendBool(x)
		return err
	default:
		return errType
	}
}

func (f *field) tapeList(it *simdjson.Iter, slot int) error {
	var a simdjson.Array
	if _, err := it.Array(&a); err != nil {
		return err
	}
	f.vec.PadNulls(slot)
	e := f.elem.vec
	v := a.Iter()
	for v.Advance() != simdjson.TypeNone {
		at := e.Len
		if v.Type() != simdjson.TypeNull {
			if err := f.elem.tape(&v, at); err != nil {
				return err
			}
		}
		e.PadNulls(at + 1)
	}
	f.vec.AppendList()
	return nil
}
