package decode

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	maxReasonBytes  = 256
	maxExcerptBytes = 24
	maxPathBytes    = 80
)

// reason composes what a human reads about a refused record: where, what, and what to do about it. It is valid UTF-8 on
// one line of at most 256 bytes; the advice goes first when it is too long.
func reason(path []byte, offset int, what, advice string) string {
	var b strings.Builder
	if len(path) > 0 {
		b.WriteString("field ")
		b.WriteString(printable(path, maxPathBytes))
		b.WriteString(", ")
	}
	b.WriteString("byte ")
	b.WriteString(strconv.Itoa(offset))
	b.WriteString(": ")
	b.WriteString(what)
	if advice != "" && b.Len()+2+len(advice) <= maxReasonBytes {
		b.WriteString("; ")
		b.WriteString(advice)
	}
	return printable([]byte(b.String()), maxReasonBytes)
}

// excerpt is the beginning of a value for a human, with nothing in it that a terminal or a log would act on.
func excerpt(value []byte) string { return printable(value, maxExcerptBytes) }

// printable is s, cut on a rune boundary to limit bytes, with "?" for what is no UTF-8 or cannot be printed.
func printable(s []byte, limit int) string {
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRune(s[i:])
		if r == utf8.RuneError && n <= 1 || !unicode.IsPrint(r) {
			r = '?'
		}
		rest := len(s) - i - n
		if b.Len()+utf8.RuneLen(r) > limit || rest > 0 && b.Len()+utf8.RuneLen(r)+len("...") > limit && rest > len("...") {
			b.WriteString("..."[:max(0, min(3, limit-b.Len()))])
			break
		}
		b.WriteRune(r)
		i += n
	}
	return b.String()
}

// unexpected says what stands at b[i] where something else was wanted.
func unexpected(b []byte, i int) string {
	if i >= len(b) {
		return "the record ends"
	}
	c := b[i]
	if c < 0x20 || c >= 0x7f {
		return "byte 0x" + string([]byte{hexDigits[c>>4], hexDigits[c&15]})
	}
	return strconv.QuoteRune(rune(c))
}

// tokenAdvice tells what to do about what other languages and encodings write where JSON has none.
func tokenAdvice(b []byte, i int) string {
	rest := string(b[i:min(i+9, len(b))])
	switch {
	case strings.HasPrefix(rest, "NaN"), strings.HasPrefix(rest, "Infinity"), strings.HasPrefix(rest, "-Infinity"),
		strings.HasPrefix(rest, "-Inf"), strings.HasPrefix(rest, "inf"), strings.HasPrefix(rest, "nan"):
		return "JSON has no NaN and no Infinity: send null"
	case strings.HasPrefix(rest, "None"), strings.HasPrefix(rest, "undefined"), strings.HasPrefix(rest, "nil"):
		return "send null for a missing value"
	case strings.HasPrefix(rest, "True"), strings.HasPrefix(rest, "False"):
		return "write true and false in lower case"
	case strings.HasPrefix(rest, "'"):
		return `quote text with ", not with '`
	case strings.HasPrefix(rest, "\x1f\x8b"):
		return "it looks compressed: send it unpacked"
	case strings.HasPrefix(rest, "\xff\xfe"), strings.HasPrefix(rest, "\xfe\xff"), strings.HasPrefix(rest, "{\x00"), strings.HasPrefix(rest, "\x00{"):
		return "it looks like UTF-16: send UTF-8"
	case strings.HasPrefix(rest, "."), strings.HasPrefix(rest, "+"):
		return "write numbers with a digit first, such as 0.5"
	}
	return ""
}
