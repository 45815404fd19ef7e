package decode_test

import (
	"encoding/binary"
	"strings"
	"testing"

	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// words are what lengths, offsets and counts are when somebody means harm.
var words = []uint64{0, 1, 2, 7, 8, 127, 255, 256, 1 << 15, 1<<16 - 1, 1 << 20, 1<<31 - 1, 1 << 31, 1<<32 - 1, 1 << 40, 1<<63 - 1, 1 << 63, 1<<64 - 1}

// editedWords changes words of b as edits say, four bytes each: where (two bytes), how wide, to what. The metadata of Arrow and
// its buffers are made of aligned words.
func editedWords(b, edits []byte) []byte {
	b = append([]byte{}, b...)
	for ; len(edits) >= 4 && len(b) >= 8; edits = edits[4:] {
		at := int(binary.LittleEndian.Uint16(edits)) % (len(b) - 7)
		x := words[int(edits[3])%len(words)]
		switch edits[2] % 6 {
		case 0:
			b[at] = edits[3]
		case 1:
			binary.LittleEndian.PutUint16(b[at&^1:], uint16(x))
		case 2:
			binary.LittleEndian.PutUint32(b[at&^3:], uint32(x))
		case 3:
			binary.LittleEndian.PutUint64(b[at&^7:], x)
		case 4:
			b = b[:at]
		default: // what stands there, a little more or less
			at &^= 3
			binary.LittleEndian.PutUint32(b[at:], binary.LittleEndian.Uint32(b[at:])+uint32(int8(edits[3])))
		}
	}
	return b
}

// FuzzArrow reads streams of pyarrow with edits, and raw bytes: into a table of its own types, and into one of others.
func FuzzArrow(f *testing.F) {
	var files [][]byte
	for _, name := range []string{"every-plain", "every-lz4", "every-zstd", "delta"} {
		files = append(files, arrowFile(f, name+".arrows"))
	}
	for i := range byte(16) {
		f.Add(i, []byte{i * 16, i, 2, i, i * 7, i * 2, 3, i * 3}, []byte(nil))
	}
	f.Add(byte(0), []byte(nil), []byte("\xff\xff\xff\xff\x10\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, which byte, edits, raw []byte) {
		if len(raw) > 1<<15 || len(edits) > 64 {
			return
		}
		b := raw
		if len(b) == 0 {
			b = editedWords(files[int(which)%len(files)], edits)
		}
		const budget = 1 << 20
		foreign := &schema.Type{Kind: schema.Struct, Fields: []schema.Field{{Name: "strict", Type: &schema.Type{Kind: schema.Long}, Nullable: true}}}
		for i, table := range []*schema.Type{nil, everyType(), foreign} {
			unknown := []decode.OnUnknown{decode.AddColumns, decode.AddColumns, decode.RescueUnknown}[i]
			d := decode.NewDecoder(decode.NewSchema(table, decode.Options{MaxInflated: budget, OnUnknown: unknown}))
			for range 2 {
				n, rejects := d.Append(event.Arrow, b, decode.System{Stream: "s"}, nil)
				for _, r := range rejects {
					checkReason(t, r.Reason)
				}
				if n != d.Rows() {
					t.Fatalf("accepted %d, %d rows", n, d.Rows())
				}
				estimate := d.Bytes()
				batch := d.Take()
				checkBatch(t, batch)
				if used := usedBytes(batch.Columns); estimate != used || used > 4*budget {
					t.Fatalf("Bytes() said %d, the sealed batch uses %d", estimate, used)
				}
				d.Recycle(batch)
			}
			if n, _ := d.Append(event.JSON, []byte(`{"strict":[1],"zz":1}`), decode.System{}, nil); n == 1 { // the decoder goes on
				checkBatch(t, d.Take())
			}
		}
	})
}

// TestArrowBounds: what is malformed or large is refused as a whole, and says why.
func TestArrowBounds(t *testing.T) {
	every := arrowFile(t, "every-plain.arrows")
	for name, c := range map[string]struct {
		payload []byte
		budget  int
		want    string
	}{
		"nothing":      {nil, 0, "it is empty"},
		"a file":       {append([]byte("ARROW1\x00\x00"), every...), 0, "it is an Arrow file; send schema"},
		"cut":          {every[:len(every)/2], 0, "it ends in the middle of a message"},
		"no schema":    {arrowFile(t, "delta.arrows")[392:], 0, "no Arrow stream that can be read"},
		"JSON":         {[]byte(`{"a":1,"b":2,"c":3}`), 0, "it ends in the middle of a message"},
		"small budget": {every, 100, "take more than 100 bytes; send fewer rows"},
		"unpacked":     {arrowFile(t, "every-zstd.arrows"), 2000, "take more than 2000 bytes"},
	} {
		d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{MaxInflated: c.budget}))
		n, rejects := d.Append(event.Arrow, c.payload, decode.System{}, nil)
		if n != 0 || len(rejects) != 1 || !strings.Contains(rejects[0].Reason, c.want) {
			t.Errorf("%s: %d accepted, %v", name, n, rejects)
		}
	}
}

