package decode_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

func arrowFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", "arrow", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// everyArrow are the rows of every-*.arrows, which testdata/arrow/make.py wrote with pyarrow.
var everyArrow = []string{
	`{"b":true,"i8":1,"i16":1,"i32":1,"i64":1,"u8":1,"u16":1,"u32":1,"u64":1,"f32":1.5,"f64":1.5,"s":"a","ls":"a","sv":"short","bin":"YQ==","fb":"YWI=","dec":1.50,"wide":1.5,"d256":1.5,"date":"2026-01-02","d64":"2026-01-02","ts":"2026-01-02T03:04:05.000006Z","tns":"1970-01-01T00:00:00.000001Z","tsec":"1970-01-01T00:00:15Z","time":3723000000,"dur":1,"l":[1,null],"ll":["x"],"fl":[1,2],"st":{"x":1,"y":"p"},"m":{"k":1},"dict":"one","ls2":[{"q":[1]}]}`,
	`{"i8":-2,"i16":-2,"i32":-2,"u8":255,"u16":65535,"u32":4294967295,"u64":18446744073709551615,"f32":-0.25,"dec":-99.99,"wide":-12345678901234567890123.5,"d256":-2.5}`,
	`{"b":false,"i32":3,"i64":4611686018427387904,"f64":1e+300,"s":"é日本","ls":"é","sv":"a string longer than twelve","bin":"/w==","fb":"/wA=","date":"1960-01-01","d64":"1960-01-01","ts":"1960-01-01T00:00:00Z","tns":"1969-12-31T23:59:59.999999Z","tsec":"1969-12-31T23:59:59Z","time":0,"dur":3,"l":[],"ll":["y","z"],"fl":[3,4],"st":{"y":"q"},"m":{"a":null,"b":2},"dict":"two","ls2":[{},null,{"q":[2,3]}]}`,
}

func arrowRows(t *testing.T, d *decode.Decoder, payloads ...[]byte) []string {
	t.Helper()
	for _, p := range payloads {
		if _, rejects := d.Append(event.Arrow, p, decode.System{}, nil); len(rejects) > 0 {
			t.Fatal(rejects)
		}
	}
	b := d.Take()
	checkBatch(t, b)
	var rows []string
	for i := range b.Rows {
		rows = append(rows, string(jsonRow(b, i)))
	}
	d.Recycle(b)
	return rows
}

// TestArrow reads what pyarrow wrote: every type, compressed or not, several batches, twice in a row.
func TestArrow(t *testing.T) {
	want := append(append([]string{}, everyArrow...), everyArrow[1:]...)
	for _, name := range []string{"plain", "lz4", "zstd"} {
		d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{}))
		for range 2 {
			if diff := cmp.Diff(want, arrowRows(t, d, arrowFile(t, "every-"+name+".arrows"))); diff != "" {
				t.Fatalf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
	d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{}))
	deltas := []string{`{"c":"a","n":1}`, `{"c":"b","n":2}`, `{"c":"a","n":3}`, `{"c":"c","n":4}`, `{"c":"b","n":5}`, `{"n":6}`}
	if diff := cmp.Diff(append(deltas, deltas...), arrowRows(t, d, arrowFile(t, "delta.arrows"), arrowFile(t, "delta.arrows"))); diff != "" {
		t.Errorf("dictionary deltas (-want +got):\n%s", diff)
	}
}

// TestArrowLikeJSON reads the rows of the Arrow stream once more as JSON, into the columns that the stream made: a table with
// the same rows. Then the stream goes into a table that has none of its types.
func TestArrowLikeJSON(t *testing.T) {
	s := decode.NewSchema(nil, decode.Options{})
	d := decode.NewDecoder(s)
	arrow := arrowRows(t, d, arrowFile(t, "every-plain.arrows"))
	for _, row := range arrow {
		if _, rejects := d.Append(event.JSON, []byte(row), decode.System{}, nil); len(rejects) > 0 {
			t.Fatal(rejects)
		}
	}
	b := d.Take()
	for i, row := range arrow {
		if got := string(jsonRow(b, i)); got != row {
			t.Errorf("as JSON:  %s\nas Arrow: %s", got, row)
		}
	}
	one := decode.NewDecoder(decode.NewSchema(nil, decode.Options{OnUnknown: decode.RescueUnknown}))
	for i, row := range arrowRows(t, one, arrowFile(t, "every-plain.arrows")) {
		var got struct {
			Rescued string `json:"_rescued"`
		}
		var kept, want map[string]any
		if err := json.Unmarshal([]byte(row), &got); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(got.Rescued), &kept); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(arrow[i]), &want); err != nil {
			t.Fatal(err)
		}
		for k, v := range want {
			if list, ok := v.([]any); ok && len(list) == 0 {
				delete(want, k) // says nothing
			}
		}
		if diff := cmp.Diff(want, kept); diff != "" {
			t.Errorf("row %d, kept as JSON (-want +got):\n%s", i, diff)
		}
	}
}

