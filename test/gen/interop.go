package gen

import (
	"strconv"
	"time"
)

// Interop is the set that foreign readers must read back exactly: what they are known to disagree about, in few columns.
// test/interop/python/interop.schema.json has the table that it becomes.
//
// The first row, and the first with late columns, hold a value of every column and an element of every array: weir makes
// a column from its first value, and an empty array without a column has no type to be stored as.
type Interop struct {
	Seed uint64
	Rows int64 // columns of the second generation first appear at LateFrom(Rows)
}

// LateFrom is the first row that may have the columns late_text, late_list and user.level.
func LateFrom(rows int64) int64 { return rows * 6 / 10 }

var (
	regions = []string{"eu-west", "São Paulo", "a/b=c", "100 %", "北京", "q?x#y&z", "plus+colon:"}
	notes   = []string{"", " ", "naïve café", "日本語のテキスト", "emoji 😀 and flag 🇩🇪", "tab\tand\nnewline", `quote " and \ backslash`, "e\u0301 is not é", "right-to-left שלום", "\u2028 and \ufeff", "a much longer text than those thirty-two bytes at which statistics are cut: ÄÖÜ äöü ß"}
	// escaped holds raw JSON strings: escapes that a decoder has to resolve.
	escaped = []string{`"\u00e9\u00E9"`, `"\ud83d\ude00"`, `"\/\b\f\n\r\t"`, `"nul \u0000 inside"`, `"\\u0041"`}
	longs   = []int64{0, 1, -1, 9223372036854775807, -9223372036854775808, 2147483648, -2147483649, 9007199254740993}
	doubles = []string{"0.0", "-0.0", "1.7976931348623157e308", "5e-324", "2.2250738585072014E-308", "0.1", "-1e-7", "123456789.123456789", "1E+2", "9007199254740993.0"}
	stamps  = []string{"1969-12-31T23:59:59.999999Z", "1900-01-01T00:00:00Z", "2026-03-29T02:30:00+02:00", "2026-03-01T12:00:00.5-08:00", "2024-02-29T23:59:59.123456Z", "2262-04-11T23:47:16.854775Z", "1970-01-01T00:00:00Z"}
)

// Append appends row i as one JSON object without a newline.
func (s Interop) Append(dst []byte, i int64) []byte {
	late := i >= LateFrom(s.Rows)
	l := &line{b: append(dst, '{'), r: at(s.Seed, i), full: i == 0 || i == LateFrom(s.Rows)}
	if late && l.maybe(3) {
		l.lateColumns() // before the id: the order of keys is free
	}
	l.long("id", i)
	l.uuid("key")
	l.timestamps(i)
	l.partition()
	l.scalars()
	l.texts()
	l.nested(late)
	l.arrays()
	l.close('}')
	return l.b
}

func (l *line) lateColumns() {
	l.string("late_text", pick(&l.r, notes))
	l.open("late_list", '[')
	for range l.few(3) {
		l.comma()
		l.b = append(l.b, '{')
		l.long("n", int64(l.r.n(100)))
		l.close('}')
	}
	l.close(']')
}

// few returns the length of an array, less than n.
func (l *line) few(n int) int {
	k := l.r.n(n)
	if l.full {
		return max(k, 1)
	}
	return k
}

// maybe reports true once in n times, and always in a full row.
func (l *line) maybe(n int) bool { return l.r.one(n) || l.full }

// optional reports whether a column has a value in this row; if not, it is null or absent.
func (l *line) optional(name string) bool {
	if l.full {
		return true
	}
	switch l.r.n(8) {
	case 0:
		l.raw(name, "null")
		return false
	case 1:
		return false
	}
	return true
}

func (l *line) timestamps(i int64) {
	l.time("at", epoch.Add(time.Duration(i)*1_000_003*time.Microsecond), micros)
	if l.optional("seen") {
		l.raw("seen", `"`+pick(&l.r, stamps)+`"`)
	}
}

func (l *line) partition() {
	if !l.r.one(12) || l.full {
		l.string("region", pick(&l.r, regions))
	} else if l.r.one(2) {
		l.raw("region", "null")
	}
}

func (l *line) scalars() {
	if l.optional("count") {
		l.long("count", pick(&l.r, longs))
	}
	if l.optional("amount") {
		l.raw("amount", pick(&l.r, doubles))
	}
	if l.optional("measure") {
		l.decimal("measure", int64(l.r.next()>>20)-1<<43, 6)
	}
	if l.optional("flag") {
		l.bool("flag", l.r.one(2))
	}
}

func (l *line) texts() {
	if l.optional("note") {
		l.string("note", pick(&l.r, notes))
	}
	if l.optional("escaped") {
		l.raw("escaped", pick(&l.r, escaped))
	}
}

func (l *line) nested(late bool) {
	if !l.optional("user") {
		return
	}
	l.open("user", '{')
	defer l.close('}')
	if l.r.one(16) && !l.full {
		return // a struct without members is not a null one
	}
	if l.optional("name") {
		l.string("name", pick(&l.r, names))
	}
	if late && l.maybe(2) {
		l.long("level", int64(l.r.n(100)))
	}
	if !l.optional("home") {
		return
	}
	l.open("home", '{')
	l.string("city", pick(&l.r, cities))
	if l.optional("lat") {
		l.decimal("lat", int64(l.r.n(180_000_000)-90_000_000), 6)
	}
	l.raw("since", `"`+pick(&l.r, stamps)+`"`)
	l.close('}')
}

func (l *line) arrays() {
	if l.optional("words") {
		l.open("words", '[')
		for range l.few(4) {
			l.comma()
			if l.r.one(6) && !l.full {
				l.b = append(l.b, "null"...)
			} else {
				l.quote(pick(&l.r, notes))
			}
		}
		l.close(']')
	}
	if l.optional("matrix") {
		l.matrix()
	}
	if l.optional("items") {
		l.items()
	}
}

func (l *line) matrix() {
	l.open("matrix", '[')
	for range l.few(3) {
		l.comma()
		l.b = append(l.b, '[')
		for range l.few(3) {
			l.comma()
			l.b = append(l.b, pick(&l.r, doubles)...)
		}
		l.close(']')
	}
	l.close(']')
}

func (l *line) items() {
	l.open("items", '[')
	for n := range l.few(4) {
		l.comma()
		if l.r.one(8) && !l.full {
			l.b = append(l.b, "null"...)
			continue
		}
		l.b = append(l.b, '{')
		l.string("sku", "sku-"+strconv.Itoa(n))
		if l.optional("price") {
			l.decimal("price", int64(l.r.n(100_000)), 2)
		}
		l.open("marks", '[')
		if l.maybe(2) {
			l.b = strconv.AppendInt(l.b, int64(l.r.n(10)), 10)
		}
		l.close(']')
		l.close('}')
	}
	l.close(']')
}
