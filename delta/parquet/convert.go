package parquet

import (
	"encoding/binary"
	"fmt"
	"math/big"
	"slices"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// span says which of the decoded values to append: a run, or those that indices name.
type span struct {
	from, n int
	indices []int32
}

// appendFunc appends decoded values to a vector's values. It leaves Len and Valid alone.
type appendFunc func(v *column.Vector, x *values, s span) error

// pick appends the chosen elements of src to dst.
func pick[T any](dst, src []T, s span) []T {
	if s.indices == nil {
		return append(dst, src[s.from:s.from+s.n]...)
	}
	for _, i := range s.indices {
		dst = append(dst, src[i])
	}
	return dst
}

// pickAs is pick with a conversion.
func pickAs[T, U any](dst []U, src []T, s span, f func(T) U) []U {
	if s.indices == nil {
		for _, x := range src[s.from : s.from+s.n] {
			dst = append(dst, f(x))
		}
		return dst
	}
	for _, i := range s.indices {
		dst = append(dst, f(src[i]))
	}
	return dst
}

// converter returns how values of a file's leaf become values of type want, or an error that wraps [ErrMisfit].
func converter(n *fileNode, want *schema.Type) (appendFunc, error) {
	var f appendFunc
	switch {
	case want.Kind == schema.Decimal:
		f = toDecimal(n, want)
	case n.t.Kind == schema.Decimal:
		if n.phys.phys == format.Int32 || n.phys.phys == format.Int64 || want.Kind != schema.Binary {
			break
		}
		f = toBytes
	default:
		f = toPrimitive(n, want.Kind)
	}
	if f == nil {
		return nil, fmt.Errorf("%s cannot be read as %s: %w", kindName(n.t), kindName(want), ErrMisfit)
	}
	return f, nil
}

func toPrimitive(n *fileNode, want schema.Kind) appendFunc {
	switch n.phys.phys {
	case format.Boolean:
		if want == schema.Boolean {
			return func(v *column.Vector, x *values, s span) error { v.Bools = pick(v.Bools, x.bools, s); return nil }
		}
	case format.Int32:
		return fromInt32(n, want)
	case format.Int64:
		return fromInt64(n, want)
	case format.Int96:
		if isTime(want) {
			return fromInt96
		}
	case format.Float:
		return fromFloat(want)
	case format.Double:
		if want == schema.Double {
			return func(v *column.Vector, x *values, s span) error { v.Float64s = pick(v.Float64s, x.f64, s); return nil }
		}
	case format.ByteArray, format.FixedLenByteArray:
		if want == schema.String || want == schema.Binary {
			return toBytes
		}
	default:
	}
	return nil
}

func isTime(k schema.Kind) bool { return k == schema.Timestamp || k == schema.TimestampNTZ }

// integerRank orders the integer types; 0 for others.
func integerRank(k schema.Kind) int {
	switch k {
	case schema.Byte:
		return 1
	case schema.Short:
		return 2
	case schema.Integer:
		return 3
	case schema.Long:
		return 4
	default:
		return 0
	}
}

// fromInt32 allows the same type and the widenings of Delta's typeWidening feature.
func fromInt32(n *fileNode, want schema.Kind) appendFunc {
	have := n.t.Kind
	switch {
	case have == schema.Long && want == schema.Long: // unsigned 32 bits
		return func(v *column.Vector, x *values, s span) error {
			v.Int64s = pickAs(v.Int64s, x.i32, s, func(i int32) int64 { return int64(uint32(i)) })
			return nil
		}
	case have == schema.Date && isTime(want):
		return func(v *column.Vector, x *values, s span) error {
			v.Int64s = pickAs(v.Int64s, x.i32, s, func(i int32) int64 { return int64(i) * 86_400_000_000 })
			return nil
		}
	case have == want, integerRank(have) > 0 && integerRank(want) >= integerRank(have) && want != schema.Long:
		return func(v *column.Vector, x *values, s span) error { v.Int32s = pick(v.Int32s, x.i32, s); return nil }
	case integerRank(have) > 0 && want == schema.Long:
		return func(v *column.Vector, x *values, s span) error {
			v.Int64s = pickAs(v.Int64s, x.i32, s, func(i int32) int64 { return int64(i) })
			return nil
		}
	case have == schema.Long && want == schema.Double:
		return func(v *column.Vector, x *values, s span) error {
			v.Float64s = pickAs(v.Float64s, x.i32, s, func(i int32) float64 { return float64(uint32(i)) })
			return nil
		}
	case integerRank(have) > 0 && want == schema.Double:
		return func(v *column.Vector, x *values, s span) error {
			v.Float64s = pickAs(v.Float64s, x.i32, s, func(i int32) float64 { return float64(i) })
			return nil
		}
	default:
		return nil
	}
}

// fromInt64 takes longs and timestamps of any unit; a plain long may be read as a timestamp of microseconds.
func fromInt64(n *fileNode, want schema.Kind) appendFunc {
	if n.t.Kind == want && want == schema.Long && n.unsigned() {
		return fromUint64
	}
	if n.t.Kind == want && want == schema.Long {
		return func(v *column.Vector, x *values, s span) error { v.Int64s = pick(v.Int64s, x.i64, s); return nil }
	}
	if !isTime(want) {
		return nil
	}
	const millis, nanos = 1, 3 // field ids of the TimeUnit union
	switch {
	case n.e.hasTimeUnit && n.e.unit == nanos:
		return func(v *column.Vector, x *values, s span) error {
			v.Int64s = pickAs(v.Int64s, x.i64, s, thousandth)
			return nil
		}
	case n.e.hasTimeUnit && n.e.unit == millis, !n.e.hasTimeUnit && n.e.converted == int(deprecated.TimestampMillis):
		return func(v *column.Vector, x *values, s span) error {
			v.Int64s = pickAs(v.Int64s, x.i64, s, func(i int64) int64 { return i * 1000 })
			return nil
		}
	default:
		return func(v *column.Vector, x *values, s span) error { v.Int64s = pick(v.Int64s, x.i64, s); return nil }
	}
}

// fromUint64 takes what a long can hold.
func fromUint64(v *column.Vector, x *values, s span) error {
	at := len(v.Int64s)
	v.Int64s = pick(v.Int64s, x.i64, s)
	for _, i := range v.Int64s[at:] {
		if i < 0 {
			return fmt.Errorf("unsigned number %d is no long: %w", uint64(i), ErrUnsupported)
		}
	}
	return nil
}

func fromFloat(want schema.Kind) appendFunc {
	switch want {
	case schema.Float:
		return func(v *column.Vector, x *values, s span) error { v.Float32s = pick(v.Float32s, x.f32, s); return nil }
	case schema.Double:
		return func(v *column.Vector, x *values, s span) error {
			v.Float64s = pickAs(v.Float64s, x.f32, s, func(f float32) float64 { return float64(f) })
			return nil
		}
	default:
		return nil
	}
}

// each calls f with every chosen byte value.
func each(x *values, s span, f func([]byte) error) error {
	for i := range max(s.n, len(s.indices)) {
		at := s.from + i
		if s.indices != nil {
			at = int(s.indices[i])
		}
		if err := f(x.data[x.start[at]:x.end[at]]); err != nil {
			return err
		}
	}
	return nil
}

// maxBatchBytes bounds the bytes of one column of one batch, so that a dictionary of large values cannot fill the memory.
const maxBatchBytes = 1 << 30

func toBytes(v *column.Vector, x *values, s span) error {
	total := len(v.Data)
	_ = each(x, s, func(b []byte) error { // without an error of its own
		total += len(b)
		return nil
	})
	if total > maxBatchBytes {
		return fmt.Errorf("more than %d bytes in a column of one batch: %w", maxBatchBytes, ErrUnsupported)
	}
	v.Data = slices.Grow(v.Data, total-len(v.Data))
	v.Offsets = slices.Grow(v.Offsets, max(s.n, len(s.indices)))
	return each(x, s, func(b []byte) error {
		v.Data = append(v.Data, b...)
		v.Offsets = append(v.Offsets, int32(len(v.Data)))
		return nil
	})
}

// fromInt96 reads Impala's timestamps: nanoseconds of the day, then the Julian day number.
func fromInt96(v *column.Vector, x *values, s span) error {
	return each(x, s, func(b []byte) error {
		const unixEpoch = 2440588
		nanos := int64(binary.LittleEndian.Uint64(b))
		days := int64(int32(binary.LittleEndian.Uint32(b[8:]))) - unixEpoch
		v.Int64s = append(v.Int64s, days*86_400_000_000+thousandth(nanos))
		return nil
	})
}

// toDecimal reads decimals of any physical form, and integers, as the decimal type want, which must have room for them.
func toDecimal(n *fileNode, want *schema.Type) appendFunc {
	precision, scale := n.t.Precision, n.t.Scale
	if n.t.Kind != schema.Decimal {
		precision, scale = []int{0, 3, 5, 10, 19}[integerRank(n.t.Kind)], 0
	}
	shift := want.Scale - scale
	if precision == 0 || shift < 0 || want.Precision-precision < shift {
		return nil
	}
	factor := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(shift)), nil)
	small := want.Precision <= 18
	switch n.phys.phys {
	case format.Int32:
		if n.t.Kind == schema.Long { // unsigned 32 bits
			return func(v *column.Vector, x *values, s span) error {
				return addDecimals(v, pickAs(nil, x.i32, s, func(i int32) int64 { return int64(uint32(i)) }), factor, small)
			}
		}
		return func(v *column.Vector, x *values, s span) error {
			return addDecimals(v, pickAs(nil, x.i32, s, func(i int32) int64 { return int64(i) }), factor, small)
		}
	case format.Int64:
		if n.t.Kind == schema.Long && n.unsigned() {
			return func(v *column.Vector, x *values, s span) error {
				for _, i := range pick(nil, x.i64, s) {
					if err := addDecimal(v, new(big.Int).SetUint64(uint64(i)), factor, small); err != nil {
						return err
					}
				}
				return nil
			}
		}
		return func(v *column.Vector, x *values, s span) error {
			return addDecimals(v, pick(nil, x.i64, s), factor, small)
		}
	default:
		return func(v *column.Vector, x *values, s span) error {
			return each(x, s, func(b []byte) error { return addDecimal(v, signed(b), factor, small) })
		}
	}
}

