package parquet

import (
	"bytes"
	"fmt"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// Shredding turns nested vectors into the flat runs of Parquet: one entry for each value, null or empty list of a leaf,
// with a definition level (how much of the path exists) and a repetition level (which list it continues).
//
// It goes from the root to the leaf over a run of rows. The entries that are still "live", those at the highest level so
// far, correspond one to one to the slots of the next node's vector; a node takes that many slots, raises the level of
// the valid ones, and a list then replaces each of its live entries by one for each element. So a leaf needs only a
// position per node to go on where it stopped.

// position is where a leaf stands in the vector of a node.
type position struct {
	slot  int // next slot
	value int // next valid slot, counted among the valid ones
}

// cursor is where a leaf stands in the batches.
type cursor struct {
	bound  [][]*column.Vector // for each batch the vectors of the nodes; nil ones are absent, all null
	rows   []int              // of each batch
	bytes  []int              // of the leaf's values in each batch, about
	batch  int
	row    int
	at     []position
	marked mark
}

type mark struct {
	batch, row int
	at         []position
}

// save marks the place for restore.
func (c *cursor) save() {
	c.marked.batch, c.marked.row = c.batch, c.row
	c.marked.at = append(c.marked.at[:0], c.at...)
}

// restore goes back to the last save.
func (c *cursor) restore() {
	c.batch, c.row = c.marked.batch, c.marked.row
	c.at = append(c.at[:0], c.marked.at...)
}

// piece returns how many of the next n rows to take in one walk: they lie in one batch and hold about
// room bytes at most.
func (l *leaf) piece(n, room int) int {
	for l.row == l.rows[l.batch] {
		l.batch, l.row = l.batch+1, 0
		clear(l.at)
	}
	n = min(n, l.rows[l.batch]-l.row)
	if each := l.bytes[l.batch] / l.rows[l.batch]; each > 0 {
		n = min(n, max(1, room/each))
	}
	v := l.bound[l.batch][len(l.nodes)-1]
	if len(l.nodes) > 1 || v == nil || (l.t.Kind != schema.String && l.t.Kind != schema.Binary) {
		return n
	}
	// At most n values follow: halve until they fit, so that one batch of uneven strings makes no huge page.
	from := l.at[0].value
	for n > 1 && int(v.Offsets[min(from+n, len(v.Offsets)-1)]-v.Offsets[from]) > room {
		n /= 2
	}
	return n
}

// levels collects the entries of a page.
type levels struct {
	def, rep   []byte // as long as entries, or empty when the maximum level is 0
	entries    int
	tmp, other run
}

// run is a stretch of entries on their way to the leaf.
type run struct{ def, rep []byte }

func (lv *levels) reset() { lv.def, lv.rep, lv.entries = lv.def[:0], lv.rep[:0], 0 }

// walk takes the next n rows, which piece allowed, and returns the leaf's vector and the range of its values in them.
func (l *leaf) walk(n int, lv *levels) (v *column.Vector, from, to int) {
	vs := l.bound[l.batch]
	l.row += n
	if len(l.nodes) == 1 {
		return l.walkFlat(vs[0], n, lv)
	}
	return l.walkNested(vs, n, lv)
}

func (l *leaf) walkFlat(v *column.Vector, n int, lv *levels) (_ *column.Vector, from, to int) {
	lv.entries += n
	if v == nil {
		lv.def = appendRun(lv.def, 0, n)
		return nil, 0, 0
	}
	p := &l.at[0]
	from, to = p.value, p.value+n
	switch {
	case l.maxDef == 0:
	case v.Valid == nil:
		lv.def = appendRun(lv.def, 1, n)
	default:
		valid := v.Valid[p.slot : p.slot+n]
		lv.def = append(lv.def, valid...)
		to = from + bytes.Count(valid, []byte{1})
	}
	p.slot, p.value = p.slot+n, to
	return v, from, to
}

func (l *leaf) walkNested(vs []*column.Vector, n int, lv *levels) (v *column.Vector, from, to int) {
	r := &lv.tmp
	r.def, r.rep = appendRun(r.def[:0], 0, n), appendRun(r.rep[:0], 0, n)
	level, live := byte(0), n
	for i := range l.nodes {
		if v = vs[i]; v == nil || live == 0 {
			from, to = 0, 0
			break
		}
		nd, p := &l.nodes[i], &l.at[i]
		slot := p.slot
		p.slot += live
		if nd.optional {
			live = raise(r.def, level, v.Valid, slot, live)
			level++
		}
		from, to = p.value, p.value+live
		p.value = to
		if nd.rep > 0 {
			live = lv.expand(level, nd.rep, v.Offsets[from:to+1])
			level++
		}
	}
	lv.entries += len(r.def)
	lv.def = append(lv.def, r.def...)
	if l.maxRep > 0 {
		lv.rep = append(lv.rep, r.rep...)
	}
	return v, from, to
}

// raise lifts the live entries, those at level, whose slot is valid, and returns how many are.
func raise(def []byte, level byte, valid []byte, slot, live int) int {
	if valid == nil {
		for i, d := range def {
			if d == level {
				def[i] = level + 1
			}
		}
		return live
	}
	valid = valid[slot : slot+live]
	k := 0
	for i, d := range def {
		if d == level {
			def[i] = level + valid[k]
			k++
		}
	}
	return bytes.Count(valid, []byte{1})
}

// expand replaces each live entry of tmp by its elements at level+1, an empty list by one entry at level; it returns the
// number of elements.
func (lv *levels) expand(level, rep byte, offsets []int32) int {
	src, dst := &lv.tmp, &lv.other
	dst.def, dst.rep = dst.def[:0], dst.rep[:0]
	k := 0
	for i, d := range src.def {
		if d != level {
			dst.def, dst.rep = append(dst.def, d), append(dst.rep, src.rep[i])
			continue
		}
		n := int(offsets[k+1] - offsets[k])
		k++
		dst.rep = append(dst.rep, src.rep[i])
		if n == 0 {
			dst.def = append(dst.def, level)
			continue
		}
		dst.def = appendRun(dst.def, level+1, n)
		dst.rep = appendRun(dst.rep, rep, n-1)
	}
	lv.tmp, lv.other = lv.other, lv.tmp
	return int(offsets[len(offsets)-1] - offsets[0])
}

func appendRun(dst []byte, b byte, n int) []byte {
	at := len(dst)
	dst = grow(dst, n)
	if b == 0 {
		clear(dst[at:])
		return dst
	}
	for i := range dst[at:] {
		dst[at+i] = b
	}
	return dst
}

// bind finds the vectors of the leaf's nodes in a batch.
func (l *leaf) bind(b *column.Batch) error {
	vs := make([]*column.Vector, len(l.nodes))
	children, fields := b.Columns, b.Schema.Fields
	slots := b.Rows
	for i := range l.nodes {
		n := &l.nodes[i]
		at := n.child
		if at < 0 {
			at = fieldIndex(fields, n.name)
		}
		if at < 0 || at >= len(children) {
			if !n.optional {
				return fmt.Errorf("column %s is absent and not nullable: %w", l.dotted(i), ErrMisfit)
			}
			break
		}
		v := children[at]
		if err := fits(v, n, slots); err != nil {
			return fmt.Errorf("column %s: %w", l.dotted(i), err)
		}
		vs[i], children, fields = v, v.Children, v.Type.Fields
		if slots = v.Present(); n.rep > 0 {
			slots = int(v.Offsets[slots])
		}
	}
	l.bound = append(l.bound, vs)
	l.rows = append(l.rows, b.Rows)
	l.bytes = append(l.bytes, leafBytes(vs[len(vs)-1]))
	return nil
}

// dotted names node i for a message.
func (l *leaf) dotted(i int) string {
	name := ""
	for _, n := range l.nodes[:i+1] {
		switch {
		case n.child >= 0:
			name += "[]"
		case name == "":
			name = n.name
		default:
			name += "." + n.name
		}
	}
	return name
}

func fieldIndex(fields []schema.Field, name string) int {
	for i := range fields {
		if fields[i].Name == name {
			return i
		}
	}
	return -1
}

// fits checks that v is a sealed vector of the node's type with so many slots.
func fits(v *column.Vector, n *node, slots int) error {
	t := v.Type
	if t.Kind != n.t.Kind || (t.Kind == schema.Decimal && (t.Precision != n.t.Precision || t.Scale != n.t.Scale)) {
		return fmt.Errorf("%s in place of %s: %w", kindName(t), kindName(n.t), ErrMisfit)
	}
	if v.Len != slots {
		return fmt.Errorf("%d slots in place of %d (batch not sealed?): %w", v.Len, slots, ErrMisfit)
	}
	present := v.Len
	if v.Valid != nil {
		if present = bytes.Count(v.Valid, []byte{1}); len(v.Valid) != v.Len {
			return fmt.Errorf("%d validity bytes for %d slots: %w", len(v.Valid), v.Len, ErrMisfit)
		}
	}
	if present != v.Present() {
		return fmt.Errorf("%d values for %d valid slots: %w", v.Present(), present, ErrMisfit)
	}
	if !n.optional && present != v.Len {
		return fmt.Errorf("%d nulls in a column that is not nullable: %w", v.Len-present, ErrMisfit)
	}
	return nil
}

// leafBytes returns about how many bytes the leaf's entries take in memory.
func leafBytes(v *column.Vector) int {
	if v == nil {
		return 0
	}
	return len(v.Data) + len(v.Bools) + 4*(len(v.Int32s)+len(v.Float32s)+len(v.Offsets)) +
		8*(len(v.Int64s)+len(v.Float64s)) + v.Len/8
}

// kindName names a type for a message.
func kindName(t *schema.Type) string { return t.String() }
