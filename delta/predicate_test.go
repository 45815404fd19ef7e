package delta_test

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/column/columntest"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// conditioned is a schema with a column of every class.
var conditioned = structOf(
	field("n", schema.Long), field("m", schema.Integer), field("f", schema.Double), field("s", schema.String),
	field("b", schema.Boolean), field("d", schema.Date), field("ts", schema.Timestamp),
	schema.Field{Name: "dec", Type: &schema.Type{Kind: schema.Decimal, Precision: 12, Scale: 2}, Nullable: true},
	schema.Field{Name: "st", Type: structOf(field("x", schema.Long)), Nullable: true}, field("p", schema.String),
)

var conditionedRows = []map[string]any{
	{"n": int64(1), "m": int32(1), "f": 0.5, "s": "a", "b": true, "d": int32(0), "ts": int64(0), "dec": "1.50", "st": map[string]any{"x": int64(1)}, "p": "x"},
	{"n": int64(2), "m": int32(-3), "f": math.NaN(), "s": "it's", "b": false, "d": int32(19723), "ts": int64(1_700_000_000_000_001), "dec": "-0.01", "p": "y"},
	{"n": int64(math.MaxInt64), "f": math.Inf(-1), "s": "", "st": map[string]any{"x": nil}},
	{},
}

// TestPredicateRows says of every condition which rows it is true for, counted from 0.
func TestPredicateRows(t *testing.T) {
	b := columntest.Build(conditioned, conditionedRows)
	table := create(t, store.NewMemory(), delta.CreateOptions{Schema: conditioned})
	write(t, table, b)
	for text, want := range map[string][]int{
		"n = 1": {0}, "1 = n": {0}, "n <> 1": {1, 2}, "n >= 2": {1, 2}, "2 >= n": {0, 1}, "n > 1.5": {1, 2}, "n < 1e3": {0, 1},
		"n = 9223372036854775808": {}, "n < 9223372036854775808": {0, 1, 2},
		"n in (1, 2, 7)": {0, 1}, "n not in (1)": {1, 2}, "n not in (1, null)": {}, "n in (1, null)": {0}, "n IN (1.5, 2)": {1},
		"n between 1 and 2": {0, 1}, "not n between 1 and 2": {2}, "n not between 1 and 2": {2},
		"n > m": {1}, "n = m": {0}, "n > f": {0, 2}, "n < dec": {0}, "s = p": {},
		"f > 1e30": {1}, "f = 0.5": {0}, "f < 0": {2},
		"s = 'it''s'": {1}, "s < 'b'": {0, 2}, "s = ''": {2}, "`s` IS NULL": {3}, "S is not null": {0, 1, 2},
		"b": {0}, "not b": {1}, "b = false": {1}, "b is null or b": {0, 2, 3}, "true": {0, 1, 2, 3}, "null": {}, "not null": {},
		"d = date '1970-01-01'": {0}, "d > '2023-12-31'": {1},
		"ts > '2023-11-14 22:13:20'": {1}, "ts <= timestamp '1970-01-01T00:00:00Z'": {0},
		"dec = 1.5": {0}, "dec < 0": {1}, "dec in (1.50, -0.01)": {0, 1},
		"st.x = 1": {0}, "st.x is null": {1, 2, 3}, "st is null": {1, 3},
		"n = 1 and (s = 'a' or s = 'b') and not (b = false)": {0}, "not (n = 1 or s is null)": {1, 2}, "n = null": {}, "not (n = null)": {},
	} {
		p, err := delta.ParsePredicate(text, conditioned)
		must(t, err)
		got := []int{}
		for out, err := range table.Snapshot().Scan(delta.ScanOptions{Where: p}).Rows(t.Context()) {
			must(t, err)
			for _, row := range columntest.Rows(out) {
				got = append(got, slices.IndexFunc(conditionedRows, func(r map[string]any) bool { return fmt.Sprint(r["n"], r["s"]) == fmt.Sprint(row["n"], row["s"]) }))
			}
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: rows (-want +got):\n%s", text, d)
		}
	}
}

