package delta_test

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/column/columntest"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// rows are all rows of a snapshot as text, sorted.
func rows(t *testing.T, s *delta.Snapshot, want *schema.Type) []string {
	t.Helper()
	out := []string{}
	for b, err := range s.Read(t.Context(), want) {
		must(t, err)
		for i := range b.Rows {
			out = append(out, fmt.Sprint(b.Row(i)))
		}
	}
	slices.Sort(out)
	return out
}

// write writes batches and commits them.
func write(t *testing.T, table *delta.Table, batches ...*column.Batch) []delta.Add {
	t.Helper()
	s := table.Snapshot()
	adds, err := table.WriteData(t.Context(), s.Schema(), s.PartitionColumns(), batches, parquet.WriterOptions{})
	must(t, err)
	commit(t, table, fixed(delta.Transaction{Operation: "WRITE", BlindAppend: true, Adds: adds}))
	return adds
}

// longs is a batch of one column id.
func longs(values ...int64) *column.Batch {
	b := column.NewBatch(oneColumn)
	for _, v := range values {
		b.Columns[0].AppendInt64(v)
	}
	b.Seal(len(values))
	return b
}

func TestWriteAndRead(t *testing.T) {
	st := localStore(t, t.TempDir())
	table := create(t, st, delta.CreateOptions{})
	first := write(t, table, longs(1, 2), longs(), longs(3))
	if len(first) != 1 || !strings.Contains(first[0].Stats, `"numRecords":3`) || !first[0].DataChange || !strings.HasSuffix(first[0].Path, ".zstd.parquet") {
		t.Errorf("adds %+v", first)
	}
	write(t, table, longs(4))
	if none := write(t, table, longs()); len(none) != 0 {
		t.Errorf("no rows make files: %+v", none)
	}
	if d := cmp.Diff([]string{"map[id:1]", "map[id:2]", "map[id:3]", "map[id:4]"}, rows(t, table.Snapshot(), nil)); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	wider := structOf(field("new", schema.String), field("id", schema.Long))
	if d := cmp.Diff("map[id:1 new:<nil>]", rows(t, table.Snapshot(), wider)[0]); d != "" {
		t.Errorf("with a column that is not there (-want +got):\n%s", d)
	}
	key, err := delta.DataKey(first[0].Path)
	must(t, err)
	must(t, st.Delete(t.Context(), key))
	for _, err = range table.Snapshot().Read(t.Context(), nil) {
	}
	if e, ok := errors.AsType[*delta.MissingFileError](err); !ok || e.Path != first[0].Path {
		t.Errorf("a missing file: %v", err)
	}
}

