package decode_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

type row = map[string]any

// tester is what a *testing.T and a *rapid.T have in common for the helpers.
type tester interface {
	Helper()
	Fatalf(format string, args ...any)
}

// take returns the rows of the decoder without what is null, after checking that the batch is sound.
func take(t *testing.T, d *decode.Decoder) []row {
	t.Helper()
	b := d.Take()
	checkBatch(t, b)
	return rowsOf(b)
}

func rowsOf(b *column.Batch) []row {
	rows := []row{}
	for i := range b.Rows {
		r, _ := withoutNulls(b.Row(i)).(row)
		rows = append(rows, r)
	}
	return rows
}

// withoutNulls removes null members, however deep, from what column.Batch.Row returns.
func withoutNulls(v any) any {
	switch v := v.(type) {
	case row:
		for k, e := range v {
			if e == nil {
				delete(v, k)
			} else {
				v[k] = withoutNulls(e)
			}
		}
	case []any:
		for i, e := range v {
			v[i] = withoutNulls(e)
		}
	case []column.Entry:
		for i, e := range v {
			v[i].Value = withoutNulls(e.Value)
		}
	}
	return v
}

// checkBatch fails the test unless b fulfils the invariants of a sealed batch.
func checkBatch(t tester, b *column.Batch) {
	t.Helper()
	if len(b.Columns) != len(b.Schema.Fields) {
		t.Fatalf("%d columns for %d fields", len(b.Columns), len(b.Schema.Fields))
	}
	if err := b.Schema.Validate(); err != nil {
		t.Fatalf("schema of the batch: %v", err)
	}
	for i, c := range b.Columns {
		checkVector(t, b.Schema.Fields[i].Name, c, b.Schema.Fields[i].Type, b.Rows)
	}
}

func checkVector(t tester, path string, v *column.Vector, typ *schema.Type, slots int) {
	t.Helper()
	if !v.Type.Equal(typ) {
		t.Fatalf("%s: vector of type %s for a field of type %s", path, v.Type, typ)
	}
	if v.Len != slots || v.Valid != nil && len(v.Valid) != slots {
		t.Fatalf("%s: %d slots, %d validities, want %d", path, v.Len, len(v.Valid), slots)
	}
	present := slots - strings.Count(string(v.Valid), "\x00")
	if got := v.Present(); got != present {
		t.Fatalf("%s: %d values for %d valid slots", path, got, present)
	}
	switch typ.Kind {
	case schema.String, schema.Binary:
		if v.Offsets[0] != 0 || int(v.Offsets[present]) != len(v.Data) {
			t.Fatalf("%s: offsets %v over %d bytes", path, v.Offsets, len(v.Data))
		}
	case schema.Struct:
		for i, c := range v.Children {
			checkVector(t, path+"."+typ.Fields[i].Name, c, typ.Fields[i].Type, present)
		}
	case schema.Array:
		checkVector(t, path+".element", v.Children[0], typ.Elem, int(v.Offsets[present]))
	case schema.Map:
		checkVector(t, path+".key", v.Children[0], typ.Key, int(v.Offsets[present]))
		checkVector(t, path+".value", v.Children[1], typ.Elem, int(v.Offsets[present]))
	default:
	}
}

// accept appends JSON records that must all be accepted.
func accept(t *testing.T, d *decode.Decoder, records ...string) {
	t.Helper()
	for _, r := range records {
		if n, rejects := d.Append(event.JSON, []byte(r), decode.System{}, nil); n != 1 || len(rejects) != 0 {
			t.Fatalf("%.80s: accepted %d, rejects %+v", r, n, rejects)
		}
	}
}

// reject appends a JSON record that must be refused and returns the reason.
func reject(t *testing.T, d *decode.Decoder, record string) string {
	t.Helper()
	before := d.Rows()
	n, rejects := d.Append(event.JSON, []byte(record), decode.System{}, nil)
	if n != 0 || len(rejects) != 1 || d.Rows() != before {
		t.Fatalf("%.80s: accepted %d, rejects %+v, %d rows after %d", record, n, rejects, d.Rows(), before)
	}
	checkReason(t, rejects[0].Reason)
	return rejects[0].Reason
}

