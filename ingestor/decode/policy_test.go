package decode_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/hamba/avro/v2/ocf"

	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// TestUnknownFields: the policy for fields that are no columns.
func TestUnknownFields(t *testing.T) {
	known := structOf(nullable("a", prim(schema.Long)),
		schema.Field{Name: "o", Nullable: true, Type: structOf(nullable("x", prim(schema.String)))})
	const record = `{"a":1,"b":2,"o":{"x":"y","z":[3]}}`
	for _, c := range []struct {
		name    string
		options decode.Options
		rows    []row
		reason  string
		schema  string
		dropped int64
	}{
		{
			"rescue",
			decode.Options{OnUnknown: decode.RescueUnknown},
			[]row{{"a": int64(1), "o": row{"x": "y"}, "_rescued": `{"b":2,"o.z":[3]}`}},
			"",
			"struct<a:long,o:struct<x:string>,_rescued:string>", 0,
		},
		{
			"rescue although misfits are refused",
			decode.Options{OnUnknown: decode.RescueUnknown, OnMismatch: decode.RejectRecord},
			[]row{{"a": int64(1), "o": row{"x": "y"}, "_rescued": `{"b":2,"o.z":[3]}`}},
			"", "struct<a:long,o:struct<x:string>,_rescued:string>", 0,
		},
		{"drop", decode.Options{OnUnknown: decode.DropUnknown}, []row{{"a": int64(1), "o": row{"x": "y"}}}, "", "struct<a:long,o:struct<x:string>>", 2},
		{"reject", decode.Options{OnUnknown: decode.RejectUnknown}, nil, "field b, byte 11: the field is no column", "struct<a:long,o:struct<x:string>>", 0},
		{
			"add",
			decode.Options{},
			[]row{{"a": int64(1), "b": int64(2), "o": row{"x": "y", "z": []any{int64(3)}}}},
			"",
			"struct<a:long,o:struct<x:string,z:array<long>>,b:long>", 0,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := decode.NewSchema(known, c.options)
			d := decode.NewDecoder(s)
			n, rejects := d.Append(event.JSON, []byte(record), decode.System{}, nil)
			if n != len(c.rows) || (len(rejects) > 0) != (c.reason != "") || c.reason != "" && !strings.Contains(rejects[0].Reason, c.reason) {
				t.Fatalf("%d accepted, %+v", n, rejects)
			}
			if got := s.Current().String(); got != c.schema || s.Stats().Dropped != c.dropped {
				t.Errorf("schema %s, want %s; %d values dropped", got, c.schema, s.Stats().Dropped)
			}
			if n > 0 {
				if diff := cmp.Diff(c.rows, take(t, d)); diff != "" {
					t.Errorf("rows (-want +got):\n%s", diff)
				}
			}
		})
	}
}

// TestSuspend: a misfit takes the whole payload back and says so; what is no JSON at all is only refused.
func TestSuspend(t *testing.T) {
	d := decode.NewDecoder(decode.NewSchema(structOf(nullable("a", prim(schema.Long))), decode.Options{OnMismatch: decode.SuspendPipeline}))
	accept(t, d, `{"a":1}`)
	n, rejects := d.Append(event.NDJSON, []byte("{\"a\":2}\n{\n{\"a\":\"x\"}\n{\"a\":4}"), decode.System{}, nil)
	if n != 0 || len(rejects) != 1 || !rejects[0].Suspend || rejects[0].Row != 2 || d.Rows() != 1 {
		t.Fatalf("%d accepted, %+v, %d rows", n, rejects, d.Rows())
	}
	if _, rejects = d.Append(event.JSON, []byte("{"), decode.System{}, nil); len(rejects) != 1 || rejects[0].Suspend {
		t.Fatalf("%+v", rejects)
	}
	if _, rejects = d.Append(event.JSON, []byte(`{"a":1.5}`), decode.System{}, nil); len(rejects) != 1 || !rejects[0].Suspend {
		t.Fatalf("%+v", rejects)
	}
	if diff := cmp.Diff([]row{{"a": int64(1)}}, take(t, d)); diff != "" {
		t.Error(diff)
	}
}

