package decode_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hamba/avro/v2"
	"github.com/hamba/avro/v2/ocf"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// allAvro has a field of every type.
const allAvro = `{"type":"record","name":"All","namespace":"t","fields":[
 {"name":"b","type":"boolean"},{"name":"i","type":"int"},{"name":"l","type":"long"},{"name":"f","type":"float"},{"name":"d","type":"double"},
 {"name":"s","type":"string"},{"name":"bin","type":"bytes"},{"name":"fix","type":{"type":"fixed","name":"F3","size":3}},
 {"name":"e","type":{"type":"enum","name":"E","symbols":["A","B","C"]}},
 {"name":"maybe","type":["null","long"]},{"name":"perhaps","type":["string","null"]},
 {"name":"either","type":["null","long","string",{"type":"record","name":"Pair","fields":[{"name":"x","type":"long"},{"name":"y","type":["null","string"]}]}]},
 {"name":"list","type":{"type":"array","items":["null","long"]}},{"name":"pairs","type":{"type":"array","items":"Pair"}},
 {"name":"map","type":{"type":"map","values":"double"}},{"name":"pair","type":"Pair"},
 {"name":"date","type":{"type":"int","logicalType":"date"}},{"name":"tms","type":{"type":"int","logicalType":"time-millis"}},
 {"name":"tsm","type":{"type":"long","logicalType":"timestamp-millis"}},{"name":"tsu","type":{"type":"long","logicalType":"timestamp-micros"}},
 {"name":"dec","type":{"type":"bytes","logicalType":"decimal","precision":30,"scale":4}},
 {"name":"small","type":{"type":"fixed","name":"F8","size":8,"logicalType":"decimal","precision":12,"scale":2}},
 {"name":"id","type":{"type":"string","logicalType":"uuid"}},{"name":"nothing","type":"null"}]}`

// randomAvro is a record of allAvro for the library, and the row that it should be.
func randomAvro(r *rand.Rand) (rec, row map[string]any) {
	text := func() string { return word(r, r.IntN(9)) + []string{"", "é", "日本"}[r.IntN(3)] }
	pair := func() (map[string]any, map[string]any) {
		x, y := r.Int64()-r.Int64(), text()
		if r.IntN(2) == 0 {
			return map[string]any{"x": x, "y": nil}, map[string]any{"x": x, "y": nil}
		}
		return map[string]any{"x": x, "y": y}, map[string]any{"x": x, "y": y}
	}
	at := time.UnixMilli(r.Int64N(4e12) - 1e12).UTC()
	dec := big.NewRat(r.Int64()-r.Int64(), 10_000)
	small := big.NewRat(r.Int64N(1e12)-5e11, 100)
	day := time.Unix(86400*(r.Int64N(40000)-10000), 0).UTC()
	rec = map[string]any{
		"b": r.IntN(2) == 0, "i": r.IntN(1<<31) - 1<<30, "l": r.Int64() - r.Int64(), "f": float32(r.NormFloat64()), "d": r.NormFloat64(),
		"s": text(), "bin": []byte(text()), "fix": [3]byte{1, byte(r.IntN(256)), 255}, "e": []string{"A", "B", "C"}[r.IntN(3)],
		"date": day, "tms": time.Duration(r.IntN(86400000)) * time.Millisecond, "tsm": at, "tsu": at.Add(123 * time.Microsecond),
		"dec": dec, "small": small, "id": "0f1e2d3c-0000-1111-2222-333344445555", "nothing": nil,
	}
	row = map[string]any{
		"b": rec["b"], "i": int32(rec["i"].(int)), "l": rec["l"], "f": rec["f"], "d": rec["d"], "s": rec["s"], "bin": rec["bin"],
		"fix": append([]byte{}, []byte{1, rec["fix"].([3]byte)[1], 255}...), "e": rec["e"], "date": int32(day.Unix() / 86400),
		"tms": int32(rec["tms"].(time.Duration).Milliseconds()), "tsm": at.UnixMicro(), "tsu": at.UnixMicro() + 123,
		"dec": dec.FloatString(4), "small": small.FloatString(2), "id": rec["id"],
	}
	rec["maybe"], row["maybe"] = any(nil), nil
	if r.IntN(2) == 0 {
		rec["maybe"], row["maybe"] = int64(7), int64(7)
	}
	rec["perhaps"], row["perhaps"] = any(nil), nil
	if r.IntN(2) == 0 {
		s := text()
		rec["perhaps"], row["perhaps"] = s, s
	}
	p, want := pair()
	rec["pair"], row["pair"] = p, want
	branch := map[string]any{"long": nil, "string": nil, "Pair": nil}
	switch r.IntN(4) {
	case 0:
		rec["either"], row["either"] = nil, nil
	case 1:
		rec["either"], branch["long"], row["either"] = map[string]any{"long": int64(5)}, int64(5), branch
	case 2:
		rec["either"], branch["string"], row["either"] = map[string]any{"string": "five"}, "five", branch
	default:
		rec["either"], branch["Pair"], row["either"] = map[string]any{"t.Pair": p}, want, branch
	}
	list, wantList := []any{}, []any{}
	for range r.IntN(4) {
		if r.IntN(3) == 0 {
			list, wantList = append(list, nil), append(wantList, nil)
		} else {
			list, wantList = append(list, int64(3)), append(wantList, int64(3))
		}
	}
	rec["list"], row["list"] = list, wantList
	pairs, wantPairs := []any{}, []any{}
	for range r.IntN(3) {
		p, want := pair()
		pairs, wantPairs = append(pairs, p), append(wantPairs, want)
	}
	rec["pairs"], row["pairs"] = pairs, wantPairs
	m, entries := map[string]any{}, []column.Entry{}
	for i := range r.IntN(3) {
		k, v := fmt.Sprint("k", i), r.Float64()
		m[k], entries = v, append(entries, column.Entry{Key: k, Value: v})
	}
	rec["map"], row["map"] = m, entries
	return rec, row
}

