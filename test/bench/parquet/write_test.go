package parquet

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"syscall"
	"testing"
	"time"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
)

// writeFunc writes the batches as one file.
type writeFunc func(w io.Writer, s *schema.Type, batches []*column.Batch) error

type counter int64

func (c *counter) Write(b []byte) (int, error) {
	*c += counter(len(b))
	return len(b), nil
}

// cpuTime is the process's CPU time, user and system: garbage collection on other threads counts.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

func run(b *testing.B, write writeFunc) {
	b.Helper()
	s, batches, rowBytes := events(20)
	var size counter
	if err := write(&size, s, batches); err != nil { // warm up
		b.Fatal(err)
	}
	rows := float64(len(batches) * batchRows)
	runtime.GC()
	b.ReportAllocs()
	start := cpuTime(b)
	for b.Loop() {
		size = 0
		if err := write(&size, s, batches); err != nil {
			b.Fatal(err)
		}
	}
	cpu := (cpuTime(b) - start).Seconds() / float64(b.N)
	b.ReportMetric(cpu/rows*1e6, "cpu-µs/row")
	b.ReportMetric(rows/cpu, "rows/cpu-s")
	b.ReportMetric(float64(size)/rows, "file-B/row")
	b.ReportMetric(rowBytes, "value-B/row")
}

// BenchmarkWrite writes 200,000 events a time.
func BenchmarkWrite(b *testing.B) {
	for _, codec := range []string{"snappy", "zstd1", "zstd2", "none"} {
		for _, w := range []struct {
			name  string
			write writeFunc
		}{
			{"weir", weirWriter(codec)},
			{"parquet-go", parquetGoWriter(codec)},
			{"arrow-columns", arrowColumnsWriter(codec)},
			{"arrow-records", arrowRecordsWriter(codec)},
		} {
			b.Run(fmt.Sprintf("codec=%s/lib=%s", codec, w.name), func(b *testing.B) { run(b, w.write) })
		}
	}
}

func weirWriter(codec string) writeFunc {
	o := map[string]parquet.WriterOptions{
		"snappy": {Codec: parquet.Snappy}, "zstd1": {Level: 1}, "zstd2": {Level: 2}, "none": {Codec: parquet.Uncompressed},
	}[codec]
	return func(w io.Writer, s *schema.Type, batches []*column.Batch) error {
		_, err := parquet.Write(w, s, batches, o)
		return err
	}
}

// TestSameRows guards the comparison: every way writes the same rows, as weir's reader sees them.
func TestSameRows(t *testing.T) {
	s, batches, _ := events(1)
	want := batches[0]
	for name, write := range map[string]writeFunc{
		"weir": weirWriter("zstd1"), "parquet-go": parquetGoWriter("zstd1"),
		"arrow-columns": arrowColumnsWriter("zstd1"), "arrow-records": arrowRecordsWriter("zstd1"),
	} {
		var buf bytes.Buffer
		if err := write(&buf, s, batches); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		f, err := parquet.Open(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		row := 0
		for got, err := range f.Read(t.Context(), s) {
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			for i := 0; i < got.Rows; i += 97 {
				if g, w := fmt.Sprint(got.Row(i)), fmt.Sprint(want.Row(row+i)); g != w {
					t.Fatalf("%s: row %d is %s, want %s", name, row+i, g, w)
				}
			}
			row += got.Rows
		}
		if row != want.Rows {
			t.Errorf("%s: %d rows, want %d", name, row, want.Rows)
		}
	}
}
