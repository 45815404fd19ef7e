package decode

import (
	"github.com/weir-dev/weir/delta/schema"
)

// Hint says how the values of a column are read where its type does not say it. The tree follows that of the types.
type Hint struct {
	JSON   bool             // a string column that keeps any value as the JSON text it came as
	Micros int64            // a timestamp may come as a number in this unit: 1, 1000 or 1000000 microseconds
	Fields map[string]*Hint // of a struct, by column name
	Elem   *Hint            // of an array's elements or a map's values
}

// Kinds of nodes beyond those of columns.
const (
	jsonKind  schema.Kind = 0xf0 + iota // String with Hint.JSON
	epochKind                           // Timestamp with Hint.Micros
)

func (h *Hint) kind(t *schema.Type) schema.Kind {
	switch {
	case h != nil && h.JSON && t.Kind == schema.String:
		return jsonKind
	case h != nil && h.Micros > 0 && t.Kind == schema.Timestamp:
		return epochKind
	}
	return t.Kind
}

func (h *Hint) unit() int64 {
	if h == nil {
		return 0
	}
	return h.Micros
}

func (h *Hint) elem() *Hint {
	if h == nil {
		return nil
	}
	return h.Elem
}

func (h *Hint) field(name string) *Hint {
	if h == nil {
		return nil
	}
	return h.Fields[name]
}

// rawJSON keeps the value at b[i] as it was written, a null as a null.
func (d *Decoder) rawJSON(b []byte, i int, n *node, slot, depth int) int {
	if b[i] == 'n' {
		return d.literal(b, i, "null")
	}
	end := d.skip(b, i, depth)
	if end < 0 {
		return end
	}
	if !n.place(slot) {
		return misfit
	}
	n.vec.AppendBytes(b[i:end])
	return end
}

// The instants of the years 1 to 9999, in microseconds: what table readers take.
const (
	minMicros = -62_135_596_800 * microsPerSecond
	maxMicros = 253_402_300_800*microsPerSecond - 1
)

// epoch reads a timestamp that may be a number since 1970 in the unit of the column; its fraction is cut to microseconds.
func (d *Decoder) epoch(b []byte, i int, n *node, slot int) int {
	if b[i] == '"' {
		return d.encodedAs(schema.Timestamp, b, i, n, slot)
	}
	num, ok := scanNumber(b, i)
	if !ok {
		return d.noNumber(b, i, num.end)
	}
	if n.vec.Len != slot && !n.place(slot) {
		return misfit
	}
	x, ok := epochMicros(num, b[i:num.end], n.unit)
	if !ok {
		return misfit
	}
	n.vec.AppendInt64(x)
	return num.end
}

// epochMicros is the number in text as microseconds, counted in a unit of so many.
func epochMicros(num number, text []byte, unit int64) (int64, bool) {
	if x, ok := num.int64(text); ok {
		micros := x * unit
		return micros, micros/unit == x && micros >= minMicros && micros <= maxMicros
	}
	decimals := 0
	for u := unit; u > 1; u /= 10 {
		decimals++
	}
	whole, fraction, ok := splitDecimal(text)
	if !ok {
		return 0, false
	}
	negative := whole[0] == '-'
	if negative {
		whole = whole[1:]
	}
	micros, n := scanDigits(whole, 0)
	if n != len(whole) || n > maxPlainDigits-decimals {
		return 0, false
	}
	for k := range decimals {
		digit := int64(0)
		if k < len(fraction) {
			digit = int64(fraction[k] - '0')
		}
		micros = micros*10 + digit
	}
	if negative {
		micros = -micros
	}
	return micros, micros >= minMicros && micros <= maxMicros
}

// splitDecimal parts a JSON number without an exponent at its point.
func splitDecimal(text []byte) (whole, fraction []byte, ok bool) {
	for i, c := range text {
		switch {
		case c|0x20 == 'e':
			return nil, nil, false
		case c == '.':
			whole, fraction = text[:i], text[i+1:]
		}
	}
	return whole, fraction, whole != nil
}
