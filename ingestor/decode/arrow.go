package decode

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"strconv"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// arrowPlan is how the fields of a stream go to the columns.
type arrowPlan struct{ steps []arrowStep }

// arrowStep is how a field goes to its column.
type arrowStep struct {
	field   *arrowField
	node    *node          // nil: it has none
	direct  bool           // its arrays are appended as they are
	scratch *column.Vector // else they are read into this first, and then row by row by way of JSON
}

// bindArrow makes the columns that the stream brings and plans how its arrays go to them.
func (d *Decoder) bindArrow(a *arrowReader) {
	if a.plan != nil && a.planOf == d.plan {
		return
	}
	t := &schema.Type{Kind: schema.Struct}
	for _, f := range a.fields {
		if f.natural != nil {
			t.Fields = append(t.Fields, schema.Field{Name: f.name, Type: f.natural, Nullable: true})
		}
	}
	d.shared.evolve(t, false)
	d.refresh()
	p := &arrowPlan{}
	used := map[*node]bool{}
	for _, f := range a.fields {
		s := arrowStep{field: f, node: d.plan.root.byName[f.name]}
		if used[s.node] {
			s.node = nil
		}
		if s.node != nil {
			used[s.node] = true
			s.direct = arrowDirect(f, s.node)
		}
		if !s.direct && f.natural != nil {
			s.scratch = column.New(f.natural)
		}
		p.steps = append(p.steps, s)
	}
	a.plan, a.planOf = p, d.plan
}

// arrowDirect says whether arrays of f can be appended to the column n as they are.
func arrowDirect(f *arrowField, n *node) bool {
	t := f.natural
	switch {
	case t == nil:
		return false
	case f.kind == arrowTime && (n.kind == epochKind || n.kind == schema.TimestampNTZ):
		return true
	case n.kind != t.Kind || n.typ.Precision != t.Precision || n.typ.Scale != t.Scale:
		return false
	}
	switch f.kind {
	case arrowStruct:
		seen := map[string]bool{}
		for _, c := range f.children {
			m := n.obj.byName[c.name]
			if c.natural != nil && (m == nil || seen[c.name] || n.typ.Index(c.name) < 0 || !arrowDirect(c, m)) {
				return false
			}
			seen[c.name] = true
		}
		return len(n.obj.required) == 0
	case arrowList, arrowLargeList, arrowFixedList:
		return n.typ.ContainsNull && arrowDirect(f.children[0], n.elem)
	case arrowMap:
		entries := f.children[0]
		return n.typ.ContainsNull && arrowDirect(entries.children[0], n.key) && arrowDirect(entries.children[1], n.elem)
	default:
		return true
	}
}

// appendArrow appends the record batches of an Arrow IPC stream, column by column. A stream that is malformed, or takes too
// much memory, is refused as a whole; a row that cannot be taken alone.
func (d *Decoder) appendArrow(payload []byte, sys System, rejects []Reject) (int, []Reject) {
	if d.arrow == nil {
		d.arrow = &arrowReader{}
	}
	before, named := d.batch.Rows, len(rejects)
	r := arrowRun{d: d, a: d.arrow, sys: sys, rejects: rejects}
	r.a.left = d.opts.MaxInflated
	err := r.stream(payload)
	switch {
	case r.suspend != nil:
		d.Truncate(before)
		d.shared.refused.Add(1)
		return 0, append(rejects[:named], *r.suspend)
	case err != nil:
		d.Truncate(before)
		d.begin()
		what, advice := "the payload is no Arrow stream that can be read: "+err.Error(), "send schema and record batches as an Arrow IPC stream"
		if errors.Is(err, errArrowBudget) {
			what = "the columns of the payload take more than " + strconv.Itoa(d.opts.MaxInflated) + " bytes"
			advice = "send fewer rows in a payload, or raise the pipeline's memory"
		}
		d.fail(0, what, advice)
		return 0, append(rejects[:named], Reject{Reason: d.refusal()})
	}
	return d.batch.Rows - before, r.rejects
}

// arrowRun is the decoding of one stream.
type arrowRun struct {
	d       *Decoder
	a       *arrowReader
	sys     System
	row     int // of the payload, of the first one of the current batch
	rejects []Reject
	suspend *Reject
	refused int
	over    bool // too many rows are refused: no more are taken

	problems map[int]string // by row of the batch
	rescued  map[int][]byte // members of the object for misfits, by row of the batch
}

