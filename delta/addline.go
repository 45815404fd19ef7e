package delta

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"
)

// parseAdd parses a line that adds a file, in the form in which writers write it; a large log consists of little else, and
// the standard decoder takes most of the time to open one. It takes only what it is sure of: for every line that it takes,
// encoding/json says the same (a fuzz test compares them). False: not such a line, whatever it is.
func parseAdd(line []byte) (*Add, bool) {
	const begin = `{"add":{`
	if len(line) < len(begin) || string(line[:len(begin)]) != begin || !utf8.Valid(line) {
		return nil, false
	}
	p := lineParser{b: line, at: len(begin)}
	a := &Add{}
	if !p.object(func(name string) bool { return p.addMember(a, name) }) {
		return nil, false
	}
	return a, string(p.b[p.at:]) == "}"
}

// addMember parses the value of a member of an add action.
func (p *lineParser) addMember(a *Add, name string) bool {
	switch name {
	case "path":
		return p.once(0) && p.text(&a.Path)
	case "partitionValues":
		return p.once(1) && p.texts((*map[string]string)(&a.PartitionValues))
	case "size":
		return p.once(2) && p.long(&a.Size)
	case "modificationTime":
		return p.once(3) && p.long(&a.ModificationTime)
	case "dataChange":
		return p.once(4) && p.bool(&a.DataChange)
	case "stats":
		return p.once(5) && p.text(&a.Stats)
	case "tags":
		return p.once(6) && p.texts(&a.Tags)
	}
	return false
}

// lineParser parses JSON without blanks, numbers that are integers, and no member twice.
type lineParser struct {
	b    []byte
	at   int
	seen uint
}

func (p *lineParser) once(member int) bool {
	was := p.seen
	p.seen |= 1 << member
	return was != p.seen
}

func (p *lineParser) take(c byte) bool {
	if p.at < len(p.b) && p.b[p.at] == c {
		p.at++
		return true
	}
	return false
}

func (p *lineParser) word(w string) bool {
	if len(p.b)-p.at >= len(w) && string(p.b[p.at:p.at+len(w)]) == w {
		p.at += len(w)
		return true
	}
	return false
}

// object parses the members of an object whose brace has been taken.
func (p *lineParser) object(member func(name string) bool) bool {
	if p.take('}') {
		return true
	}
	for {
		var name string
		if !p.string(&name) || !p.take(':') || !member(name) {
			return false
		}
		if p.take('}') {
			return true
		}
		if !p.take(',') {
			return false
		}
	}
}

// text parses a string or null.
func (p *lineParser) text(into *string) bool { return p.word("null") || p.string(into) }

// noStrings is every empty map of the actions that were read: what they point to is never changed.
var noStrings = map[string]string{}

func (p *lineParser) texts(into *map[string]string) bool {
	if p.word("null") {
		return true
	}
	if p.word("{}") {
		*into = noStrings
		return true
	}
	if !p.take('{') {
		return false
	}
	m := map[string]string{}
	*into = m
	return p.object(func(name string) bool {
		var value string
		if _, twice := m[name]; twice || !p.text(&value) {
			return false
		}
		m[name] = value
		return true
	})
}

func (p *lineParser) bool(into *bool) bool {
	if *into = p.word("true"); *into {
		return true
	}
	return p.word("false")
}

func (p *lineParser) long(into *int64) bool {
	start := p.at
	for p.at < len(p.b) && p.b[p.at] >= '0' && p.b[p.at] <= '9' {
		p.at++
	}
	digits := p.b[start:p.at]
	if len(digits) > 1 && digits[0] == '0' {
		return false
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	*into = n
	return err == nil
}

// string parses a string.
func (p *lineParser) string(into *string) bool {
	if !p.take('"') {
		return false
	}
	start, escapes := p.at, 0
	for ; p.at < len(p.b); p.at++ {
		switch c := p.b[p.at]; {
		case c == '"':
			raw := p.b[start:p.at]
			p.at++
			return unescape(raw, escapes, into)
		case c == '\\':
			escapes++
			p.at++
		case c < ' ':
			return false
		}
	}
	return false
}

// unescape undoes the escapes of a string; those of statistics are of quotes.
func unescape(raw []byte, escapes int, into *string) bool {
	if escapes == 0 {
		*into = string(raw)
		return true
	}
	out := make([]byte, 0, len(raw)-escapes)
	for i := 0; i < len(raw); i++ {
		if raw[i] == '\\' {
			if i++; raw[i] != '"' && raw[i] != '\\' {
				return unescapeAny(raw, into)
			}
		}
		out = append(out, raw[i])
	}
	*into = string(out)
	return true
}

// unescapeAny leaves rarer escapes to encoding/json.
func unescapeAny(raw []byte, into *string) bool {
	quoted := make([]byte, 0, len(raw)+2)
	quoted = append(append(append(quoted, '"'), raw...), '"')
	return json.Unmarshal(quoted, into) == nil
}
