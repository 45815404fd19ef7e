package column

import (
	"slices"

	"github.com/weir-dev/weir/delta/schema"
)

// Gather returns a new batch of the given rows, in that order; a row may be named more than once. The batch must be
// sealed. It shares no memory with b.
func (b *Batch) Gather(rows []int) *Batch {
	out := &Batch{Schema: b.Schema, Columns: make([]*Vector, len(b.Columns)), Rows: len(rows)}
	for i, c := range b.Columns {
		out.Columns[i] = c.Gather(rows)
	}
	return out
}

// Gather returns a new vector of the given slots, in that order.
func (v *Vector) Gather(slots []int) *Vector {
	out := &Vector{Type: v.Type, Len: len(slots)}
	out.gatherValues(v, out.gatherValid(v, slots))
	return out
}

// gatherValid fills Valid and returns which values of src the valid slots stand for.
func (v *Vector) gatherValid(src *Vector, slots []int) []int {
	if src.Valid == nil {
		return slots
	}
	at := src.Positions(nil)
	v.Valid = make([]byte, len(slots))
	values := make([]int, 0, len(slots))
	for i, s := range slots {
		if at[s] >= 0 {
			v.Valid[i] = 1
			values = append(values, int(at[s]))
		}
	}
	return values
}

func (v *Vector) gatherValues(src *Vector, values []int) {
	switch v.Type.Kind {
	case schema.Boolean:
		v.Bools = pick(src.Bools, values)
	case schema.Byte, schema.Short, schema.Integer, schema.Date:
		v.Int32s = pick(src.Int32s, values)
	case schema.Long, schema.Timestamp, schema.TimestampNTZ:
		v.Int64s = pick(src.Int64s, values)
	case schema.Float:
		v.Float32s = pick(src.Float32s, values)
	case schema.Double:
		v.Float64s = pick(src.Float64s, values)
	case schema.Decimal:
		v.gatherDecimals(src, values)
	case schema.String, schema.Binary:
		v.gatherBytes(src, values)
	case schema.Struct:
		v.present = len(values)
		v.Children = make([]*Vector, len(src.Children))
		for i, c := range src.Children {
			v.Children[i] = c.Gather(values)
		}
	case schema.Array, schema.Map:
		v.gatherLists(src, values)
	default:
	}
}

func pick[T any](src []T, at []int) []T {
	out := make([]T, len(at))
	for i, p := range at {
		out[i] = src[p]
	}
	return out
}

func (v *Vector) gatherDecimals(src *Vector, values []int) {
	if v.Type.Precision <= 18 {
		v.Int64s = pick(src.Int64s, values)
		return
	}
	v.Data = make([]byte, 0, len(values)*wideDecimal)
	for _, p := range values {
		v.Data = append(v.Data, src.Data[p*wideDecimal:(p+1)*wideDecimal]...)
	}
}

func (v *Vector) gatherBytes(src *Vector, values []int) {
	size := 0
	for _, p := range values {
		size += int(src.Offsets[p+1] - src.Offsets[p])
	}
	v.Data = make([]byte, 0, size)
	v.Offsets = make([]int32, 1, len(values)+1)
	for _, p := range values {
		v.Data = append(v.Data, src.Data[src.Offsets[p]:src.Offsets[p+1]]...)
		v.Offsets = append(v.Offsets, int32(len(v.Data)))
	}
}

func (v *Vector) gatherLists(src *Vector, values []int) {
	var elems []int
	v.Offsets = make([]int32, 1, len(values)+1)
	for _, p := range values {
		for e := src.Offsets[p]; e < src.Offsets[p+1]; e++ {
			elems = append(elems, int(e))
		}
		v.Offsets = append(v.Offsets, int32(len(elems)))
	}
	v.Children = make([]*Vector, len(src.Children))
	for i, c := range src.Children {
		v.Children[i] = c.Gather(elems)
	}
}

// Positions returns for each slot the index of its value among the valid ones, -1 for a null; it appends to dst.
func (v *Vector) Positions(dst []int32) []int32 {
	next := int32(0)
	dst = slices.Grow(dst, v.Len)
	for i := range v.Len {
		if v.Valid != nil && v.Valid[i] == 0 {
			dst = append(dst, -1)
			continue
		}
		dst = append(dst, next)
		next++
	}
	return dst
}
