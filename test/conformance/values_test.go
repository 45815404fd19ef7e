package conformance

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// oddTexts are UTF-8 of every kind: all lengths of an encoding and their limits, what combines, turns around, shows nothing
// or is no character, what other formats take for themselves, and lengths at which statistics are cut.
func oddTexts() []any {
	out := []any{
		nil, "", " ", "\x00", "a\x00b", "\x01\x1f\x7f", "\t\n\r\v\f", "\u0080\u07ff", "\u0800\uffff", "\U00010000\U0010ffff",
		"\ud7ff\ue000", "\ufffd", "\ufeffbom", "\ufffe\uffff\ufdd0", "e\u0301", "é", "\u202eright to left\u202c", "\u200b\u200d\u2060",
		"日本語", "العربية", "हिन्दी", "👩‍👩‍👧‍👦🏳️‍🌈", "\u1e9eß", "İı", "ǅ", `"`, `'`, `\`, `\u0041`, "`", "%", "%2F", "/", "..", ".", "null", "NULL",
		"NaN", "__HIVE_DEFAULT_PARTITION__", "a=b", "a:b?c#d[e]f{g}|h^i*<j>", " lead and trail ", "\u2028\u2029\u0085", "\u00a0",
	}
	for _, n := range []int{31, 32, 33, 1000, 70_000} {
		out = append(out, strings.Repeat("x", n), strings.Repeat("é", n), strings.Repeat("\U0010ffff", n))
	}
	return out
}

// values are those of every type that any reader may trip over, in the form of column.Vector.Value.
var values = []struct {
	name string
	t    *schema.Type
	list []any
}{
	{"text", &schema.Type{Kind: schema.String}, oddTexts()},
	{"bytes", &schema.Type{Kind: schema.Binary}, []any{nil, []byte{}, []byte{0}, []byte{0xff, 0xfe, 0x80, 0xc0}, []byte(strings.Repeat("\x00\xff", 500))}},
	{"flag", &schema.Type{Kind: schema.Boolean}, []any{nil, true, false}},
	{"byte", &schema.Type{Kind: schema.Byte}, []any{nil, int32(0), int32(-1), int32(math.MinInt8), int32(math.MaxInt8)}},
	{"short", &schema.Type{Kind: schema.Short}, []any{nil, int32(0), int32(-1), int32(math.MinInt16), int32(math.MaxInt16)}},
	{"int", &schema.Type{Kind: schema.Integer}, []any{nil, int32(0), int32(-1), int32(math.MinInt32), int32(math.MaxInt32)}},
	{"long", &schema.Type{Kind: schema.Long}, []any{nil, int64(0), int64(-1), int64(math.MinInt64), int64(math.MaxInt64), int64(1<<53 + 1)}},
	{"float", &schema.Type{Kind: schema.Float}, []any{
		nil, float32(0), float32(math.Copysign(0, -1)), float32(math.NaN()), float32(math.Inf(1)), float32(math.Inf(-1)),
		float32(math.MaxFloat32), float32(math.SmallestNonzeroFloat32), float32(0.1),
	}},
	{"double", &schema.Type{Kind: schema.Double}, []any{
		nil, 0.0, math.Copysign(0, -1), math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, -math.MaxFloat64,
		math.SmallestNonzeroFloat64, 0.1, 1e100,
	}},
	{"decimal9", &schema.Type{Kind: schema.Decimal, Precision: 9, Scale: 9}, []any{nil, "0.000000000", "-0.999999999", "0.000000001"}},
	{"decimal18", &schema.Type{Kind: schema.Decimal, Precision: 18, Scale: 4}, []any{nil, "0.0000", "99999999999999.9999", "-99999999999999.9999"}},
	{"decimal38", &schema.Type{Kind: schema.Decimal, Precision: 38}, []any{nil, "0", strings.Repeat("9", 38), "-" + strings.Repeat("9", 38), "-1"}},
	{"decimal38.38", &schema.Type{Kind: schema.Decimal, Precision: 38, Scale: 38}, []any{nil, "0." + strings.Repeat("9", 38), "-0." + strings.Repeat("0", 37) + "1"}},
	{"date", &schema.Type{Kind: schema.Date}, []any{nil, int32(0), int32(-1), firstDay, lastDay}},
	{"time", &schema.Type{Kind: schema.Timestamp}, []any{nil, int64(0), int64(-1), int64(1), firstMicro, lastMicro, int64(-2_208_988_800_000_001)}},
	{"list", &schema.Type{Kind: schema.Array, Elem: &schema.Type{Kind: schema.Double}, ContainsNull: true}, []any{nil, []any{}, []any{nil}, []any{math.NaN(), nil, math.Inf(-1)}}},
	{"lists", &schema.Type{Kind: schema.Array, ContainsNull: true, Elem: &schema.Type{Kind: schema.Array, Elem: &schema.Type{Kind: schema.String}, ContainsNull: true}}, []any{
		nil, []any{}, []any{nil, []any{}}, []any{[]any{nil}, []any{"", "\x00"}},
	}},
	{"map", &schema.Type{Kind: schema.Map, Key: &schema.Type{Kind: schema.String}, Elem: &schema.Type{Kind: schema.Long}, ContainsNull: true}, []any{
		nil, []column.Entry{}, []column.Entry{{Key: "", Value: nil}}, []column.Entry{{Key: "é", Value: int64(math.MinInt64)}, {Key: "\n", Value: int64(0)}},
	}},
	{"struct", structOf(field("a-b", schema.Long), schema.Field{Name: "inner", Nullable: true, Type: structOf(field("ü", schema.String))}), []any{
		nil, map[string]any{}, map[string]any{"inner": map[string]any{}}, map[string]any{"a-b": int64(1), "inner": map[string]any{"ü": ""}},
	}},
}

