package parquet

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/column/columntest"
	"github.com/weir-dev/weir/delta/schema"
)

func statsOf(t *testing.T, s *schema.Type, o WriterOptions, rows ...map[string]any) string {
	t.Helper()
	_, info := encode(t, s, o, columntest.Build(s, rows))
	return info.Stats.JSON()
}

// TestStatsJSON shows the whole form, nested columns and all.
func TestStatsJSON(t *testing.T) {
	s := structOf(
		optional("id", kind(schema.Long)), optional(`quoted "name" <é>`, kind(schema.String)),
		optional("flag", kind(schema.Boolean)), optional("raw", kind(schema.Binary)),
		optional("tags", list(kind(schema.String))),
		optional("props", &schema.Type{Kind: schema.Map, Key: kind(schema.String), Elem: kind(schema.Long), ContainsNull: true}),
		optional("at", structOf(optional("day", kind(schema.Date)), optional("time", kind(schema.Timestamp)),
			optional("flags", structOf(optional("on", kind(schema.Boolean)))))),
		optional("never", kind(schema.Double)),
	)
	got := statsOf(t, s, WriterOptions{},
		map[string]any{"id": int64(7), `quoted "name" <é>`: "b", "flag": true, "raw": []byte("x"), "tags": []any{"a", nil}},
		map[string]any{"id": int64(-3), "tags": []any{}, "at": map[string]any{
			"day": int32(19_000), "time": int64(1_700_000_000_123_456), "flags": map[string]any{"on": true},
		}},
		map[string]any{"props": []column.Entry{{Key: "k"}, {Key: "l"}}, `quoted "name" <é>`: "a<b", "at": map[string]any{}},
	)
	want := `{"numRecords":3,` +
		`"minValues":{"id":-3,"quoted \"name\" <é>":"a<b","at":{"day":"2022-01-08","time":"2023-11-14T22:13:20.123Z"}},` +
		`"maxValues":{"id":7,"quoted \"name\" <é>":"b","at":{"day":"2022-01-08","time":"2023-11-14T22:13:20.124Z"}},` +
		`"nullCount":{"id":1,"quoted \"name\" <é>":1,"flag":2,"raw":2,"tags":1,"props":2,` +
		`"at":{"day":2,"time":2,"flags":{"on":2}},"never":3}}`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestStatsLiterals(t *testing.T) {
	long := strings.Repeat("x", 31)
	wide := &schema.Type{Kind: schema.Decimal, Precision: 38, Scale: 2}
	for _, c := range []struct {
		name     string
		t        *schema.Type
		values   []any
		min, max string
	}{
		{"byte", kind(schema.Byte), []any{int32(-128), int32(127)}, `-128`, `127`},
		{"long extremes", kind(schema.Long), []any{int64(math.MinInt64), int64(math.MaxInt64)}, `-9223372036854775808`, `9223372036854775807`},
		{"float is exact as a double", kind(schema.Float), []any{float32(0.1)}, `0.10000000149011612`, `0.10000000149011612`},
		{"double", kind(schema.Double), []any{1e300, -0.5}, `-0.5`, `1e+300`},
		{"zeros", kind(schema.Double), []any{0.0}, `-0`, `0`},
		{"negative zero", kind(schema.Double), []any{math.Copysign(0, -1)}, `-0`, `0`},
		{"NaN", kind(schema.Double), []any{1.0, math.NaN()}, `1`, `"Infinity"`},
		{"NaN first", kind(schema.Float), []any{float32(math.NaN()), float32(1)}, `1`, `"Infinity"`},
		{"nothing but NaN", kind(schema.Double), []any{math.NaN()}, `"-Infinity"`, `"Infinity"`},
		{"infinite bound", kind(schema.Double), []any{1.0, math.Inf(1)}, `1`, `"Infinity"`},
		{"both infinite", kind(schema.Double), []any{math.Inf(-1), math.Inf(1)}, `"-Infinity"`, `"Infinity"`},
		{"short decimal", &schema.Type{Kind: schema.Decimal, Precision: 4, Scale: 4}, []any{"-0.0001", "0.9999"}, `-0.0001`, `0.9999`},
		{"wide decimal", wide, []any{"-1.00", "99999999999999999999.99", "0.00"}, `-1.00`, `99999999999999999999.99`},
		{"date before 1970", kind(schema.Date), []any{int32(-1), int32(0)}, `"1969-12-31"`, `"1970-01-01"`},
		{"date beyond year 9999", kind(schema.Date), []any{int32(0), int32(math.MaxInt32)}, `"1970-01-01"`, ``},
		{"timestamp before 1970", kind(schema.Timestamp), []any{int64(-1)}, `"1969-12-31T23:59:59.999Z"`, `"1970-01-01T00:00:00.000Z"`},
		{"whole milliseconds", kind(schema.Timestamp), []any{int64(5000)}, `"1970-01-01T00:00:00.005Z"`, `"1970-01-01T00:00:00.005Z"`},
		{"timestamp without zone", kind(schema.TimestampNTZ), []any{int64(1)}, `"1970-01-01T00:00:00.000"`, `"1970-01-01T00:00:00.001"`},
		{"timestamp extremes", kind(schema.Timestamp), []any{int64(math.MinInt64), int64(math.MaxInt64)}, ``, ``},
		{"empty string", kind(schema.String), []any{"", "a"}, `""`, `"a"`},
		{"32 characters stay", kind(schema.String), []any{long + "y"}, `"` + long + `y"`, `"` + long + `y"`},
		{"33 are cut", kind(schema.String), []any{long + "yz"}, `"` + long + `y"`, `"` + long + `z"`},
		{"cut between runes", kind(schema.String), []any{strings.Repeat("日", 33)}, `"` + strings.Repeat("日", 32) + `"`, `"` + strings.Repeat("日", 31) + `旦"`},
		{"raised over the surrogates", kind(schema.String), []any{long + "\uD7FFz"}, `"` + long + "\uD7FF" + `"`, `"` + long + "\uE000" + `"`},
		{"last character cannot be raised", kind(schema.String), []any{long + "\U0010FFFFz"}, `"` + long + "\U0010FFFF" + `"`, `"` + strings.Repeat("x", 30) + `y"`},
		{"no character can be raised", kind(schema.String), []any{strings.Repeat("\U0010FFFF", 40)}, `"` + strings.Repeat("\U0010FFFF", 32) + `"`, ``},
		{"not UTF-8", kind(schema.String), []any{"a\xff"}, ``, ``},
		{"line separators", kind(schema.String), []any{"\u2028\n"}, `"\u2028\n"`, `"\u2028\n"`},
	} {
		s := structOf(optional("c", c.t))
		var rows []map[string]any
		for _, v := range c.values {
			rows = append(rows, map[string]any{"c": v})
		}
		_, info := encode(t, s, WriterOptions{}, columntest.Build(s, rows))
		got := info.Stats.Columns[0]
		if got.Min != c.min || got.Max != c.max {
			t.Errorf("%s: bounds %s and %s, want %s and %s", c.name, got.Min, got.Max, c.min, c.max)
		}
	}
}

// TestStatsColumns counts leaves: a struct's fields each, a list or map as one.
func TestStatsColumns(t *testing.T) {
	s := structOf(optional("a", kind(schema.Long)), optional("s", structOf(optional("x", kind(schema.Long)), optional("y", kind(schema.Long)))),
		optional("l", list(kind(schema.Long))), optional("z", kind(schema.Long)))
	row := map[string]any{"a": int64(1), "s": map[string]any{"x": int64(2), "y": int64(3)}, "l": []any{int64(4)}, "z": int64(5)}
	for n, want := range map[int]string{
		-1: `"nullCount":{}}`, 1: `"nullCount":{"a":0}}`, 2: `"nullCount":{"a":0,"s":{"x":0}}}`,
		4: `"nullCount":{"a":0,"s":{"x":0,"y":0},"l":0}}`, 0: `"nullCount":{"a":0,"s":{"x":0,"y":0},"l":0,"z":0}}`,
	} {
		if got := statsOf(t, s, WriterOptions{StatsColumns: n}, row); !strings.HasSuffix(got, want) {
			t.Errorf("%d columns: %s does not end in %s", n, got, want)
		}
	}
}

// TestStatsHold checks, whatever the schema, that the text is JSON, that null counts are right, and that no value lies
// outside the bounds, over several row groups with and without dictionaries.
func TestStatsHold(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := columntest.Schema(2).Draw(t, "schema")
		rows := rapid.SliceOfN(columntest.Row(s), 0, 25).Draw(t, "rows")
		_, info := encode(t, s, drawOptions(t), columntest.Build(s, rows))
		if !json.Valid([]byte(info.Stats.JSON())) {
			t.Fatalf("not JSON: %s", info.Stats.JSON())
		}
		var all []any
		for _, r := range rows {
			all = append(all, r)
		}
		checkStats(t, s, info.Stats.Columns, all)
	})
}

