package decode

import (
	"encoding/binary"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// node is a column, or a nested part of one, as the decoder meets it: where values go, and what may stand there.
type node struct {
	kind     schema.Kind // of the column, or jsonKind or epochKind
	unit     int64       // microseconds of an epoch's unit
	quoted   string      // the key as records usually write it, with quotes and colon
	head     uint64      // the first eight bytes of quoted, those that mask selects
	mask     uint64
	tail     uint64 // the last eight bytes of quoted when it is longer than eight
	vec      *column.Vector
	next     *node // the member that followed this one in an earlier record: a guess
	required bool  // of a column that is NOT NULL
	typ      *schema.Type
	name     string  // the key in records
	obj      *object // Struct
	key      *node   // Map
	elem     *node   // Array, Map
}

// object is what the decoder knows of the members of a struct.
type object struct {
	start    node // stands before the first member: only next is used
	members  []*node
	byName   map[string]*node
	folded   map[string]bool // column names, reserved ones included, in the form that readers compare
	required []*node
	leaves   int
	root     bool
}

// newNode plans how values of type t are read.
func newNode(t *schema.Type, h *Hint) *node {
	n := &node{kind: h.kind(t), typ: t, unit: h.unit()}
	switch t.Kind {
	case schema.Struct:
		n.obj = newObject(t, h)
	case schema.Array:
		n.elem = newNode(t.Elem, h.elem())
	case schema.Map:
		n.key, n.elem = newNode(t.Key, nil), newNode(t.Elem, h.elem())
	default:
	}
	return n
}

func newObject(t *schema.Type, h *Hint) *object {
	o := &object{
		byName: make(map[string]*node, len(t.Fields)),
		folded: make(map[string]bool, len(t.Fields)),
		leaves: leaves(t),
	}
	for i := range t.Fields {
		o.add(&t.Fields[i], h.field(t.Fields[i].Name))
	}
	return o
}

func (o *object) add(f *schema.Field, h *Hint) {
	n := newNode(f.Type, h)
	n.name, n.required = sourceName(f), !f.Nullable
	n.quote()
	o.members = append(o.members, n)
	o.byName[n.name] = n
	o.folded[fold(f.Name)] = true
	if n.required {
		o.required = append(o.required, n)
	}
	if len(o.members) > 1 { // until records teach otherwise, the order of the columns is as good a guess as any
		o.members[len(o.members)-2].next = n
	} else {
		o.start.next = n
	}
}

// quote prepares what keyAt compares.
func (n *node) quote() {
	q := append(appendQuoted(nil, []byte(n.name)), ':')
	n.quoted = string(q)
	if len(q) > 8 {
		n.tail = binary.LittleEndian.Uint64(q[len(q)-8:])
	}
	n.mask = ^uint64(0)
	for len(q) < 8 {
		q = append(q, 0)
		n.mask >>= 8
	}
	n.head = binary.LittleEndian.Uint64(q)
}

// keyAt says whether the key of n and its colon stand at b[i], written as usual. Near the end of b it may miss that.
func (n *node) keyAt(b []byte, i int) bool {
	return len(b)-i >= 8 && (binary.LittleEndian.Uint64(b[i:])^n.head)&n.mask == 0 && (len(n.quoted) <= 8 || n.keyEndsAt(b, i))
}

// keyEndsAt compares what is behind the first eight bytes of a key.
func (n *node) keyEndsAt(b []byte, i int) bool {
	end := i + len(n.quoted)
	return end <= len(b) && binary.LittleEndian.Uint64(b[end-8:]) == n.tail &&
		(len(n.quoted) <= 16 || string(b[i:end]) == n.quoted)
}

// bind points n at the vector that its values go to.
func (n *node) bind(v *column.Vector) {
	n.vec = v
	switch n.kind {
	case schema.Struct:
		n.obj.bind(v.Children)
	case schema.Array:
		n.elem.bind(v.Children[0])
	case schema.Map:
		n.key.bind(v.Children[0])
		n.elem.bind(v.Children[1])
	default:
	}
}

func (o *object) bind(columns []*column.Vector) {
	for i, m := range o.members {
		m.bind(columns[i])
	}
}

// plan is how records are read under one snapshot of the schema.
type plan struct {
	snap *snapshot
	root *object
	// Columns that no field of a record goes to, as indexes of the batch's columns; -1 when there is none.
	rescue, stream, seq, received int
	indexes                       []int // of the columns of root.members
}

func newPlan(snap *snapshot, h *Hint) *plan {
	p := &plan{snap: snap, rescue: -1, stream: -1, seq: -1, received: -1}
	t := &schema.Type{Kind: schema.Struct}
	for i := range snap.typ.Fields {
		f := &snap.typ.Fields[i]
		switch {
		case f.Name == snap.rescue:
			p.rescue = i
		case isSystem(f):
			*p.system(f.Name) = i
		case !reserved(f.Name):
			t.Fields = append(t.Fields, *f)
			p.indexes = append(p.indexes, i)
		}
	}
	p.root = newObject(t, h)
	p.root.root = true
	return p
}

func (p *plan) system(name string) *int {
	switch name {
	case streamName:
		return &p.stream
	case seqName:
		return &p.seq
	}
	return &p.received
}

func (p *plan) bind(b *column.Batch) {
	for i, m := range p.root.members {
		m.bind(b.Columns[p.indexes[i]])
	}
}
