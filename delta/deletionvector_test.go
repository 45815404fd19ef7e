package delta

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta/store"
)

// appendRoaring is the writer's side of parseRoaring, with the kind of each container chosen by the caller.
func appendRoaring(rows []int64, kind func(block int64) string) []byte {
	buckets := map[int64]map[int64][]uint16{}
	for _, r := range rows {
		if buckets[r>>32] == nil {
			buckets[r>>32] = map[int64][]uint16{}
		}
		block := r >> 16 & 0xffff
		buckets[r>>32][block] = append(buckets[r>>32][block], uint16(r))
	}
	le := binary.LittleEndian
	b := le.AppendUint32(nil, roaringMagic)
	b = le.AppendUint64(b, uint64(len(buckets)))
	for _, key := range slices.Sorted(maps.Keys(buckets)) {
		b = le.AppendUint32(b, uint32(key))
		blocks := slices.Sorted(maps.Keys(buckets[key]))
		runs := make([]byte, (len(blocks)+7)/8)
		for i, block := range blocks {
			if kind(block) == "run" {
				runs[i/8] |= 1 << (i % 8)
			}
		}
		anyRun := slices.ContainsFunc(runs, func(b byte) bool { return b != 0 })
		if anyRun {
			b = le.AppendUint32(b, uint32(cookieRuns|(len(blocks)-1)<<16))
			b = append(b, runs...)
		} else {
			b = le.AppendUint32(b, cookieNoRuns)
			b = le.AppendUint32(b, uint32(len(blocks)))
		}
		for _, block := range blocks {
			b = le.AppendUint16(b, uint16(block))
			b = le.AppendUint16(b, uint16(len(buckets[key][block])-1))
		}
		if !anyRun || len(blocks) >= offsetsFromN {
			b = append(b, make([]byte, 4*len(blocks))...)
		}
		for i, block := range blocks {
			b = appendContainer(b, buckets[key][block], runs[i/8]>>(i%8)&1 == 1)
		}
	}
	return b
}

func appendContainer(b []byte, values []uint16, run bool) []byte {
	le := binary.LittleEndian
	switch {
	case run:
		b = le.AppendUint16(b, uint16(len(values)))
		for _, v := range values { // each a run of one; neighbours may stay apart
			b = le.AppendUint16(b, v)
			b = le.AppendUint16(b, 0)
		}
	case len(values) > arrayMax:
		words := make([]byte, bitmapBytes)
		for _, v := range values {
			words[v/8] |= 1 << (v % 8)
		}
		b = append(b, words...)
	default:
		for _, v := range values {
			b = le.AppendUint16(b, v)
		}
	}
	return b
}

func (s deletedRows) sorted() []int64 {
	out := []int64{}
	for block := range s {
		for v := range int64(1 << 16) {
			if s.has(block<<16 | v) {
				out = append(out, block<<16|v)
			}
		}
	}
	slices.Sort(out)
	return out
}

func TestRoaringRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const rows = 3 << 32
		row := rapid.OneOf(rapid.Int64Range(0, 200), rapid.Int64Range(0, 1<<20), rapid.Int64Range(0, rows-1))
		want := rapid.SliceOfDistinct(row, rapid.ID).Draw(t, "rows")
		if rapid.Bool().Draw(t, "dense") { // more than an array container holds
			for v := range int64(5000) {
				want = append(want, 7<<16|v*3)
			}
		}
		slices.Sort(want)
		want = slices.Compact(want)
		run := rapid.Bool().Draw(t, "run")
		data := appendRoaring(want, func(block int64) string {
			if run && block%2 == 0 {
				return "run"
			}
			return "array"
		})
		got, err := parseRoaring(data, rows)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got.sorted()); d != "" {
			t.Fatalf("(-want +got):\n%s", d)
		}
		if got.len() != int64(len(want)) {
			t.Fatalf("%d rows, want %d", got.len(), len(want))
		}
		if len(want) > 0 {
			if _, err := parseRoaring(data, want[len(want)-1]); !errors.Is(err, errRoaring) {
				t.Fatalf("a row beyond the file's end: %v", err)
			}
		}
		if _, err := parseRoaring(data[:len(data)-1], rows); err == nil && len(want) > 0 {
			t.Fatal("a cut bitmap is accepted")
		}
	})
}

