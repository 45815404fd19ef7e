package decode_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// TestMadeUpSchemas: a payload of ids that nobody knows does not become as many requests.
func TestMadeUpSchemas(t *testing.T) {
	asked := map[uint32]bool{}
	no := errors.New("the registry does not know it")
	o := decode.Options{Avro: &decode.Avro{
		Lookup: func(id uint32) (*decode.AvroSchema, error) {
			if asked[id] {
				return nil, no
			}
			return nil, decode.ErrSchemaUnknown
		},
		Fetch: func(_ context.Context, id uint32) error {
			asked[id] = true
			return nil
		},
	}}
	var payload []byte
	for id := range uint32(500) {
		payload = append(append(payload, 5), withID(id, nil)...)
	}
	for range 2 {
		if err := o.FetchSchemas(t.Context(), event.AvroMany, payload); err != nil {
			t.Fatal(err)
		}
	}
	if len(asked) != 200 {
		t.Errorf("%d schemas were asked for, want 100 a payload", len(asked))
	}
	_, rejects := decode.NewDecoder(decode.NewSchema(nil, o)).Append(event.AvroMany, payload, decode.System{}, nil)
	if len(rejects) != 500 || !strings.Contains(rejects[0].Reason, no.Error()) || !strings.Contains(rejects[499].Reason, "at most 100 new schemas in a payload") {
		t.Errorf("%d refused, %v", len(rejects), rejects[:1])
	}
}

// TestAvroPromotions: text and bytes of writers are bytes and text of the reader as they are, even if the text looks like base64.
func TestAvroPromotions(t *testing.T) {
	field := func(a, b string) string {
		return `{"type":"record","name":"R","fields":[{"name":"a","type":["null","` + a + `"]},{"name":"b","type":"` + b + `"}]}`
	}
	writer, reader := avroSchema(t, field("string", "bytes")), avroSchema(t, field("bytes", "string"))
	d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{Avro: &decode.Avro{Schema: reader, Lookup: func(uint32) (*decode.AvroSchema, error) { return writer, nil }}}))
	n, rejects := d.Append(event.Avro, withID(1, []byte("\x02\x08abcd\x06xyz")), decode.System{}, nil)
	if n != 1 {
		t.Fatal(rejects)
	}
	n, rejects = d.Append(event.Avro, withID(1, []byte("\x00\x06x\xffz")), decode.System{}, nil)
	if n != 0 || !strings.Contains(rejects[0].Reason, "not valid UTF-8") {
		t.Error(n, rejects)
	}
	if got, want := string(jsonRow(d.Take(), 0)), `{"a":"YWJjZA==","b":"xyz"}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// TestAvroAliasesWithin: a field that the reader's schema calls otherwise makes no column of its own, however deep it stands.
func TestAvroAliasesWithin(t *testing.T) {
	writer := avroSchema(t, `{"type":"record","name":"R","fields":[{"name":"a","type":["null",{"type":"record","name":"I","fields":[{"name":"old","type":"long"}]}]},
		{"name":"l","type":{"type":"array","items":"I"}},{"name":"m","type":{"type":"map","values":"I"}}]}`)
	reader := avroSchema(t, `{"type":"record","name":"R","fields":[{"name":"a","type":["null",{"type":"record","name":"I","fields":[{"name":"new","type":"long","aliases":["old"]}]}]},
		{"name":"l","type":{"type":"array","items":"I"}},{"name":"m","type":{"type":"map","values":"I"}}]}`)
	s := decode.NewSchema(nil, decode.Options{Avro: &decode.Avro{Schema: reader, Lookup: func(uint32) (*decode.AvroSchema, error) { return writer, nil }}})
	d := decode.NewDecoder(s)
	if n, rejects := d.Append(event.Avro, withID(1, []byte{2, 2, 2, 4, 0, 2, 2, 'k', 6, 0}), decode.System{}, nil); n != 1 {
		t.Fatal(rejects)
	}
	if got, want := string(jsonRow(d.Take(), 0)), `{"a":{"new":1},"l":[{"new":2}],"m":{"k":{"new":3}}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got, want := s.Current().String(), "struct<a:struct<new:long>,l:array<struct<new:long>>,m:map<string,struct<new:long>>>"; got != want {
		t.Errorf("schema %s, want %s", got, want)
	}
}
