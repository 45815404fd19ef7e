package parquet

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// grow lengthens dst by n bytes of any content.
func grow(dst []byte, n int) []byte {
	return slices.Grow(dst, n)[:len(dst)+n]
}

// appendPlain appends the values from..to of v in PLAIN encoding. A Boolean takes one byte here: see packBools.
func (l *leaf) appendPlain(dst []byte, v *column.Vector, from, to int) []byte {
	if from == to {
		return dst
	}
	at := len(dst)
	switch l.t.Kind {
	case schema.Boolean:
		for _, x := range v.Bools[from:to] {
			dst = append(dst, b2i(x))
		}
	case schema.Byte, schema.Short, schema.Integer, schema.Date:
		dst = grow(dst, 4*(to-from))
		putInt32s(dst[at:], v.Int32s[from:to])
	case schema.Long, schema.Timestamp, schema.TimestampNTZ:
		dst = grow(dst, 8*(to-from))
		putInt64s(dst[at:], v.Int64s[from:to])
	case schema.Float:
		for _, x := range v.Float32s[from:to] {
			dst = binary.LittleEndian.AppendUint32(dst, math.Float32bits(x))
		}
	case schema.Double:
		dst = grow(dst, 8*(to-from))
		putFloat64s(dst[at:], v.Float64s[from:to])
	case schema.String, schema.Binary:
		dst = appendByteArrays(dst, v, from, to)
	case schema.Decimal:
		dst = l.appendDecimals(dst, v, from, to)
	default:
	}
	return dst
}

func b2i(x bool) byte {
	if x {
		return 1
	}
	return 0
}

func putInt32s(dst []byte, src []int32) {
	for i, x := range src {
		binary.LittleEndian.PutUint32(dst[4*i:4*i+4], uint32(x))
	}
}

func putInt64s(dst []byte, src []int64) {
	for i, x := range src {
		binary.LittleEndian.PutUint64(dst[8*i:8*i+8], uint64(x))
	}
}

func putFloat64s(dst []byte, src []float64) {
	for i, x := range src {
		binary.LittleEndian.PutUint64(dst[8*i:8*i+8], math.Float64bits(x))
	}
}

func appendByteArrays(dst []byte, v *column.Vector, from, to int) []byte {
	at := len(dst)
	offsets := v.Offsets[from : to+1]
	dst = grow(dst, 4*(to-from)+int(offsets[to-from]-offsets[0]))
	for i, o := range offsets[:len(offsets)-1] {
		x := v.Data[o:offsets[i+1]]
		binary.LittleEndian.PutUint32(dst[at:], uint32(len(x)))
		at += 4 + copy(dst[at+4:], x)
	}
	return dst
}

// appendDecimals writes what decimalElement declared.
func (l *leaf) appendDecimals(dst []byte, v *column.Vector, from, to int) []byte {
	switch {
	case l.t.Precision <= 9:
		for _, x := range v.Int64s[from:to] {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(int32(x)))
		}
	case l.t.Precision <= 18:
		for _, x := range v.Int64s[from:to] {
			dst = binary.LittleEndian.AppendUint64(dst, uint64(x))
		}
	default:
		for i := from; i < to; i++ {
			dst = append(dst, v.Data[(i+1)*16-l.width:(i+1)*16]...)
		}
	}
	return dst
}

// packBools turns the bytes from at on into bits, the first value in the lowest bit.
func packBools(b []byte, at int) []byte {
	src := b[at:]
	n := 0
	for i := 0; i < len(src); i += 8 {
		var bits byte
		for k, x := range src[i:min(i+8, len(src))] {
			bits |= x << k
		}
		src[n] = bits
		n++
	}
	return b[:at+n]
}
