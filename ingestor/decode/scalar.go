package decode

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"math"
	"sort"
	"strconv"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// other reads the value at b[i] where the column wants another kind of value: a null is passed, all else is a misfit.
func (d *Decoder) other(b []byte, i int) int {
	if b[i] == 'n' {
		return d.literal(b, i, "null")
	}
	return misfit
}

// text reads a string. Most are plain: they are copied while their end is looked for.
func (d *Decoder) text(b []byte, i int, n *node, slot int) int {
	if b[i] != '"' {
		return d.other(b, i)
	}
	v := n.vec
	if v.Len != slot && !n.place(slot) {
		return misfit
	}
	from, rest, count := len(v.Data), b[i+1:], 0
	if cap(v.Data)-from >= len(rest) { // room for the longest text that may stand here
		var plain bool
		if count, plain = copyText(v.Data[from:cap(v.Data)], rest); plain {
			v.Data = v.Data[:from+count]
			v.AppendBytes(nil) // closes the value
			return i + count + 2
		}
	}
	return d.mixedText(b, i, count, v)
}

// mixedText reads the string at b[i] into v, whatever is in it. The first bytes of it, so many, are known to be plain.
func (d *Decoder) mixedText(b []byte, i, plain int, v *column.Vector) int {
	end, kind, at := scanMixed(b, i+1, i+1+plain)
	if end < 0 {
		return d.badText(b, i, end, at)
	}
	if kind != escapedText {
		v.AppendBytes(b[i+1 : end])
		return end + 1
	}
	var lone bool
	had := len(v.Data)
	v.Data, lone, at = unescape(v.Data, b[i+1:end])
	if at >= 0 {
		v.Data = v.Data[:had]
		return d.failEscape(b, i+1+at)
	}
	if lone {
		v.Data = v.Data[:had]
		return misfit
	}
	v.AppendBytes(nil) // closes the value
	return end + 1
}

// scanDigits appends the digits at the start of b to x. The value is right while all digits together are few.
func scanDigits(b []byte, x int64) (value int64, count int) {
	for i, c := range b {
		if c -= '0'; c > 9 {
			return x, i
		}
		x = x*10 + int64(c)
	}
	return x, len(b)
}

// maxPlainDigits is how many digits always fit an int64.
const maxPlainDigits = 18

// long reads a 64-bit integer.
func (d *Decoder) long(b []byte, i int, n *node, slot int) int {
	j := i
	if b[j] == '-' {
		j++
	}
	start := j
	x, digits := scanDigits(b[j:], 0)
	j += digits
	if digits == 0 || digits > maxPlainDigits || digits > 1 && b[start] == '0' || j == len(b) || b[j] == '.' || b[j]|0x20 == 'e' {
		return d.numeric(b, i, n, slot)
	}
	if start > i {
		x = -x
	}
	v := n.vec
	if v.Len != slot && !n.place(slot) {
		return misfit
	}
	v.AppendInt64(x)
	return j
}

// maxExactDigits is how many digits always fit the 53 bits of a float64's fraction.
const maxExactDigits = 15

// double reads a 64-bit floating-point number. Most have few digits and no exponent: their digits and a power of ten are
// exact, so that the quotient is rounded once, as in number.float64.
func (d *Decoder) double(b []byte, i int, n *node, slot int) int {
	j := i
	if b[j] == '-' {
		j++
	}
	start := j
	mantissa, digits := scanDigits(b[j:], 0)
	decimals := 0
	if j += digits; j < len(b) && b[j] == '.' && digits > 0 {
		mantissa, decimals = scanDigits(b[j+1:], mantissa)
		if decimals == 0 {
			return d.numeric(b, i, n, slot)
		}
		j += 1 + decimals
	}
	if digits == 0 || digits+decimals > maxExactDigits || digits > 1 && b[start] == '0' || j == len(b) || b[j]|0x20 == 'e' {
		return d.numeric(b, i, n, slot)
	}
	x := float64(mantissa) / exactPowers[decimals]
	if start > i {
		x = -x
	}
	if n.vec.Len != slot && !n.place(slot) {
		return misfit
	}
	n.vec.AppendFloat64(x)
	return j
}

