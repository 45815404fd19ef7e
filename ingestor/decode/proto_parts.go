package decode

import "google.golang.org/protobuf/encoding/protowire"

// A message that a column takes as one value - a time, a wrapper, JSON text - may come in parts, as any message may: its field
// is on the wire more than once, and all of them together are the message. No serializer writes that; concatenated messages,
// which Protobuf says are merged, have it. So the first part goes into the column as if it were all, at no cost but that of
// remembering where it stands, and a further one replaces it by both.

// parted says whether a value of the step may come in parts.
func (s *protoStep) parted() bool {
	if s.field.message == nil || s.field.repeated || s.field.isMap {
		return false
	}
	switch s.op {
	case opText, opTimestamp, opDuration, opWrapper, opConvert:
		return true
	default:
		return false
	}
}

// protoPart reads the value at b[i], of a step whose values may come in parts. again says that the slot has a value, which this
// is a further part of.
func (d *Decoder) protoPart(b []byte, i int, s *protoStep, slot, depth int, again bool) int {
	if !again {
		s.first, s.parts = i, s.parts[:0]
		return d.protoWhole(b, i, s, slot, depth)
	}
	end := d.skipField(b, i, s, depth)
	if end < 0 {
		return end
	}
	if len(s.parts) == 0 {
		s.parts = append(s.parts, s.field.content(b[s.first:])...)
	}
	s.parts = append(s.parts, s.field.content(b[i:end])...)
	s.node.vec.Truncate(slot)
	var whole []byte
	if s.field.group {
		whole = protowire.AppendTag(append(whole, s.parts...), s.field.num, protowire.EndGroupType)
	} else {
		whole = protowire.AppendBytes(whole, s.parts)
	}
	if d.protoWhole(whole, 0, s, slot, depth) < 0 {
		return failed
	}
	return end
}

func (d *Decoder) protoWhole(b []byte, i int, s *protoStep, slot, depth int) int {
	if s.op == opConvert {
		return d.convert(b, i, s, slot, depth)
	}
	return d.protoValue(b, i, s, slot, depth)
}
