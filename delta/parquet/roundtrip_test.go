package parquet

import (
	"bytes"
	"context"
	"errors"
	"math"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/column/columntest"
	"github.com/weir-dev/weir/delta/schema"
)

func kind(k schema.Kind) *schema.Type { return &schema.Type{Kind: k} }

func list(elem *schema.Type) *schema.Type {
	return &schema.Type{Kind: schema.Array, Elem: elem, ContainsNull: true}
}

func optional(name string, t *schema.Type) schema.Field {
	return schema.Field{Name: name, Type: t, Nullable: true}
}

func structOf(fields ...schema.Field) *schema.Type {
	return &schema.Type{Kind: schema.Struct, Fields: fields}
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func encode(t fataler, s *schema.Type, o WriterOptions, batches ...*column.Batch) ([]byte, FileInfo) {
	t.Helper()
	var buf bytes.Buffer
	info, err := Write(&buf, s, batches, o)
	if err != nil {
		t.Fatalf("write: %v", err)
	}
	if info.Size != int64(buf.Len()) {
		t.Fatalf("FileInfo.Size is %d, the file has %d bytes", info.Size, buf.Len())
	}
	return buf.Bytes(), info
}

func readAll(t fataler, file []byte, want *schema.Type) []*column.Batch {
	t.Helper()
	f, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	if want == nil {
		want = f.Schema()
	}
	var out []*column.Batch
	for b, err := range f.Read(context.Background(), want) {
		if err != nil {
			t.Fatalf("read: %v", err)
		}
		out = append(out, b)
	}
	return out
}

// drawOptions makes small pages and row groups, so that few rows cross all boundaries.
func drawOptions(t *rapid.T) WriterOptions {
	return WriterOptions{
		Codec:        rapid.SampledFrom([]Codec{Zstd, Snappy, Uncompressed}).Draw(t, "codec"),
		Level:        rapid.IntRange(0, 2).Draw(t, "level"),
		RowGroupRows: rapid.IntRange(1, 40).Draw(t, "group rows"),
		pageRows:     rapid.IntRange(1, 20).Draw(t, "page rows"),
		pageBytes:    rapid.IntRange(1, 400).Draw(t, "page bytes"),
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := columntest.Schema(3).Draw(t, "schema")
		var want []map[string]any
		var batches []*column.Batch
		for range rapid.IntRange(0, 4).Draw(t, "batches") {
			rows := rapid.SliceOfN(columntest.Row(s), 0, 25).Draw(t, "rows")
			want = append(want, rows...)
			batches = append(batches, columntest.Build(s, rows))
		}
		file, info := encode(t, s, drawOptions(t), batches...)
		if info.Rows != int64(len(want)) || info.Stats.NumRecords != info.Rows {
			t.Fatalf("FileInfo has %d rows, %d in Stats, want %d", info.Rows, info.Stats.NumRecords, len(want))
		}
		if diff := cmp.Diff(want, columntest.Rows(readAll(t, file, s)...), columntest.Exact); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(want, columntest.Rows(readAll(t, file, nil)...), columntest.Exact); diff != "" {
			t.Fatalf("read by the file's own schema (-want +got):\n%s", diff)
		}
	})
}

// TestRoundTripManyRows crosses the sizes at which dictionaries are given up, pages turn and batches end.
func TestRoundTripManyRows(t *testing.T) {
	const rows = 50_000
	s := structOf(optional("few", kind(schema.String)), optional("many", kind(schema.String)),
		optional("number", kind(schema.Long)), optional("mostly null", kind(schema.Double)),
		optional("list", list(kind(schema.Integer))))
	b := column.NewBatch(s)
	for i := range rows {
		b.Columns[0].AppendString([]string{"a", "bb", "ccc"}[i%3])
		b.Columns[1].AppendString("value " + string(rune('0'+i%10)) + string(rune('一'+i)))
		b.Columns[2].AppendInt64(int64(i % 7000))
		if i%1000 == 999 {
			b.Columns[3].PadNulls(i)
			b.Columns[3].AppendFloat64(float64(i))
		}
		for k := range i % 5 {
			b.Columns[4].Children[0].AppendInt32(int32(i * k))
		}
		b.Columns[4].AppendList()
	}
	b.Seal(rows)
	for _, codec := range []Codec{Zstd, Snappy, Uncompressed} {
		file, info := encode(t, s, WriterOptions{Codec: codec, RowGroupRows: 30_000}, b)
		row := 0
		for _, got := range readAll(t, file, s) {
			if got.Rows > MaxBatchRows {
				t.Fatalf("batch of %d rows", got.Rows)
			}
			for i := 0; i < got.Rows; i += 61 {
				if diff := cmp.Diff(b.Row(row+i), got.Row(i), columntest.Exact); diff != "" {
					t.Fatalf("%s row %d (-want +got):\n%s", codec, row+i, diff)
				}
			}
			row += got.Rows
		}
		if row != rows || info.Rows != rows {
			t.Errorf("%s: %d rows read, %d in FileInfo, want %d", codec, row, info.Rows, rows)
		}
	}
}

