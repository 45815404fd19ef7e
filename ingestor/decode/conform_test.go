package decode_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// batchOf decodes records into a table with schema s, nil for none.
func batchOf(t *testing.T, s *schema.Type, records ...string) *column.Batch {
	t.Helper()
	d := decode.NewDecoder(decode.NewSchema(s, decode.Options{}))
	accept(t, d, records...)
	return d.Take()
}

// TestConform moves values into the column v of another table, for pairs of types.
func TestConform(t *testing.T) {
	for _, c := range []struct {
		from, to *schema.Type
		json     string
		want     any    // the value of v afterwards
		rescued  string // the value as it comes out in _rescued
	}{
		{prim(schema.Long), prim(schema.Double), `9007199254740992`, 9007199254740992.0, ""},
		{prim(schema.Long), prim(schema.Double), `9007199254740993`, nil, `9007199254740993`},
		{prim(schema.Long), prim(schema.Integer), `-2147483648`, int32(-2147483648), ""},
		{prim(schema.Long), prim(schema.Byte), `128`, nil, `128`},
		{prim(schema.Long), decimal(21, 2), `-9223372036854775808`, "-9223372036854775808.00", ""},
		{prim(schema.Long), decimal(4, 2), `99`, "99.00", ""},
		{prim(schema.Long), decimal(4, 2), `100`, nil, `100`},
		{prim(schema.Long), prim(schema.Float), `16777217`, nil, `16777217`},
		{prim(schema.Long), prim(schema.String), `7`, nil, `7`},
		{prim(schema.Long), structOf(nullable("x", prim(schema.Long))), `7`, nil, `7`},
		{prim(schema.Double), prim(schema.Long), `3.0`, int64(3), ""},
		{prim(schema.Double), prim(schema.Long), `3.5`, nil, `3.5`},
		{prim(schema.Double), prim(schema.Long), `1e300`, nil, `1e+300`},
		{prim(schema.Double), prim(schema.Float), `0.5`, float32(0.5), ""},
		{prim(schema.Double), prim(schema.Float), `0.1`, nil, `0.1`},
		{prim(schema.Double), prim(schema.String), `2.0`, nil, `2.0`},
		{prim(schema.Double), decimal(10, 3), `0.125`, "0.125", ""},
		{prim(schema.Double), decimal(10, 2), `0.125`, nil, `0.125`},
		{prim(schema.Short), prim(schema.Long), `-5`, int64(-5), ""},
		{prim(schema.Float), prim(schema.Double), `0.25`, 0.25, ""},
		{decimal(38, 2), decimal(10, 0), `"12345678901.00"`, nil, `12345678901.00`},
		{decimal(38, 2), decimal(10, 0), `"-1234567890.00"`, "-1234567890", ""},
		{decimal(38, 2), decimal(38, 0), `"-1.00"`, "-1", ""},
		{decimal(10, 2), prim(schema.Double), `"0.5"`, 0.5, ""},
		{decimal(10, 2), prim(schema.String), `"0.5"`, nil, `0.50`},
		{prim(schema.Boolean), prim(schema.Long), `true`, nil, `true`},
		{prim(schema.String), prim(schema.Long), `"a\"\u0001é"`, nil, `"a\"\u0001é"`},
		{prim(schema.Timestamp), prim(schema.String), `"2026-11-23T20:15:00.5+01:00"`, nil, `"2026-11-23T19:15:00.5Z"`},
		{prim(schema.Timestamp), prim(schema.TimestampNTZ), `"1969-12-31T23:59:59Z"`, nil, `"1969-12-31T23:59:59Z"`},
		{prim(schema.TimestampNTZ), prim(schema.Timestamp), `"1969-12-31T23:59:59.000001"`, nil, `"1969-12-31T23:59:59.000001"`},
		{prim(schema.Date), prim(schema.Timestamp), `"0001-01-01"`, nil, `"0001-01-01"`},
		{prim(schema.Binary), prim(schema.String), `"AAEC"`, nil, `"AAEC"`},
		{arrayOf(prim(schema.Long), true), arrayOf(prim(schema.Integer), true), `[1,null,2]`, []any{int32(1), nil, int32(2)}, ""},
		{arrayOf(prim(schema.Long), true), arrayOf(prim(schema.Integer), false), `[1,null]`, nil, `[1,null]`},
		{arrayOf(prim(schema.Long), true), arrayOf(prim(schema.Integer), false), `[1,4294967296]`, nil, `[1,4294967296]`},
		{arrayOf(prim(schema.Long), true), arrayOf(prim(schema.Long), false), `[1]`, []any{int64(1)}, ""},
		{arrayOf(prim(schema.Long), true), prim(schema.Long), `[1,2]`, nil, `[1,2]`},
		{
			mapOf(prim(schema.Long), prim(schema.Long), true), mapOf(prim(schema.Integer), prim(schema.Double), true), `{"5":1,"6":null}`,
			[]column.Entry{{Key: int32(5), Value: 1.0}, {Key: int32(6)}},
			"",
		},
		{mapOf(prim(schema.Long), prim(schema.Long), true), mapOf(prim(schema.Byte), prim(schema.Long), true), `{"500":1,"2":null}`, nil, `{"500":1,"2":null}`},
		{mapOf(prim(schema.Date), prim(schema.Long), true), prim(schema.String), `{"1970-01-02":1}`, nil, `{"1970-01-02":1}`},
		{structOf(nullable("x y", prim(schema.Long))), prim(schema.Boolean), `{"x y":1}`, nil, `{"x y":1}`},
	} {
		t.Run(c.from.String()+" to "+c.to.String()+" "+c.json, func(t *testing.T) {
			b := batchOf(t, structOf(nullable("k", prim(schema.Long)), nullable("v", c.from)), `{"k":1}`, `{"v":`+c.json+`}`, `{"k":3}`)
			out, moved := decode.Conform(b, structOf(nullable("v", c.to), nullable("k", prim(schema.Long))))
			checkBatch(t, out)
			want := row{}
			if c.want != nil {
				want["v"] = c.want
			}
			if c.rescued != "" {
				want["_rescued"] = `{"v":` + c.rescued + `}`
			}
			if moved > 0 != (c.rescued != "") {
				t.Errorf("moved %d", moved)
			}
			if diff := cmp.Diff([]row{{"k": int64(1)}, want, {"k": int64(3)}}, rowsOf(out)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
		})
	}
}

// TestConformNested keeps what fits of nested values and names the rest by path, behind what was rescued before.
func TestConformNested(t *testing.T) {
	b := batchOf(t, nil,
		`{"o":{"x":1,"y":"a"},"l":[{"p":1.5},{"p":2.5,"q":true}],"gone":"g"}`,
		`{"o":{"x":"misfit"},"l":[null,{"p":3.0}]}`,
		`{}`,
		`{"o":{"y":"b"}}`,
	)
	out, moved := decode.Conform(b, structOf(
		nullable("GONE", prim(schema.String)),
		nullable("_rescued", prim(schema.String)),
		nullable("l", arrayOf(structOf(nullable("q", prim(schema.Boolean)), nullable("p", prim(schema.Long))), true)),
		nullable("o", structOf(nullable("z", prim(schema.Date)), nullable("x", prim(schema.Integer)))),
	))
	checkBatch(t, out)
	want := []row{
		{
			"o": row{"x": int32(1)}, "l": []any{row{}, row{"q": true}},
			"_rescued": `{"l[0].p":1.5,"l[1].p":2.5,"o.y":"a","gone":"g"}`,
		},
		{"o": row{}, "l": []any{nil, row{"p": int64(3)}}, "_rescued": `{"o.x":"misfit"}`},
		{},
		{"o": row{}, "_rescued": `{"o.y":"b"}`},
	}
	if diff := cmp.Diff(want, rowsOf(out)); diff != "" {
		t.Errorf("rows (-want +got):\n%s", diff)
	}
	if moved != 5 {
		t.Errorf("moved %d", moved)
	}
	if b.Columns != nil {
		t.Error("the batch that was conformed still has columns")
	}
}

// TestConformAppendsToRescued keeps what a row had rescued already.
func TestConformAppendsToRescued(t *testing.T) {
	b := batchOf(t, nil, `{"a":1}`, `{"a":"x","b":2}`, `{"a":"y"}`)
	out, moved := decode.Conform(b, structOf(nullable("b", prim(schema.Boolean)), nullable("_rescued", prim(schema.String))))
	checkBatch(t, out)
	want := []row{{"_rescued": `{"a":1}`}, {"_rescued": `{"a":"x","b":2}`}, {"_rescued": `{"a":"y"}`}}
	if diff := cmp.Diff(want, rowsOf(out)); diff != "" || moved != 2 {
		t.Errorf("moved %d, rows (-want +got):\n%s", moved, diff)
	}
}

// TestConformLosesNothing decodes records under one schema, conforms them to the one that other records made, and finds
// every value in its column or in _rescued.
func TestConformLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		decodeAll := func(label string) (*decode.Schema, *column.Batch) {
			s := decode.NewSchema(nil, modelOptions)
			d := decode.NewDecoder(s)
			for _, r := range rapid.SliceOfN(objects(2), 1, 5).Draw(t, label) {
				d.Append(event.JSON, []byte(r), decode.System{}, nil)
			}
			return s, d.Take()
		}
		_, b := decodeAll("records")
		other, _ := decodeAll("others")
		scalars := 0
		for _, r := range rowsOf(b) {
			scalars += countScalars(r)
		}
		rescuedBefore := countRescued(b)
		out, moved := decode.Conform(b, other.Current())
		checkBatch(t, out)
		after := 0
		for _, r := range rowsOf(out) {
			after += countScalars(r)
		}
		if moved == 0 && after != scalars {
			t.Fatalf("%d scalars became %d, and none moved", scalars, after)
		}
		if got := countRescued(out); got != rescuedBefore+moved {
			t.Fatalf("%d values were rescued, %d moved, %d are rescued", rescuedBefore, moved, got)
		}
	})
}

func countScalars(v any) int {
	n := 0
	switch v := v.(type) {
	case nil:
	case row:
		for k, e := range v {
			if k != "_rescued" {
				n += countScalars(e)
			}
		}
	case []any:
		for _, e := range v {
			n += countScalars(e)
		}
	default:
		n = 1
	}
	return n
}

func countRescued(b *column.Batch) int {
	n := 0
	for _, r := range rowsOf(b) {
		if s, ok := r["_rescued"].(string); ok {
			n += len(members([]byte(s)))
		}
	}
	return n
}
