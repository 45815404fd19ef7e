package parquet

import (
	"bytes"
	"runtime"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"

	"github.com/weir-dev/weir/delta/parquet"
)

// BenchmarkRead reads back 200,000 events that weir wrote with zstd.
func BenchmarkRead(b *testing.B) {
	s, batches, _ := events(20)
	var buf bytes.Buffer
	if err := weirWriter("zstd1")(&buf, s, batches); err != nil {
		b.Fatal(err)
	}
	for name, read := range map[string]func() (int, error){
		"weir": func() (rows int, err error) {
			f, err := parquet.Open(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
			if err != nil {
				return 0, err
			}
			for batch, err := range f.Read(b.Context(), s) {
				if err != nil {
					return rows, err
				}
				rows += batch.Rows
			}
			return rows, nil
		},
		"arrow-records": func() (rows int, err error) {
			f, err := file.NewParquetReader(bytes.NewReader(buf.Bytes()))
			if err != nil {
				return 0, err
			}
			r, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{BatchSize: 8192}, memory.DefaultAllocator)
			if err != nil {
				return 0, err
			}
			records, err := r.GetRecordReader(b.Context(), nil, nil)
			if err != nil {
				return 0, err
			}
			defer records.Release()
			for records.Next() {
				rows += int(records.RecordBatch().NumRows())
			}
			return rows, records.Err()
		},
	} {
		b.Run("lib="+name, func(b *testing.B) {
			runtime.GC()
			b.ReportAllocs()
			start := cpuTime(b)
			for b.Loop() {
				if rows, err := read(); err != nil || rows != len(batches)*batchRows {
					b.Fatalf("%d rows, %v", rows, err)
				}
			}
			cpu := (cpuTime(b) - start).Seconds() / float64(b.N)
			b.ReportMetric(cpu/float64(len(batches)*batchRows)*1e6, "cpu-µs/row")
		})
	}
}
