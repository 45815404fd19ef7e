package decode_test

import (
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// TestMapOfMisfits: more values of a map than are named do not fit, and then the map itself does not, since it has a key twice
// or one of another type. It is not null in silence.
func TestMapOfMisfits(t *testing.T) {
	var many strings.Builder
	for i := range 300 {
		many.WriteString(`"` + strconv.Itoa(i) + `":"x",`)
	}
	for name, c := range map[string]struct {
		column *schema.Type
		last   string
	}{
		"a key twice":           {mapOf(prim(schema.String), prim(schema.Long), true), `"0":1`},
		"a key of another type": {mapOf(prim(schema.Integer), prim(schema.Long), true), `"k":1`},
	} {
		d := decode.NewDecoder(decode.NewSchema(structOf(nullable("m", c.column)), decode.Options{}))
		record := `{"m":{` + many.String() + c.last + `}}`
		accept(t, d, record)
		if got, want := take(t, d)[0]["_rescued"], `{"$":`+record+`}`; got != want {
			t.Errorf("%s: rescued %.100v, want %.100v", name, got, want)
		}
	}
}

// TestProtobufStrangersAreKept: a newer version of the type has a list whose elements are more than are named one by one, and
// fields within messages that are kept as text. The pipeline's version knows none of them.
func TestProtobufStrangersAreKept(t *testing.T) {
	p, _ := protobufOf(t, `syntax = "proto3"; package t; message M { int64 id = 1; T tree = 2; } message T { T t = 1; int32 x = 2; }`, "t.M")
	tag := func(b []byte) []byte {
		return protowire.AppendString(protowire.AppendTag(b, 9, protowire.BytesType), "abc")
	}
	long, want := []byte{8, 7}, `{"id":7,"_rescued":"{\"$\":{\"id\":7,\"#9\":[`
	for i := range 300 {
		long = tag(long)
		want += strings.Repeat(",", min(i, 1)) + `\"YWJj\"`
	}
	tree := []byte{8, 7, 0x12, 12, 0x0a, 10, 0x10, 3, 0x4a, 1, 'z', 0x4d, 5, 0, 0, 0} // tree.t {x: 3, #9: "z", #9: a fixed32}
	for payload, want := range map[string]string{
		string(long): want + `]}}"}`,
		string(tree): `{"id":7,"tree":{"t":"{\"x\":3,\"#9\":[\"eg==\",5]}","x":0}}`,
	} {
		d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{Protobuf: p}))
		if n, rejects := d.Append(event.Protobuf, []byte(payload), decode.System{}, nil); n != 1 {
			t.Fatal(rejects)
		}
		if got := string(jsonRow(d.Take(), 0)); got != want {
			t.Errorf("got  %.200s\nwant %.200s", got, want)
		}
	}
}
