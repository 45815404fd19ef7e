package decode

import (
	"encoding/binary"
	"math"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weir-dev/weir/delta/column"
)

const notProtobuf = "the record is no message of the pipeline's type; check schema.format.protobuf, and whether records are length-delimited"

// protoVarint reads the varint at b[i] and returns the index behind it, negative if there is none.
func protoVarint(b []byte, i int) (uint64, int) {
	if i < len(b) && b[i] < 0x80 {
		return uint64(b[i]), i + 1
	}
	return protoLongVarint(b, i)
}

func protoLongVarint(b []byte, i int) (uint64, int) {
	if len(b)-i >= 2 && b[i+1] < 0x80 {
		return uint64(b[i]&0x7f) | uint64(b[i+1])<<7, i + 2
	}
	x, n := binary.Uvarint(b[min(i, len(b)):])
	if n <= 0 {
		return 0, failed
	}
	return x, i + n
}

// protoTag reads the tag at b[i] and returns the index behind it, negative if no field begins there.
func protoTag(b []byte, i int) (protowire.Number, protowire.Type, int) {
	tag, next := protoVarint(b, i)
	if next < 0 || tag>>3 == 0 || tag > math.MaxUint32 {
		return 0, 0, failed
	}
	return protowire.Number(tag >> 3), protowire.Type(tag & 7), next
}

// protoAt says where the decoder stands: at the field of s in a message at the given depth.
func (d *Decoder) protoAt(s *protoStep, depth int) {
	d.depth = depth
	if s.element { // its list or map has said where
		return
	}
	at := &d.path[depth]
	at.node, at.key, at.index = s.node, nil, -1
	if s.node == nil {
		at.key = s.field.key
	}
}

// protoBad refuses the record because of b[at] in the field of s.
func (d *Decoder) protoBad(s *protoStep, depth, at int, what string) int {
	d.protoAt(s, depth)
	return d.fail(at, what, notProtobuf)
}

// message reads the fields of a message from b[i] on into the members of p at a slot, up to the end of b, or to the end of
// the group of that number, and returns the index behind, or failed. depth is how deep the message is nested, 1 for the record.
func (d *Decoder) message(b []byte, i int, p *protoPlan, slot, depth int, group uint64) int {
	if depth > d.opts.MaxDepth {
		return d.tooDeep(i)
	}
	d.depth = depth
	begin, end := i, len(b)
	seen := uint64(0)
	expected := p.first
	for i < len(b) {
		if s := expected; s != nil && s.tag.is(b, i) {
			i += int(s.tag.size)
			seen |= s.bit
			expected = s.next
			if v := s.node; s.hot && v.vec.Len == slot {
				i = d.hotValue(b, i, s, v.vec, depth)
			} else {
				i = d.protoField(b, i, s, slot, depth)
			}
			if i < 0 {
				return i
			}
			continue
		}
		start := i
		tag, next := protoVarint(b, i)
		if next < 0 || tag>>3 == 0 || tag > math.MaxUint32 {
			return d.badTag(start, depth)
		}
		i = next
		s, wire := p.step(tag>>3), protowire.Type(tag&7)
		if s != nil {
			expected = s.next
		}
		switch {
		case wire == protowire.EndGroupType:
			if tag>>3 != group {
				return d.badTag(start, depth)
			}
			group, end = 0, start
		case s == nil:
			i = d.strangeField(b, i, tag, depth)
		case wire == s.wire:
			seen |= s.bit
			if v := s.node; s.hot && v.vec.Len == slot {
				i = d.hotValue(b, i, s, v.vec, depth)
			} else {
				i = d.protoField(b, i, s, slot, depth)
			}
		case wire == protowire.BytesType && s.field.repeated && s.wire != protowire.StartGroupType:
			i = d.packed(b, i, s, depth)
		default:
			i = d.strangeField(b, i, tag, depth)
		}
		if i < 0 {
			return i
		}
		if wire == protowire.EndGroupType {
			break
		}
	}
	if group != 0 {
		return d.badTag(i, depth)
	}
	if (seen != p.bits || len(p.obj.required) > 0) && !d.endMessage(b[begin:end], p, slot, depth, i) {
		return failed
	}
	d.depth = depth - 1
	return i
}