// TestSuspendUnknown: a field that is no column stops the pipeline, of whatever format; a malformed record does not.
func TestSuspendUnknown(t *testing.T) {
	d := decode.NewDecoder(decode.NewSchema(structOf(nullable("a", prim(schema.Long))), decode.Options{OnUnknown: decode.SuspendUnknown}))
	accept(t, d, `{"a":1}`, `{"a":1,"b":null}`)
	n, rejects := d.Append(event.NDJSON, []byte("{\"a\":2}\n{\n{\"a\":3,\"b\":1}\n{\"a\":4}"), decode.System{}, nil)
	if n != 0 || len(rejects) != 1 || !rejects[0].Suspend || rejects[0].Row != 2 || !strings.Contains(rejects[0].Reason, "onUnknown is Suspend") || d.Rows() != 2 {
		t.Fatalf("%d accepted, %+v, %d rows", n, rejects, d.Rows())
	}
	if _, rejects = d.Append(event.JSON, []byte("{"), decode.System{}, nil); len(rejects) != 1 || rejects[0].Suspend {
		t.Fatalf("%+v", rejects)
	}
	accept(t, d, `{"a":"x"}`) // rescued
	if diff := cmp.Diff([]row{{"a": int64(1)}, {"a": int64(1)}, {"_rescued": `{"a":"x"}`}}, take(t, d)); diff != "" {
		t.Error(diff)
	}
}

