package delta_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// scattered makes a table of points in random order, several files of two partitions, some without a y.
func scattered(t *testing.T, st store.Store, files, rows int) *delta.Table {
	t.Helper()
	s := structOf(field("x", schema.Long), field("y", schema.String), field("p", schema.String))
	table := create(t, st, delta.CreateOptions{Schema: s, PartitionColumns: []string{"p"}})
	rnd := rand.New(rand.NewPCG(1, 2))
	for f := range files {
		b := column.NewBatch(s)
		for i := range rows {
			b.Columns[0].AppendInt64(rnd.Int64N(1000))
			if rnd.IntN(50) > 0 {
				b.Columns[1].AppendString(fmt.Sprintf("%03d", rnd.IntN(1000)))
			}
			b.Columns[1].PadNulls(i + 1)
			b.Columns[2].AppendString([]string{"a", "b"}[f%2])
		}
		b.Seal(rows)
		write(t, table, b)
	}
	return table
}

// overlapping is the mean number of files that a search for one value of column must read.
func overlapping(t *testing.T, s *delta.Snapshot, column string, values []any) float64 {
	t.Helper()
	hits := 0
	for f := range s.Files() {
		var stats struct{ MinValues, MaxValues map[string]any }
		must(t, json.Unmarshal([]byte(f.Stats), &stats))
		low, high := fmt.Sprintf("%4v", stats.MinValues[column]), fmt.Sprintf("%4v", stats.MaxValues[column])
		for _, v := range values {
			if x := fmt.Sprintf("%4v", v); x >= low && x <= high {
				hits++
			}
		}
	}
	return float64(hits) / float64(len(values))
}

func TestZOrderLetsFilesBeSkippedByEachColumn(t *testing.T) {
	for _, c := range []struct {
		name   string
		memory int64
	}{{"in memory", 0}, {"slice by slice", 256 << 10}} {
		t.Run(c.name, func(t *testing.T) {
			st := store.NewMemory()
			table := scattered(t, st, 8, 4000)
			want := peerlessRows(t, table.Snapshot())
			res, err := table.Optimize(t.Context(), delta.OptimizeOptions{ZOrder: []string{"x", "y"}, TargetSize: 4 << 10, Memory: c.memory})
			must(t, err)
			s := table.Snapshot()
			if d := cmp.Diff(want, peerlessRows(t, s)); d != "" {
				t.Fatalf("rows (-want +got):\n%s", d)
			}
			if res.FilesRemoved != 8 || res.FilesAdded < 16 || res.FilesAdded != s.NumFiles() {
				t.Errorf("%+v of %d files, want at least 16 new ones for 8", res, s.NumFiles())
			}
			var xs, ys []any
			for i := range 100 {
				xs, ys = append(xs, i*10), append(ys, fmt.Sprintf(" %03d", i*10)[1:])
			}
			half := float64(s.NumFiles()) / 2
			if x, y := overlapping(t, s, "x", xs), overlapping(t, s, "y", ys); x > half || y > half {
				t.Errorf("a value of x is searched in %.1f and one of y in %.1f of %d files, want at most half", x, y, s.NumFiles())
			}

			again, err := table.Optimize(t.Context(), delta.OptimizeOptions{ZOrder: []string{"x", "y"}, TargetSize: 4 << 10})
			must(t, err)
			if again.Commits != 0 {
				t.Errorf("a sorted table was sorted again: %+v", again)
			}
		})
	}
}

// peerlessRows are the rows as we read them, in an order of their own.
func peerlessRows(t *testing.T, s *delta.Snapshot) []string {
	t.Helper()
	var rows []string
	for b, err := range s.Read(t.Context(), nil) {
		must(t, err)
		for i := range b.Rows {
			rows = append(rows, fmt.Sprint(b.Row(i)))
		}
	}
	slices.Sort(rows)
	return rows
}

// TestZOrderOfEveryType sorts along each type that has an order; all of them at once would be refused.
func TestZOrderOfEveryType(t *testing.T) {
	kinds := []schema.Type{
		{Kind: schema.Boolean},
		{Kind: schema.Byte},
		{Kind: schema.Short},
		{Kind: schema.Integer},
		{Kind: schema.Long},
		{Kind: schema.Float},
		{Kind: schema.Double},
		{Kind: schema.String},
		{Kind: schema.Binary},
		{Kind: schema.Date},
		{Kind: schema.Timestamp},
		{Kind: schema.Decimal, Precision: 9, Scale: 2},
		{Kind: schema.Decimal, Precision: 38, Scale: 2},
	}
	for _, kind := range kinds {
		t.Run(kind.String(), func(t *testing.T) {
			s := structOf(schema.Field{Name: "c", Type: &kind, Nullable: true}, field("id", schema.Long))
			table := create(t, store.NewMemory(), delta.CreateOptions{Schema: s})
			b := column.NewBatch(s)
			for i := range 500 {
				appendOrdered(b.Columns[0], (i*37)%500-250)
				b.Columns[0].PadNulls(i + 1)
				b.Columns[1].AppendInt64(int64((i*37)%500 - 250))
			}
			b.Seal(500)
			write(t, table, b)
			_, err := table.Optimize(t.Context(), delta.OptimizeOptions{ZOrder: []string{"c"}, Parquet: parquet.WriterOptions{}})
			must(t, err)
			last, nulls := int64(-1000), true
			for b, err := range table.Snapshot().Read(t.Context(), nil) {
				must(t, err)
				for i := range b.Rows {
					id := b.Row(i)["id"].(int64)
					if kind.Kind == schema.Byte {
						id /= 2 // two ids share a value
					}
					if null := b.Columns[0].IsNull(i); null != nulls {
						if null {
							t.Fatalf("a null after a value, at id %d", id)
						}
						nulls = false
					}
					if kind.Kind != schema.Boolean && !nulls && id < last {
						t.Fatalf("id %d after %d: the values are not in order", id, last)
					}
					if !nulls {
						last = id
					}
				}
			}
		})
	}
}

// appendOrdered appends a value that grows with n, and nothing for every tenth.
func appendOrdered(v *column.Vector, n int) {
	if n%10 == 0 {
		return
	}
	switch v.Type.Kind {
	case schema.Boolean:
		v.AppendBool(n > 0)
	case schema.Byte:
		v.AppendInt32(int32(n / 2))
	case schema.Short, schema.Integer, schema.Date:
		v.AppendInt32(int32(n))
	case schema.Float:
		v.AppendFloat32(float32(n) * 1e10)
	case schema.Double:
		v.AppendFloat64(float64(n) * 1e100)
	case schema.String, schema.Binary:
		v.AppendString(fmt.Sprintf("key-%04d", n+1000))
	case schema.Decimal:
		if v.Type.Precision > 18 {
			v.AppendDecimal128(int64(n)>>63, uint64(int64(n)))
			return
		}
		v.AppendInt64(int64(n))
	default:
		v.AppendInt64(int64(n))
	}
}

func TestZOrderRefusesColumns(t *testing.T) {
	table := scattered(t, store.NewMemory(), 2, 10)
	for want, columns := range map[string][]string{
		"no such column":    {"z"},
		"partition column":  {"p"},
		"named twice":       {"x", "x"},
		"at most 8 columns": {"x", "x", "x", "x", "x", "x", "x", "x", "x"},
	} {
		_, err := table.Optimize(t.Context(), delta.OptimizeOptions{ZOrder: columns})
		if refused := new(delta.ZOrderError); !errors.As(err, &refused) {
			t.Errorf("%v: %v, want a refusal: %s", columns, err, want)
		}
	}
}
