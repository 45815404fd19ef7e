package transform

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/weir-dev/weir/ingestor/decode"
)

// private is a field of records that steps mask or drop: its values must not come back in the column of misfits.
type private struct {
	path string // as the column of misfits has it, folded
	mask *Mask  // nil: dropped
}

// hide notes that the column called name before step at is private.
func (w *binder) hide(at int, name string, m *Mask) {
	if i := w.get(name); i >= 0 && w.scope[i].made == nil && len(w.scope[i].path) > 0 {
		w.b.private = append(w.b.private, private{w.sourcePath(w.scope[i].path), m})
		return
	}
	ok := true
	for i := at - 1; i >= 0 && ok; i-- {
		s := &w.d.prog.steps[i]
		var before string
		if before, ok = s.source(name); !ok && s.Flatten != nil {
			name = s.Flatten.Column
			ok = true
			continue
		}
		name = before
	}
	if ok {
		w.b.private = append(w.b.private, private{decode.Fold(decode.Path(name)), m})
	}
}

// sourcePath is the path of a field of the batch in records.
func (w *binder) sourcePath(path []int) string {
	t := w.b.source
	var names []string
	for _, i := range path {
		names = append(names, decode.SourceName(&t.Fields[i]))
		t = t.Fields[i].Type
	}
	return decode.Fold(decode.Path(names...))
}

// about says whether the misfit at key (folded) is p, is in it, or holds it.
func (p *private) about(key string) bool {
	return within(key, p.path) || within(p.path, key)
}

// within says whether path is outer or leads into it.
func within(path, outer string) bool {
	rest, ok := strings.CutPrefix(path, outer)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[' || rest[0] == '#')
}

const wholeRecord = "$"

// hidden appends the object of misfits in text without what is private.
func hidden(dst, text []byte, all []private) []byte {
	return hide(dst, text, all, func(key string) string { return key })
}

// hide is hidden for an object whose keys become paths by path.
func hide(dst, text []byte, all []private, path func(key string) string) []byte {
	if len(all) == 0 {
		return append(dst, text...)
	}
	start := len(dst)
	err := members(text, func(key string, value json.RawMessage) {
		if key == wholeRecord {
			value = hide(nil, value, all, func(key string) string { return decode.Path(key) })
			if len(value) == 0 {
				value = []byte("{}")
			}
		} else if p := find(all, path(key)); p != nil {
			if p.mask == nil {
				return
			}
			value = quote(p.mask.hideJSON(value))
		}
		dst = addMembers(dst, append(append(quote(key), ':'), value...))
	})
	if err != nil { // it is weir's own JSON, so this cannot be; nothing is the safe answer
		return dst[:start]
	}
	return dst
}

func find(all []private, key string) *private {
	folded := decode.Fold(key)
	for i := range all {
		if all[i].about(folded) {
			return &all[i]
		}
	}
	return nil
}

// hideJSON is what stands for a value in JSON.
func (m *Mask) hideJSON(value json.RawMessage) string {
	if !m.Hash {
		return Redacted
	}
	var s string
	if json.Unmarshal(value, &s) == nil {
		return string(newHasher(m.Salt).digest([]byte(s)))
	}
	return string(newHasher(m.Salt).digest(value))
}

// members calls visit for each member of a JSON object, in order.
func members(object []byte, visit func(key string, value json.RawMessage)) error {
	dec := json.NewDecoder(bytes.NewReader(object))
	if _, err := dec.Token(); err != nil {
		return err
	}
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return err
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return err
		}
		name, _ := key.(string)
		visit(name, value)
	}
	return nil
}

// quote is s as a JSON string.
func quote(s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // a string always has a form
		return []byte(`""`)
	}
	return b
}

func itoa(n int) string { return strconv.Itoa(n) }