func avroSchema(t testing.TB, text string) *decode.AvroSchema {
	t.Helper()
	s, err := decode.NewAvroSchema([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func avroBytes(t testing.TB, text string, v any) []byte {
	t.Helper()
	return avroEncoded(t, avro.MustParse(text), v)
}

func avroEncoded(t testing.TB, s avro.Schema, v any) []byte {
	t.Helper()
	b, err := avro.Marshal(s, v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestAvro decodes what a library encoded: one by one, delimited, and as files of every codec.
func TestAvro(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var want []map[string]any
	var records []map[string]any
	var one [][]byte
	var many []byte
	for range 60 {
		rec, row := randomAvro(r)
		b := avroBytes(t, allAvro, rec)
		records, want, one = append(records, rec), append(want, row), append(one, b)
		many = append(binary.AppendUvarint(many, uint64(len(b))), b...)
	}
	check := func(name string, d *decode.Decoder) {
		t.Helper()
		b := d.Take()
		checkBatch(t, b)
		if b.Rows != len(want) {
			t.Fatalf("%s: %d rows of %d", name, b.Rows, len(want))
		}
		for i, w := range want {
			if diff := cmp.Diff(any(w), marked(w, b.Row(i))); diff != "" {
				t.Fatalf("%s, row %d (-want +got):\n%s", name, i, diff)
			}
		}
		d.Recycle(b)
	}
	o := decode.Options{Avro: &decode.Avro{Schema: avroSchema(t, allAvro)}}
	d := decode.NewDecoder(decode.NewSchema(nil, o))
	for _, b := range one {
		if n, rejects := d.Append(event.Avro, b, decode.System{}, nil); n != 1 {
			t.Fatal(rejects)
		}
	}
	check("one by one", d)
	if _, rejects := d.Append(event.AvroMany, many, decode.System{}, nil); len(rejects) > 0 {
		t.Fatal(rejects)
	}
	check("delimited", d)
	for _, codec := range []ocf.CodecName{ocf.Null, ocf.Deflate, ocf.Snappy, ocf.ZStandard} {
		d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{}))
		if _, rejects := d.Append(event.AvroFile, avroContainer(t, allAvro, codec, records...), decode.System{}, nil); len(rejects) > 0 {
			t.Fatal(codec, rejects)
		}
		check(string(codec), d)
	}
}

// TestAvroColumns shows which columns a schema makes.
func TestAvroColumns(t *testing.T) {
	got := map[string]string{}
	for _, f := range avroSchema(t, allAvro).Columns().Fields {
		got[f.Name] = f.Type.DDL()
	}
	pair := "struct<x: long, y: string>"
	want := map[string]string{
		"b": "boolean", "i": "integer", "l": "long", "f": "float", "d": "double", "s": "string", "bin": "binary", "fix": "binary", "e": "string",
		"maybe": "long", "perhaps": "string", "either": "struct<long: long, string: string, Pair: " + pair + ">", "list": "array<long>",
		"pairs": "array<" + pair + ">", "map": "map<string, double>", "pair": pair, "date": "date", "tms": "integer", "tsm": "timestamp",
		"tsu": "timestamp", "dec": "decimal(30,4)", "small": "decimal(12,2)", "id": "string",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func withID(id uint32, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32([]byte{0}, id), b...)
}

// TestAvroVersions sends records of three versions of a schema to one table: a field added, one removed, one renamed, and a
// default that changed. The reader's schema fills in what a writer did not know.
func TestAvroVersions(t *testing.T) {
	const v1 = `{"type":"record","name":"M","fields":[{"name":"id","type":"long"},{"name":"gone","type":"string"},{"name":"old","type":"int"}]}`
	const v2 = `{"type":"record","name":"M","fields":[{"name":"id","type":"long"},{"name":"name","type":"int"},{"name":"level","type":"string","default":"low"},{"name":"tags","type":{"type":"array","items":"string"},"default":[]}]}`
	const reader = `{"type":"record","name":"M","fields":[{"name":"id","type":"long"},{"name":"name","type":"long","aliases":["old"]},{"name":"level","type":"string","default":"high"},
		{"name":"tags","type":{"type":"array","items":"string"},"default":["none"]},{"name":"amount","type":{"type":"bytes","logicalType":"decimal","precision":9,"scale":2},"default":"\u0000\u00fa"},{"name":"note","type":["null","string"],"default":null}]}`
	ids := map[uint32]*decode.AvroSchema{1: avroSchema(t, v1), 2: avroSchema(t, v2)}
	lookup := func(id uint32) (*decode.AvroSchema, error) {
		if s := ids[id]; s != nil {
			return s, nil
		}
		return nil, fmt.Errorf("is not registered")
	}
	d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{Avro: &decode.Avro{Schema: avroSchema(t, reader), Lookup: lookup}}))
	payload := []byte{}
	for _, b := range [][]byte{
		withID(1, avroBytes(t, v1, map[string]any{"id": int64(1), "gone": "g", "old": 5})),
		withID(2, avroBytes(t, v2, map[string]any{"id": int64(2), "name": 6, "level": "mid", "tags": []string{"a"}})),
		withID(3, []byte{2}),
		{7, 7},
		withID(1, avroBytes(t, v1, map[string]any{"id": int64(3), "gone": "h", "old": 7})),
	} {
		payload = append(binary.AppendUvarint(payload, uint64(len(b))), b...)
	}
	n, rejects := d.Append(event.AvroMany, payload, decode.System{}, nil)
	if n != 3 || len(rejects) != 2 || rejects[0].Row != 2 || !strings.Contains(rejects[0].Reason, "schema 3: is not registered") ||
		rejects[1].Row != 3 || !strings.Contains(rejects[1].Reason, "no zero byte and schema id") {
		t.Fatal(n, rejects)
	}
	b := d.Take()
	checkBatch(t, b)
	want := []string{
		`{"id":1,"name":5,"level":"high","tags":["none"],"amount":2.50,"gone":"g"}`,
		`{"id":2,"name":6,"level":"mid","tags":["a"],"amount":2.50}`,
		`{"id":3,"name":7,"level":"high","tags":["none"],"amount":2.50,"gone":"h"}`,
	}
	for i, w := range want {
		if got := string(jsonRow(b, i)); got != w {
			t.Errorf("got  %s\nwant %s", got, w)
		}
	}
}

// TestAvroChangedDefault has writers of three versions at once: one without a field, two with it and with different defaults.
// A writer puts every field of its schema on the wire, so that its default is never asked for: that of the reader fills in
// what the oldest lacks, in files as well as by id, and without a reader there is none.
func TestAvroChangedDefault(t *testing.T) {
	with := func(field string) string {
		return `{"type":"record","name":"M","fields":[{"name":"id","type":"long"}` + field + `]}`
	}
	v1, v2, v3 := with(""), with(`,{"name":"level","type":"string","default":"low"}`), with(`,{"name":"level","type":"string","default":"high"}`)
	rec := map[string]any{"id": int64(1), "level": "low"}
	ids := map[uint32]*decode.AvroSchema{1: avroSchema(t, v1), 2: avroSchema(t, v2), 3: avroSchema(t, v3)}
	lookup := func(id uint32) (*decode.AvroSchema, error) { return ids[id], nil }
	for name, c := range map[string]struct {
		reader *decode.AvroSchema
		oldest string
	}{
		"no reader": {nil, `{"id":1}`},
		"low":       {avroSchema(t, v2), `{"id":1,"level":"low"}`},
		"high":      {avroSchema(t, v3), `{"id":1,"level":"high"}`},
	} {
		d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{Avro: &decode.Avro{Schema: c.reader, Lookup: lookup}}))
		for i, text := range []string{v1, v2, v3} {
			if n, rejects := d.Append(event.Avro, withID(uint32(i+1), avroBytes(t, text, rec)), decode.System{}, nil); n != 1 {
				t.Fatal(name, rejects)
			}
			if n, rejects := d.Append(event.AvroFile, avroContainer(t, text, ocf.Null, rec), decode.System{}, nil); n != 1 {
				t.Fatal(name, rejects)
			}
		}
		b := d.Take()
		checkBatch(t, b)
		for i := range b.Rows {
			want := `{"id":1,"level":"low"}`
			if i < 2 {
				want = c.oldest
			}
			if got := string(jsonRow(b, i)); got != want {
				t.Errorf("%s, row %d: got %s, want %s", name, i, got, want)
			}
		}
	}
}

