package decode

import (
	"encoding/binary"
	"math"
	"math/bits"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// fixed appends values of a fixed width.
func (p *arrowPut) fixed(v *column.Vector, arr *arrowArray, s slots) {
	b, n := arr.data, s.len()
	switch k := arr.field.kind; k {
	case arrowInt64:
		v.Int64s = grown(v.Int64s, n)
		dst := v.Int64s[len(v.Int64s)-n:]
		if s.at == nil {
			for i, src := 0, b[8*s.first:8*(s.first+n)]; i < len(dst); i++ {
				dst[i] = int64(binary.LittleEndian.Uint64(src[8*i:]))
			}
			return
		}
		for i, at := range s.at {
			dst[i] = int64(binary.LittleEndian.Uint64(b[8*at:]))
		}
	case arrowUint32:
		for i := range n {
			v.Int64s = append(v.Int64s, integerAt(k, b, s.get(i)))
		}
	case arrowFloat64:
		v.Float64s = grown(v.Float64s, n)
		dst := v.Float64s[len(v.Float64s)-n:]
		if s.at == nil {
			for i, src := 0, b[8*s.first:8*(s.first+n)]; i < len(dst); i++ {
				dst[i] = math.Float64frombits(binary.LittleEndian.Uint64(src[8*i:]))
			}
			return
		}
		for i := range dst {
			dst[i] = math.Float64frombits(binary.LittleEndian.Uint64(b[8*s.get(i):]))
		}
	case arrowInt32:
		v.Int32s = grown(v.Int32s, n)
		dst := v.Int32s[len(v.Int32s)-n:]
		for i := range dst {
			dst[i] = int32(binary.LittleEndian.Uint32(b[4*s.get(i):]))
		}
		if v.Type.Kind == schema.Date {
			p.checkDays(dst, s)
		}
	case arrowInt8, arrowUint8, arrowInt16, arrowUint16:
		for i := range n {
			v.Int32s = append(v.Int32s, int32(integerAt(k, b, s.get(i))))
		}
	case arrowFloat32:
		for i := range n {
			v.Float32s = append(v.Float32s, math.Float32frombits(binary.LittleEndian.Uint32(b[4*s.get(i):])))
		}
	case arrowFloat16:
		for i := range n {
			v.Float32s = append(v.Float32s, float16(binary.LittleEndian.Uint16(b[2*s.get(i):])))
		}
	case arrowBool:
		v.Bools = grown(v.Bools, n)
		dst := v.Bools[len(v.Bools)-n:]
		if s.at == nil {
			for i := range dst {
				at := s.first + i
				dst[i] = b[at>>3]>>(at&7)&1 != 0
			}
			return
		}
		for i, at := range s.at {
			dst[i] = b[at>>3]>>(at&7)&1 != 0
		}
	case arrowUint64:
		for i := range n {
			v.Data = append(v.Data, 0, 0, 0, 0, 0, 0, 0, 0)
			v.Data = binary.BigEndian.AppendUint64(v.Data, binary.LittleEndian.Uint64(b[8*s.get(i):]))
		}
	default:
		p.times(v, arr, s)
	}
}

// The days of the years 1 to 9999, counted from 1970.
const (
	minDays = minMicros / microsPerSecond / secondsPerDay
	maxDays = maxMicros / microsPerSecond / secondsPerDay
)

const dateBeyondYears = "a date beyond the years 1 to 9999"

// checkDays looks at the dates of some slots.
func (p *arrowPut) checkDays(days []int32, s slots) {
	for i, x := range days {
		if x < minDays || x > maxDays {
			p.refuse(s.get(i), dateBeyondYears)
		}
	}
}

// grown is s with n more elements, whatever they hold.
func grown[T any](s []T, n int) []T {
	if cap(s)-len(s) >= n {
		return s[:len(s)+n]
	}
	return append(s, make([]T, n)...)
}

// micros appends times that are microseconds already.
func (p *arrowPut) micros(v *column.Vector, b []byte, s slots) {
	from := len(v.Int64s)
	v.Int64s = grown(v.Int64s, s.n)
	low, high := int64(math.MaxInt64), int64(math.MinInt64)
	for i, dst := 0, v.Int64s[from:]; i < len(dst); i++ {
		x := int64(binary.LittleEndian.Uint64(b[8*(s.first+i):]))
		dst[i] = x
		low, high = min(low, x), max(high, x)
	}
	if s.n == 0 || low >= minMicros && high <= maxMicros {
		return
	}
	for i, x := range v.Int64s[from:] {
		if x < minMicros || x > maxMicros {
			p.refuse(s.first+i, beyondYears)
		}
	}
}

const beyondYears = "a time beyond the years 1 to 9999"

// times appends times, dates in milliseconds, and decimals.
func (p *arrowPut) times(v *column.Vector, arr *arrowArray, s slots) {
	if arr.field.kind == arrowTime && arr.field.unit == microsPerSecond && s.at == nil {
		p.micros(v, arr.data, s)
		return
	}
	for i := range s.len() {
		at := s.get(i)
		switch arr.field.kind {
		case arrowTime:
			micros, ok := microsOf(int64(binary.LittleEndian.Uint64(arr.data[8*at:])), arr.field.unit)
			if !ok {
				p.refuse(at, beyondYears)
			}
			v.Int64s = append(v.Int64s, micros)
		case arrowDate64:
			const millisPerDay = secondsPerDay * 1000
			days := floorDiv(int64(binary.LittleEndian.Uint64(arr.data[8*at:])), millisPerDay)
			if days < minDays || days > maxDays {
				p.refuse(at, dateBeyondYears)
				days = 0
			}
			v.Int32s = append(v.Int32s, int32(days))
		default:
			hi, lo, ok := wideInteger(arr.data[arr.field.width*at:][:arr.field.width])
			if !ok || !withinPrecision(hi, lo, v.Type.Precision) {
				p.refuse(at, "a decimal with more digits than its type has")
				hi, lo = 0, 0
			}
			if v.Type.Precision > 18 {
				v.Data = binary.BigEndian.AppendUint64(v.Data, uint64(hi))
				v.Data = binary.BigEndian.AppendUint64(v.Data, lo)
			} else {
				v.Int64s = append(v.Int64s, int64(lo))
			}
		}
	}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// microsOf converts x, counted in a unit of which a second has so many.
func microsOf(x, unit int64) (int64, bool) {
	if unit > microsPerSecond {
		x = floorDiv(x, unit/microsPerSecond)
	} else if unit < microsPerSecond {
		factor := microsPerSecond / unit
		if x > math.MaxInt64/factor || x < math.MinInt64/factor {
			return 0, false
		}
		x *= factor
	}
	if x < minMicros || x > maxMicros {
		return 0, false
	}
	return x, true
}

// wideInteger reads a little-endian integer of 4, 8, 16 or 32 bytes in two's complement.
func wideInteger(b []byte) (hi int64, lo uint64, ok bool) {
	switch len(b) {
	case 4:
		x := int64(int32(binary.LittleEndian.Uint32(b)))
		return x >> 63, uint64(x), true
	case 8:
		x := int64(binary.LittleEndian.Uint64(b))
		return x >> 63, uint64(x), true
	}
	lo, hi = binary.LittleEndian.Uint64(b), int64(binary.LittleEndian.Uint64(b[8:]))
	for _, c := range b[16:] {
		if c != byte(hi>>63) {
			return 0, 0, false
		}
	}
	return hi, lo, true
}

// withinPrecision says whether |hi·2⁶⁴ + lo| < 10^precision.
func withinPrecision(hi int64, lo uint64, precision int) bool {
	high := uint64(hi)
	if hi < 0 {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		high, _ = bits.Sub64(0, high, borrow)
	}
	limit := &decimalLimits[precision]
	return high < limit[0] || high == limit[0] && lo < limit[1]
}

// decimalLimits are the powers of ten as high and low words.
var decimalLimits = func() (all [maxDecimalDigits + 1][2]uint64) {
	all[0] = [2]uint64{0, 1}
	for i := 1; i < len(all); i++ {
		over, low := bits.Mul64(all[i-1][1], 10)
		all[i] = [2]uint64{all[i-1][0]*10 + over, low}
	}
	return all
}()

// float16 converts an IEEE 754 half.
func float16(h uint16) float32 {
	sign, exp, frac := uint32(h>>15)<<31, uint32(h>>10)&31, uint32(h)&1023
	switch exp {
	case 31:
		return math.Float32frombits(sign | 0x7f800000 | frac<<13)
	case 0:
		f := float32(frac) / (1 << 24)
		return math.Float32frombits(math.Float32bits(f) | sign)
	}
	return math.Float32frombits(sign | (exp+112)<<23 | frac<<13)
}