var arrowFileMark = []byte("ARROW1")

func (r *arrowRun) stream(b []byte) error {
	if bytes.HasPrefix(b, arrowFileMark) {
		return errors.New("it is an Arrow file")
	}
	for first := true; ; first = false {
		meta, body, rest, err := arrowMessage(b)
		switch {
		case errors.Is(err, io.EOF) && first:
			return errors.New("it is empty")
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case first:
			if err := r.a.use(meta); err != nil {
				r.a.fields = nil
				return err
			}
		default:
			if err := r.message(meta, body); err != nil || r.over || r.suspend != nil {
				return err
			}
		}
		b = rest
	}
}

func (r *arrowRun) message(meta, body []byte) error {
	f := &flat{b: meta}
	root := f.root()
	header, t := f.byteAt(root, 1), f.tableAt(root, 2)
	if f.bad {
		return errArrowBody
	}
	switch header {
	case arrowDictHeader:
		return r.a.dictionary(f, t, body)
	case arrowBatchHeader:
		return r.batch(f, t, body)
	}
	return errors.New("it has a message of an unknown kind")
}

// batch appends a record batch. When rows of it are refused it is read again without them.
func (r *arrowRun) batch(f *flat, t table, body []byte) error {
	r.d.bindArrow(r.a)
	b, err := r.a.batch(f, t, body)
	if err != nil {
		return err
	}
	arrays := r.a.tops[:0]
	for _, field := range r.a.fields {
		arr := b.array(field)
		if arr.length < b.rows {
			b.fail(errArrowBody)
		}
		arrays = append(arrays, arr)
	}
	r.a.tops = arrays
	if b.failure != nil {
		return b.failure
	}
	if r.a.left -= b.rows * (r.d.plan.snap.leaves + 1); r.a.left < 0 {
		return errArrowBudget
	}
	rows, left := slots{n: b.rows}, r.a.left
	for range maxAttempts {
		r.a.left, r.problems, r.rescued = left, nil, nil
		base := r.d.batch.Rows
		again, err := r.columns(arrays, rows, base)
		switch {
		case err != nil || r.suspend != nil:
			return err
		case again:
			r.d.Truncate(base)
			r.d.refresh()
			r.d.bindArrow(r.a)
			continue
		case len(r.problems) == 0:
			r.finish(rows, base)
			r.row += b.rows
			return nil
		}
		r.d.Truncate(base)
		rows = r.refuse(rows)
	}
	return errors.New("its rows are refused for ever new reasons")
}

// refuse names the rows that have a problem and returns the others.
func (r *arrowRun) refuse(rows slots) slots {
	good := []int32{}
	for i := range rows.len() {
		at := rows.get(i)
		why, isBad := r.problems[at]
		switch {
		case r.over:
		case !isBad:
			good = append(good, int32(at))
		case r.refused == maxRejects:
			r.over = true
			why = "more than " + strconv.Itoa(maxRejects) + " rows of the payload are refused; this one and all after it are not taken"
			fallthrough
		default:
			r.refused++
			r.d.shared.refused.Add(1)
			r.rejects = append(r.rejects, Reject{Row: r.row + at, Reason: why})
		}
	}
	return slots{at: good}
}

func (r *arrowRun) problem(row int, why string) {
	if r.problems == nil {
		r.problems = map[int]string{}
	}
	if r.problems[row] == "" {
		r.problems[row] = why
	}
}

// columns appends the rows of all arrays. again says that there is a column for misfits now.
func (r *arrowRun) columns(arrays []*arrowArray, rows slots, base int) (again bool, err error) {
	for i := range r.a.plan.steps {
		s := &r.a.plan.steps[i]
		switch {
		case s.field.natural == nil:
			continue
		case s.direct:
			s.node.vec.PadNulls(base)
			_, err = r.put(s, s.node.vec, arrays[i], rows)
		case s.node == nil && r.d.opts.OnUnknown == DropUnknown:
			r.d.shared.dropped.Add(int64(rows.len()))
			continue
		default:
			s.scratch.Reset()
			var over bool
			if over, err = r.put(s, s.scratch, arrays[i], rows); err == nil && !over {
				s.scratch.Seal(rows.len())
				r.convert(s, rows, base)
			}
		}
		if err != nil || r.suspend != nil {
			return false, err
		}
	}
	if r.rescued != nil && r.d.plan.rescue < 0 {
		r.d.shared.addRescue()
		return true, nil
	}
	return false, r.check(rows, base)
}

