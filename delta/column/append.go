package column

import (
	"math"

	"github.com/weir-dev/weir/delta/schema"
)

// wideDecimal is the number of bytes of a decimal whose precision is above 18.
const wideDecimal = 16

// NewBatch returns an empty batch of the given struct type.
func NewBatch(s *schema.Type) *Batch {
	b := &Batch{Schema: s, Columns: make([]*Vector, len(s.Fields))}
	for i, f := range s.Fields {
		b.Columns[i] = New(f.Type)
	}
	return b
}

// New returns an empty vector of type t with empty children.
func New(t *schema.Type) *Vector {
	v := &Vector{Type: t}
	switch t.Kind {
	case schema.String, schema.Binary:
		v.Offsets = []int32{0}
	case schema.Array:
		v.Offsets = []int32{0}
		v.Children = []*Vector{New(t.Elem)}
	case schema.Map:
		v.Offsets = []int32{0}
		v.Children = []*Vector{New(t.Key), New(t.Elem)}
	case schema.Struct:
		v.Children = make([]*Vector, len(t.Fields))
		for i, f := range t.Fields {
			v.Children[i] = New(f.Type)
		}
	default:
	}
	return v
}

// slot counts a valid slot whose value was just appended.
func (v *Vector) slot() {
	v.Len++
	if v.Valid != nil {
		v.Valid = append(v.Valid, 1)
	}
}

// AppendBool appends a value to a Boolean vector.
func (v *Vector) AppendBool(x bool) {
	v.Bools = append(v.Bools, x)
	v.slot()
}

// AppendInt32 appends a value to a Byte, Short, Integer or Date vector.
func (v *Vector) AppendInt32(x int32) {
	v.Int32s = append(v.Int32s, x)
	v.slot()
}

// AppendInt64 appends a value to a Long, Timestamp or TimestampNTZ vector, or an unscaled one to a Decimal vector of
// precision <= 18.
func (v *Vector) AppendInt64(x int64) {
	v.Int64s = append(v.Int64s, x)
	v.slot()
}

// AppendFloat32 appends a value to a Float vector.
func (v *Vector) AppendFloat32(x float32) {
	v.Float32s = append(v.Float32s, x)
	v.slot()
}

// AppendFloat64 appends a value to a Double vector.
func (v *Vector) AppendFloat64(x float64) {
	v.Float64s = append(v.Float64s, x)
	v.slot()
}

// AppendBytes appends a copy of x to a String or Binary vector. All values of a vector together stay below 2 GiB: the
// caller seals a batch by its [Batch.Bytes] long before, and AppendBytes panics beyond.
func (v *Vector) AppendBytes(x []byte) {
	v.Data = append(v.Data, x...)
	v.closeBytes()
}

// AppendedBytes appends the n bytes that the caller has written behind Data, into its capacity, to a String or Binary vector.
func (v *Vector) AppendedBytes(n int) {
	v.Data = v.Data[:len(v.Data)+n]
	v.closeBytes()
}

// AppendString is AppendBytes for a string.
func (v *Vector) AppendString(x string) {
	v.Data = append(v.Data, x...)
	v.closeBytes()
}

func (v *Vector) closeBytes() {
	if len(v.Data) > math.MaxInt32 {
		panic("column: more than 2 GiB in one vector")
	}
	v.Offsets = append(v.Offsets, int32(len(v.Data)))
	v.slot()
}

// AppendDecimal128 appends an unscaled value, hi·2⁶⁴ + lo, to a Decimal vector of precision > 18.
func (v *Vector) AppendDecimal128(hi int64, lo uint64) {
	for shift := 56; shift >= 0; shift -= 8 {
		v.Data = append(v.Data, byte(hi>>shift))
	}
	for shift := 56; shift >= 0; shift -= 8 {
		v.Data = append(v.Data, byte(lo>>shift))
	}
	v.slot()
}

