package parquet

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/column/columntest"
	"github.com/weir-dev/weir/delta/schema"
)

// randomHex is text that has no words to find again.
func randomHex(n int) []byte {
	raw := make([]byte, n/2+1)
	rng := rand.NewChaCha8([32]byte{1})
	_, _ = rng.Read(raw) // never fails
	return []byte(hex.EncodeToString(raw))[:n]
}

// TestLiterals: what compressLiterals makes is zstd, of whatever length and kind the input is.
func TestLiterals(t *testing.T) {
	s := getScratch()
	defer s.put()
	noise := make([]byte, 3*zstdBlock)
	_, _ = rand.NewChaCha8([32]byte{2}).Read(noise) // as above
	for _, n := range []int{0, 1, fewLiterals - 1, fewLiterals, 2 * fewLiterals, 4 * fewLiterals, zstdBlock - 1, zstdBlock, zstdBlock + 1, 2*zstdBlock + fewLiterals, 3 * zstdBlock} {
		for name, b := range map[string][]byte{"hex": randomHex(n), "noise": noise[:n], "one character": bytes.Repeat([]byte{'x'}, n)} {
			frame := s.compressLiterals(b)
			got, err := unzstd(nil, frame, len(b))
			if err != nil || !bytes.Equal(got, b) {
				t.Fatalf("%d bytes of %s: %d came back, %v", n, name, len(got), err)
			}
			if name == "hex" && n >= zstdBlock && len(frame) > n*53/100 {
				t.Errorf("%d bytes of hex take %d", n, len(frame))
			}
		}
	}
}

func FuzzLiterals(f *testing.F) {
	f.Add(randomHex(2000))
	f.Add([]byte("a"))
	d, err := zstd.NewReader(nil)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := getScratch()
		defer s.put()
		if got, err := d.DecodeAll(s.compressLiterals(b), nil); err != nil || !bytes.Equal(got, b) {
			t.Fatalf("%d bytes: %d came back, %v", len(b), len(got), err)
		}
	})
}

// largeSchema is of columns that are written in another way when there are many values.
func largeSchema() *schema.Type {
	return structOf(optional("id", kind(schema.String)), optional("url", kind(schema.String)), optional("seq", kind(schema.Long)),
		optional("day", kind(schema.Date)), optional("noise", kind(schema.Long)), optional("at", kind(schema.Timestamp)))
}

func largeBatch(rows int) *column.Batch {
	b := column.NewBatch(largeSchema())
	rng := rand.New(rand.NewPCG(1, 2))
	ids := randomHex(36 * rows)
	for i := range rows {
		if i%97 == 0 { // all are null
			continue
		}
		for _, c := range b.Columns {
			c.PadNulls(i)
		}
		b.Columns[0].AppendBytes(ids[36*i : 36*(i+1)])
		b.Columns[1].AppendString("https://shop.example.com/catalogue/items?session=" + string(ids[36*i:36*i+9]) + "&ref=newsletter")
		b.Columns[2].AppendInt64(int64(i) - 1000)
		b.Columns[3].AppendInt32(int32(i/3) - 40)
		b.Columns[4].AppendInt64(rng.Int64() - rng.Int64())
		b.Columns[5].AppendInt64(1_760_000_000_000_000 + int64(i)*1371 + int64(rng.IntN(900)))
	}
	b.Seal(rows)
	return b
}

func footerOf(t *testing.T, file []byte) (meta format.FileMetaData) {
	t.Helper()
	n := binary.LittleEndian.Uint32(file[len(file)-8:])
	if err := thrift.Unmarshal(new(thrift.CompactProtocol), file[len(file)-8-int(n):len(file)-8], &meta); err != nil {
		t.Fatal(err)
	}
	return meta
}

// TestLargeColumns: text has its lengths in front, identifiers are compressed without matches, addresses with them; what counts
// up is written by its differences, what does not is plain.
func TestLargeColumns(t *testing.T) {
	const rows = 70_000
	batch := largeBatch(rows)
	file, _ := encode(t, largeSchema(), WriterOptions{}, batch)
	differences, lengths := format.DeltaBinaryPacked, format.DeltaLengthByteArray
	want := map[string]format.Encoding{"seq": differences, "day": differences, "at": differences, "id": lengths, "url": lengths, "noise": format.Plain}
	got, sizes := chunksOf(t, file)
	for name, e := range want {
		if !slices.Contains(got[name], e) || e == format.Plain && len(got[name]) != 2 {
			t.Errorf("%s: encodings %v", name, got[name])
		}
	}
	if sizes["id"] > 18.5 || sizes["seq"] > 0.5 || sizes["at"] > 2 || sizes["day"] > 0.5 || sizes["noise"] > 8.2 || sizes["url"] > 19 {
		t.Errorf("bytes a row: %v", sizes)
	}
	compareRows(t, file, batch)
}

// TestEncodingsV1 keeps to what readers know that were made before version 2 of the format.
func TestEncodingsV1(t *testing.T) {
	batch := largeBatch(3000)
	file, _ := encode(t, largeSchema(), WriterOptions{Encodings: EncodingsV1}, batch)
	got, _ := chunksOf(t, file)
	for name, encodings := range got {
		for _, e := range encodings {
			if e != format.Plain && e != format.RLE && e != format.RLEDictionary {
				t.Errorf("%s: encoding %s", name, e)
			}
		}
	}
	compareRows(t, file, batch)
}

// chunksOf returns the encodings and the bytes a row of the columns of a file's first row group.
func chunksOf(t *testing.T, file []byte) (map[string][]format.Encoding, map[string]float64) {
	t.Helper()
	group := footerOf(t, file).RowGroups[0]
	encodings, sizes := map[string][]format.Encoding{}, map[string]float64{}
	for _, c := range group.Columns {
		name := c.MetaData.PathInSchema[0]
		encodings[name] = c.MetaData.Encoding
		sizes[name] = float64(c.MetaData.TotalCompressedSize) / float64(group.NumRows)
	}
	return encodings, sizes
}

func compareRows(t *testing.T, file []byte, batch *column.Batch) {
	t.Helper()
	row := 0
	for _, got := range readAll(t, file, batch.Schema) {
		for i := 0; i < got.Rows; i += 13 {
			if diff := cmp.Diff(batch.Row(row+i), got.Row(i), columntest.Exact); diff != "" {
				t.Fatalf("row %d (-want +got):\n%s", row+i, diff)
			}
		}
		row += got.Rows
	}
	if row != batch.Rows {
		t.Errorf("%d rows, want %d", row, batch.Rows)
	}
}

// TestTextWithoutMatches: a single page of text in which nothing comes again is made smaller by the code of its characters.
func TestTextWithoutMatches(t *testing.T) {
	const rows = 500
	s := structOf(optional("s", kind(schema.String)))
	b := column.NewBatch(s)
	text := randomHex(20 * rows)
	for i := range rows {
		b.Columns[0].AppendBytes(text[20*i : 20*(i+1)])
	}
	b.Seal(rows)
	file, _ := encode(t, s, WriterOptions{}, b)
	if _, sizes := chunksOf(t, file); sizes["s"] > 11 {
		t.Errorf("%v bytes a row of 20 digits", sizes)
	}
	compareRows(t, file, b)
}