// partitionTypes are all types that a table can be partitioned by, each with values and what the log holds for them.
var partitionTypes = []struct {
	t      *schema.Type
	append func(v *column.Vector, i int)
	logged []string
}{
	{&schema.Type{Kind: schema.Boolean}, func(v *column.Vector, i int) { v.AppendBool(i == 0) }, []string{"true", "false"}},
	{&schema.Type{Kind: schema.Byte}, func(v *column.Vector, i int) { v.AppendInt32([]int32{-128, 127}[i]) }, []string{"-128", "127"}},
	{&schema.Type{Kind: schema.Short}, func(v *column.Vector, i int) { v.AppendInt32([]int32{-32768, 0}[i]) }, []string{"-32768", "0"}},
	{&schema.Type{Kind: schema.Integer}, func(v *column.Vector, i int) { v.AppendInt32([]int32{math.MinInt32, 7}[i]) }, []string{"-2147483648", "7"}},
	{&schema.Type{Kind: schema.Long}, func(v *column.Vector, i int) { v.AppendInt64([]int64{math.MinInt64, math.MaxInt64}[i]) }, []string{"-9223372036854775808", "9223372036854775807"}},
	{&schema.Type{Kind: schema.Float}, func(v *column.Vector, i int) { v.AppendFloat32([]float32{0.1, 3}[i]) }, []string{"0.1", "3.0"}},
	{&schema.Type{Kind: schema.Double}, func(v *column.Vector, i int) {
		v.AppendFloat64([]float64{math.Inf(-1), math.MaxFloat64}[i])
	}, []string{"-Infinity", "1.7976931348623157e+308"}},
	{&schema.Type{Kind: schema.Decimal, Precision: 10, Scale: 3}, func(v *column.Vector, i int) { v.AppendInt64([]int64{-1, 1234567}[i]) }, []string{"-0.001", "1234.567"}},
	{&schema.Type{Kind: schema.Decimal, Precision: 38}, func(v *column.Vector, i int) {
		v.AppendDecimal128([]int64{-1, 1 << 40}[i], []uint64{math.MaxUint64, 5}[i])
	}, []string{"-1", "20282409603651670423947251286021"}},
	{&schema.Type{Kind: schema.String}, func(v *column.Vector, i int) { v.AppendString([]string{"a/b%20=c ", "日本\U0001F600\"'\n:?"}[i]) }, []string{"a/b%20=c ", "日本\U0001F600\"'\n:?"}},
	{&schema.Type{Kind: schema.Date}, func(v *column.Vector, i int) { v.AppendInt32([]int32{-719162, 2932896}[i]) }, []string{"0001-01-01", "9999-12-31"}},
	{&schema.Type{Kind: schema.Timestamp}, func(v *column.Vector, i int) { v.AppendInt64([]int64{-1, 1_700_000_000_123_456}[i]) }, []string{"1969-12-31T23:59:59.999999Z", "2023-11-14T22:13:20.123456Z"}},
}

func TestPartitionValuesOfEveryType(t *testing.T) {
	for _, c := range partitionTypes {
		t.Run(c.t.String(), func(t *testing.T) {
			s := structOf(field("id", schema.Long), schema.Field{Name: "p", Type: c.t, Nullable: true})
			st := localStore(t, t.TempDir())
			table := create(t, st, delta.CreateOptions{Schema: s, PartitionColumns: []string{"p"}})
			b := column.NewBatch(s)
			for i := range 3 {
				b.Columns[0].AppendInt64(int64(i))
				if i < 2 {
					c.append(b.Columns[1], i)
				}
			}
			b.Seal(3)
			logged := map[string]bool{}
			for _, a := range write(t, table, b, b) {
				logged[a.PartitionValues["p"]] = true
				if n, ok := a.NumRecords(); n != 2 || !ok {
					t.Errorf("file of %q has %d rows", a.PartitionValues["p"], n)
				}
			}
			if d := cmp.Diff(map[string]bool{"": true, c.logged[0]: true, c.logged[1]: true}, logged); d != "" {
				t.Errorf("partition values (-want +got):\n%s", d)
			}
			want := []string{}
			for i := range 3 {
				want = append(want, fmt.Sprint(b.Row(i)), fmt.Sprint(b.Row(i)))
			}
			slices.Sort(want)
			if d := cmp.Diff(want, rows(t, open(t, st, delta.Options{}).Snapshot(), nil)); d != "" {
				t.Errorf("rows (-want +got):\n%s", d)
			}
			only := rows(t, table.Snapshot(), structOf(s.Fields[1]))
			if len(only) != 6 {
				t.Errorf("partition column alone: %q", only)
			}
		})
	}
}