// AppendStruct opens a valid slot of a Struct vector and returns its index among the valid slots. The caller then
// appends to those children that have a value, each after child.PadNulls(index); the others are padded by
// [Batch.Seal] or by their own next value.
func (v *Vector) AppendStruct() int {
	if v.present == 0 && v.Len > 0 {
		v.present = v.Present() // built by hand, or all null so far
	}
	v.slot()
	v.present++
	return v.present - 1
}

// AppendList closes a valid slot of an Array or Map vector: it holds what was appended to the children since the last
// slot. Values of a map that were not appended are null.
func (v *Vector) AppendList() {
	n := v.Children[0].Len
	if len(v.Children) == 2 {
		v.Children[1].PadNulls(n)
	}
	v.Offsets = append(v.Offsets, int32(n))
	v.slot()
}

// AppendNull appends a null slot.
func (v *Vector) AppendNull() { v.padNulls(v.Len + 1) }

// PadNulls appends null slots until Len is to; it does nothing when Len is already to or more. A column that a row does
// not mention is left alone and padded before its next value, so that it costs nothing.
func (v *Vector) PadNulls(to int) {
	if v.Len < to {
		v.padNulls(to)
	}
}

func (v *Vector) padNulls(to int) {
	if v.Valid == nil {
		v.materialise()
	}
	n := to - v.Len
	if cap(v.Valid)-len(v.Valid) < n {
		v.Valid = append(v.Valid, make([]byte, n)...)
	} else {
		v.Valid = v.Valid[:len(v.Valid)+n]
		clear(v.Valid[v.Len:])
	}
	v.Len = to
}

// materialise makes Valid explicit: one for each slot so far.
func (v *Vector) materialise() {
	if cap(v.spare) < v.Len || v.spare == nil {
		v.spare = make([]byte, v.Len, max(2*v.Len, 64))
	}
	v.Valid, v.spare = v.spare[:v.Len], nil
	for i := range v.Valid {
		v.Valid[i] = 1
	}
}

// LastStruct returns the index among the valid slots of the slot that AppendStruct opened last.
func (v *Vector) LastStruct() int { return v.present - 1 }

// AppendValid counts n valid slots, whose values the caller appends.
func (v *Vector) AppendValid(n int) {
	v.Len += n
	if v.Valid != nil {
		for range n {
			v.Valid = append(v.Valid, 1)
		}
	}
}

// AppendMask appends n slots and returns the entries of Valid for them, which the caller sets to 1 or 0; it also appends the
// values of the valid ones.
func (v *Vector) AppendMask(n int) []byte {
	from := v.Len
	v.PadNulls(from + n)
	return v.Valid[from:]
}

// CountStructs counts n valid slots of a Struct vector that were appended as slots just now, and returns the index among the
// valid slots of the first of them.
func (v *Vector) CountStructs(n int) int {
	v.present = v.Present()
	return v.present - n
}

// AppendBytes16 appends an unscaled value of 16 bytes, big-endian, to a Decimal vector of precision > 18.
func (v *Vector) AppendBytes16(x []byte) {
	v.Data = append(v.Data, x...)
	v.slot()
}

// Mark is how much a vector holds, without its children.
type Mark struct{ slots, bools, ints, longs, floats, doubles, data, offsets, present int }

// Mark returns how much v holds.
func (v *Vector) Mark() Mark {
	return Mark{v.Len, len(v.Bools), len(v.Int32s), len(v.Int64s), len(v.Float32s), len(v.Float64s), len(v.Data), len(v.Offsets), v.present}
}

// Restore takes v, but not its children, back to what it held, even if slots and values do not match.
func (v *Vector) Restore(m Mark) {
	v.Len, v.present = m.slots, m.present
	if v.Valid != nil {
		v.Valid = v.Valid[:m.slots]
	}
	v.Bools, v.Int32s, v.Int64s = v.Bools[:m.bools], v.Int32s[:m.ints], v.Int64s[:m.longs]
	v.Float32s, v.Float64s = v.Float32s[:m.floats], v.Float64s[:m.doubles]
	v.Data, v.Offsets = v.Data[:m.data], v.Offsets[:m.offsets]
}