// avroContainer is an object container file of records.
func avroContainer(t testing.TB, text string, codec ocf.CodecName, records ...map[string]any) []byte {
	t.Helper()
	var file bytes.Buffer
	enc, err := ocf.NewEncoder(text, &file, ocf.WithCodec(codec), ocf.WithBlockLength(7))
	if err != nil {
		t.Fatal(err)
	}
	for _, rec := range records {
		if err := enc.Encode(rec); err != nil {
			t.Fatal(err)
		}
	}
	if err := enc.Close(); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// TestAvroElsewhere decodes into tables that have other types, or not all columns.
func TestAvroElsewhere(t *testing.T) {
	const text = `{"type":"record","name":"M","fields":[{"name":"a","type":"long"},{"name":"b","type":"string"},{"name":"c","type":["null","long","string"]},{"name":"d","type":{"type":"array","items":"long"}},{"name":"next","type":["null","M"]}]}`
	rec := map[string]any{"a": int64(5), "b": "x", "c": map[string]any{"string": "s"}, "d": []any{int64(1), int64(2)}, "next": nil}
	inner := map[string]any{"a": int64(6), "b": "y", "c": nil, "d": []any{}, "next": nil}
	rec["next"] = map[string]any{"M": inner}
	b := avroBytes(t, text, rec)
	long, str := &schema.Type{Kind: schema.Long}, &schema.Type{Kind: schema.String}
	for name, c := range map[string]struct {
		fields  []schema.Field
		options decode.Options
		want    string
	}{
		"its own": {nil, decode.Options{}, `{"a":5,"b":"x","c":{"string":"s"},"d":[1,2],"next":"{\"a\":6,\"b\":\"y\",\"c\":null,\"d\":[],\"next\":null}"}`},
		"others": {
			[]schema.Field{{Name: "a", Type: str, Nullable: true}, {Name: "b", Type: long, Nullable: true}, {Name: "d", Type: &schema.Type{Kind: schema.Array, Elem: str, ContainsNull: true}, Nullable: true}, {Name: "c", Type: str, Nullable: true}},
			decode.Options{OnUnknown: decode.DropUnknown},
			`{"d":[null,null],"c":"s","_rescued":"{\"a\":5,\"b\":\"x\",\"d[0]\":1,\"d[1]\":2}"}`,
		},
		"unknown": {
			[]schema.Field{{Name: "a", Type: long, Nullable: true}},
			decode.Options{OnUnknown: decode.RescueUnknown},
			`{"a":5,"_rescued":"{\"b\":\"x\",\"c\":{\"string\":\"s\"},\"d\":[1,2],\"next\":{\"a\":6,\"b\":\"y\",\"c\":null,\"d\":[],\"next\":null}}"}`,
		},
	} {
		c.options.Avro = &decode.Avro{Schema: avroSchema(t, text)}
		var table *schema.Type
		if c.fields != nil {
			table = &schema.Type{Kind: schema.Struct, Fields: c.fields}
		}
		d := decode.NewDecoder(decode.NewSchema(table, c.options))
		if n, rejects := d.Append(event.Avro, b, decode.System{}, nil); n != 1 {
			t.Errorf("%s: %v", name, rejects)
			continue
		}
		if got := string(jsonRow(d.Take(), 0)); got != c.want {
			t.Errorf("%s:\ngot  %s\nwant %s", name, got, c.want)
		}
	}
}

func TestAvroRefusals(t *testing.T) {
	for want, text := range map[string]string{
		"is no JSON":                           `{"type":`,
		"is no record":                         `"string"`,
		`type "strin" is not known`:            `{"type":"record","name":"M","fields":[{"name":"a","type":"strin"}]}`,
		"record M has the field a twice":       `{"type":"record","name":"M","fields":[{"name":"a","type":"int"},{"name":"a","type":"int"}]}`,
		"the default of field a: is no int":    `{"type":"record","name":"M","fields":[{"name":"a","type":"int","default":"x"}]}`,
		"has no field that can be a column":    `{"type":"record","name":"M","fields":[{"name":"a","type":"null"}]}`,
		"enum E has no symbols":                `{"type":"record","name":"M","fields":[{"name":"a","type":{"type":"enum","name":"E"}}]}`,
		"a union holds a union, or long twice": `{"type":"record","name":"M","fields":[{"name":"a","type":["long","long"]}]}`,
		"nests deeper":                         strings.Repeat(`{"type":"array","items":`, 100) + `"int"` + strings.Repeat("}", 100),
	} {
		if _, err := decode.NewAvroSchema([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v", want, err)
		}
	}
	d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{Avro: &decode.Avro{Schema: avroSchema(t, `{"type":"record","name":"M","fields":[{"name":"a","type":"long"},{"name":"l","type":{"type":"array","items":{"type":"fixed","name":"Z","size":0}}},{"name":"s","type":"string"}]}`)}}))
	for want, b := range map[string][]byte{
		"the record goes on behind its end":      {2, 0, 0, 9},
		"field a, byte 0: a number without":      {},
		"would fill too many slots":              append(append([]byte{2}, binary.AppendVarint(nil, 1<<60)...), 0, 0),
		"text that is not valid UTF-8":           {2, 0, 2, 0xff},
		"field s, byte 2: a length that goes be": {2, 0, 40, 'x'},
	} {
		if n, rejects := d.Append(event.Avro, b, decode.System{}, nil); n != 0 || !strings.Contains(rejects[0].Reason, want) {
			t.Errorf("%s: %d, %v", want, n, rejects)
		}
	}
	if n, rejects := d.Append(event.AvroFile, []byte("Obj\x01\x02"), decode.System{}, nil); n != 0 || !strings.Contains(rejects[0].Reason, "its header is malformed") {
		t.Error(rejects)
	}
}

