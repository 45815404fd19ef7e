package decode

import (
	"encoding/base64"
	"encoding/binary"
	"slices"
	"strconv"

	"google.golang.org/protobuf/encoding/protowire"
)

func (d *Decoder) protoMisfit(b []byte, i, end int, s *protoStep, depth int) int {
	from := len(d.json)
	var ok bool
	if d.json, ok = s.field.appendValue(d.json, b[i:end]); !ok {
		return d.protoBad(s, depth, i, "a malformed value")
	}
	d.protoAt(s, depth)
	return d.keep(from, i, end, s.node)
}

func (d *Decoder) keep(from, at, end int, n *node) int {
	if d.opts.OnMismatch == Rescue && !n.required {
		d.note(from, len(d.json), noColumn)
		return end
	}
	d.mismatch = true
	return d.fail(at, excerpt(d.json[from:])+" does not fit the column's type "+printable([]byte(n.typ.String()), 48),
		"send values of that type, or use another field name")
}

func (d *Decoder) convert(b []byte, i int, s *protoStep, slot, depth int) int {
	end := d.skipField(b, i, s, depth)
	if end < 0 {
		return end
	}
	from := len(d.json)
	var ok bool
	if d.json, ok = s.field.appendValue(d.json, b[i:end]); !ok {
		return d.protoBad(s, depth, i, "a malformed value, or text that is not UTF-8")
	}
	d.protoAt(s, depth)
	if s.node.vec.Len > slot {
		s.node.vec.Truncate(slot)
	}
	end = d.convertText(from, i, end, s.node, slot, depth)
	if end >= 0 && s.field.implicit { // it is there, only not zero
		s.node.vec.PadNulls(slot + 1)
	}
	return end
}

func (d *Decoder) convertText(from, at, end int, n *node, slot, depth int) int {
	switch j := d.value(d.json, from, n, slot, depth); j {
	case misfit:
		d.depth = depth
		return d.keep(from, at, end, n)
	case failed:
		return failed
	}
	d.depth = depth
	return end
}

func (d *Decoder) skipField(b []byte, i int, s *protoStep, depth int) int {
	n := protowire.ConsumeFieldValue(s.field.num, s.wire, b[i:])
	if n < 0 {
		return d.protoBad(s, depth, i, "a value without an end")
	}
	return i + n
}

func (d *Decoder) convertAtEnd(b []byte, s *protoStep, slot, depth, at int) int {
	from := len(d.json)
	var ok bool
	if d.json, ok = s.plan.message.appendField(d.json, s.field, b); !ok {
		return d.protoBad(s, depth, at, "a malformed value, or text that is not UTF-8")
	}
	if s.node.vec.Len > slot && len(d.json)-from <= len("[]") { // the message came in parts, this one had none of it
		return at
	}
	d.protoAt(s, depth)
	return d.convertText(from, at, at, s.node, slot, depth)
}

func (d *Decoder) homeless(b []byte, i int, s *protoStep, depth int) int {
	end := d.skipField(b, i, s, depth)
	if end < 0 {
		return end
	}
	return d.homelessSpan(b, i, end, s, depth, false)
}

func (d *Decoder) homelessSpan(b []byte, i, end int, s *protoStep, depth int, isPacked bool) int {
	if d.opts.OnUnknown == DropUnknown {
		d.shared.dropped.Add(1)
		return end
	}
	if d.misfits.coarse || (s.field.repeated || s.field.isMap) && slices.Contains(d.seen, seenField{s, depth}) {
		return end
	}
	from := len(d.json)
	var ok bool
	switch {
	case s.field.repeated || s.field.isMap: // all elements at once
		d.seen = append(d.seen, seenField{s, depth})
		rest := protowire.AppendTag(nil, s.field.num, s.wire)
		if isPacked {
			rest = protowire.AppendBytes(protowire.AppendTag(nil, s.field.num, protowire.BytesType), b[i:end])
		} else {
			rest = append(rest, b[i:end]...)
		}
		d.json, ok = s.plan.message.appendField(d.json, s.field, append(rest, b[end:]...))
	default:
		d.json, ok = s.field.appendValue(d.json, b[i:end])
	}
	if !ok {
		return d.protoBad(s, depth, i, "a malformed value, or text that is not UTF-8")
	}
	d.protoAt(s, depth)
	return d.refuge(from, i, end)
}

type seenField struct {
	step  *protoStep
	depth int
}

func (d *Decoder) refuge(from, at, end int) int {
	switch {
	case !holdsData(d.json[from:]):
		d.json = d.json[:from]
	case d.opts.OnUnknown == DropUnknown:
		d.shared.dropped.Add(1)
	case d.opts.OnUnknown == RejectUnknown, d.opts.OnUnknown == SuspendUnknown:
		return d.refuseUnknown(at)
	case d.opts.OnUnknown == RescueUnknown:
		d.note(from, len(d.json), unwelcome)
	case d.opts.OnMismatch != Rescue:
		d.mismatch = true
		return d.fail(at, "no column can be made for the field",
			"rename it: its name is taken or cannot be a column's, there are too many columns, or the pipeline's schema does not know it")
	default:
		d.note(from, len(d.json), noColumn)
	}
	return end
}

func (d *Decoder) strangeField(b []byte, i int, tag uint64, depth int) int {
	num, wire := protowire.DecodeTag(tag)
	n := protowire.ConsumeFieldValue(num, wire, b[i:])
	if n < 0 {
		d.depth = depth - 1
		return d.fail(i, "a field without an end", notProtobuf)
	}
	d.depth = depth
	at := &d.path[depth]
	at.node, at.key, at.index = nil, nil, numbered(int(num))
	if d.misfits.coarse {
		return i + n
	}
	from := len(d.json)
	d.json = appendWire(d.json, wire, b[i:i+n])
	return d.refuge(from, i, i+n)
}

func appendWire(dst []byte, wire protowire.Type, b []byte) []byte {
	switch wire {
	case protowire.VarintType:
		x, _ := protoVarint(b, 0)
		return strconv.AppendUint(dst, x, 10)
	case protowire.Fixed32Type:
		return strconv.AppendUint(dst, uint64(binary.LittleEndian.Uint32(b)), 10)
	case protowire.Fixed64Type:
		return strconv.AppendUint(dst, binary.LittleEndian.Uint64(b), 10)
	case protowire.BytesType:
		b, _ = protowire.ConsumeBytes(b)
	default:
	}
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}
