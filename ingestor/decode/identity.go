package decode

import (
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
func (d *Decoder) identified() bool {
	id := d.opts.Identity
	if id == nil {
		return true
	}
	for _, name := range id.Key {
		if !d.present(name, "key") {
			return false
		}
	}
	return d.present(id.Sequence, "sequence") && d.knownOp(id)
}

// valueIn returns the column of that name, if the record has a value in it.
func (d *Decoder) valueIn(name string) *column.Vector {
	i := d.batch.Schema.Index(name)
	if i < 0 {
		return nil
	}
	v := d.batch.Columns[i]
	if v.Len <= d.batch.Rows || v.IsNull(d.batch.Rows) {
		return nil
	}
	return v
}

func (d *Decoder) present(name, what string) bool {
	v := d.valueIn(name)
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

func (d *Decoder) knownOp(id *Identity) bool {
	v := d.valueIn(id.Op)
	if id.Op == "" || v == nil {
		return true
	}
	if v.Type.Kind == schema.String && slices.Contains(id.Ops, string(v.BytesAt(v.Present()-1))) {
		return true
	}
	d.fail(0, id.Op+" is none of "+strings.Join(id.Ops, ", "), "send one of identity.op.upsert and identity.op.delete")
	return false
}