// TestArrowTextElsewhere has text that is none in columns which the table has not, or has with another type: rows are refused,
// few of them by name, many as a rest.
func TestArrowTextElsewhere(t *testing.T) {
	long := &schema.Type{Kind: schema.Long}
	both := &schema.Type{Kind: schema.Struct, Fields: []schema.Field{{Name: "n", Type: long, Nullable: true}, {Name: "s", Type: long, Nullable: true}}}
	for name, o := range map[string]decode.Options{"no column": {MaxColumns: 1}, "rescue": {OnUnknown: decode.RescueUnknown}, "another type": {}} {
		for _, bad := range []int{2, 3000} {
			texts := []string{"fine", "7"}
			for range bad {
				texts = append(texts, "\xff\xfe")
			}
			table := &schema.Type{Kind: schema.Struct, Fields: both.Fields[:1]}
			if name == "another type" {
				table = both
			}
			d := decode.NewDecoder(decode.NewSchema(table, o))
			n, rejects := d.Append(event.Arrow, arrowTexts(t, append(texts, "last")), decode.System{}, nil)
			wanted, named := 3, bad
			if bad > 1000 {
				wanted, named = 2, 1001
			}
			if n != wanted || len(rejects) != named || !strings.Contains(rejects[0].Reason, "column s holds text that is not valid UTF-8") {
				t.Fatalf("%s, %d bad: %d rows, %d refused, %v", name, bad, n, len(rejects), rejects[:1])
			}
			b := d.Take()
			checkBatch(t, b)
			if got := string(jsonRow(b, 0)); got != `{"n":0,"_rescued":"{\"s\":\"fine\"}"}` {
				t.Errorf("%s: %s", name, got)
			}
		}
	}
}

// TestArrowTextInHalves: two values that are text only together are none.
func TestArrowTextInHalves(t *testing.T) {
	for _, o := range []decode.Options{{}, {OnUnknown: decode.RescueUnknown}} {
		d := decode.NewDecoder(decode.NewSchema(nil, o))
		n, rejects := d.Append(event.Arrow, arrowTexts(t, []string{"a", "x\xc3", "", "\xa9y", "b"}), decode.System{}, nil)
		if n != 3 || len(rejects) != 2 || rejects[0].Row != 1 || rejects[1].Row != 3 {
			t.Errorf("%d rows, %v", n, rejects)
		}
		checkBatch(t, d.Take())
	}
}

// TestArrowDates: a date that no reader of tables takes refuses its row, as one in milliseconds does.
func TestArrowDates(t *testing.T) {
	s := arrow.NewSchema([]arrow.Field{{Name: "d", Type: arrow.FixedWidthTypes.Date32, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	defer b.Release()
	for _, days := range []arrow.Date32{0, -719_162, -719_163, 2_932_896, 2_932_897, 1<<31 - 1} {
		b.Field(0).(*array.Date32Builder).Append(days)
	}
	rows := b.NewRecordBatch()
	defer rows.Release()
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(s))
	if err := errors.Join(w.Write(rows), w.Close()); err != nil {
		t.Fatal(err)
	}
	d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{}))
	n, rejects := d.Append(event.Arrow, out.Bytes(), decode.System{}, nil)
	if n != 3 || len(rejects) != 3 || rejects[0].Row != 2 || rejects[1].Row != 4 || !strings.Contains(rejects[2].Reason, "a date beyond the years 1 to 9999") {
		t.Errorf("%d rows, %v", n, rejects)
	}
}

// TestArrowDecimalTooWide: the refusal says what is wrong with the type.
func TestArrowDecimalTooWide(t *testing.T) {
	s := arrow.NewSchema([]arrow.Field{{Name: "d", Type: &arrow.Decimal256Type{Precision: 76, Scale: 2}}}, nil)
	var out bytes.Buffer
	if err := ipc.NewWriter(&out, ipc.WithSchema(s)).Close(); err != nil {
		t.Fatal(err)
	}
	_, rejects := decode.NewDecoder(decode.NewSchema(nil, decode.Options{})).Append(event.Arrow, out.Bytes(), decode.System{}, nil)
	if len(rejects) != 1 || !strings.Contains(rejects[0].Reason, "column d is of the Arrow type decimal of more than 38 digits or with a negative scale, which is not taken: cast it") {
		t.Error(rejects)
	}
}

// noText stands for a null.
const noText = "\x00"

// arrowTexts is a stream of the columns n, which counts, and s.
func arrowTexts(t *testing.T, texts []string) []byte {
	t.Helper()
	s := arrow.NewSchema([]arrow.Field{{Name: "n", Type: arrow.PrimitiveTypes.Int64}, {Name: "s", Type: arrow.BinaryTypes.String, Nullable: true}}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, s)
	defer b.Release()
	for i, text := range texts {
		b.Field(0).(*array.Int64Builder).Append(int64(i))
		if f := b.Field(1).(*array.StringBuilder); text == noText {
			f.AppendNull()
		} else {
			f.Append(text)
		}
	}
	rows := b.NewRecordBatch()
	defer rows.Release()
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(s))
	if err := errors.Join(w.Write(rows), w.Close()); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}
