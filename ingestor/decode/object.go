package decode

import (
	"github.com/weir-dev/weir/delta/schema"
)

// object reads the object at b[i], which is '{', into the members of o at the given slot, and returns the index behind
// it, or failed. depth is how deep the object is nested, 1 for the record.
//
// Members are expected in the order of the record before; only where they differ is a key looked up.
func (d *Decoder) object(b []byte, i int, o *object, slot, depth int) int {
	if depth > d.opts.MaxDepth {
		return d.tooDeep(i)
	}
	d.depth = depth
	at := &d.path[depth]
	at.node, at.key, at.index = nil, nil, -1
	prev := &o.start
	i++
	if i < len(b) && b[i] <= ' ' {
		i = space(b, i)
	}
	if i < len(b) && b[i] == '}' {
		return d.closeObject(i, o, slot, depth)
	}
	for {
		n := prev.next
		if n != nil && n.keyAt(b, i) {
			i += len(n.quoted)
		} else if n, i = d.member(b, i, o, prev, at); i < 0 {
			return i
		}
		at.node = n
		if i < len(b) && b[i] <= ' ' {
			i = space(b, i)
		}
		if n == nil {
			i = d.unknown(b, i, o, at, depth)
		} else {
			prev = n
			j := d.value(b, i, n, slot, depth)
			if j == misfit {
				j = d.misfit(b, i, n, slot, depth)
			}
			i = j
		}
		if i < 0 {
			return i
		}
		if i < len(b) && b[i] <= ' ' {
			i = space(b, i)
		}
		switch {
		case i < len(b) && b[i] == ',':
			i++
			if i < len(b) && b[i] <= ' ' {
				i = space(b, i)
			}
		case i < len(b) && b[i] == '}':
			return d.closeObject(i, o, slot, depth)
		default:
			return d.wantComma(b, i, '}')
		}
	}
}

func (d *Decoder) closeObject(i int, o *object, slot, depth int) int {
	for _, n := range o.required {
		if n.vec.Len <= slot {
			d.path[depth].node = n
			return d.fail(i, "missing, and the table's column is NOT NULL", "send a value")
		}
	}
	d.depth = depth - 1
	return i + 1
}

func (d *Decoder) colon(b []byte, i int) int {
	i = space(b, i)
	if i >= len(b) || b[i] != ':' {
		return d.wantColon(b, i)
	}
	return i + 1
}

// maxSkipped is how many members a record may leave out in a row before the next one is looked up by name.
const maxSkipped = 3

// member finds the member whose key is at b[i] after the guess failed, nil when there is none, and the index behind the
// colon, or failed. In the step at it notes the key of an unknown member.
func (d *Decoder) member(b []byte, i int, o *object, prev *node, at *step) (*node, int) {
	guess := prev.next
	for skipped := 0; skipped < maxSkipped && guess != nil; skipped++ {
		if guess = guess.next; guess != nil && guess.keyAt(b, i) {
			return guess, i + len(guess.quoted)
		}
	}
	key, end := d.memberKey(b, i, at)
	if end < 0 {
		return nil, end
	}
	var n *node
	if !at.lone {
		n = o.byName[string(key)]
	}
	if n != nil {
		prev.next = n
		at.node = n
	}
	return n, d.colon(b, end)
}

// memberKey reads the key at b[i] into the step at.
func (d *Decoder) memberKey(b []byte, i int, at *step) (key []byte, after int) {
	if i >= len(b) || b[i] != '"' {
		return nil, d.wantKey(b, i)
	}
	at.node, at.key, at.lone = nil, nil, false
	end, kind, bad := scanText(b, i+1)
	if end < 0 {
		return nil, d.badText(b, i, end, bad)
	}
	key = b[i+1 : end]
	if kind == escapedText {
		d.name, at.lone, bad = unescape(d.name[:0], key)
		if bad >= 0 {
			return nil, d.failEscape(b, i+1+bad)
		}
		key = d.name
	}
	at.key = key
	return key, end + 1
}

// misfit goes on after the value at b[i] turned out not to fit n: its text is kept for the column of misfits.
func (d *Decoder) misfit(b []byte, i int, n *node, slot, depth int) int {
	end := d.skip(b, i, depth)
	if end < 0 || b[i] == 'n' { // a null that fits not even: the second value of its key
		return end
	}
	if wide := d.widens(b[i:end], n); !n.required && (wide || d.opts.OnMismatch == Rescue) {
		why := noColumn
		if wide {
			why, d.misfits.fresh = wider, true
		}
		d.note(i, end, why)
		return end
	}
	d.mismatch = true
	if n.vec.Len > slot {
		return d.fail(i, "the field occurs twice", "send each field once")
	}
	return d.fail(i, excerpt(b[i:end])+" does not fit the column's type "+printable([]byte(n.typ.String()), 48),
		"send values of that type, or use another field name")
}