func TestPartitionPaths(t *testing.T) {
	s := structOf(field("id", schema.Long), field("day", schema.String), field("a=b", schema.String))
	s.Fields[2].Name = "ü"
	st := localStore(t, t.TempDir())
	table := create(t, st, delta.CreateOptions{Schema: s, PartitionColumns: []string{"day", "ü"}})
	b := column.NewBatch(s)
	for i, v := range []string{"a b/c%", "", strings.Repeat("é", 300)} {
		b.Columns[0].AppendInt64(int64(i))
		b.Columns[1].AppendString(v)
	}
	b.Seal(3)
	adds := write(t, table, b)
	byValue := map[string]string{}
	for _, a := range adds {
		byValue[a.PartitionValues["day"]] = a.Path[:strings.LastIndexByte(a.Path, '/')]
	}
	null := "/%25C3%25BC=__HIVE_DEFAULT_PARTITION__"
	want := map[string]string{
		"a b/c%":                 "day=a%20b%252Fc%2525" + null,
		"":                       "day=__HIVE_DEFAULT_PARTITION__" + null, // the empty string is null
		strings.Repeat("é", 300): "day=" + strings.Repeat("%25C3%25A9", 32) + "%25C3" + null,
	}
	if d := cmp.Diff(want, byValue); d != "" {
		t.Errorf("directories (-want +got):\n%s", d)
	}
	got := rows(t, table.Snapshot(), nil)
	if len(got) != 3 || !strings.Contains(strings.Join(got, "\n"), "map[day:<nil> id:1 ü:<nil>]") {
		t.Errorf("rows %q", got)
	}
}

// TestPathsHaveOneSpelling: what is not ASCII is escaped in the directory's name already, so that everyone spells the path
// in the log alike. Spark's VACUUM deleted files whose path said %C3%A9, deltalake's OPTIMIZE left those that said é.
func TestPathsHaveOneSpelling(t *testing.T) {
	s := structOf(field("id", schema.Long), field("p", schema.String))
	table := create(t, store.NewMemory(), delta.CreateOptions{Schema: s, PartitionColumns: []string{"p"}})
	for value, want := range map[string]string{
		"x": "x", "é": "%25C3%25A9", "日": "%25E6%2597%25A5", "e\u0301": "e%25CC%2581", "\u00a0": "%25C2%25A0", "a/b %": "a%252Fb%20%2525",
	} {
		b := columntest.Build(s, []map[string]any{{"id": int64(1), "p": value}})
		got, _, _ := strings.Cut(write(t, table, b)[0].Path, "/")
		if got != "p="+want {
			t.Errorf("%q is at %s, want p=%s", value, got, want)
		}
	}
}

func TestWriteDataRefuses(t *testing.T) {
	st := store.NewMemory()
	s := structOf(field("id", schema.Long), field("p", schema.Date))
	table := create(t, st, delta.CreateOptions{Schema: s, PartitionColumns: []string{"p"}})
	required := structOf(schema.Field{Name: "id", Type: &schema.Type{Kind: schema.Long}}, s.Fields[1])
	batch := func(null bool, day int32) *column.Batch {
		b := column.NewBatch(s)
		if !null {
			b.Columns[0].AppendInt64(1)
		}
		b.Columns[1].AppendInt32(day)
		b.Seal(1)
		return b
	}
	text := column.NewBatch(structOf(field("id", schema.String)))
	text.Columns[0].AppendString("x")
	text.Seal(1)
	for name, c := range map[string]struct {
		s    *schema.Type
		b    *column.Batch
		want string
	}{
		"null":           {required, batch(true, 1), "column id is NOT NULL"},
		"missing column": {structOf(required.Fields[0], s.Fields[1], schema.Field{Name: "x", Type: required.Fields[0].Type}), batch(false, 1), "column x is NOT NULL"},
		"year":           {s, batch(false, math.MaxInt32), "has a year outside"},
		"misfit":         {s, text, "does not fit the schema"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := table.WriteData(t.Context(), c.s, []string{"p"}, []*column.Batch{batch(false, 1), c.b}, parquet.WriterOptions{})
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
			for info, err := range st.List(t.Context(), "", "") {
				must(t, err)
				if !strings.HasPrefix(info.Key, "_delta_log/") {
					t.Errorf("%s is left", info.Key)
				}
			}
		})
	}
}

