package decode_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

func prim(k schema.Kind) *schema.Type { return &schema.Type{Kind: k} }

func decimal(precision, scale int) *schema.Type {
	return &schema.Type{Kind: schema.Decimal, Precision: precision, Scale: scale}
}

func structOf(fields ...schema.Field) *schema.Type {
	return &schema.Type{Kind: schema.Struct, Fields: fields}
}

func nullable(name string, t *schema.Type) schema.Field {
	return schema.Field{Name: name, Type: t, Nullable: true}
}

func required(name string, t *schema.Type) schema.Field { return schema.Field{Name: name, Type: t} }

func arrayOf(t *schema.Type, containsNull bool) *schema.Type {
	return &schema.Type{Kind: schema.Array, Elem: t, ContainsNull: containsNull}
}

func mapOf(k, v *schema.Type, containsNull bool) *schema.Type {
	return &schema.Type{Kind: schema.Map, Key: k, Elem: v, ContainsNull: containsNull}
}

type targetCase struct {
	typ  *schema.Type
	json string
	want any // the value of v, or the whole row
}

func rescued(value string) row { return row{"_rescued": `{"v":` + value + `}`} }

var targetCases = []targetCase{
	{prim(schema.Boolean), `true`, true},
	{prim(schema.Boolean), `false`, false},
	{prim(schema.Boolean), `"true"`, rescued(`"true"`)},
	{prim(schema.Boolean), `0`, rescued(`0`)},
	{prim(schema.Byte), `-128`, int32(-128)},
	{prim(schema.Byte), `127.0`, int32(127)},
	{prim(schema.Byte), `128`, rescued(`128`)},
	{prim(schema.Byte), `-129`, rescued(`-129`)},
	{prim(schema.Short), `32767`, int32(32767)},
	{prim(schema.Short), `32768`, rescued(`32768`)},
	{prim(schema.Integer), `-2147483648`, int32(-2147483648)},
	{prim(schema.Integer), `2147483648`, rescued(`2147483648`)},
	{prim(schema.Integer), `1e9`, int32(1000000000)},
	{prim(schema.Long), `9223372036854775807`, int64(9223372036854775807)},
	{prim(schema.Long), `-0`, int64(0)},
	{prim(schema.Long), `1e-1`, rescued(`1e-1`)},
	{prim(schema.Long), `100000000000000000000e-2`, int64(1000000000000000000)},
	{prim(schema.Long), `1.00000000000000000000000000`, int64(1)},
	{prim(schema.Long), `1.00000000000000000000000001`, rescued(`1.00000000000000000000000001`)},
	{prim(schema.Float), `0.1`, float32(0.1)},
	{prim(schema.Float), `16777216`, float32(16777216)},
	{prim(schema.Float), `16777217`, rescued(`16777217`)},
	{prim(schema.Float), `3.5e38`, rescued(`3.5e38`)},
	{prim(schema.Float), `1e-60`, rescued(`1e-60`)},
	{prim(schema.Double), `-1.7976931348623157e308`, -1.7976931348623157e308},
	{prim(schema.Double), `"NaN"`, rescued(`"NaN"`)},
	{prim(schema.Double), `0.1234567890123456789012345678901234567890`, 0.1234567890123456789},
	{decimal(5, 2), `123.45`, "123.45"},
	{decimal(5, 2), `-1`, "-1.00"},
	{decimal(5, 2), `1.230`, "1.23"},
	{decimal(5, 2), `12e1`, "120.00"},
	{decimal(5, 2), `"999.99"`, "999.99"},
	{decimal(5, 2), `1000`, rescued(`1000`)},
	{decimal(5, 2), `0.001`, rescued(`0.001`)},
	{decimal(5, 2), `0.000e3`, "0.00"},
	{decimal(5, 2), `"1 "`, rescued(`"1 "`)},
	{decimal(5, 2), `""`, rescued(`""`)},
	{decimal(18, 0), `999999999999999999`, "999999999999999999"},
	{decimal(38, 0), strings.Repeat("9", 38), strings.Repeat("9", 38)},
	{decimal(38, 10), `-1234567890123456789012345678.0123456789`, "-1234567890123456789012345678.0123456789"},
	{decimal(38, 38), `-0.00000000000000000000000000000000000001`, "-0.00000000000000000000000000000000000001"},
	{decimal(38, 0), "1" + strings.Repeat("0", 38), rescued("1" + strings.Repeat("0", 38))},
	{prim(schema.String), `""`, ""},
	{prim(schema.String), `"2026-01-01T00:00:00Z"`, "2026-01-01T00:00:00Z"},
	{prim(schema.String), `5`, rescued(`5`)},
	{prim(schema.String), `{"a":1}`, rescued(`{"a":1}`)},
	{prim(schema.Binary), `"AAEC/w=="`, []byte{0, 1, 2, 255}},
	{prim(schema.Binary), `""`, []byte{}},
	{prim(schema.Binary), `"\u0041AEC"`, []byte{0, 1, 2}},
	{prim(schema.Binary), `"AAEC/w"`, rescued(`"AAEC/w"`)},
	{prim(schema.Binary), `"AAEC/x=="`, rescued(`"AAEC/x=="`)},
	{prim(schema.Binary), `"AA\nEC"`, rescued(`"AA\nEC"`)},
	{prim(schema.Binary), `"not base64"`, rescued(`"not base64"`)},
	{prim(schema.Date), `"1970-01-02"`, int32(1)},
	{prim(schema.Date), `"0001-01-01"`, int32(-719162)},
	{prim(schema.Date), `"9999-12-31"`, int32(2932896)},
	{prim(schema.Date), `"2026-13-01"`, rescued(`"2026-13-01"`)},
	{prim(schema.Date), `"2026-1-1"`, rescued(`"2026-1-1"`)},
	{prim(schema.Date), `20260101`, rescued(`20260101`)},
	{prim(schema.Timestamp), `"1970-01-01T00:00:01+00:00"`, int64(1000000)},
	{prim(schema.Timestamp), `"1970-01-01T00:00:01"`, rescued(`"1970-01-01T00:00:01"`)},
	{prim(schema.Timestamp), `1700000000`, rescued(`1700000000`)},
	{prim(schema.TimestampNTZ), `"1970-01-01T00:00:01.5"`, int64(1500000)},
	{prim(schema.TimestampNTZ), `"1970-01-01T00:00:01Z"`, rescued(`"1970-01-01T00:00:01Z"`)},
	{arrayOf(prim(schema.Integer), true), `[1,null,"x",4294967296]`, row{"v": []any{int32(1), nil, nil, nil}, "_rescued": `{"v[2]":"x","v[3]":4294967296}`}},
	{arrayOf(prim(schema.Integer), false), `[1,2]`, []any{int32(1), int32(2)}},
	{arrayOf(prim(schema.Integer), false), `[1,null]`, rescued(`[1,null]`)},
	{arrayOf(prim(schema.Integer), false), `[1,"x"]`, rescued(`[1,"x"]`)},
	{arrayOf(arrayOf(prim(schema.Date), false), true), `[["1970-01-01"],["x"],null]`, row{"v": []any{[]any{int32(0)}, nil, nil}, "_rescued": `{"v[1]":["x"]}`}},
	{arrayOf(arrayOf(prim(schema.Date), true), false), `[["x"],null]`, rescued(`[["x"],null]`)},
	{structOf(nullable("a", prim(schema.Long)), nullable("b", arrayOf(structOf(nullable("c", prim(schema.String))), true))), `{"b":[{"c":"x"},null,{}]}`, row{"v": row{"b": []any{row{"c": "x"}, nil, row{}}}}},
	{mapOf(prim(schema.String), prim(schema.Long), true), `{"a":1,"b c":null,"\u0063":"x"}`, row{"v": []column.Entry{{Key: "a", Value: int64(1)}, {Key: "b c", Value: nil}, {Key: "c", Value: nil}}, "_rescued": `{"v.c":"x"}`}},
	{mapOf(prim(schema.String), prim(schema.Long), false), `{"a":1,"b":null}`, rescued(`{"a":1,"b":null}`)},
	{mapOf(prim(schema.String), prim(schema.Long), false), `{"a":1,"b":[]}`, rescued(`{"a":1,"b":[]}`)},
	{mapOf(prim(schema.String), prim(schema.Long), true), `{}`, []column.Entry{}},
	{mapOf(prim(schema.String), prim(schema.Long), true), `{"a":1,"a":2}`, rescued(`{"a":1,"a":2}`)},
	{mapOf(prim(schema.String), prim(schema.Long), true), `[]`, rescued(`[]`)},
	{mapOf(prim(schema.Integer), prim(schema.Boolean), true), `{"1":true,"-2":false}`, []column.Entry{{Key: int32(1), Value: true}, {Key: int32(-2), Value: false}}},
	{mapOf(prim(schema.Integer), prim(schema.Boolean), true), `{"1":true,"1.0":false}`, rescued(`{"1":true,"1.0":false}`)},
	{mapOf(prim(schema.Integer), prim(schema.Boolean), true), `{"x":true}`, rescued(`{"x":true}`)},
	{mapOf(prim(schema.Boolean), prim(schema.Boolean), true), `{"true":true,"false":false}`, []column.Entry{{Key: true, Value: true}, {Key: false, Value: false}}},
	{mapOf(prim(schema.Date), structOf(nullable("x", prim(schema.Double))), true), `{"1970-01-02":{"x":1},"1970-01-03":{}}`, []column.Entry{{Key: int32(1), Value: row{"x": 1.0}}, {Key: int32(2), Value: row{}}}},
}

