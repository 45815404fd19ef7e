package decode

import (
	"encoding/binary"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// protoOp says how one value on the wire goes into its column.
type protoOp uint8

const (
	opInt64 protoOp = iota
	opInt32
	opUint32
	opSint64
	opSint32
	opUint64
	opFixed64
	opFixed32
	opSfixed64
	opSfixed32
	opFloat
	opDouble
	opBool
	opString
	opBytes
	opEnum
	opMessage
	opTimestamp
	opDuration
	opWrapper
	opText // a message as JSON text
	opList
	opMap
	opConvert // by way of JSON, as a field of a JSON record would be
	opNowhere // no column
)

// protoPlan is how a message type is read into the members of a struct: one step for each field.
type protoPlan struct {
	message *protoMessage
	dense   []*protoStep // by number
	steps   []protoStep
	bits    uint64       // of the fields that must be seen for the end of the message not to matter; never all without them
	atEnd   []*protoStep // steps with something to do once the message has ended
	obj     *object
	first   *protoStep // of the lowest number
	fixed   int        // bytes that a message takes in the columns even if it is empty
}

// denseNumbers bounds the table of steps by number.
const denseNumbers = 1024

func (p *protoPlan) step(num uint64) *protoStep {
	if num < uint64(len(p.dense)) {
		return p.dense[num]
	}
	if num >= denseNumbers && num <= uint64(protowire.MaxValidNumber) {
		if f := p.message.byNum[protoreflect.FieldNumber(num)]; f != nil {
			return &p.steps[f.at]
		}
	}
	return nil
}

// protoStep is how a field is read.
type protoStep struct {
	op      protoOp
	wire    protowire.Type // of a value; packed lists have another
	field   *protoField
	node    *node        // where values go; nil for opNowhere
	sub     *protoPlan   // of a message
	elem    *protoStep   // of a list, of the values of a map, of a wrapper
	key     *protoStep   // of a map
	element bool         // of a list or a map
	group   []*protoStep // the other members of the oneof
	bit     uint64       // in protoPlan.bits
	hot     bool         // hotValue reads it
	tag     protoTagBytes
	next    *protoStep // of the field with the next higher number, which serializers write next; nil for none
	single  bool       // protoPart reads it
	first   int        // of such a value, where its first part stands
	parts   []byte     // what all parts hold, once there is a second one
	plan    *protoPlan // that this is a step of
}

// bindProto plans how messages of type m are read into the members of o.
func bindProto(m *protoMessage, o *object) *protoPlan {
	p := &protoPlan{message: m, obj: o, steps: make([]protoStep, len(m.fields))}
	highest := 0
	for _, f := range m.fields {
		if f.num < denseNumbers {
			highest = max(highest, int(f.num))
		}
	}
	p.dense = make([]*protoStep, highest+1)
	for i, f := range m.fields {
		s := &p.steps[i]
		bindProtoStep(s, f, o.byName[f.name])
		s.plan = p
		if f.num < denseNumbers {
			p.dense[f.num] = s
		}
		s.hot = s.node != nil && f.oneof < 0 && (s.op == opString || s.op == opDouble || s.op == opInt64)
		if s.atEnd() {
			p.atEnd = append(p.atEnd, s)
			if n := len(p.atEnd); n < 64 && f.implicit {
				s.bit = 1 << n
				p.bits |= s.bit
			} else {
				p.bits |= 1 // which no field has
			}
		}
		if s.node != nil && f.implicit {
			p.fixed += 8
		}
		if s.sub != nil && s.op == opMessage {
			p.fixed++
		}
	}
	p.chain()
	for _, oneof := range m.oneofs {
		for _, f := range oneof {
			s := &p.steps[f.at]
			for _, other := range oneof {
				if t := &p.steps[other.at]; other != f && t.node != nil {
					s.group = append(s.group, t)
				}
			}
		}
	}
	return p
}

// protoTagBytes is a tag of one or two bytes as it is on the wire, the first byte lowest; mask is 0 for longer ones.
type protoTagBytes struct {
	value, mask uint16
	size        uint8
}

// is says whether b[i:] begins with the tag.
func (t *protoTagBytes) is(b []byte, i int) bool {
	return len(b)-i >= 2 && binary.LittleEndian.Uint16(b[i:])&t.mask == t.value
}

func tagBytes(num protoreflect.FieldNumber, wire protowire.Type) protoTagBytes {
	b := protowire.AppendTag(nil, num, wire)
	switch len(b) {
	case 1:
		return protoTagBytes{uint16(b[0]), 0xff, 1}
	case 2:
		return protoTagBytes{binary.LittleEndian.Uint16(b), 0xffff, 2}
	}
	return protoTagBytes{value: 1} // which no masked value is
}

// chain tells each step which one is likely to come next.
func (p *protoPlan) chain() {
	order := make([]*protoStep, len(p.steps))
	for i := range p.steps {
		s := &p.steps[i]
		s.tag = tagBytes(s.field.num, s.wire)
		order[i] = s
	}
	slices.SortFunc(order, func(a, b *protoStep) int { return int(a.field.num) - int(b.field.num) })
	for i, s := range order[:max(0, len(order)-1)] {
		s.next = order[i+1]
	}
	if len(order) > 0 {
		p.first = order[0]
	}
}

// atEnd says whether the end of the message matters to the step.
func (s *protoStep) atEnd() bool {
	return s.node != nil && (s.field.implicit || s.field.repeated || s.field.isMap)
}

// bindProtoStep plans how f goes to the column n, which may be nil.
func bindProtoStep(s *protoStep, f *protoField, n *node) {
	s.field, s.node, s.wire = f, n, protoWires[f.kind]
	switch {
	case n == nil:
		s.op = opNowhere
		return
	case f.isMap:
		if n.kind == schema.Map && s.bindMap(f, n) {
			s.op = opMap
			return
		}
		s.op = opConvert
		return
	case f.repeated:
		one := *f
		one.repeated = false
		if n.kind == schema.Array {
			s.elem = &protoStep{element: true}
			bindProtoStep(s.elem, &one, n.elem)
			if n.typ.ContainsNull || s.elem.never() {
				s.op = opList
				return
			}
		}
		s.op = opConvert
		return
	}
	s.op = protoSingleOp(f, n)
	s.single = s.parted()
	switch s.op {
	case opMessage:
		s.sub = bindProto(f.message, n.obj)
	case opWrapper:
		s.elem = &protoStep{element: s.element}
		bindProtoStep(s.elem, f.message.fields[0], n)
	default:
	}
}

// never says whether values of the step fit their column always.
func (s *protoStep) never() bool {
	switch s.op {
	case opConvert, opNowhere, opEnum, opTimestamp, opDuration, opText:
		return false
	case opWrapper, opList:
		return s.elem.never()
	default:
		return true
	}
}

func (s *protoStep) bindMap(f *protoField, n *node) bool {
	s.key, s.elem = &protoStep{element: true}, &protoStep{element: true}
	bindProtoStep(s.key, f.message.fields[0], n.key)
	bindProtoStep(s.elem, f.message.fields[1], n.elem)
	return s.key.op != opConvert && (n.typ.ContainsNull || s.elem.never())
}

// protoSingleOp is how one value of f goes into n.
func protoSingleOp(f *protoField, n *node) protoOp {
	if f.message == nil {
		if t := protoScalars[f.kind]; n.kind == t.Kind && n.typ.Precision == t.Precision && n.typ.Scale == t.Scale {
			return protoScalarOps[f.kind]
		}
		return opConvert
	}
	switch f.message.shape {
	case protoTimestamp:
		if n.kind == schema.Timestamp || n.kind == epochKind {
			return opTimestamp
		}
		return opConvert
	case protoDuration:
		if n.kind == schema.Decimal && n.typ.Precision == durationType.Precision && n.typ.Scale == durationType.Scale {
			return opDuration
		}
		return opConvert
	case protoWrapper:
		if protoSingleOp(f.message.fields[0], n) != opConvert {
			return opWrapper
		}
		return opConvert
	default:
	}
	switch {
	case n.kind == schema.String || n.kind == jsonKind:
		return opText
	case n.kind == schema.Struct && f.message.shape == protoPlain:
		return opMessage
	}
	return opConvert
}

var protoScalarOps = map[protoreflect.Kind]protoOp{
	protoreflect.BoolKind: opBool, protoreflect.EnumKind: opEnum, protoreflect.StringKind: opString, protoreflect.BytesKind: opBytes,
	protoreflect.Int32Kind: opInt32, protoreflect.Sint32Kind: opSint32, protoreflect.Sfixed32Kind: opSfixed32,
	protoreflect.Int64Kind: opInt64, protoreflect.Sint64Kind: opSint64, protoreflect.Sfixed64Kind: opSfixed64,
	protoreflect.Uint32Kind: opUint32, protoreflect.Fixed32Kind: opFixed32,
	protoreflect.Uint64Kind: opUint64, protoreflect.Fixed64Kind: opFixed64,
	protoreflect.FloatKind: opFloat, protoreflect.DoubleKind: opDouble,
}

var protoWires = map[protoreflect.Kind]protowire.Type{
	protoreflect.BoolKind: protowire.VarintType, protoreflect.EnumKind: protowire.VarintType,
	protoreflect.Int32Kind: protowire.VarintType, protoreflect.Sint32Kind: protowire.VarintType,
	protoreflect.Int64Kind: protowire.VarintType, protoreflect.Sint64Kind: protowire.VarintType,
	protoreflect.Uint32Kind: protowire.VarintType, protoreflect.Uint64Kind: protowire.VarintType,
	protoreflect.Fixed32Kind: protowire.Fixed32Type, protoreflect.Sfixed32Kind: protowire.Fixed32Type, protoreflect.FloatKind: protowire.Fixed32Type,
	protoreflect.Fixed64Kind: protowire.Fixed64Type, protoreflect.Sfixed64Kind: protowire.Fixed64Type, protoreflect.DoubleKind: protowire.Fixed64Type,
	protoreflect.StringKind: protowire.BytesType, protoreflect.BytesKind: protowire.BytesType, protoreflect.MessageKind: protowire.BytesType,
	protoreflect.GroupKind: protowire.StartGroupType,
}

// reopen takes the closing of a list or map back when its message goes on: messages on the wire may come in parts.
func reopen(v *column.Vector, slot int) {
	if v.Len != slot+1 || v.IsNull(slot) {
		return
	}
	v.Offsets = v.Offsets[:len(v.Offsets)-1]
	v.Len--
	if v.Valid != nil {
		v.Valid = v.Valid[:v.Len]
	}
}
