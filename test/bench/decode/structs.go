package main

import (
	"encoding/json"
	"fmt"
	"reflect"
	"unsafe"

	"github.com/bytedance/sonic"
	"github.com/bytedance/sonic/option"
	goccy "github.com/goccy/go-json"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// structDecoder lets a library fill a Go struct made for the load, which is moved to columns: the best that libraries can
// do which decode into structs. A field that is never null is no pointer.
type structDecoder struct {
	*table
	value     reflect.Value // points at the struct
	layout    *layout
	unmarshal func(b []byte, v any) error
}

// layout is where a Go value has what a field holds.
type layout struct {
	*field
	offset  uintptr // in the struct
	size    uintptr
	pointer bool
	typ     reflect.Type
	fields  []*layout
	elem    *layout
}

func newLayout(f *field, sample *column.Vector) *layout {
	l := &layout{field: f, pointer: sample.NullCount() > 0 && f.kind != schema.Array}
	switch f.kind {
	case schema.Struct:
		l.structure(sample.Children)
	case schema.Array:
		l.elem = newLayout(f.elem, sample.Children[0])
		l.typ = reflect.SliceOf(l.elem.typ)
	case schema.String, schema.Timestamp:
		l.typ = reflect.TypeFor[string]()
	case schema.Long:
		l.typ = reflect.TypeFor[int64]()
	case schema.Double:
		l.typ = reflect.TypeFor[float64]()
	case schema.Boolean:
		l.typ = reflect.TypeFor[bool]()
	default:
		panic("no Go type for " + f.vec.Type.String())
	}
	if l.pointer {
		l.typ = reflect.PointerTo(l.typ)
	}
	l.size = l.typ.Size()
	return l
}

func (l *layout) structure(samples []*column.Vector) {
	var all []reflect.StructField
	for i, c := range l.field.fields {
		inner := newLayout(c, samples[i])
		l.fields = append(l.fields, inner)
		all = append(all, reflect.StructField{Name: fmt.Sprintf("F%d", i), Type: inner.typ, Tag: reflect.StructTag(fmt.Sprintf("json:%q", c.name))})
	}
	l.typ = reflect.StructOf(all)
	for i := range l.fields {
		l.fields[i].offset = l.typ.Field(i).Offset
	}
}

func openStructs(l *load, unmarshal func([]byte, any) error) *structDecoder {
	t := newTable(l)
	top := &layout{field: t.root}
	top.structure(l.sample.Columns)
	return &structDecoder{table: t, layout: top, value: reflect.New(top.typ), unmarshal: unmarshal}
}

func openStandard(l *load) (decoder, error) { return openStructs(l, json.Unmarshal), nil }

func openGoccy(l *load) (decoder, error) {
	return openStructs(l, func(b []byte, v any) error { return goccy.UnmarshalNoEscape(b, v) }), nil
}

func openSonic(l *load) (decoder, error) {
	d := openStructs(l, func(b []byte, v any) error {
		return sonic.ConfigFastest.UnmarshalFromString(unsafe.String(unsafe.SliceData(b), len(b)), v)
	})
	return d, sonic.Pretouch(d.layout.typ, option.WithCompileRecursiveDepth(schema.MaxDepth))
}

func (d *structDecoder) decode() error {
	v := d.value.Interface()
	p := d.value.UnsafePointer()
	return d.fill(func(e []byte, row int) error {
		d.value.Elem().SetZero()
		if err := d.unmarshal(e, v); err != nil {
			return err
		}
		return d.layout.moveAll(p, row)
	})
}

func (l *layout) moveAll(p unsafe.Pointer, slot int) error {
	for _, f := range l.fields {
		if err := f.move(unsafe.Add(p, f.offset), slot); err != nil {
			return err
		}
	}
	return nil
}

// move appends the Go value at p to the field.
func (l *layout) move(p unsafe.Pointer, slot int) error {
	if l.pointer {
		if p = *(*unsafe.Pointer)(p); p == nil {
			return nil
		}
	}
	v := l.vec
	if l.kind == schema.Array {
		return l.list(p, slot)
	}
	v.PadNulls(slot)
	switch l.kind {
	case schema.Struct:
		return l.moveAll(p, v.AppendStruct())
	case schema.Timestamp:
		return l.time(*(*string)(p), slot)
	case schema.String:
		v.AppendString(*(*string)(p))
	case schema.Long:
		v.AppendInt64(*(*int64)(p))
	case schema.Double:
		v.AppendFloat64(*(*float64)(p))
	default:
		v.AppendBool(*(*bool)(p))
	}
	return nil
}

// list appends the slice at p; its elements are read by their layout, whatever their type.
func (l *layout) list(p unsafe.Pointer, slot int) error {
	bytes := *(*[]byte)(p)
	if bytes == nil {
		return nil
	}
	l.vec.PadNulls(slot)
	first := unsafe.Pointer(unsafe.SliceData(bytes))
	for i := range len(bytes) {
		at := l.elem.vec.Len
		if err := l.elem.move(unsafe.Add(first, uintptr(i)*l.elem.size), at); err != nil {
			return err
		}
		l.elem.vec.PadNulls(at + 1)
	}
	l.vec.AppendList()
	return nil
}
