package column

import (
	"bytes"

	"github.com/weir-dev/weir/delta/schema"
)

// Present returns the number of valid slots. It is O(1) except for a Struct with nulls, where it counts.
func (v *Vector) Present() int {
	switch v.Type.Kind {
	case schema.Boolean:
		return len(v.Bools)
	case schema.Byte, schema.Short, schema.Integer, schema.Date:
		return len(v.Int32s)
	case schema.Long, schema.Timestamp, schema.TimestampNTZ:
		return len(v.Int64s)
	case schema.Float:
		return len(v.Float32s)
	case schema.Double:
		return len(v.Float64s)
	case schema.Decimal:
		if v.Type.Precision > 18 {
			return len(v.Data) / wideDecimal
		}
		return len(v.Int64s)
	case schema.Struct:
		if v.Valid == nil {
			return v.Len
		}
		return v.Len - bytes.Count(v.Valid[:v.Len], []byte{0})
	default: // String, Binary, Array, Map
		return max(len(v.Offsets)-1, 0)
	}
}

// NullCount returns the number of null slots.
func (v *Vector) NullCount() int { return v.Len - v.Present() }

// Seal ends the batch at the given number of rows: every column, nested ones included, is padded with nulls to its full
// length, so that the batch fulfils the invariants of [Vector].
func (b *Batch) Seal(rows int) {
	b.Rows = rows
	for _, c := range b.Columns {
		c.Seal(rows)
	}
}

// Seal pads v with nulls to n slots, and its children to what their parent demands.
func (v *Vector) Seal(n int) {
	v.PadNulls(n)
	switch v.Type.Kind {
	case schema.Struct:
		n = v.Present()
		for _, c := range v.Children {
			c.Seal(n)
		}
	case schema.Array, schema.Map:
		n = int(v.Offsets[len(v.Offsets)-1])
		for _, c := range v.Children {
			c.Seal(n)
		}
	default:
	}
}

// Truncate takes the batch back to its first rows rows, whatever was half appended since: the roll-back of a row that
// turns out malformed. The cost is that of the rows taken back plus one step for each vector.
func (b *Batch) Truncate(rows int) {
	b.Rows = min(b.Rows, rows)
	for _, c := range b.Columns {
		c.Truncate(rows)
	}
}

// Truncate drops all slots from n on, and elements of a list that no slot holds yet.
func (v *Vector) Truncate(n int) {
	gone := 0
	if v.Len > n {
		gone = v.Len - n
		if v.Valid != nil {
			gone = bytes.Count(v.Valid[n:v.Len], []byte{1})
			v.Valid = v.Valid[:n]
		}
		v.Len = n
	}
	v.dropValues(gone)
}

// dropValues removes the last n values, and what is appended to children beyond the last value.
func (v *Vector) dropValues(n int) {
	switch v.Type.Kind {
	case schema.Boolean:
		v.Bools = v.Bools[:len(v.Bools)-n]
	case schema.Byte, schema.Short, schema.Integer, schema.Date:
		v.Int32s = v.Int32s[:len(v.Int32s)-n]
	case schema.Long, schema.Timestamp, schema.TimestampNTZ:
		v.Int64s = v.Int64s[:len(v.Int64s)-n]
	case schema.Float:
		v.Float32s = v.Float32s[:len(v.Float32s)-n]
	case schema.Double:
		v.Float64s = v.Float64s[:len(v.Float64s)-n]
	case schema.Decimal:
		if v.Type.Precision > 18 {
			v.Data = v.Data[:len(v.Data)-n*wideDecimal]
		} else {
			v.Int64s = v.Int64s[:len(v.Int64s)-n]
		}
	case schema.String, schema.Binary:
		v.Offsets = v.Offsets[:len(v.Offsets)-n]
		v.Data = v.Data[:v.Offsets[len(v.Offsets)-1]]
	case schema.Struct:
		if v.present < n || (v.present == 0 && v.Len > 0) {
			v.present = v.Present()
		} else {
			v.present -= n
		}
		for _, c := range v.Children {
			c.Truncate(v.present)
		}
	case schema.Array, schema.Map:
		v.Offsets = v.Offsets[:len(v.Offsets)-n]
		for _, c := range v.Children {
			c.Truncate(int(v.Offsets[len(v.Offsets)-1]))
		}
	default:
	}
}

// Reset empties the batch and keeps its memory for the next one.
func (b *Batch) Reset() {
	b.Rows = 0
	for _, c := range b.Columns {
		c.Reset()
	}
}

// Reset empties v and its children and keeps their memory.
func (v *Vector) Reset() {
	if v.Valid != nil {
		v.spare, v.Valid = v.Valid[:0], nil
	}
	v.Len, v.present = 0, 0
	v.Bools, v.Int32s, v.Int64s = v.Bools[:0], v.Int32s[:0], v.Int64s[:0]
	v.Float32s, v.Float64s, v.Data = v.Float32s[:0], v.Float64s[:0], v.Data[:0]
	if len(v.Offsets) > 0 {
		v.Offsets = v.Offsets[:1]
	}
	for _, c := range v.Children {
		c.Reset()
	}
}

// vectorOverhead is about what a Vector costs beside its slices, in bytes.
const vectorOverhead = 320

// Bytes returns the memory that the batch holds, by capacity.
func (b *Batch) Bytes() int64 {
	var n int64
	for _, c := range b.Columns {
		n += c.Bytes()
	}
	return n
}

// Bytes returns the memory that v and its children hold, by capacity.
func (v *Vector) Bytes() int64 {
	n := vectorOverhead + cap(v.Valid) + cap(v.spare) + cap(v.Bools) + cap(v.Data) +
		4*(cap(v.Int32s)+cap(v.Float32s)+cap(v.Offsets)) + 8*(cap(v.Int64s)+cap(v.Float64s))
	sum := int64(n)
	for _, c := range v.Children {
		sum += c.Bytes()
	}
	return sum
}