const (
	firstDay, lastDay     = int32(-719_162), int32(2_932_896)                              // of the years 1 and 9999
	firstMicro, lastMicro = int64(-62_135_596_800_000_000), int64(253_402_300_799_999_999) // likewise
)

// valueRows are rows that have each value of each type at least once.
func valueRows() *source {
	s := &source{schema: structOf(field("id", schema.Long))}
	rows := 0
	for _, v := range values {
		f := field(v.name, schema.Invalid)
		f.Type = v.t
		s.schema.Fields = append(s.schema.Fields, f)
		rows = max(rows, len(v.list))
	}
	for i := range rows {
		row := map[string]any{"id": int64(i)}
		for _, v := range values {
			row[v.name] = v.list[i%len(v.list)]
		}
		s.rows = append(s.rows, row)
	}
	return s
}

// expected are the texts of the rows.
func (s *source) expected(t *testing.T) []string {
	t.Helper()
	m := &model{schema: s.schema, rows: map[int64]map[string]any{}}
	s.add(m.rows)
	out, err := m.texts()
	must(t, err)
	return out
}

// peers are the other readers and writers.
var peers = []*peer{deltalake, spark}

// weirWrites creates a table of the rows in two commits and a checkpoint.
func weirWrites(t *testing.T, s *source, c delta.CreateOptions) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "table")
	c.Schema = s.schema
	table, err := delta.Create(t.Context(), localStore(t, dir), c)
	must(t, err)
	half := len(s.rows) / 2
	must(t, write(t.Context(), table, &source{s.schema, s.rows[:half]}))
	must(t, table.Checkpoint(t.Context()))
	must(t, write(t.Context(), table, &source{s.schema, s.rows[half:]}))
	must(t, table.Close(t.Context()))
	return dir
}

// everyoneReads compares what each reader finds in a table with the rows that were written; the writer is nil for weir.
func everyoneReads(t *testing.T, dir string, writer *peer, s *source, partitionBy ...string) {
	t.Helper()
	want := s.expected(t)
	table, err := delta.Open(t.Context(), localStore(t, dir), delta.Options{})
	must(t, err)
	got, err := textsOf(t.Context(), table.Snapshot())
	must(t, err)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("rows (-want +weir):\n%s", d)
	}
	for _, p := range peers {
		if p == deltalake && writer == spark {
			want = s.asNanoseconds(partitionBy).expected(t)
		} else {
			want = s.expected(t)
		}
		got, err := p.must(t, command{"op": "look", "path": dir}).texts()
		must(t, err)
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("rows (-want +%s):\n%s", p.name, d)
		}
	}
}

