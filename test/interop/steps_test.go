package interop

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/hamba/avro/v2"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weir-dev/weir/client"
	"github.com/weir-dev/weir/test/harness"
)

// order is a change of a row, as producers have it; nil is what one leaves out.
type order struct {
	ID       int64     `json:"id" avro:"id"`
	Rev      int64     `json:"rev" avro:"rev"`
	Op       string    `json:"op" avro:"op"`
	Level    string    `json:"level" avro:"level"`
	At       time.Time `json:"at" avro:"at"`
	Email    *string   `json:"email,omitempty" avro:"email"`
	Price    *float64  `json:"price,omitempty" avro:"price"`
	Qty      *int64    `json:"qty,omitempty" avro:"qty"`
	Customer customer  `json:"customer" avro:"customer"`
}

type customer struct {
	Name string  `json:"name" avro:"name"`
	City *string `json:"city,omitempty" avro:"city"`
}

const (
	ordersProto = `syntax = "proto3";
package shop;
import "google/protobuf/timestamp.proto";
message Order {
  int64 id = 1; int64 rev = 2; string op = 3; string level = 4; google.protobuf.Timestamp at = 5;
  optional string email = 6; optional double price = 7; optional sint64 qty = 8; Customer customer = 9;
}
message Customer { string name = 1; optional string city = 2; }
`
	ordersAvro = `{"type": "record", "name": "Order", "fields": [
 {"name": "id", "type": "long"}, {"name": "rev", "type": "long"}, {"name": "op", "type": {"type": "enum", "name": "Op", "symbols": ["c", "u", "d"]}},
 {"name": "level", "type": "string"}, {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
 {"name": "email", "type": ["null", "string"]}, {"name": "price", "type": ["null", "double"]}, {"name": "qty", "type": ["null", "long"]},
 {"name": "customer", "type": {"type": "record", "name": "Customer", "fields": [{"name": "name", "type": "string"}, {"name": "city", "type": ["null", "string"]}]}}]}`
	ordersSteps = `  identity: {key: [id], sequence: rev, op: {field: op}}
  transform:
    - filter: level != "debug"
    - set: {column: total, value: price * double(qty)}
    - mask: {columns: [email], method: Hash, salt: pepper}
    - derive: {column: hour, from: at, part: Hour}
    - flatten: {column: customer}
    - rename: {from: qty, to: quantity}
    - drop: [level, price]
`
)

// makeOrders makes changes of some rows, late ones among them.
func makeOrders(n int) []order {
	rng := rand.New(rand.NewPCG(5, 6))
	revs := make([]int, n) // each once, most in order
	for i := range revs {
		revs[i] = i
	}
	for range n / 16 {
		i, j := rng.IntN(n), rng.IntN(n)
		revs[i], revs[j] = revs[j], revs[i]
	}
	var all []order
	for i := range n {
		o := order{
			ID: rng.Int64N(int64(n / 6)), Rev: int64(revs[i]), Op: []string{"c", "u", "u", "u", "d"}[rng.IntN(5)], Level: []string{"info", "warn", "debug"}[rng.IntN(3)],
			At: time.UnixMicro(1_795_536_000_000_000 + int64(i)*7_919_000_123).UTC(), Customer: customer{Name: fmt.Sprintf("n%d é", i%50)},
		}
		if rng.IntN(4) > 0 {
			o.Email = new(fmt.Sprintf("u%d@example.org", rng.IntN(1000)))
			o.Customer.City = new([]string{"Zürich", "東京", ""}[rng.IntN(3)])
		}
		if rng.IntN(5) > 0 {
			o.Price = new(float64(rng.IntN(1_000_000)) / 100)
		}
		if rng.IntN(5) > 0 {
			o.Qty = new(int64(rng.IntN(40) - 20))
		}
		all = append(all, o)
	}
	return all
}

