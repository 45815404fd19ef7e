package parquet

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/column/columntest"
	"github.com/weir-dev/weir/delta/schema"
)

// seedFiles are small files of every type and codec, and some of other writers.
func seedFiles(f *testing.F) [][]byte {
	f.Helper()
	var seeds [][]byte
	for i, s := range []*schema.Type{
		wildSchema(),
		structOf(optional("l", kind(schema.Long)), optional("s", kind(schema.String))),
		structOf(optional("a", list(list(kind(schema.String)))), schema.Field{Name: "r", Type: kind(schema.Boolean)}),
	} {
		var rows []map[string]any
		for k := range 6 {
			rows = append(rows, columntest.Row(s).Example(k))
		}
		for _, codec := range []Codec{Uncompressed, Snappy, Zstd} {
			var buf bytes.Buffer
			o := WriterOptions{Codec: codec, RowGroupRows: 4 + i, pageRows: 2, pageBytes: 100}
			if _, err := Write(&buf, s, []*column.Batch{columntest.Build(s, rows)}, o); err != nil {
				f.Fatal(err)
			}
			seeds = append(seeds, buf.Bytes())
		}
	}
	others, _ := filepath.Glob("testdata/seed/*.parquet")
	for _, name := range others {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		seeds = append(seeds, b)
	}
	return seeds
}

// FuzzRead reads hostile files. A batch that comes out must be whole: it is written again. A panic that Open and Read had
// to recover is a finding too.
func FuzzRead(f *testing.F) {
	for _, b := range seedFiles(f) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		file, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			checkError(t, err)
			return
		}
		rows := 0
		for batch, err := range file.Read(t.Context(), file.Schema()) {
			if err != nil {
				checkError(t, err)
				break
			}
			for i := 0; i < batch.Rows; i += 1 + batch.Rows/4 {
				batch.Row(i)
			}
			if _, err := Write(io.Discard, file.Schema(), []*column.Batch{batch}, WriterOptions{}); err != nil {
				t.Fatalf("a batch that was read cannot be written: %v", err)
			}
			if rows += batch.Rows; rows > 50_000 {
				break
			}
		}
	})
}

func checkError(t *testing.T, err error) {
	t.Helper()
	if strings.Contains(err.Error(), "panic:") {
		t.Fatal(err)
	}
	if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		t.Fatalf("error of no known class: %v", err)
	}
}

// FuzzHybrid decodes hostile levels and indices.
func FuzzHybrid(f *testing.F) {
	f.Add([]byte{3, 0xAA, 8, 1}, uint8(1), uint16(20))
	f.Add([]byte{0x80, 0x80, 0x80, 0x80, 0x10, 5}, uint8(3), uint16(1000))
	f.Fuzz(func(t *testing.T, b []byte, width uint8, n uint16) {
		h, err := newHybrid(b, uint(width))
		if err != nil {
			return
		}
		dst := make([]int32, n)
		if h.next(dst) != nil {
			return
		}
		for _, x := range dst {
			if width < 32 && x>>width != 0 {
				t.Fatalf("value %d has more than %d bits", x, width)
			}
		}
	})
}
