package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// MaxDepth bounds how deep types may nest; a schema below it is refused, so that no walk over one can exhaust the stack.
const MaxDepth = 100

// ErrTooDeep refuses a schema that nests deeper than [MaxDepth].
var ErrTooDeep = fmt.Errorf("schema nests deeper than %d levels", MaxDepth)

// UnknownTypeError names a type that this version does not know.
type UnknownTypeError struct {
	Path string // of the field, dotted; empty for the root
	Type string // as in the log
}

func (e *UnknownTypeError) Error() string {
	return fmt.Sprintf("schema: %sunknown type %q", at(e.Path), e.Type)
}

// at begins a message about the field at path.
func at(path string) string {
	if path == "" {
		return ""
	}
	return "field " + path + ": "
}

var primitives = map[string]Kind{
	"boolean": Boolean, "byte": Byte, "short": Short, "integer": Integer, "long": Long,
	"float": Float, "double": Double, "string": String, "binary": Binary,
	"date": Date, "timestamp": Timestamp, "timestamp_ntz": TimestampNTZ,
}

var primitiveNames = func() map[Kind]string {
	names := make(map[Kind]string, len(primitives))
	for name, kind := range primitives {
		names[kind] = name
	}
	return names
}()

// Parse reads a schemaString of the log. The root must be a struct. Numbers in field metadata stay json.Number.
//
// Errors: *UnknownTypeError, ErrTooDeep, or one that names the field and what is wrong with it.
func Parse(schemaString string) (*Type, error) {
	dec := json.NewDecoder(strings.NewReader(schemaString))
	dec.UseNumber()
	var root any
	if err := dec.Decode(&root); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("schema: text after the schema")
	}
	t, err := parseType(root, "", 0)
	if err != nil {
		return nil, err
	}
	if t.Kind != Struct {
		return nil, fmt.Errorf("schema: the root is %s, not a struct", t)
	}
	return t, nil
}

func parseType(v any, path string, depth int) (*Type, error) {
	if depth > MaxDepth {
		return nil, ErrTooDeep
	}
	switch v := v.(type) {
	case string:
		return parsePrimitive(v, path)
	case map[string]any:
		return parseNested(v, path, depth)
	}
	return nil, fmt.Errorf("schema: %sa type must be a string or an object", at(path))
}

func parsePrimitive(name, path string) (*Type, error) {
	if kind, ok := primitives[name]; ok {
		return &Type{Kind: kind}, nil
	}
	if name == "decimal" { // written by old Spark versions
		return &Type{Kind: Decimal, Precision: 10}, nil
	}
	if t, ok := parseDecimal(name); ok {
		return t, nil
	}
	return nil, &UnknownTypeError{Path: path, Type: name}
}

func parseDecimal(name string) (*Type, bool) {
	args, ok := strings.CutPrefix(name, "decimal(")
	if !ok {
		return nil, false
	}
	args, ok = strings.CutSuffix(args, ")")
	if !ok {
		return nil, false
	}
	p, s, ok := strings.Cut(args, ",")
	if !ok {
		return nil, false
	}
	precision, perr := strconv.Atoi(strings.TrimSpace(p))
	scale, serr := strconv.Atoi(strings.TrimSpace(s))
	if perr != nil || serr != nil || precision < 1 || precision > 38 || scale < 0 || scale > precision {
		return nil, false
	}
	return &Type{Kind: Decimal, Precision: precision, Scale: scale}, true
}

func parseNested(o map[string]any, path string, depth int) (*Type, error) {
	name, ok := o["type"].(string)
	if !ok {
		return nil, fmt.Errorf("schema: %sa nested type without \"type\"", at(path))
	}
	switch name {
	case "struct":
		return parseStruct(o, path, depth)
	case "array":
		elem, err := parseType(o["elementType"], join(path, "element"), depth+1)
		if err != nil {
			return nil, err
		}
		return &Type{Kind: Array, Elem: elem, ContainsNull: boolean(o["containsNull"], false)}, nil
	case "map":
		key, err := parseType(o["keyType"], join(path, "key"), depth+1)
		if err != nil {
			return nil, err
		}
		value, err := parseType(o["valueType"], join(path, "value"), depth+1)
		if err != nil {
			return nil, err
		}
		return &Type{Kind: Map, Key: key, Elem: value, ContainsNull: boolean(o["valueContainsNull"], false)}, nil
	}
	return nil, &UnknownTypeError{Path: path, Type: name}
}

