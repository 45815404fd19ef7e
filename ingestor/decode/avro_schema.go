package decode

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/weir-dev/weir/delta/schema"
)

// AvroSchema is a schema of Avro records. It is immutable.
//
// A field becomes a column: int an integer, long, float, double, boolean, string and bytes what they say, an enum the string
// of its symbol, fixed a binary, a record a struct, array and map themselves; the logical types date a date, timestamp-* and
// local-timestamp-* a timestamp (the local ones as if in UTC), decimal a decimal, uuid a string, time-* a number in its unit.
// A union with null is nullable; one of several other types is a struct with a field for each, named like the type; a record
// inside of itself is JSON text in a string.
type AvroSchema struct {
	root    *avroType
	columns *schema.Type
	weight  int // bytes that the defaults of its fields take
}

// avroKind is a type of Avro, with its logical type where that matters.
type avroKind uint8

const (
	avroNull avroKind = iota
	avroBoolean
	avroInt
	avroLong
	avroFloat
	avroDouble
	avroBytes
	avroString
	avroFixed
	avroEnum
	avroRecord
	avroArray
	avroMap
	avroUnion
	avroDate
	avroTimestamp // a long in a unit
	avroDecimal   // of bytes, or of fixed when size > 0
	avroUUID      // fixed of 16
)

type avroType struct {
	kind     avroKind
	name     string // of a union's branch: the type, or the last part of a full name
	size     int    // fixed
	unit     int64  // avroTimestamp: of a second there are so many
	decimal  *schema.Type
	symbols  [][]byte
	fields   []*avroField
	elem     *avroType // array, map
	branches []*avroType
}

type avroField struct {
	name     string
	key      []byte
	aliases  []string
	typ      *avroType
	fallback json.RawMessage // default; nil for none
}

// Bounds of an Avro schema.
const (
	MaxAvroSchemaBytes = 1 << 20
	maxAvroTypes       = 20_000
	maxAvroDepth       = 32
)

// AvroError is a fault of a schema, at a byte of its text.
type AvroError struct {
	Offset  int // -1: of no byte in particular
	Message string
}

func (e *AvroError) Error() string { return e.Message }

// NewAvroSchema reads the JSON text of a schema, which must be a record. Its errors are *AvroError.
func NewAvroSchema(text []byte) (*AvroSchema, error) {
	if len(text) > MaxAvroSchemaBytes {
		return nil, &AvroError{-1, fmt.Sprintf("the Avro schema has more than %d bytes", MaxAvroSchemaBytes)}
	}
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		at := -1
		if bad, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = int(bad.Offset)
		}
		return nil, &AvroError{at, "the Avro schema is no JSON: " + err.Error()}
	}
	if _, err := dec.Token(); !errors.Is(err, io.EOF) {
		return nil, &AvroError{int(dec.InputOffset()), "the Avro schema has something behind its end"}
	}
	p := avroParser{named: map[string]*avroType{}}
	t, err := p.parse(v, "", 0)
	switch {
	case err != nil:
		return nil, &AvroError{p.locate(text), "the Avro schema: " + err.Error()}
	case t.kind != avroRecord:
		return nil, &AvroError{-1, "the Avro schema is no record: a row is made of a record"}
	}
	s := &AvroSchema{root: t}
	for _, f := range t.fields {
		s.weight += len(f.fallback)
	}
	left := maxAvroTypes
	s.columns = avroColumns(t, nil, &left)
	switch {
	case left < 0:
		return nil, &AvroError{-1, fmt.Sprintf("the Avro schema has more than %d fields once the records in it are columns", maxAvroTypes)}
	case s.columns == nil:
		return nil, &AvroError{-1, "the Avro schema has no field that can be a column"}
	}
	return s, nil
}

// Columns is the struct of the columns that the record has.
func (s *AvroSchema) Columns() *schema.Type { return s.columns }

// named is the columns under the names that a reader's schema gives them.
func (s *AvroSchema) named(reader *avroType) *schema.Type { return renamed(s.columns, s.root, reader) }

// renamed is the type c, of a column for values of t, under the names that the reader's type gives to fields.
func renamed(c *schema.Type, t, reader *avroType) *schema.Type {
	t, reader = t.without(), reader.without()
	if t == nil || reader == nil || t.kind != reader.kind {
		return c
	}
	out := *c
	switch {
	case t.kind == avroRecord && c.Kind == schema.Struct:
		out.Fields = slices.Clone(c.Fields)
		for i := range out.Fields {
			f := &out.Fields[i]
			if rf := reader.fieldFor(f.Name); rf != nil {
				f.Name, f.Type = rf.name, renamed(f.Type, t.fieldFor(f.Name).typ, rf.typ)
			}
		}
	case t.kind == avroArray && c.Kind == schema.Array, t.kind == avroMap && c.Kind == schema.Map:
		out.Elem = renamed(c.Elem, t.elem, reader.elem)
	}
	return &out
}

type avroParser struct {
	named map[string]*avroType
	types int
	blame string // a text of the schema near the fault
}

