package decode

import (
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weir-dev/weir/delta/column"
)

func (d *Decoder) protoElement(b []byte, i int, s *protoStep, depth int) int {
	e, v := s.elem, s.elem.node.vec
	slot := v.Len
	if e.sub != nil && !d.expand(e.sub.obj.leaves, i, s, depth) {
		return failed
	}
	d.protoAt(s, depth)
	if depth+1 > d.opts.MaxDepth {
		return d.tooDeep(i)
	}
	d.listStep(s.node.vec, slot, depth)
	if e.op == opConvert {
		i = d.convert(b, i, e, slot, depth+1)
	} else {
		i = d.protoValue(b, i, e, slot, depth+1)
	}
	if i >= 0 && v.Len == slot {
		v.AppendNull()
	}
	d.depth = depth
	return i
}

func (d *Decoder) listStep(list *column.Vector, elem, depth int) {
	at := &d.path[depth+1]
	at.node, at.key, at.index = nil, nil, elem-int(list.Offsets[len(list.Offsets)-1])
}

func (d *Decoder) expand(leaves, at int, s *protoStep, depth int) bool {
	if d.expanded += leaves; d.expanded > expansion*d.opts.MaxEventBytes {
		d.protoAt(s, depth)
		d.fail(at, "the lists of the record would fill too many slots", "send fewer elements in one record")
		return false
	}
	return true
}

func (d *Decoder) packed(b []byte, i int, s *protoStep, depth int) int {
	from, end := d.span(b, i, s, depth)
	if end < 0 {
		return end
	}
	switch s.op {
	case opList:
		for i = from; i < end; {
			if i = d.protoElement(b[:end], i, s, depth); i < 0 {
				return i
			}
		}
		return end
	case opNowhere:
		return d.homelessSpan(b, from, end, s, depth, true)
	default:
		return end // a conversion, at the end of the message
	}
}

func (d *Decoder) protoEntry(b []byte, i int, s *protoStep, depth int) int {
	from, end := d.span(b, i, s, depth)
	if end < 0 {
		return end
	}
	if s.elem.sub != nil && !d.expand(s.elem.sub.obj.leaves, i, s, depth) {
		return failed
	}
	keys, values := s.key.node.vec, s.elem.node.vec
	slot := keys.Len
	values.PadNulls(slot)
	d.protoAt(s, depth)
	if depth+1 > d.opts.MaxDepth {
		return d.tooDeep(i)
	}
	d.listStep(s.node.vec, slot, depth)
	for i = from; i < end; {
		num, wire, next := protoTag(b[:end], i)
		if next < 0 {
			return d.protoBad(s, depth, i, "a malformed entry of a map")
		}
		switch {
		case num == 1 && wire == s.key.wire:
			keys.Truncate(slot)
			i = d.protoValue(b[:end], next, s.key, slot, depth+1)
			if i >= 0 && s.key.op == opString {
				d.path[depth+1].key = keys.Data[keys.Offsets[len(keys.Offsets)-2]:]
			}
		case num == 2 && wire == s.elem.wire:
			i = d.protoMapValue(b[:end], next, s, slot, depth)
		default:
			n := protowire.ConsumeFieldValue(num, wire, b[next:end])
			if i = next + n; n < 0 {
				return d.protoBad(s, depth, next, "a malformed entry of a map")
			}
		}
		if i < 0 {
			return i
		}
	}
	return d.endEntry(s, slot, end, depth)
}

func (d *Decoder) protoMapValue(b []byte, i int, s *protoStep, slot, depth int) int {
	v := s.elem.node.vec
	switch {
	case s.elem.single:
		return d.protoPart(b, i, s.elem, slot, depth+1, v.Len > slot)
	case s.elem.op == opMessage:
		return d.protoValue(b, i, s.elem, slot, depth+1)
	}
	v.Truncate(slot)
	if s.elem.op == opConvert {
		return d.convert(b, i, s.elem, slot, depth+1)
	}
	return d.protoValue(b, i, s.elem, slot, depth+1)
}

func (d *Decoder) endEntry(s *protoStep, slot, end, depth int) int {
	keys, values := s.key.node.vec, s.elem.node.vec
	if keys.Len == slot {
		s.key.appendZero()
	}
	if values.Len == slot {
		switch {
		case s.elem.op == opMessage:
			if d.message(nil, 0, s.elem.sub, values.AppendStruct(), depth+2, 0) < 0 {
				return failed
			}
		case s.elem.field.message == nil && s.elem.never():
			s.elem.appendZero()
		case s.elem.op == opEnum && s.elem.field.enum.name(0) != "":
			s.elem.appendZero()
		default:
			values.AppendNull()
		}
	}
	d.depth = depth
	return end
}

func (d *Decoder) endMap(b []byte, s *protoStep, depth, at int) int {
	v := s.node.vec
	if !repeats(s.key.node.vec, int(v.Offsets[len(v.Offsets)-1])) {
		v.AppendList()
		return at
	}
	v.Truncate(v.Len)
	from := len(d.json)
	var ok bool
	if d.json, ok = s.plan.message.appendField(d.json, s.field, b); !ok {
		return d.protoBad(s, depth, at, "a malformed map")
	}
	d.protoAt(s, depth)
	return d.keep(from, at, at, s.node)
}
