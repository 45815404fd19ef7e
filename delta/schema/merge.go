package schema

import (
	"fmt"
	"strings"
)

// MergeError says why two schemas have no union.
type MergeError struct {
	Path string // of the field, dotted
	A, B *Type  // of it on both sides
	Name string // the other spelling, when names differ by case alone
}

func (e *MergeError) Error() string {
	if e.Name != "" {
		return fmt.Sprintf("column %s clashes with %s: readers ignore case", e.Path, e.Name)
	}
	return fmt.Sprintf("column %s is %s and cannot become %s", e.Path, e.A, e.B)
}

// Merge is the union by name of the structs a and b, recursively: the fields of a in their order, then those that only b
// has. What a says of a field stands: nullability, metadata, whether elements may be null. New fields are nullable,
// since earlier rows do not have them. No type is widened. If b brings nothing new the result is a itself.
//
// Error: *MergeError.
func Merge(a, b *Type) (*Type, error) { return merge(a, b, "") }

func merge(a, b *Type, path string) (*Type, error) {
	if a == b {
		return a, nil
	}
	if a.Kind != b.Kind || a.Precision != b.Precision || a.Scale != b.Scale {
		return nil, &MergeError{Path: path, A: a, B: b}
	}
	switch a.Kind {
	case Struct:
		return mergeStructs(a, b, path)
	case Array, Map:
		return mergeContainers(a, b, path)
	default:
		return a, nil
	}
}

func mergeContainers(a, b *Type, path string) (*Type, error) {
	key := a.Key
	name := "element"
	if a.Kind == Map {
		var err error
		if key, err = merge(a.Key, b.Key, join(path, "key")); err != nil {
			return nil, err
		}
		name = "value"
	}
	elem, err := merge(a.Elem, b.Elem, join(path, name))
	if err != nil {
		return nil, err
	}
	if key == a.Key && elem == a.Elem {
		return a, nil
	}
	out := *a
	out.Key, out.Elem = key, elem
	return &out, nil
}

func mergeStructs(a, b *Type, path string) (*Type, error) {
	at := make(map[string]int, len(a.Fields)) // by folded name
	for i := range a.Fields {
		at[strings.ToLower(a.Fields[i].Name)] = i
	}
	out := a // copied on the first change
	edit := func() {
		if out == a {
			c := *a
			c.Fields = append(make([]Field, 0, len(a.Fields)+4), a.Fields...)
			out = &c
		}
	}
	for _, f := range b.Fields {
		full := join(path, f.Name)
		i, ok := at[strings.ToLower(f.Name)]
		if !ok {
			edit()
			f.Nullable = true
			at[strings.ToLower(f.Name)] = len(out.Fields)
			out.Fields = append(out.Fields, f)
			continue
		}
		if old := out.Fields[i]; old.Name != f.Name {
			return nil, &MergeError{Path: full, A: old.Type, B: f.Type, Name: old.Name}
		}
		t, err := merge(out.Fields[i].Type, f.Type, full)
		if err != nil {
			return nil, err
		}
		if t != out.Fields[i].Type {
			edit()
			out.Fields[i].Type = t
		}
	}
	return out, nil
}