// unknown reads past the value of a member that is no column, whose key is in at.
func (d *Decoder) unknown(b []byte, i int, o *object, at *step, depth int) int {
	end := d.skip(b, i, depth)
	if end < 0 || !holdsData(b[i:end]) {
		return end
	}
	if d.opts.OnUnknown != AddColumns {
		return d.uninvited(i, end)
	}
	fresh := d.mayBecomeColumn(o, at, b[i:end])
	if !fresh && d.opts.OnMismatch != Rescue {
		d.mismatch = true
		return d.fail(i, "no column can be made for the field", d.obstacle(o, at))
	}
	d.note(i, end, noColumn)
	d.misfits.fresh = d.misfits.fresh || fresh
	return end
}

// mayBecomeColumn says whether the schema can take a field with the key in at and the given value. It may be wrong only
// by saying yes.
func (d *Decoder) mayBecomeColumn(o *object, at *step, value []byte) bool {
	if at.lone || d.shared.full(d.plan.snap) || o.root && reserved(at.key) {
		return false
	}
	var ok bool
	if d.scratch, ok = appendColumnName(d.scratch[:0], at.key); !ok {
		return false
	}
	name := len(d.scratch)
	d.scratch = appendFold(d.scratch, d.scratch[:name])
	if o.folded[string(d.scratch[name:])] {
		return false
	}
	in := inference{limit: 1}
	t, _ := in.value(value, 0)
	return t != nil
}

// obstacle says what to do about a field that cannot become a column.
func (d *Decoder) obstacle(o *object, at *step) string {
	switch {
	case o.root && reserved(at.key):
		return "names that begin with " + systemPrefix + " and " + RescuedColumn + " are weir's: rename the field"
	case d.shared.full(d.plan.snap):
		return "the limit of columns is reached: raise it, or send fewer fields"
	}
	return "rename it: its name is taken in another case, or cannot be a column's, or its value has no type"
}

// list reads the array at b[i] into a slot of n.
func (d *Decoder) list(b []byte, i int, n *node, slot, depth int) int {
	if b[i] != '[' {
		return d.other(b, i)
	}
	depth++
	if depth > d.opts.MaxDepth {
		return d.tooDeep(i)
	}
	if !n.place(slot) {
		return misfit
	}
	mark := d.misfits.mark()
	d.depth = depth
	at := &d.path[depth]
	at.node, at.key, at.index = nil, nil, -1
	elem := n.elem
	i = space(b, i+1)
	if i < len(b) && b[i] == ']' {
		return d.closeList(i, n, depth)
	}
	for {
		at.index++
		if i = d.element(b, i, elem, n.typ.ContainsNull, depth); i < 0 {
			return d.openedList(i, n, mark, depth)
		}
		if i < len(b) && b[i] <= ' ' {
			i = space(b, i)
		}
		switch {
		case i < len(b) && b[i] == ',':
			i = space(b, i+1)
		case i < len(b) && b[i] == ']':
			return d.closeList(i, n, depth)
		default:
			return d.wantComma(b, i, ']')
		}
	}
}

// element reads the value at b[i] into the next slot of n, an element of a list or a value of a map.
func (d *Decoder) element(b []byte, i int, n *node, nullable bool, depth int) int {
	slot := n.vec.Len
	j := d.value(b, i, n, slot, depth)
	if j == misfit && nullable {
		j = d.misfit(b, i, n, slot, depth)
	}
	if j >= 0 && n.vec.Len == slot {
		if !nullable {
			return misfit
		}
		n.vec.AppendNull()
	}
	return j
}

func (d *Decoder) closeList(i int, n *node, depth int) int {
	d.depth = depth - 1
	if n.elem.obj != nil {
		first := n.vec.Offsets[len(n.vec.Offsets)-1]
		d.expanded += (n.elem.vec.Len - int(first)) * n.elem.obj.leaves
		if d.expanded > expansion*d.opts.MaxEventBytes {
			return d.fail(i, "the lists of the record would fill too many slots, mostly with nulls",
				"send fewer elements in one record")
		}
	}
	n.vec.AppendList()
	return i + 1
}

