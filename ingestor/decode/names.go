package decode

import (
	"bytes"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
	"unsafe"

	"github.com/weir-dev/weir/delta/schema"
)

const (
	// RescuedColumn is the column for values that fit no other, unless the table has that name for something else.
	RescuedColumn = "_rescued"
	// SourceKey is in the metadata of a column whose field has a name that a column cannot have: that name.
	SourceKey = "weir.source"
)

const (
	systemPrefix = "_weir_"
	streamName   = systemPrefix + "stream"
	seqName      = systemPrefix + "seq"
	receivedName = systemPrefix + "received"
)

// sourceName is what the field of column f is called in records.
func sourceName(f *schema.Field) string {
	if s, ok := f.Metadata[SourceKey].(string); ok {
		return s
	}
	return f.Name
}

// reserved says whether a top-level field of that name would be taken for one of weir's own.
func reserved[T string | []byte](name T) bool {
	if len(name) < len(systemPrefix) || name[0] != '_' {
		return false
	}
	return strings.EqualFold(string(name), RescuedColumn) || strings.EqualFold(string(name[:len(systemPrefix)]), systemPrefix)
}

// columnName is the name of the column for a field of the given name: what Spark forbids, and control characters,
// become "_". ok is false when there is none.
func columnName(name string) (column string, ok bool) {
	out, ok := appendColumnName(nil, []byte(name))
	return string(out), ok
}

func appendColumnName(dst, name []byte) (out []byte, ok bool) {
	for _, r := range string(name) {
		if strings.ContainsRune(" ,;{}()=", r) || unicode.IsControl(r) {
			r = '_'
		}
		dst = utf8.AppendRune(dst, r)
	}
	return dst, len(name) > 0 && schema.CheckName(unsafeString(dst)) == nil
}

// fold is the form under which two names are one to readers: upper, then lower case, rune by rune, as Java's
// equalsIgnoreCase compares. It is coarser than strings.ToLower and than strings.EqualFold.
func fold(name string) string {
	for i := range len(name) {
		if c := name[i]; c >= utf8.RuneSelf || 'A' <= c && c <= 'Z' {
			return string(appendFold(nil, []byte(name)))
		}
	}
	return name
}

func appendFold(dst, name []byte) []byte {
	for _, r := range string(name) {
		dst = utf8.AppendRune(dst, foldRune(r))
	}
	return dst
}

func foldRune(r rune) rune {
	if r < utf8.RuneSelf {
		if 'A' <= r && r <= 'Z' {
			r += 'a' - 'A'
		}
		return r
	}
	return unicode.ToLower(unicode.ToUpper(r))
}

// appendName appends a step to a path such as a.`b.c`[3].d, which begins at path[start]; a name that the notation would
// misread is quoted.
func appendName(path, name []byte, start int) []byte {
	if len(path) > start {
		path = append(path, '.')
	}
	if len(name) > 0 && !bytes.ContainsAny(name, ".[]`#$") {
		return append(path, name...)
	}
	path = append(path, '`')
	for _, c := range name {
		if c == '`' {
			path = append(path, '`')
		}
		path = append(path, c)
	}
	return append(path, '`')
}

func appendIndex(path []byte, index int) []byte {
	path = append(path, '[')
	path = strconv.AppendInt(path, int64(index), 10)
	return append(path, ']')
}

// unsafeString is b as a string without a copy, for as long as b does not change.
func unsafeString(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b)) //nolint:gosec // callers keep b as it is and the string to themselves
}
