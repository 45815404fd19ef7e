package decode

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
	"unsafe"

	"github.com/weir-dev/weir/delta/column"
)

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// What the end of a string scan says of the string.
const (
	plainText   = iota // ASCII without escapes
	utf8Text           // valid UTF-8 without escapes
	escapedText        // with escapes, else valid UTF-8
)

// Failures of scanText, as its end.
const (
	unclosedText = -1 - iota
	controlText
	notUTF8Text
)

// special marks the bytes of w that are a quote, a backslash or a control character by their high bit; so may bytes be that
// are not ASCII. The lowest mark of an ASCII byte is right; those above it mean nothing, since subtractions borrow.
//
// The bit 0x02 exchanges the quote, 0x22, with the space, 0x20, and keeps control characters below 0x20: what is below
// 0x21 then is a quote or a control character.
func special(w uint64) uint64 {
	return ((w ^ ones*0x02) - ones*0x21) | ((w ^ ones*'\\') - ones)
}

// scanText finds the quote that closes the string whose first byte is b[i], eight bytes at a time. end is its index, or
// one of the failures; then at is the byte to blame. Escapes are found, not checked.
func scanText(b []byte, i int) (end, kind, at int) {
	start := i
	for len(b)-i >= 8 {
		w := binary.LittleEndian.Uint64(b[i:])
		if m := (special(w) | w) & highs; m != 0 {
			i += bits.TrailingZeros64(m) >> 3
			if b[i] == '"' {
				return i, plainText, i
			}
			return scanMixed(b, start, i)
		}
		i += 8
	}
	return scanMixed(b, start, i)
}

// shortText is how much of a text is looked at eight bytes at a time, before it is worth while to call copyBlocks.
const shortText = 32

// copyText copies the text at the start of src to dst, which is at least as long, up to the quote that closes it. plain is
// false when something else than ASCII without escapes comes first, or the end.
func copyText(dst, src []byte) (count int, plain bool) {
	dst = dst[:len(src)]
	i := 0
	for ; len(src)-i >= 16; i += 16 {
		if hasBlocks && i == shortText {
			i += copyBlocks(unsafe.SliceData(dst[i:]), unsafe.SliceData(src[i:]), len(src)-i) //nolint:gosec // both have so many bytes
			break
		}
		s, t := src[i:i+16], dst[i:i+16]
		w0 := binary.LittleEndian.Uint64(s)
		w1 := binary.LittleEndian.Uint64(s[8:])
		binary.LittleEndian.PutUint64(t, w0)
		binary.LittleEndian.PutUint64(t[8:], w1)
		m0 := (special(w0) | w0) & highs
		m1 := (special(w1) | w1) & highs
		if m0|m1 == 0 {
			continue
		}
		if m0 != 0 {
			i += bits.TrailingZeros64(m0) >> 3
		} else {
			i += 8 + bits.TrailingZeros64(m1)>>3
		}
		return i, src[i] == '"'
	}
	for ; i < len(src); i++ {
		c := src[i]
		if c == '"' || c == '\\' || c < 0x20 || c >= utf8.RuneSelf {
			return i, c == '"'
		}
		dst[i] = c
	}
	return i, false
}

// asciiPrefix is how many bytes at the start of b are found to be ASCII in blocks; behind them are fewer than a block, or one
// that is not.
func asciiPrefix(b []byte) int {
	if !hasBlocks || len(b) < shortText {
		return 0
	}
	return asciiBlocks(unsafe.SliceData(b), len(b)) //nolint:gosec // b has so many bytes
}

