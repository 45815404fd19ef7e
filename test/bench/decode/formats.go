package main

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"text/tabwriter"

	"buf.build/go/hyperpb"
	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/dynamicpb"
	_ "google.golang.org/protobuf/types/known/timestamppb" // descriptors are built from it

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// The bars of the formats: how many times as fast as JSON Arrow is to be on numbers, and as the libraries Protobuf.
const (
	arrowBar    = 10
	protobufBar = 1
)

// compareFormats decodes events as JSON, Protobuf, Avro and Arrow, and Protobuf with libraries too: those of the flat shape,
// most of whose bytes are text that every format has to copy and to check, and readings of numbers alone.
func compareFormats(c config, w io.Writer) error {
	missed := false
	for _, s := range []struct {
		name string
		make func(cache string) ([][]byte, error)
	}{{"flat", shapes[0].make}, {numbers, made(1024, numbersEvent)}} {
		events, err := s.make(c.cache)
		if err != nil {
			return err
		}
		l, err := newLoad(s.name, events)
		if err != nil {
			return err
		}
		if err := compareFormatsOf(c, w, l); err != nil && !errors.Is(err, errBar) {
			return fmt.Errorf("%s: %w", s.name, err)
		} else if err != nil {
			missed = true
		}
	}
	if missed {
		return errBar
	}
	return nil
}

const numbers = "numbers"

// numbersEvent is a reading of 40 measures and 10 counters.
func numbersEvent(r *rand.Rand, i int) []byte {
	e := fmt.Appendf(nil, `{"counter_0":%d`, i)
	for c := 1; c < 10; c++ {
		e = fmt.Appendf(e, `,"counter_%d":%d`, c, r.IntN(1e6))
	}
	for c := range 40 {
		e = fmt.Appendf(e, `,"measure_%d":%.4f`, c, r.Float64()*1000+0.00005)
	}
	return append(e, '}')
}

