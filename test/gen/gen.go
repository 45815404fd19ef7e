// Package gen makes events for tests and benchmarks: the same bytes for the same seed on every machine, and any event
// without those before it, so that several producers can share a range.
package gen

import (
	"encoding/json"
	"strconv"
	"time"
)

// rng is splitmix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators, 2014).
type rng uint64

// at returns the generator of element i under a seed. Its state is an output of another generator: the states of
// neighbours would otherwise be those of one sequence, and their events alike but for a shift.
func at(seed uint64, i int64) rng {
	r := rng(seed ^ uint64(i)<<20)
	return rng(r.next())
}

func (r *rng) next() uint64 {
	*r += 0x9e3779b97f4a7c15
	z := uint64(*r)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// n returns a number in [0, n).
func (r *rng) n(n int) int { return int(r.next() % uint64(n)) }

// one reports true once in n times.
func (r *rng) one(n int) bool { return r.n(n) == 0 }

func pick[T any](r *rng, of []T) T { return of[r.n(len(of))] }

// line builds one JSON object.
type line struct {
	b    []byte
	r    rng
	full bool // every column has a value and every array an element
}

func (l *line) key(name string) {
	if c := l.b[len(l.b)-1]; c != '{' && c != '[' {
		l.b = append(l.b, ',')
	}
	l.b = append(l.b, '"')
	l.b = append(l.b, name...)
	l.b = append(l.b, '"', ':')
}

func (l *line) raw(name, value string) {
	l.key(name)
	l.b = append(l.b, value...)
}

func (l *line) long(name string, v int64) {
	l.key(name)
	l.b = strconv.AppendInt(l.b, v, 10)
}

func (l *line) bool(name string, v bool) {
	l.key(name)
	l.b = strconv.AppendBool(l.b, v)
}

// decimal writes v/10^places with all its places, so that no reader takes it for an integer.
func (l *line) decimal(name string, v int64, places int) {
	l.key(name)
	l.decimalValue(v, places)
}

func (l *line) decimalValue(v int64, places int) {
	unit := int64(1)
	for range places {
		unit *= 10
	}
	if v < 0 {
		l.b, v = append(l.b, '-'), -v
	}
	l.b = strconv.AppendInt(l.b, v/unit, 10)
	l.b = append(l.b, '.')
	for v %= unit; unit > 1; v %= unit {
		unit /= 10
		l.b = append(l.b, byte('0'+v/unit))
	}
}

func (l *line) string(name, v string) {
	l.key(name)
	l.quote(v)
}

func (l *line) quote(v string) {
	for i := range len(v) {
		if v[i] < ' ' || v[i] == '"' || v[i] == '\\' {
			quoted, err := json.Marshal(v)
			if err != nil { // a string always encodes
				panic(err)
			}
			l.b = append(l.b, quoted...)
			return
		}
	}
	l.b = append(l.b, '"')
	l.b = append(l.b, v...)
	l.b = append(l.b, '"')
}

func (l *line) time(name string, t time.Time, layout string) {
	l.key(name)
	l.b = append(l.b, '"')
	l.b = t.AppendFormat(l.b, layout)
	l.b = append(l.b, '"')
}

// open starts a nested value with c, which is '{' or '['.
func (l *line) open(name string, c byte) {
	l.key(name)
	l.b = append(l.b, c)
}

func (l *line) close(c byte) { l.b = append(l.b, c) }

// comma stands before an element of an array unless it is the first.
func (l *line) comma() {
	if l.b[len(l.b)-1] != '[' {
		l.b = append(l.b, ',')
	}
}

const hexDigits = "0123456789abcdef"

// hex writes n random hexadecimal digits.
func (l *line) hex(n int) {
	for v := uint64(0); n > 0; n-- {
		if v == 0 {
			v = l.r.next() | 1<<63
		}
		l.b = append(l.b, hexDigits[v&15])
		v >>= 4
	}
}

// uuid writes a random id in the form of RFC 9562, version 4.
func (l *line) uuid(name string) {
	l.key(name)
	l.b = append(l.b, '"')
	l.hex(8)
	l.b = append(l.b, '-')
	l.hex(4)
	l.b = append(l.b, "-4"...)
	l.hex(3)
	l.b = append(l.b, "-a"...)
	l.hex(3)
	l.b = append(l.b, '-')
	l.hex(12)
	l.b = append(l.b, '"')
}