// put appends the rows of an array to v. over says that more rows cannot be stored than are named.
func (r *arrowRun) put(s *arrowStep, v *column.Vector, arr *arrowArray, rows slots) (over bool, err error) {
	p := arrowPut{reader: r.a}
	p.put(v, arr, rows)
	for _, bad := range p.bad {
		what := "column " + printable([]byte(s.field.name), maxPathBytes) + " holds " + bad.what
		if bad.slot < 0 {
			return false, errors.New(what)
		}
		r.problem(bad.slot, what)
	}
	return len(p.bad) > maxRejects, p.err
}

// convert takes the values of a column that has another type, or is none, row by row as JSON.
func (r *arrowRun) convert(s *arrowStep, rows slots, base int) {
	d, src := r.d, newSource(s.scratch)
	key := []byte(s.field.name)
	for i := range rows.len() {
		row := rows.get(i)
		if r.problems[row] != "" { // it is refused, and what it has need not be text
			continue
		}
		d.begin()
		if d.json = src.appendSlot(d.json, i); string(d.json) == "null" {
			continue
		}
		d.depth = 1
		at := &d.path[1]
		at.node, at.key, at.index = s.node, key, -1
		var code int
		if s.node == nil {
			code = d.refuge(0, 0, 0)
		} else {
			code = d.convertText(0, 0, 0, s.node, base+i, 1)
		}
		if code >= 0 && d.opts.OnMismatch != Rescue && d.refuseMisfit(d.json) {
			code = failed
		}
		if code < 0 {
			if d.suspends() {
				r.suspend = &Reject{Row: r.row + row, Reason: d.reason, Suspend: true}
				d.reason = ""
				return
			}
			r.problem(row, d.reason)
			d.reason = ""
			continue
		}
		r.keep(i, key)
	}
}

// keep collects the misfits of a value of row i.
func (r *arrowRun) keep(i int, key []byte) {
	d := r.d
	if d.misfits.none() {
		return
	}
	if r.rescued == nil {
		r.rescued = map[int][]byte{}
	}
	out := r.rescued[i]
	if len(out) > 0 {
		out = append(out, ',')
	}
	if d.misfits.coarse { // too many to name each
		out = append(append(appendQuoted(out, appendName(nil, key, 0)), ':'), d.json...)
	} else {
		for m := range d.misfits.list {
			out = d.misfits.appendMember(out, d.json, m)
		}
	}
	r.rescued[i] = out
	d.shared.rescued.Add(1)
}

// check finds rows that lack what every record must have.
func (r *arrowRun) check(rows slots, base int) error {
	d := r.d
	if d.opts.NeedColumn && !d.plan.snap.plain && rows.len() > 0 {
		return errors.New("it brings no column to a table that has none yet")
	}
	for _, n := range d.plan.root.required {
		r.missing(n.vec, n.name, rows, base, "missing, and the table's column is NOT NULL")
	}
	id := d.opts.Identity
	if id == nil {
		return nil
	}
	for i := range rows.len() {
		d.begin()
		if !d.identifiedAt(base + i) {
			r.problem(rows.get(i), d.reason)
			d.reason = ""
		}
	}
	return nil
}

func (r *arrowRun) missing(v *column.Vector, name string, rows slots, base int, why string) {
	if v.Len >= base+rows.len() && v.Valid == nil {
		return
	}
	for i := range rows.len() {
		if slot := base + i; slot >= v.Len || v.IsNull(slot) {
			r.problem(rows.get(i), "field "+printable([]byte(name), maxPathBytes)+": "+why+"; send a value")
		}
	}
}

// finish completes the rows with what weir adds.
func (r *arrowRun) finish(rows slots, base int) {
	d, n := r.d, rows.len()
	if r.rescued != nil {
		v := d.batch.Columns[d.plan.rescue]
		for _, i := range slices.Sorted(maps.Keys(r.rescued)) {
			v.PadNulls(base + i)
			v.Data = append(append(append(v.Data, '{'), r.rescued[i]...), '}')
			v.AppendBytes(nil) // closes the value
		}
	}
	for range n {
		d.appendSystem(r.sys)
		d.batch.Rows++
	}
}
