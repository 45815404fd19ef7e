package decode

import (
	"encoding/base64"
	"encoding/binary"
	"math"
	"strconv"
	"time"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// appendJSON appends the value at b[i] as JSON and returns the index behind it, negative if it is malformed, nests deeper
// than depth, or its text is too long for the record b.
func (t *avroType) appendJSON(dst, b []byte, i, depth int) ([]byte, int) {
	if depth < 0 || i > len(b) {
		return dst, failed
	}
	switch t.kind {
	case avroNull:
		return append(dst, "null"...), i
	case avroBoolean:
		if i >= len(b) || b[i] > 1 {
			return dst, failed
		}
		return strconv.AppendBool(dst, b[i] == 1), i + 1
	case avroFloat:
		if len(b)-i < 4 {
			return dst, failed
		}
		return appendFloat(dst, float64(math.Float32frombits(binary.LittleEndian.Uint32(b[i:]))), 32), i + 4
	case avroDouble:
		if len(b)-i < 8 {
			return dst, failed
		}
		return appendFloat(dst, math.Float64frombits(binary.LittleEndian.Uint64(b[i:])), 64), i + 8
	case avroInt, avroLong, avroDate, avroTimestamp, avroEnum:
		return t.appendNumberJSON(dst, b, i)
	case avroUnion:
		x, next := avroNumber(b, i)
		if next < 0 || x < 0 || x >= int64(len(t.branches)) {
			return dst, failed
		}
		branch := t.branches[x]
		if !t.several() || branch.kind == avroNull {
			return branch.appendJSON(dst, b, next, depth-1)
		}
		dst = append(appendQuoted(append(dst, '{'), []byte(branch.name)), ':')
		dst, next = branch.appendJSON(dst, b, next, depth-1)
		return append(dst, '}'), next
	case avroRecord:
		dst = append(dst, '{')
		for k, f := range t.fields {
			if k > 0 {
				dst = append(dst, ',')
			}
			if tooLong(dst, b) {
				return dst, failed
			}
			dst = append(appendQuoted(dst, f.key), ':')
			if dst, i = f.typ.appendJSON(dst, b, i, depth-1); i < 0 {
				return dst, i
			}
		}
		return append(dst, '}'), i
	case avroArray, avroMap:
		return t.appendListJSON(dst, b, i, depth)
	default:
		return t.appendBytesJSON(dst, b, i)
	}
}

func (t *avroType) appendNumberJSON(dst, b []byte, i int) ([]byte, int) {
	x, next := avroNumber(b, i)
	if next < 0 {
		return dst, failed
	}
	switch t.kind {
	case avroEnum:
		if x < 0 || x >= int64(len(t.symbols)) {
			return dst, failed
		}
		return appendQuoted(dst, t.symbols[x]), next
	case avroTimestamp:
		if micros, ok := microsOf(x, t.unit); ok {
			return append(time.UnixMicro(micros).UTC().AppendFormat(append(dst, '"'), "2006-01-02T15:04:05.999999Z07:00"), '"'), next
		}
	case avroDate:
		if x >= minSeconds/secondsPerDay && x <= maxSeconds/secondsPerDay {
			return append(time.Unix(x*secondsPerDay, 0).UTC().AppendFormat(append(dst, '"'), time.DateOnly), '"'), next
		}
	default:
	}
	return strconv.AppendInt(dst, x, 10), next
}

// Names of fields and items of lists may take no bytes of a record, but do take some of its text. So that has so many times the
// bytes of the record at most, and a few more.
const (
	textExpansion = 64
	freeText      = 16 << 10
)

func tooLong(dst, record []byte) bool { return len(dst) > textExpansion*len(record)+freeText }

func (t *avroType) appendListJSON(dst, b []byte, i, depth int) ([]byte, int) {
	brackets := "[]"
	if t.kind == avroMap {
		brackets = "{}"
	}
	dst = append(dst, brackets[0])
	for first := true; ; {
		count, next := avroBlock(b, i)
		if next < 0 {
			return dst, failed
		}
		if i = next; count == 0 {
			return append(dst, brackets[1]), i
		}
		for ; count > 0; count-- {
			if !first {
				dst = append(dst, ',')
			}
			first = false
			if tooLong(dst, b) {
				return dst, failed
			}
			if t.kind == avroMap {
				from, end := avroSpan(b, i)
				if end < 0 || !validText(b[from:end]) {
					return dst, failed
				}
				dst = append(appendQuoted(dst, b[from:end]), ':')
				i = end
			}
			if dst, i = t.elem.appendJSON(dst, b, i, depth-1); i < 0 {
				return dst, i
			}
		}
	}
}

func (t *avroType) appendBytesJSON(dst, b []byte, i int) ([]byte, int) {
	from, end := i, i+t.size
	if t.size == 0 && t.kind != avroFixed {
		from, end = avroSpan(b, i)
	}
	if end < 0 || end > len(b) {
		return dst, failed
	}
	switch t.kind {
	case avroString:
		if !validText(b[from:end]) {
			return dst, failed
		}
		return appendQuoted(dst, b[from:end]), end
	case avroUUID:
		return append(appendUUID(append(dst, '"'), b[from:end]), '"'), end
	case avroDecimal:
		if hi, lo, ok := bigInteger(b[from:end]); ok {
			v := column.New(&schema.Type{Kind: schema.Decimal, Precision: maxDecimalDigits})
			v.AppendDecimal128(hi, lo)
			return append(dst, column.FormatDecimal(v.UnscaledAt(0), t.decimal.Scale)...), end
		}
	default:
	}
	return append(base64.StdEncoding.AppendEncode(append(dst, '"'), b[from:end]), '"'), end
}
