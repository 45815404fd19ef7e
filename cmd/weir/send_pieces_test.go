package main

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/go-cmp/cmp"
	"github.com/hamba/avro/v2/ocf"
	"github.com/rogpeppe/go-internal/testscript"
	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

const (
	orderAvro  = `{"type":"record","name":"Order","fields":[{"name":"id","type":"long"},{"name":"customer","type":"string"},{"name":"amount","type":["null","double"]}]}`
	orderProto = `syntax = "proto3";
package shop.v1;
message Order { int64 id = 1; string customer = 2; optional double amount = 3; }
`
)

// Order number i is from a customer of few, and each third has no amount.
func customerOf(i int) string { return fmt.Sprint("c", i%7) }

func amountOf(i int) (float64, bool) {
	return float64(i) / 2, i%3 != 0
}

func ordersJSON(n int) []byte {
	var b []byte
	for i := range n {
		b = fmt.Appendf(b, `{"id":%d,"customer":%q`, i, customerOf(i))
		if a, ok := amountOf(i); ok {
			b = fmt.Appendf(b, `,"amount":%.1f`, a)
		}
		b = append(b, "}\n"...)
	}
	return b
}

func ordersAvro(n int, codec ocf.CodecName) ([]byte, error) {
	var b bytes.Buffer
	enc, err := ocf.NewEncoder(orderAvro, &b, ocf.WithCodec(codec), ocf.WithBlockLength(700))
	if err != nil {
		return nil, err
	}
	for i := range n {
		rec := map[string]any{"id": int64(i), "customer": customerOf(i), "amount": nil}
		if a, ok := amountOf(i); ok {
			rec["amount"] = a
		}
		if err := enc.Encode(rec); err != nil {
			return nil, err
		}
	}
	err = enc.Close()
	return b.Bytes(), err
}

// ordersArrow is a stream of two batches and one of none, or a file.
func ordersArrow(n int, file bool) ([]byte, error) {
	customer := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
	s := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "customer", Type: customer}, {Name: "amount", Type: arrow.PrimitiveTypes.Float64, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	defer b.Release()
	var out bytes.Buffer
	var w interface {
		Write(arrow.RecordBatch) error
		Close() error
	} = ipc.NewWriter(&out, ipc.WithSchema(s), ipc.WithZstd())
	if file {
		f, err := ipc.NewFileWriter(&out, ipc.WithSchema(s))
		if err != nil {
			return nil, err
		}
		w = f
	}
	for i := range n {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		if err := b.Field(1).(*array.BinaryDictionaryBuilder).AppendString(customerOf(i)); err != nil {
			return nil, err
		}
		if a, ok := amountOf(i); ok {
			b.Field(2).(*array.Float64Builder).Append(a)
		} else {
			b.Field(2).AppendNull()
		}
	}
	all := b.NewRecordBatch()
	defer all.Release()
	for _, cut := range [][2]int64{{0, int64(n) * 2 / 3}, {0, 0}, {int64(n) * 2 / 3, int64(n)}} {
		part := all.NewSlice(cut[0], cut[1])
		defer part.Release()
		if err := w.Write(part); err != nil {
			return nil, err
		}
	}
	err := w.Close()
	return out.Bytes(), err
}

func ordersProto(n int) []byte {
	var all []byte
	for i := range n {
		m := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(i))
		m = protowire.AppendString(protowire.AppendTag(m, 2, protowire.BytesType), customerOf(i))
		if a, ok := amountOf(i); ok {
			m = protowire.AppendTag(m, 3, protowire.Fixed64Type)
			m = binary.LittleEndian.AppendUint64(m, math.Float64bits(a))
		}
		all = protowire.AppendBytes(all, m)
	}
	return all
}

