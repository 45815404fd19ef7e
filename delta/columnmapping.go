package delta

import (
	"encoding/json"
	"errors"
	"slices"
	"strconv"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
)

// Column mapping lets a table rename and drop columns without rewriting files: columns have a physical name, which stays.
// In mode "name" files, partition values and statistics go by it. In mode "id" the columns of a file are found by the ids
// that the file gives them, and the rest goes by physical names.

const (
	mappingMode  = "delta.columnMapping.mode"
	physicalName = "delta.columnMapping.physicalName"
	mappingID    = "delta.columnMapping.id"
)

// errNoFieldIDs refuses a file without ids in a table whose columns go by them, as the protocol asks.
var errNoFieldIDs = errors.New("the table's columns go by id and the file has no ids")

// mapped says whether the columns of the table have physical names.
func (s *state) mapped() bool {
	mode := s.metadata.Configuration[mappingMode]
	return s.protocol.MinReaderVersion >= 2 && mode != "" && mode != "none"
}

// physical is the name of a field in files.
func physical(f *schema.Field) string {
	if name, ok := f.Metadata[physicalName].(string); ok {
		return name
	}
	return f.Name
}

// toPhysical renames the fields of want, which are those of the table's type t by name, to their physical names. A field
// that the table does not have gets a name that no file has.
func toPhysical(want, t *schema.Type) *schema.Type {
	return renamed(want, t, nil, func(f *schema.Field, _ *schema.Type) string { return physical(f) })
}

// toFile renames the fields of want to the names that a file of the type file has for their ids.
//
// Error: errNoFieldIDs.
func toFile(want, t, file *schema.Type) (*schema.Type, error) {
	if !slices.ContainsFunc(file.Fields, func(f schema.Field) bool { return f.Metadata[parquet.FieldID] != nil }) {
		return nil, errNoFieldIDs
	}
	return renamed(want, t, file, byID), nil
}

func byID(f *schema.Field, file *schema.Type) string {
	id, ok := f.Metadata[mappingID].(json.Number)
	if ok && file != nil {
		for _, c := range file.Fields {
			if have, ok := c.Metadata[parquet.FieldID].(int64); ok && strconv.FormatInt(have, 10) == id.String() {
				return c.Name
			}
		}
	}
	return noColumn(f.Name)
}

// noColumn is a name that no column of a file has.
func noColumn(name string) string { return "\x00" + name }

// renamed renames the fields of want, which are those of t by name, to what name says of a field of t. Beside t goes file,
// the type of the same node in a file, as far as there is one.
func renamed(want, t, file *schema.Type, name func(f *schema.Field, file *schema.Type) string) *schema.Type {
	if t == nil || want.Kind != t.Kind {
		return want
	}
	if file != nil && file.Kind != t.Kind {
		file = nil
	}
	out := *want
	switch want.Kind {
	case schema.Struct:
		out.Fields = make([]schema.Field, len(want.Fields))
		for i, f := range want.Fields {
			out.Fields[i] = schema.Field{Name: noColumn(f.Name), Type: f.Type, Nullable: f.Nullable}
			if own, ok := t.Field(f.Name); ok {
				inFile := name(&own, file)
				out.Fields[i].Name = inFile
				out.Fields[i].Type = renamed(f.Type, own.Type, fieldType(file, inFile), name)
			}
		}
	case schema.Array:
		out.Elem = renamed(want.Elem, t.Elem, elemType(file), name)
	case schema.Map:
		out.Elem = renamed(want.Elem, t.Elem, elemType(file), name)
		if file != nil {
			file = file.Key
		}
		out.Key = renamed(want.Key, t.Key, file, name)
	default:
	}
	return &out
}

func fieldType(t *schema.Type, name string) *schema.Type {
	if t == nil {
		return nil
	}
	f, _ := t.Field(name)
	return f.Type
}

func elemType(t *schema.Type) *schema.Type {
	if t == nil {
		return nil
	}
	return t.Elem
}

// relabel gives a vector that was read by physical names the type with the names of the table.
func relabel(v *column.Vector, t *schema.Type) {
	v.Type = t
	switch t.Kind {
	case schema.Struct:
		for i := range t.Fields {
			relabel(v.Children[i], t.Fields[i].Type)
		}
	case schema.Array:
		relabel(v.Children[0], t.Elem)
	case schema.Map:
		relabel(v.Children[0], t.Key)
		relabel(v.Children[1], t.Elem)
	default:
	}
}
