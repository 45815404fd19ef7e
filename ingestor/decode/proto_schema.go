package decode

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	_ "google.golang.org/protobuf/types/known/anypb" // the files that sets are often built without
	_ "google.golang.org/protobuf/types/known/durationpb"
	_ "google.golang.org/protobuf/types/known/emptypb"
	_ "google.golang.org/protobuf/types/known/fieldmaskpb"
	_ "google.golang.org/protobuf/types/known/structpb"
	_ "google.golang.org/protobuf/types/known/timestamppb"
	_ "google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weir-dev/weir/delta/schema"
)

// Protobuf is the type of Protobuf payloads: a message of a descriptor set. It is immutable.
//
// A field becomes a column with the field's name as the .proto file has it: int32, sint32 and sfixed32 an integer, the
// 64-bit ones and uint32 a long, uint64 and fixed64 a decimal(20,0), float, double, bool, string and bytes what they say,
// an enum the string of its name, a message a struct, repeated an array, map a map; Timestamp a timestamp, Duration a
// decimal(21,9) of seconds, a wrapper its value, Struct, Value, ListValue and Any JSON text in a string, and so a message
// inside of itself. A message without fields makes no column. A field without presence that is not on the wire has its
// zero value, one with presence is null.
type Protobuf struct {
	root    *protoMessage
	columns *schema.Type
	all     map[protoreflect.FullName]*protoMessage
	nodes   int // fields seen while columns was made: messages may multiply
}

// protoMessage is a message type.
type protoMessage struct {
	name   protoreflect.FullName
	fields []*protoField // as declared
	byNum  map[protoreflect.FieldNumber]*protoField
	shape  protoShape
	oneofs [][]*protoField
	within *Protobuf
}

// protoField is a field of a message.
type protoField struct {
	at       int // in the message
	num      protoreflect.FieldNumber
	name     string
	key      []byte // name
	kind     protoreflect.Kind
	repeated bool // and no map
	isMap    bool // message is the entry
	implicit bool // no presence: what is not on the wire is zero
	group    bool
	message  *protoMessage
	enum     *protoEnum
	oneof    int // in the message, -1 for none
}

// protoEnum has the names of an enum's values.
type protoEnum struct {
	names map[int32]string
	low   []string // names of the numbers from 0 on, empty for none
}

func (e *protoEnum) name(n int32) string {
	if uint32(n) < uint32(len(e.low)) {
		return e.low[n]
	}
	return e.names[n]
}

// protoShape marks messages that mean more than their fields.
type protoShape uint8

const (
	protoPlain protoShape = iota
	protoTimestamp
	protoDuration
	protoWrapper
	protoValue
	protoStruct
	protoList
	protoAny
)

var protoShapes = map[protoreflect.FullName]protoShape{
	"google.protobuf.Timestamp": protoTimestamp, "google.protobuf.Duration": protoDuration, "google.protobuf.Any": protoAny,
	"google.protobuf.Value": protoValue, "google.protobuf.Struct": protoStruct, "google.protobuf.ListValue": protoList,
	"google.protobuf.DoubleValue": protoWrapper, "google.protobuf.FloatValue": protoWrapper, "google.protobuf.Int64Value": protoWrapper,
	"google.protobuf.UInt64Value": protoWrapper, "google.protobuf.Int32Value": protoWrapper, "google.protobuf.UInt32Value": protoWrapper,
	"google.protobuf.BoolValue": protoWrapper, "google.protobuf.StringValue": protoWrapper, "google.protobuf.BytesValue": protoWrapper,
}

// Bounds of a descriptor set.
const (
	MaxDescriptorBytes = 4 << 20
	maxProtoFields     = 100_000 // of all messages together
	maxProtoColumns    = 20_000  // of the message, those of the messages in it included
)

