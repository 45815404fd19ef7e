package main

import (
	"unsafe"

	"github.com/valyala/fastjson"

	"github.com/weir-dev/weir/delta/schema"
)

// fastjsonDecoder walks fastjson's tree.
type fastjsonDecoder struct {
	*table
	parser fastjson.Parser
	root   *visitor
}

// visitor fills a field. Its function is made once, so that a walk allocates nothing.
type visitor struct {
	*field
	visit  func(key []byte, v *fastjson.Value)
	fields map[*field]*visitor
	elem   *visitor
	slot   int
	err    error
}

func newVisitor(f *field) *visitor {
	o := &visitor{field: f, fields: make(map[*field]*visitor)}
	for _, c := range f.fields {
		o.fields[c] = newVisitor(c)
	}
	if f.elem != nil {
		o.elem = newVisitor(f.elem)
	}
	all := make([]*visitor, len(f.fields))
	for i, c := range f.fields {
		all[i] = o.fields[c]
	}
	o.visit = func(key []byte, v *fastjson.Value) {
		at := o.next
		c := o.find(key)
		if c == nil || o.err != nil {
			return
		}
		if at < len(all) && all[at].field == c {
			o.err = all[at].put(v, o.slot)
		} else {
			o.err = o.fields[c].put(v, o.slot)
		}
	}
	return o
}

func openFastjson(l *load) (decoder, error) {
	t := newTable(l)
	return &fastjsonDecoder{table: t, root: newVisitor(t.root)}, nil
}

func (d *fastjsonDecoder) decode() error {
	return d.fill(func(e []byte, row int) error {
		v, err := d.parser.ParseBytes(e)
		if err != nil {
			return err
		}
		o, err := v.Object()
		if err != nil {
			return err
		}
		return d.root.object(o, row)
	})
}

func (o *visitor) object(v *fastjson.Object, slot int) error {
	o.slot, o.next, o.err = slot, 0, nil
	v.Visit(o.visit)
	return o.err
}

// put appends a value to the field.
func (o *visitor) put(v *fastjson.Value, slot int) error {
	if v.Type() == fastjson.TypeNull {
		return nil
	}
	switch o.kind {
	case schema.Struct:
		inner, err := v.Object()
		if err != nil {
			return err
		}
		o.vec.PadNulls(slot)
		return o.object(inner, o.vec.AppendStruct())
	case schema.Array:
		return o.list(v, slot)
	case schema.Timestamp:
		text, err := v.StringBytes()
		if err != nil {
			return err
		}
		return o.time(unsafe.String(unsafe.SliceData(text), len(text)), slot)
	default:
		o.vec.PadNulls(slot)
		return o.scalar(v)
	}
}

func (o *visitor) scalar(v *fastjson.Value) error {
	switch o.kind {
	case schema.String:
		text, err := v.StringBytes()
		o.vec.AppendBytes(text)
		return err
	case schema.Long:
		x, err := v.Int64()
		o.vec.AppendInt64(x)
		return err
	case schema.Double:
		x, err := v.Float64()
		o.vec.AppendFloat64(x)
		return err
	case schema.Boolean:
		x, err := v.Bool()
		o.vec.AppendBool(x)
		return err
	default:
		return errType
	}
}

func (o *visitor) list(v *fastjson.Value, slot int) error {
	values, err := v.Array()
	if err != nil {
		return err
	}
	o.vec.PadNulls(slot)
	e := o.elem.vec
	for _, inner := range values {
		at := e.Len
		if err := o.elem.put(inner, at); err != nil {
			return err
		}
		e.PadNulls(at + 1)
	}
	o.vec.AppendList()
	return nil
}