// hotValue is protoValue for the kinds of values that most messages are made of.
func (d *Decoder) hotValue(b []byte, i int, s *protoStep, v *column.Vector, depth int) int {
	switch s.op {
	case opString:
		n, from := protoVarint(b, i)
		if from < 0 || n > uint64(len(b)-from) {
			break
		}
		if !appendText(v, b, from, int(n)) {
			break
		}
		return from + int(n)
	case opDouble:
		if len(b)-i < 8 {
			break
		}
		v.AppendFloat64(math.Float64frombits(binary.LittleEndian.Uint64(b[i:])))
		return i + 8
	case opInt64:
		x, next := protoVarint(b, i)
		if next < 0 {
			break
		}
		v.AppendInt64(int64(x))
		return next
	default:
	}
	return d.protoValue(b, i, s, v.Len, depth) // which says what is wrong
}

func (d *Decoder) badTag(at, depth int) int {
	d.depth = depth - 1
	return d.fail(at, "no field of a message begins here", notProtobuf)
}

// protoField reads a field from the value on, behind its tag.
func (d *Decoder) protoField(b []byte, i int, s *protoStep, slot, depth int) int {
	for _, other := range s.group { // of a oneof the last one stands
		if other.node.vec.Len > slot {
			other.node.vec.Truncate(slot)
		}
	}
	switch s.op {
	case opList:
		return d.protoElement(b, i, s, depth)
	case opMap:
		return d.protoEntry(b, i, s, depth)
	case opNowhere:
		return d.homeless(b, i, s, depth)
	case opConvert:
		if s.field.repeated || s.field.isMap {
			return d.skipField(b, i, s, depth) // until the end of the message has come
		}
		if !s.single {
			return d.convert(b, i, s, slot, depth)
		}
	default:
	}
	v := s.node.vec
	if s.single {
		if v.Len < slot {
			v.PadNulls(slot)
		}
		return d.protoPart(b, i, s, slot, depth, v.Len > slot)
	}
	if v.Len != slot {
		if v.Len < slot {
			v.PadNulls(slot)
		} else if s.op != opMessage {
			v.Truncate(slot) // the last one stands
		}
	}
	return d.protoValue(b, i, s, slot, depth)
}

// protoValue reads one value into the slot, which is the next one of the column.
func (d *Decoder) protoValue(b []byte, i int, s *protoStep, slot, depth int) int {
	v := s.node.vec
	switch s.op {
	case opInt64, opInt32, opUint32, opSint64, opSint32, opBool, opEnum, opUint64:
		x, next := protoVarint(b, i)
		if next < 0 {
			return d.protoBad(s, depth, i, "a number without an end")
		}
		if s.op == opEnum {
			return d.enumValue(b, i, next, x, s, depth)
		}
		appendVarint(v, s.op, x)
		return next
	case opDouble, opFixed64, opSfixed64:
		if len(b)-i < 8 {
			return d.protoBad(s, depth, i, "a number without an end")
		}
		appendFixed64(v, s.op, binary.LittleEndian.Uint64(b[i:]))
		return i + 8
	case opFloat, opFixed32, opSfixed32:
		if len(b)-i < 4 {
			return d.protoBad(s, depth, i, "a number without an end")
		}
		appendFixed32(v, s.op, binary.LittleEndian.Uint32(b[i:]))
		return i + 4
	case opMessage:
		return d.submessage(b, i, s, slot, depth)
	default:
	}
	if s.field.group { // which only text is made of
		return d.groupText(b, i, s, depth)
	}
	from, end := d.span(b, i, s, depth)
	if end < 0 {
		return end
	}
	switch s.op {
	case opString:
		if !appendText(v, b, from, end-from) {
			return d.notUTF8(s, depth, from+invalidAt(b[from:end]))
		}
	case opBytes:
		v.AppendBytes(b[from:end])
	case opTimestamp, opDuration:
		return d.secondsNanos(b, i, from, end, s, depth)
	case opWrapper:
		return d.wrapper(b, from, end, s, slot, depth)
	default: // opText
		return d.messageText(b, from, end, s, depth)
	}
	return end
}

func (d *Decoder) notUTF8(s *protoStep, depth, at int) int {
	d.protoAt(s, depth)
	return d.fail(at, "text that is not valid UTF-8", "send text as UTF-8, other bytes in a field of type bytes")
}

