package decode

// space returns the index of the first byte from i on that is no white space of JSON.
func space(b []byte, i int) int {
	for i < len(b) {
		switch b[i] {
		case ' ', '\t', '\n', '\r':
			i++
		default:
			return i
		}
	}
	return i
}

// skip checks the value at b[i] by the grammar of RFC 8259 and returns the index behind it, or failed. depth is how deep
// the value's container is nested.
func (d *Decoder) skip(b []byte, i, depth int) int {
	if i >= len(b) {
		return d.wantValue(b, i)
	}
	switch b[i] {
	case '"':
		return d.skipText(b, i)
	case '{':
		return d.skipObject(b, i, depth+1)
	case '[':
		return d.skipArray(b, i, depth+1)
	case 't':
		return d.literal(b, i, "true")
	case 'f':
		return d.literal(b, i, "false")
	case 'n':
		return d.literal(b, i, "null")
	}
	n, ok := scanNumber(b, i)
	if !ok {
		return d.badNumber(b, i, n.end)
	}
	return n.end
}

func (d *Decoder) literal(b []byte, i int, word string) int {
	if len(b)-i >= len(word) && string(b[i:i+len(word)]) == word {
		return i + len(word)
	}
	return d.wantValue(b, i)
}

// skipText checks the string at b[i], escapes included, and returns the index behind it.
func (d *Decoder) skipText(b []byte, i int) int {
	end, kind, at := scanText(b, i+1)
	if end < 0 {
		return d.badText(b, i, end, at)
	}
	if kind == escapedText {
		if bad := badEscapeAt(b[i+1 : end]); bad >= 0 {
			return d.failEscape(b, i+1+bad)
		}
	}
	return end + 1
}

// badEscapeAt is the index of the first backslash in s that begins no escape of JSON, or -1.
func badEscapeAt(s []byte) int {
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			continue
		}
		_, n := escape(s[i:])
		if n == 0 {
			return i
		}
		i += n - 1
	}
	return -1
}

func (d *Decoder) skipObject(b []byte, i, depth int) int {
	if depth > d.opts.MaxDepth {
		return d.tooDeep(i)
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return i + 1
	}
	for {
		if i >= len(b) || b[i] != '"' {
			return d.wantKey(b, i)
		}
		if i = d.skipText(b, i); i < 0 {
			return i
		}
		if i = space(b, i); i >= len(b) || b[i] != ':' {
			return d.wantColon(b, i)
		}
		if i = d.skip(b, space(b, i+1), depth); i < 0 {
			return i
		}
		i = space(b, i)
		switch {
		case i < len(b) && b[i] == ',':
			i = space(b, i+1)
		case i < len(b) && b[i] == '}':
			return i + 1
		default:
			return d.wantComma(b, i, '}')
		}
	}
}

func (d *Decoder) skipArray(b []byte, i, depth int) int {
	if depth > d.opts.MaxDepth {
		return d.tooDeep(i)
	}
	i = space(b, i+1)
	if i < len(b) && b[i] == ']' {
		return i + 1
	}
	for {
		if i = d.skip(b, i, depth); i < 0 {
			return i
		}
		i = space(b, i)
		switch {
		case i < len(b) && b[i] == ',':
			i = space(b, i+1)
		case i < len(b) && b[i] == ']':
			return i + 1
		default:
			return d.wantComma(b, i, ']')
		}
	}
}

// holdsData says whether the valid JSON value in b has a scalar other than null anywhere.
func holdsData(b []byte) bool {
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case 'n':
			i += len("null") - 1
		case '[', ']', '{', '}', ',', ':', ' ', '\t', '\n', '\r':
		case '"':
			end, _, _ := scanText(b, i+1)
			if end < 0 { // no valid value
				return true
			}
			if i = space(b, end+1); i >= len(b) || b[i] != ':' {
				return true
			}
		default:
			return true
		}
	}
	return false
}