func TestPredicateRefuses(t *testing.T) {
	for _, text := range []string{
		"", "n", "n =", "n = 1 and", "(n = 1", "n = 1)", "nope = 1", "length(s) > 1", "n + 1 = 2", "n = 'a'", "s = 1", "b = 1",
		"st = 1", "n in ()", "n in (m)", "n like 'a'", "s = 'a", `s = 'a\n'`, "n = 1; drop", "1 = 1", "n is 1", "d = 'tomorrow'", "d > ts", "n = s",
	} {
		_, err := delta.ParsePredicate(text, conditioned)
		if err == nil {
			t.Errorf("%q is taken", text)
			continue
		}
		t.Log(err)
	}
}

// drawCondition draws a condition on conditioned.
func drawCondition(t *rapid.T, depth int) string {
	if depth > 0 {
		switch rapid.IntRange(0, 4).Draw(t, "form") {
		case 0:
			return "(" + drawCondition(t, depth-1) + " and " + drawCondition(t, depth-1) + ")"
		case 1:
			return "(" + drawCondition(t, depth-1) + " or " + drawCondition(t, depth-1) + ")"
		case 2:
			return "not " + drawCondition(t, depth-1)
		}
	}
	op := rapid.SampledFrom([]string{"=", "<>", "<", "<=", ">", ">="}).Draw(t, "op")
	switch c := rapid.SampledFrom([]string{"n", "m", "f", "s", "p", "dec", "ts", "d", "null", "in", "b"}).Draw(t, "column"); c {
	case "n", "m", "f", "dec":
		return fmt.Sprintf("%s %s %d", c, op, rapid.IntRange(-3, 12).Draw(t, "x"))
	case "s", "p":
		return fmt.Sprintf("%s %s '%s'", c, op, rapid.SampledFrom(words).Draw(t, "x"))
	case "d":
		return fmt.Sprintf("d %s '1970-01-0%d'", op, rapid.IntRange(1, 9).Draw(t, "x"))
	case "ts":
		return fmt.Sprintf("ts %s '1970-01-01 00:00:00.00%d'", op, rapid.IntRange(0, 9).Draw(t, "x"))
	case "null":
		return rapid.SampledFrom([]string{"n is null", "p is null", "s is not null", "st is null"}).Draw(t, "x")
	case "in":
		return fmt.Sprintf("n in (%d, %d)", rapid.IntRange(0, 9).Draw(t, "x"), rapid.IntRange(0, 9).Draw(t, "y"))
	default:
		return c
	}
}

var words = []string{"a", "b", "a long word that statistics cut somewhere", "a long word that statistics cut somewhere else", "ü"}

func drawConditioned(t *rapid.T) map[string]any {
	row := map[string]any{
		"n": rapid.Int64Range(0, 10).Draw(t, "n"), "m": rapid.Int32Range(-2, 5).Draw(t, "m"),
		"f": rapid.SampledFrom([]float64{0, 1, 2.5, math.NaN(), math.Inf(1)}).Draw(t, "f"), "s": rapid.SampledFrom(words).Draw(t, "s"),
		"b": rapid.Bool().Draw(t, "b"), "d": rapid.Int32Range(0, 9).Draw(t, "d"), "ts": rapid.Int64Range(0, 9999).Draw(t, "ts"),
		"dec": rapid.SampledFrom([]string{"0.00", "2.50", "11.00"}).Draw(t, "dec"), "p": rapid.SampledFrom(words).Draw(t, "p"),
	}
	for name := range row {
		if rapid.IntRange(0, 3).Draw(t, "null") == 0 {
			delete(row, name)
		}
	}
	return row
}

