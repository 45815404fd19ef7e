package parquet

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/column/columntest"
	"github.com/weir-dev/weir/delta/schema"
)

// wildSchema has every type, and every way to nest.
func wildSchema() *schema.Type {
	decimal := func(p, s int) *schema.Type { return &schema.Type{Kind: schema.Decimal, Precision: p, Scale: s} }
	mapping := func(k, v *schema.Type) *schema.Type {
		return &schema.Type{Kind: schema.Map, Key: k, Elem: v, ContainsNull: true}
	}
	text, long := kind(schema.String), kind(schema.Long)
	inner := structOf(optional("s", text), optional("n", kind(schema.Double)), optional("ll", list(list(kind(schema.Integer)))))
	return structOf(
		optional("flag", kind(schema.Boolean)), optional("b", kind(schema.Byte)), optional("h", kind(schema.Short)),
		optional("i", kind(schema.Integer)), optional("l", long), optional("f", kind(schema.Float)),
		optional("d", kind(schema.Double)), optional("s", text), optional("raw", kind(schema.Binary)),
		optional("day", kind(schema.Date)), optional("at", kind(schema.Timestamp)), optional("ntz", kind(schema.TimestampNTZ)),
		optional("d9", decimal(9, 2)), optional("d18", decimal(18, 9)), optional("d19", decimal(19, 0)), optional("d38", decimal(38, 38)),
		schema.Field{Name: "required", Type: long}, optional("list", list(text)), optional("map", mapping(text, long)),
		optional("struct", inner), optional("structs", list(inner)), optional("maps", mapping(long, mapping(text, list(inner)))),
		schema.Field{Name: "solid", Type: structOf(schema.Field{Name: "x", Type: long}, optional("y", text))},
	)
}

// canonical is the form of testdata/verify.py.
func canonical(t *schema.Type, x any) any {
	switch x := x.(type) {
	case float64:
		if math.IsNaN(x) {
			return "nan"
		}
		return fmt.Sprintf("%016x", math.Float64bits(x))
	case float32:
		return canonical(t, float64(x))
	case []byte:
		return hex.EncodeToString(x)
	case map[string]any:
		out := make(map[string]any)
		for _, f := range t.Fields {
			out[f.Name] = canonical(f.Type, x[f.Name])
		}
		return out
	case []any:
		out := []any{}
		for _, e := range x {
			out = append(out, canonical(t.Elem, e))
		}
		return out
	case []column.Entry:
		out := []any{}
		for _, e := range x {
			out = append(out, []any{canonical(t.Key, e.Key), canonical(t.Elem, e.Value)})
		}
		return out
	default:
		return x
	}
}

// TestForeignReaders has pyarrow, DuckDB and deltalake read what weir writes: values, and statistics by what they prune.
func TestForeignReaders(t *testing.T) {
	python := os.Getenv("WEIR_PYTHON")
	if python == "" {
		t.Skip("WEIR_PYTHON is not set: no foreign reader looked at the files (it wants pyarrow, duckdb and deltalake)")
	}
	dir := t.TempDir()
	writeWild(t, dir)
	writeLarge(t, dir)
	writeTable(t, filepath.Join(dir, "table"))
	cmd := exec.CommandContext(t.Context(), python, "testdata/verify.py", dir)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("%s", out)
}

func writeFile(t *testing.T, name string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

func writeWild(t *testing.T, dir string) {
	t.Helper()
	s := wildSchema()
	var rows []map[string]any
	var lines bytes.Buffer
	for i := range 400 {
		row := columntest.Row(s).Example(i)
		rows = append(rows, row)
		if err := json.NewEncoder(&lines).Encode(canonical(s, row)); err != nil {
			t.Fatal(err)
		}
	}
	file, _ := encode(t, s, WriterOptions{RowGroupRows: 150, pageRows: 40, pageBytes: 2000},
		columntest.Build(s, rows[:90]), columntest.Build(s, rows[90:]))
	writeFile(t, filepath.Join(dir, "wild.parquet"), file)
	writeFile(t, filepath.Join(dir, "wild.jsonl"), lines.Bytes())
}

// writeLarge writes columns of several pages.
func writeLarge(t *testing.T, dir string) {
	t.Helper()
	const rows = 45_000
	batch := largeBatch(rows)
	var lines bytes.Buffer
	for i := range rows {
		if err := json.NewEncoder(&lines).Encode(batch.Row(i)); err != nil {
			t.Fatal(err)
		}
	}
	file, _ := encode(t, largeSchema(), WriterOptions{}, batch)
	writeFile(t, filepath.Join(dir, "large.parquet"), file)
	writeFile(t, filepath.Join(dir, "large.jsonl"), lines.Bytes())
}

// writeTable writes a Delta table of files with narrow ranges, so that a wrong bound prunes a row.
func writeTable(t *testing.T, dir string) {
	t.Helper()
	s := structOf(
		optional("id", kind(schema.Long)), optional("name", kind(schema.String)), optional("amount", kind(schema.Double)),
		optional("price", &schema.Type{Kind: schema.Decimal, Precision: 12, Scale: 3}), optional("day", kind(schema.Date)),
		optional("at", kind(schema.Timestamp)), optional("nested", structOf(optional("deep", kind(schema.String)))),
	)
	var log bytes.Buffer
	action := func(name string, body map[string]any) {
		if err := json.NewEncoder(&log).Encode(map[string]any{name: body}); err != nil {
			t.Fatal(err)
		}
	}
	action("protocol", map[string]any{"minReaderVersion": 1, "minWriterVersion": 2})
	action("metaData", map[string]any{
		"id": "t", "format": map[string]any{"provider": "parquet", "options": map[string]any{}}, "schemaString": s.JSON(),
		"partitionColumns": []string{}, "configuration": map[string]any{}, "createdTime": 0,
	})
	for k := range 12 {
		var rows []map[string]any
		for i := range 20 {
			rows = append(rows, tableRow(k, i))
		}
		file, info := encode(t, s, WriterOptions{Codec: Codec(k % 3)}, columntest.Build(s, rows))
		name := fmt.Sprintf("part-%05d.parquet", k)
		writeFile(t, filepath.Join(dir, name), file)
		action("add", map[string]any{
			"path": name, "partitionValues": map[string]any{}, "size": info.Size, "modificationTime": 0, "dataChange": true,
			"stats": info.Stats.JSON(),
		})
	}
	writeFile(t, filepath.Join(dir, "_delta_log", "00000000000000000000.json"), log.Bytes())
}

func tableRow(file, i int) map[string]any {
	n := int64(file*20 + i)
	prefix := strings.Repeat("日本", 15)
	row := map[string]any{
		"id": n, "name": fmt.Sprintf("%s%03d-%d", prefix, n, i), "amount": float64(n) / 8,
		"price": fmt.Sprintf("%d.%03d", n, i), "day": int32(n - 100), "at": 1_700_000_000_000_001 + n*777,
		"nested": map[string]any{"deep": fmt.Sprintf("%sé%03d", strings.Repeat("k", 31), n)},
	}
	switch {
	case file == 3 && i == 4:
		row["amount"] = math.NaN()
	case file == 5 && i == 5:
		row["amount"] = math.Inf(1)
	case i == 19:
		row["nested"] = nil
		row["name"] = nil
	}
	return row
}
