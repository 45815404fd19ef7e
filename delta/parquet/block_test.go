package parquet

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/column/columntest"
	"github.com/weir-dev/weir/delta/schema"
)

// TestBlocks makes two files of the same blocks in another order: each holds the blocks' rows.
func TestBlocks(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := columntest.Schema(3).Draw(t, "schema")
		o := drawOptions(t)
		o.StatsColumns = -1
		var blocks []*Block
		var rows [][]map[string]any
		for range rapid.IntRange(0, 4).Draw(t, "blocks") {
			r := rapid.SliceOfN(columntest.Row(s), 0, 12).Draw(t, "rows")
			b := columntest.Build(s, r)
			block, err := Encode(s, []*column.Batch{b}, o)
			if err != nil {
				t.Fatal(err)
			}
			b.Reset() // its memory is the caller's again
			for _, c := range b.Columns {
				clear(c.Data[:cap(c.Data)])
			}
			blocks, rows = append(blocks, block), append(rows, r)
		}
		for range 2 {
			var want []map[string]any
			for _, r := range rows {
				want = append(want, r...)
			}
			var buf bytes.Buffer
			info, err := WriteBlocks(&buf, s, blocks)
			if err != nil {
				t.Fatal(err)
			}
			if info.Size != int64(buf.Len()) || info.Rows != int64(len(want)) {
				t.Fatalf("%+v of %d rows in %d bytes", info, len(want), buf.Len())
			}
			if d := cmp.Diff(want, columntest.Rows(readAll(t, buf.Bytes(), s)...), columntest.Exact); d != "" {
				t.Fatalf("rows (-want +got):\n%s", d)
			}
			slices.Reverse(blocks)
			slices.Reverse(rows)
		}
	})
}

func TestBlocksThatDoNotFit(t *testing.T) {
	one := &schema.Type{Kind: schema.Struct, Fields: []schema.Field{{Name: "a", Nullable: true, Type: &schema.Type{Kind: schema.Long}}}}
	other := &schema.Type{Kind: schema.Struct, Fields: []schema.Field{{Name: "a", Nullable: true, Type: &schema.Type{Kind: schema.String}}}}
	b := column.NewBatch(one)
	b.Columns[0].AppendInt64(1)
	b.Seal(1)
	if _, err := Encode(one, []*column.Batch{b}, WriterOptions{}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("with statistics: %v", err)
	}
	if _, err := Encode(other, []*column.Batch{b}, WriterOptions{StatsColumns: -1}); !errors.Is(err, ErrMisfit) {
		t.Errorf("rows of another schema: %v", err)
	}
	block, err := Encode(one, []*column.Batch{b}, WriterOptions{StatsColumns: -1})
	if err != nil {
		t.Fatal(err)
	}
	var buf bytes.Buffer
	if _, err := WriteBlocks(&buf, other, []*Block{block}); !errors.Is(err, ErrMisfit) || buf.Len() > 0 {
		t.Errorf("a block of another schema: %v, %d bytes written", err, buf.Len())
	}
}
