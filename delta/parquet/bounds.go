package parquet

import (
	"bytes"
	"encoding/binary"
	"math"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// bounds is the smallest and the largest value seen. Bytes alias the vectors they came from until they are cloned.
type bounds struct {
	seen       bool
	minI, maxI int64
	minF, maxF float64
	nan        bool
	minB, maxB []byte
	minK, maxK uint64 // the first 8 bytes of minB and maxB, to decide most comparisons
}

// add takes in the values from..to of v.
func (b *bounds) add(v *column.Vector, from, to int) {
	if from == to {
		return
	}
	switch v.Type.Kind {
	case schema.Byte, schema.Short, schema.Integer, schema.Date:
		lo, hi := minMax(v.Int32s[from:to])
		b.ints(int64(lo), int64(hi))
	case schema.Long, schema.Timestamp, schema.TimestampNTZ:
		b.ints(minMax(v.Int64s[from:to]))
	case schema.Float:
		for _, x := range v.Float32s[from:to] {
			b.float(float64(x))
		}
	case schema.Double:
		for _, x := range v.Float64s[from:to] {
			b.float(x)
		}
	case schema.String:
		for i := from; i < to; i++ {
			b.bytes(v.Data[v.Offsets[i]:v.Offsets[i+1]])
		}
	case schema.Decimal:
		b.decimals(v, from, to)
	default:
	}
}

func minMax[T int32 | int64](xs []T) (lo, hi T) {
	lo, hi = xs[0], xs[0]
	for _, x := range xs {
		lo, hi = min(lo, x), max(hi, x)
	}
	return lo, hi
}

func (b *bounds) ints(lo, hi int64) {
	if !b.seen {
		b.minI, b.maxI, b.seen = lo, hi, true
		return
	}
	b.minI, b.maxI = min(b.minI, lo), max(b.maxI, hi)
}

func (b *bounds) float(x float64) {
	switch {
	case x != x:
		b.nan = true
	case !b.seen:
		b.minF, b.maxF, b.seen = x, x, true
	case x < b.minF:
		b.minF = x
	case x > b.maxF:
		b.maxF = x
	}
}

func prefix(x []byte) uint64 {
	if len(x) >= 8 {
		return binary.BigEndian.Uint64(x)
	}
	var k uint64
	for i, c := range x {
		k |= uint64(c) << (56 - 8*i)
	}
	return k
}

func (b *bounds) bytes(x []byte) {
	if x == nil { // the empty string out of an empty vector; nil would say later that the bound is not known
		x = []byte{}
	}
	k := prefix(x)
	if !b.seen {
		b.minB, b.maxB, b.minK, b.maxK, b.seen = x, x, k, k, true
		return
	}
	if k < b.minK || (k == b.minK && bytes.Compare(x, b.minB) < 0) {
		b.minB, b.minK = x, k
	}
	if k > b.maxK || (k == b.maxK && bytes.Compare(x, b.maxB) > 0) {
		b.maxB, b.maxK = x, k
	}
}

func (b *bounds) decimals(v *column.Vector, from, to int) {
	if v.Type.Precision <= 18 {
		b.ints(minMax(v.Int64s[from:to]))
		return
	}
	for i := from; i < to; i++ {
		x := v.Data[16*i : 16*i+16]
		if !b.seen {
			b.minB, b.maxB, b.seen = x, x, true
		}
		if compareWide(x, b.minB) < 0 {
			b.minB = x
		}
		if compareWide(x, b.maxB) > 0 {
			b.maxB = x
		}
	}
}

// compareWide compares two 16-byte big-endian two's complement numbers.
func compareWide(x, y []byte) int {
	if a, b := int8(x[0]), int8(y[0]); a != b {
		return int(a) - int(b)
	}
	return bytes.Compare(x, y)
}

// merge takes in what other saw of values of type t.
func (b *bounds) merge(t *schema.Type, other *bounds) {
	b.nan = b.nan || other.nan
	if !other.seen {
		return
	}
	switch {
	case t.Kind == schema.String:
		b.bytes(other.minB)
		b.bytes(other.maxB)
	case t.Kind == schema.Float || t.Kind == schema.Double:
		b.float(other.minF)
		b.float(other.maxF)
	case t.Kind == schema.Decimal && t.Precision > 18:
		for _, x := range [][]byte{other.minB, other.maxB} {
			b.decimals(&column.Vector{Type: t, Data: x}, 0, 1)
		}
	default:
		b.ints(other.minI, other.maxI)
	}
}

// encode returns the bounds as Parquet stores them for values of type t; nil for what is not known, and for a chunk with
// a NaN, as the format asks. Strings are cut as in [Stats].
func (b *bounds) encode(t *schema.Type, width int) (lo, hi []byte) {
	if !b.seen || b.nan {
		return nil, nil
	}
	le := binary.LittleEndian
	switch t.Kind {
	case schema.Byte, schema.Short, schema.Integer, schema.Date:
		return le.AppendUint32(nil, uint32(b.minI)), le.AppendUint32(nil, uint32(b.maxI))
	case schema.Long, schema.Timestamp, schema.TimestampNTZ:
		return le.AppendUint64(nil, uint64(b.minI)), le.AppendUint64(nil, uint64(b.maxI))
	case schema.Float:
		x, y := b.floats()
		return le.AppendUint32(nil, math.Float32bits(float32(x))), le.AppendUint32(nil, math.Float32bits(float32(y)))
	case schema.Double:
		x, y := b.floats()
		return le.AppendUint64(nil, math.Float64bits(x)), le.AppendUint64(nil, math.Float64bits(y))
	case schema.String:
		x, y, _ := cut(b.minB, b.maxB)
		return x, y
	case schema.Decimal:
		switch {
		case t.Precision <= 9:
			return le.AppendUint32(nil, uint32(b.minI)), le.AppendUint32(nil, uint32(b.maxI))
		case t.Precision <= 18:
			return le.AppendUint64(nil, uint64(b.minI)), le.AppendUint64(nil, uint64(b.maxI))
		default:
			return b.minB[16-width:], b.maxB[16-width:]
		}
	default:
		return nil, nil
	}
}

// floats returns the bounds of floating-point values, with -0 for a smallest and +0 for a largest zero, since some
// readers tell them apart. NaN sorts above all numbers, so that with one of them only infinity is an upper bound.
func (b *bounds) floats() (lo, hi float64) {
	lo, hi = b.minF, b.maxF
	if !b.seen {
		lo = math.Inf(-1)
	}
	if b.nan {
		hi = math.Inf(1)
	}
	if lo == 0 {
		lo = math.Copysign(0, -1)
	}
	if hi == 0 {
		hi = 0
	}
	return lo, hi
}