func compareFormatsOf(c config, w io.Writer, l *load) error {
	f, err := newFormats(l)
	if err != nil {
		return err
	}
	ways := []struct {
		name  string
		bytes int // of all events
		run   func() error
		rows  func() []map[string]any
	}{
		{"weir, JSON lines", len(l.lines), f.weir(decode.Options{}, event.NDJSON, l.lines), f.rows},
		{"weir, Protobuf", len(f.protobufMany), f.weir(decode.Options{Protobuf: f.protobuf}, event.ProtobufMany, f.protobufMany), f.rows},
		{"hyperpb, columns", len(f.protobufMany), f.hyperpb(true), f.rows},
		{"dynamicpb, columns", len(f.protobufMany), f.dynamicpb(true), f.rows},
		{"hyperpb, parse only", len(f.protobufMany), f.hyperpb(false), nil},
		{"dynamicpb, parse only", len(f.protobufMany), f.dynamicpb(false), nil},
		{"weir, Avro", len(f.avroMany), f.weir(decode.Options{Avro: &decode.Avro{Schema: f.avro}}, event.AvroMany, f.avroMany), f.rows},
		{"weir, Arrow", len(f.arrow), f.weir(decode.Options{}, event.Arrow, f.arrow), f.rows},
	}
	var all []*contestant
	for _, way := range ways {
		for range 2 {
			if err := way.run(); err != nil {
				return fmt.Errorf("%s: %w", way.name, err)
			}
			if way.rows == nil {
				continue
			}
			if got := way.rows(); !reflect.DeepEqual(f.want, got) {
				return fmt.Errorf("%s has other values (-JSON +%s): %.2000s", way.name, way.name, cmp.Diff(f.want, got))
			}
		}
		all = append(all, &contestant{name: way.name, events: len(l.events), decode: way.run})
	}
	if err := compete(all, c.rounds, c.spin); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nformats, %s: %d events into %d leaf columns\n", l.name, len(l.events), leaves(l.sample.Columns))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "way\tµs/event\tbytes/event\tallocs/event\tB/event\ttimes as fast as JSON\tof weir's Protobuf time\t")
	json, pb := all[0].median(), all[1].median()
	good := true
	for i, c := range all {
		m := c.median()
		fmt.Fprintf(t, "%s\t%.3f\t%d\t%.2f\t%.0f\t%.1f\t%.2f\t\n", c.name, m.nanos/1000, ways[i].bytes/len(l.events), m.allocs, m.bytes, json.nanos/m.nanos, m.nanos/pb.nanos)
		switch {
		case strings.HasPrefix(c.name, "weir"):
			good = good && m.allocs < mostAllocs
		case strings.HasSuffix(c.name, "columns"):
			good = good && m.nanos >= protobufBar*pb.nanos
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if arrow := all[len(all)-1].median(); !good || l.name == numbers && json.nanos < arrowBar*arrow.nanos {
		fmt.Fprintf(w, "a bar was missed: no allocations, Protobuf faster than the libraries, Arrow %d times as fast as JSON on numbers\n", arrowBar)
		return errBar
	}
	return nil
}

// formats are the events of a load in every format.
type formats struct {
	load  *load
	want  []map[string]any
	batch *column.Batch

	protobuf     *decode.Protobuf
	message      protoreflect.MessageDescriptor
	single       [][]byte
	protobufMany []byte
	avro         *decode.AvroSchema
	avroMany     []byte
	arrow        []byte
}

func (f *formats) rows() []map[string]any { return rowsOf(f.batch) }

// weir decodes a payload with all events.
func (f *formats) weir(o decode.Options, mime event.MIME, payload []byte) func() error {
	d := decode.NewDecoder(decode.NewSchema(f.load.schema, o))
	var last *column.Batch
	return func() error {
		d.Recycle(last)
		if n, rejects := d.Append(mime, payload, decode.System{}, nil); n != len(f.load.events) {
			return fmt.Errorf("%d events, %v", n, rejects)
		}
		last = d.Take()
		f.batch = last
		return nil
	}
}

func newFormats(l *load) (*formats, error) {
	f := &formats{load: l, want: rowsOf(l.sample)}
	if err := f.describe(); err != nil {
		return nil, err
	}
	for _, row := range f.want {
		// Fields in the order of their numbers, as generated code writes them; dynamicpb else takes that of a map.
		b, err := proto.MarshalOptions{Deterministic: true}.Marshal(f.messageOf(row))
		if err != nil {
			return nil, err
		}
		f.single = append(f.single, b)
		f.protobufMany = append(binary.AppendUvarint(f.protobufMany, uint64(len(b))), b...)
	}
	if err := f.makeAvro(); err != nil {
		return nil, err
	}
	return f, f.makeArrow()
}

// describe makes a message type of the columns.
func (f *formats) describe() error {
	kinds := map[schema.Kind]descriptorpb.FieldDescriptorProto_Type{
		schema.String: descriptorpb.FieldDescriptorProto_TYPE_STRING, schema.Long: descriptorpb.FieldDescriptorProto_TYPE_INT64,
		schema.Double: descriptorpb.FieldDescriptorProto_TYPE_DOUBLE, schema.Boolean: descriptorpb.FieldDescriptorProto_TYPE_BOOL,
		schema.Timestamp: descriptorpb.FieldDescriptorProto_TYPE_MESSAGE,
	}
	m := &descriptorpb.DescriptorProto{Name: new("Event")}
	for i, c := range f.load.schema.Fields {
		fd := &descriptorpb.FieldDescriptorProto{
			Name: new(c.Name), Number: new(int32(i + 1)), Type: kinds[c.Type.Kind].Enum(), Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
		if c.Type.Kind == schema.Timestamp {
			fd.TypeName = new(".google.protobuf.Timestamp")
		}
		m.Field = append(m.Field, fd)
	}
	file := &descriptorpb.FileDescriptorProto{
		Name: new("event.proto"), Syntax: new("proto3"), Dependency: []string{"google/protobuf/timestamp.proto"},
		MessageType: []*descriptorpb.DescriptorProto{m},
	}
	set, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{file}})
	if err != nil {
		return err
	}
	if f.protobuf, err = decode.NewProtobuf(set, "Event"); err != nil {
		return err
	}
	known, err := protodesc.NewFile(file, protoregistry.GlobalFiles)
	if err != nil {
		return err
	}
	f.message = known.Messages().Get(0)
	return nil
}

func (f *formats) messageOf(row map[string]any) *dynamicpb.Message {
	m := dynamicpb.NewMessage(f.message)
	for i, c := range f.load.schema.Fields {
		fd := f.message.Fields().Get(i)
		if c.Type.Kind != schema.Timestamp {
			m.Set(fd, protoreflect.ValueOf(row[c.Name]))
			continue
		}
		t, micros := dynamicpb.NewMessage(fd.Message()), row[c.Name].(int64)
		t.Set(fd.Message().Fields().Get(0), protoreflect.ValueOfInt64(micros/1e6))
		t.Set(fd.Message().Fields().Get(1), protoreflect.ValueOfInt32(int32(micros%1e6*1000)))
		m.Set(fd, protoreflect.ValueOfMessage(t))
	}
	return m
}

// fill moves a message into the columns, as one would with a library that gives messages.
func fill(b *column.Batch, m protoreflect.Message, fields []protoreflect.FieldDescriptor) {
	for i, fd := range fields {
		v, c := m.Get(fd), b.Columns[i]
		switch c.Type.Kind {
		case schema.String:
			c.AppendString(v.String())
		case schema.Long:
			c.AppendInt64(v.Int())
		case schema.Double:
			c.AppendFloat64(v.Float())
		case schema.Boolean:
			c.AppendBool(v.Bool())
		default:
			t := v.Message()
			parts := t.Descriptor().Fields()
			c.AppendInt64(t.Get(parts.Get(0)).Int()*1e6 + t.Get(parts.Get(1)).Int()/1000)
		}
	}
	b.Rows++
}

func (f *formats) fields(md protoreflect.MessageDescriptor) []protoreflect.FieldDescriptor {
	var all []protoreflect.FieldDescriptor
	for i := range md.Fields().Len() {
		all = append(all, md.Fields().Get(i))
	}
	return all
}

func (f *formats) dynamicpb(columns bool) func() error {
	b, fields := column.NewBatch(f.load.schema), f.fields(f.message)
	m := dynamicpb.NewMessage(f.message)
	return func() error {
		b.Reset()
		for _, e := range f.single {
			proto.Reset(m)
			if err := proto.Unmarshal(e, m); err != nil {
				return err
			}
			if columns {
				fill(b, m, fields)
			}
		}
		b.Seal(b.Rows)
		f.batch = b
		return nil
	}
}

func (f *formats) hyperpb(columns bool) func() error {
	ty := hyperpb.CompileMessageDescriptor(f.message)
	b, fields := column.NewBatch(f.load.schema), f.fields(ty.Descriptor())
	shared := new(hyperpb.Shared)
	return func() error {
		b.Reset()
		for _, e := range f.single {
			m := shared.NewMessage(ty)
			if err := m.Unmarshal(e); err != nil {
				return err
			}
			if columns {
				fill(b, m, fields)
			}
			shared.Free()
		}
		b.Seal(b.Rows)
		f.batch = b
		return nil
	}
}

func (f *formats) makeAvro() error {
	names := map[schema.Kind]string{
		schema.String: `"string"`, schema.Long: `"long"`, schema.Double: `"double"`, schema.Boolean: `"boolean"`,
		schema.Timestamp: `{"type":"long","logicalType":"timestamp-micros"}`,
	}
	var fields []string
	for _, c := range f.load.schema.Fields {
		fields = append(fields, fmt.Sprintf(`{"name":%q,"type":%s}`, c.Name, names[c.Type.Kind]))
	}
	var err error
	if f.avro, err = decode.NewAvroSchema([]byte(`{"type":"record","name":"Event","fields":[` + strings.Join(fields, ",") + `]}`)); err != nil {
		return err
	}
	for _, row := range f.want {
		var b []byte
		for _, c := range f.load.schema.Fields {
			switch v := row[c.Name].(type) {
			case string:
				b = append(binary.AppendVarint(b, int64(len(v))), v...)
			case int64:
				b = binary.AppendVarint(b, v)
			case float64:
				b = binary.LittleEndian.AppendUint64(b, math.Float64bits(v))
			case bool:
				b = append(b, map[bool]byte{true: 1}[v])
			default:
				return fmt.Errorf("no Avro for %T", v)
			}
		}
		f.avroMany = append(binary.AppendUvarint(f.avroMany, uint64(len(b))), b...)
	}
	return nil
}

// makeArrow writes the events as arrow-go does.
func (f *formats) makeArrow() error {
	d := &arrowDecoder{load: f.load, schema: arrow.NewSchema(arrowFields(f.load.schema), nil)}
	if err := d.decode(); err != nil {
		return err
	}
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(d.schema))
	err := errors.Join(w.Write(d.record), w.Close())
	f.arrow = out.Bytes()
	return err
}