// TestSuspendUnknownOfTypes: what a type of the pipeline has is declared by it, unless there are columns; what it has not stops
// the pipeline, with nothing of the payload taken. Types that payloads bring declare nothing.
func TestSuspendUnknownOfTypes(t *testing.T) {
	p, _ := protobufOf(t, `syntax = "proto3"; package t; message M { optional int64 n = 1; N o = 2; } message N { optional string s = 1; }`, "t.M")
	const old = `{"type":"record","name":"M","fields":[{"name":"n","type":"long"},{"name":"s","type":["null","string"]}]}`
	const young = `{"type":"record","name":"M","fields":[{"name":"n","type":"long"},{"name":"s","type":["null","string"]},{"name":"x","type":["null","string"]}]}`
	ids := map[uint32]*decode.AvroSchema{1: avroSchema(t, old), 2: avroSchema(t, young)}
	registry := &decode.Avro{Schema: ids[1], Lookup: func(id uint32) (*decode.AvroSchema, error) { return ids[id], nil }}
	rec, empty := map[string]any{"n": int64(1), "s": "a", "x": "b"}, map[string]any{"n": int64(1), "s": nil, "x": nil}
	onlyN := structOf(nullable("n", prim(schema.Long)))
	for name, c := range map[string]struct {
		table    *schema.Type
		options  decode.Options
		mime     event.MIME
		good     []byte
		bad      []byte
		row      int
		want, at string
	}{
		"Protobuf, number": {nil, decode.Options{Protobuf: p, Declares: true}, event.Protobuf, []byte{8, 1, 0x12, 3, 0x0a, 1, 'a'}, []byte{8, 1, 0x12, 5, 0x0a, 1, 'a', 0x10, 1}, 0, `{"n":1,"o":{"s":"a"}}`, "field o.#2, byte 8"},
		"Protobuf, many":   {nil, decode.Options{Protobuf: p, Declares: true}, event.ProtobufMany, []byte{2, 8, 1}, []byte{2, 8, 2, 4, 8, 3, 0x18, 1}, 1, `{"n":1}`, "field #3, byte 3"},
		"Protobuf, column": {onlyN, decode.Options{Protobuf: p}, event.Protobuf, []byte{8, 1, 0x12, 0}, []byte{8, 1, 0x12, 3, 0x0a, 1, 'a'}, 0, `{"n":1}`, "field o, byte 3"},
		"Avro, registry":   {nil, decode.Options{Avro: registry, Declares: true}, event.Avro, withID(2, avroBytes(t, young, empty)), withID(2, avroBytes(t, young, rec)), 0, `{"n":1}`, "field x, byte 9"},
		"Avro, column":     {onlyN, decode.Options{Avro: &decode.Avro{Schema: ids[1]}}, event.Avro, avroBytes(t, old, empty), avroBytes(t, old, rec), 0, `{"n":1}`, "field s, byte 1"},
		"Avro, file":       {onlyN, decode.Options{}, event.AvroFile, avroContainer(t, old, ocf.Null, empty), avroContainer(t, old, ocf.Snappy, empty, rec), 1, `{"n":1}`, "field s, byte 1"},
		"Arrow":            {onlyN, decode.Options{}, event.Arrow, arrowTexts(t, []string{noText}), arrowTexts(t, []string{noText, "a"}), 1, `{"n":0}`, "field s, byte 0"},
	} {
		t.Run(name, func(t *testing.T) {
			c.options.OnUnknown = decode.SuspendUnknown
			d := decode.NewDecoder(decode.NewSchema(c.table, c.options))
			if n, rejects := d.Append(c.mime, c.good, decode.System{}, nil); n != 1 {
				t.Fatal(rejects)
			}
			n, rejects := d.Append(c.mime, c.bad, decode.System{}, nil)
			if n != 0 || len(rejects) != 1 || !rejects[0].Suspend || rejects[0].Row != c.row || d.Rows() != 1 ||
				!strings.HasPrefix(rejects[0].Reason, c.at+": the field is no column, and onUnknown is Suspend; declare it") {
				t.Fatalf("%d accepted, %+v, %d rows", n, rejects, d.Rows())
			}
			if _, rejects := d.Append(c.mime, []byte{0xff}, decode.System{}, nil); len(rejects) != 1 || rejects[0].Suspend {
				t.Fatalf("malformed: %+v", rejects)
			}
			b := d.Take()
			checkBatch(t, b)
			if got := string(jsonRow(b, 0)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestWiden: a column of longs becomes one of doubles until it is settled, also in lists and structs, and for all decoders.
func TestWiden(t *testing.T) {
	for _, policy := range []decode.OnMismatch{decode.Rescue, decode.RejectRecord} {
		s := decode.NewSchema(nil, decode.Options{Widen: true, OnMismatch: policy})
		a, b := decode.NewDecoder(s), decode.NewDecoder(s)
		accept(t, b, `{"x":1,"big":9007199254740993}`)
		accept(t, a, `{"x":20,"l":[1,2],"o":{"y":3}}`, `{"x":20.5,"l":[1.5],"o":{"y":0.25}}`)
		if got := s.Current().String(); got != "struct<x:double,big:long,l:array<double>,o:struct<y:double>>" {
			t.Fatal(got)
		}
		s.Settle()
		accept(t, a, `{"z":1}`)
		if diff := cmp.Diff([]row{
			{"x": 20.0, "l": []any{1.0, 2.0}, "o": row{"y": 3.0}}, {"x": 20.5, "l": []any{1.5}, "o": row{"y": 0.25}}, {"z": int64(1)},
		}, take(t, a)); diff != "" {
			t.Error(diff)
		}
		n, _ := a.Append(event.JSON, []byte(`{"big":1.5}`), decode.System{}, nil)
		if want := map[decode.OnMismatch]int{decode.Rescue: 1}[policy]; n != want {
			t.Errorf("a settled column: %d accepted", n)
		}
		accept(t, a, `{"z":1.5}`) // z is not settled yet
		if i := s.Current().Index("z"); s.Current().Fields[i].Type.Kind != schema.Double {
			t.Error(s.Current())
		}
	}
}

// TestHints: numbers as times in a declared unit, and values kept as JSON.
func TestHints(t *testing.T) {
	fields := structOf(nullable("s", prim(schema.Timestamp)), nullable("ms", prim(schema.Timestamp)), nullable("us", prim(schema.Timestamp)), nullable("j", prim(schema.String)),
		schema.Field{Name: "l", Nullable: true, Type: &schema.Type{Kind: schema.Array, ContainsNull: true, Elem: &schema.Type{Kind: schema.Timestamp}}})
	d := decode.NewDecoder(decode.NewSchema(fields, decode.Options{Hints: &decode.Hint{Fields: map[string]*decode.Hint{
		"s": {Micros: 1_000_000}, "ms": {Micros: 1000}, "us": {Micros: 1}, "j": {JSON: true}, "l": {Elem: &decode.Hint{Micros: 1000}},
	}}}))
	accept(t, d,
		`{"s":1,"ms":1,"us":1,"j":{"b": [1, 2.50]},"l":[1,null,"1970-01-01T00:00:01Z"]}`,
		`{"s":-1.5,"ms":1.2345,"us":1e3,"j":"x"}`,
		`{"s":"1970-01-01T00:00:02Z","ms":null,"j":null}`,
		`{"s":253402300800,"ms":true,"us":1.5e0,"j":7}`,
	)
	want := []row{
		{"s": int64(1_000_000), "ms": int64(1000), "us": int64(1), "j": `{"b": [1, 2.50]}`, "l": []any{int64(1000), nil, int64(1_000_000)}},
		{"s": int64(-1_500_000), "ms": int64(1234), "us": int64(1000), "j": `"x"`},
		{"s": int64(2_000_000)},
		{"j": "7", "_rescued": `{"s":253402300800,"ms":true,"us":1.5e0}`},
	}
	if diff := cmp.Diff(want, take(t, d)); diff != "" {
		t.Error(diff)
	}
}

// TestNoWidening: without Options.Widen a type stands from its first value on, also when the record that brings another
// number makes a column.
func TestNoWidening(t *testing.T) {
	s := decode.NewSchema(nil, decode.Options{})
	d := decode.NewDecoder(s)
	for _, r := range []string{`{"a":0}`, `{"a":0.0,"b":1}`, `{"a":1.5,"c":1}`} {
		if n, rejects := d.Append(event.JSON, []byte(r), decode.System{}, nil); n != 1 {
			t.Fatal(rejects)
		}
	}
	want := []row{{"a": int64(0)}, {"a": int64(0), "b": int64(1)}, {"c": int64(1), "_rescued": `{"a":1.5}`}}
	if diff := cmp.Diff(want, rowsOf(d.Take())); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
