package schema

import (
	"fmt"
	"strconv"
	"strings"
)

// Declared is a type as a person wrote it, with what a Delta type does not say. The tree follows that of Type.
type Declared struct {
	Type   *Type
	JSON   bool   // the type json: a string that keeps any value as text
	Unit   string // of a timestamp that comes as a number: s, ms, us or empty
	Fields []*Declared
	Elem   *Declared // element of an array, value of a map
}

// DDLError says what is wrong with a type, and where.
type DDLError struct {
	Offset  int // in bytes, of the text
	Message string
}

func (e *DDLError) Error() string { return e.Message }

// ParseDDL reads a type as Spark's SQL writes it, with the names of Delta:
//
//	long, integer, short, byte, double, float, decimal(p,s), string, boolean, timestamp, timestamp_ntz, date, binary, json
//	array<TYPE>, map<KEY, TYPE>
//	struct<NAME: TYPE [not null] [comment 'TEXT'], ...>
//
// A timestamp may be followed by "unit s", "unit ms" or "unit us". A name that is no word stands in backquotes. Elements
// and values may be null. The words of SQL (bigint, int, smallint, tinyint) are understood too; case does not matter.
//
// Error: *DDLError.
func ParseDDL(text string) (*Declared, error) {
	p := &ddl{text: text}
	d, err := p.typ(0)
	if err == nil {
		if p.space(); p.at < len(p.text) {
			err = p.fail("%q after the type: what comes after it belongs into fields of its own", p.rest())
		}
	}
	if err != nil {
		return nil, err
	}
	return d, nil
}

type ddl struct {
	text string
	at   int
}

func (p *ddl) fail(format string, args ...any) error {
	return &DDLError{Offset: p.at, Message: fmt.Sprintf(format, args...)}
}

func (p *ddl) rest() string {
	const most = 24
	if rest := p.text[p.at:]; len(rest) > most {
		return strings.ToValidUTF8(rest[:most], "") + "..."
	}
	return p.text[p.at:]
}

func (p *ddl) space() {
	for p.at < len(p.text) && strings.IndexByte(" \t\r\n", p.text[p.at]) >= 0 {
		p.at++
	}
}

