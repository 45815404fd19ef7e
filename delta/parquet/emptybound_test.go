package parquet

import (
	"bytes"
	"testing"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// TestTheEmptyStringIsABound also where it is the only value: a missing bound makes some readers skip the file.
func TestTheEmptyStringIsABound(t *testing.T) {
	s := &schema.Type{Kind: schema.Struct, Fields: []schema.Field{{Name: "s", Type: &schema.Type{Kind: schema.String}, Nullable: true}}}
	b := column.NewBatch(s)
	b.Columns[0].AppendString("")
	b.Columns[0].AppendString("")
	b.Seal(2)
	for _, rows := range []int{0, 1} { // one row group, and one for each row
		var file bytes.Buffer
		info, err := Write(&file, s, []*column.Batch{b}, WriterOptions{RowGroupRows: rows})
		if err != nil {
			t.Fatal(err)
		}
		want := `{"numRecords":2,"minValues":{"s":""},"maxValues":{"s":""},"nullCount":{"s":0}}`
		if got := info.Stats.JSON(); got != want {
			t.Errorf("row groups of %d: %s, want %s", rows, got, want)
		}
	}
}