func parseStruct(o map[string]any, path string, depth int) (*Type, error) {
	list, ok := o["fields"].([]any)
	if !ok {
		return nil, fmt.Errorf("schema: %sa struct without \"fields\"", at(path))
	}
	t := &Type{Kind: Struct, Fields: make([]Field, 0, len(list))}
	for i, v := range list {
		f, err := parseField(v, path, i, depth)
		if err != nil {
			return nil, err
		}
		t.Fields = append(t.Fields, f)
	}
	return t, nil
}

func parseField(v any, path string, i, depth int) (Field, error) {
	o, ok := v.(map[string]any)
	if !ok {
		return Field{}, fmt.Errorf("schema: %sfield %d is not an object", at(path), i)
	}
	name, ok := o["name"].(string)
	if !ok {
		return Field{}, fmt.Errorf("schema: %sfield %d has no name", at(path), i)
	}
	path = join(path, name)
	typ, err := parseType(o["type"], path, depth+1)
	if err != nil {
		return Field{}, err
	}
	f := Field{Name: name, Type: typ, Nullable: boolean(o["nullable"], true)}
	switch md := o["metadata"].(type) {
	case nil:
	case map[string]any:
		if len(md) > 0 {
			f.Metadata = md
		}
	default:
		return Field{}, fmt.Errorf("schema: %smetadata is not an object", at(path))
	}
	return f, nil
}

// boolean is v, or fallback if v is not a boolean.
func boolean(v any, fallback bool) bool {
	if b, ok := v.(bool); ok {
		return b
	}
	return fallback
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// JSON is the schemaString of t, the members of objects in the order Spark writes them.
func (t *Type) JSON() string {
	var b bytes.Buffer
	t.appendJSON(&b)
	return b.String()
}

func (t *Type) appendJSON(b *bytes.Buffer) {
	switch t.Kind {
	case Struct:
		b.WriteString(`{"type":"struct","fields":[`)
		for i := range t.Fields {
			if i > 0 {
				b.WriteByte(',')
			}
			t.Fields[i].appendJSON(b)
		}
		b.WriteString(`]}`)
	case Array:
		b.WriteString(`{"type":"array","elementType":`)
		t.Elem.appendJSON(b)
		fmt.Fprintf(b, `,"containsNull":%t}`, t.ContainsNull)
	case Map:
		b.WriteString(`{"type":"map","keyType":`)
		t.Key.appendJSON(b)
		b.WriteString(`,"valueType":`)
		t.Elem.appendJSON(b)
		fmt.Fprintf(b, `,"valueContainsNull":%t}`, t.ContainsNull)
	default:
		b.WriteByte('"')
		b.WriteString(t.primitiveName())
		b.WriteByte('"')
	}
}

func (f *Field) appendJSON(b *bytes.Buffer) {
	b.WriteString(`{"name":`)
	appendValue(b, f.Name)
	b.WriteString(`,"type":`)
	f.Type.appendJSON(b)
	fmt.Fprintf(b, `,"nullable":%t,"metadata":`, f.Nullable)
	if len(f.Metadata) == 0 {
		b.WriteString("{}")
	} else {
		appendValue(b, f.Metadata)
	}
	b.WriteByte('}')
}

// appendValue writes v as JSON without escaping <, > and &. Metadata came from JSON or holds plain values; one that JSON
// cannot express is a programming error and becomes null.
func appendValue(b *bytes.Buffer, v any) {
	start := b.Len()
	enc := json.NewEncoder(b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		b.Truncate(start)
		b.WriteString("null")
		return
	}
	b.Truncate(b.Len() - 1) // Encode ends with a newline
}

func (t *Type) primitiveName() string {
	if t.Kind == Decimal {
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	}
	if name, ok := primitiveNames[t.Kind]; ok {
		return name
	}
	return "invalid"
}