// orderFiles are n orders in every format, by file name.
func orderFiles(n int) (map[string][]byte, error) {
	files := map[string][]byte{"orders.ndjson": ordersJSON(n), "orders.pb": ordersProto(n), "order.proto": []byte(orderProto)}
	var err error
	keep := func(name string) func([]byte, error) {
		return func(b []byte, e error) {
			files[name] = b
			if e != nil {
				err = e
			}
		}
	}
	for _, codec := range []ocf.CodecName{ocf.Null, ocf.Deflate, ocf.Snappy, ocf.ZStandard} {
		keep("orders-" + string(codec) + ".avro")(ordersAvro(n, codec))
	}
	keep("orders.arrows")(ordersArrow(n, false))
	keep("orders.arrow")(ordersArrow(n, true))
	return files, err
}

// scriptOrders is the command "orders N" of scripts: it writes N orders in every format.
func scriptOrders(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, args, 1)
	var n int
	if _, err := fmt.Sscan(args[0], &n); err != nil || neg {
		ts.Fatalf("orders N: %v", err)
	}
	files, err := orderFiles(n)
	ts.Check(err)
	for name, b := range files {
		ts.Check(os.WriteFile(ts.MkAbs(name), b, 0o600))
	}
}

// decodedRows decodes payloads and returns their rows as JSON.
func decodedRows(t *testing.T, d *decode.Decoder, mime event.MIME, payload []byte) []string {
	t.Helper()
	if _, rejects := d.Append(mime, payload, decode.System{}, nil); len(rejects) > 0 {
		t.Fatal(rejects)
	}
	b := d.Take()
	defer d.Recycle(b)
	var rows []string
	for i := range b.Rows {
		row, err := printableRow(b, i).MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, string(row))
	}
	return rows
}

// TestCutter cuts files of every format by records and by bytes: each payload decodes by itself, and all rows come out, in order.
func TestCutter(t *testing.T) {
	const n = 2500
	files, err := orderFiles(n)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	proto := dir + "/order.proto"
	if err := os.WriteFile(proto, files["order.proto"], 0o600); err != nil {
		t.Fatal(err)
	}
	o := sampleOptions{format: inputProtobuf}
	o.proto.File, o.proto.Message = proto, "shop.v1.Order"
	options, err := o.decoding()
	if err != nil {
		t.Fatal(err)
	}
	wanted := decodedRows(t, decode.NewDecoder(decode.NewSchema(nil, decode.Options{})), event.NDJSON, files["orders.ndjson"])
	for name, b := range files {
		format := inputAuto
		switch {
		case strings.HasSuffix(name, ".pb"):
			format = inputProtobuf
		case strings.HasSuffix(name, ".ndjson"), strings.HasSuffix(name, ".proto"):
			continue
		}
		for _, limit := range []struct{ records, bytes int }{{1000, pieceBytes}, {1, pieceBytes}, {n, 4 << 10}} {
			in, err := openInput(strings.NewReader(zipped(t, string(b))), format)
			if err != nil {
				t.Fatal(name, err)
			}
			d := decode.NewDecoder(decode.NewSchema(nil, options))
			var rows []string
			c := cutter{limit.records, limit.bytes, func(payload []byte, records int) error {
				if records > limit.records || len(payload) > limit.bytes+1000 {
					t.Errorf("%s: a payload of %d records and %d bytes", name, records, len(payload))
				}
				got := decodedRows(t, d, mimeOf(in.format, limit.records), payload)
				if len(got) != records {
					t.Errorf("%s: %d rows of %d records", name, len(got), records)
				}
				rows = append(rows, got...)
				return nil
			}}
			if err := c.each(in.r, in.format); err != nil {
				t.Fatal(name, err)
			}
			if diff := cmp.Diff(wanted, rows); diff != "" {
				t.Errorf("%s %+v: %s", name, limit, diff)
			}
		}
	}
}

