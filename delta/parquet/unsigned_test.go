package parquet

import (
	"errors"
	"fmt"
	"testing"

	"github.com/parquet-go/parquet-go/format"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// Numbers of unsigned columns keep their values in whatever type they are read as, or are refused.
func TestUnsignedColumns(t *testing.T) {
	short := &fileNode{t: kind(schema.Long), phys: physType{phys: format.Int32}, e: &element{logical: logicalInteger, bits: 32}}
	long := &fileNode{t: kind(schema.Long), phys: physType{phys: format.Int64}, e: &element{logical: logicalInteger, bits: 64}}
	signed := &fileNode{t: kind(schema.Long), phys: physType{phys: format.Int64}, e: &element{logical: logicalInteger, bits: 64, signed: true}}
	x := &values{i32: []int32{5, -1}, i64: []int64{5, -1}}
	decimal := &schema.Type{Kind: schema.Decimal, Precision: 20}
	for _, c := range []struct {
		file *fileNode
		want *schema.Type
		out  string
	}{
		{short, kind(schema.Long), "[5 4294967295]"},
		{short, kind(schema.Double), "[5 4.294967295e+09]"},
		{short, decimal, "[5 4294967295]"},
		{long, kind(schema.Long), ""},
		{long, decimal, "[5 18446744073709551615]"},
		{signed, kind(schema.Long), "[5 -1]"},
		{signed, decimal, "[5 -1]"},
	} {
		f, err := converter(c.file, c.want)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range []span{{from: 0, n: 2}, {indices: []int32{0, 1}}} {
			v := column.New(c.want)
			err = f(v, x, s)
			v.Len = 2
			switch {
			case c.out == "" && !errors.Is(err, ErrUnsupported):
				t.Errorf("%v as %s: %v, not refused", c.file.e, c.want, err)
			case c.out != "" && (err != nil || fmt.Sprint([]any{v.Value(0), v.Value(1)}) != c.out):
				t.Errorf("%v as %s: %v, %v (%v), not %s", c.file.e, c.want, v.Value(0), v.Value(1), err, c.out)
			}
		}
	}
}