// span returns where the length-prefixed value at b[i] lies.
func (d *Decoder) span(b []byte, i int, s *protoStep, depth int) (from, end int) {
	n, from := protoVarint(b, i)
	if from < 0 || n > uint64(len(b)-from) {
		return failed, d.protoBad(s, depth, i, "a length that goes beyond the end")
	}
	return from, from + int(n)
}

// protoMisfit goes on behind a value b[i:end] that does not fit its column.
// keep notes the value d.json[from:], of b[at], for the column of misfits, or refuses the record.
// submessage reads the message at b[i] into a slot. One that is there already goes on.
func (d *Decoder) submessage(b []byte, i int, s *protoStep, slot, depth int) int {
	v := s.node.vec
	var inner int
	if v.Len > slot {
		inner = v.LastStruct()
		for _, t := range s.sub.atEnd {
			if t.op == opList || t.op == opMap {
				reopen(t.node.vec, inner)
			}
		}
	} else {
		inner = v.AppendStruct()
	}
	d.protoAt(s, depth)
	if s.field.group {
		return d.message(b, i, s.sub, inner, depth+1, uint64(s.field.num))
	}
	from, end := d.span(b, i, s, depth)
	if end < 0 {
		return end
	}
	return d.message(b[:end], from, s.sub, inner, depth+1, 0)
}

// secondsNanos reads a Timestamp or a Duration in b[from:end], whose length stands at b[i].
// The bounds of Timestamp and Duration in seconds, from their .proto files.
const (
	minSeconds  = minMicros / microsPerSecond
	maxSeconds  = maxMicros / microsPerSecond
	maxDuration = 315_576_000_000
)

// appendNanos appends seconds·10⁹ + nanos to a wide decimal.
// parseSecondsNanos reads a message whose field 1 is an int64 and whose field 2 is an int32.
// wrapper reads the value in the wrapper b[from:end], zero if it is not there.
// appendZero appends what a field holds that is not on the wire and has no presence.
// messageText keeps the message b[from:end] as JSON text; a null of google.protobuf.Value as a null.
// convert reads a value by way of JSON: the column takes it as it takes a value of a JSON record.
// convertText gives the JSON text d.json[from:] of b[at:end] to a column. It returns end, or failed.
// skipField returns the index behind the value of s at b[i].
// protoElement reads an element of a list.
// listStep notes that the decoder stands at an element of a list, whose elements since its last slot are not closed yet.
// expand counts the slots that a message in a list takes.
// packed reads the elements of a packed list.
// protoEntry reads an entry of a map.
// endEntry completes an entry whose key or value was not on the wire.
// endMessage closes the lists and maps of the message b and stores the zero values of what is not on the wire.
func (d *Decoder) endMessage(b []byte, p *protoPlan, slot, depth, at int) bool {
	for _, s := range p.atEnd {
		v := s.node.vec
		if v.Len > slot && (s.op != opConvert || s.field.implicit) {
			continue
		}
		if s.op == opConvert {
			if d.convertAtEnd(b, s, slot, depth, at) < 0 {
				return false
			}
			continue
		}
		if v.Len < slot {
			v.PadNulls(slot)
		}
		switch s.op {
		case opList:
			v.AppendList()
		case opMap:
			if d.endMap(b, s, depth, at) < 0 {
				return false
			}
		case opEnum:
			if s.field.enum.name(0) != "" {
				s.appendZero()
			}
		default:
			s.appendZero()
		}
	}
	for _, n := range p.obj.required {
		if n.vec.Len <= slot {
			d.depth = depth
			d.path[depth].node = n
			d.fail(at, "missing, and the table's column is NOT NULL", "send a value")
			return false
		}
	}
	return true
}

// endMap closes a map. One with a key that occurs twice does not fit the column.
// convertAtEnd gives a list, a map or a zero value to a column of another kind, by way of JSON.
// homeless goes on behind a value for which there is no column, by the policy for unknown fields.
// seenField is a list or map without a column that is noted already, in a message at that depth.
// refuge notes the value d.json[from:] of b[at:end] that has no column, or refuses the record, by the policies.
// strangeField goes on behind a field that the message type does not have, or has with another type.
// appendWire appends a value of unknown type: a number, or bytes in base64.