// TestTargets decodes single values into a column v of a table, for every type that a table can have.
func TestTargets(t *testing.T) {
	for _, c := range targetCases {
		t.Run(c.typ.String()+" "+c.json[:min(len(c.json), 30)], func(t *testing.T) {
			s := decode.NewSchema(structOf(nullable("v", c.typ)), decode.Options{})
			d := decode.NewDecoder(s)
			accept(t, d, `{}`, `{"v":`+c.json+`}`, `{"v":null}`)
			got := take(t, d)
			want, ok := c.want.(row)
			if !ok {
				want = row{"v": c.want}
			}
			if diff := cmp.Diff([]row{{}, want, {}}, got); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// TestMapKeysRepeat covers maps of more entries than are compared one by one, for all types of keys.
func TestMapKeysRepeat(t *testing.T) {
	numbers, dates, times, texts := make([]string, 30), make([]string, 30), make([]string, 30), make([]string, 30)
	for i := range 30 {
		digits := string([]byte{'1' + byte(i/10), '0' + byte(i%10)})
		numbers[i], texts[i], dates[i], times[i] = digits, "AAA"+string(rune('A'+i%26)), "20"+digits+"-01-01", "20"+digits+"-01-01T00:00:00"
	}
	for _, c := range []struct {
		key  *schema.Type
		keys []string
	}{
		{prim(schema.String), numbers},
		{prim(schema.Byte), numbers},
		{prim(schema.Long), numbers},
		{prim(schema.Float), numbers},
		{prim(schema.Double), numbers},
		{decimal(10, 2), numbers},
		{decimal(30, 2), numbers},
		{prim(schema.Binary), texts[:26]},
		{prim(schema.Date), dates},
		{prim(schema.TimestampNTZ), times},
	} {
		t.Run(c.key.String(), func(t *testing.T) {
			d := decode.NewDecoder(decode.NewSchema(structOf(nullable("v", mapOf(c.key, prim(schema.Long), true))), decode.Options{}))
			distinct := `{"` + strings.Join(c.keys, `":1,"`) + `":1`
			accept(t, d, `{"v":`+distinct+`}}`, `{"v":`+distinct+`,"`+c.keys[7]+`":2}}`)
			rows := take(t, d)
			if entries, _ := rows[0]["v"].([]column.Entry); len(entries) != len(c.keys) {
				t.Errorf("%d entries of %d", len(entries), len(c.keys))
			}
			if rows[1]["v"] != nil || rows[1]["_rescued"] == nil {
				t.Errorf("row with a key twice: %v", rows[1])
			}
		})
	}
}

func TestNotNullColumns(t *testing.T) {
	table := structOf(
		required("id", prim(schema.Long)),
		nullable("o", structOf(required("x", prim(schema.String)), nullable("y", prim(schema.Long)))),
	)
	d := decode.NewDecoder(decode.NewSchema(table, decode.Options{}))
	accept(t, d, `{"id":1}`, `{"o":{"x":"a"},"id":2}`)
	for record, want := range map[string]string{
		`{}`:                           "field id, byte 1: missing, and the table's column is NOT NULL",
		`{"id":null}`:                  "field id, byte 10: missing",
		`{"id":"x"}`:                   `field id, byte 6: "x" does not fit the column's type long`,
		`{"id":1.5,"z":1}`:             "field id, byte 6: 1.5 does not fit",
		`{"id":4,"id":5}`:              "field id, byte 13: the field occurs twice",
		`{"id":3,"new":1,"o":{"y":1}}`: "field o.x, byte 26: missing",
	} {
		if got := reject(t, d, record); !strings.Contains(got, want) {
			t.Errorf("%s: reason %q, want %q in it", record, got, want)
		}
	}
	want := []row{{"id": int64(1)}, {"id": int64(2), "o": row{"x": "a"}}}
	if diff := cmp.Diff(want, take(t, d)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestRejectPolicy refuses what would be rescued, and makes no columns for refused records.
func TestRejectPolicy(t *testing.T) {
	s := decode.NewSchema(nil, decode.Options{OnMismatch: decode.RejectRecord, MaxColumns: 3})
	d := decode.NewDecoder(s)
	accept(t, d, `{"a":1,"o":{"x":1}}`)
	for record, want := range map[string]string{
		`{"a":"x","new":1}`:               `field a, byte 5: "x" does not fit the column's type long`,
		`{"new":1,"o":{"x":[1,2]}}`:       "field o.x, byte 18: [1,2] does not fit the column's type long",
		`{"new":1,"A":1}`:                 "field A, byte 13: no column can be made for the field; rename it",
		`{"_weir_x":1}`:                   "names that begin with _weir_ and _rescued are weir's",
		`{"a":1,"a":2}`:                   "field a, byte 11: the field occurs twice; send each field once",
		`{"new":[1,"x"]}`:                 "field new, byte 7: no column can be made for the field",
		`{"b":1,"c":2}`:                   "field b, byte 5: no column can be made for the field",
		`{"new":123456789012345678901}`:   "field new, byte 7: no column can be made",
		`{"new":1,"o":{"y":{"x":1e999}}}`: "field o.y, byte 18: no column can be made",
		`{"new":1,}`:                      "a comma before",
	} {
		if got := reject(t, d, record); !strings.Contains(got, want) {
			t.Errorf("%s: reason %q, want %q in it", record, got, want)
		}
	}
	accept(t, d, `{"a":2,"c":true,"n":null}`)
	if got := reject(t, d, `{"d":1}`); !strings.Contains(got, "the limit of columns is reached") {
		t.Errorf("reason %q", got)
	}
	if got, want := s.Current().String(), "struct<a:long,o:struct<x:long>,c:boolean>"; got != want {
		t.Errorf("schema %s, want %s", got, want)
	}
	want := []row{{"a": int64(1), "o": row{"x": int64(1)}}, {"a": int64(2), "c": true}}
	if diff := cmp.Diff(want, take(t, d)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if got := s.Stats(); got != (decode.Stats{Columns: 3, Refused: 11}) {
		t.Errorf("stats %+v", got)
	}
}

func TestLines(t *testing.T) {
	d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{MaxEventBytes: 20}))
	payload := "\xef\xbb\xbf{\"a\":1}\r\n\r\n  \n{\"a\":2,}\n\n{\"a\":\n3}\n [{\"a\":4}]\n{\"a\":5,\"bbbbbbbbbbbbbb\":1}\n{\"a\":6}"
	n, rejects := d.Append(event.NDJSON, []byte(payload), decode.System{}, []decode.Reject{{Row: 99, Reason: "earlier"}})
	if n != 2 {
		t.Errorf("accepted %d", n)
	}
	want := []decode.Reject{
		{Row: 99, Reason: "earlier"},
		{Row: 3, Reason: "field a, byte 7: a comma before '}'; remove the last comma"},
		{Row: 5, Reason: "field a, byte 5: the record ends where a value should be; the record is not valid JSON"},
		{Row: 6, Reason: "byte 0: a number where an object should be; a record is a JSON object such as {\"value\": 1}"},
		{Row: 7, Reason: "byte 1: the record is a list; send its elements as application/x-ndjson, one object per line"},
		{Row: 8, Reason: "byte 20: the record has 26 bytes, the limit is 20; split it, or raise the pipeline's limit for events"},
	}
	if diff := cmp.Diff(want, rejects); diff != "" {
		t.Errorf("rejects (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]row{{"a": int64(1)}, {"a": int64(6)}}, take(t, d)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func TestLinesWithoutRecords(t *testing.T) {
	d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{}))
	for _, payload := range []string{"", "\n\r\n \n", "\xef\xbb\xbf\n"} {
		n, rejects := d.Append(event.NDJSON, []byte(payload), decode.System{}, nil)
		want := []decode.Reject{{Reason: "byte 0: the payload holds no record; send one JSON object per line"}}
		if diff := cmp.Diff(want, rejects); n != 0 || diff != "" {
			t.Errorf("%q: accepted %d, rejects (-want +got):\n%s", payload, n, diff)
		}
	}
}

func TestMediaTypes(t *testing.T) {
	d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{}))
	for mime, want := range map[event.MIME]int{
		"": 1, "application/json": 1, "Application/JSON; charset=utf-8": 1, "application/x-ndjson ;x=y": 1,
		"text/plain": 0, "application/jsonx": 0, "application/\x1b[31m": 0,
	} {
		n, rejects := d.Append(mime, []byte(`{"a":1}`), decode.System{}, nil)
		if n != want || len(rejects) != 1-want {
			t.Errorf("%q: accepted %d, rejects %+v", mime, n, rejects)
		}
		for _, r := range rejects {
			checkReason(t, r.Reason)
		}
	}
}

func TestSystemColumns(t *testing.T) {
	all := decode.SystemColumns{Stream: true, Seq: true, Received: true}
	s := decode.NewSchema(structOf(nullable("a", prim(schema.Long))), decode.Options{SystemColumns: all})
	d := decode.NewDecoder(s)
	for i, sys := range []decode.System{{Stream: "s", Seq: 7, ReceivedMicros: 9}, {ReceivedMicros: 10}, {Stream: "t", Seq: 8, ReceivedMicros: 11}} {
		record := []string{`{"a":1}`, `{"_weir_seq":5}`, `{"a":3}`}[i]
		if n, rejects := d.Append(event.JSON, []byte(record), sys, nil); n != 1 {
			t.Fatalf("rejects %+v", rejects)
		}
	}
	want := []row{
		{"a": int64(1), "_weir_stream": "s", "_weir_seq": int64(7), "_weir_received": int64(9)},
		{"_weir_received": int64(10), "_rescued": `{"_weir_seq":5}`},
		{"a": int64(3), "_weir_stream": "t", "_weir_seq": int64(8), "_weir_received": int64(11)},
	}
	if diff := cmp.Diff(want, take(t, d)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if got, want := s.Current().String(), "struct<a:long,_weir_stream:string,_weir_seq:long,_weir_received:timestamp,_rescued:string>"; got != want {
		t.Errorf("schema %s, want %s", got, want)
	}
}

// TestForeignNames begins with tables that use weir's names for something else.
func TestForeignNames(t *testing.T) {
	table := structOf(nullable("a", prim(schema.Long)), nullable("_Rescued", prim(schema.Long)), nullable("_weir_seq", prim(schema.String)))
	s := decode.NewSchema(table, decode.Options{SystemColumns: decode.SystemColumns{Seq: true}})
	d := decode.NewDecoder(s)
	if n, rejects := d.Append(event.JSON, []byte(`{"a":"x","_Rescued":1,"_weir_seq":"y"}`), decode.System{Seq: 4}, nil); n != 1 {
		t.Fatalf("rejects %+v", rejects)
	}
	want := []row{{"_weir_rescued": `{"a":"x","_Rescued":1,"_weir_seq":"y"}`}}
	if diff := cmp.Diff(want, take(t, d)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestSourceNames finds the fields of mapped columns again when a pipeline starts with the table it made.
func TestSourceNames(t *testing.T) {
	first := decode.NewSchema(nil, decode.Options{})
	accept(t, decode.NewDecoder(first), `{"a b":1,"o":{"x=y":2}}`)
	table, err := schema.Parse(first.Current().JSON())
	if err != nil {
		t.Fatal(err)
	}
	s := decode.NewSchema(table, decode.Options{})
	d := decode.NewDecoder(s)
	accept(t, d, `{"a b":3,"o":{"x=y":4}}`, `{"a_b":5,"a=b":6}`)
	want := []row{{"a_b": int64(3), "o": row{"x_y": int64(4)}}, {"_rescued": `{"a_b":5,"a=b":6}`}}
	if diff := cmp.Diff(want, take(t, d)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestWholeRecordIsRescued when naming every misfit would take far more memory than the record.
func TestWholeRecordIsRescued(t *testing.T) {
	d := decode.NewDecoder(decode.NewSchema(structOf(nullable("a", arrayOf(prim(schema.Long), true))), decode.Options{}))
	record := `{"a":[` + strings.Repeat(`"x",`, 10_000) + `1]}`
	accept(t, d, " "+record+"\n", `{"$":1e999}`)
	rows := take(t, d)
	if got, want := rows[0]["_rescued"], `{"$":`+record+`}`; got != want {
		t.Errorf("rescued %.100q, want %.100q", got, want)
	}
	if got, want := rows[1]["_rescued"], "{\"`$`\":1e999}"; got != want {
		t.Errorf("rescued %q, want %q", got, want)
	}
}

// TestExpansionIsBounded refuses a small record that would fill a column batch with nulls.
func TestExpansionIsBounded(t *testing.T) {
	var wide strings.Builder
	for i := range 500 {
		wide.WriteString(`"` + strings.Repeat("f", i+1) + `":1,`)
	}
	d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{MaxEventBytes: 200_000}))
	accept(t, d, `{"a":[{`+strings.TrimSuffix(wide.String(), ",")+`}]}`)
	record := `{"a":[` + strings.Repeat(`{},`, 7_000) + `{}]}`
	if got := reject(t, d, record); !strings.Contains(got, "field a, byte 21008: the lists of the record would fill too many slots") {
		t.Errorf("reason %q", got)
	}
	accept(t, d, `{"a":[`+strings.Repeat(`{},`, 6_000)+`{}]}`)
}

// everyType is a table with a column of every type.
func everyType() *schema.Type {
	return structOf(
		nullable("b", prim(schema.Byte)), nullable("s", prim(schema.Short)), nullable("i", prim(schema.Integer)),
		nullable("a", prim(schema.Long)), nullable("f", prim(schema.Float)), nullable("c", prim(schema.Double)),
		nullable("dec", decimal(10, 2)), nullable("wide", decimal(38, 10)), nullable("text", prim(schema.String)),
		nullable("bin", prim(schema.Binary)), nullable("date", prim(schema.Date)), nullable("t", prim(schema.Timestamp)),
		nullable("ntz", prim(schema.TimestampNTZ)), nullable("ok", prim(schema.Boolean)),
		nullable("d", structOf(required("e", prim(schema.Boolean)), nullable("f", arrayOf(prim(schema.Date), false)))),
		nullable("strict", arrayOf(prim(schema.Long), false)),
		nullable("map", mapOf(prim(schema.Integer), structOf(nullable("k", arrayOf(prim(schema.Short), true))), true)),
	)
}
