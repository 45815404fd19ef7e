package ingestor

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/descriptorpb"

	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// withProtobuf takes messages with an int64 a = 1 and a string b = 2.
func withProtobuf(t testing.TB) func(*Config) {
	t.Helper()
	field := func(name string, n int32, kind descriptorpb.FieldDescriptorProto_Type) *descriptorpb.FieldDescriptorProto {
		return &descriptorpb.FieldDescriptorProto{
			Name: new(name), Number: new(n), Type: kind.Enum(),
			Label: descriptorpb.FieldDescriptorProto_LABEL_OPTIONAL.Enum(),
		}
	}
	set, err := proto.Marshal(&descriptorpb.FileDescriptorSet{File: []*descriptorpb.FileDescriptorProto{{
		Name: new("m.proto"), Syntax: new("proto3"),
		MessageType: []*descriptorpb.DescriptorProto{{Name: new("M"), Field: []*descriptorpb.FieldDescriptorProto{
			field("a", 1, descriptorpb.FieldDescriptorProto_TYPE_INT64), field("b", 2, descriptorpb.FieldDescriptorProto_TYPE_STRING),
		}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := decode.NewProtobuf(set, "M")
	if err != nil {
		t.Fatal(err)
	}
	return func(c *Config) { c.Pipelines[0].Decode.Protobuf = p }
}

func TestProtobufOverHTTP(t *testing.T) {
	h := start(t, withProtobuf(t))
	const events = "/v1/pipelines/p/events"
	for name, tc := range map[string]struct {
		mime, body string
		status     int
		says       string
	}{
		"one":        {"application/x-protobuf", "\x08\x01\x12\x01x", 200, `"records":1`},
		"no type":    {"application/octet-stream", "\x08\x02", 200, `"records":1`},
		"many":       {"application/vnd.google.protobuf; encoding=delimited", "\x02\x08\x03\x02\x08\x04", 200, `"records":2`},
		"one is bad": {"application/protobuf;encoding=delimited", "\x02\x08\x05\x02\x12\x09\x02\x08\x06", 200, `"rejected":[{"sequence":1,"row":1,"reason":"field b, byte 1: a length that goes beyond the end`},
		"JSON too":   {"application/json", `{"a":7,"b":"y"}`, 200, `"records":1`},
		"another":    {"application/avro", "\x08\x02", 415, "send application/json, application/x-ndjson, application/vnd.apache.arrow.stream, application/avro;encoding=file, application/protobuf, application/protobuf;encoding=delimited"},
	} {
		if status, body, _ := h.post(events, tc.mime, tc.body); status != tc.status || !strings.Contains(strings.ReplaceAll(body, `\u003b`, ";"), tc.says) {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
	h.wantRows(`{"a":1,"b":"x"}`, `{"a":2,"b":""}`, `{"a":3,"b":""}`, `{"a":4,"b":""}`, `{"a":5,"b":""}`, `{"a":6,"b":""}`, `{"a":7,"b":"y"}`)
}

// TestPayloadsOfSeveralTypes sends payloads of different types on one channel; one of no known type is named.
func TestPayloadsOfSeveralTypes(t *testing.T) {
	h := start(t, withProtobuf(t))
	s, _ := h.openNamed(h.dial(), 1, 0)
	typed := func(mime, data string) {
		md := rsocket.AppendComposite(nil, rsocket.MIMEPerStreamData, rsocket.AppendStreamMIME(nil, mime))
		if err := s.out.Send(t.Context(), rsocket.NewPayload([]byte(data), md)); err != nil {
			t.Fatal(err)
		}
	}
	s.send(`{"a":1}`)
	typed("application/x-protobuf", "\x08\x02")
	typed("application/protobuf;encoding=delimited", "\x02\x08\x03\x01\xff\x02\x08\x04")
	typed("application/avro", "\x08\x02")
	typed("application/x-ndjson", "{\"a\":5}\n{\"a\":6}")
	m := s.ackTo(5)
	b, err := json.Marshal(m.Rejected)
	if err != nil {
		t.Fatal(err)
	}
	if m.Records != 6 || len(m.Rejected) != 2 || m.Rejected[0].Sequence != 3 || m.Rejected[0].Row != 1 || m.Rejected[1].Sequence != 4 ||
		!strings.Contains(m.Rejected[1].Reason, "payloads of type application/avro are not supported; send application/json, application/x-ndjson, application/vnd.apache.arrow.stream, application/avro;encoding=file") {
		t.Errorf("%d records, rejected %s", m.Records, b)
	}
	var ids []string
	for _, r := range h.rows() {
		ids = append(ids, strings.Split(strings.Trim(r, "{}"), ",")[0])
	}
	slices.Sort(ids)
	if want := []string{`"a":1`, `"a":2`, `"a":3`, `"a":4`, `"a":5`, `"a":6`}; !slices.Equal(ids, want) {
		t.Errorf("rows %q", ids)
	}
}

// TestAvroWithARegistry: a schema that nobody knows costs its record, a registry that is down ends the stream and loses nothing.
func TestAvroWithARegistry(t *testing.T) {
	schema, err := decode.NewAvroSchema([]byte(`{"type":"record","name":"M","fields":[{"name":"a","type":"long"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	var down atomic.Bool
	var known sync.Map
	avro := &decode.Avro{
		Lookup: func(id uint32) (*decode.AvroSchema, error) {
			if _, ok := known.Load(id); !ok {
				return nil, decode.ErrSchemaUnknown
			}
			if id == 1 {
				return schema, nil
			}
			return nil, errors.New("the registry does not know it")
		},
		Fetch: func(_ context.Context, id uint32) error {
			if down.Load() {
				return errors.New("the registry does not answer")
			}
			known.Store(id, true)
			return nil
		},
	}
	h := start(t, func(c *Config) { c.Pipelines[0].Decode.Avro = avro })
	const events = "/v1/pipelines/p/events"
	if status, body, _ := h.post(events, "avro/binary", "\x00\x00\x00\x00\x01\x02"); status != 200 {
		t.Error(status, body)
	}
	if status, body, _ := h.post(events, "avro/binary", "\x00\x00\x00\x00\x02\x02"); status != 400 || !strings.Contains(body, "schema 2: the registry does not know it") {
		t.Error(status, body)
	}
	down.Store(true)
	if status, body, _ := h.post(events, "avro/binary", "\x00\x00\x00\x00\x03\x02"); status != 503 || !strings.Contains(body, "does not answer") {
		t.Error(status, body)
	}
	s, _ := h.openNamed(h.dial(), 1, 0)
	md := rsocket.AppendComposite(nil, rsocket.MIMEPerStreamData, rsocket.AppendStreamMIME(nil, "application/avro"))
	if err := s.out.Send(t.Context(), rsocket.NewPayload([]byte("\x00\x00\x00\x00\x01\x04"), md)); err != nil {
		t.Fatal(err)
	}
	if m := s.message(); m.Type != protocol.TypeError || m.Code != protocol.CodeUnavailable || !strings.Contains(m.Message, "does not answer") {
		t.Errorf("%+v", m)
	}
	h.wantRows(`{"a":1}`)
}