// sign takes c if it is next.
func (p *ddl) sign(c byte) bool {
	p.space()
	if p.at < len(p.text) && p.text[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *ddl) want(c byte) error {
	if !p.sign(c) {
		if p.at == len(p.text) {
			return p.fail("the type ends where %q should be", c)
		}
		return p.fail("%q where %q should be", p.rest(), c)
	}
	return nil
}

func isWord(c byte) bool {
	return c == '_' || c >= 0x80 || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// peek returns the next word without taking it.
func (p *ddl) peek() string {
	p.space()
	end := p.at
	for end < len(p.text) && isWord(p.text[end]) {
		end++
	}
	return p.text[p.at:end]
}

// word takes the next word if it is this one.
func (p *ddl) word(want string) bool {
	if w := p.peek(); strings.EqualFold(w, want) {
		p.at += len(w)
		return true
	}
	return false
}

var ddlSynonyms = map[string]string{"bigint": "long", "int": "integer", "smallint": "short", "tinyint": "byte", "real": "float", "bool": "boolean"}

func (p *ddl) typ(depth int) (*Declared, error) {
	if depth > MaxDepth {
		return nil, p.fail("nested deeper than %d levels", MaxDepth)
	}
	w := p.peek()
	name := strings.ToLower(w)
	if s := ddlSynonyms[name]; s != "" {
		name = s
	}
	start := p.at
	p.at += len(w)
	switch name {
	case "":
		return nil, p.fail("a type is missing: write one such as long, string or struct<a: long>")
	case "decimal":
		return p.decimal(start)
	case "json":
		return &Declared{Type: &Type{Kind: String}, JSON: true}, nil
	case "array":
		return p.array(depth)
	case "map":
		return p.mapping(depth)
	case "struct":
		return p.structure(depth)
	}
	kind, ok := primitives[name]
	if !ok {
		p.at = start
		return nil, p.fail("%q is no type: use long, integer, short, byte, double, float, decimal(p,s), string, boolean, timestamp, timestamp_ntz, date, binary, json, struct<>, array<> or map<>", w)
	}
	d := &Declared{Type: &Type{Kind: kind}}
	if kind == Timestamp && p.word("unit") {
		unit := p.peek()
		if _, ok := UnitMicros[unit]; !ok {
			return nil, p.fail("%q is no unit: use s, ms or us", unit)
		}
		p.at += len(unit)
		d.Unit = unit
	}
	return d, nil
}

// UnitMicros are the units of times that come as numbers, in microseconds.
var UnitMicros = map[string]int64{"s": 1_000_000, "ms": 1000, "us": 1}

func (p *ddl) decimal(start int) (*Declared, error) {
	p.space()
	end := strings.IndexByte(p.text[p.at:], ')')
	if end >= 0 && p.text[p.at] == '(' {
		if t, ok := parseDecimal("decimal" + p.text[p.at:p.at+end+1]); ok {
			p.at += end + 1
			return &Declared{Type: t}, nil
		}
	}
	p.at = start
	return nil, p.fail("a decimal is decimal(p,s): p digits (1 to 38), s of them behind the point, such as decimal(12,2)")
}

func (p *ddl) array(depth int) (*Declared, error) {
	if err := p.want('<'); err != nil {
		return nil, err
	}
	elem, err := p.typ(depth + 1)
	if err != nil {
		return nil, err
	}
	return &Declared{Type: &Type{Kind: Array, Elem: elem.Type, ContainsNull: true}, Elem: elem}, p.want('>')
}

func (p *ddl) mapping(depth int) (*Declared, error) {
	if err := p.want('<'); err != nil {
		return nil, err
	}
	p.space()
	at := p.at
	key, err := p.typ(depth + 1)
	if err != nil {
		return nil, err
	}
	if k := key.Type.Kind; key.JSON || key.Unit != "" || k == Struct || k == Array || k == Map {
		p.at = at
		return nil, p.fail("the key of a map is a simple type, such as string")
	}
	if err := p.want(','); err != nil {
		return nil, err
	}
	value, err := p.typ(depth + 1)
	if err != nil {
		return nil, err
	}
	return &Declared{Type: &Type{Kind: Map, Key: key.Type, Elem: value.Type, ContainsNull: true}, Elem: value}, p.want('>')
}

func (p *ddl) structure(depth int) (*Declared, error) {
	if err := p.want('<'); err != nil {
		return nil, err
	}
	d := &Declared{Type: &Type{Kind: Struct}}
	for {
		if err := p.member(d, depth); err != nil {
			return nil, err
		}
		if !p.sign(',') {
			return d, p.want('>')
		}
	}
}

func (p *ddl) member(d *Declared, depth int) error {
	p.space()
	start := p.at
	name, err := p.name()
	if err != nil {
		return err
	}
	if err := CheckName(name); err != nil || d.Type.FoldedIndex(name) >= 0 {
		p.at = start
		if err != nil {
			return p.fail("%v", err)
		}
		return p.fail("the field %s is there twice (readers ignore case)", name)
	}
	if err := p.want(':'); err != nil {
		return err
	}
	inner, err := p.typ(depth + 1)
	if err != nil {
		return err
	}
	f := Field{Name: name, Type: inner.Type, Nullable: true}
	if p.word("not") {
		if !p.word("null") {
			return p.fail("null is missing after not")
		}
		f.Nullable = false
	}
	if p.word("comment") {
		text, err := p.quoted()
		if err != nil {
			return err
		}
		f.Metadata = map[string]any{CommentKey: text}
	}
	d.Type.Fields = append(d.Type.Fields, f)
	d.Fields = append(d.Fields, inner)
	return nil
}

// CommentKey is where a field's metadata has its comment.
const CommentKey = "comment"

func (p *ddl) name() (string, error) {
	if p.sign('`') {
		end := strings.IndexByte(p.text[p.at:], '`')
		if end < 0 {
			return "", p.fail("a name in backquotes has no end")
		}
		name := p.text[p.at : p.at+end]
		p.at += end + 1
		return name, nil
	}
	w := p.peek()
	if w == "" {
		return "", p.fail("%q where the name of a field should be: a name that is no word stands in backquotes", p.rest())
	}
	p.at += len(w)
	return w, nil
}

func (p *ddl) quoted() (string, error) {
	p.space()
	if p.at == len(p.text) || p.text[p.at] != '\'' && p.text[p.at] != '"' {
		return "", p.fail("a comment stands in quotes")
	}
	quote := p.text[p.at]
	end := strings.IndexByte(p.text[p.at+1:], quote)
	if end < 0 {
		return "", p.fail("a comment has no end")
	}
	text := p.text[p.at+1 : p.at+1+end]
	p.at += end + 2
	return text, nil
}

// DDL writes t as ParseDDL reads it.
func (t *Type) DDL() string {
	switch t.Kind {
	case Array:
		return "array<" + t.Elem.DDL() + ">"
	case Map:
		return "map<" + t.Key.DDL() + ", " + t.Elem.DDL() + ">"
	case Decimal:
		return "decimal(" + strconv.Itoa(t.Precision) + "," + strconv.Itoa(t.Scale) + ")"
	case Struct:
		var b strings.Builder
		b.WriteString("struct<")
		for i, f := range t.Fields {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(ddlName(f.Name) + ": " + f.Type.DDL())
			if !f.Nullable {
				b.WriteString(" not null")
			}
			if c, ok := f.Metadata[CommentKey].(string); ok && !strings.ContainsRune(c, '\'') {
				b.WriteString(" comment '" + c + "'")
			}
		}
		return b.String() + ">"
	default:
		return primitiveNames[t.Kind]
	}
}

func ddlName(name string) string {
	for i := range len(name) {
		if !isWord(name[i]) {
			return "`" + name + "`"
		}
	}
	return name
}
