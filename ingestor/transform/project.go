package transform

import (
	"slices"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
)

// project arranges the columns of the sealed batch src, and those that steps made, as they come out. Nothing is copied
// but which rows of a flattened field are null.
func (d *Decoder) project(src *column.Batch) *column.Batch {
	out := &column.Batch{Rows: src.Rows, Schema: &schema.Type{Kind: schema.Struct}}
	for _, o := range d.bound.out {
		f := o.field
		f.Name = o.name
		var v *column.Vector
		switch {
		case o.made == nil:
			v = field(src.Columns[o.path[0]], o.path[1:])
		case o.made.vec == nil:
			continue // it never had a value
		default:
			v, f.Type, f.Nullable = o.made.vec, o.made.typ, true
			v.Seal(src.Rows)
		}
		if o.rescue {
			f.Name = decode.RescueColumn(d.table.Current())
		}
		out.Schema.Fields = append(out.Schema.Fields, f)
		out.Columns = append(out.Columns, v)
	}
	return out
}

// field returns the field of a struct vector at path with a slot for every slot of the struct. It shares the values.
func field(v *column.Vector, path []int) *column.Vector {
	for _, i := range path {
		child := v.Children[i]
		if v.Valid == nil {
			v = child
			continue
		}
		wide := *child
		wide.Len, wide.Valid = v.Len, make([]byte, v.Len)
		slot := 0
		for row, there := range v.Valid[:v.Len] {
			if there == 0 {
				continue
			}
			if child.Valid == nil || child.Valid[slot] != 0 {
				wide.Valid[row] = 1
			}
			slot++
		}
		v = &wide
	}
	return v
}

// fit makes the batch one of the table's schema. When every column has the table's type that takes no copy, and the result
// is out itself.
func (d *Decoder) fit(out *column.Batch) *column.Batch {
	d.table.Extend(out.Schema)
	to := d.table.Current()
	columns := make([]*column.Vector, len(to.Fields))
	used := 0
	for i, f := range to.Fields {
		if at := out.Schema.Index(f.Name); at >= 0 && sameType(out.Columns[at].Type, f.Type) {
			columns[i] = out.Columns[at]
			used++
		}
	}
	if used < len(out.Columns) {
		b, moved := decode.Conform(out, to)
		d.table.CountRescued(moved)
		return b
	}
	for i, f := range to.Fields {
		if columns[i] == nil {
			columns[i] = column.New(f.Type)
			columns[i].PadNulls(out.Rows)
		}
	}
	out.Schema, out.Columns = to, columns
	return out
}

// sameType says whether values need no conversion. A vector keeps its type, so only equal ones will do.
func sameType(a, b *schema.Type) bool { return a == b || a.Equal(b) }

// note keeps what went wrong in a step for the column of misfits.
func (d *Decoder) note(row int, o *op, err error) {
	b := d.notes[row]
	if len(b) > 0 {
		b = append(b, ',')
	}
	key := "$transform[" + itoa(o.at) + "]"
	if o.name != "" {
		key += "." + o.name
	}
	what := err.Error()
	if d.prog.Hides() { // it may quote what another step is to hide
		what = "the step failed; why is not kept, since steps of the pipeline mask or drop columns"
	}
	d.notes[row] = append(append(append(b, quote(key)...), ':'), quote(what)...)
}

// rescue completes the column of misfits of the batch out: it hides what is private and adds what the steps noted.
func (d *Decoder) rescue(out *column.Batch) {
	name := decode.RescueColumn(d.table.Current())
	at := out.Schema.Index(name)
	var old *column.Vector
	if at >= 0 {
		old = out.Columns[at]
	}
	if len(d.notes) == 0 && (old == nil || len(d.bound.private) == 0 || old.Present() == 0) {
		return
	}
	v := column.New(stringType)
	c := &cursor{vec: v}
	if old != nil {
		c.vec = old
	}
	var buf []byte
	for row := range out.Rows {
		buf = buf[:0]
		if p := c.seek(row); old != nil && p >= 0 {
			buf = hidden(buf, old.BytesAt(p), d.bound.private)
		}
		if n := d.notes[row]; len(n) > 0 {
			buf = addMembers(buf, n)
		}
		if len(buf) > 0 {
			v.PadNulls(row)
			v.AppendBytes(buf)
		}
	}
	v.Seal(out.Rows)
	if at >= 0 {
		out.Columns = slices.Clone(out.Columns)
		out.Columns[at] = v
		return
	}
	out.Schema.Fields = append(out.Schema.Fields, schema.Field{Name: name, Type: stringType, Nullable: true})
	out.Columns = append(out.Columns, v)
}

// addMembers appends members to the JSON object in b, which may be empty.
func addMembers(b, members []byte) []byte {
	if len(b) == 0 {
		return append(append(append(b, '{'), members...), '}')
	}
	return append(append(append(b[:len(b)-1], ','), members...), '}')
}
