package decode_test

import (
	"encoding/binary"
	"runtime"
	"strings"
	"testing"

	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// avroFileOf is an object container file with one block of so many records in data.
func avroFileOf(schema string, records int64, data []byte) []byte {
	b := append([]byte("Obj\x01"), binary.AppendVarint(nil, 1)...)
	b = append(b, binary.AppendVarint(nil, int64(len("avro.schema")))...)
	b = append(b, "avro.schema"...)
	b = append(binary.AppendVarint(b, int64(len(schema))), schema...)
	b = append(b, 0)
	b = append(b, "0123456789abcdef"...)
	b = binary.AppendVarint(b, records)
	b = append(binary.AppendVarint(b, int64(len(data))), data...)
	return append(b, "0123456789abcdef"...)
}

// TestAvroFileBounds: a file brings its schema, so that a producer can have one whose values take nothing on the wire, or names
// that are as long as they like. It neither fills the memory nor keeps a shard busy.
func TestAvroFileBounds(t *testing.T) {
	million := append(binary.AppendVarint(nil, 1<<20), 0) // a list of so many values without bytes, and its end
	nested := append(binary.AppendVarint(nil, 1000), []byte(strings.Repeat(string(million), 1000)+"\x00")...)
	name := strings.Repeat("n", 100_000)
	for what, c := range map[string]struct {
		schema  string
		records int64
		data    []byte
		want    string
	}{
		"lists of lists of nulls": {
			`{"type":"record","name":"R","fields":[{"name":"id","type":"long"},{"name":"a","type":{"type":"array","items":{"type":"array","items":"null"}}}]}`,
			1, append([]byte{2}, nested...), "too long as JSON",
		},
		"lists of nulls that are passed": {
			`{"type":"record","name":"R","fields":[{"name":"id","type":"long"},{"name":"a","type":{"type":"array","items":"null"}}]}`,
			1000, []byte(strings.Repeat("\x02"+string(million), 1000)), "bytes unpacked",
		},
		"values of no size": {
			`{"type":"record","name":"R","fields":[{"name":"a","type":{"type":"array","items":{"type":"fixed","name":"F","size":0}}}]}`,
			1000, []byte(strings.Repeat(string(million), 1000)), "bytes unpacked",
		},
		"long names": {
			`{"type":"record","name":"R","fields":[{"name":"x","type":{"type":"record","name":"T","fields":[{"name":"` + name + `","type":["null","long"]},{"name":"t","type":["null","T"]}]}}]}`,
			1000, []byte(strings.Repeat("\x00\x02\x00\x02\x00\x00", 1000)), "bytes unpacked",
		},
		"rows of a wide table": {
			`{"type":"record","name":"R","fields":[{"name":"a","type":["null","long"]}]}`,
			1 << 18, make([]byte, 1<<18), "bytes unpacked",
		},
		"more than its records": {
			`{"type":"record","name":"R","fields":[{"name":"a","type":["null","long"]}]}`,
			1, make([]byte, 2), "a block of it is malformed",
		},
	} {
		s := decode.NewSchema(nil, decode.Options{MaxInflated: 4 << 20})
		d := decode.NewDecoder(s)
		accept(t, d, wideRecord())
		d.Take()
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		n, rejects := d.Append(event.AvroFile, avroFileOf(c.schema, c.records, c.data), decode.System{}, nil)
		d.Take()
		runtime.ReadMemStats(&after)
		if len(rejects) == 0 || !strings.Contains(rejects[0].Reason, c.want) {
			t.Errorf("%s: %d accepted, %d refused, %v", what, n, len(rejects), rejects[:min(1, len(rejects))])
		}
		if took := after.TotalAlloc - before.TotalAlloc; took > 160<<20 {
			t.Errorf("%s: %d bytes were allocated", what, took)
		}
	}
}

// wideRecord makes 500 columns.
func wideRecord() string {
	var b strings.Builder
	for i := range 500 {
		b.WriteString(`,"w` + strings.Repeat("f", i+1) + `":1`)
	}
	return "{" + b.String()[1:] + "}"
}

// TestEmptyRecordsOfAWideTable: lines {} by the million take a slot of every column each.
func TestEmptyRecordsOfAWideTable(t *testing.T) {
	d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{MaxInflated: 1 << 20}))
	accept(t, d, wideRecord())
	d.Take()
	n, rejects := d.Append(event.NDJSON, []byte(strings.Repeat("{}\n", 100_000)), decode.System{}, nil)
	if want := (1<<20 + 8*300_000) / 500; n != want || len(rejects) != 1 || rejects[0].Row != want || !strings.Contains(rejects[0].Reason, "too many slots") {
		t.Errorf("%d accepted, want %d; %v", n, want, rejects)
	}
	if took := d.Bytes(); took > 4<<20 {
		t.Errorf("the rows take %d bytes", took)
	}
}
