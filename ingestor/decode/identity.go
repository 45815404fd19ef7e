package decode

import (
	"bytes"
	"slices"
	"strings"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// Identity is what records of a table that is merged must have.
type Identity struct {
	Key      []string // columns; each needs a value that can name a row
	Sequence string   // column; it needs a value that has an order
	Op       string   // column; empty: none. A value must be one of Ops
	Ops      []string
}

// identified says whether the record that was just read has what the pipeline's identity asks for.
func (d *Decoder) identified() bool { return d.identifiedAt(d.batch.Rows) }

// identifiedAt is identified for the record in that row.
func (d *Decoder) identifiedAt(row int) bool {
	id := d.opts.Identity
	if id == nil {
		return true
	}
	for _, name := range id.Key {
		if !d.present(name, "key", row) {
			return false
		}
	}
	return d.present(id.Sequence, "sequence", row) && d.knownOp(id, row)
}

// valueIn returns the column of that name, if the record in that row has a value in it.
func (d *Decoder) valueIn(name string, row int) *column.Vector {
	i := d.batch.Schema.Index(name)
	if i < 0 {
		return nil
	}
	v := d.batch.Columns[i]
	if v.Len <= row || v.IsNull(row) {
		return nil
	}
	return v
}

func (d *Decoder) present(name, what string, row int) bool {
	v := d.valueIn(name, row)
	if v == nil {
		d.fail(0, name+" has no value that fits, and is part of the pipeline's identity."+what, "send a value")
		return false
	}
	switch v.Type.Kind {
	case schema.Float, schema.Double:
		if what == "sequence" {
			return true
		}
	case schema.Struct, schema.Array, schema.Map:
	default:
		return true
	}
	d.fail(0, "column "+name+" of type "+printable([]byte(v.Type.String()), 48)+" cannot be the pipeline's identity."+what,
		"declare the column in schema.columns, or choose another")
	return false
}

func (d *Decoder) knownOp(id *Identity, row int) bool {
	v := d.valueIn(id.Op, row)
	if id.Op == "" || v == nil {
		return true
	}
	if v.Type.Kind == schema.String && slices.Contains(id.Ops, string(v.BytesAt(valueAt(v, row)))) {
		return true
	}
	d.fail(0, id.Op+" is none of "+strings.Join(id.Ops, ", "), "send one of identity.op.upsert and identity.op.delete")
	return false
}

// valueAt is the index of the value of a slot that has one and stands near the end.
func valueAt(v *column.Vector, slot int) int {
	if v.Valid == nil {
		return slot
	}
	return v.Present() - 1 - bytes.Count(v.Valid[slot+1:], one)
}

var one = []byte{1}