// leftOrders is what the steps and the merge must leave, computed without them, as the lines that rows.py expects.
func leftOrders(all []order) []byte {
	last := map[int64]order{}
	for _, o := range all {
		if old, ok := last[o.ID]; o.Level != "debug" && (!ok || o.Rev > old.Rev) {
			last[o.ID] = o
		}
	}
	var lines []byte
	for _, o := range last {
		if o.Op == "d" {
			continue
		}
		row := map[string]any{
			"id": o.ID, "rev": o.Rev, "at": o.At, "hour": o.At.Hour(), "customer_name": o.Customer.Name, "customer_city": o.Customer.City,
			"email": nil, "quantity": o.Qty, "total": nil,
		}
		if o.Email != nil {
			mac := hmac.New(sha256.New, []byte("pepper"))
			mac.Write([]byte(*o.Email))
			row["email"] = hex.EncodeToString(mac.Sum(nil))
		}
		if o.Price != nil && o.Qty != nil {
			row["total"] = *o.Price * float64(*o.Qty)
		}
		b, err := json.Marshal(row)
		if err != nil {
			panic(err) // it is made of what JSON holds
		}
		lines = append(append(lines, b...), '\n')
	}
	return lines
}

const leftSchema = `{"id": "long", "rev": "long", "at": "timestamp", "hour": "long", "customer_name": "string", "customer_city": "string", "email": "string", "quantity": "long", "total": "double"}`

func ordersAsJSON(all []order) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	for _, o := range all {
		if err := enc.Encode(o); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func ordersAsProtobuf(all []order) ([]byte, error) {
	var out []byte
	text := func(b []byte, n protowire.Number, s *string) []byte {
		if s == nil {
			return b
		}
		return protowire.AppendString(protowire.AppendTag(b, n, protowire.BytesType), *s)
	}
	for _, o := range all {
		at, err := proto.Marshal(timestamppb.New(o.At))
		if err != nil {
			return nil, err
		}
		m := protowire.AppendVarint(protowire.AppendTag(nil, 1, protowire.VarintType), uint64(o.ID))
		m = protowire.AppendVarint(protowire.AppendTag(m, 2, protowire.VarintType), uint64(o.Rev))
		m = text(text(text(m, 3, &o.Op), 4, &o.Level), 6, o.Email)
		m = protowire.AppendBytes(protowire.AppendTag(m, 5, protowire.BytesType), at)
		if o.Price != nil {
			m, err = binary.Append(protowire.AppendTag(m, 7, protowire.Fixed64Type), binary.LittleEndian, *o.Price)
			if err != nil {
				return nil, err
			}
		}
		if o.Qty != nil {
			m = protowire.AppendVarint(protowire.AppendTag(m, 8, protowire.VarintType), protowire.EncodeZigZag(*o.Qty))
		}
		m = protowire.AppendBytes(protowire.AppendTag(m, 9, protowire.BytesType), text(text(nil, 1, &o.Customer.Name), 2, o.Customer.City))
		out = protowire.AppendBytes(out, m)
	}
	return out, nil
}

func ordersAsAvro(all []order) ([]byte, error) {
	s := avro.MustParse(ordersAvro)
	var out []byte
	for _, o := range all {
		b, err := avro.Marshal(s, o)
		if err != nil {
			return nil, err
		}
		out = protowire.AppendBytes(out, b)
	}
	return out, nil
}

func ordersAsArrow(all []order) ([]byte, error) {
	inner := arrow.StructOf(arrow.Field{Name: "name", Type: arrow.BinaryTypes.String}, arrow.Field{Name: "city", Type: arrow.BinaryTypes.LargeString, Nullable: true})
	word := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
	s := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64},
		{Name: "rev", Type: arrow.PrimitiveTypes.Uint32},
		{Name: "op", Type: word},
		{Name: "level", Type: word},
		{Name: "at", Type: arrow.FixedWidthTypes.Timestamp_us},
		{Name: "email", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "price", Type: arrow.PrimitiveTypes.Float64, Nullable: true},
		{Name: "qty", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "customer", Type: inner},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	defer b.Release()
	text := func(f interface {
		Append(s string)
		AppendNull()
	}, s *string,
	) {
		if s == nil {
			f.AppendNull()
			return
		}
		f.Append(*s)
	}
	for _, o := range all {
		b.Field(0).(*array.Int64Builder).Append(o.ID)
		b.Field(1).(*array.Uint32Builder).Append(uint32(o.Rev))
		err := b.Field(2).(*array.BinaryDictionaryBuilder).AppendString(o.Op)
		err = errors.Join(err, b.Field(3).(*array.BinaryDictionaryBuilder).AppendString(o.Level))
		if err != nil {
			return nil, err
		}
		b.Field(4).(*array.TimestampBuilder).Append(arrow.Timestamp(o.At.UnixMicro()))
		text(b.Field(5).(*array.StringBuilder), o.Email)
		if f := b.Field(6).(*array.Float64Builder); o.Price == nil {
			f.AppendNull()
		} else {
			f.Append(*o.Price)
		}
		if f := b.Field(7).(*array.Int64Builder); o.Qty == nil {
			f.AppendNull()
		} else {
			f.Append(*o.Qty)
		}
		c := b.Field(8).(*array.StructBuilder)
		c.Append(true)
		c.FieldBuilder(0).(*array.StringBuilder).Append(o.Customer.Name)
		text(c.FieldBuilder(1).(*array.LargeStringBuilder), o.Customer.City)
	}
	rows := b.NewRecordBatch()
	defer rows.Release()
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(s), ipc.WithLZ4())
	err := errors.Join(w.Write(rows), w.Close())
	return out.Bytes(), err
}

