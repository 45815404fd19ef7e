package schema_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta/schema"
)

func prim(k schema.Kind) *schema.Type { return &schema.Type{Kind: k} }

func structOf(fields ...schema.Field) *schema.Type {
	return &schema.Type{Kind: schema.Struct, Fields: fields}
}

func field(name string, t *schema.Type) schema.Field {
	return schema.Field{Name: name, Type: t, Nullable: true}
}

const sparkSchema = `{"type":"struct","fields":[` +
	`{"name":"id","type":"long","nullable":false,"metadata":{"comment":"a<b","delta.columnMapping.id":1}},` +
	`{"name":"price","type":"decimal(10,2)","nullable":true,"metadata":{}},` +
	`{"name":"tags","type":{"type":"array","elementType":"string","containsNull":true},"nullable":true,"metadata":{}},` +
	`{"name":"attr","type":{"type":"map","keyType":"string","valueType":{"type":"struct","fields":[` +
	`{"name":"at","type":"timestamp","nullable":true,"metadata":{}}]},"valueContainsNull":false},"nullable":true,"metadata":{}}]}`

func TestJSONRoundTrip(t *testing.T) {
	got, err := schema.Parse(sparkSchema)
	if err != nil {
		t.Fatal(err)
	}
	want := structOf(
		schema.Field{Name: "id", Type: prim(schema.Long), Metadata: map[string]any{
			"comment": "a<b", "delta.columnMapping.id": json.Number("1"),
		}},
		field("price", &schema.Type{Kind: schema.Decimal, Precision: 10, Scale: 2}),
		field("tags", &schema.Type{Kind: schema.Array, Elem: prim(schema.String), ContainsNull: true}),
		field("attr", &schema.Type{
			Kind: schema.Map, Key: prim(schema.String),
			Elem: structOf(field("at", prim(schema.Timestamp))),
		}),
	)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("parsed schema (-want +got):\n%s", d)
	}
	if d := cmp.Diff(sparkSchema, got.JSON()); d != "" {
		t.Errorf("written schema (-want +got):\n%s", d)
	}
	if s := got.String(); s != "struct<id:long,price:decimal(10,2),tags:array<string>,attr:map<string,struct<at:timestamp>>>" {
		t.Errorf("simple string %s", s)
	}
}

func TestParseRefuses(t *testing.T) {
	wrap := func(typ string) string {
		return `{"type":"struct","fields":[{"name":"a","type":` + typ + `,"nullable":true,"metadata":{}}]}`
	}
	for name, c := range map[string]struct{ in, want string }{
		"not json":         {`{`, "unexpected EOF"},
		"two values":       {wrap(`"long"`) + "{}", "after the schema"},
		"no struct":        {`"long"`, "the root is long"},
		"unknown":          {wrap(`"variant"`), `field a: unknown type "variant"`},
		"unknown nested":   {wrap(`{"type":"array","elementType":"x","containsNull":true}`), `field a.element: unknown type "x"`},
		"decimal":          {wrap(`"decimal(39,1)"`), "decimal(39,1)"},
		"scale":            {wrap(`"decimal(5,6)"`), "decimal(5,6)"},
		"type is a number": {wrap(`1`), "must be a string or an object"},
		"no fields":        {`{"type":"struct"}`, `without "fields"`},
		"metadata":         {`{"type":"struct","fields":[{"name":"a","type":"long","nullable":true,"metadata":[]}]}`, "metadata is not an object"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := schema.Parse(c.in)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}

func TestParseRefusesDeepNesting(t *testing.T) {
	nest := func(n int) string {
		return `{"type":"struct","fields":[{"name":"a","type":` +
			strings.Repeat(`{"type":"array","containsNull":true,"elementType":`, n) + `"long"` + strings.Repeat("}", n) +
			`,"nullable":true,"metadata":{}}]}`
	}
	if _, err := schema.Parse(nest(schema.MaxDepth - 1)); err != nil {
		t.Errorf("at the limit: %v", err)
	}
	if _, err := schema.Parse(nest(schema.MaxDepth)); !errors.Is(err, schema.ErrTooDeep) {
		t.Errorf("over the limit: %v", err)
	}
}

func TestValidate(t *testing.T) {
	for name, c := range map[string]struct {
		t    *schema.Type
		want string // part of the error; empty: none
	}{
		"plain":       {structOf(field("a", prim(schema.Long)), field("ß€", prim(schema.Long)), field("a.b", prim(schema.Long))), ""},
		"space":       {structOf(field("a b", prim(schema.Long))), `contains ' '`},
		"empty":       {structOf(field("", prim(schema.Long))), "is empty"},
		"not utf-8":   {structOf(field("\xff", prim(schema.Long))), "not valid UTF-8"},
		"long":        {structOf(field(strings.Repeat("x", 1025), prim(schema.Long))), "longer than"},
		"case":        {structOf(field("Name", prim(schema.Long)), field("nAME", prim(schema.Long))), `clashes with "Name"`},
		"nested case": {structOf(field("s", structOf(field("x", prim(schema.Long)), field("X", prim(schema.Long))))), `"s.X" clashes`},
		"in a map": {structOf(field("m", &schema.Type{
			Kind: schema.Map, Key: prim(schema.String), Elem: structOf(field("a;", prim(schema.Long))),
		})), "contains ';'"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.t.Validate()
			if c.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			if _, ok := errors.AsType[*schema.NameError](err); !ok || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a NameError with %q", err, c.want)
			}
		})
	}
}

