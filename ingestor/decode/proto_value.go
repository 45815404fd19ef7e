package decode

import (
	"math"
	"math/bits"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

func appendVarint(v *column.Vector, op protoOp, x uint64) {
	switch op {
	case opInt64:
		v.AppendInt64(int64(x))
	case opInt32:
		v.AppendInt32(int32(x))
	case opUint32:
		v.AppendInt64(int64(uint32(x)))
	case opSint64:
		v.AppendInt64(protowire.DecodeZigZag(x))
	case opSint32:
		v.AppendInt32(int32(protowire.DecodeZigZag(x & math.MaxUint32)))
	case opBool:
		v.AppendBool(x != 0)
	default:
		v.AppendDecimal128(0, x)
	}
}

func appendFixed64(v *column.Vector, op protoOp, x uint64) {
	switch op {
	case opDouble:
		v.AppendFloat64(math.Float64frombits(x))
	case opSfixed64:
		v.AppendInt64(int64(x))
	default:
		v.AppendDecimal128(0, x)
	}
}

func appendFixed32(v *column.Vector, op protoOp, x uint32) {
	switch op {
	case opFloat:
		v.AppendFloat32(math.Float32frombits(x))
	case opSfixed32:
		v.AppendInt32(int32(x))
	default:
		v.AppendInt64(int64(x))
	}
}

func (d *Decoder) enumValue(b []byte, i, next int, x uint64, s *protoStep, depth int) int {
	if name := s.field.enum.name(int32(x)); name != "" {
		s.node.vec.AppendString(name)
		return next
	}
	end := d.protoMisfit(b, i, next, s, depth)
	if end >= 0 && s.field.implicit { // it is there, only not zero
		s.node.vec.AppendNull()
	}
	return end
}

func (d *Decoder) secondsNanos(b []byte, i, from, end int, s *protoStep, depth int) int {
	seconds, nanos, ok := parseSecondsNanos(b[from:end])
	switch {
	case !ok:
		return d.protoBad(s, depth, from, "a malformed time")
	case s.op == opTimestamp:
		if micros := seconds*microsPerSecond + nanos/1000; seconds >= minSeconds && seconds <= maxSeconds && nanos >= 0 && nanos < 1e9 {
			s.node.vec.AppendInt64(micros)
			return end
		}
	case max(seconds, -seconds) <= maxDuration && nanos > -1e9 && nanos < 1e9 && (seconds == 0 || nanos == 0 || seconds > 0 == (nanos > 0)):
		appendNanos(s.node.vec, seconds, nanos)
		return end
	}
	return d.protoMisfit(b, i, end, s, depth)
}

func appendNanos(v *column.Vector, seconds, nanos int64) {
	high, low := bits.Mul64(uint64(max(seconds, -seconds)), 1_000_000_000)
	var carry uint64
	low, carry = bits.Add64(low, uint64(max(nanos, -nanos)), 0)
	high += carry
	if seconds < 0 || nanos < 0 {
		var borrow uint64
		low, borrow = bits.Sub64(0, low, 0)
		high, _ = bits.Sub64(0, high, borrow)
	}
	v.AppendDecimal128(int64(high), low)
}

func parseSecondsNanos(b []byte) (seconds, nanos int64, ok bool) {
	for i := 0; i < len(b); {
		num, wire, next := protoTag(b, i)
		if next < 0 {
			return 0, 0, false
		}
		var x uint64
		switch {
		case num == 1 && wire == protowire.VarintType:
			if x, i = protoVarint(b, next); i < 0 {
				return 0, 0, false
			}
			seconds = int64(x)
		case num == 2 && wire == protowire.VarintType:
			if x, i = protoVarint(b, next); i < 0 {
				return 0, 0, false
			}
			nanos = int64(int32(x))
		default:
			n := protowire.ConsumeFieldValue(num, wire, b[next:])
			if n < 0 {
				return 0, 0, false
			}
			i = next + n
		}
	}
	return seconds, nanos, true
}

func (d *Decoder) wrapper(b []byte, from, end int, s *protoStep, slot, depth int) int {
	inner, v := s.elem, s.elem.node.vec
	for i := from; i < end; {
		num, wire, next := protoTag(b[:end], i)
		if next < 0 {
			return d.protoBad(s, depth, i, "a malformed wrapper")
		}
		if num == 1 && wire == inner.wire {
			if v.Len > slot {
				v.Truncate(slot)
			}
			if i = d.protoValue(b[:end], next, inner, slot, depth); i < 0 {
				return i
			}
			continue
		}
		n := protowire.ConsumeFieldValue(num, wire, b[next:end])
		if n < 0 {
			return d.protoBad(s, depth, i, "a malformed wrapper")
		}
		i = next + n
	}
	if v.Len == slot {
		inner.appendZero()
	}
	return end
}

func (s *protoStep) appendZero() {
	v := s.node.vec
	switch v.Type.Kind {
	case schema.Boolean:
		v.AppendBool(false)
	case schema.Integer:
		v.AppendInt32(0)
	case schema.Long:
		v.AppendInt64(0)
	case schema.Float:
		v.AppendFloat32(0)
	case schema.Double:
		v.AppendFloat64(0)
	case schema.Decimal:
		v.AppendDecimal128(0, 0)
	default:
		if s.op == opEnum {
			v.AppendString(s.field.enum.name(0))
			return
		}
		v.AppendBytes(nil)
	}
}

func (d *Decoder) messageText(b []byte, from, end int, s *protoStep, depth int) int {
	at := len(d.json)
	var ok bool
	if d.json, ok = s.field.message.appendJSON(d.json, b[from:end], d.opts.MaxDepth-depth); !ok {
		return d.protoBad(s, depth, from, "a malformed message, or one that nests too deep or holds text that is not UTF-8")
	}
	if text := d.json[at:]; string(text) != "null" {
		s.node.vec.AppendBytes(text)
	}
	d.json = d.json[:at]
	return end
}

// groupText keeps the group at b[i] as JSON text.
func (d *Decoder) groupText(b []byte, i int, s *protoStep, depth int) int {
	end := d.skipField(b, i, s, depth)
	if end < 0 || d.messageText(b, i, i+len(s.field.content(b[i:end])), s, depth) < 0 {
		return failed
	}
	return end
}