// TestColumnsByName writes batches that lack columns or have them in another order, and reads what the file lacks.
func TestColumnsByName(t *testing.T) {
	inner := structOf(optional("x", kind(schema.Long)), optional("y", list(kind(schema.String))))
	full := structOf(optional("a", kind(schema.Long)), optional("b", kind(schema.String)), optional("s", inner))
	old := columntest.Build(structOf(optional("s", structOf(optional("y", list(kind(schema.String))))), optional("b", kind(schema.String))),
		[]map[string]any{{"s": map[string]any{"y": []any{"p", nil}}, "b": "q"}, {}})
	now := columntest.Build(full, []map[string]any{{"a": int64(1), "s": map[string]any{"x": int64(2)}}})
	file, _ := encode(t, full, WriterOptions{}, old, now)
	want := []map[string]any{
		{"a": nil, "b": "q", "s": map[string]any{"x": nil, "y": []any{"p", nil}}},
		{"a": nil, "b": nil, "s": nil},
		{"a": int64(1), "b": nil, "s": map[string]any{"x": int64(2), "y": nil}},
	}
	if diff := cmp.Diff(want, columntest.Rows(readAll(t, file, full)...)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	other := structOf(optional("new", list(kind(schema.Double))), optional("S", structOf(optional("gone", kind(schema.Date)))),
		optional("B", kind(schema.String)))
	want = []map[string]any{
		{"new": nil, "S": map[string]any{"gone": nil}, "B": "q"},
		{"new": nil, "S": nil, "B": nil},
		{"new": nil, "S": map[string]any{"gone": nil}, "B": nil},
	}
	if diff := cmp.Diff(want, columntest.Rows(readAll(t, file, other)...)); diff != "" {
		t.Errorf("other columns (-want +got):\n%s", diff)
	}
}

// TestWidening reads columns as the wider types of Delta's type widening.
func TestWidening(t *testing.T) {
	have := structOf(optional("byte", kind(schema.Byte)), optional("int", kind(schema.Integer)),
		optional("float", kind(schema.Float)), optional("date", kind(schema.Date)), optional("text", kind(schema.String)),
		optional("dec", &schema.Type{Kind: schema.Decimal, Precision: 5, Scale: 2}))
	file, _ := encode(t, have, WriterOptions{}, columntest.Build(have, []map[string]any{{
		"byte": int32(-8), "int": int32(math.MinInt32), "float": float32(0.5), "date": int32(-1), "text": "é", "dec": "-123.45",
	}}))
	want := structOf(optional("byte", kind(schema.Integer)), optional("int", kind(schema.Long)),
		optional("float", kind(schema.Double)), optional("date", kind(schema.TimestampNTZ)), optional("text", kind(schema.Binary)),
		optional("dec", &schema.Type{Kind: schema.Decimal, Precision: 30, Scale: 4}))
	got := columntest.Rows(readAll(t, file, want)...)
	if diff := cmp.Diff([]map[string]any{{
		"byte": int32(-8), "int": int64(math.MinInt32), "float": 0.5, "date": int64(-86_400_000_000), "text": []byte("é"),
		"dec": "-123.4500",
	}}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestMisfits(t *testing.T) {
	long, text := kind(schema.Long), kind(schema.String)
	row := []map[string]any{{"a": int64(1)}}
	unsealed := column.NewBatch(structOf(optional("a", long)))
	unsealed.Rows = 1
	for name, c := range map[string]struct {
		s *schema.Type
		b *column.Batch
	}{
		"other type":      {structOf(optional("a", text)), columntest.Build(structOf(optional("a", long)), row)},
		"not nullable":    {structOf(schema.Field{Name: "a", Type: long}), columntest.Build(structOf(optional("a", long)), []map[string]any{{}})},
		"required absent": {structOf(schema.Field{Name: "b", Type: long}), columntest.Build(structOf(optional("a", long)), row)},
		"not sealed":      {structOf(optional("a", long)), unsealed},
		"empty struct":    {structOf(optional("a", structOf())), columntest.Build(structOf(optional("a", long)), row)},
	} {
		var buf bytes.Buffer
		if _, err := Write(&buf, c.s, []*column.Batch{c.b}, WriterOptions{}); !errors.Is(err, ErrMisfit) {
			t.Errorf("%s: error %v, want ErrMisfit", name, err)
		}
		if buf.Len() > 0 {
			t.Errorf("%s: %d bytes were written", name, buf.Len())
		}
	}
	file, _ := encode(t, structOf(optional("a", long)), WriterOptions{}, columntest.Build(structOf(optional("a", long)), row))
	f, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []*schema.Type{text, list(long), structOf(optional("x", long)), kind(schema.Integer)} {
		for _, err := range f.Read(t.Context(), structOf(optional("a", want))) {
			if !errors.Is(err, ErrMisfit) {
				t.Errorf("long read as %s: error %v, want ErrMisfit", want, err)
			}
		}
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []WriterOptions{{Level: -1}, {Level: 5}, {Codec: 9}} {
		if _, err := Write(&failing{}, structOf(optional("a", kind(schema.Long))), nil, o); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%+v: error %v, want ErrUnsupported", o, err)
		}
	}
}

// TestManyRowGroups guards the 16-bit number of a row group.
func TestManyRowGroups(t *testing.T) {
	s := structOf(optional("a", kind(schema.Long)))
	b := column.NewBatch(s)
	b.Seal(40_000)
	file, _ := encode(t, s, WriterOptions{RowGroupRows: 1}, b)
	f, err := Open(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	if len(f.meta.groups) > maxRowGroups || f.Rows() != 40_000 {
		t.Errorf("%d groups, %d rows", len(f.meta.groups), f.Rows())
	}
}

type failing struct{ left int }

func (f *failing) Write(b []byte) (int, error) {
	if f.left -= len(b); f.left < 0 {
		return 0, errDisk
	}
	return len(b), nil
}

var errDisk = errors.New("disk full")

func TestWriterErrorsComeBack(t *testing.T) {
	s := structOf(optional("a", kind(schema.Long)))
	b := columntest.Build(s, []map[string]any{{"a": int64(1)}})
	file, _ := encode(t, s, WriterOptions{}, b)
	for n := range len(file) {
		if _, err := Write(&failing{left: n}, s, []*column.Batch{b}, WriterOptions{}); !errors.Is(err, errDisk) {
			t.Fatalf("disk full after %d bytes: error %v", n, err)
		}
	}
}

// TestSteadyStateAllocations guards that a file of many rows allocates by the file and column, not by the row.
func TestSteadyStateAllocations(t *testing.T) {
	s := structOf(optional("a", kind(schema.Long)), optional("b", kind(schema.String)), optional("l", list(kind(schema.Double))))
	b := column.NewBatch(s)
	for i := range 20_000 {
		b.Columns[0].AppendInt64(int64(i))
		b.Columns[1].AppendString("some text that repeats")
		b.Columns[2].Children[0].AppendFloat64(float64(i))
		b.Columns[2].AppendList()
	}
	b.Seal(20_000)
	n := testing.AllocsPerRun(5, func() {
		if _, err := Write(&failing{left: 1 << 30}, s, []*column.Batch{b}, WriterOptions{}); err != nil {
			t.Fatal(err)
		}
	})
	if n > 400 {
		t.Errorf("%v allocations for a file of 20,000 rows", n)
	}
}