// asNanoseconds are the rows as deltalake reads them from Spark's files. Spark writes times as INT96 by default, which
// deltalake makes nanoseconds of: before 1677 and after 2262 they overflow. Weir and Spark read what was written.
func (s *source) asNanoseconds(partitionBy []string) *source {
	out := &source{schema: s.schema}
	for _, row := range s.rows {
		row = maps.Clone(row)
		for _, f := range s.schema.Fields {
			if micros, ok := row[f.Name].(int64); ok && f.Type.Kind == schema.Timestamp && !slices.Contains(partitionBy, f.Name) {
				row[f.Name] = micros * 1000 / 1000 // in 64 bits
			}
		}
		out.rows = append(out.rows, row)
	}
	return out
}

// everyoneWrites has weir and the peers write the rows, each a table of its own, and everyone read each.
func everyoneWrites(t *testing.T, s *source, partitionBy ...string) {
	t.Helper()
	for _, p := range peers {
		p.require(t)
	}
	t.Run("written by weir", func(t *testing.T) {
		everyoneReads(t, weirWrites(t, s, delta.CreateOptions{PartitionColumns: partitionBy}), nil, s, partitionBy...)
	})
	for _, p := range peers {
		t.Run("written by "+p.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "table")
			p.must(t, command{"op": "append", "path": dir, "schema": s.schema.JSON(), "rows": s.plain(), "partitionBy": partitionBy})
			everyoneReads(t, dir, p, s, partitionBy...)
		})
	}
}

func TestValuesRoundTrip(t *testing.T) { everyoneWrites(t, valueRows()) }

// TestPartitionValuesRoundTrip partitions by each type that can, by values that need escaping, and by nothing.
func TestPartitionValuesRoundTrip(t *testing.T) {
	s := &source{schema: structOf(field("id", schema.Long))}
	rows := 0
	var by []string
	for _, v := range partitionValues() {
		f := field("p "+v.name, schema.Invalid)
		f.Name = strings.ReplaceAll(f.Name, " ", "_")
		f.Type = v.t
		s.schema.Fields = append(s.schema.Fields, f)
		by = append(by, f.Name)
		rows = max(rows, len(v.list))
	}
	for i := range rows {
		row := map[string]any{"id": int64(i)}
		for j, v := range partitionValues() {
			row[by[j]] = v.list[i%len(v.list)]
		}
		s.rows = append(s.rows, row)
	}
	everyoneWrites(t, s, by...)
}

type typedValues struct {
	name string
	t    *schema.Type
	list []any
}

// partitionValues are those of [values] that everyone can make a directory of: deltalake writes a double in up to 309
// digits and -0.5 as "-0.-5", which it then cannot read; Spark writes no NUL, and null for its own name of null. The empty
// string is null.
func partitionValues() (out []typedValues) {
	for _, v := range values {
		switch v.t.Kind {
		case schema.Binary, schema.Array, schema.Map, schema.Struct:
			continue
		}
		list := slices.DeleteFunc(slices.Clone(v.list), func(x any) bool {
			text, isText := x.(string)
			n, isDouble := x.(float64)
			isText = isText && v.t.Kind == schema.String
			negative := v.t.Kind == schema.Decimal && v.t.Scale > 0 && strings.HasPrefix(text, "-")
			return negative || isText && (text == "" || text == "__HIVE_DEFAULT_PARTITION__" || len(text) > 60 || strings.Contains(text, "\x00")) ||
				isDouble && n != 0 && !math.IsInf(n, 0) && math.Abs(math.Log10(math.Abs(n))) > 15
		})
		out = append(out, typedValues{strings.ReplaceAll(v.name, ".", "_"), v.t, list})
	}
	return out
}

