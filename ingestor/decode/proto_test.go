package decode_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/dynamicpb"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// TestProtobuf decodes random messages, one by one and delimited, and compares with what dynamicpb makes of them.
func TestProtobuf(t *testing.T) {
	p, md := protobufOf(t, allProto, "t.All")
	r := rand.New(rand.NewPCG(1, 2))
	one := decode.NewDecoder(decode.NewSchema(nil, decode.Options{Protobuf: p}))
	many := decode.NewDecoder(decode.NewSchema(nil, decode.Options{Protobuf: p}))
	for range 3 {
		var want []map[string]any
		var delimited []byte
		for i := range 40 {
			m := randomMessage(r, md, 4, i == 0)
			b := marshal(t, m)
			if n, rejects := one.Append(event.Protobuf, b, decode.System{}, nil); n != 1 {
				t.Fatal(rejects)
			}
			delimited = protowire.AppendBytes(delimited, b)
			want = append(want, protoRow(m))
		}
		if n, rejects := many.Append(event.ProtobufMany, delimited, decode.System{}, nil); n != len(want) {
			t.Fatal(n, rejects)
		}
		for _, d := range []*decode.Decoder{one, many} {
			b := d.Take()
			checkBatch(t, b)
			for i, w := range want {
				if diff := cmp.Diff(any(w), marked(w, b.Row(i))); diff != "" {
					t.Fatalf("row %d (-dynamicpb +weir):\n%s", i, diff)
				}
			}
			d.Recycle(b)
		}
	}
}

