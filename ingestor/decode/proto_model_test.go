package decode_test

import (
	"context"
	"fmt"
	"maps"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/bufbuild/protocompile"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/ingestor/decode"
)

// allProto has a field of every kind.
const allProto = `
syntax = "proto3";
package t;
import "google/protobuf/timestamp.proto";
import "google/protobuf/duration.proto";
import "google/protobuf/wrappers.proto";
import "google/protobuf/struct.proto";
import "google/protobuf/any.proto";
import "google/protobuf/empty.proto";

enum Color { COLOR_UNSPECIFIED = 0; RED = 1; BLUE = 700; GONE = -3; }

message All {
  int32 i32 = 1; int64 i64 = 2; uint32 u32 = 3; uint64 u64 = 4; sint32 s32 = 5; sint64 s64 = 6;
  fixed32 f32 = 7; fixed64 f64 = 8; sfixed32 sf32 = 9; sfixed64 sf64 = 10; float fl = 11; double db = 12;
  bool yes = 13; string str = 14; bytes bin = 15; Color color = 16;
  optional int32 maybe = 17; optional string perhaps = 18;
  repeated int64 longs = 19; repeated string words = 20; repeated Color colors = 21; repeated Sub subs = 22;
  repeated double loose = 23 [packed = false];
  map<string, int64> counts = 24; map<int32, Sub> by_id = 25; map<bool, Color> flags = 26;
  Sub sub = 27;
  oneof choice { int64 number = 28; string text = 29; Sub deep = 30; }
  google.protobuf.Timestamp at = 31; google.protobuf.Duration took = 32;
  google.protobuf.Int64Value wi = 33; google.protobuf.StringValue ws = 34; google.protobuf.UInt64Value wu = 35; google.protobuf.BoolValue wb = 36;
  google.protobuf.Struct doc = 37; google.protobuf.Value any_value = 38; google.protobuf.ListValue any_list = 39;
  google.protobuf.Any any = 40; google.protobuf.Empty nothing = 41;
  Tree tree = 42;
  repeated google.protobuf.Timestamp times = 43;
  repeated bool bits = 44; repeated fixed32 fixed = 45; repeated sint32 zigzags = 46;
  string far = 5000;
}
message Sub { string name = 1; int64 n = 2; repeated int32 list = 3; optional double score = 4; Inner inner = 5; }
message Inner { map<string, string> tags = 1; bool ok = 2; }
message Tree { int32 value = 1; repeated Tree children = 2; }
`

// compile returns the descriptor set of a .proto file and its first message.
func compile(t testing.TB, source string) ([]byte, protoreflect.FileDescriptor) {
	t.Helper()
	c := protocompile.Compiler{Resolver: protocompile.WithStandardImports(&protocompile.SourceResolver{
		Accessor: protocompile.SourceAccessorFromMap(map[string]string{"t.proto": source}),
	})}
	files, err := c.Compile(context.Background(), "t.proto")
	if err != nil {
		t.Fatal(err)
	}
	set := &descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{protodesc.ToFileDescriptorProto(files[0])}}
	b, err := proto.Marshal(set)
	if err != nil {
		t.Fatal(err)
	}
	return b, files[0]
}

func protobufOf(t testing.TB, source, message string) (*decode.Protobuf, protoreflect.MessageDescriptor) {
	t.Helper()
	set, file := compile(t, source)
	p, err := decode.NewProtobuf(set, message)
	if err != nil {
		t.Fatal(err)
	}
	return p, file.Messages().ByName(protoreflect.FullName(message).Name())
}

// protoRow is what a message should be as a row, by another way: dynamicpb.
func protoRow(m protoreflect.Message, above ...protoreflect.FullName) map[string]any {
	row := map[string]any{}
	fields := m.Descriptor().Fields()
	above = append(slices.Clone(above), m.Descriptor().FullName())
	for i := range fields.Len() {
		fd := fields.Get(i)
		if isEmpty(fd, above) {
			continue
		}
		name := string(fd.Name())
		switch {
		case fd.IsList():
			list := []any{}
			for j := range m.Get(fd).List().Len() {
				list = append(list, protoScalar(fd, m.Get(fd).List().Get(j), above))
			}
			row[name] = list
		case fd.IsMap():
			var entries []column.Entry
			m.Get(fd).Map().Range(func(k protoreflect.MapKey, v protoreflect.Value) bool {
				entries = append(entries, column.Entry{Key: protoScalar(fd.MapKey(), k.Value(), above), Value: protoScalar(fd.MapValue(), v, above)})
				return true
			})
			row[name] = sorted(entries)
		case fd.HasPresence() && !m.Has(fd):
			row[name] = nil
		default:
			row[name] = protoScalar(fd, m.Get(fd), above)
		}
	}
	return row
}

func isEmpty(fd protoreflect.FieldDescriptor, _ []protoreflect.FullName) bool {
	return fd.Message() != nil && fd.Message().Fields().Len() == 0
}

func sorted(entries []column.Entry) []column.Entry {
	slices.SortFunc(entries, func(a, b column.Entry) int { return strings.Compare(fmt.Sprint(a.Key), fmt.Sprint(b.Key)) })
	if entries == nil {
		return []column.Entry{}
	}
	return entries
}

