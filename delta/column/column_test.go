package column_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/column/columntest"
	"github.com/weir-dev/weir/delta/schema"
)

// TestRowsComeBack appends rows, takes back malformed ones at whatever point they broke, and reads all back.
func TestRowsComeBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := columntest.Schema(3).Draw(t, "schema")
		b := column.NewBatch(s)
		for round := range 2 { // the second round uses the first one's memory
			var want []map[string]any
			for range rapid.IntRange(0, 12).Draw(t, "rows") {
				row := columntest.Row(s).Draw(t, "row")
				columntest.AppendRow(b, len(want), row)
				if rapid.IntRange(0, 2).Draw(t, "malformed") == 0 {
					breakOff(t, b)
					b.Truncate(len(want))
					continue
				}
				want = append(want, row)
			}
			b.Seal(len(want))
			if diff := cmp.Diff(want, columntest.Rows(b), columntest.Exact); diff != "" {
				t.Fatalf("round %d (-want +got):\n%s", round, diff)
			}
			b.Reset()
		}
	})
}

// breakOff leaves elements in lists that no slot closes, as a decoder does that stops in the middle.
func breakOff(t *rapid.T, b *column.Batch) {
	for i, f := range b.Schema.Fields {
		if f.Type.Kind == schema.Array && rapid.Bool().Draw(t, "break") {
			b.Columns[i].Children[0].AppendNull()
		}
	}
}

func TestGather(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := columntest.Schema(3).Draw(t, "schema")
		rows := rapid.SliceOfN(columntest.Row(s), 1, 12).Draw(t, "rows")
		at := rapid.SliceOfN(rapid.IntRange(0, len(rows)-1), 0, 20).Draw(t, "at")
		var want []map[string]any
		for _, i := range at {
			want = append(want, rows[i])
		}
		got := columntest.Build(s, rows).Gather(at)
		if diff := cmp.Diff(want, columntest.Rows(got), columntest.Exact); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
		columntest.AppendRow(got, got.Rows, rows[0])
		got.Seal(got.Rows + 1)
		if diff := cmp.Diff(rows[0], got.Row(len(at)), columntest.Exact); diff != "" {
			t.Fatalf("row appended to what was gathered (-want +got):\n%s", diff)
		}
	})
}

func TestAppendBatch(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := columntest.Schema(3).Draw(t, "schema")
		rows := rapid.SliceOfN(columntest.Row(s), 0, 20).Draw(t, "rows")
		cut := rapid.IntRange(0, len(rows)).Draw(t, "cut")
		whole := columntest.Build(s, rows[:cut])
		whole.AppendBatch(columntest.Build(s, rows[cut:]))
		if d := cmp.Diff(columntest.Rows(columntest.Build(s, rows)), columntest.Rows(whole), columntest.Exact); d != "" {
			t.Fatalf("rows (-want +got):\n%s", d)
		}
		for _, c := range whole.Columns {
			checkShape(t, c, len(rows))
		}
	})
}

func TestSealedShape(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := columntest.Schema(3).Draw(t, "schema")
		rows := rapid.SliceOfN(columntest.Row(s), 0, 8).Draw(t, "rows")
		for _, c := range columntest.Build(s, rows).Columns {
			checkShape(t, c, len(rows))
		}
	})
}

func checkShape(t *rapid.T, v *column.Vector, slots int) {
	positions := v.Positions(nil)
	present := 0
	for _, p := range positions {
		if p >= 0 {
			present++
		}
	}
	if v.Len != slots || len(positions) != slots || v.Present() != present || v.NullCount() != slots-present {
		t.Fatalf("%s: Len %d, %d positions, Present %d of %d for %d slots",
			v.Type, v.Len, len(positions), v.Present(), present, slots)
	}
	below := present
	if v.Type.Kind == schema.Array || v.Type.Kind == schema.Map {
		below = int(v.Offsets[present])
	}
	for _, c := range v.Children {
		checkShape(t, c, below)
	}
}

func TestBytesFollowCapacity(t *testing.T) {
	b := column.NewBatch(&schema.Type{Kind: schema.Struct, Fields: []schema.Field{
		{Name: "s", Type: &schema.Type{Kind: schema.String}, Nullable: true},
	}})
	empty := b.Bytes()
	b.Columns[0].AppendBytes(make([]byte, 1<<20))
	full := b.Bytes()
	if full < empty+1<<20 {
		t.Errorf("Bytes is %d after 1 MiB, was %d", full, empty)
	}
	b.Reset()
	if b.Bytes() != full {
		t.Errorf("Bytes is %d after Reset, want %d: the memory is kept", b.Bytes(), full)
	}
}

