package decode

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// The JSON text of Protobuf values, for the column of misfits, for columns of text, and for columns that take another type
// than the field has. It differs from the ProtoJSON mapping in that names are those of the .proto file and 64-bit numbers
// are numbers. It is not on the way of values that fit.

// occurrence is a field on the wire.
type occurrence struct {
	field *protoField // nil: the type has none of the number, or one of another type
	num   protowire.Number
	wire  protowire.Type
	value []byte // behind the tag
}

// occurrences finds the fields of m in b, in the order of their declaration, those of one field in that of the wire. strange
// are those that m does not have, by number.
func (m *protoMessage) occurrences(b []byte, only *protoField) (all, strange []occurrence, ok bool) {
	for len(b) > 0 {
		num, wire, n := protoTag(b, 0)
		if n < 0 {
			return nil, nil, false
		}
		size := protowire.ConsumeFieldValue(num, wire, b[n:])
		if size < 0 {
			return nil, nil, false
		}
		f := m.byNum[num]
		packed := f != nil && f.repeated && wire == protowire.BytesType && !f.group
		known := f != nil && (wire == protoWires[f.kind] || packed)
		switch {
		case known && (only == nil || f == only):
			all = append(all, occurrence{f, num, wire, b[n : n+size]})
		case !known && only == nil:
			strange = append(strange, occurrence{nil, num, wire, b[n : n+size]})
		}
		b = b[n+size:]
	}
	slices.SortStableFunc(all, func(a, b occurrence) int { return a.field.at - b.field.at })
	slices.SortStableFunc(strange, func(a, b occurrence) int { return int(a.num - b.num) })
	return all, strange, true
}

// appendJSON appends the message b as a JSON object, or as what it stands for; depth bounds how deep it may nest.
func (m *protoMessage) appendJSON(dst, b []byte, depth int) ([]byte, bool) {
	if depth < 0 {
		return dst, false
	}
	switch m.shape {
	case protoTimestamp, protoDuration:
		return appendSecondsNanos(dst, m.shape, b)
	case protoAny:
		return m.appendAny(dst, b, depth)
	default:
	}
	all, strange, ok := m.occurrences(b, nil)
	if !ok {
		return dst, false
	}
	switch m.shape {
	case protoWrapper, protoValue:
		return m.appendOnly(dst, all, depth)
	case protoStruct, protoList:
		return m.fields[0].appendAll(dst, all, depth)
	default:
	}
	dst = append(dst, '{')
	if dst, ok = appendFields(dst, all, depth); !ok {
		return dst, false
	}
	return append(appendStrange(dst, strange, len(all) == 0), '}'), true
}

func appendFields(dst []byte, all []occurrence, depth int) ([]byte, bool) {
	for first := true; len(all) > 0; first = false {
		f, n := all[0].field, 1
		for n < len(all) && all[n].field == f {
			n++
		}
		if !first {
			dst = append(dst, ',')
		}
		dst = append(appendQuoted(dst, []byte(f.name)), ':')
		var ok bool
		if dst, ok = f.appendAll(dst, all[:n], depth); !ok {
			return dst, false
		}
		all = all[n:]
	}
	return dst, true
}