// TestCutterRefuses: what is broken is named with its place, and what stands before it is sent.
func TestCutterRefuses(t *testing.T) {
	const n = 2500
	files, err := orderFiles(n)
	if err != nil {
		t.Fatal(err)
	}
	cut := func(name string) []byte { b := files[name]; return b[:len(b)*3/4] }
	noMark := bytes.Clone(files["orders-null.avro"])
	noMark[len(noMark)-1]++
	for name, c := range map[string]struct {
		format string
		in     []byte
		sent   int
		err    string
	}{
		"Avro, cut":              {inputAuto, cut("orders-null.avro"), 1400, "read: Avro file: block 3: unexpected EOF"},
		"Avro, mark":             {inputAuto, noMark, 2100, "read: Avro file: block 4: the mark behind it is not that of the file"},
		"Avro, header":           {inputAuto, cut("orders-null.avro")[:40], 0, "read: Avro file: its header is malformed"},
		"Avro, none":             {inputAvro, []byte("{}"), 0, "read: Avro file: it does not begin like an Avro object container file"},
		"Avro, codec":            {inputAuto, bytes.Replace(files["orders-deflate.avro"], []byte("deflate"), []byte("bzip2-9"), 1), 0, `read: Avro file: block 1: its codec "bzip2-9" is not known: use null, deflate, snappy or zstandard`},
		"Arrow, cut":             {inputAuto, cut("orders.arrows"), 1666, "read Arrow: "},
		"Arrow, none":            {inputArrow, []byte("{}"), 0, "read Arrow: "},
		"Protobuf, cut":          {inputProtobuf, files["orders.pb"][:len(files["orders.pb"])-1], n - 1, "read Protobuf message 2500: unexpected EOF"},
		"Protobuf, length":       {inputProtobuf, []byte("hello"), 0, "read Protobuf message 1: unexpected EOF"},
		"Protobuf, large":        {inputProtobuf, []byte("\xff\xff\xff\x7f"), 0, "read Protobuf message 1: it has 268435455 bytes, at most 16777216 are read: is this length-delimited Protobuf?"},
		"Protobuf, not detected": {inputAuto, files["orders.pb"], 0, "this is neither NDJSON"},
	} {
		sent := 0
		in, err := openInput(bytes.NewReader(c.in), c.format)
		if err == nil {
			cutter := cutter{1000, pieceBytes, func(_ []byte, records int) error {
				sent += records
				return nil
			}}
			if typed(in.format) {
				err = cutter.each(in.r, in.format)
			} else {
				err = in.each(false, func([]byte) error { return nil })
			}
		}
		if sent != c.sent || err == nil || !strings.HasPrefix(err.Error(), c.err) {
			t.Errorf("%s: sent %d, %v", name, sent, err)
		}
	}
}

// FuzzCutter cuts files of typed formats with edits: reading ends, no payload is empty, and no panic gets out.
func FuzzCutter(f *testing.F) {
	files, err := orderFiles(20)
	if err != nil {
		f.Fatal(err)
	}
	var seeds [][]byte
	for _, name := range []string{"orders-null.avro", "orders-deflate.avro", "orders-snappy.avro", "orders.arrows", "orders.arrow", "orders.pb"} {
		seeds = append(seeds, files[name])
	}
	for i := range byte(12) {
		f.Add(i, uint16(i)*97, i*31, []byte(nil))
	}
	f.Fuzz(func(t *testing.T, which byte, at uint16, to byte, raw []byte) {
		b := raw
		if len(b) == 0 {
			b = bytes.Clone(seeds[int(which)%len(seeds)])
			b[int(at)%len(b)] = to
		}
		for _, format := range []string{inputAvro, inputArrow, inputProtobuf} {
			in, err := openInput(bytes.NewReader(b), format)
			if err != nil {
				continue
			}
			c := cutter{7, 200, func(payload []byte, records int) error {
				if records < 1 || records > 7 || len(payload) == 0 && records > 1 {
					t.Errorf("%s: a payload of %d records and %d bytes", format, records, len(payload))
				}
				return nil
			}}
			_ = c.each(in.r, format) // any error will do
		}
	})
}

func TestRecordIndex(t *testing.T) {
	var x recordIndex
	sizes := []int{1000, 1000, 700, 700, 700, 1}
	sum := int64(0)
	for i, n := range sizes {
		if got := x.before(int64(i)); got != sum {
			t.Errorf("%d records before payload %d, want %d", got, i, sum)
		}
		x.add(n)
		sum += int64(n)
	}
	if got := x.before(3); got != 2700 || len(x.runs) != 3 {
		t.Errorf("%d records, %d runs", got, len(x.runs))
	}
}