func isASCII(b []byte) bool {
	for _, c := range b[asciiPrefix(b):] {
		if c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// validText is utf8.Valid, faster for what begins with much ASCII.
func validText(b []byte) bool { return utf8.Valid(b[asciiPrefix(b):]) }

// appendText appends b[from:from+n] to a column of text, unless it is not valid UTF-8. Short ASCII, which most text in records
// is, is copied and looked at in one go, in words that may reach beyond its end.
func appendText(v *column.Vector, b []byte, from, n int) bool {
	at := len(v.Data)
	if n <= shortText && len(b)-from >= shortText && cap(v.Data)-at >= shortText {
		src, dst := b[from:from+shortText], v.Data[at:at+shortText]
		seen := uint64(0)
		i := 0
		for ; i+8 <= n; i += 8 {
			w := binary.LittleEndian.Uint64(src[i:])
			binary.LittleEndian.PutUint64(dst[i:], w)
			seen |= w
		}
		if i < n {
			w := binary.LittleEndian.Uint64(src[i:])
			binary.LittleEndian.PutUint64(dst[i:], w)
			seen |= w & (1<<(8*(n-i)) - 1)
		}
		if seen&highs == 0 {
			v.AppendedBytes(n)
			return true
		}
	}
	text := b[from : from+n]
	if !validText(text) {
		return false
	}
	v.AppendBytes(text)
	return true
}

// scanMixed goes on at b[i] without assuming plain ASCII.
func scanMixed(b []byte, start, i int) (end, kind, at int) {
	high := false
	for i < len(b) {
		switch c := b[i]; {
		case c == '"':
			return closeText(b, start, i, kind, high)
		case c == '\\':
			kind = escapedText
			i++ // the next byte is no end of the string
		case c < 0x20:
			return controlText, 0, i
		case c >= utf8.RuneSelf:
			high = true
		}
		i++
		for len(b)-i >= 8 { // eight bytes that are no quote, backslash or control character
			w := binary.LittleEndian.Uint64(b[i:])
			if special(w)&^w&highs != 0 {
				break
			}
			high = high || w&highs != 0
			i += 8
		}
	}
	return unclosedText, 0, len(b)
}

func closeText(b []byte, start, end, kind int, high bool) (int, int, int) {
	if !high {
		return end, kind, end
	}
	if !validText(b[start:end]) {
		return notUTF8Text, 0, start + invalidAt(b[start:end])
	}
	return end, max(kind, utf8Text), end
}

// invalidAt is the index of the first byte of s that is not UTF-8.
func invalidAt(s []byte) int {
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRune(s[i:])
		if r == utf8.RuneError && n <= 1 {
			return i
		}
		i += n
	}
	return len(s)
}

// Escapes that are no ordinary text.
const (
	badEscape     = -1 - iota // not JSON
	loneSurrogate             // JSON, but nothing that UTF-8 can hold; U+FFFD stands in its place
)

// unescape appends s, the inside of a string, to dst. at is len(s), or badEscape with the index of the backslash in bad.
// lone says that a half of a surrogate pair was replaced by U+FFFD.
func unescape(dst, s []byte) (out []byte, lone bool, bad int) {
	for i := 0; i < len(s); {
		if s[i] != '\\' {
			from := i
			for i < len(s) && s[i] != '\\' {
				i++
			}
			dst = append(dst, s[from:i]...)
			continue
		}
		r, n := escape(s[i:])
		switch {
		case n == 0:
			return dst, false, i
		case r == loneSurrogate:
			lone = true
			r = utf8.RuneError
		}
		dst = utf8.AppendRune(dst, r)
		i += n
	}
	return dst, lone, -1
}

// escape reads the escape at the start of s: its rune and how many bytes it takes, 0 when it is none of JSON's.
func escape(s []byte) (rune, int) {
	if len(s) < 2 {
		return 0, 0
	}
	if s[1] != 'u' {
		r := simpleEscapes[s[1]]
		if r == 0 {
			return 0, 0
		}
		return rune(r), 2
	}
	r, ok := hex4(s[2:])
	if !ok {
		return 0, 0
	}
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
		if low, ok := hex4(s[8:]); ok {
			if full := utf16.DecodeRune(r, low); full != utf8.RuneError {
				return full, 12
			}
		}
	}
	return loneSurrogate, 6
}

var simpleEscapes = [256]byte{
	'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t',
}

func hex4(s []byte) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	var r rune
	for _, c := range s[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return 0, false
		}
		r = r<<4 | rune(c)
	}
	return r, true
}

const hexDigits = "0123456789abcdef"

// appendQuoted appends s, valid UTF-8, as a JSON string.
func appendQuoted(dst []byte, s []byte) []byte {
	dst = append(dst, '"')
	from := 0
	for i, c := range s {
		if c >= 0x20 && c != '"' && c != '\\' {
			continue
		}
		dst = append(dst, s[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			dst = append(dst, '\\', c)
		case '\n':
			dst = append(dst, '\\', 'n')
		case '\r':
			dst = append(dst, '\\', 'r')
		case '\t':
			dst = append(dst, '\\', 't')
		default:
			dst = append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
		}
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}
