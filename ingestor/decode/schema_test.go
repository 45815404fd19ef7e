package decode_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// TestMerge takes the schema of a table over that another writer changed while records waited.
func TestMerge(t *testing.T) {
	s := decode.NewSchema(nil, decode.Options{})
	d := decode.NewDecoder(s)
	accept(t, d, `{"a":1,"b":"x","o":{"x":1,"y":2},"Case":1,"only":true}`)
	table := structOf(
		nullable("b", prim(schema.String)), required("new", prim(schema.Long)),
		nullable("a", prim(schema.String)), nullable("case", prim(schema.Long)),
		nullable("o", structOf(nullable("y", prim(schema.Long)), nullable("x", prim(schema.Date)))),
	)
	var got []string
	for _, c := range s.Merge(table) {
		got = append(got, c.String())
	}
	want := []string{
		"column a is string, records were decoded as long",
		"column o.x is date, records were decoded as long",
		"column Case differs from another one by case alone",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
	if got, want := s.Current().String(), "struct<b:string,new:long,a:string,case:long,o:struct<y:long,x:date>,only:boolean,_rescued:string>"; got != want {
		t.Errorf("schema %s, want %s", got, want)
	}
	accept(t, d, `{"new":5,"a":"now text","o":{"x":"1970-01-02"},"case":3}`)
	rows := []row{
		{"b": "x", "only": true, "o": row{"y": int64(2)}, "_rescued": `{"a":1,"o.x":1,"Case":1}`},
		{"new": int64(5), "a": "now text", "case": int64(3), "o": row{"x": int32(1)}},
	}
	if diff := cmp.Diff(rows, take(t, d)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	before := s.Current()
	if c := s.Merge(s.Current()); len(c) > 0 || s.Current() != before {
		t.Errorf("merging the schema with itself: conflicts %v, %s", c, s.Current())
	}
}

// TestRecycledMemory takes batches while the schema changes under the recycled one.
func TestRecycledMemory(t *testing.T) {
	s := decode.NewSchema(nil, decode.Options{})
	d := decode.NewDecoder(s)
	accept(t, d, `{"a":1,"o":{"x":[1]}}`)
	first := d.Take()
	accept(t, d, `{"a":2,"o":{"x":[2],"y":{"z":1}},"n":"x"}`)
	d.Recycle(first)
	d.Recycle(nil)
	second := d.Take()
	checkBatch(t, second)
	s.Merge(structOf(nullable("a", prim(schema.String)), nullable("o", prim(schema.Long))))
	conformed, moved := decode.Conform(second, s.Current())
	checkBatch(t, conformed)
	if moved != 2 {
		t.Errorf("moved %d", moved)
	}
	d.Recycle(second) // has no columns any more
	accept(t, d, `{"a":"s","o":3}`)
	if diff := cmp.Diff([]row{{"a": "s", "o": int64(3)}}, take(t, d)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	accept(t, d, `{"a":"t","n":"y"}`)
	if diff := cmp.Diff([]row{{"a": "t", "n": "y"}}, take(t, d)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestShards lets decoders evolve one schema at once, while a table's schema is merged in; all agree in the end, and each
// row has its values.
func TestShards(t *testing.T) {
	const shards, rounds, fields = 4, 60, 50
	s := decode.NewSchema(nil, decode.Options{MaxColumns: 3 * fields})
	var all sync.WaitGroup
	for shard := range shards {
		all.Go(func() {
			d := decode.NewDecoder(s)
			for i := range rounds {
				n := (i*7 + shard*13) % fields
				kind := []string{"1", `"x"`, "1.5", `{"x":1}`}[(n+shard)%4] // shards disagree about types
				record := fmt.Sprintf(`{"shard":%d,"f%d":%s,"o":{"g%d":[%s]}}`, shard, n, kind, n, kind)
				if got, rejects := d.Append(event.JSON, []byte(record), decode.System{}, nil); got != 1 {
					t.Errorf("%s: %+v", record, rejects)
				}
				if i%20 == 19 {
					b := d.Take()
					checkBatch(t, b)
					for _, r := range rowsOf(b) {
						if len(r) < 3 && !strings.Contains(fmt.Sprint(r["_rescued"]), `"f`) {
							t.Errorf("a row lost its value: %v", r)
						}
					}
					d.Recycle(b)
				}
			}
		})
	}
	all.Go(func() {
		for i := range fields {
			s.Merge(structOf(nullable(fmt.Sprintf("f%d", i), prim(schema.Boolean))))
		}
	})
	all.Wait()
	if err := s.Current().Validate(); err != nil {
		t.Error(err)
	}
	for i := range fields {
		f, ok := s.Current().Field(fmt.Sprintf("f%d", i))
		if !ok || f.Type.Kind != schema.Boolean {
			t.Errorf("f%d is %s after the table said boolean", i, f.Type)
		}
	}
}

// TestHostileKeys sends ever new keys: columns stop at the limit, and nothing is lost.
func TestHostileKeys(t *testing.T) {
	s := decode.NewSchema(nil, decode.Options{MaxColumns: 100, MaxEventBytes: 4 << 20})
	d := decode.NewDecoder(s)
	var record strings.Builder
	for i := range 100_000 {
		fmt.Fprintf(&record, `,"key%d":%d`, i, i)
	}
	accept(t, d, "{"+record.String()[1:]+"}")
	for i := range 1000 {
		accept(t, d, fmt.Sprintf(`{"other%d":{"x":[{"y%d":1}]}}`, i, i))
	}
	if got := s.Stats(); got.Columns != 100 || got.Rescued != 1001 || got.Refused != 0 {
		t.Errorf("stats %+v", got)
	}
	rows := take(t, d)
	if r := rows[0]; r["key99"] != int64(99) || !strings.HasPrefix(r["_rescued"].(string), `{"$":{"key0":0,`) {
		t.Errorf("first row %.200v", r)
	}
	if got := rows[7]["_rescued"]; got != `{"other6":{"x":[{"y6":1}]}}` {
		t.Errorf("rescued %v", got)
	}
}

// TestKeysPerCase sends one key in all its spellings.
func TestKeysPerCase(t *testing.T) {
	s := decode.NewSchema(nil, decode.Options{})
	d := decode.NewDecoder(s)
	for i := range 64 {
		key := []byte("abcdef")
		for j := range key {
			if i>>j&1 == 1 {
				key[j] -= 'a' - 'A'
			}
		}
		accept(t, d, fmt.Sprintf(`{"%s":%d}`, key, i))
	}
	if got, want := s.Current().String(), "struct<abcdef:long,_rescued:string>"; got != want {
		t.Errorf("schema %s, want %s", got, want)
	}
}

// TestNestedFieldsGrow adds fields inside lists, maps and structs of a table.
func TestNestedFieldsGrow(t *testing.T) {
	inner := structOf(nullable("x", prim(schema.Long)))
	s := decode.NewSchema(structOf(
		nullable("l", arrayOf(arrayOf(inner, true), false)), nullable("m", mapOf(prim(schema.Date), inner, true)), nullable("s", inner),
		nullable("scalar", prim(schema.Long)),
	), decode.Options{})
	d := decode.NewDecoder(s)
	accept(
		t, d, `{"l":[[{"x":1}]],"m":{"1970-01-01":{"x":2}},"s":{"x":3}}`,
		`{"l":[[{"y":1},{"x":5}],[]],"m":{"1970-01-01":{},"1970-01-02":{"z":true}},"s":{"w":[{"v":1}]},"scalar":{"u":1}}`,
		`{"m":{"no date":{"t":1}}}`,
	)
	want := "struct<l:array<array<struct<x:long,y:long>>>,m:map<date,struct<x:long,z:boolean>>," +
		"s:struct<x:long,w:array<struct<v:long>>>,scalar:long,_rescued:string>"
	if got := s.Current().String(); got != want {
		t.Errorf("schema\n%s\nwant\n%s", got, want)
	}
	if got := s.Current().Fields[0].Type; got.ContainsNull || !got.Elem.ContainsNull {
		t.Errorf("lists forgot whether their elements may be null: %s", s.Current().JSON())
	}
	rows := []row{
		{"l": []any{[]any{row{"x": int64(1)}}}, "m": []column.Entry{{Key: int32(0), Value: row{"x": int64(2)}}}, "s": row{"x": int64(3)}},
		{
			"l": []any{[]any{row{"y": int64(1)}, row{"x": int64(5)}}, []any{}},
			"m": []column.Entry{{Key: int32(0), Value: row{}}, {Key: int32(1), Value: row{"z": true}}},
			"s": row{"w": []any{row{"v": int64(1)}}}, "_rescued": `{"scalar":{"u":1}}`,
		},
		{"_rescued": `{"m":{"no date":{"t":1}}}`},
	}
	if diff := cmp.Diff(rows, take(t, d)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
}

// TestMergeNested unites lists and maps of the table with those of the decoders.
func TestMergeNested(t *testing.T) {
	s := decode.NewSchema(structOf(
		nullable("l", arrayOf(structOf(nullable("ours", prim(schema.Long))), true)),
		nullable("m", mapOf(prim(schema.String), structOf(nullable("ours", prim(schema.Long))), true)),
		nullable("k", mapOf(prim(schema.String), prim(schema.Long), true)),
		nullable("d", decimal(10, 2)),
	), decode.Options{})
	conflicts := s.Merge(structOf(
		nullable("l", arrayOf(structOf(nullable("theirs", prim(schema.Long))), false)),
		nullable("m", mapOf(prim(schema.String), structOf(nullable("theirs", prim(schema.Long)), nullable("ours", prim(schema.Date))), true)),
		nullable("k", mapOf(prim(schema.Long), prim(schema.Long), true)),
		nullable("d", decimal(12, 2)),
	))
	var got []string
	for _, c := range conflicts {
		got = append(got, c.Path)
	}
	if diff := cmp.Diff([]string{"m.value.ours", "k.key", "d"}, got); diff != "" {
		t.Errorf("conflicts (-want +got):\n%s", diff)
	}
	want := "struct<l:array<struct<theirs:long,ours:long>>,m:map<string,struct<theirs:long,ours:date>>,k:map<long,long>,d:decimal(12,2),_rescued:string>"
	if got := s.Current().String(); got != want {
		t.Errorf("schema %s, want %s", got, want)
	}
}
