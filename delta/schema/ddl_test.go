package schema_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/weir-dev/weir/delta/schema"
)

func TestDDL(t *testing.T) {
	for _, text := range []string{
		"long", "timestamp_ntz", "decimal(38,0)", "decimal(12,2)", "array<array<date>>", "map<string, binary>",
		"struct<a: long not null, `b-c`: array<struct<x: double, y: boolean>> comment 'of the, cart', größe: map<long, struct<z: string>>>",
	} {
		d, err := schema.ParseDDL(text)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		if got := d.Type.DDL(); got != text {
			t.Errorf("%s became %s", text, got)
		}
	}
	d, err := schema.ParseDDL("STRUCT<a:BigInt,at : timestamp UNIT ms NOT NULL COMMENT \"when\",raw:array<json>>")
	if err != nil {
		t.Fatal(err)
	}
	if got := d.Type.DDL(); got != "struct<a: long, at: timestamp not null comment 'when', raw: array<string>>" {
		t.Error(got)
	}
	if d.Fields[1].Unit != "ms" || !d.Fields[2].Elem.JSON || d.Fields[0].Unit != "" {
		t.Errorf("%+v", d.Fields)
	}
}

func TestDDLErrors(t *testing.T) {
	for _, c := range []struct {
		text   string
		offset int
		says   string
	}{
		{"", 0, "a type is missing"},
		{"varchar(3)", 0, `"varchar" is no type`},
		{"long not null", 5, "after the type"},
		{"decimal(39,1)", 0, "decimal(12,2)"},
		{"array<lnog>", 6, `"lnog" is no type`},
		{"array<long", 10, "ends where '>'"},
		{"map<struct<a:long>,long>", 4, "simple type"},
		{"struct<a long>", 9, "':'"},
		{"struct<a:long,A:long>", 14, "twice"},
		{"struct<a:timestamp unit h>", 24, "is no unit"},
		{"struct<a b: long>", 9, "':'"},
		{"struct<a: long comment x>", 23, "in quotes"},
		{"struct<>", 7, "name of a field"},
		{strings.Repeat("array<", 200), 606, "nested deeper"},
	} {
		_, err := schema.ParseDDL(c.text)
		e, ok := errors.AsType[*schema.DDLError](err)
		if !ok || e.Offset != c.offset || !strings.Contains(e.Message, c.says) {
			t.Errorf("%q: %+v, want offset %d and %q", c.text, err, c.offset, c.says)
		}
	}
}

func FuzzDDL(f *testing.F) {
	f.Add("struct<a: long not null, `b-c`: array<map<string, decimal(3,2)>> comment 'x', t: timestamp unit ms>")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := schema.ParseDDL(text)
		if err != nil {
			return
		}
		again, err := schema.ParseDDL(d.Type.DDL())
		if err == nil && !again.Type.Equal(d.Type) {
			t.Errorf("%q became %q", text, d.Type.DDL())
		}
	})
}