// locate finds the text that is to blame.
func (p *avroParser) locate(text []byte) int {
	if p.blame == "" {
		return -1
	}
	quoted, err := json.Marshal(p.blame)
	if err != nil {
		return -1
	}
	return bytes.LastIndex(text, quoted)
}

func (p *avroParser) fault(blame, format string, args ...any) error {
	if p.blame == "" {
		p.blame = blame
	}
	return fmt.Errorf(format, args...)
}

var avroPrimitives = map[string]avroKind{
	"null": avroNull, "boolean": avroBoolean, "int": avroInt, "long": avroLong, "float": avroFloat, "double": avroDouble,
	"bytes": avroBytes, "string": avroString,
}

func (p *avroParser) parse(v any, space string, depth int) (*avroType, error) {
	if p.types++; p.types > maxAvroTypes {
		return nil, fmt.Errorf("it has more than %d types", maxAvroTypes)
	}
	if depth > maxAvroDepth {
		return nil, fmt.Errorf("it nests deeper than %d levels", maxAvroDepth)
	}
	switch v := v.(type) {
	case string:
		if k, ok := avroPrimitives[v]; ok {
			return &avroType{kind: k, name: v}, nil
		}
		if t := p.named[fullName(v, space)]; t != nil {
			return t, nil
		}
		if t := p.named[v]; t != nil {
			return t, nil
		}
		return nil, p.fault(v, "type %q is not known: name a type that is defined before", v)
	case []any:
		return p.union(v, space, depth)
	case map[string]any:
		return p.object(v, space, depth)
	}
	return nil, errors.New("a type is a name, a list or an object")
}

func fullName(name, space string) string {
	if space == "" || strings.Contains(name, ".") {
		return name
	}
	return space + "." + name
}

func (p *avroParser) union(v []any, space string, depth int) (*avroType, error) {
	t := &avroType{kind: avroUnion, name: "union"}
	seen := map[string]bool{}
	for _, b := range v {
		bt, err := p.parse(b, space, depth+1)
		if err != nil {
			return nil, err
		}
		if bt.kind == avroUnion || seen[bt.name] {
			return nil, p.fault("", "a union holds a union, or %s twice", bt.name)
		}
		seen[bt.name] = true
		t.branches = append(t.branches, bt)
	}
	if len(t.branches) == 0 {
		return nil, errors.New("a union without types")
	}
	return t, nil
}

func (p *avroParser) object(m map[string]any, space string, depth int) (*avroType, error) {
	kind, ok := m["type"].(string)
	if !ok {
		if m["type"] == nil {
			return nil, errors.New("an object without a type")
		}
		return p.parse(m["type"], space, depth+1)
	}
	switch kind {
	case "record", "error", "enum", "fixed":
		return p.namedType(kind, m, space, depth)
	case "array":
		elem, err := p.parse(m["items"], space, depth+1)
		return &avroType{kind: avroArray, name: kind, elem: elem}, err
	case "map":
		elem, err := p.parse(m["values"], space, depth+1)
		return &avroType{kind: avroMap, name: kind, elem: elem}, err
	}
	t, err := p.parse(kind, space, depth+1)
	if err != nil {
		return nil, err
	}
	logical := *t
	logical.logical(m)
	return &logical, nil
}

func (p *avroParser) namedType(kind string, m map[string]any, space string, depth int) (*avroType, error) {
	name, _ := m["name"].(string)
	if name == "" {
		return nil, fmt.Errorf("a %s without a name", kind)
	}
	if ns, ok := m["namespace"].(string); ok {
		space = ns
	}
	full := fullName(name, space)
	if i := strings.LastIndexByte(full, '.'); i >= 0 {
		space, name = full[:i], full[i+1:]
	}
	if p.named[full] != nil {
		return nil, p.fault(name, "%s is defined twice", full)
	}
	t := &avroType{name: name}
	p.named[full] = t
	switch kind {
	case "enum":
		return t, p.enum(t, m)
	case "fixed":
		size, ok := m["size"].(json.Number)
		n, err := size.Int64()
		if !ok || err != nil || n < 0 || n > 1<<20 {
			return nil, p.fault(name, "fixed %s has no size from 0 to %d", name, 1<<20)
		}
		t.kind, t.size = avroFixed, int(n)
		t.logical(m)
		return t, nil
	}
	t.kind = avroRecord
	return t, p.record(t, m, space, depth)
}

func (p *avroParser) enum(t *avroType, m map[string]any) error {
	t.kind = avroEnum
	symbols, ok := m["symbols"].([]any)
	if !ok || len(symbols) == 0 {
		return p.fault(t.name, "enum %s has no symbols", t.name)
	}
	for _, s := range symbols {
		text, ok := s.(string)
		if !ok {
			return p.fault(t.name, "a symbol of enum %s is no text", t.name)
		}
		t.symbols = append(t.symbols, []byte(text))
	}
	return nil
}