// appendStrange appends the fields that a message type does not have under their numbers, as the column for misfits has them.
// first says that nothing stands before them.
func appendStrange(dst []byte, strange []occurrence, first bool) []byte {
	for i := 0; i < len(strange); {
		end := i + 1
		for end < len(strange) && strange[end].num == strange[i].num {
			end++
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(appendNumber(append(dst, '"'), int(strange[i].num), len(dst)+1), `":`...)
		if end > i+1 {
			dst = append(dst, '[')
		}
		for k, o := range strange[i:end] {
			if k > 0 {
				dst = append(dst, ',')
			}
			dst = appendWire(dst, o.wire, o.value)
		}
		if end > i+1 {
			dst = append(dst, ']')
		}
		i = end
	}
	return dst
}

// appendOnly appends the one value of a wrapper or a Value; the last one on the wire stands.
func (m *protoMessage) appendOnly(dst []byte, all []occurrence, depth int) ([]byte, bool) {
	switch {
	case len(all) == 0 && m.shape == protoWrapper:
		return m.fields[0].appendZeroJSON(dst), true
	case len(all) == 0:
		return append(dst, "null"...), true
	}
	from := len(dst)
	dst, ok := appendLast(dst, all, depth)
	if ok && m.shape == protoValue && all[len(all)-1].field.enum != nil {
		dst = append(dst[:from], "null"...)
	}
	return dst, ok
}

// appendLast appends the last of some values; those before it must be well-formed, too.
func appendLast(dst []byte, all []occurrence, depth int) ([]byte, bool) {
	from := len(dst)
	for _, o := range all {
		var ok bool
		if dst, ok = o.field.appendOne(dst[:from], o.value, depth); !ok {
			return dst, false
		}
	}
	return dst, true
}

func (f *protoField) appendZeroJSON(dst []byte) []byte {
	switch {
	case f.kind == protoreflect.BoolKind:
		return append(dst, "false"...)
	case f.kind == protoreflect.StringKind || f.kind == protoreflect.BytesKind:
		return append(dst, `""`...)
	case f.enum != nil:
		return f.appendEnum(dst, 0)
	case f.kind == protoreflect.DoubleKind || f.kind == protoreflect.FloatKind:
		return append(dst, "0.0"...)
	}
	return append(dst, '0')
}

// appendField appends what the message b has in field f: a list and a map even if they are empty, else the value or zero.
func (m *protoMessage) appendField(dst []byte, f *protoField, b []byte) ([]byte, bool) {
	all, _, ok := m.occurrences(b, f)
	if !ok {
		return dst, false
	}
	if len(all) == 0 && !f.repeated && !f.isMap {
		return f.appendZeroJSON(dst), true
	}
	return f.appendAll(dst, all, HighestMaxDepth)
}

// appendAll appends the occurrences of f: a list, an object for a map, or the value.
func (f *protoField) appendAll(dst []byte, all []occurrence, depth int) ([]byte, bool) {
	var ok bool
	switch {
	case f.isMap:
		return f.appendMap(dst, all, depth)
	case f.repeated:
		dst = append(dst, '[')
		from := len(dst)
		for _, o := range all {
			if o.wire != protoWires[f.kind] {
				dst, ok = f.appendPacked(dst, o.value, from)
			} else {
				if len(dst) > from {
					dst = append(dst, ',')
				}
				dst, ok = f.appendOne(dst, o.value, depth)
			}
			if !ok {
				return dst, false
			}
		}
		return append(dst, ']'), true
	case f.message != nil && len(all) > 1: // parts of one message: together they are it
		var whole []byte
		for _, o := range all {
			whole = append(whole, f.content(o.value)...)
		}
		return f.message.appendJSON(dst, whole, depth-1)
	case len(all) == 0:
		return append(dst, "null"...), true
	}
	return appendLast(dst, all, depth)
}

func (f *protoField) appendPacked(dst, value []byte, from int) ([]byte, bool) {
	b, n := protowire.ConsumeBytes(value)
	if n < 0 {
		return dst, false
	}
	for len(b) > 0 {
		n := protowire.ConsumeFieldValue(f.num, protoWires[f.kind], b)
		if n < 0 {
			return dst, false
		}
		if len(dst) > from {
			dst = append(dst, ',')
		}
		var ok bool
		if dst, ok = f.appendOne(dst, b[:n], 0); !ok {
			return dst, false
		}
		b = b[n:]
	}
	return dst, true
}

func (f *protoField) appendMap(dst []byte, all []occurrence, depth int) ([]byte, bool) {
	dst = append(dst, '{')
	key, value := f.message.fields[0], f.message.fields[1]
	for i, o := range all {
		entry, _, ok := f.message.occurrences(f.content(o.value), nil)
		if !ok {
			return dst, false
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		keys, values := split(entry, key)
		text := key.appendZeroJSON(nil)
		if len(keys) > 0 {
			if text, ok = appendLast(nil, keys, depth); !ok {
				return dst, false
			}
		}
		if text[0] != '"' {
			text = appendQuoted(nil, text)
		}
		dst = append(append(dst, text...), ':')
		switch {
		case len(values) > 0:
			dst, ok = value.appendAll(dst, values, depth)
		case value.message != nil:
			dst, ok = value.message.appendJSON(dst, nil, depth-1)
		default:
			dst = value.appendZeroJSON(dst)
		}
		if !ok {
			return dst, false
		}
	}
	return append(dst, '}'), true
}

// split parts the occurrences of key from the others.
func split(all []occurrence, key *protoField) (keys, others []occurrence) {
	n := 0
	for n < len(all) && all[n].field == key {
		n++
	}
	return all[:n], all[n:]
}

// content is the inside of a length-prefixed value or a group, which is well-formed.
func (f *protoField) content(value []byte) []byte {
	if f.group {
		b, _ := protowire.ConsumeGroup(f.num, value)
		return b
	}
	b, _ := protowire.ConsumeBytes(value)
	return b
}

// appendValue appends one value of f as it stands on the wire behind the tag.
func (f *protoField) appendValue(dst, value []byte) ([]byte, bool) {
	return f.appendOne(dst, value, HighestMaxDepth)
}

func (f *protoField) appendOne(dst, value []byte, depth int) ([]byte, bool) {
	switch protoWires[f.kind] {
	case protowire.VarintType:
		x, next := protoVarint(value, 0)
		if next < 0 {
			return dst, false
		}
		return f.appendVarintJSON(dst, x), true
	case protowire.Fixed32Type:
		if len(value) < 4 {
			return dst, false
		}
		return f.appendFixed32JSON(dst, binary.LittleEndian.Uint32(value)), true
	case protowire.Fixed64Type:
		if len(value) < 8 {
			return dst, false
		}
		return f.appendFixed64JSON(dst, binary.LittleEndian.Uint64(value)), true
	default:
	}
	b := f.content(value)
	switch f.kind {
	case protoreflect.StringKind:
		if !validText(b) {
			return dst, false
		}
		return appendQuoted(dst, b), true
	case protoreflect.BytesKind:
		return append(base64.StdEncoding.AppendEncode(append(dst, '"'), b), '"'), true
	default:
		return f.message.appendJSON(dst, b, depth-1)
	}
}

func (f *protoField) appendVarintJSON(dst []byte, x uint64) []byte {
	switch f.kind {
	case protoreflect.BoolKind:
		return strconv.AppendBool(dst, x != 0)
	case protoreflect.EnumKind:
		return f.appendEnum(dst, int32(x))
	case protoreflect.Int32Kind:
		return strconv.AppendInt(dst, int64(int32(x)), 10)
	case protoreflect.Uint32Kind:
		return strconv.AppendUint(dst, uint64(uint32(x)), 10)
	case protoreflect.Sint32Kind:
		return strconv.AppendInt(dst, int64(int32(protowire.DecodeZigZag(x&math.MaxUint32))), 10)
	case protoreflect.Sint64Kind:
		return strconv.AppendInt(dst, protowire.DecodeZigZag(x), 10)
	case protoreflect.Uint64Kind:
		return strconv.AppendUint(dst, x, 10)
	default:
		return strconv.AppendInt(dst, int64(x), 10)
	}
}

// appendEnum appends the name of a value, or its number when it has none.
func (f *protoField) appendEnum(dst []byte, n int32) []byte {
	if name := f.enum.name(n); name != "" {
		return appendQuoted(dst, []byte(name))
	}
	return strconv.AppendInt(dst, int64(n), 10)
}

func (f *protoField) appendFixed32JSON(dst []byte, x uint32) []byte {
	switch f.kind {
	case protoreflect.FloatKind:
		return appendFloat(dst, float64(math.Float32frombits(x)), 32)
	case protoreflect.Sfixed32Kind:
		return strconv.AppendInt(dst, int64(int32(x)), 10)
	default:
		return strconv.AppendUint(dst, uint64(x), 10)
	}
}

func (f *protoField) appendFixed64JSON(dst []byte, x uint64) []byte {
	switch f.kind {
	case protoreflect.DoubleKind:
		return appendFloat(dst, math.Float64frombits(x), 64)
	case protoreflect.Sfixed64Kind:
		return strconv.AppendInt(dst, int64(x), 10)
	default:
		return strconv.AppendUint(dst, x, 10)
	}
}

// appendSecondsNanos appends a Timestamp as RFC 3339 or a Duration as seconds; one out of range as an object.
func appendSecondsNanos(dst []byte, shape protoShape, b []byte) ([]byte, bool) {
	seconds, nanos, ok := parseSecondsNanos(b)
	if !ok {
		return dst, false
	}
	inRange := max(seconds, -seconds) <= maxDuration && nanos > -1e9 && nanos < 1e9
	switch {
	case shape == protoTimestamp && seconds >= minSeconds && seconds <= maxSeconds && nanos >= 0 && nanos < 1e9:
		dst = append(dst, '"')
		dst = time.Unix(seconds, nanos).UTC().AppendFormat(dst, time.RFC3339Nano)
		return append(dst, '"'), true
	case shape == protoDuration && inRange && (seconds == 0 || nanos == 0 || seconds > 0 == (nanos > 0)):
		if seconds < 0 || nanos < 0 {
			dst = append(dst, '-')
		}
		dst = strconv.AppendInt(dst, max(seconds, -seconds), 10)
		if n := max(nanos, -nanos); n > 0 {
			digits := strconv.FormatInt(1e9+n, 10)[1:]
			dst = append(append(dst, '.'), strings.TrimRight(digits, "0")...)
		}
		return dst, true
	}
	dst = strconv.AppendInt(append(dst, `{"seconds":`...), seconds, 10)
	dst = strconv.AppendInt(append(dst, `,"nanos":`...), nanos, 10)
	return append(dst, '}'), true
}

// appendAny appends a google.protobuf.Any: the fields of its message beside @type, or its bytes when the descriptor set does
// not have the message.
func (m *protoMessage) appendAny(dst, b []byte, depth int) ([]byte, bool) {
	all, _, ok := m.occurrences(b, nil)
	if !ok {
		return dst, false
	}
	var url, value []byte
	for _, o := range all {
		switch int(o.field.num) {
		case 1:
			url = o.field.content(o.value)
		case 2:
			value = o.field.content(o.value)
		}
	}
	if !validText(url) {
		return dst, false
	}
	dst = append(appendQuoted(append(dst, `{"@type":`...), url), ',')
	inner := m.within.all[protoreflect.FullName(url[bytes.LastIndexByte(url, '/')+1:])]
	switch {
	case inner == nil:
		dst = append(base64.StdEncoding.AppendEncode(append(dst, `"value":"`...), value), '"')
	case inner.shape == protoPlain:
		fields, strange, fine := inner.occurrences(value, nil)
		if !fine || depth <= 0 {
			return dst, false
		}
		if len(fields)+len(strange) == 0 {
			dst = dst[:len(dst)-1]
		}
		if dst, ok = appendFields(dst, fields, depth-1); ok {
			dst = appendStrange(dst, strange, len(fields) == 0)
		}
	default:
		dst, ok = inner.appendJSON(append(dst, `"value":`...), value, depth-1)
	}
	return append(dst, '}'), ok
}
