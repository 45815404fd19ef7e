package delta

import (
	"fmt"
	"math"
	"math/big"
	"slices"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

func isNumber(t *schema.Type) bool {
	switch t.Kind {
	case schema.Byte, schema.Short, schema.Integer, schema.Long, schema.Float, schema.Double, schema.Decimal:
		return true
	default:
		return false
	}
}

// exactly gives the rows that live the new types.
//
// Error: *WideningError that names the first value which the new type does not have.
func (w *widening) exactly(b *storedRows, a *Add) (*column.Batch, error) {
	live := b.live()
	if w.read == w.to {
		return live, nil
	}
	out := &column.Batch{Schema: w.to, Rows: live.Rows, Columns: slices.Clone(live.Columns)}
	for i, f := range w.to.Fields {
		v, bad := retyped(live.Columns[i], f.Type)
		if bad == nil {
			out.Columns[i] = v
			continue
		}
		row := b.first
		for n := bad.slot; n > 0 || b.deleted.has(row); row++ { // numbers of rows count the deleted ones
			if !b.deleted.has(row) {
				n--
			}
		}
		return nil, &WideningError{f.Name + bad.below, fmt.Sprintf("row %d of %s, counted from 0, has %v, which is not exactly a value of %s", row, a.Path, bad.value, bad.t)}
	}
	return out, nil
}

// inexact is a value that its new type does not have.
type inexact struct {
	slot  int    // of the vector
	below string // where it is in the struct
	value any
	t     *schema.Type
}

// retyped is v, or what is in it, as type to.
func retyped(v *column.Vector, to *schema.Type) (*column.Vector, *inexact) {
	switch {
	case v.Type == to || !isNumber(to) && to.Kind != schema.Struct:
		return v, nil
	case to.Kind != schema.Struct:
		return retypedNumbers(v, to)
	}
	out := *v
	out.Type, out.Children = to, slices.Clone(v.Children)
	for i, f := range to.Fields {
		child, bad := retyped(v.Children[i], f.Type)
		if bad != nil {
			bad.slot, bad.below = slotOf(v, bad.slot), "."+f.Name+bad.below
			return nil, bad
		}
		out.Children[i] = child
	}
	return &out, nil
}

// slotOf is the slot that value p is in.
func slotOf(v *column.Vector, p int) int {
	if v.Valid == nil {
		return p
	}
	for i, valid := range v.Valid {
		if p -= int(valid); p < 0 {
			return i
		}
	}
	return len(v.Valid)
}

func retypedNumbers(v *column.Vector, to *schema.Type) (*column.Vector, *inexact) {
	if v.Type.Kind == to.Kind && v.Type.Precision == to.Precision && v.Type.Scale == to.Scale {
		return v, nil
	}
	out := &column.Vector{Type: to, Len: v.Len, Valid: v.Valid}
	for p := range v.Present() {
		if !appendExactly(out, v, p) {
			slot := slotOf(v, p)
			return nil, &inexact{slot: slot, value: v.Value(slot), t: to}
		}
	}
	return out, nil
}

// appendExactly appends value p of v to the values of out, whose type may have no such value.
func appendExactly(out, v *column.Vector, p int) bool {
	switch out.Type.Kind {
	case schema.Float, schema.Double:
		return appendExactFloat(out, v, p)
	case schema.Decimal:
		return appendExactDecimal(out, v, p)
	default:
		return appendExactInteger(out, v, p)
	}
}

func appendExactInteger(out, v *column.Vector, p int) bool {
	x, ok := wholeAt(v, p)
	bits := bitsOf(out.Type.Kind)
	if !ok || x>>(bits-1) != x>>63 {
		return false
	}
	if bits == 64 {
		out.Int64s = append(out.Int64s, x)
	} else {
		out.Int32s = append(out.Int32s, int32(x))
	}
	return true
}

func bitsOf(k schema.Kind) int {
	switch k {
	case schema.Byte:
		return 8
	case schema.Short:
		return 16
	case schema.Integer:
		return 32
	default:
		return 64
	}
}

// wholeAt is value p as an integer, if it is one of 64 bits.
func wholeAt(v *column.Vector, p int) (int64, bool) {
	switch v.Type.Kind {
	case schema.Byte, schema.Short, schema.Integer:
		return int64(v.Int32s[p]), true
	case schema.Long:
		return v.Int64s[p], true
	case schema.Float, schema.Double:
		f := floatAt(v, p)
		x := int64(f)
		return x, f >= -1<<63 && f < 1<<63 && float64(x) == f
	default:
		r := rationalAt(v, p)
		return r.Num().Int64(), r.IsInt() && r.Num().IsInt64()
	}
}

func floatAt(v *column.Vector, p int) float64 {
	if v.Type.Kind == schema.Float {
		return float64(v.Float32s[p])
	}
	return v.Float64s[p]
}

func appendExactFloat(out, v *column.Vector, p int) bool {
	var f float64
	exact := true
	switch v.Type.Kind {
	case schema.Float, schema.Double:
		f = floatAt(v, p)
	case schema.Decimal:
		f, exact = rationalAt(v, p).Float64()
	default:
		x, _ := wholeAt(v, p)
		f = float64(x)
		exact = f < 1<<63 && int64(f) == x
	}
	if out.Type.Kind == schema.Double {
		out.Float64s = append(out.Float64s, f)
		return exact
	}
	out.Float32s = append(out.Float32s, float32(f))
	return exact && (float64(float32(f)) == f || f != f)
}

func appendExactDecimal(out, v *column.Vector, p int) bool {
	r := rationalAt(v, p)
	if r == nil {
		return false
	}
	t := out.Type
	r.Mul(r, new(big.Rat).SetInt(powersOfTen[t.Scale]))
	if !r.IsInt() || r.Num().CmpAbs(powersOfTen[t.Precision]) >= 0 {
		return false
	}
	if t.Precision <= 18 {
		out.Int64s = append(out.Int64s, r.Num().Int64())
		return true
	}
	x := new(big.Int).Set(r.Num())
	if x.Sign() < 0 {
		x.Add(x, new(big.Int).Lsh(big.NewInt(1), 128)) // two's complement
	}
	out.Data = append(out.Data, x.FillBytes(make([]byte, 16))...)
	return true
}

// rationalAt is value p; nil if it is not finite.
func rationalAt(v *column.Vector, p int) *big.Rat {
	switch v.Type.Kind {
	case schema.Decimal:
		return new(big.Rat).SetFrac(v.UnscaledAt(p), powersOfTen[v.Type.Scale])
	case schema.Float, schema.Double:
		f := floatAt(v, p)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return nil
		}
		return new(big.Rat).SetFloat64(f)
	default:
		x, _ := wholeAt(v, p)
		return new(big.Rat).SetInt64(x)
	}
}

// powersOfTen are those that decimals need. They are only read.
var powersOfTen = func() (out [39]*big.Int) {
	for n := range out {
		out[n] = new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
	}
	return out
}()