// TestPruningLosesNothing: a scan of many files, most of which it leaves out, finds the rows that a scan of one file does;
// and a delete leaves the others.
func TestPruningLosesNothing(t *testing.T) {
	pruned, all := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		rows := rapid.SliceOfN(rapid.Custom(drawConditioned), 1, 12).Draw(t, "rows")
		c := delta.CreateOptions{Schema: conditioned}
		if rapid.Bool().Draw(t, "partitioned") {
			c.PartitionColumns = []string{rapid.SampledFrom([]string{"p", "d", "ts", "f", "dec"}).Draw(t, "by")}
		}
		if rapid.Bool().Draw(t, "marks") {
			c = withMarks(c)
		}
		many, err := delta.Create(ctx, store.NewMemory(), c)
		if err != nil {
			t.Fatal(err)
		}
		for part := range slices.Chunk(rows, rapid.IntRange(1, 4).Draw(t, "file")) {
			appendRows(t, many, columntest.Build(conditioned, part))
		}
		one, err := delta.Create(ctx, store.NewMemory(), delta.CreateOptions{Schema: conditioned})
		if err != nil {
			t.Fatal(err)
		}
		appendRows(t, one, columntest.Build(conditioned, rows))
		text := drawCondition(t, 2)
		p, err := delta.ParsePredicate(text, conditioned)
		if err != nil {
			t.Fatal(err)
		}
		found := func(table *delta.Table) []string {
			scan := table.Snapshot().Scan(delta.ScanOptions{Columns: structOf(field("n", schema.Long), field("s", schema.String)), Where: p})
			if table == many {
				pruned += table.Snapshot().NumFiles() - scan.NumFiles()
				all += table.Snapshot().NumFiles()
			}
			out := []string{}
			for b, err := range scan.Rows(ctx) {
				if err != nil {
					t.Fatal(err)
				}
				for _, row := range columntest.Rows(b) {
					out = append(out, fmt.Sprint(row))
				}
			}
			slices.Sort(out)
			return out
		}
		want := found(one)
		if d := cmp.Diff(want, found(many)); d != "" {
			t.Fatalf("%s (-one file +many):\n%s", text, d)
		}
		res, err := many.Delete(ctx, delta.DeleteOptions{Where: p})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := one.Delete(ctx, delta.DeleteOptions{Where: p}); err != nil {
			t.Fatal(err)
		}
		if int(res.Deleted) != len(want) || len(found(many)) != 0 {
			t.Fatalf("%s: %d rows were deleted, want %d", text, res.Deleted, len(want))
		}
		if d := cmp.Diff(tableRows(t, one.Snapshot()), tableRows(t, many.Snapshot())); d != "" {
			t.Fatalf("rows that stay after delete where %s (-one file +many):\n%s", text, d)
		}
	})
	t.Logf("%d of %d files were left out", pruned, all)
	if pruned == 0 {
		t.Error("no file was ever left out")
	}
}

func appendRows(t *rapid.T, table *delta.Table, b *column.Batch) {
	s := table.Snapshot()
	adds, err := table.WriteData(context.Background(), s.Schema(), s.PartitionColumns(), []*column.Batch{b}, parquet.WriterOptions{})
	if err == nil {
		_, err = table.Commit(context.Background(), fixed(delta.Transaction{Operation: "WRITE", BlindAppend: true, Adds: adds}))
	}
	if err != nil {
		t.Fatal(err)
	}
}

// FuzzPredicate: any text is parsed or refused.
func FuzzPredicate(f *testing.F) {
	for _, text := range []string{"n = 1 and s in ('a', null)", "not (n between 1 and 2)", "((((", "st.x is null", "`n` <> -.5e-3"} {
		f.Add(text)
	}
	table, err := delta.Create(context.Background(), store.NewMemory(), delta.CreateOptions{Schema: conditioned})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if p, err := delta.ParsePredicate(text, conditioned); err == nil {
			for _, err := range table.Snapshot().Scan(delta.ScanOptions{Where: p}).Rows(t.Context()) {
				must(t, err)
			}
		}
	})
}
