package delta

import (
	"encoding/json"
	"errors"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
)

// mappedField is a field of a table, with its id and physical name.
func mappedField(name, inFiles string, id int, t *schema.Type) schema.Field {
	return schema.Field{Name: name, Type: t, Nullable: true, Metadata: map[string]any{
		physicalName: inFiles, mappingID: json.Number(strconv.Itoa(id)),
	}}
}

// fileField is a field of a file.
func fileField(name string, id int64, t *schema.Type) schema.Field {
	return schema.Field{Name: name, Type: t, Nullable: true, Metadata: map[string]any{parquet.FieldID: id}}
}

func structType(fields ...schema.Field) *schema.Type {
	return &schema.Type{Kind: schema.Struct, Fields: fields}
}

func TestColumnMappingNames(t *testing.T) {
	long, text := &schema.Type{Kind: schema.Long}, &schema.Type{Kind: schema.String}
	list := func(t *schema.Type) *schema.Type { return &schema.Type{Kind: schema.Array, Elem: t} }
	dict := func(k, v *schema.Type) *schema.Type { return &schema.Type{Kind: schema.Map, Key: k, Elem: v} }
	table := structType(
		mappedField("a", "pa", 1, long),
		mappedField("s", "ps", 2, structType(mappedField("x", "px", 3, long))),
		mappedField("l", "pl", 4, list(structType(mappedField("y", "py", 5, text)))),
		mappedField("m", "pm", 6, dict(text, structType(mappedField("z", "pz", 7, long)))),
		mappedField("young", "pyoung", 8, long),
	)
	// A file whose columns were renamed since, and which has another column under the name that "a" has now.
	file := structType(
		fileField("a", 99, text), fileField("old a", 1, long),
		fileField("old s", 2, structType(fileField("old x", 3, long))),
		fileField("old l", 4, list(structType(fileField("old y", 5, text)))),
		fileField("old m", 6, dict(text, structType(fileField("old z", 7, long)))),
	)
	want := structType(
		schema.Field{Name: "unknown", Type: long},
		schema.Field{Name: "young", Type: long},
		schema.Field{Name: "m", Type: dict(text, structType(schema.Field{Name: "z", Type: long}))},
		schema.Field{Name: "l", Type: list(structType(schema.Field{Name: "y", Type: text}))},
		schema.Field{Name: "s", Type: structType(schema.Field{Name: "x", Type: long})},
		schema.Field{Name: "a", Type: long},
	)
	const byName = "struct<\x00unknown:long,pyoung:long,pm:map<string,struct<pz:long>>,pl:array<struct<py:string>>,ps:struct<px:long>,pa:long>"
	if d := cmp.Diff(byName, toPhysical(want, table).String()); d != "" {
		t.Errorf("by name (-want +got):\n%s", d)
	}
	got, err := toFile(want, table, file)
	if err != nil {
		t.Fatal(err)
	}
	const byID = "struct<\x00unknown:long,\x00young:long,old m:map<string,struct<old z:long>>,old l:array<struct<old y:string>>,old s:struct<old x:long>,old a:long>"
	if d := cmp.Diff(byID, got.String()); d != "" {
		t.Errorf("by id (-want +got):\n%s", d)
	}
	if _, err := toFile(want, table, structType(schema.Field{Name: "a", Type: long})); !errors.Is(err, errNoFieldIDs) {
		t.Errorf("a file without ids: %v", err)
	}
}