func checkReason(t tester, reason string) {
	t.Helper()
	if len(reason) == 0 || len(reason) > 256 || !utf8.ValidString(reason) {
		t.Fatalf("reason of %d bytes: %q", len(reason), reason)
	}
	for _, r := range reason {
		if r < 0x20 || r == 0x7f {
			t.Fatalf("reason with %U: %q", r, reason)
		}
	}
}

type ruleCase struct {
	name    string
	options decode.Options
	records []string
	schema  string
	rows    []row
}

// ruleCases has one rule of the package comment a case.
var ruleCases = []ruleCase{
	{
		name:    "types are picked by the first value",
		records: []string{`{"l":1,"d":1.5,"e":1e3,"z":1.0,"s":"x","b":true,"t":"2026-01-02T03:04:05.678901+01:00","o":{"x":false},"a":["y"]}`},
		schema:  "struct<l:long,d:double,e:double,z:double,s:string,b:boolean,t:timestamp,o:struct<x:boolean>,a:array<string>>",
		rows: []row{{
			"l": int64(1), "d": 1.5, "e": 1000.0, "z": 1.0, "s": "x", "b": true, "t": int64(1767319445678901),
			"o": row{"x": false}, "a": []any{"y"},
		}},
	},
	{
		name:    "null, {} and [] make no column",
		records: []string{`{"a":null,"b":{},"c":[],"d":[null,[],{}],"e":{"f":{"g":null}}}`, `{}`, `{"b":{"x":1},"c":[2]}`, `{"b":{},"c":[]}`},
		schema:  "struct<b:struct<x:long>,c:array<long>>",
		rows: []row{
			{},
			{},
			{"b": row{"x": int64(1)}, "c": []any{int64(2)}},
			{"b": row{}, "c": []any{}},
		},
	},
	{
		name:    "elements of a list unite",
		records: []string{`{"n":[null,1,2.5],"t":["2026-01-02T03:04:05Z","x"],"o":[{"a":1},{"b":"x"},{"a":2.5}],"l":[[],[1],[null,2]]}`},
		schema:  "struct<n:array<double>,t:array<string>,o:array<struct<a:double,b:string>>,l:array<array<long>>>",
		rows: []row{{
			"n": []any{nil, 1.0, 2.5}, "t": []any{"2026-01-02T03:04:05Z", "x"},
			"o": []any{row{"a": 1.0}, row{"b": "x"}, row{"a": 2.5}},
			"l": []any{[]any{}, []any{int64(1)}, []any{nil, int64(2)}},
		}},
	},
	{
		name:    "a mixed list keeps what fits the first element",
		records: []string{`{"a":[1,"x",{"y":2},3]}`},
		schema:  "struct<a:array<long>,_rescued:string>",
		rows:    []row{{"a": []any{int64(1), nil, nil, int64(3)}, "_rescued": `{"a[1]":"x","a[2]":{"y":2}}`}},
	},
	{
		name:    "integral numbers fit a long",
		records: []string{`{"a":0}`, `{"a":1.0}`, `{"a":1e3}`, `{"a":-12.50e1}`, `{"a":-9223372036854775808}`, `{"a":9.223372036854775807e18}`, `{"a":0.0e999}`},
		schema:  "struct<a:long>",
		rows: []row{
			{"a": int64(0)},
			{"a": int64(1)},
			{"a": int64(1000)},
			{"a": int64(-125)},
			{"a": int64(-9223372036854775808)},
			{"a": int64(9223372036854775807)},
			{"a": int64(0)},
		},
	},
	{
		name:    "what does not fit is rescued as written",
		records: []string{`{"a":0,"o":{"x":1}}`, `{"a":1.5}`, `{"a":9223372036854775808}`, `{"a": "7" }`, `{"a":[1, 2],"o":3}`, `{"a":true,"o":{"x":{"y":1e400}}}`},
		schema:  "struct<a:long,o:struct<x:long>,_rescued:string>",
		rows: []row{
			{"a": int64(0), "o": row{"x": int64(1)}},
			{"_rescued": `{"a":1.5}`},
			{"_rescued": `{"a":9223372036854775808}`},
			{"_rescued": `{"a":"7"}`},
			{"_rescued": `{"a":[1, 2],"o":3}`},
			{"o": row{}, "_rescued": `{"a":true,"o.x":{"y":1e400}}`},
		},
	},
	{
		name:    "numbers fit a double when they are exact or have a fraction",
		records: []string{`{"a":0.5}`, `{"a":7}`, `{"a":9007199254740993}`, `{"a":9007199254740992}`, `{"a":0.1}`, `{"a":1e309}`, `{"a":1e-400}`, `{"a":0e-400}`, `{"a":10000000000000000000000}`},
		schema:  "struct<a:double,_rescued:string>",
		rows: []row{
			{"a": 0.5},
			{"a": 7.0},
			{"_rescued": `{"a":9007199254740993}`},
			{"a": 9007199254740992.0},
			{"a": 0.1},
			{"_rescued": `{"a":1e309}`},
			{"_rescued": `{"a":1e-400}`},
			{"a": 0.0},
			{"a": 1e22},
		},
	},
	{
		name:    "a number that no column holds makes none",
		records: []string{`{"a":` + strings.Repeat("9", 400) + `,"b":{"c":18446744073709551615}}`, `{"a":5}`},
		schema:  "struct<_rescued:string,a:long>",
		rows: []row{
			{"_rescued": `{"a":` + strings.Repeat("9", 400) + `,"b":{"c":18446744073709551615}}`},
			{"a": int64(5)},
		},
	},
	{
		name:    "of a key that occurs twice the first value that fits stands",
		records: []string{`{"a":1,"a":2,"a":3}`, `{"a":null,"a":"x","a":4,"a":null}`, `{"o":{"x":1},"o":{"y":2}}`},
		schema:  "struct<a:long,_rescued:string,o:struct<x:long>>",
		rows: []row{
			{"a": int64(1), "_rescued": `{"a":2,"a#2":3}`},
			{"a": int64(4), "_rescued": `{"a":"x"}`},
			{"o": row{"x": int64(1)}, "_rescued": `{"o":{"y":2}}`},
		},
	},
	{
		name:    "names that differ by case alone",
		records: []string{`{"id":1,"ID":2}`, `{"Id":3}`, `{"o":{"ſ":1,"S":2}}`},
		schema:  "struct<id:long,_rescued:string,o:struct<ſ:long>>",
		rows: []row{
			{"id": int64(1), "_rescued": `{"ID":2}`},
			{"_rescued": `{"Id":3}`},
			{"o": row{"ſ": int64(1)}, "_rescued": `{"o.S":2}`},
		},
	},
	{
		name:    "names that Spark forbids",
		records: []string{`{"a b":1,"c,;{}()=d":2,"e\n\tf":3}`, `{"a b":4,"a_b":5}`, `{"o":{"x y":1}}`},
		schema:  "struct<a_b:long,c_______d:long,e__f:long,_rescued:string,o:struct<x_y:long>>",
		rows: []row{
			{"a_b": int64(1), "c_______d": int64(2), "e__f": int64(3)},
			{"a_b": int64(4), "_rescued": `{"a_b":5}`},
			{"o": row{"x_y": int64(1)}},
		},
	},
	{
		name:    "names that no column can have",
		records: []string{`{"":1,"` + strings.Repeat("n", 1025) + `":2,"_rescued":3,"_WEIR_x":4,"o":{"":5,"_rescued":6},"\ud800":7}`},
		schema:  "struct<o:struct<_rescued:long>,_rescued:string>",
		rows: []row{{
			"o":        row{"_rescued": int64(6)},
			"_rescued": "{\"``\":1,\"" + strings.Repeat("n", 1025) + "\":2,\"_rescued\":3,\"_WEIR_x\":4,\"o.``\":5,\"\ufffd\":7}",
		}},
	},
	{
		name:    "paths quote names that they would misread",
		records: []string{`{"a.b":{"c":1},"d":{"e":[{"f":1}]}}`, "{\"a.b\":{\"c\":\"x\"},\"d\":{\"e\":[null,{\"f\":\"y\"}]},\"g`[0]\":1e999,\"\\\"\":1e999}"},
		schema:  "struct<a.b:struct<c:long>,d:struct<e:array<struct<f:long>>>,_rescued:string>",
		rows: []row{
			{"a.b": row{"c": int64(1)}, "d": row{"e": []any{row{"f": int64(1)}}}},
			{
				"a.b": row{}, "d": row{"e": []any{nil, row{}}},
				"_rescued": "{\"`a.b`.c\":\"x\",\"d.e[1].f\":\"y\",\"`g``[0]`\":1e999,\"\\\"\":1e999}",
			},
		},
	},
	{
		name:    "a full schema rescues further fields",
		options: decode.Options{MaxColumns: 2},
		records: []string{`{"a":1,"o":{"b":2,"c":3},"d":4}`, `{"e":5,"o":{"b":6,"f":[7]}}`},
		schema:  "struct<a:long,o:struct<b:long>,_rescued:string>",
		rows: []row{
			{"a": int64(1), "o": row{"b": int64(2)}, "_rescued": `{"o.c":3,"d":4}`},
			{"o": row{"b": int64(6)}, "_rescued": `{"e":5,"o.f":[7]}`},
		},
	},
	{
		name:    "escapes, surrogate pairs and their halves",
		records: []string{`{"s":"\"\\\/\b\f\n\r\té\u0000\ud83d\ude00 日本\uD83D\uDE00"}`, `{"s":"x\ud800"}`, `{"s":"\udc00\ud800y"}`, `{"\u0073":"z"}`},
		schema:  "struct<s:string,_rescued:string>",
		rows: []row{
			{"s": "\"\\/\b\f\n\r\té\x00😀 日本😀"},
			{"_rescued": `{"s":"x\ud800"}`},
			{"_rescued": `{"s":"\udc00\ud800y"}`},
			{"s": "z"},
		},
	},
	{
		name:    "times are cut to microseconds",
		records: []string{`{"t":"2026-11-23T20:15:00Z"}`, `{"t":"1969-12-31T23:59:59.9999999z"}`, `{"t":"2026-11-23 20:15:00.5-00:30"}`, `{"t":"2026-11-23T20:15:00"}`, `{"t":"2026-02-29T00:00:00Z"}`, `{"t":"2016-12-31T23:59:60Z"}`},
		schema:  "struct<t:timestamp,_rescued:string>",
		rows: []row{
			{"t": int64(1795464900000000)},
			{"t": int64(-1)},
			{"t": int64(1795466700500000)},
			{"_rescued": `{"t":"2026-11-23T20:15:00"}`},
			{"_rescued": `{"t":"2026-02-29T00:00:00Z"}`},
			{"_rescued": `{"t":"2016-12-31T23:59:60Z"}`},
		},
	},
	{
		name:    "a byte order mark and white space are passed over",
		records: []string{"\xef\xbb\xbf \t\r\n{ \"a\" : 1 , \"b\" : [ 1 , 2 ] , \"o\" : { } }\r\n"},
		schema:  "struct<a:long,b:array<long>>",
		rows:    []row{{"a": int64(1), "b": []any{int64(1), int64(2)}}},
	},
	{
		name:    "nesting up to the limit",
		options: decode.Options{MaxDepth: 3},
		records: []string{`{"a":{"a":{"a":1}}}`, `{"a":{"a":{}}}`},
		schema:  "struct<a:struct<a:struct<a:long>>>",
		rows:    []row{{"a": row{"a": row{"a": int64(1)}}}, {"a": row{"a": row{}}}},
	},
}