// NewProtobuf reads a descriptor set (a serialized google.protobuf.FileDescriptorSet, as protoc --descriptor_set_out and
// buf build write it) and finds the message of that full name in it. The files of google/protobuf may be missing.
func NewProtobuf(set []byte, message string) (*Protobuf, error) {
	files, err := protoFiles(set)
	if err != nil {
		return nil, err
	}
	p := &Protobuf{all: map[protoreflect.FullName]*protoMessage{}}
	d, err := files.FindDescriptorByName(protoreflect.FullName(strings.TrimPrefix(message, ".")))
	if err != nil {
		return nil, fmt.Errorf("message %q is not in the descriptor set, which has %s", message, messagesOf(files))
	}
	md, ok := d.(protoreflect.MessageDescriptor)
	if !ok {
		return nil, fmt.Errorf("%s is no message: the descriptor set has %s", message, messagesOf(files))
	}
	left := maxProtoFields
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		p.addAll(f.Messages(), &left)
		return left >= 0
	})
	if left < 0 {
		return nil, fmt.Errorf("the descriptor set has more than %d fields: build it from the files of the message only", maxProtoFields)
	}
	p.root = p.all[md.FullName()]
	p.columns = p.typeOf(p.root, nil)
	switch {
	case p.nodes > maxProtoColumns:
		return nil, fmt.Errorf("message %s has more than %d fields once the messages in it are columns", message, maxProtoColumns)
	case p.columns == nil:
		return nil, fmt.Errorf("message %s has no field that can be a column", message)
	}
	return p, nil
}

// Columns is the struct of the columns that the message has.
func (p *Protobuf) Columns() *schema.Type { return p.columns }

func protoFiles(set []byte) (*protoregistry.Files, error) {
	if len(set) > MaxDescriptorBytes {
		return nil, fmt.Errorf("the descriptor set has %d bytes, at most %d are read", len(set), MaxDescriptorBytes)
	}
	var fds descriptorpb.FileDescriptorSet
	if err := proto.Unmarshal(set, &fds); err != nil {
		return nil, errors.New("this is no descriptor set: make one with protoc --include_imports --descriptor_set_out=FILE, or buf build -o FILE")
	}
	if len(fds.GetFile()) == 0 {
		return nil, errors.New("the descriptor set is empty: make one with protoc --include_imports --descriptor_set_out=FILE")
	}
	there := map[string]bool{}
	for _, f := range fds.GetFile() {
		there[f.GetName()] = true
	}
	for _, f := range fds.GetFile() {
		for _, dep := range f.GetDependency() {
			if there[dep] {
				continue
			}
			known, err := protoregistry.GlobalFiles.FindFileByPath(dep)
			if err != nil || !strings.HasPrefix(dep, "google/protobuf/") {
				return nil, fmt.Errorf("%s imports %s, which the descriptor set lacks: make it with protoc --include_imports", f.GetName(), dep)
			}
			there[dep] = true
			fds.File = append(fds.File, protodesc.ToFileDescriptorProto(known))
		}
	}
	files, err := protodesc.NewFiles(&fds)
	if err != nil {
		return nil, fmt.Errorf("descriptor set: %s", strings.ReplaceAll(err.Error(), "\u00a0", " ")) // the library varies its blanks
	}
	return files, nil
}

// messagesOf names some messages for a human.
func messagesOf(files *protoregistry.Files) string {
	const most = 8
	var names []string
	files.RangeFiles(func(f protoreflect.FileDescriptor) bool {
		if strings.HasPrefix(f.Path(), "google/protobuf/") {
			return true
		}
		for i := range f.Messages().Len() {
			names = append(names, string(f.Messages().Get(i).FullName()))
		}
		return true
	})
	if len(names) == 0 {
		return "no message of its own"
	}
	slices.Sort(names)
	if len(names) > most {
		return strings.Join(names[:most], ", ") + ", ..."
	}
	return strings.Join(names, ", ")
}

func (p *Protobuf) addAll(ms protoreflect.MessageDescriptors, left *int) {
	for i := range ms.Len() {
		if *left < 0 {
			return
		}
		p.add(ms.Get(i), left)
		p.addAll(ms.Get(i).Messages(), left)
	}
}

// add returns the message type for md, with all that it refers to.
func (p *Protobuf) add(md protoreflect.MessageDescriptor, left *int) *protoMessage {
	if m := p.all[md.FullName()]; m != nil {
		return m
	}
	m := &protoMessage{
		name: md.FullName(), shape: protoShapes[md.FullName()], within: p,
		byNum: make(map[protoreflect.FieldNumber]*protoField, md.Fields().Len()),
	}
	p.all[md.FullName()] = m
	oneofs := map[protoreflect.FullName]int{}
	for i := range md.Fields().Len() {
		if *left--; *left < 0 {
			return m
		}
		fd := md.Fields().Get(i)
		f := &protoField{
			at: i, num: fd.Number(), name: string(fd.Name()), key: []byte(fd.Name()), kind: fd.Kind(), repeated: fd.IsList(), isMap: fd.IsMap(),
			implicit: !fd.HasPresence() && fd.Cardinality() != protoreflect.Repeated, oneof: -1,
			group: fd.Kind() == protoreflect.GroupKind,
		}
		if fd.Message() != nil {
			f.message = p.add(fd.Message(), left)
		}
		if fd.Enum() != nil {
			f.enum = newProtoEnum(fd.Enum())
		}
		if o := fd.ContainingOneof(); o != nil && !o.IsSynthetic() {
			at, ok := oneofs[o.FullName()]
			if !ok {
				at = len(m.oneofs)
				oneofs[o.FullName()] = at
				m.oneofs = append(m.oneofs, nil)
			}
			f.oneof = at
			m.oneofs[at] = append(m.oneofs[at], f)
		}
		m.fields = append(m.fields, f)
		m.byNum[f.num] = f
	}
	return m
}

