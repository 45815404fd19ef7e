package transform

import (
	"errors"
	"slices"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// Decoder decodes payloads and takes their records through the steps of a program. It serves one goroutine at a time.
//
// Invariant between calls: every row of the inner decoder was taken through the steps. The rows that a step left out and
// that could not be cut off at once are listed in gone.
type Decoder struct {
	dec   *decode.Decoder
	prog  *Program       // nil: no steps
	table *decode.Schema // what comes out grows this one; without steps it is the inner decoder's

	bound *binding
	made  map[madeKey]*made
	gone  []int          // rows, ascending
	notes map[int][]byte // by row: members for the column of misfits
	taken map[*column.Batch]*column.Batch
}

type madeKey struct{ step, n int }

// NewDecoder returns a decoder of records of schema s into the columns of table. Without a program the two are the same.
func NewDecoder(s, table *decode.Schema, p *Program) *Decoder {
	d := &Decoder{dec: decode.NewDecoder(s), prog: p, table: table}
	if p != nil {
		d.made = map[madeKey]*made{}
		d.notes = map[int][]byte{}
		d.taken = map[*column.Batch]*column.Batch{}
	}
	return d
}

// Rows returns how many records the batch holds.
func (d *Decoder) Rows() int { return d.dec.Rows() - len(d.gone) }

// Bytes returns about how much memory the rows take.
func (d *Decoder) Bytes() int64 {
	n := d.dec.Bytes()
	for _, m := range d.made {
		if m.vec != nil && d.prog != nil {
			n += m.vec.Bytes()
		}
	}
	return n
}

// Append decodes the records of a payload and takes them through the steps. accepted is how many are in the batch; those
// that were refused are appended to rejects, those that a filter left out are in neither.
func (d *Decoder) Append(mime event.MIME, payload []byte, sys decode.System, rejects []decode.Reject) (accepted int, out []decode.Reject) {
	if d.prog == nil {
		return d.dec.Append(mime, payload, sys, rejects)
	}
	from, named := d.dec.Rows(), len(rejects)
	n, rejects := d.dec.Append(mime, payload, sys, rejects)
	if n == 0 {
		return 0, rejects
	}
	if d.bound == nil || d.bound.source != d.dec.Batch().Schema {
		d.bind()
	}
	refusedBefore := rejects[named:len(rejects):len(rejects)]
	var rows *decode.Rows // found when they are needed
	rowOf := func(i int) int {
		if rows == nil {
			rows = decode.NewRows(mime, payload, refusedBefore)
		}
		return rows.Of(i)
	}
	for i, row := 0, from; i < n; i++ {
		keep, refused, err := d.row(row)
		switch {
		case err != nil:
			refused = err.Error()
		case keep && len(d.table.Current().Fields) == 0:
			keep, refused = false, "the steps of the pipeline leave no column of the record: keep one with a value"
		}
		switch {
		case err != nil && d.prog.opts.OnError == Suspend:
			d.cut(from)
			return 0, append(rejects[:named], decode.Reject{Row: rowOf(i), Reason: refused, Suspend: true})
		case refused != "":
			rejects = append(rejects, decode.Reject{Row: rowOf(i), Reason: refused})
			fallthrough
		case !keep:
			row = d.leaveOut(row)
		default:
			accepted++
			row++
		}
	}
	return accepted, rejects
}

// leaveOut takes a row out and returns the next one to look at.
func (d *Decoder) leaveOut(row int) int {
	if row == d.dec.Rows()-1 {
		d.cut(row)
		return row
	}
	d.gone = append(d.gone, row)
	return row + 1
}

// cut takes back all rows from row on.
func (d *Decoder) cut(row int) {
	for _, c := range d.bound.cursors {
		c.rewind(row)
	}
	for _, m := range d.made {
		m.cur.rewind(row)
		if m.vec != nil {
			m.vec.Truncate(row)
		}
	}
	for at := range d.notes {
		if at >= row {
			delete(d.notes, at)
		}
	}
	i, _ := slices.BinarySearch(d.gone, row)
	d.gone = d.gone[:i]
	d.dec.Truncate(row)
}

// column returns the n-th column that a step makes, of type t if that is known.
func (d *Decoder) column(step, n int, t *schema.Type) *made {
	key := madeKey{step, n}
	m := d.made[key]
	if m == nil {
		m = &made{cur: &cursor{vec: noVector}}
		d.made[key] = m
	}
	if m.vec == nil && t != nil {
		m.use(t)
	}
	return m
}

// noVector stands for a column without a type: all its slots are null.
var noVector = column.New(stringType)

// grow makes the table's schema hold what comes out. A column that the table has with another type gets its values
// converted when the batch is taken.
func (d *Decoder) grow() {
	if t := d.bound.result(); len(t.Fields) > 0 {
		d.table.Extend(t)
	}
}

// typed settles the type of a column that a step makes by its first value; the table, or a decoder beside this one, may
// have settled it already.
func (d *Decoder) typed(m *made, name string, t *schema.Type) {
	d.table.Extend(&schema.Type{Kind: schema.Struct, Fields: []schema.Field{{Name: name, Type: t, Nullable: true}}})
	if i := d.table.Current().FoldedIndex(name); i >= 0 && settable(d.table.Current().Fields[i].Type) {
		t = d.table.Current().Fields[i].Type
	}
	m.use(t)
}

// row takes a row through the steps.
func (d *Decoder) row(row int) (keep bool, refused string, err error) {
	for i := range d.bound.ops {
		o := &d.bound.ops[i]
		var failed error
		switch {
		case o.step.Set != nil:
			failed = d.set(o, row)
		case o.step.Mask != nil:
			d.mask(o, row)
		case o.step.Derive != nil:
			failed = d.derive(o, row)
		default:
			var yes bool
			if yes, failed = d.holds(o, row); failed != nil {
				break
			}
			if o.step.Route != nil && yes {
				return false, routeReason(o.step.Route), nil
			}
			if o.step.Route == nil && !yes {
				d.prog.filtered.Add(1)
				return false, "", nil
			}
		}
		if failed == nil {
			continue
		}
		d.prog.failed.Add(1)
		failed = &StepError{Step: o.at, Column: o.name, Err: failed}
		if d.prog.opts.OnError != Rescue {
			return false, "", failed
		}
		d.note(row, o, failed)
	}
	return true, "", nil
}

func routeReason(r *Route) string {
	if r.Reason != "" {
		return r.Reason
	}
	return "the pipeline refuses events with " + r.When
}

// holds evaluates a condition.
func (d *Decoder) holds(o *op, row int) (bool, error) {
	o.act.row = row
	v, err := o.step.expr.eval(o.act)
	if errors.Is(err, errNull) || err == nil && v == nil {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	yes, ok := v.Value().(bool)
	if !ok {
		return false, errors.New("the expression is a " + v.Type().TypeName() + ", it must be true or false")
	}
	return yes, nil
}

// Take returns the rows as a sealed batch of the table's schema and begins a new one.
func (d *Decoder) Take() *column.Batch {
	if d.prog == nil {
		return d.dec.Take()
	}
	if d.bound == nil || d.bound.source != d.dec.Batch().Schema {
		d.bind()
	}
	src := d.dec.Take()
	out := d.project(src)
	d.rescue(out)
	if len(d.gone) > 0 {
		out = out.Gather(d.kept(out.Rows))
		d.dec.Recycle(src)
		src = nil
	}
	result := d.fit(out)
	if result == out && src != nil {
		d.taken[out] = src
	}
	d.bound, d.gone = nil, nil
	clear(d.made)
	clear(d.notes)
	return result
}

// Recycle gives the memory of a batch that Take returned back for reuse.
func (d *Decoder) Recycle(b *column.Batch) {
	if d.prog == nil {
		d.dec.Recycle(b)
		return
	}
	src := d.taken[b]
	delete(d.taken, b)
	if src != nil && b.Columns != nil {
		d.dec.Recycle(src)
	}
}

func (d *Decoder) kept(rows int) []int {
	kept := make([]int, 0, rows-len(d.gone))
	gone := d.gone
	for row := range rows {
		if len(gone) > 0 && gone[0] == row {
			gone = gone[1:]
			continue
		}
		kept = append(kept, row)
	}
	return kept
}