func FuzzRoaring(f *testing.F) {
	f.Add(appendRoaring([]int64{1, 2, 70_000, 5 << 32}, func(int64) string { return "array" }))
	f.Add(appendRoaring([]int64{1, 2, 70_000}, func(int64) string { return "run" }))
	f.Fuzz(func(t *testing.T, data []byte) {
		const rows = 1 << 20
		set, err := parseRoaring(data, rows)
		if err != nil {
			return
		}
		for _, r := range set.sorted() {
			if r >= rows {
				t.Fatalf("row %d of %d", r, rows)
			}
		}
	})
}

func TestZ85(t *testing.T) {
	got, err := decodeZ85("HelloWorld") // the example of the RFC
	if err != nil || !slices.Equal(got, []byte{0x86, 0x4f, 0xd2, 0x6f, 0xb5, 0x59, 0xf7, 0x5b}) {
		t.Errorf("%x, %v", got, err)
	}
	for _, s := range []string{"Hell", "Hell~", "#####"} {
		if _, err := decodeZ85(s); err == nil {
			t.Errorf("%q is accepted", s)
		}
	}
}

func TestDeletionVectorKey(t *testing.T) {
	for in, want := range map[string]string{ // the first is the protocol's example
		"ab^-aqEH.-t@S}K{vb[*k^": "ab/deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin",
		"^-aqEH.-t@S}K{vb[*k^":   "deletion_vector_d2c639aa-8816-431a-aaf6-d3fe2512ff61.bin",
	} {
		d := DeletionVector{StorageType: "u", PathOrInlineDV: in}
		if key, err := d.key(); key != want || err != nil {
			t.Errorf("%s is %s (%v), want %s", in, key, err, want)
		}
	}
}

// TestDeletionVectorDamage: what does not add up is an error, never a file with other rows.
func TestDeletionVectorDamage(t *testing.T) {
	data := appendRoaring([]int64{3, 4, 7, 11, 18, 29}, func(int64) string { return "array" })
	whole := binary.BigEndian.AppendUint32([]byte{1}, uint32(len(data)))
	whole = append(whole, data...)
	whole = binary.BigEndian.AppendUint32(whole, crc32.ChecksumIEEE(data))
	offset := int32(1)
	good := DeletionVector{StorageType: "u", PathOrInlineDV: "^-aqEH.-t@S}K{vb[*k^", Offset: &offset, SizeInBytes: int32(len(data)), Cardinality: 6}
	key, err := good.key()
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(file []byte, d *DeletionVector) []byte
		rows   int64
		want   string // empty: no error
	}{
		"none":        {func(f []byte, _ *DeletionVector) []byte { return f }, 30, ""},
		"bit flip":    {func(f []byte, _ *DeletionVector) []byte { f[20] ^= 1; return f }, 30, "checksum"},
		"cut":         {func(f []byte, _ *DeletionVector) []byte { return f[:len(f)-1] }, 30, "too short"},
		"wrong size":  {func(f []byte, d *DeletionVector) []byte { d.SizeInBytes--; return f }, 30, "size is not the one"},
		"huge size":   {func(f []byte, d *DeletionVector) []byte { d.SizeInBytes = 1 << 30; return f }, 30, "size is"},
		"cardinality": {func(f []byte, d *DeletionVector) []byte { d.Cardinality = 5; return f }, 30, "holds 6 rows and should hold 5"},
		"short file":  {func(f []byte, _ *DeletionVector) []byte { return f }, 20, "row 29 of 20"},
		"absolute":    {func(f []byte, d *DeletionVector) []byte { d.StorageType = "p"; return f }, 30, "not below the table"},
		"unknown":     {func(f []byte, d *DeletionVector) []byte { d.StorageType = "x"; return f }, 30, "storage type"},
		"bad inline":  {func(f []byte, d *DeletionVector) []byte { d.StorageType, d.SizeInBytes = "i", 400; return f }, 30, "shorter than its size"},
		"no id":       {func(f []byte, d *DeletionVector) []byte { d.PathOrInlineDV = "x"; return f }, 30, "does not end in an id"},
	} {
		t.Run(name, func(t *testing.T) {
			st := store.NewMemory()
			d := good
			if err := st.Put(t.Context(), key, c.change(slices.Clone(whole), &d)); err != nil {
				t.Fatal(err)
			}
			set, err := loadDeletionVector(t.Context(), st, &Add{Path: "f", DeletionVector: &d}, c.rows)
			if c.want == "" {
				if err != nil || set.len() != 6 {
					t.Errorf("%d rows, %v", set.len(), err)
				}
				return
			}
			if _, ok := errors.AsType[*DeletionVectorError](err); !ok || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}