func protoScalar(fd protoreflect.FieldDescriptor, v protoreflect.Value, above []protoreflect.FullName) any {
	switch fd.Kind() {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return int32(v.Int())
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return v.Int()
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return int64(v.Uint())
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return new(big.Int).SetUint64(v.Uint()).String()
	case protoreflect.FloatKind:
		return float32(v.Float())
	case protoreflect.DoubleKind:
		return v.Float()
	case protoreflect.BoolKind:
		return v.Bool()
	case protoreflect.StringKind:
		return v.String()
	case protoreflect.BytesKind:
		return append([]byte{}, v.Bytes()...)
	case protoreflect.EnumKind:
		if d := fd.Enum().Values().ByNumber(v.Enum()); d != nil {
			return string(d.Name())
		}
		return nil
	default:
	}
	return protoMessage(v.Message(), above)
}

func protoMessage(m protoreflect.Message, above []protoreflect.FullName) any {
	fields := m.Descriptor().Fields()
	switch m.Descriptor().FullName() {
	case "google.protobuf.Timestamp":
		return m.Get(fields.ByName("seconds")).Int()*1_000_000 + m.Get(fields.ByName("nanos")).Int()/1000
	case "google.protobuf.Duration":
		x := new(big.Int).Mul(big.NewInt(m.Get(fields.ByName("seconds")).Int()), big.NewInt(1e9))
		return column.FormatDecimal(x.Add(x, big.NewInt(m.Get(fields.ByName("nanos")).Int())), 9)
	case "google.protobuf.Int64Value", "google.protobuf.StringValue", "google.protobuf.UInt64Value", "google.protobuf.BoolValue":
		return protoScalar(fields.Get(0), m.Get(fields.Get(0)), above)
	case "google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue", "google.protobuf.Any":
		return textMarker // compared elsewhere
	}
	if slices.Contains(above, m.Descriptor().FullName()) {
		return textMarker
	}
	return protoRow(m, above...)
}

const textMarker = "<JSON text>"

// marked replaces what is compared elsewhere, and sorts maps.
func marked(want, got any) any {
	switch w := want.(type) {
	case string:
		if _, ok := got.(string); (ok || got == nil) && w == textMarker { // a null is no text
			return textMarker
		}
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok {
			return got
		}
		g = maps.Clone(g)
		for k := range g {
			g[k] = marked(w[k], g[k])
		}
		return g
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return got
		}
		g = slices.Clone(g)
		for i := range g {
			g[i] = marked(w[i], g[i])
		}
		return g
	case []column.Entry:
		g, ok := got.([]column.Entry)
		if !ok || len(g) != len(w) {
			return got
		}
		g = sorted(slices.Clone(g))
		for i := range g {
			g[i].Value = marked(w[i].Value, g[i].Value)
		}
		return g
	}
	return got
}

// randomMessage fills a message; with rich every field has a value.
func randomMessage(r *rand.Rand, md protoreflect.MessageDescriptor, depth int, rich bool) *dynamicpb.Message {
	m := dynamicpb.NewMessage(md)
	switch md.FullName() {
	case "google.protobuf.Timestamp":
		m.Set(md.Fields().Get(0), protoreflect.ValueOfInt64(r.Int64N(4e9)-1e9))
		m.Set(md.Fields().Get(1), protoreflect.ValueOfInt32(r.Int32N(1e9)))
		return m
	case "google.protobuf.Duration":
		sign := int64(r.IntN(2)*2 - 1)
		m.Set(md.Fields().Get(0), protoreflect.ValueOfInt64(sign*r.Int64N(315_576_000_000)))
		m.Set(md.Fields().Get(1), protoreflect.ValueOfInt32(int32(sign)*r.Int32N(1e9)))
		return m
	case "google.protobuf.Any":
		m.Set(md.Fields().Get(0), protoreflect.ValueOfString("type.googleapis.com/t.Inner"))
		m.Set(md.Fields().Get(1), protoreflect.ValueOfBytes([]byte{0x10, 1}))
		return m
	}
	for i := range md.Fields().Len() {
		fd := md.Fields().Get(i)
		if depth <= 0 && fd.Message() != nil || !rich && r.IntN(3) == 0 {
			continue
		}
		switch {
		case fd.IsList():
			list := m.Mutable(fd).List()
			for range r.IntN(4) + 1 {
				list.Append(randomValue(r, fd, depth, rich))
			}
		case fd.IsMap():
			for range r.IntN(4) + 1 {
				m.Mutable(fd).Map().Set(randomValue(r, fd.MapKey(), depth, rich).MapKey(), randomValue(r, fd.MapValue(), depth, rich))
			}
		default:
			m.Set(fd, randomValue(r, fd, depth, rich))
		}
	}
	return m
}

func randomValue(r *rand.Rand, fd protoreflect.FieldDescriptor, depth int, rich bool) protoreflect.Value {
	bits := r.Uint64() >> r.IntN(64)
	switch fd.Kind() {
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(bits))
	case protoreflect.Int64Kind, protoreflect.Sint64Kind, protoreflect.Sfixed64Kind:
		return protoreflect.ValueOfInt64(int64(bits))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(bits))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(bits)
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(r.NormFloat64()))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(r.NormFloat64() * math.Pow(10, float64(r.IntN(20)-10)))
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(bits&1 == 0)
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(word(r, r.IntN(12)) + []string{"", "é", "日本", "\"\n"}[r.IntN(4)])
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte(word(r, r.IntN(12)) + "\xff"))
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(fd.Enum().Values().Get(r.IntN(fd.Enum().Values().Len())).Number())
	default:
		return protoreflect.ValueOfMessage(randomMessage(r, fd.Message(), depth-1, rich))
	}
}

func marshal(t testing.TB, m proto.Message) []byte {
	t.Helper()
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(m) // what a fuzzer found stays found
	if err != nil {
		t.Fatal(err)
	}
	return b
}
