package decode

import (
	"bytes"
	"strconv"
)

// pathSteps is one more than the deepest nesting of a record, rounded up.
const pathSteps = HighestMaxDepth + 4

// step is where the decoder stands in one of the containers that it is in.
type step struct {
	node  *node  // the member, nil when it is none
	key   []byte // else the key of an unknown member or of a map, nil in a list
	index int    // else the index in a list, or a field without a name as numbered says
	lone  bool   // key has U+FFFD in place of half a surrogate pair
}

// renderPath returns the path to where the decoder stands.
func (d *Decoder) renderPath() []byte { return d.appendPath(nil) }

func (d *Decoder) appendPath(path []byte) []byte {
	start := len(path)
	for i := 1; i <= d.depth; i++ {
		switch s := &d.path[i]; {
		case s.node != nil:
			path = appendName(path, []byte(s.node.name), start)
		case s.key != nil:
			path = appendName(path, s.key, start)
		case s.index >= 0 && i > 1:
			path = appendIndex(path, s.index)
		case s.index < -1:
			path = appendNumber(path, -2-s.index, start)
		}
	}
	return path
}

// misfits are the values of a record that have no column, by their place in it.
type misfits struct {
	list   []valueRange
	paths  []byte
	fresh  bool // a field among them may become a column
	coarse bool // too many to name each: the whole record is kept instead
}

// valueRange is record[from:to], and its path paths[path:pathEnd].
type valueRange struct {
	from, to, path, pathEnd int
	why                     noteReason
}

// noteReason says why a value is noted.
type noteReason uint8

const (
	noColumn  noteReason = iota // nothing fits it, unless evolution makes a column
	wider                       // its column is of a narrower type, which may still change
	unwelcome                   // the policy for unknown fields sends it here
)

// Bounds of what is remembered of a record. A path may be much longer than its value.
const (
	maxMisfits      = 256
	maxMisfitsPaths = 16 << 10
)

// wholeRecord is the path of the record itself.
const wholeRecord = "$"

func (m *misfits) reset() {
	m.list, m.paths = m.list[:0], m.paths[:0]
	m.fresh, m.coarse = false, false
}

// none says whether every value of the record has a column. A coarse list may be empty: what it named was cut.
func (m *misfits) none() bool { return len(m.list) == 0 && !m.coarse }

func (m *misfits) mark() int { return len(m.list) }

// cut forgets what came after mark.
func (m *misfits) cut(mark int) { m.list = m.list[:min(mark, len(m.list))] }

// note remembers that the value at record[from:to], where the decoder stands, has no column.
func (d *Decoder) note(from, to int, why noteReason) {
	m := &d.misfits
	if m.coarse {
		return
	}
	start := len(m.paths)
	m.paths = d.appendPath(m.paths)
	m.list = append(m.list, valueRange{from, to, start, len(m.paths), why})
	m.coarse = len(m.list) > maxMisfits || len(m.paths) > maxMisfitsPaths
}

// settle finds a place for the misfits of the valid record b. If it returns false the record must be read again under
// the newer schema, or is refused when there is a reason.
func (d *Decoder) settle(b []byte, mayEvolve bool) bool {
	whole := d.opts.OnMismatch != Rescue
	if d.misfits.fresh && mayEvolve {
		in := inference{limit: d.opts.MaxColumns}
		t, _ := in.value(b, start(b))
		if t != nil && (!whole || !in.mixed) {
			d.shared.evolve(t, whole)
		}
		if d.shared.cur.Load() != d.plan.snap {
			return false
		}
	}
	if whole && d.refuseMisfit(b) {
		return false
	}
	if d.plan.rescue < 0 {
		d.shared.addRescue()
		return false
	}
	d.rescue(b)
	return true
}

// refuseMisfit refuses the record b if there is a misfit that is not meant for the column of misfits.
func (d *Decoder) refuseMisfit(b []byte) bool {
	for _, m := range d.misfits.list {
		if m.why == unwelcome {
			continue
		}
		path := d.misfits.paths[m.path:m.pathEnd]
		d.mismatch = true
		if m.why == wider {
			d.reason = reason(path, m.from, excerpt(b[m.from:m.to])+" does not fit the column's type long",
				"send values of that type, or use another field name")
			return true
		}
		d.reason = reason(path, m.from, "no column can be made for the field",
			"rename it or change its value: the name is taken in another case, there are too many columns, or a list is mixed")
		return true
	}
	return false
}

// start is the index of the object in the record b.
func start(b []byte) int {
	i := 0
	for b[i] != '{' {
		i++
	}
	return i
}

// rescue appends the misfits of the record b, as they were written, to the column for them: {"path": value, ...}.
func (d *Decoder) rescue(b []byte) {
	m := &d.misfits
	out := append(d.scratch[:0], '{')
	if m.coarse {
		out = append(out, `"`+wholeRecord+`":`...)
		out = append(out, bytes.TrimRight(b[start(b):], " \t\r\n")...)
		d.shared.rescued.Add(1)
	} else {
		for i := range m.list {
			out = m.appendMember(out, b, i)
		}
		d.shared.rescued.Add(int64(len(m.list)))
	}
	out = append(out, '}')
	d.scratch = out
	v := d.batch.Columns[d.plan.rescue]
	v.PadNulls(d.batch.Rows)
	v.AppendBytes(out)
}

func (m *misfits) appendMember(out, b []byte, i int) []byte {
	if i > 0 {
		out = append(out, ',')
	}
	r := m.list[i]
	out = appendQuoted(out, m.paths[r.path:r.pathEnd])
	if n := m.earlier(i); n > 0 { // a key that occurs more than twice
		out = append(out[:len(out)-1], '#')
		out = strconv.AppendInt(out, int64(n+1), 10)
		out = append(out, '"')
	}
	out = append(out, ':')
	return append(out, b[r.from:r.to]...)
}

// earlier counts the misfits before i with the same path.
func (m *misfits) earlier(i int) int {
	path := m.paths[m.list[i].path:m.list[i].pathEnd]
	n := 0
	for _, r := range m.list[:i] {
		if string(m.paths[r.path:r.pathEnd]) == string(path) {
			n++
		}
	}
	return n
}