// noNumber goes on where the number that a column wants is not to be found.
func (d *Decoder) noNumber(b []byte, i, at int) int {
	switch b[i] {
	case 'n':
		return d.literal(b, i, "null")
	case '"', '{', '[', 't', 'f':
		return misfit
	}
	return d.badNumber(b, i, at)
}

func (d *Decoder) boolean(b []byte, i int, n *node, slot int) int {
	if b[i] != 't' && b[i] != 'f' {
		return d.other(b, i)
	}
	word := "true"
	if b[i] == 'f' {
		word = "false"
	}
	end := d.literal(b, i, word)
	if end < 0 {
		return end
	}
	if n.vec.Len != slot && !n.place(slot) {
		return misfit
	}
	n.vec.AppendBool(b[i] == 't')
	return end
}

// numeric reads a number for any numeric column; a decimal may also be written as a string.
func (d *Decoder) numeric(b []byte, i int, n *node, slot int) int {
	if b[i] == '"' && n.kind == schema.Decimal {
		return d.encoded(b, i, n, slot)
	}
	num, ok := scanNumber(b, i)
	if !ok {
		return d.noNumber(b, i, num.end)
	}
	if n.vec.Len != slot && !n.place(slot) || !n.appendNumber(num, b[i:num.end]) {
		return misfit
	}
	return num.end
}

// appendNumber appends a number if it fits. text is the number.
func (n *node) appendNumber(num number, text []byte) bool {
	switch n.kind {
	case schema.Double:
		x, ok := num.float64(text)
		if ok {
			n.vec.AppendFloat64(x)
		}
		return ok
	case schema.Float:
		x, ok := num.float32(text)
		if ok {
			n.vec.AppendFloat32(x)
		}
		return ok
	case schema.Decimal:
		return n.appendDecimal(num, text)
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		x, ok := num.int64(text)
		return ok && n.appendInteger(x)
	default:
		return false
	}
}

// appendInteger appends x to an integer column if it is in range.
func (n *node) appendInteger(x int64) bool {
	low, high := int64(math.MinInt32), int64(math.MaxInt32)
	switch n.kind {
	case schema.Byte:
		low, high = math.MinInt8, math.MaxInt8
	case schema.Short:
		low, high = math.MinInt16, math.MaxInt16
	case schema.Long:
		n.vec.AppendInt64(x)
		return true
	default:
	}
	if x < low || x > high {
		return false
	}
	n.vec.AppendInt32(int32(x))
	return true
}

// float32 is the nearest float32, under the rules of [number.float64].
func (n number) float32(text []byte) (float32, bool) {
	x, err := strconv.ParseFloat(unsafeString(text), 32)
	if err != nil {
		return 0, false
	}
	if n.integer {
		return float32(x), exactInteger(x, text)
	}
	return float32(x), x != 0 || isZero(text)
}

func (n *node) appendDecimal(num number, text []byte) bool {
	hi, lo, ok := num.decimal(text, n.typ.Precision, n.typ.Scale)
	if !ok {
		return false
	}
	if n.typ.Precision > 18 {
		n.vec.AppendDecimal128(hi, lo)
	} else {
		n.vec.AppendInt64(int64(lo))
	}
	return true
}

// encoded reads a value that JSON writes as a string: a time, a date, bytes as base64, a decimal.
func (d *Decoder) encoded(b []byte, i int, n *node, slot int) int {
	return d.encodedAs(n.kind, b, i, n, slot)
}

func (d *Decoder) encodedAs(as schema.Kind, b []byte, i int, n *node, slot int) int {
	if b[i] != '"' {
		return d.other(b, i)
	}
	if n.vec.Len != slot && !n.place(slot) {
		return misfit
	}
	end, kind, at := scanText(b, i+1)
	if end < 0 {
		return d.badText(b, i, end, at)
	}
	s := b[i+1 : end]
	if kind == escapedText {
		d.scratch, _, at = unescape(d.scratch[:0], s)
		if at >= 0 {
			return d.failEscape(b, i+1+at)
		}
		s = d.scratch
	}
	if !n.appendEncoded(as, s) {
		return misfit
	}
	return end + 1
}