// TestRules decodes records into a fresh schema.
func TestRules(t *testing.T) {
	for _, c := range ruleCases {
		t.Run(c.name, func(t *testing.T) {
			s := decode.NewSchema(nil, c.options)
			d := decode.NewDecoder(s)
			accept(t, d, c.records...)
			if diff := cmp.Diff(c.rows, take(t, d)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if got := s.Current().String(); got != c.schema {
				t.Errorf("schema\n%s\nwant\n%s", got, c.schema)
			}
		})
	}
}

// TestRejects refuses records, and checks that the reason says where and what.
func TestRejects(t *testing.T) {
	for _, c := range []struct {
		name, record string
		want         string // in the reason
	}{
		{"empty", "", "byte 0: the payload is empty; send one JSON object"},
		{"white space", " \n\t", "the payload is empty"},
		{"byte order mark alone", "\xef\xbb\xbf", "the payload is empty"},
		{"list", ` [{"a":1}]`, "byte 1: the record is a list; send its elements as application/x-ndjson"},
		{"string", `"x"`, `byte 0: a string where an object should be`},
		{"number", `-1`, "byte 0: a number where an object should be"},
		{"null", `null`, "byte 0: a word where an object should be"},
		{"binary", "\x00\x01", "byte 0: byte 0x00 where a value should be"},
		{"gzip", "\x1f\x8b\x08", "byte 0: byte 0x1f where a value should be; it looks compressed: send it unpacked"},
		{"UTF-16", "{\x00\"\x00", "byte 1: byte 0x00 where a field name in double quotes should be; it looks like UTF-16: send UTF-8"},
		{"UTF-16 with a mark", "\xff\xfe{\x00", "byte 0: byte 0xff where a value should be; it looks like UTF-16: send UTF-8"},
		{"second object", `{"a":1} {"a":2}`, "byte 8: a second object; send many records as application/x-ndjson"},
		{"trailing garbage", `{"a":1}x`, "byte 7: 'x' after the end of the object"},
		{"no end", `{"a":1`, "byte 6: the record ends where ',' or '}' should be"},
		{"no value", `{"a":}`, "field a, byte 5: '}' where a value should be"},
		{"no colon", `{"a" 1}`, "byte 5: '1' where ':' should be"},
		{"no comma", `{"a":1 "b":2}`, `byte 7: '"' where ',' or '}' should be`},
		{"last comma", `{"a":1,}`, "byte 7: a comma before '}'; remove the last comma"},
		{"comma in a list", `{"n":[1,]}`, "field n[1], byte 8: ']' where a value should be"},
		{"bare key", `{a:1}`, "byte 1: 'a' where a field name in double quotes should be"},
		{"single quotes", `{"a":'x'}`, `quote text with "`},
		{"NaN", `{"a":NaN}`, "JSON has no NaN and no Infinity: send null"},
		{"infinity", `{"n":[-Infinity]}`, "field n[0], byte 6: '-' where a value should be; JSON has no NaN and no Infinity"},
		{"None", `{"x":None}`, "byte 5: 'N' where a value should be; send null for a missing value"},
		{"True", `{"x":True}`, "write true and false in lower case"},
		{"half a word", `{"x":tru}`, "byte 5: 't' where a value should be"},
		{"leading zero", `{"a":01}`, "field a, byte 5: a number with a leading zero"},
		{"no digit", `{"a":-}`, "field a, byte 6: '}' where a digit should be"},
		{"no decimal", `{"a":1.}`, "byte 7: '}' where a digit should be"},
		{"no exponent", `{"a":1e+}`, "byte 8: '}' where a digit should be"},
		{"leading point", `{"a":.5}`, "write numbers with a digit first"},
		{"open string", `{"s":"x}`, "field s, byte 5: a string without an end"},
		{"open string after escape", `{"s":"x\"}`, "field s, byte 5: a string without an end"},
		{"control character", "{\"s\":\"x\ny\"}", "field s, byte 7: control character 0x0a in a string"},
		{"control character in a name", "{\"s\x00\":1}", "byte 3: control character 0x00 in a string"},
		{"bad escape", `{"s":"x\y"}`, `field s, byte 7: backslash before 'y'; write a backslash as \\`},
		{"bad escape of a new field", `{"q":"\x"}`, `byte 6: backslash before 'x'`},
		{"bad escape in a name", `{"q\x":1}`, `byte 3: backslash before 'x'`},
		{"short unicode escape", `{"s":"\u12g4"}`, `field s, byte 6: \u without four hexadecimal digits`},
		{"invalid UTF-8", "{\"s\":\"abcdefgh\xff\"}", "field s, byte 14: byte 0xff is not valid UTF-8"},
		{"cut UTF-8", "{\"s\":\"\xe6\x97\"}", "field s, byte 6: byte 0xe6 is not valid UTF-8"},
		{"surrogate as UTF-8", "{\"s\":\"\xed\xa0\x80\"}", "byte 6: byte 0xed is not valid UTF-8"},
		{"invalid UTF-8 in a new field", "{\"q\":\"\xff\"}", "byte 6: byte 0xff is not valid UTF-8"},
		{"invalid UTF-8 in a name", "{\"\xff\":1}", "byte 2: byte 0xff is not valid UTF-8"},
		{"too deep", `{"o":{"p":[[1]]}}`, "field o.p[0], byte 11: nested deeper than 3 levels; flatten the record"},
		{"too deep in a new field", `{"q":[[[1]]]}`, "field q, byte 7: nested deeper than 3 levels"},
		{"10,000 deep", strings.Repeat(`{"a":`, 10_000) + "1" + strings.Repeat("}", 10_000), "nested deeper than 3 levels"},
		{"10,000 lists", `{"n":` + strings.Repeat("[", 10_000), "nested deeper than 3 levels"},
		{"too large", `{"s":"` + strings.Repeat("x", 80_000) + `"}`, "the record has 80008 bytes, the limit is 70000"},
		{"map key", `{"m":{x}}`, "field m, byte 6: 'x' where a field name in double quotes should be"},
		{"map key text", "{\"m\":{\"\x01\"}}", "field m, byte 7: control character 0x01"},
		{"map key escape", `{"m":{"\q":1}}`, "field m, byte 7: backslash before 'q'"},
		{"map without colon", `{"m":{"k"}}`, "field m.k, byte 9: '}' where ':' should be"},
		{"map value", `{"m":{"k":nul}}`, "field m.k, byte 10: 'n' where a value should be"},
		{"map without comma", `{"m":{"k":1 2}}`, "field m.k, byte 12: '2' where ',' or '}' should be"},
		{"map too deep", `{"o":{"m":{"k":{"x":1}}}}`, "nested deeper than 3 levels"},
		{"list of the record's end", `{"n":[1`, "field n[0], byte 7: the record ends where ',' or ']' should be"},
		{"word of a boolean", `{"t":falsy}`, "field t, byte 5: 'f' where a value should be"},
		{"time without end", `{"w":"2026`, "field w, byte 5: a string without an end"},
		{"time with bad escape", `{"w":"\z"}`, "field w, byte 6: backslash before 'z'"},
		{"comma in a new object", `{"q":{"x":1,}}`, "byte 12: a comma before '}'"},
		{"no colon in a new object", `{"q":{"x"}}`, "byte 9: '}' where ':' should be"},
		{"no comma in a new list", `{"q":[1 2]}`, "byte 8: '2' where ',' or ']' should be"},
		{"no name", "{\x00:1}", "byte 1: byte 0x00 where a field name"},
		{"name with a quote unescaped", `{"q"r":1}`, "byte 4: 'r' where ':' should be"},
		{"open name", `{"a`, "byte 1: a string without an end"},
		{"a brace alone", `{`, "byte 1: the record ends where a field name in double quotes should be"},
		{"hostile name", "{\"\u202e\\u001b[31m" + strings.Repeat("n", 500) + "\":nul}", "field `??[31mnnnn"},
		{"hostile value", "{\"a\":\"\u202e\"\u202e}", `byte 10: byte 0xe2 where ',' or '}' should be`},
	} {
		t.Run(c.name, func(t *testing.T) {
			table := structOf(
				nullable("m", mapOf(prim(schema.String), prim(schema.Long), true)), nullable("t", prim(schema.Boolean)),
				nullable("w", prim(schema.Timestamp)), nullable("q\"r", prim(schema.Long)),
			)
			d := decode.NewDecoder(decode.NewSchema(table, decode.Options{MaxDepth: 3, MaxEventBytes: 70_000}))
			accept(t, d, `{"a":1,"s":"x","n":[1],"o":{"p":[2]}}`)
			if got := reject(t, d, c.record); !strings.Contains(got, c.want) {
				t.Errorf("reason %q, want %q in it", got, c.want)
			}
			accept(t, d, `{"a":2}`)
			want := []row{
				{"a": int64(1), "s": "x", "n": []any{int64(1)}, "o": row{"p": []any{int64(2)}}},
				{"a": int64(2)},
			}
			if diff := cmp.Diff(want, take(t, d)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}
