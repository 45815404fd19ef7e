package decode

import (
	"encoding/json"
	"errors"
)

// avroDefault is a default value as the JSON of a record: a union's is that of its first type, bytes are base64 there.
func avroDefault(t *avroType, v any, depth int) (json.RawMessage, error) {
	if depth > maxAvroDepth {
		return nil, errors.New("nests too deep")
	}
	switch t.kind {
	case avroUnion:
		for _, b := range t.branches { // the first one; some writers take any
			if out, err := avroDefault(b, v, depth+1); err == nil {
				if t.several() && b.kind != avroNull {
					return json.Marshal(map[string]json.RawMessage{b.name: out})
				}
				return out, nil
			}
		}
		return nil, errors.New("is of none of the union's types")
	case avroBytes, avroFixed, avroDecimal, avroUUID:
		s, ok := v.(string)
		if !ok {
			return nil, errors.New("is no text")
		}
		return t.bytesDefault(s)
	case avroRecord:
		return t.recordDefault(v, depth)
	case avroArray, avroMap:
		return t.listDefault(v, depth)
	case avroDate, avroTimestamp:
		return t.timeDefault(v)
	default:
	}
	fits := false
	switch v.(type) {
	case nil:
		fits = t.kind == avroNull
	case bool:
		fits = t.kind == avroBoolean
	case string:
		fits = t.kind == avroString || t.kind == avroEnum
	case json.Number:
		fits = t.kind == avroInt || t.kind == avroLong || t.kind == avroFloat || t.kind == avroDouble
	}
	if !fits {
		return nil, errors.New("is no " + t.name)
	}
	return json.Marshal(v)
}

// bytesDefault reads bytes that are written as the characters of those numbers, and renders them as on the wire.
func (t *avroType) bytesDefault(s string) (json.RawMessage, error) {
	var b []byte
	for _, r := range s {
		if r > 255 {
			return nil, errors.New("holds a character beyond U+00FF")
		}
		b = append(b, byte(r))
	}
	if t.size > 0 && len(b) != t.size {
		return nil, errors.New("has another size than the type")
	}
	if t.size == 0 {
		b = append(appendZigZag(nil, int64(len(b))), b...)
	}
	out, end := t.appendJSON(nil, b, 0, 1)
	if end < 0 {
		return nil, errors.New("is no value of the type")
	}
	return out, nil
}

func appendZigZag(dst []byte, x int64) []byte {
	u := uint64(x<<1) ^ uint64(x>>63)
	for u >= 0x80 {
		dst = append(dst, byte(u)|0x80)
		u >>= 7
	}
	return append(dst, byte(u))
}

func (t *avroType) timeDefault(v any) (json.RawMessage, error) {
	n, ok := v.(json.Number)
	x, err := n.Int64()
	if !ok || err != nil {
		return nil, errors.New("is no number")
	}
	out, end := t.appendJSON(nil, appendZigZag(nil, x), 0, 1)
	if end < 0 {
		return nil, errors.New("is out of range")
	}
	return out, nil
}

func (t *avroType) recordDefault(v any, depth int) (json.RawMessage, error) {
	m, ok := v.(map[string]any)
	if !ok {
		return nil, errors.New("is no object")
	}
	out := map[string]json.RawMessage{}
	for _, f := range t.fields {
		fv, there := m[f.name]
		switch {
		case there:
			d, err := avroDefault(f.typ, fv, depth+1)
			if err != nil {
				return nil, err
			}
			out[f.name] = d
		case f.fallback != nil:
			out[f.name] = f.fallback
		default:
			return nil, errors.New("lacks " + f.name)
		}
	}
	return json.Marshal(out)
}

func (t *avroType) listDefault(v any, depth int) (json.RawMessage, error) {
	if list, ok := v.([]any); ok && t.kind == avroArray {
		all := []json.RawMessage{}
		for _, e := range list {
			d, err := avroDefault(t.elem, e, depth+1)
			if err != nil {
				return nil, err
			}
			all = append(all, d)
		}
		return json.Marshal(all)
	}
	if m, ok := v.(map[string]any); ok && t.kind == avroMap {
		all := map[string]json.RawMessage{}
		for k, e := range m {
			d, err := avroDefault(t.elem, e, depth+1)
			if err != nil {
				return nil, err
			}
			all[k] = d
		}
		return json.Marshal(all)
	}
	return nil, errors.New("is no " + t.name)
}