// TestInvalidUTF8IsRefused: deltalake fails on such a file, and Spark reads another string from it.
func TestInvalidUTF8IsRefused(t *testing.T) {
	text := &schema.Type{Kind: schema.String}
	s := structOf(
		field("id", schema.Long), field("text", schema.String), field("p", schema.String),
		schema.Field{Name: "st", Type: structOf(field("x", schema.String)), Nullable: true},
		schema.Field{Name: "list", Type: &schema.Type{Kind: schema.Array, Elem: text, ContainsNull: true}, Nullable: true},
		schema.Field{Name: "map", Type: &schema.Type{Kind: schema.Map, Key: text, Elem: text, ContainsNull: true}, Nullable: true},
	)
	table := create(t, store.NewMemory(), delta.CreateOptions{Schema: s, PartitionColumns: []string{"p"}})
	for name, value := range map[string]func(bad string) map[string]any{
		"text":         func(bad string) map[string]any { return map[string]any{"text": bad} },
		"p":            func(bad string) map[string]any { return map[string]any{"p": bad} },
		"st.x":         func(bad string) map[string]any { return map[string]any{"st": map[string]any{"x": bad}} },
		"list.element": func(bad string) map[string]any { return map[string]any{"list": []any{"é", bad}} },
		"map.key":      func(bad string) map[string]any { return map[string]any{"map": []column.Entry{{Key: bad, Value: ""}}} },
		"map.value":    func(bad string) map[string]any { return map[string]any{"map": []column.Entry{{Key: "", Value: bad}}} },
	} {
		for _, bad := range []string{"\xff", "a\xc3", "\xa9", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80"} {
			b := columntest.Build(s, []map[string]any{{"id": int64(1)}, value(bad), value("é")})
			_, err := table.WriteData(t.Context(), s, []string{"p"}, []*column.Batch{b}, parquet.WriterOptions{})
			if e, ok := errors.AsType[*delta.TextError](err); !ok || e.Column != name || !delta.IsReject(err) {
				t.Errorf("%q in %s: %v", bad, name, err)
			}
			_, err = table.Merge(t.Context(), []*column.Batch{b}, delta.MergeOptions{Key: []string{"id"}})
			if e, ok := errors.AsType[*delta.TextError](err); !ok || e.Column != name {
				t.Errorf("%q in %s, merged: %v", bad, name, err)
			}
		}
	}
	halves := columntest.Build(s, []map[string]any{{"text": "\xc3"}, {"text": "\xa9"}})
	if _, err := table.WriteData(t.Context(), s, []string{"p"}, []*column.Batch{halves}, parquet.WriterOptions{}); err == nil {
		t.Error("two halves of a character in two rows are accepted")
	}
}

