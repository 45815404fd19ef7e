package delta_test

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/column/columntest"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// TestStatsAsColumns: a checkpoint that has the statistics as columns only is read with them, and the next checkpoint has them
// as JSON.
func TestStatsAsColumns(t *testing.T) {
	columns := structOf(
		field("id", schema.Long), field("i", schema.Integer), field("f", schema.Float), field("d", schema.Double), field("s", schema.String),
		field("day", schema.Date), field("at", schema.Timestamp), field("local", schema.TimestampNTZ), field("b", schema.Boolean),
		schema.Field{Name: "price", Type: &schema.Type{Kind: schema.Decimal, Precision: 10, Scale: 2}, Nullable: true},
		schema.Field{Name: "in", Type: structOf(field("x", schema.Long)), Nullable: true}, field("bin", schema.Binary),
	)
	nested := func(name string, fields ...schema.Field) schema.Field {
		return schema.Field{Name: name, Type: structOf(fields...), Nullable: true}
	}
	text := &schema.Type{Kind: schema.String}
	textMap := &schema.Type{Kind: schema.Map, Key: text, Elem: text, ContainsNull: true}
	file := structOf(
		nested("protocol", field("minReaderVersion", schema.Integer), field("minWriterVersion", schema.Integer)),
		nested("metaData", field("id", schema.String), nested("format", field("provider", schema.String)), field("schemaString", schema.String)),
		nested("add", field("path", schema.String), schema.Field{Name: "partitionValues", Type: textMap, Nullable: true},
			field("size", schema.Long), field("modificationTime", schema.Long), field("dataChange", schema.Boolean),
			nested("stats_parsed", field("numRecords", schema.Long), nested("minValues", columns.Fields...),
				nested("nullCount", field("id", schema.Long), nested("in", field("x", schema.Long)))),
		),
	)
	add := func(path string, stats map[string]any) map[string]any {
		a := map[string]any{"path": path, "partitionValues": []column.Entry{}, "size": int64(1), "modificationTime": int64(1), "dataChange": true}
		if stats != nil {
			a["stats_parsed"] = stats
		}
		return map[string]any{"add": a}
	}
	low := map[string]any{
		"id": int64(math.MinInt64), "i": int32(-1), "f": float32(0.7), "d": math.Inf(-1), "s": "a\"ü\n", "day": int32(-1),
		"at": int64(-1), "local": int64(1_500_000), "b": false, "price": "-1.20", "in": map[string]any{"x": int64(3)}, "bin": []byte("x"),
	}
	rows := []map[string]any{
		{"protocol": map[string]any{"minReaderVersion": int32(1), "minWriterVersion": int32(2)}},
		{"metaData": map[string]any{
			"id": "11111111-1111-1111-1111-111111111111", "format": map[string]any{"provider": "parquet"}, "schemaString": columns.JSON(),
		}},
		add("all", map[string]any{"numRecords": int64(3), "minValues": low, "nullCount": map[string]any{"id": int64(1), "in": map[string]any{"x": int64(2)}}}),
		add("strange", map[string]any{"numRecords": int64(1), "minValues": map[string]any{"d": math.NaN(), "day": int32(math.MaxInt32)}}),
		add("none", nil),
	}
	var out bytes.Buffer
	_, err := parquet.Write(&out, file, []*column.Batch{columntest.Build(file, rows)}, parquet.WriterOptions{})
	must(t, err)
	st := store.NewMemory()
	must(t, st.Put(t.Context(), checkpointFile(1), out.Bytes()))
	must(t, st.PutIfAbsent(t.Context(), key(1), []byte(`{"commitInfo":{"operation":"WRITE"}}`+"\n")))

	want := map[string]any{
		"all": map[string]any{
			"numRecords": 3.0, "nullCount": map[string]any{"id": 1.0, "in": map[string]any{"x": 2.0}},
			"minValues": map[string]any{
				"id": float64(math.MinInt64), "i": -1.0, "f": 0.7, "d": "-Infinity", "s": "a\"ü\n", "day": "1969-12-31",
				"at": "1969-12-31T23:59:59.999999Z", "local": "1970-01-01T00:00:01.500000", "b": false, "price": -1.2,
				"in": map[string]any{"x": 3.0},
			},
		},
		"strange": map[string]any{"numRecords": 1.0, "minValues": map[string]any{"d": "NaN"}},
		"none":    nil,
	}
	table := open(t, st, delta.Options{})
	check := func(s *delta.Snapshot) {
		t.Helper()
		got := map[string]any{}
		for a := range s.Files() {
			var stats any
			if a.Stats != "" {
				must(t, json.Unmarshal([]byte(a.Stats), &stats))
			}
			got[a.Path] = stats
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("statistics (-want +got):\n%s", d)
		}
	}
	check(table.Snapshot())
	commit(t, table, fixed(delta.Transaction{Operation: "WRITE"}))
	must(t, table.Checkpoint(t.Context()))
	must(t, table.Close(t.Context()))
	check(open(t, st, delta.Options{}).Snapshot())
}
