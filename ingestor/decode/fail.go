package decode

import (
	"strconv"
)

// What a reader of values returns in place of the index behind the value.
const (
	failed = -1 - iota // the record is refused: Decoder.reason says why
	misfit             // the value does not fit the column, and nothing of it was appended
)

const notJSON = "the record is not valid JSON"

// fail refuses the record because of b[at].
func (d *Decoder) fail(at int, what, advice string) int {
	d.reason = reason(d.renderPath(), at, what, advice)
	return failed
}

func (d *Decoder) wantValue(b []byte, i int) int {
	advice := notJSON
	if i < len(b) {
		if a := tokenAdvice(b, i); a != "" {
			advice = a
		}
	}
	return d.fail(i, unexpected(b, i)+" where a value should be", advice)
}

func (d *Decoder) wantKey(b []byte, i int) int {
	if i < len(b) && b[i] == '}' {
		return d.fail(i, "a comma before '}'", "remove the last comma")
	}
	advice := notJSON
	if i == 1 && len(b) > 1 && b[1] == 0 {
		advice = tokenAdvice(b, 0)
	}
	return d.fail(i, unexpected(b, i)+` where a field name in double quotes should be`, advice)
}

func (d *Decoder) wantColon(b []byte, i int) int {
	return d.fail(i, unexpected(b, i)+" where ':' should be", notJSON)
}

func (d *Decoder) wantComma(b []byte, i int, end byte) int {
	return d.fail(i, unexpected(b, i)+" where ',' or "+strconv.QuoteRune(rune(end))+" should be", notJSON)
}

func (d *Decoder) badNumber(b []byte, start, at int) int {
	switch {
	case at < len(b) && b[at] == '0':
		return d.fail(at, "a number with a leading zero", notJSON)
	case at == start || at >= len(b) || at == start+1 && b[at] == 'I':
		return d.wantValue(b, start)
	}
	return d.fail(at, unexpected(b, at)+" where a digit should be", notJSON)
}

// badText explains a failure of scanText for the string at b[start].
func (d *Decoder) badText(b []byte, start, failure, at int) int {
	switch failure {
	case unclosedText:
		return d.fail(start, "a string without an end", notJSON)
	case controlText:
		return d.fail(at, "control character "+unexpected(b, at)[len("byte "):]+" in a string", `write it as an escape such as \n`)
	}
	return d.fail(at, unexpected(b, at)+" is not valid UTF-8", "send text as UTF-8, binary data as base64")
}

func (d *Decoder) failEscape(b []byte, i int) int {
	if i+1 < len(b) && b[i+1] == 'u' {
		return d.fail(i, `\u without four hexadecimal digits`, notJSON)
	}
	return d.fail(i, "backslash before "+unexpected(b, i+1), `write a backslash as \\`)
}

func (d *Decoder) tooDeep(i int) int {
	return d.fail(i, "nested deeper than "+strconv.Itoa(d.opts.MaxDepth)+" levels",
		"flatten the record, or send the inner part as a string")
}