// TestPartitionValueForms reads what other writers put into the log.
func TestPartitionValueForms(t *testing.T) {
	at := func(s string) int64 {
		v, err := time.Parse(time.RFC3339Nano, s)
		must(t, err)
		return v.UnixMicro()
	}
	for _, c := range []struct {
		t     *schema.Type
		value string
		want  any // nil: an error
	}{
		{&schema.Type{Kind: schema.Timestamp}, "2020-01-02 03:04:05", at("2020-01-02T03:04:05Z")},
		{&schema.Type{Kind: schema.Timestamp}, "2020-01-02 03:04:05.000001", at("2020-01-02T03:04:05.000001Z")},
		{&schema.Type{Kind: schema.Timestamp}, "2020-01-02T03:04:05.5+02:00", at("2020-01-02T01:04:05.5Z")},
		{&schema.Type{Kind: schema.Timestamp}, "2020-01-02", at("2020-01-02T00:00:00Z")},
		{&schema.Type{Kind: schema.Timestamp}, "yesterday", nil},
		{&schema.Type{Kind: schema.Date}, "1969-12-31", int32(-1)},
		{&schema.Type{Kind: schema.Date}, "1969-12-32", nil},
		{&schema.Type{Kind: schema.Boolean}, "TRUE", true},
		{&schema.Type{Kind: schema.Byte}, "128", nil},
		{&schema.Type{Kind: schema.Double}, "NaN", math.NaN()},
		{&schema.Type{Kind: schema.Decimal, Precision: 5, Scale: 2}, "1E+2", "100.00"},
		{&schema.Type{Kind: schema.Decimal, Precision: 5, Scale: 2}, "1.005", nil},
		{&schema.Type{Kind: schema.Decimal, Precision: 5, Scale: 2}, "1000", nil},
		{&schema.Type{Kind: schema.Decimal, Precision: 5, Scale: 2}, "1e999999999", nil},
		{&schema.Type{Kind: schema.Decimal, Precision: 5, Scale: 2}, "1/2", nil},
		{&schema.Type{Kind: schema.Decimal, Precision: 38}, "-170141183460469231731687303715884105728", nil},
		{&schema.Type{Kind: schema.Decimal, Precision: 38}, "-99999999999999999999999999999999999999", "-99999999999999999999999999999999999999"},
		{&schema.Type{Kind: schema.String}, "é", "é"},
	} {
		s := structOf(field("id", schema.Long), schema.Field{Name: "p", Type: c.t, Nullable: true})
		table := create(t, store.NewMemory(), delta.CreateOptions{Schema: s, PartitionColumns: []string{"p"}})
		adds, err := table.WriteData(t.Context(), oneColumn, nil, []*column.Batch{longs(1)}, parquet.WriterOptions{})
		must(t, err)
		adds[0].PartitionValues = delta.PartitionValues{"p": c.value}
		commit(t, table, fixed(delta.Transaction{Operation: "WRITE", Adds: adds}))
		for b, err := range table.Snapshot().Read(t.Context(), nil) {
			if c.want == nil {
				if e, ok := errors.AsType[*delta.PartitionValueError](err); !ok || e.Value != c.value {
					t.Errorf("%s %q: %v", c.t, c.value, err)
				}
				continue
			}
			must(t, err)
			if got := b.Columns[1].Value(0); fmt.Sprint(got) != fmt.Sprint(c.want) {
				t.Errorf("%s %q is %v, want %v", c.t, c.value, got, c.want)
			}
		}
	}
}

func TestStatsColumnsOfTheTable(t *testing.T) {
	for property, want := range map[string]string{"0": "{}", "1": `{"a":1}`, "-1": `{"a":1,"b":2}`, "x": `{"a":1,"b":2}`} {
		s := structOf(field("a", schema.Long), field("b", schema.Long))
		table := create(t, store.NewMemory(), delta.CreateOptions{
			Schema: s, Configuration: map[string]string{"delta.dataSkippingNumIndexedCols": property},
		})
		b := column.NewBatch(s)
		b.Columns[0].AppendInt64(1)
		b.Columns[1].AppendInt64(2)
		b.Seal(1)
		if stats := write(t, table, b)[0].Stats; !strings.Contains(stats, `"minValues":`+want) {
			t.Errorf("with %s: %s", property, stats)
		}
	}
}

// TestEncodingsOfTheTable: what counts up takes next to nothing, but for readers that know the old encodings only.
func TestEncodingsOfTheTable(t *testing.T) {
	for property, small := range map[string]bool{"": true, "2.12.0": true, "1.0.0": false} {
		c := delta.CreateOptions{}
		if property != "" {
			c.Configuration = map[string]string{"delta.parquet.format.version": property}
		}
		b := column.NewBatch(oneColumn)
		for i := range int64(10_000) {
			b.Columns[0].AppendInt64(i)
		}
		b.Seal(10_000)
		if size := write(t, create(t, store.NewMemory(), c), b)[0].Size; (size < 5_000) != small {
			t.Errorf("version %q: %d bytes", property, size)
		}
	}
}