// TestEmptyPartitionValue: an empty string partitions like null, as the protocol says. deltalake writes it to the log, and
// takes the one that it finds there for a string, as Spark does; Spark and weir write null.
func TestEmptyPartitionValue(t *testing.T) {
	rows := func(p any) *source {
		return &source{structOf(field("id", schema.Long), field("p", schema.String)), []map[string]any{{"id": int64(1), "p": p}, {"id": int64(2), "p": "x"}}}
	}
	for _, p := range peers {
		p.require(t)
	}
	everyoneReads(t, weirWrites(t, rows(""), delta.CreateOptions{PartitionColumns: []string{"p"}}), nil, rows(nil))
	theirs := func(p *peer) string {
		dir := filepath.Join(t.TempDir(), p.name)
		p.must(t, command{"op": "append", "path": dir, "schema": rows("").schema.JSON(), "rows": rows("").plain(), "partitionBy": []string{"p"}})
		return dir
	}
	everyoneReads(t, theirs(spark), spark, rows(nil))

	dir := theirs(deltalake)
	_, got, err := readAll(t, dir)
	must(t, err)
	if d := cmp.Diff(rows(nil).expected(t), got); d != "" {
		t.Errorf("rows (-want +weir):\n%s", d)
	}
	for _, p := range peers {
		got, err := p.must(t, command{"op": "look", "path": dir}).texts()
		must(t, err)
		if d := cmp.Diff(rows("").expected(t), got); d != "" {
			t.Errorf("%s now reads its empty partition value otherwise (-known +got):\n%s", p.name, d)
		}
	}
}

func TestFiveThousandColumnsRoundTrip(t *testing.T) {
	if !*long {
		t.Skip("with -long: the peers take minutes")
	}
	s := &source{schema: structOf(field("id", schema.Long))}
	kinds := []schema.Kind{schema.Long, schema.String, schema.Double, schema.Boolean}
	rows := []map[string]any{{"id": int64(0)}, {"id": int64(1)}}
	for i := 1; i < 5000; i++ {
		name := fmt.Sprintf("c%04d_ü", i)
		s.schema.Fields = append(s.schema.Fields, field(name, kinds[i%4]))
		rows[1][name] = []any{int64(i), "é", 0.5, true}[i%4]
	}
	s.rows = rows
	everyoneWrites(t, s)
}

// nested is a type of n levels.
func nested(n int) *schema.Type {
	t := &schema.Type{Kind: schema.Long}
	for i := range n {
		if i%2 == 0 {
			t = structOf(schema.Field{Name: "x", Type: t, Nullable: true})
		} else {
			t = &schema.Type{Kind: schema.Array, Elem: t, ContainsNull: true}
		}
	}
	return t
}

// TestDeepNesting: 30 levels go round, a hundred are refused and said to be too deep, whoever made the table.
func TestDeepNesting(t *testing.T) {
	var value any = int64(7)
	for i := range 30 {
		if i%2 == 0 {
			value = map[string]any{"x": value}
		} else {
			value = []any{value, nil}
		}
	}
	s := &source{structOf(field("id", schema.Long), schema.Field{Name: "deep", Type: nested(30), Nullable: true}), []map[string]any{
		{"id": int64(0), "deep": value}, {"id": int64(1)},
	}}
	everyoneWrites(t, s)

	deep := structOf(field("id", schema.Long), schema.Field{Name: "deep", Type: nested(schema.MaxDepth + 1), Nullable: true})
	if _, err := delta.Create(t.Context(), localStore(t, t.TempDir()), delta.CreateOptions{Schema: deep}); err == nil || !strings.Contains(err.Error(), "nests deeper than") {
		t.Errorf("created with %d levels: %v", schema.MaxDepth+1, err)
	}
	dir := filepath.Join(t.TempDir(), "theirs")
	spark.must(t, command{"op": "append", "path": dir, "schema": deep.JSON(), "rows": []any{map[string]any{"id": 1}}})
	if _, err := delta.Open(t.Context(), localStore(t, dir), delta.Options{}); !errors.Is(err, schema.ErrTooDeep) {
		t.Errorf("opened with %d levels: %v", schema.MaxDepth+1, err)
	}
}