func (p *avroParser) record(t *avroType, m map[string]any, space string, depth int) error {
	fields, ok := m["fields"].([]any)
	if !ok {
		return p.fault(t.name, "record %s has no fields", t.name)
	}
	seen := map[string]bool{}
	for _, v := range fields {
		fm, ok := v.(map[string]any)
		name, named := fm["name"].(string)
		if !ok || !named || name == "" {
			return p.fault(t.name, "a field of record %s has no name", t.name)
		}
		if seen[name] {
			return p.fault(name, "record %s has the field %s twice", t.name, name)
		}
		seen[name] = true
		ft, err := p.parse(fm["type"], space, depth+1)
		if err != nil {
			return p.fault(name, "field %s: %w", name, err)
		}
		f := &avroField{name: name, key: []byte(name), typ: ft}
		if aliases, ok := fm["aliases"].([]any); ok {
			for _, a := range aliases {
				if s, ok := a.(string); ok {
					f.aliases = append(f.aliases, s)
				}
			}
		}
		if d, ok := fm["default"]; ok {
			if f.fallback, err = avroDefault(ft, d, 0); err != nil {
				return p.fault(name, "the default of field %s: %w", name, err)
			}
		}
		t.fields = append(t.fields, f)
	}
	return nil
}

// logical takes the logical type that m names over. One that is unknown or does not fit its type is ignored, as Avro wants it.
func (t *avroType) logical(m map[string]any) {
	name, _ := m["logicalType"].(string)
	units := map[string]int64{"millis": 1e3, "micros": 1e6, "nanos": 1e9}
	switch {
	case name == "date" && t.kind == avroInt:
		t.kind = avroDate
	case name == "uuid" && t.kind == avroFixed && t.size == 16:
		t.kind = avroUUID
	case name == "decimal" && (t.kind == avroBytes || t.kind == avroFixed):
		precision, scale := numberIn(m["precision"]), numberIn(m["scale"])
		if precision >= 1 && precision <= maxDecimalDigits && scale >= 0 && scale <= precision {
			t.kind, t.decimal = avroDecimal, &schema.Type{Kind: schema.Decimal, Precision: precision, Scale: scale}
		}
	case t.kind == avroLong && strings.Contains(name, "timestamp-"):
		if unit := units[name[strings.LastIndexByte(name, '-')+1:]]; unit > 0 {
			t.kind, t.unit = avroTimestamp, unit
		}
	}
}

func numberIn(v any) int {
	n, ok := v.(json.Number)
	if !ok {
		return 0
	}
	x, err := n.Int64()
	if err != nil || x > math.MaxInt32 || x < math.MinInt32 {
		return -1
	}
	return int(x)
}

// only is the one branch of a union that is not null, nil if there are several.
func (t *avroType) only() *avroType {
	var only *avroType
	for _, b := range t.branches {
		if b.kind == avroNull {
			continue
		}
		if only != nil {
			return nil
		}
		only = b
	}
	return only
}

// several says whether a union is a struct of its types.
func (t *avroType) several() bool {
	return t.only() == nil && len(t.branches) > 1
}

// avroColumns is the type of the column for values of t inside of the records above, nil for none.
func avroColumns(t *avroType, above []*avroType, left *int) *schema.Type {
	if *left--; *left < 0 {
		return nil
	}
	switch t.kind {
	case avroRecord:
		if slices.Contains(above, t) || len(above) >= HighestMaxDepth/2 {
			return stringType
		}
		return avroStruct(t.fields, append(slices.Clone(above), t), left)
	case avroUnion:
		if only := t.only(); only != nil {
			return avroColumns(only, above, left)
		}
		var fields []*avroField
		for _, b := range t.branches {
			fields = append(fields, &avroField{name: b.name, typ: b})
		}
		return avroStruct(fields, append(slices.Clone(above), t), left)
	case avroArray, avroMap:
		if len(above) >= HighestMaxDepth/2 {
			return stringType
		}
		elem := avroColumns(t.elem, append(slices.Clone(above), t), left)
		switch {
		case elem == nil:
			return nil
		case t.kind == avroMap:
			return &schema.Type{Kind: schema.Map, Key: stringType, Elem: elem, ContainsNull: true}
		}
		return &schema.Type{Kind: schema.Array, Elem: elem, ContainsNull: true}
	case avroDecimal:
		return t.decimal
	default:
		return avroScalars[t.kind]
	}
}

func avroStruct(fields []*avroField, above []*avroType, left *int) *schema.Type {
	st := &schema.Type{Kind: schema.Struct}
	for _, f := range fields {
		if ft := avroColumns(f.typ, above, left); ft != nil {
			st.Fields = append(st.Fields, schema.Field{Name: f.name, Type: ft, Nullable: true})
		}
	}
	if len(st.Fields) == 0 {
		return nil
	}
	return st
}

var avroScalars = map[avroKind]*schema.Type{
	avroBoolean: booleanType, avroInt: integerType, avroLong: longType, avroFloat: floatType, avroDouble: doubleType,
	avroBytes: binaryType, avroFixed: binaryType, avroString: stringType, avroEnum: stringType, avroUUID: stringType,
	avroDate: dateType, avroTimestamp: timestampType,
}