// TestProtobufColumns shows which columns a message makes.
func TestProtobufColumns(t *testing.T) {
	p, _ := protobufOf(t, allProto, "t.All")
	got := map[string]string{}
	for _, f := range p.Columns().Fields {
		got[f.Name] = f.Type.DDL()
	}
	sub := "struct<name: string, n: long, list: array<integer>, score: double, inner: struct<tags: map<string, string>, ok: boolean>>"
	want := map[string]string{
		"i32": "integer", "i64": "long", "u32": "long", "u64": "decimal(20,0)", "s32": "integer", "s64": "long", "f32": "long",
		"f64": "decimal(20,0)", "sf32": "integer", "sf64": "long", "fl": "float", "db": "double", "yes": "boolean", "str": "string",
		"bin": "binary", "color": "string", "maybe": "integer", "perhaps": "string", "longs": "array<long>", "words": "array<string>",
		"colors": "array<string>", "subs": "array<" + sub + ">", "loose": "array<double>", "counts": "map<string, long>",
		"by_id": "map<integer, " + sub + ">", "flags": "map<boolean, string>", "sub": sub, "number": "long", "text": "string", "deep": sub,
		"at": "timestamp", "took": "decimal(21,9)", "wi": "long", "ws": "string", "wu": "decimal(20,0)", "wb": "boolean",
		"doc": "string", "any_value": "string", "any_list": "string", "any": "string",
		"tree": "struct<value: integer, children: array<string>>", "times": "array<timestamp>",
		"bits": "array<boolean>", "fixed": "array<long>", "zigzags": "array<integer>", "far": "string",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestProtobufRules has the cases that need a word: a message as text, the schema of the columns, and what comes out as JSON.
func TestProtobufRules(t *testing.T) {
	long, str, dbl := &schema.Type{Kind: schema.Long}, &schema.Type{Kind: schema.String}, &schema.Type{Kind: schema.Double}
	cases := []struct {
		name, source string
		columns      []schema.Field
		options      decode.Options
		wire         []byte
		want, reject string
	}{
		{
			name: "proto2 presence and groups", source: `syntax = "proto2"; package t; message M { optional int32 a = 1 [default = 7]; required string b = 2;
				optional group G = 3 { optional int32 x = 1; repeated int32 y = 2; } }`,
			wire: []byte{0x12, 1, 'x', 0x1b, 8, 5, 0x10, 1, 0x10, 2, 0x1c}, want: `{"b":"x","g":{"x":5,"y":[1,2]}}`,
		},
		{
			name: "the last one stands", source: `syntax = "proto3"; package t; message M { int32 a = 1; string s = 2; oneof o { int32 x = 3; string y = 4; } }`,
			wire: []byte{8, 1, 8, 2, 0x12, 1, 'a', 0x12, 2, 'b', 'c', 0x18, 1, 0x22, 1, 'y'}, want: `{"a":2,"s":"bc","y":"y"}`,
		},
		{
			name: "messages in parts", source: `syntax = "proto3"; package t; message M { N n = 1; } message N { int32 a = 1; repeated int32 l = 2; map<string, int32> m = 3; N n = 4; string z = 5; }`,
			wire: []byte{0x0a, 12, 8, 1, 0x10, 1, 0x1a, 4, 0x0a, 0, 0x10, 5, 0x22, 0, 0x0a, 8, 8, 2, 0x10, 2, 0x22, 2, 0x10, 9},
			want: `{"n":{"a":2,"l":[1,2],"m":{"":5},"n":"{\"l\":[9]}","z":""}}`,
		},
		{
			name: "values in parts", source: `syntax = "proto3"; package t; import "google/protobuf/struct.proto"; import "google/protobuf/wrappers.proto"; import "google/protobuf/timestamp.proto";
				message M { google.protobuf.ListValue v = 1; google.protobuf.StringValue s = 2; google.protobuf.Timestamp t = 3; map<string, google.protobuf.Timestamp> m = 4; N n = 5; N c = 6; } message N { int32 a = 1; int32 b = 2; N n = 3; }`,
			columns: []schema.Field{{Name: "c", Type: &schema.Type{Kind: schema.Map, Key: str, Elem: long, ContainsNull: true}, Nullable: true}},
			wire: slices.Concat([]byte{0x0a, 4, 0x0a, 2, 8, 0, 0x0a, 4, 0x0a, 2, 0x20, 1, 0x0a, 0}, []byte{0x12, 3, 0x0a, 1, 'x', 0x12, 0}, []byte{0x1a, 2, 8, 1, 0x1a, 3, 0x10, 0x80, 8},
				[]byte{0x22, 9, 0x12, 2, 8, 2, 0x12, 3, 0x10, 0x80, 8}, []byte{0x2a, 4, 0x1a, 2, 8, 1, 0x2a, 4, 0x1a, 2, 0x10, 2}, []byte{0x32, 2, 8, 1, 0x32, 2, 0x10, 2}),
			want: `{"c":{"a":1,"b":2},"v":"[null,true]","s":"x","t":"1970-01-01T00:00:01.000001Z","m":{"":"1970-01-01T00:00:02.000001Z"},"n":{"a":0,"b":0,"n":"{\"a\":1,\"b\":2}"}}`,
		},
		{
			name: "a group as text", source: `syntax = "proto2"; package t; message M { optional group G = 1 { optional int32 x = 1; optional int32 y = 2; } optional int32 z = 2; }`,
			columns: []schema.Field{{Name: "g", Type: str, Nullable: true}},
			wire:    []byte{0x0b, 8, 5, 0x0c, 0x0b, 0x10, 6, 0x0c, 0x10, 1}, want: `{"g":"{\"x\":5,\"y\":6}","z":1}`,
		},
		{
			name: "text that is overwritten", source: `syntax = "proto3"; package t; import "google/protobuf/wrappers.proto"; message M { google.protobuf.StringValue s = 1; }`,
			wire: []byte{0x0a, 6, 0x0a, 1, 0xff, 0x0a, 1, 'y'}, reject: "field s, byte 4: text that is not valid UTF-8",
		},
		{
			name: "a number of an enum without a name", source: `syntax = "proto3"; package t; enum E { A = 0; B = 1; } message M { E e = 1; repeated E l = 2; }`,
			wire: []byte{8, 9, 0x12, 3, 0, 5, 1}, want: `{"l":["A",null,"B"],"_rescued":"{\"e\":9,\"l[1]\":5}"}`,
		},
		{
			name: "fields that the type does not have", source: `syntax = "proto3"; package t; message M { int32 a = 1; N n = 2; } message N { int32 b = 1; }`,
			wire: []byte{8, 1, 0x12, 4, 8, 2, 0x18, 5, 0x4a, 2, 'h', 'i', 0x0d, 1, 0, 0, 0},
			want: `{"a":1,"n":{"b":2},"_rescued":"{\"n.#3\":5,\"#9\":\"aGk=\",\"#1\":1}"}`,
		},
		{
			name: "unknown fields refused", source: `syntax = "proto3"; package t; message M { int32 a = 1; }`, options: decode.Options{OnUnknown: decode.RejectUnknown},
			columns: []schema.Field{{Name: "a", Type: long, Nullable: true}},
			wire:    []byte{8, 1, 0x10, 2}, reject: "field #2, byte 3: the field is no column, and onUnknown is Reject",
		},
		{
			name: "fields without a column kept", source: `syntax = "proto3"; package t; message M { int32 a = 1; repeated int32 l = 2; N n = 3; } message N { string s = 1; repeated string t = 2; }`,
			options: decode.Options{OnUnknown: decode.RescueUnknown}, columns: []schema.Field{{Name: "a", Type: long, Nullable: true}},
			wire: []byte{8, 1, 0x10, 2, 0x12, 2, 3, 4, 0x10, 5, 0x1a, 3, 0x0a, 1, 'x'}, want: `{"a":1,"_rescued":"{\"l\":[2,3,4,5],\"n\":{\"s\":\"x\"}}"}`,
		},
		{
			name: "fields without a column dropped", source: `syntax = "proto3"; package t; message M { int32 a = 1; repeated int32 l = 2; }`,
			options: decode.Options{OnUnknown: decode.DropUnknown}, columns: []schema.Field{{Name: "a", Type: long, Nullable: true}},
			wire: []byte{8, 1, 0x10, 2, 0x18, 3}, want: `{"a":1}`,
		},
		{
			name: "columns of other types", source: `syntax = "proto3"; package t; message M { int32 a = 1; string b = 2; repeated int64 c = 3; uint64 d = 4; double e = 5; string f = 6; int64 g = 7; }`,
			columns: []schema.Field{
				{Name: "a", Type: dbl, Nullable: true},
				{Name: "b", Type: &schema.Type{Kind: schema.Timestamp}, Nullable: true},
				{Name: "c", Type: &schema.Type{Kind: schema.Array, Elem: str, ContainsNull: true}, Nullable: true},
				{Name: "d", Type: long, Nullable: true},
				{Name: "e", Type: long, Nullable: true},
				{Name: "f", Type: long, Nullable: true},
				{Name: "g", Type: &schema.Type{Kind: schema.Byte}, Nullable: true},
			},
			wire: slices.Concat([]byte{8, 5, 0x12, 20}, []byte("2026-11-23T20:15:00Z"), []byte{0x1a, 1, 7, 0x18, 8, 0x20, 9, 0x29, 0, 0, 0, 0, 0, 0, 0xf8, 0x3f, 0x32, 1, 'x', 0x38, 100}),
			want: `{"a":5.0,"b":"2026-11-23T20:15:00Z","c":[null,null],"d":9,"g":100,"_rescued":"{\"c[0]\":7,\"c[1]\":8,\"e\":1.5,\"f\":\"x\"}"}`,
		},
		{
			name: "a misfit refused", source: `syntax = "proto3"; package t; message M { string a = 1; }`, options: decode.Options{OnMismatch: decode.RejectRecord},
			columns: []schema.Field{{Name: "a", Type: long, Nullable: true}},
			wire:    []byte{0x0a, 1, 'x'}, reject: `field a, byte 1: "x" does not fit the column's type long`,
		},
		{
			name: "NOT NULL", source: `syntax = "proto3"; package t; message M { optional int32 a = 1; int32 b = 2; }`,
			columns: []schema.Field{{Name: "a", Type: &schema.Type{Kind: schema.Integer}}},
			wire:    []byte{0x10, 1}, reject: "field a, byte 2: missing, and the table's column is NOT NULL",
		},
		{
			name: "keys twice", source: `syntax = "proto3"; package t; message M { map<string, int32> m = 1; }`,
			wire: []byte{0x0a, 5, 0x0a, 1, 'k', 0x10, 1, 0x0a, 5, 0x0a, 1, 'k', 0x10, 2}, want: `{"_rescued":"{\"m\":{\"k\":1,\"k\":2}}"}`,
		},
		{
			name: "text that is none", source: `syntax = "proto3"; package t; message M { string a = 1; }`,
			wire: []byte{0x0a, 2, 'x', 0xff}, reject: "field a, byte 3: text that is not valid UTF-8",
		},
		{
			name: "cut", source: `syntax = "proto3"; package t; message M { string a = 1; N n = 2; } message N { int64 x = 1; }`,
			wire: []byte{0x12, 3, 8, 0xff, 0xff}, reject: "field n.x, byte 3: a number without an end",
		},
		{
			name: "field 0 in a time", source: `syntax = "proto3"; package t; import "google/protobuf/timestamp.proto"; message M { google.protobuf.Timestamp a = 1; }`,
			wire: []byte{0x0a, 4, 8, 1, 0, 5}, reject: "field a, byte 2: a malformed time",
		},
		{
			name: "field 0 in a wrapper", source: `syntax = "proto3"; package t; import "google/protobuf/wrappers.proto"; message M { google.protobuf.Int64Value a = 1; }`,
			wire: []byte{0x0a, 4, 8, 1, 0, 5}, reject: "field a, byte 4: a malformed wrapper",
		},
		{
			name: "field 0 in an entry", source: `syntax = "proto3"; package t; message M { map<string, int32> a = 1; }`,
			wire: []byte{0x0a, 5, 0x0a, 1, 'k', 0, 5}, reject: "field a, byte 5: a malformed entry of a map",
		},
		{
			name: "documents", source: `syntax = "proto3"; package t; import "google/protobuf/struct.proto"; import "google/protobuf/any.proto"; message M { google.protobuf.Value v = 1; google.protobuf.Any a = 2; google.protobuf.Value n = 3; } message N { int64 x = 1; }`,
			wire: slices.Concat([]byte{0x0a, 3, 0x1a, 1, 'q', 0x12, 10, 0x0a, 4}, []byte("/t.N"), []byte{0x12, 2, 8, 3, 0x1a, 2, 8, 0}),
			want: `{"v":"\"q\"","a":"{\"@type\":\"/t.N\",\"x\":3}"}`,
		},
		{
			name: "times out of range", source: `syntax = "proto3"; package t; import "google/protobuf/timestamp.proto"; message M { google.protobuf.Timestamp a = 1; int32 b = 2; }`,
			wire: []byte{0x0a, 7, 8, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f}, want: `{"b":0,"_rescued":"{\"a\":{\"seconds\":4398046511103,\"nanos\":0}}"}`,
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			c.options.Protobuf, _ = protobufOf(t, c.source, "t.M")
			var initial *schema.Type
			if c.columns != nil {
				initial = &schema.Type{Kind: schema.Struct, Fields: c.columns}
			}
			d := decode.NewDecoder(decode.NewSchema(initial, c.options))
			n, rejects := d.Append(event.Protobuf, c.wire, decode.System{}, nil)
			if c.reject != "" {
				if n != 0 || len(rejects) != 1 || !strings.HasPrefix(rejects[0].Reason, c.reject) {
					t.Fatalf("%d accepted, %v, want %q", n, rejects, c.reject)
				}
				return
			}
			if n != 1 {
				t.Fatal(rejects)
			}
			if got := string(jsonRow(d.Take(), 0)); got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// jsonRow is a row as JSON, without columns that are null.
func jsonRow(b *column.Batch, i int) []byte {
	out := []byte{'{'}
	for c, f := range b.Schema.Fields {
		if b.Columns[c].IsNull(i) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(fmt.Appendf(out, "%q:", f.Name), decode.AppendJSON(nil, b.Columns[c], i)...)
	}
	return append(out, '}')
}

// TestProtobufVersions sends messages of two versions of a type to one decoder that knows the newer, and to one that knows the older.
func TestProtobufVersions(t *testing.T) {
	const old = `syntax = "proto3"; package t; message M { int64 id = 1; string gone = 2; }`
	const young = `syntax = "proto3"; package t; message M { int64 id = 1; reserved 2; string fresh = 3; repeated string tags = 4; }`
	v1, v2 := []byte{8, 1, 0x12, 1, 'g'}, []byte{8, 2, 0x1a, 1, 'f', 0x22, 1, 't'}
	decodeAll := func(table *schema.Type, source string) *column.Batch {
		p, _ := protobufOf(t, source, "t.M")
		d := decode.NewDecoder(decode.NewSchema(table, decode.Options{Protobuf: p}))
		for _, b := range [][]byte{v1, v2} {
			if n, rejects := d.Append(event.Protobuf, b, decode.System{}, nil); n != 1 {
				t.Fatal(rejects)
			}
		}
		return d.Take()
	}
	first := decodeAll(nil, old)
	second := decodeAll(first.Schema, young)
	var got []string
	for _, b := range []*column.Batch{first, second} {
		got = append(got, string(jsonRow(b, 0)), string(jsonRow(b, 1)))
	}
	want := []string{
		`{"id":1,"gone":"g"}`, `{"id":2,"gone":"","_rescued":"{\"#3\":\"Zg==\",\"#4\":\"dA==\"}"}`,
		`{"id":1,"_rescued":"{\"#2\":\"Zw==\"}","fresh":"","tags":[]}`, `{"id":2,"fresh":"f","tags":["t"]}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestProtobufChangedDefault has producers of two versions of a proto2 type whose default changed. What a producer did not
// set is null whichever version the pipeline knows: the default is that of whoever reads, and each version reads another.
func TestProtobufChangedDefault(t *testing.T) {
	source := func(level, mode string) string {
		return `syntax = "proto2"; package t; enum E { A = 0; B = 1; } message M { required int64 id = 1; optional string level = 2 [default = "` + level +
			`"]; optional E mode = 3 [default = ` + mode + `]; optional N n = 4; } message N { optional int32 size = 1 [default = 7]; }`
	}
	old, young := source("low", "A"), source("high", "B")
	var payloads [][]byte
	var read []string
	for i, text := range []string{old, young} {
		_, md := protobufOf(t, text, "t.M")
		level, mode := md.Fields().ByName("level"), md.Fields().ByName("mode")
		for _, set := range []bool{false, true} {
			m := dynamicpb.NewMessage(md)
			m.Set(md.Fields().ByName("id"), protoreflect.ValueOfInt64(int64(10*i)))
			if set { // to what is the default anyhow: then it is on the wire
				m.Set(level, m.Get(level))
				m.Set(mode, m.Get(mode))
			}
			m.Mutable(md.Fields().ByName("n"))
			payloads = append(payloads, marshal(t, m))
			read = append(read, m.Get(level).String())
		}
	}
	if diff := cmp.Diff([]string{"low", "low", "high", "high"}, read); diff != "" {
		t.Fatalf("the producers' code reads (-want +got):\n%s", diff)
	}
	want := []string{`{"id":0,"n":{}}`, `{"id":0,"level":"low","mode":"A","n":{}}`, `{"id":10,"n":{}}`, `{"id":10,"level":"high","mode":"B","n":{}}`}
	for _, text := range []string{old, young} {
		p, _ := protobufOf(t, text, "t.M")
		d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{Protobuf: p}))
		for _, b := range payloads {
			if n, rejects := d.Append(event.Protobuf, b, decode.System{}, nil); n != 1 {
				t.Fatal(rejects)
			}
		}
		batch := d.Take()
		for i, w := range want {
			if got := string(jsonRow(batch, i)); got != w {
				t.Errorf("got  %s\nwant %s", got, w)
			}
		}
	}
	p, _ := protobufOf(t, young, "t.M")
	strict := &schema.Type{Kind: schema.Struct, Fields: []schema.Field{{Name: "level", Type: &schema.Type{Kind: schema.String}}}}
	d := decode.NewDecoder(decode.NewSchema(strict, decode.Options{Protobuf: p}))
	if n, rejects := d.Append(event.Protobuf, payloads[2], decode.System{}, nil); n != 0 || !strings.Contains(rejects[0].Reason, "field level, byte 4: missing, and the table's column is NOT NULL") {
		t.Error(n, rejects)
	}
}

// TestProtobufBounds throws what takes much memory or time at a decoder.
func TestProtobufBounds(t *testing.T) {
	p, _ := protobufOf(t, `syntax = "proto3"; package t; message M { repeated N n = 1; T t = 2; } message N { `+manyFields(500)+` } message T { T t = 1; int32 x = 2; }`, "t.M")
	d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{Protobuf: p, MaxEventBytes: 1 << 16, MaxInflated: 1 << 20}))
	deep := []byte{8, 1}
	for range 200 {
		deep = protowire.AppendBytes([]byte{0x0a}, deep)
	}
	for name, c := range map[string]struct {
		mime    event.MIME
		payload []byte
		want    string
	}{
		"empty elements": {event.Protobuf, []byte(strings.Repeat("\x0a\x00", 1<<15)), "too many slots"},
		"large":          {event.Protobuf, make([]byte, 1<<17), "the limit is 65536"},
		"deep":           {event.Protobuf, protowire.AppendBytes([]byte{0x12}, deep), "nests too deep"},
		"long varint":    {event.Protobuf, []byte(strings.Repeat("\xff", 100)), "no field of a message begins here"},
		"bad length":     {event.ProtobufMany, []byte{5, 1, 2}, "no record with its length before it"},
	} {
		n, rejects := d.Append(c.mime, c.payload, decode.System{}, nil)
		if n != 0 || len(rejects) != 1 || !strings.Contains(rejects[0].Reason, c.want) {
			t.Errorf("%s: %d accepted, %v", name, n, rejects)
		}
		if got := d.Bytes(); got > 1<<20 {
			t.Errorf("%s: %d bytes", name, got)
		}
	}
	q, _ := protobufOf(t, `syntax = "proto3"; package t; message M { `+manyFields(500)+` }`, "t.M")
	d = decode.NewDecoder(decode.NewSchema(nil, decode.Options{Protobuf: q, MaxInflated: 1 << 20}))
	n, rejects := d.Append(event.ProtobufMany, make([]byte, 1<<20), decode.System{}, nil)
	if n != 262 || len(rejects) != 1 || !strings.Contains(rejects[0].Reason, "bytes as columns") {
		t.Errorf("many empty records: %d accepted, %v", n, rejects)
	}
}

func manyFields(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "int64 f%d = %d; ", i, i+1)
	}
	return b.String()
}

func TestProtobufRefusals(t *testing.T) {
	set, _ := compile(t, allProto)
	for want, c := range map[string]struct {
		set     []byte
		message string
	}{
		`message "t.Missing" is not in the descriptor set, which has t.All, t.Inner, t.Sub, t.Tree`: {set, "t.Missing"},
		"t.Color is no message":       {set, "t.Color"},
		"this is no descriptor set":   {[]byte("syntax = \"proto3\";"), "t.All"},
		"the descriptor set is empty": {nil, "t.All"},
	} {
		if _, err := decode.NewProtobuf(c.set, c.message); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
	d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{}))
	if _, rejects := d.Append(event.Protobuf, []byte{8, 1}, decode.System{}, nil); len(rejects) != 1 || !strings.Contains(rejects[0].Reason, "send application/json, application/x-ndjson") {
		t.Error(rejects)
	}
}

func TestProtobufAllocations(t *testing.T) {
	p, md := protobufOf(t, allProto, "t.All")
	r := rand.New(rand.NewPCG(7, 8))
	d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{Protobuf: p}))
	var payloads [][]byte
	for range 64 {
		m := randomMessage(r, md, 3, false)
		for _, name := range []protoreflect.Name{"doc", "any_value", "any_list", "any", "tree"} { // text is made of these
			m.Clear(md.Fields().ByName(name))
		}
		payloads = append(payloads, marshal(t, m))
	}
	round := func() {
		for _, b := range payloads {
			if n, rejects := d.Append(event.Protobuf, b, decode.System{}, nil); n != 1 {
				t.Fatal(rejects)
			}
		}
		d.Recycle(d.Take())
	}
	for range 3 {
		round()
	}
	if n := testing.AllocsPerRun(10, round); n != 0 {
		t.Errorf("%v allocations for %d payloads", n, len(payloads))
	}
}