// maxLowEnum bounds the table of enum names by number.
const maxLowEnum = 256

func newProtoEnum(ed protoreflect.EnumDescriptor) *protoEnum {
	e := &protoEnum{names: make(map[int32]string, ed.Values().Len())}
	for i := range ed.Values().Len() {
		v := ed.Values().Get(i)
		n := int32(v.Number())
		if _, ok := e.names[n]; ok { // an alias: the first name stands
			continue
		}
		e.names[n] = string(v.Name())
		if 0 <= n && n < maxLowEnum {
			for len(e.low) <= int(n) {
				e.low = append(e.low, "")
			}
			e.low[n] = string(v.Name())
		}
	}
	return e
}

// typeOf is the struct for a message inside of the messages above, nil when it has no column.
func (p *Protobuf) typeOf(m *protoMessage, above []*protoMessage) *schema.Type {
	above = append(above, m)
	t := &schema.Type{Kind: schema.Struct}
	for _, f := range m.fields {
		if p.nodes++; p.nodes > maxProtoColumns {
			break
		}
		if ft := p.fieldType(f, above); ft != nil {
			t.Fields = append(t.Fields, schema.Field{Name: f.name, Type: ft, Nullable: true})
		}
	}
	if len(t.Fields) == 0 {
		return nil
	}
	return t
}

func (p *Protobuf) fieldType(f *protoField, above []*protoMessage) *schema.Type {
	if f.isMap {
		value := p.singleType(f.message.fields[1], above)
		if value == nil {
			return nil
		}
		return &schema.Type{Kind: schema.Map, Key: p.singleType(f.message.fields[0], above), Elem: value, ContainsNull: true}
	}
	t := p.singleType(f, above)
	if t == nil || !f.repeated {
		return t
	}
	return &schema.Type{Kind: schema.Array, Elem: t, ContainsNull: true}
}

// singleType is the type of one value of f.
func (p *Protobuf) singleType(f *protoField, above []*protoMessage) *schema.Type {
	if f.message == nil {
		return protoScalars[f.kind]
	}
	switch f.message.shape {
	case protoTimestamp:
		return timestampType
	case protoDuration:
		return durationType
	case protoWrapper:
		return protoScalars[f.message.fields[0].kind]
	case protoValue, protoStruct, protoList, protoAny:
		return stringType
	default:
	}
	if len(above) >= HighestMaxDepth/2 || slices.Contains(above, f.message) {
		return stringType
	}
	return p.typeOf(f.message, above)
}

var (
	byteType     = &schema.Type{Kind: schema.Byte}
	shortType    = &schema.Type{Kind: schema.Short}
	dateType     = &schema.Type{Kind: schema.Date}
	integerType  = &schema.Type{Kind: schema.Integer}
	floatType    = &schema.Type{Kind: schema.Float}
	binaryType   = &schema.Type{Kind: schema.Binary}
	uint64Type   = &schema.Type{Kind: schema.Decimal, Precision: 20}
	durationType = &schema.Type{Kind: schema.Decimal, Precision: 21, Scale: 9}
)

var protoScalars = map[protoreflect.Kind]*schema.Type{
	protoreflect.BoolKind: booleanType, protoreflect.EnumKind: stringType, protoreflect.StringKind: stringType, protoreflect.BytesKind: binaryType,
	protoreflect.Int32Kind: integerType, protoreflect.Sint32Kind: integerType, protoreflect.Sfixed32Kind: integerType,
	protoreflect.Int64Kind: longType, protoreflect.Sint64Kind: longType, protoreflect.Sfixed64Kind: longType,
	protoreflect.Uint32Kind: longType, protoreflect.Fixed32Kind: longType,
	protoreflect.Uint64Kind: uint64Type, protoreflect.Fixed64Kind: uint64Type,
	protoreflect.FloatKind: floatType, protoreflect.DoubleKind: doubleType,
}