func TestSteadyStateAllocatesNothing(t *testing.T) {
	s := &schema.Type{Kind: schema.Struct, Fields: []schema.Field{
		{Name: "n", Type: &schema.Type{Kind: schema.Long}, Nullable: true},
		{Name: "s", Type: &schema.Type{Kind: schema.String}, Nullable: true},
		{Name: "l", Type: &schema.Type{Kind: schema.Array, Elem: &schema.Type{Kind: schema.Double}}, Nullable: true},
		{Name: "unused", Type: &schema.Type{Kind: schema.Double}, Nullable: true},
	}}
	b := column.NewBatch(s)
	fill := func() {
		for i := range 1000 {
			if i%3 != 0 {
				b.Columns[0].PadNulls(i)
				b.Columns[0].AppendInt64(int64(i))
			}
			b.Columns[1].AppendString("some text")
			b.Columns[2].Children[0].AppendFloat64(1)
			b.Columns[2].AppendList()
		}
		b.Seal(1000)
		b.Reset()
	}
	fill()
	if n := testing.AllocsPerRun(5, fill); n > 0 {
		t.Errorf("%v allocations for 1000 rows, want 0", n)
	}
}

func TestFormatDecimal(t *testing.T) {
	s := &schema.Type{Kind: schema.Decimal, Precision: 38, Scale: 3}
	for _, text := range []string{"0.000", "-0.001", "12.345", "-99999999999999999999999999999999999.999"} {
		v := column.New(s)
		columntest.Append(v, text)
		if got := v.Value(0); got != text {
			t.Errorf("decimal %s comes back as %v", text, got)
		}
	}
}

// BenchmarkAppend is the decoder's inner loop: one row of a number, a string and an absent column.
func BenchmarkAppend(b *testing.B) {
	s := &schema.Type{Kind: schema.Struct, Fields: []schema.Field{
		{Name: "n", Type: &schema.Type{Kind: schema.Long}, Nullable: true},
		{Name: "s", Type: &schema.Type{Kind: schema.String}, Nullable: true},
		{Name: "unused", Type: &schema.Type{Kind: schema.Double}, Nullable: true},
	}}
	batch := column.NewBatch(s)
	text := []byte("https://example.com/catalogue")
	b.ReportAllocs()
	row := 0
	for b.Loop() {
		n, str := batch.Columns[0], batch.Columns[1]
		n.PadNulls(row)
		n.AppendInt64(int64(row))
		str.PadNulls(row)
		str.AppendBytes(text)
		if row++; row == 10_000 {
			batch.Reset()
			row = 0
		}
	}
}

// TestReserve: room for rows changes none, and appending as many of the kind of the first moves nothing.
func TestReserve(t *testing.T) {
	s := &schema.Type{Kind: schema.Struct, Fields: []schema.Field{
		{Name: "n", Nullable: true, Type: &schema.Type{Kind: schema.Long}},
		{Name: "s", Nullable: true, Type: &schema.Type{Kind: schema.String}},
	}}
	build := func() *column.Batch {
		b := column.NewBatch(s)
		for i := range 100 {
			b.Columns[0].AppendInt64(int64(i))
			b.Columns[1].AppendString("some text")
		}
		b.Seal(100)
		return b
	}
	b := build()
	b.Reserve(1000)
	before := [2]int{cap(b.Columns[0].Int64s), cap(b.Columns[1].Data)}
	for range 9 {
		b.AppendBatch(build())
	}
	if after := [2]int{cap(b.Columns[0].Int64s), cap(b.Columns[1].Data)}; after != before {
		t.Errorf("capacities grew from %v to %v", before, after)
	}
	if d := cmp.Diff(build().Row(42), b.Row(942)); b.Rows != 1000 || d != "" {
		t.Errorf("%d rows; row 942 (-want +got):\n%s", b.Rows, d)
	}
	few := build()
	few.Reserve(10) // less than there is
	if few.Rows != 100 || few.Columns[0].Int64s[99] != 99 {
		t.Error("rows were lost")
	}
}
