package parquet

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/column/columntest"
)

// TestWriterInParts writes rows in one piece and in several: both files hold the same rows under the same statistics.
func TestWriterInParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := columntest.Schema(3).Draw(t, "schema")
		o := drawOptions(t)
		var batches []*column.Batch
		var want []map[string]any
		var buf bytes.Buffer
		w, err := NewWriter(&buf, s, o)
		if err != nil {
			t.Fatal(err)
		}
		for range rapid.IntRange(0, 4).Draw(t, "parts") {
			rows := rapid.SliceOfN(columntest.Row(s), 0, 12).Draw(t, "rows")
			want = append(want, rows...)
			b := columntest.Build(s, rows)
			batches = append(batches, b)
			mine := columntest.Build(s, rows)
			if err := w.Write([]*column.Batch{mine}); err != nil {
				t.Fatal(err)
			}
			mine.Reset() // its memory is the caller's again
			for _, c := range mine.Columns {
				clear(c.Data[:cap(c.Data)])
			}
		}
		info, err := w.Close()
		if err != nil {
			t.Fatal(err)
		}
		_, whole := encode(t, s, o, batches...)
		if info.Size != int64(buf.Len()) {
			t.Fatalf("FileInfo.Size is %d, the file has %d bytes", info.Size, buf.Len())
		}
		if d := cmp.Diff(whole.Stats, info.Stats); d != "" {
			t.Fatalf("statistics (-one piece +parts):\n%s", d)
		}
		if d := cmp.Diff(want, columntest.Rows(readAll(t, buf.Bytes(), s)...), columntest.Exact); d != "" {
			t.Fatalf("rows (-want +got):\n%s", d)
		}
		if err := w.Write(batches); err == nil {
			t.Fatal("a closed writer takes rows")
		}
	})
}
