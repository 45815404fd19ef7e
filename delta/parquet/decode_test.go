package parquet

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta/schema"
)

// TestSeedFiles reads what pyarrow wrote in every codec, encoding and page version (testdata/seed.py).
func TestSeedFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/seed/*.parquet")
	if err != nil || len(files) < 16 {
		t.Fatalf("%d seed files, %v", len(files), err)
	}
	for _, name := range files {
		rows := filepath.Join("testdata", "seed", "rows.jsonl")
		if own := strings.TrimSuffix(name, "parquet") + "jsonl"; exists(own) {
			rows = own
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var got []any
		for _, batch := range readAll(t, b, nil) {
			for i := range batch.Rows {
				got = append(got, throughJSON(t, canonical(batch.Schema, batch.Row(i))))
			}
		}
		if diff := cmp.Diff(jsonLines(t, rows), got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

func throughJSON(t *testing.T, x any) any {
	t.Helper()
	b, err := json.Marshal(x)
	if err != nil {
		t.Fatal(err)
	}
	return decodeJSON(t, b)
}

func decodeJSON(t *testing.T, b []byte) any {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	var x any
	if err := d.Decode(&x); err != nil {
		t.Fatal(err)
	}
	return x
}

func jsonLines(t *testing.T, name string) []any {
	t.Helper()
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []any
	for lines := bufio.NewScanner(f); lines.Scan(); {
		out = append(out, decodeJSON(t, lines.Bytes()))
	}
	return out
}

// TestListForms goes through the list forms that the format's rules for old files tell apart.
func TestListForms(t *testing.T) {
	root := element{name: "schema", children: 1, converted: -1}
	group := func(name string, rep format.FieldRepetitionType, children, converted int) element {
		return element{name: name, repetition: rep, children: children, converted: converted}
	}
	leaf := func(name string, rep format.FieldRepetitionType) element {
		return element{name: name, leaf: true, phys: format.Int32, repetition: rep, converted: -1}
	}
	const isList, isMap, isOldMap, plain = int(deprecated.List), int(deprecated.Map), int(deprecated.MapKeyValue), -1
	const required, opt, repeated = format.Required, format.Optional, format.Repeated
	for _, c := range []struct {
		name     string
		elements []element
		want     string
	}{
		{"three levels", []element{group("c", opt, 1, isList), group("list", repeated, 1, plain), leaf("element", opt)}, "array<integer>"},
		{"hive's bag", []element{group("c", opt, 1, isList), group("bag", repeated, 1, plain), leaf("array_element", opt)}, "array<integer>"},
		{"repeated leaf", []element{group("c", opt, 1, isList), leaf("element", repeated)}, "array<integer>"},
		{"repeated group of two", []element{group("c", opt, 1, isList), group("element", repeated, 2, plain), leaf("x", required), leaf("y", opt)}, "array<struct<x:integer,y:integer>>"},
		{"group named array", []element{group("c", opt, 1, isList), group("array", repeated, 1, plain), leaf("x", required)}, "array<struct<x:integer>>"},
		{"group named c_tuple", []element{group("c", opt, 1, isList), group("c_tuple", repeated, 1, plain), leaf("x", required)}, "array<struct<x:integer>>"},
		{"repeated in a repeated group", []element{group("c", opt, 1, isList), group("list", repeated, 1, plain), leaf("x", repeated)}, "array<struct<x:array<integer>>>"},
		{"bare repeated leaf", []element{leaf("c", repeated)}, "array<integer>"},
		{"bare repeated group", []element{group("c", repeated, 1, plain), leaf("x", opt)}, "array<struct<x:integer>>"},
		{"list that is none", []element{group("c", opt, 1, isList), leaf("x", opt)}, "struct<x:integer>"},
		{"map", []element{group("c", opt, 1, isMap), group("key_value", repeated, 2, plain), leaf("key", required), leaf("value", opt)}, "map<integer,integer>"},
		{"old map", []element{group("c", opt, 1, isOldMap), group("map", repeated, 2, plain), leaf("k", required), leaf("v", opt)}, "map<integer,integer>"},
		{"map of keys alone", []element{group("c", opt, 1, isMap), group("key_value", repeated, 1, plain), leaf("key", required)}, "struct<key_value:array<struct<key:integer>>>"},
	} {
		tree, leaves, err := fileTree(append([]element{root}, c.elements...))
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		if got := tree.t.Fields[0].Type.String(); got != c.want || len(leaves) == 0 {
			t.Errorf("%s is %s with %d leaves, want %s", c.name, got, len(leaves), c.want)
		}
	}
}

// TestHadoopLZ4 reads the framing that only Hadoop writes.
func TestHadoopLZ4(t *testing.T) {
	want := []byte(strings.Repeat("some text that repeats, ", 40))
	var framed []byte
	for _, frame := range [][]byte{want[:400], want[400:]} {
		framed = binary.BigEndian.AppendUint32(framed, uint32(len(frame)))
		for _, block := range [][]byte{frame[:300], frame[300:]} {
			packed := make([]byte, lz4.CompressBlockBound(len(block)))
			n, err := lz4.CompressBlock(block, packed, nil)
			if err != nil || n == 0 {
				t.Fatalf("%d bytes, %v", n, err)
			}
			framed = append(binary.BigEndian.AppendUint32(framed, uint32(n)), packed[:n]...)
		}
	}
	got, err := decompress(nil, format.Lz4, framed, len(want))
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("%q, %v", got, err)
	}
	for n := range len(framed) {
		if _, err := decompress(nil, format.Lz4, framed[:n], len(want)); !errors.Is(err, ErrCorrupt) {
			t.Fatalf("cut after %d bytes: error %v", n, err)
		}
	}
}

// TestOldBitPackedLevels reads the encoding of levels from before the hybrid one.
func TestOldBitPackedLevels(t *testing.T) {
	h, rest, err := newBitPacked([]byte{0b00_01_10_11, 0b01_000000, 0xFF}, 2, 5)
	if err != nil || len(rest) != 1 {
		t.Fatalf("%d bytes left, %v", len(rest), err)
	}
	got := make([]int32, 5)
	if err := h.next(got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int32{0, 1, 2, 3, 1}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, _, err := newBitPacked([]byte{0}, 2, 5); !errors.Is(err, ErrCorrupt) {
		t.Errorf("too short: error %v", err)
	}
}

// TestDeltaBlock: integers of every width come back from parquet-go's encoder.
func TestDeltaBlock(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(0, 64).Draw(t, "width")
		mask := ^uint64(0) >> 1 >> max(0, 63-width)
		if width == 0 {
			mask = 0
		}
		var want []int64
		for _, x := range rapid.SliceOfN(rapid.Uint64(), 0, 300).Draw(t, "values") {
			want = append(want, int64(x&mask))
		}
		b, err := new(delta.BinaryPackedEncoding).EncodeInt64(nil, want)
		if err != nil {
			t.Fatal(err)
		}
		got, rest, err := deltaBlock(nil, append(b, "rest"...), len(want))
		if err != nil || string(rest) != "rest" {
			t.Fatalf("%q follows, error %v", rest, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("(-want +got):\n%s", diff)
		}
	})
}

// TestClaimsCostNothing guards that a file cannot make the reader allocate by claiming large numbers.
func TestClaimsCostNothing(t *testing.T) {
	page := []byte{0x80, 0x80, 0x80, 0x80, 0x08, 0x00, 0x00} // a delta header that claims 2³¹ values
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 2 {
		var v values
		for _, e := range []format.Encoding{format.DeltaBinaryPacked, format.DeltaLengthByteArray, format.DeltaByteArray} {
			for _, p := range []format.Type{format.Int64, format.ByteArray} {
				if err := v.decode(physType{phys: p}, e, page, 1<<30); err == nil {
					t.Errorf("%s of %s: no error", e, p)
				}
			}
		}
		for _, codec := range []format.CompressionCodec{
			format.Snappy, format.Gzip, format.Brotli, format.Lz4, format.Zstd, format.Lz4Raw,
		} {
			if _, err := decompress(nil, codec, []byte{0xFF, 0xFF, 0xFF, 0xFF, 0x0F, 1, 2, 3}, maxPage); err == nil {
				t.Errorf("%s: no error", codec)
			}
		}
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > maxPage/4 {
		t.Errorf("%d bytes allocated for a few claims", n)
	}
}

func TestOpenErrors(t *testing.T) {
	file, _ := encode(t, structOf(optional("a", kind(schema.Long))), WriterOptions{})
	for name, b := range map[string][]byte{
		"empty":            {},
		"no magic":         bytes.Repeat([]byte{1}, 100),
		"cut":              file[:len(file)-1],
		"encrypted":        append(bytes.Clone(file[:len(file)-4]), "PARE"...),
		"footer too long":  append(append(bytes.Clone(file[:len(file)-8]), 0xFF, 0xFF, 0, 0), magic...),
		"footer cut short": append(append(bytes.Clone(file[:len(file)-8]), 3, 0, 0, 0), magic...),
	} {
		if _, err := Open(bytes.NewReader(b), int64(len(b))); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: error %v, want ErrCorrupt", name, err)
		}
	}
}

// TestReadErrorsComeBack guards that an error of the store is passed on as it is.
func TestReadErrorsComeBack(t *testing.T) {
	s := structOf(optional("a", kind(schema.Long)), optional("s", kind(schema.String)))
	file, _ := encode(t, s, WriterOptions{Codec: Uncompressed})
	f, err := Open(brokenDisk{bytes.NewReader(file)}, int64(len(file)))
	if !errors.Is(err, errDisk) {
		t.Errorf("file %v, error %v, want the disk's", f, err)
	}
}

type brokenDisk struct{ *bytes.Reader }

func (brokenDisk) ReadAt([]byte, int64) (int, error) { return 0, errDisk }