// TestFormatsThroughSteps sends the same changes as JSON, Protobuf, Avro and Arrow through the same steps, filter, set, mask,
// derive, flatten, rename and drop, into a merged table each. deltalake reads the same rows from all of them: those that the
// changes leave, computed here without weir.
func TestFormatsThroughSteps(t *testing.T) {
	t.Parallel()
	p := harness.RequirePeers(t)
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	all := makeOrders(3000)
	expected := pythonRows(t, p, "expect", file("left.json", leftSchema), file("left.ndjson", string(leftOrders(all))))
	if expected.Rows < 100 {
		t.Fatalf("%d rows are left: that shows little", expected.Rows)
	}
	cases := []struct {
		name, mime, schema string
		encode             func([]order) ([]byte, error)
	}{
		{"json", client.NDJSON, "{columns: [{name: id, type: long}, {name: qty, type: long}, {name: price, type: double}]}", ordersAsJSON},
		{"protobuf", "application/protobuf;encoding=delimited", "{format: {protobuf: {file: " + file("orders.proto", ordersProto) + ", message: shop.Order}}}", ordersAsProtobuf},
		{"avro", "application/avro;encoding=delimited", "{format: {avro: {file: " + file("orders.avsc", ordersAvro) + "}}}", ordersAsAvro},
		{"arrow", "application/vnd.apache.arrow.stream", "{}", ordersAsArrow},
	}
	var pipelines, tables []string
	for _, c := range cases {
		table := filepath.Join(dir, c.name)
		tables = append(tables, table)
		pipelines = append(pipelines, harness.Pipeline{
			Name: c.name, Table: table, Spec: "  schema: " + c.schema + "\n" + ordersSteps,
			Sink: "      mode: Merge\n      batch: {maxRecords: 400, maxAge: 100ms}\n",
		}.YAML())
	}
	w := runWeir(t, harness.Pipeline{File: strings.Join(pipelines, "---\n")})
	for _, c := range cases {
		sendOrders(t, w, c.name, c.mime, all, c.encode)
	}
	stop(t, w)
	read := rowsOf(t, output(t, p.Python, "rows.py", append([]string{"deltalake"}, tables...)...), len(tables))
	for i, got := range read {
		same(t, "deltalake, of table "+cases[i].name, got, expected)
	}
}

// sendOrders sends payloads of 250 events on a stream.
func sendOrders(t *testing.T, w *harness.Weir, pipeline, mime string, all []order, encode func([]order) ([]byte, error)) {
	t.Helper()
	c, err := client.Dial(t.Context(), "127.0.0.1:"+w.Port()+"/"+pipeline, client.Options{MIME: mime})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.OpenStream(t.Context(), client.StreamOptions{OnReject: func(r client.Reject) { t.Errorf("%s: rejected: %+v", pipeline, r) }})
	if err != nil {
		t.Fatal(err)
	}
	const size = 250
	for from := 0; from < len(all); from += size {
		b, err := encode(all[from:min(from+size, len(all))])
		if err == nil {
			_, err = s.Send(t.Context(), b)
		}
		if err == nil && from%(4*size) == 0 { // so that there are several commits
			err = s.Flush(t.Context())
		}
		if err != nil {
			t.Fatal(pipeline, err)
		}
	}
	unacked, err := s.Close(t.Context())
	if err != nil || len(unacked) > 0 {
		t.Fatalf("%s: %d unacknowledged: %v", pipeline, len(unacked), err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
