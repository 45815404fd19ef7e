package schema

import (
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"
)

// forbidden are the characters that Spark refuses in column names of tables without column mapping.
const forbidden = " ,;{}()\n\t="

// maxNameBytes bounds a field's name; longer ones are not something any reader was tested with.
const maxNameBytes = 1024

// NameError refuses a field's name.
type NameError struct {
	Path   string // of the field, dotted
	Reason string
}

func (e *NameError) Error() string { return fmt.Sprintf("column name %q %s", e.Path, e.Reason) }

// CheckName says whether name can be a column of a table without column mapping. Error: *NameError.
func CheckName(name string) error {
	switch {
	case name == "":
		return &NameError{name, "is empty"}
	case len(name) > maxNameBytes:
		return &NameError{name[:32] + "...", fmt.Sprintf("is longer than %d bytes", maxNameBytes)}
	case !utf8.ValidString(name):
		return &NameError{name, "is not valid UTF-8"}
	}
	if i := strings.IndexAny(name, forbidden); i >= 0 {
		return &NameError{name, fmt.Sprintf("contains %q: none of %q is allowed", name[i], forbidden)}
	}
	return nil
}

// Validate checks every name of t with [CheckName], that no two fields of a struct differ by case alone (readers take
// them for one), and the depth. Errors: *NameError, ErrTooDeep.
func (t *Type) Validate() error { return t.validate("", 0) }

func (t *Type) validate(path string, depth int) error {
	if depth > MaxDepth {
		return ErrTooDeep
	}
	switch t.Kind {
	case Struct:
		return t.validateFields(path, depth)
	case Array:
		return t.Elem.validate(join(path, "element"), depth+1)
	case Map:
		if err := t.Key.validate(join(path, "key"), depth+1); err != nil {
			return err
		}
		return t.Elem.validate(join(path, "value"), depth+1)
	default:
		return nil
	}
}

func (t *Type) validateFields(path string, depth int) error {
	seen := make(map[string]string, len(t.Fields))
	for _, f := range t.Fields {
		if err := CheckName(f.Name); err != nil {
			return err
		}
		full := join(path, f.Name)
		folded := strings.ToLower(f.Name)
		if other, ok := seen[folded]; ok {
			return &NameError{full, fmt.Sprintf("clashes with %q: readers ignore case", other)}
		}
		seen[folded] = f.Name
		if err := f.Type.validate(full, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// Index is the position of the field called name in the struct t, or -1. Case counts.
func (t *Type) Index(name string) int {
	for i := range t.Fields {
		if t.Fields[i].Name == name {
			return i
		}
	}
	return -1
}

// Field is the field of the struct t called name. Case counts.
func (t *Type) Field(name string) (Field, bool) {
	if i := t.Index(name); i >= 0 {
		return t.Fields[i], true
	}
	return Field{}, false
}

// FoldedIndex is the position of the field whose name equals name when case is ignored, or -1.
func (t *Type) FoldedIndex(name string) int {
	for i := range t.Fields {
		if strings.EqualFold(t.Fields[i].Name, name) {
			return i
		}
	}
	return -1
}

// Equal says whether a and b are the same tree, metadata included.
func (t *Type) Equal(o *Type) bool {
	if t == o {
		return true
	}
	if t == nil || o == nil || t.Kind != o.Kind || t.ContainsNull != o.ContainsNull ||
		t.Precision != o.Precision || t.Scale != o.Scale || len(t.Fields) != len(o.Fields) {
		return false
	}
	for i := range t.Fields {
		if !t.Fields[i].equal(&o.Fields[i]) {
			return false
		}
	}
	return t.Key.Equal(o.Key) && t.Elem.Equal(o.Elem)
}

func (f *Field) equal(o *Field) bool {
	if f.Name != o.Name || f.Nullable != o.Nullable || len(f.Metadata) != len(o.Metadata) {
		return false
	}
	if len(f.Metadata) > 0 && !reflect.DeepEqual(f.Metadata, o.Metadata) {
		return false
	}
	return f.Type.Equal(o.Type)
}

// String is the short form of t, such as struct<a:long,b:array<string>>.
func (t *Type) String() string {
	if t == nil {
		return "none"
	}
	var b strings.Builder
	t.appendString(&b)
	return b.String()
}

func (t *Type) appendString(b *strings.Builder) {
	switch t.Kind {
	case Struct:
		b.WriteString("struct<")
		for i, f := range t.Fields {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(f.Name)
			b.WriteByte(':')
			f.Type.appendString(b)
		}
		b.WriteByte('>')
	case Array:
		b.WriteString("array<")
		t.Elem.appendString(b)
		b.WriteByte('>')
	case Map:
		b.WriteString("map<")
		t.Key.appendString(b)
		b.WriteByte(',')
		t.Elem.appendString(b)
		b.WriteByte('>')
	default:
		b.WriteString(t.primitiveName())
	}
}

// String is the name of the kind as in the log.
func (k Kind) String() string {
	switch k {
	case Struct:
		return "struct"
	case Array:
		return "array"
	case Map:
		return "map"
	case Decimal:
		return "decimal"
	default:
	}
	if name, ok := primitiveNames[k]; ok {
		return name
	}
	return "invalid"
}