func TestAvroAllocations(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{Avro: &decode.Avro{Schema: avroSchema(t, allAvro)}}))
	var payloads [][]byte
	for range 64 {
		rec, _ := randomAvro(r)
		payloads = append(payloads, avroBytes(t, allAvro, rec))
	}
	round := func() {
		for _, b := range payloads {
			if n, rejects := d.Append(event.Avro, b, decode.System{}, nil); n != 1 {
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

// avroFuzz is what FuzzAvro edits, made once: the library takes milliseconds for a schema, and its zstandard encoder as many
// for a file.
type avroFuzz struct {
	schema  avro.Schema
	schemas []string
	files   [][]byte // one record, by every codec
}

func newAvroFuzz(f *testing.F) *avroFuzz {
	f.Helper()
	z := &avroFuzz{schema: avro.MustParse(allAvro), schemas: []string{allAvro, avroTree}}
	r := rand.New(rand.NewPCG(3, 4))
	for _, codec := range []ocf.CodecName{ocf.Null, ocf.Deflate, ocf.Snappy, ocf.ZStandard} {
		rec, _ := randomAvro(r)
		z.files = append(z.files, avroContainer(f, allAvro, codec, rec))
	}
	return z
}

// avroTree has what allAvro has not: a type inside of itself, defaults, aliases, names in name spaces.
const avroTree = `{"type":"record","name":"T","namespace":"a.b","doc":"d","fields":[{"name":"v","type":"int","default":3,"aliases":["w"]},
 {"name":"next","type":["null","T"],"default":null},{"name":"all","type":{"type":"array","items":"a.b.T"},"default":[]},
 {"name":"m","type":{"type":"map","values":["null","string"]},"default":{}},{"name":"e","type":{"type":"enum","name":"c.E","symbols":["A"],"default":"A"},"default":"A"}]}`

// FuzzAvro compares with a library what comes out of records with edits, and throws edited files and schemas at the decoder.
func FuzzAvro(f *testing.F) {
	s, z := avroSchema(f, allAvro), newAvroFuzz(f)
	for i := range uint64(8) {
		f.Add(i, []byte{byte(i * 30), byte(i), byte(i * 7), 200, 4, 100}, []byte(nil))
	}
	f.Add(uint64(0), []byte(nil), []byte{2, 1, 0})
	f.Fuzz(func(t *testing.T, seed uint64, edits, raw []byte) {
		if len(raw) > 1<<15 || len(edits) > 64 {
			return
		}
		b, row := raw, map[string]any(nil)
		if len(b) == 0 {
			var rec map[string]any
			rec, row = randomAvro(rand.New(rand.NewPCG(seed, 1)))
			b = edited(avroEncoded(t, z.schema, rec), edits)
		}
		for _, table := range []*schema.Type{nil, everyType()} {
			d := decode.NewDecoder(decode.NewSchema(table, decode.Options{Avro: &decode.Avro{Schema: s}, MaxInflated: 1 << 20}))
			n, rejects := d.Append(event.Avro, b, decode.System{}, nil)
			for _, r := range rejects {
				checkReason(t, r.Reason)
			}
			if n == 1 && table == nil {
				var out map[string]any
				if err := avro.Unmarshal(z.schema, b, &out); err != nil {
					t.Logf("the library refuses what is accepted: %v", err)
				}
			}
			batch := d.Take()
			checkBatch(t, batch)
			if row != nil && len(edits) < 3 && table == nil {
				if diff := cmp.Diff(any(row), marked(row, batch.Row(0))); diff != "" {
					t.Fatal(diff)
				}
			}
			d.Recycle(batch)
			d.Append(event.AvroMany, b, decode.System{}, nil)
			d.Append(event.AvroFile, edited(bytes.Clone(z.files[seed%uint64(len(z.files))]), edits), decode.System{}, nil)
			checkBatch(t, d.Take())
		}
		text := z.schemas[seed/4%uint64(len(z.schemas))]
		if _, err := decode.NewAvroSchema(edited([]byte(text), edits)); err != nil && err.Error() == "" {
			t.Fatal("a refusal without a word")
		}
	})
}