// checkStats compares statistics of the fields of s with the structs in values.
func checkStats(t *rapid.T, s *schema.Type, stats []ColumnStats, values []any) {
	for _, c := range stats {
		f := s.Fields[fieldIndex(s.Fields, c.Name)]
		var below []any
		nulls := int64(0)
		for _, v := range values {
			row, _ := v.(map[string]any)
			below = append(below, row[c.Name])
			if row[c.Name] == nil {
				nulls++
			}
		}
		if f.Type.Kind == schema.Struct {
			checkStats(t, f.Type, c.Children, below)
			continue
		}
		if c.NullCount != nulls {
			t.Fatalf("%s: nullCount %d, want %d", c.Name, c.NullCount, nulls)
		}
		for _, v := range below {
			if v != nil && !within(f.Type, v, c.Min, c.Max) {
				t.Fatalf("%s: %v is not in %s..%s", c.Name, v, c.Min, c.Max)
			}
		}
	}
}

// within compares in the order of Parquet and Delta; absent bounds hold anything.
func within(t *schema.Type, v any, lo, hi string) bool {
	switch t.Kind {
	case schema.String:
		var least, most string
		_ = json.Unmarshal([]byte(lo), &least)
		_ = json.Unmarshal([]byte(hi), &most)
		s, _ := v.(string)
		runes := utf8.RuneCountInString(least) <= statsRunes && utf8.RuneCountInString(most) <= statsRunes
		return runes && (lo == "" || least <= s) && (hi == "" || s <= most)
	case schema.Float, schema.Double:
		x, ok := v.(float64)
		if f, is := v.(float32); is {
			x, ok = float64(f), true
		}
		least, errMin := strconv.ParseFloat(strings.Trim(lo, `"`), 64)
		most, errMax := strconv.ParseFloat(strings.Trim(hi, `"`), 64)
		if errMin != nil || errMax != nil {
			return false // floats always have bounds
		}
		return ok && (x != x || (least <= x && x <= most))
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		x, ok := v.(int64)
		if i, is := v.(int32); is {
			x, ok = int64(i), true
		}
		var least, most int64
		if json.Unmarshal([]byte(lo), &least) != nil || json.Unmarshal([]byte(hi), &most) != nil {
			return false // integers always have bounds
		}
		return ok && least <= x && x <= most
	default:
		return true // TestStatsLiterals and the foreign readers look at these
	}
}

// TestStatsMergeOverRowGroups guards that one value a row group merges to the same bounds as all in one.
func TestStatsMergeOverRowGroups(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := columntest.Schema(1).Draw(t, "schema")
		b := columntest.Build(s, rapid.SliceOfN(columntest.Row(s), 0, 10).Draw(t, "rows"))
		_, one := encode(t, s, WriterOptions{}, b)
		_, many := encode(t, s, WriterOptions{RowGroupRows: 1}, b)
		if diff := cmp.Diff(one.Stats, many.Stats); diff != "" {
			t.Fatalf("one group and many (-one +many):\n%s", diff)
		}
	})
}

// TestCut guards that bytes after the cut do not matter and before it withhold the bounds.
func TestCut(t *testing.T) {
	ok := []byte(strings.Repeat("a", 32) + "\xff")
	if lo, hi, valid := cut(ok, ok); !valid || !bytes.Equal(lo, ok[:32]) || string(hi) != strings.Repeat("a", 31)+"b" {
		t.Errorf("cut gives %q, %q, %v", lo, hi, valid)
	}
}