func TestMerge(t *testing.T) {
	a := structOf(
		schema.Field{Name: "id", Type: prim(schema.Long)},
		field("s", structOf(field("x", prim(schema.String)))),
		field("l", &schema.Type{Kind: schema.Array, Elem: structOf(field("p", prim(schema.Long)))}),
	)
	b := structOf(
		field("new", prim(schema.Double)),
		field("l", &schema.Type{Kind: schema.Array, Elem: structOf(field("q", prim(schema.Long))), ContainsNull: true}),
		field("s", structOf(schema.Field{Name: "y", Type: prim(schema.Long)})),
		field("id", prim(schema.Long)),
	)
	got, err := schema.Merge(a, b)
	if err != nil {
		t.Fatal(err)
	}
	want := structOf(
		schema.Field{Name: "id", Type: prim(schema.Long)}, // stays NOT NULL
		field("s", structOf(field("x", prim(schema.String)), field("y", prim(schema.Long)))),
		field("l", &schema.Type{Kind: schema.Array, Elem: structOf(field("p", prim(schema.Long)), field("q", prim(schema.Long)))}),
		field("new", prim(schema.Double)),
	)
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("merged (-want +got):\n%s", d)
	}
	if again, err := schema.Merge(got, b); err != nil || again != got {
		t.Errorf("merging what is there already changed the schema (%v)", err)
	}
}

func TestMergeConflicts(t *testing.T) {
	a := structOf(field("s", structOf(field("x", prim(schema.Long)))), field("d", &schema.Type{Kind: schema.Decimal, Precision: 5}))
	for name, c := range map[string]struct {
		b    *schema.Type
		want string
	}{
		"type":    {structOf(field("s", structOf(field("x", prim(schema.String))))), "column s.x is long and cannot become string"},
		"case":    {structOf(field("S", structOf())), "column S clashes with s"},
		"decimal": {structOf(field("d", &schema.Type{Kind: schema.Decimal, Precision: 6})), "column d is decimal(5,0) and cannot become decimal(6,0)"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := schema.Merge(a, c.b)
			merr, ok := errors.AsType[*schema.MergeError](err)
			if !ok || !strings.Contains(merr.Error(), c.want) {
				t.Errorf("got %v, want a MergeError with %q", err, c.want)
			}
		})
	}
}

// genType draws any type whose names are valid.
func genType(t *rapid.T, depth int) *schema.Type {
	kinds := []schema.Kind{
		schema.Boolean, schema.Byte, schema.Short, schema.Integer, schema.Long, schema.Float, schema.Double, schema.Decimal,
		schema.String, schema.Binary, schema.Date, schema.Timestamp, schema.TimestampNTZ, schema.Struct, schema.Array, schema.Map,
	}
	if depth == 0 {
		kinds = kinds[:13]
	}
	typ := &schema.Type{Kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
	switch typ.Kind {
	case schema.Decimal:
		typ.Precision = rapid.IntRange(1, 38).Draw(t, "precision")
		typ.Scale = rapid.IntRange(0, typ.Precision).Draw(t, "scale")
	case schema.Struct:
		return genStruct(t, depth-1)
	case schema.Array:
		typ.Elem, typ.ContainsNull = genType(t, depth-1), rapid.Bool().Draw(t, "null")
	case schema.Map:
		typ.Key, typ.Elem = genType(t, 0), genType(t, depth-1)
		typ.ContainsNull = rapid.Bool().Draw(t, "null")
	default:
	}
	return typ
}

func genStruct(t *rapid.T, depth int) *schema.Type {
	names := rapid.SliceOfNDistinct(rapid.StringMatching(`[a-z_"\\<é.]{1,6}`), 0, 4, rapid.ID).Draw(t, "names")
	typ := &schema.Type{Kind: schema.Struct, Fields: []schema.Field{}}
	for _, n := range names {
		typ.Fields = append(typ.Fields, schema.Field{Name: n, Type: genType(t, depth), Nullable: rapid.Bool().Draw(t, "nullable")})
	}
	return typ
}

func TestAnySchemaRoundTripsAndMergesWithItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := genStruct(t, 3)
		got, err := schema.Parse(want.JSON())
		if err != nil {
			t.Fatal(err)
		}
		if !got.Equal(want) {
			t.Fatalf("parsed\n%s\nwant\n%s", got.JSON(), want.JSON())
		}
		if merged, err := schema.Merge(want, got); err != nil || merged != want {
			t.Fatalf("merge with itself: %v, %v", merged, err)
		}
	})
}

func TestMergeIsAnUpperBound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := genStruct(t, 2), genStruct(t, 2)
		m, err := schema.Merge(a, b)
		if err != nil {
			t.Skip("no union")
		}
		for _, part := range []*schema.Type{a, b} {
			if again, err := schema.Merge(m, part); err != nil || again != m {
				t.Fatalf("the union lacks part of %s: %v", part, err)
			}
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add(sparkSchema)
	f.Add(`{"type":"struct","fields":[]}`)
	f.Add(`{"type":"struct","fields":[{"name":"a","type":{"type":"map"}}]}`)
	f.Fuzz(func(t *testing.T, s string) {
		typ, err := schema.Parse(s)
		if err != nil {
			return
		}
		again, err := schema.Parse(typ.JSON())
		if err != nil || !again.Equal(typ) {
			t.Fatalf("%q does not survive a round trip: %v", s, err)
		}
	})
}