// appendEncoded appends the value that s stands for, if it is one.
func (n *node) appendEncoded(kind schema.Kind, s []byte) bool {
	switch kind {
	case schema.Timestamp:
		x, ok := parseTimestamp(s)
		if ok {
			n.vec.AppendInt64(x)
		}
		return ok
	case schema.TimestampNTZ:
		x, ok := parseLocalTimestamp(s)
		if ok {
			n.vec.AppendInt64(x)
		}
		return ok
	case schema.Date:
		x, ok := parseDate(s)
		if ok {
			n.vec.AppendInt32(x)
		}
		return ok
	case schema.Binary:
		return n.appendBase64(s)
	default:
		num, ok := scanNumber(s, 0)
		return ok && num.end == len(s) && n.appendNumber(num, s)
	}
}

var base64Strict = base64.StdEncoding.Strict()

// appendBase64 appends the bytes that s is the base64 form of, in the standard alphabet and with padding (RFC 4648 §4).
func (n *node) appendBase64(s []byte) bool {
	if bytes.ContainsAny(s, "\r\n") { // which the library would pass over
		return false
	}
	v := n.vec
	had := len(v.Data)
	data, err := base64Strict.AppendDecode(v.Data, s)
	if err != nil {
		v.Data = data[:had]
		return false
	}
	v.Data = data
	v.AppendBytes(nil) // closes the value
	return true
}

// appendKey appends a key of a map: text, or what its text stands for.
func (n *node) appendKey(s []byte) bool {
	switch n.kind {
	case schema.String:
		n.vec.AppendBytes(s)
		return true
	case schema.Boolean:
		if string(s) != "true" && string(s) != "false" {
			return false
		}
		n.vec.AppendBool(s[0] == 't')
		return true
	case schema.Struct, schema.Array, schema.Map:
		return false
	default:
		return n.appendEncoded(n.kind, s)
	}
}

// fewKeys is how many keys of a map are compared with each other directly.
const fewKeys = 16

// repeats says whether two of the keys in v from slot first on are equal.
func repeats(v *column.Vector, first int) bool {
	count := v.Len - first
	if count < 2 {
		return false
	}
	if count <= fewKeys {
		for i := first + 1; i < v.Len; i++ {
			for j := first; j < i; j++ {
				if compareKeys(v, i, j) == 0 {
					return true
				}
			}
		}
		return false
	}
	order := make([]int, count)
	for i := range order {
		order[i] = first + i
	}
	sort.Slice(order, func(a, b int) bool { return compareKeys(v, order[a], order[b]) < 0 })
	for i := 1; i < count; i++ {
		if compareKeys(v, order[i-1], order[i]) == 0 {
			return true
		}
	}
	return false
}

// compareKeys orders the keys of a map, which are never null.
func compareKeys(v *column.Vector, i, j int) int {
	switch v.Type.Kind {
	case schema.Boolean:
		return cmp.Compare(boolRank(v.Bools[i]), boolRank(v.Bools[j]))
	case schema.Byte, schema.Short, schema.Integer, schema.Date:
		return cmp.Compare(v.Int32s[i], v.Int32s[j])
	case schema.Float:
		return cmp.Compare(v.Float32s[i], v.Float32s[j])
	case schema.Double:
		return cmp.Compare(v.Float64s[i], v.Float64s[j])
	case schema.String, schema.Binary:
		return bytes.Compare(v.BytesAt(i), v.BytesAt(j))
	case schema.Decimal:
		if v.Type.Precision > 18 {
			return bytes.Compare(v.Data[16*i:16*i+16], v.Data[16*j:16*j+16])
		}
	default:
	}
	return cmp.Compare(v.Int64s[i], v.Int64s[j])
}

func boolRank(b bool) int {
	if b {
		return 1
	}
	return 0
}
