package decode

import (
	"github.com/weir-dev/weir/delta/schema"
)

// inference makes types of valid JSON values.
type inference struct {
	mixed   bool // values met whose types have no union, or that no type holds: something will be rescued
	limit   int  // fields of one struct; more cannot become columns
	scratch []byte
	index   map[*schema.Type]map[string]int // of the fields of structs in lists
}

// Types are immutable, so one of each will do.
var (
	booleanType   = &schema.Type{Kind: schema.Boolean}
	longType      = &schema.Type{Kind: schema.Long}
	doubleType    = &schema.Type{Kind: schema.Double}
	stringType    = &schema.Type{Kind: schema.String}
	timestampType = &schema.Type{Kind: schema.Timestamp}
)

// value returns the type of the value at b[i], which must be valid JSON, and the index behind the value. The type is nil
// for what makes no column: null, {}, [], a number that no column holds. The fields of a struct have the names of the
// record, whether or not a column may have them.
func (in *inference) value(b []byte, i int) (*schema.Type, int) {
	switch b[i] {
	case '{':
		return in.object(b, i)
	case '[':
		return in.array(b, i)
	case '"':
		return in.text(b, i)
	case 't':
		return booleanType, i + len("true")
	case 'f':
		return booleanType, i + len("false")
	case 'n':
		return nil, i + len("null")
	}
	return in.number(b, i)
}

func (in *inference) number(b []byte, i int) (*schema.Type, int) {
	n, _ := scanNumber(b, i)
	text := b[i:n.end]
	if n.integer {
		if _, ok := n.int64(text); ok {
			return longType, n.end
		}
	} else if _, ok := n.float64(text); ok {
		return doubleType, n.end
	}
	in.mixed = true
	return nil, n.end
}

func (in *inference) text(b []byte, i int) (*schema.Type, int) {
	s, _, end := in.unquote(b, i)
	if _, ok := parseTimestamp(s); ok {
		return timestampType, end
	}
	return stringType, end
}

// unquote returns the text of the valid string at b[i], until the next call, whether half a surrogate pair is missing in
// it, and the index behind the string.
func (in *inference) unquote(b []byte, i int) (s []byte, lone bool, after int) {
	end, kind, _ := scanText(b, i+1)
	if kind != escapedText {
		return b[i+1 : end], false, end + 1
	}
	in.scratch, lone, _ = unescape(in.scratch[:0], b[i+1:end])
	in.mixed = in.mixed || lone
	return in.scratch, lone, end + 1
}

func (in *inference) object(b []byte, i int) (*schema.Type, int) {
	t := &schema.Type{Kind: schema.Struct}
	var seen map[string]bool
	for i = space(b, i+1); b[i] != '}'; {
		key, lone, end := in.unquote(b, i)
		name := string(key)
		var ft *schema.Type
		ft, i = in.value(b, space(b, space(b, end)+1))
		if i = space(b, i); b[i] == ',' {
			i = space(b, i+1)
		}
		if ft == nil {
			continue
		}
		if seen == nil {
			seen = make(map[string]bool)
		}
		if lone || seen[name] || len(t.Fields) >= in.limit {
			in.mixed = true
			continue
		}
		seen[name] = true
		t.Fields = append(t.Fields, schema.Field{Name: name, Type: ft, Nullable: true})
	}
	if len(t.Fields) == 0 {
		t = nil
	}
	return t, i + 1
}

func (in *inference) array(b []byte, i int) (*schema.Type, int) {
	var elem *schema.Type
	for i = space(b, i+1); b[i] != ']'; {
		var t *schema.Type
		t, i = in.value(b, i)
		if i = space(b, i); b[i] == ',' {
			i = space(b, i+1)
		}
		elem = in.unite(elem, t)
	}
	if elem == nil {
		return nil, i + 1
	}
	return &schema.Type{Kind: schema.Array, Elem: elem, ContainsNull: true}, i + 1
}

// unite returns the type for values of a and of b in one list. When there is none, a stands.
func (in *inference) unite(a, b *schema.Type) *schema.Type {
	switch {
	case a == nil:
		return b
	case b == nil || a == b:
		return a
	case a.Kind == schema.Struct && b.Kind == schema.Struct:
		return in.uniteStructs(a, b)
	case a.Kind == schema.Array && b.Kind == schema.Array:
		elem := in.unite(a.Elem, b.Elem)
		if elem == a.Elem {
			return a
		}
		return &schema.Type{Kind: schema.Array, Elem: elem, ContainsNull: true}
	case a == doubleType && b == longType, a == stringType && b == timestampType:
		return a
	case a == longType && b == doubleType, a == timestampType && b == stringType:
		return b
	}
	in.mixed = true
	return a
}

// uniteStructs changes and returns a, which nobody else has seen yet.
func (in *inference) uniteStructs(a, b *schema.Type) *schema.Type {
	at := in.indexOf(a)
	for _, f := range b.Fields {
		if i, ok := at[f.Name]; ok {
			a.Fields[i].Type = in.unite(a.Fields[i].Type, f.Type)
		} else if len(a.Fields) < in.limit {
			at[f.Name] = len(a.Fields)
			a.Fields = append(a.Fields, f)
		} else {
			in.mixed = true
		}
	}
	return a
}

// indexOf returns the index of t's fields by name, to be kept up to date by the caller.
func (in *inference) indexOf(t *schema.Type) map[string]int {
	at, ok := in.index[t]
	if ok {
		return at
	}
	at = make(map[string]int, len(t.Fields))
	for i := range t.Fields {
		at[t.Fields[i].Name] = i
	}
	if in.index == nil {
		in.index = make(map[*schema.Type]map[string]int)
	}
	in.index[t] = at
	return at
}