// TestArrowRefusesRows: rows that cannot be taken are named, the others land.
func TestArrowRefusesRows(t *testing.T) {
	payload := arrowFile(t, "delta.arrows") // rows (a,1) (b,2) (a,3) (c,4) (b,5) (null,6)
	str, integer := &schema.Type{Kind: schema.String}, &schema.Type{Kind: schema.Integer}
	table := func(c, n *schema.Type, nullable bool) *schema.Type {
		return &schema.Type{Kind: schema.Struct, Fields: []schema.Field{{Name: "c", Type: c, Nullable: nullable}, {Name: "n", Type: n, Nullable: true}}}
	}
	for name, c := range map[string]struct {
		table   *schema.Type
		options decode.Options
		rows    int
		rejects []decode.Reject
	}{
		"NOT NULL":  {table(str, integer, false), decode.Options{}, 5, []decode.Reject{{Row: 5, Reason: "field c: missing, and the table's column is NOT NULL"}}},
		"key":       {nil, decode.Options{Identity: &decode.Identity{Key: []string{"c"}, Sequence: "n"}}, 5, []decode.Reject{{Row: 5, Reason: "byte 0: c has no value that fits, and is part of the pipeline's identity.key"}}},
		"op":        {nil, decode.Options{Identity: &decode.Identity{Key: []string{"n"}, Sequence: "n", Op: "c", Ops: []string{"a", "c"}}}, 4, []decode.Reject{{Row: 1, Reason: "byte 0: c is none of a, c"}, {Row: 4, Reason: "byte 0: c is none of a, c"}}},
		"mismatch":  {table(integer, str, true), decode.Options{}, 6, nil},
		"refused":   {table(str, &schema.Type{Kind: schema.Boolean}, true), decode.Options{OnMismatch: decode.RejectRecord}, 0, nil},
		"suspended": {table(integer, integer, true), decode.Options{OnMismatch: decode.SuspendPipeline}, 0, []decode.Reject{{Row: 0, Reason: `field c, byte 0: "a" does not fit the column's type integer`, Suspend: true}}},
		"unknown":   {&schema.Type{Kind: schema.Struct, Fields: []schema.Field{{Name: "n", Type: integer, Nullable: true}}}, decode.Options{OnUnknown: decode.RejectUnknown}, 1, nil},
	} {
		t.Run(name, func(t *testing.T) {
			d := decode.NewDecoder(decode.NewSchema(c.table, c.options))
			n, rejects := d.Append(event.Arrow, payload, decode.System{}, nil)
			if n != c.rows || n != d.Rows() || len(rejects) == 0 && n != 6 {
				t.Fatalf("%d rows, %v", n, rejects)
			}
			for i, want := range c.rejects {
				if got := rejects[i]; got.Row != want.Row || !strings.HasPrefix(got.Reason, want.Reason) || got.Suspend != want.Suspend {
					t.Errorf("got %+v, want %+v", got, want)
				}
			}
			checkBatch(t, d.Take())
		})
	}
}
