package main

import (
	"errors"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
)

// field is a column, or a part of one, that is filled from a library's values: what one would write by hand for a schema
// that is known when the program runs.
type field struct {
	name   string
	kind   schema.Kind
	vec    *column.Vector
	fields []*field // of a struct
	byName map[string]*field
	elem   *field // of a list
	next   int    // of fields: the one to be expected
}

func newField(name string, t *schema.Type) *field {
	f := &field{name: name, kind: t.Kind}
	switch t.Kind {
	case schema.Struct:
		f.byName = make(map[string]*field)
		for i := range t.Fields {
			c := newField(decode.SourceName(&t.Fields[i]), t.Fields[i].Type)
			f.fields = append(f.fields, c)
			f.byName[c.name] = c
		}
	case schema.Array:
		f.elem = newField("", t.Elem)
	default:
	}
	return f
}

func (f *field) bind(v *column.Vector) {
	f.vec = v
	if f.kind == schema.Struct {
		f.bindAll(v.Children)
	}
	if f.elem != nil {
		f.elem.bind(v.Children[0])
	}
}

func (f *field) bindAll(vectors []*column.Vector) {
	for i, c := range f.fields {
		c.bind(vectors[i])
	}
}

// find returns the field called key, nil when there is none. Most events have their fields in the order of the columns.
func (f *field) find(key []byte) *field {
	if f.next < len(f.fields) && f.fields[f.next].name == string(key) {
		f.next++
		return f.fields[f.next-1]
	}
	c := f.byName[string(key)]
	if c != nil { // go on behind it
		for i := f.next; i < min(f.next+4, len(f.fields)); i++ {
			if f.fields[i] == c {
				f.next = i + 1
			}
		}
	}
	return c
}

var errType = errors.New("a value of another type")

func (f *field) time(text string, slot int) error {
	x, ok := decode.ParseTimestamp(text)
	if !ok {
		return errType
	}
	f.vec.PadNulls(slot)
	f.vec.AppendInt64(x)
	return nil
}

// table is a batch and the fields that fill it.
type table struct {
	load  *load
	root  *field
	batch *column.Batch
}

func newTable(l *load) *table {
	t := &table{load: l, root: newField("", l.schema), batch: column.NewBatch(l.schema)}
	t.root.bindAll(t.batch.Columns)
	return t
}

func (t *table) rows() ([]map[string]any, error) { return rowsOf(t.batch), nil }

// fill makes a batch of all events.
func (t *table) fill(one func(event []byte, row int) error) error {
	t.batch.Reset()
	for row, e := range t.load.events {
		if err := one(e, row); err != nil {
			return err
		}
		t.batch.Rows++
	}
	t.batch.Seal(t.batch.Rows)
	return nil
}
