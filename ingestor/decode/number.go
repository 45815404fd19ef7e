package decode

import (
	"math"
	"math/bits"
	"strconv"
)

// number is a JSON number as it was scanned: ±mantissa·10^exponent unless long.
type number struct {
	end      int // index behind it
	mantissa uint64
	exponent int
	negative bool
	integer  bool // written without fraction and exponent
	long     bool // more digits than mantissa holds: see significand
}

// maxMantissaDigits is how many digits always fit 64 bits.
const maxMantissaDigits = 19

// scanNumber reads the number at b[i], by the grammar of RFC 8259. When there is none, ok is false and end is the byte to
// blame.
func scanNumber(b []byte, i int) (n number, ok bool) {
	if i < len(b) && b[i] == '-' {
		n.negative = true
		i++
	}
	start := i
	for i < len(b) && b[i]-'0' <= 9 {
		n.mantissa = n.mantissa*10 + uint64(b[i]-'0')
		i++
	}
	digits := i - start
	if digits == 0 || digits > 1 && b[start] == '0' {
		n.end = min(start, len(b))
		return n, false
	}
	n.integer = true
	if i < len(b) && b[i] == '.' {
		i++
		from := i
		for i < len(b) && b[i]-'0' <= 9 {
			n.mantissa = n.mantissa*10 + uint64(b[i]-'0')
			i++
		}
		if i == from {
			n.end = i
			return n, false
		}
		n.exponent = from - i
		n.integer = false
		digits += i - from
	}
	if i < len(b) && b[i]|0x20 == 'e' {
		var exp int
		exp, n.end, ok = scanExponent(b, i+1)
		if !ok {
			return n, false
		}
		n.exponent += exp
		n.integer = false
		i = n.end
	}
	n.long = digits > maxMantissaDigits
	n.end = i
	return n, true
}

// maxExponent is far beyond what any column holds, and far from overflow.
const maxExponent = 1 << 40

func scanExponent(b []byte, i int) (exp, end int, ok bool) {
	negative := false
	if i < len(b) && (b[i] == '+' || b[i] == '-') {
		negative = b[i] == '-'
		i++
	}
	from := i
	for i < len(b) && b[i]-'0' <= 9 {
		exp = min(exp*10+int(b[i]-'0'), maxExponent)
		i++
	}
	if negative {
		exp = -exp
	}
	return exp, i, i > from
}

// int64 is the number as an integer; ok is false when it is none or out of range. text is the number.
func (n number) int64(text []byte) (x int64, ok bool) {
	mantissa, exponent := n.mantissa, n.exponent
	if n.long {
		var digits [maxMantissaDigits]byte
		count, exp := significand(digits[:], text)
		if count > len(digits) {
			return 0, false
		}
		mantissa, exponent = 0, exp
		for _, c := range digits[:count] {
			mantissa = mantissa*10 + uint64(c-'0')
		}
	}
	if mantissa == 0 {
		return 0, true
	}
	for ; exponent < 0; exponent++ {
		if mantissa%10 != 0 {
			return 0, false
		}
		mantissa /= 10
	}
	for ; exponent > 0; exponent-- {
		high, low := bits.Mul64(mantissa, 10)
		if high != 0 {
			return 0, false
		}
		mantissa = low
	}
	if n.negative {
		if mantissa > 1<<63 {
			return 0, false
		}
		return -int64(mantissa), true
	}
	return int64(mantissa), mantissa <= math.MaxInt64
}

// maxExact is the largest integer up to which every one is a float64.
const maxExact = 1 << 53

var exactPowers = [...]float64{
	1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20,
	1e21, 1e22,
}

// float64 is the nearest float64; ok is false when that is no number, zero although the number is not, or not exact for
// a number written as an integer. text is the number.
//
// The short cut is exact because mantissa and power both are, so that one operation rounds once (Clinger, "How to Read
// Floating Point Numbers Accurately", 1990).
func (n number) float64(text []byte) (x float64, ok bool) {
	if !n.long && n.mantissa <= maxExact && -len(exactPowers) < n.exponent && n.exponent < len(exactPowers) {
		x = float64(n.mantissa)
		if n.exponent < 0 {
			x /= exactPowers[-n.exponent]
		} else {
			x *= exactPowers[n.exponent]
		}
		if n.negative {
			x = -x
		}
		return x, true
	}
	x, err := strconv.ParseFloat(unsafeString(text), 64)
	if err != nil {
		return 0, false
	}
	if n.integer {
		return x, exactInteger(x, text)
	}
	return x, x != 0 || isZero(text)
}

// exactInteger says whether x is exactly the integer in text.
func exactInteger(x float64, text []byte) bool {
	var buf [320]byte
	return string(strconv.AppendFloat(buf[:0], x, 'f', 0, 64)) == string(text)
}

// isZero says whether the number in text has no digit but 0 before its exponent.
func isZero(text []byte) bool {
	for _, c := range text {
		if '1' <= c && c <= '9' {
			return false
		}
		if c|0x20 == 'e' {
			break
		}
	}
	return true
}

// significand finds the digits of the valid number in text without leading and trailing zeros; its value is those digits
// · 10^exponent, apart from the sign. It stores as many as dst holds, and counts all.
func significand(dst []byte, text []byte) (count, exponent int) {
	point := false
	zeros := 0 // not stored yet, since they may be trailing
	i := 0
scan:
	for ; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '.':
			point = true
			continue
		case c|0x20 == 'e':
			exponent, _ = addExponent(text, i+1, exponent)
			break scan
		case c == '-':
			continue
		}
		if point {
			exponent--
		}
		if c == '0' {
			if count > 0 {
				zeros++
			}
			continue
		}
		for ; zeros > 0; zeros-- {
			if count < len(dst) {
				dst[count] = '0'
			}
			count++
		}
		if count < len(dst) {
			dst[count] = c
		}
		count++
	}
	return count, exponent + zeros
}

func addExponent(text []byte, i, exponent int) (int, bool) {
	exp, _, ok := scanExponent(text, i)
	return exponent + exp, ok
}

// decimal is the unscaled value of the number at the given scale, as hi·2⁶⁴ + lo in two's complement; ok is false when it
// has more decimals than scale or more digits than precision. text is the number.
func (n number) decimal(text []byte, precision, scale int) (hi int64, lo uint64, ok bool) {
	var digits [maxDecimalDigits]byte
	count, exponent := significand(digits[:], text)
	if count == 0 {
		return 0, 0, true
	}
	shift := exponent + scale // zeros to append
	if shift < 0 || count+shift > precision {
		return 0, 0, false
	}
	var high uint64
	for i := range count + shift {
		var digit uint64
		if i < count {
			digit = uint64(digits[i] - '0')
		}
		over, low := bits.Mul64(lo, 10)
		var carry uint64
		lo, carry = bits.Add64(low, digit, 0)
		high = high*10 + over + carry
	}
	if n.negative {
		var borrow uint64
		lo, borrow = bits.Sub64(0, lo, 0)
		high, _ = bits.Sub64(0, high, borrow)
	}
	return int64(high), lo, true
}

// maxDecimalDigits is the largest precision of a Delta decimal.
const maxDecimalDigits = 38