// expansion bounds the slots that a record may fill, as a multiple of MaxEventBytes: an element {} of a wide struct takes
// one for each leaf column.
const expansion = 16

// openedList cleans up after a list or map that was not read to its end: a misfit leaves nothing behind.
func (d *Decoder) openedList(code int, n *node, mark, depth int) int {
	if code == misfit {
		n.vec.Truncate(n.vec.Len)
		d.misfits.cut(mark)
		d.depth = depth - 1
	}
	return code
}

// mapping reads the object at b[i] into a slot of n, a map.
func (d *Decoder) mapping(b []byte, i int, n *node, slot, depth int) int {
	if b[i] != '{' {
		return d.other(b, i)
	}
	depth++
	if depth > d.opts.MaxDepth {
		return d.tooDeep(i)
	}
	if !n.place(slot) {
		return misfit
	}
	mark := d.misfits.mark()
	d.depth = depth
	at := &d.path[depth]
	at.node, at.key, at.index = nil, nil, -1
	i = space(b, i+1)
	if i < len(b) && b[i] == '}' {
		return d.closeMap(i, n, mark, depth)
	}
	for {
		if i = d.entry(b, i, n, at, depth); i < 0 {
			return d.openedList(i, n, mark, depth)
		}
		i = space(b, i)
		switch {
		case i < len(b) && b[i] == ',':
			i = space(b, i+1)
		case i < len(b) && b[i] == '}':
			return d.closeMap(i, n, mark, depth)
		default:
			return d.wantComma(b, i, '}')
		}
	}
}

// entry reads the key at b[i] and its value into a map.
func (d *Decoder) entry(b []byte, i int, n *node, at *step, depth int) int {
	if i >= len(b) || b[i] != '"' {
		return d.wantKey(b, i)
	}
	at.node, at.key, at.index = nil, nil, -1
	end, kind, bad := scanText(b, i+1)
	if end < 0 {
		return d.badText(b, i, end, bad)
	}
	key := b[i+1 : end]
	lone := false
	if kind == escapedText {
		// Not into d.name, which a struct below may need.
		if key, lone, bad = unescape(nil, key); bad >= 0 {
			return d.failEscape(b, i+1+bad)
		}
	}
	at.key = key
	if lone || !n.key.appendKey(key) {
		return misfit
	}
	if i = d.colon(b, end+1); i < 0 {
		return i
	}
	return d.element(b, space(b, i), n.elem, n.typ.ContainsNull, depth)
}

func (d *Decoder) closeMap(i int, n *node, mark, depth int) int {
	first := int(n.vec.Offsets[len(n.vec.Offsets)-1])
	if repeats(n.key.vec, first) {
		return d.openedList(misfit, n, mark, depth)
	}
	if n.elem.obj != nil {
		return d.closeList(i, n, depth)
	}
	d.depth = depth - 1
	n.vec.AppendList()
	return i + 1
}

// place makes slot the next one of n's vector; it cannot when a value stands there already.
func (n *node) place(slot int) bool {
	v := n.vec
	if v.Len < slot {
		v.PadNulls(slot)
	}
	return v.Len == slot
}

// structure reads the object at b[i] into a slot of n.
func (d *Decoder) structure(b []byte, i int, n *node, slot, depth int) int {
	if b[i] != '{' {
		return d.other(b, i)
	}
	if !n.place(slot) {
		return misfit
	}
	return d.object(b, i, n.obj, n.vec.AppendStruct(), depth+1)
}

// value reads the value at b[i] into a slot of n and returns the index behind it, failed, or misfit. A null appends
// nothing.
func (d *Decoder) value(b []byte, i int, n *node, slot, depth int) int {
	if i >= len(b) {
		return d.wantValue(b, i)
	}
	switch n.kind {
	case schema.String:
		return d.text(b, i, n, slot)
	case schema.Long:
		return d.long(b, i, n, slot)
	case schema.Double:
		return d.double(b, i, n, slot)
	case schema.Boolean:
		return d.boolean(b, i, n, slot)
	case schema.Struct:
		return d.structure(b, i, n, slot, depth)
	case jsonKind:
		return d.rawJSON(b, i, n, slot, depth)
	case epochKind:
		return d.epoch(b, i, n, slot)
	case schema.Array:
		return d.list(b, i, n, slot, depth)
	case schema.Map:
		return d.mapping(b, i, n, slot, depth)
	case schema.Timestamp, schema.TimestampNTZ, schema.Date, schema.Binary:
		return d.encoded(b, i, n, slot)
	default:
		return d.numeric(b, i, n, slot)
	}
}