func addDecimals(v *column.Vector, xs []int64, factor *big.Int, small bool) error {
	for _, x := range xs {
		if err := addDecimal(v, big.NewInt(x), factor, small); err != nil {
			return err
		}
	}
	return nil
}

// signed reads a big-endian two's complement number.
func signed(b []byte) *big.Int {
	x := new(big.Int).SetBytes(b)
	if len(b) > 0 && b[0]&0x80 != 0 {
		x.Sub(x, new(big.Int).Lsh(big.NewInt(1), uint(8*len(b))))
	}
	return x
}

func addDecimal(v *column.Vector, x, factor *big.Int, small bool) error {
	x.Mul(x, factor)
	if small {
		if !x.IsInt64() {
			return fmt.Errorf("decimal %s does not fit its precision: %w", x, ErrCorrupt)
		}
		v.Int64s = append(v.Int64s, x.Int64())
		return nil
	}
	if x.BitLen() > 127 {
		return fmt.Errorf("decimal of %d bits: %w", x.BitLen(), ErrCorrupt)
	}
	var b [16]byte
	if x.Sign() < 0 {
		x.Add(x, new(big.Int).Lsh(big.NewInt(1), 128))
	}
	v.Data = append(v.Data, x.FillBytes(b[:])...)
	return nil
}
