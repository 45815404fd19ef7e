package parquet

import (
	"bytes"
	"fmt"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// assembler turns the columns of a row group into batches of the wanted type: the reverse of shredding.
//
// The levels of one leaf tell the shape of every list and struct above it. So a group takes its shape from the first
// leaf at or below it that is read, and the others must agree with it.
type assembler struct {
	f         *File
	want      *schema.Type
	roots     []*wanted
	leaves    []*wantedLeaf
	byLeaf    map[int]*wantedLeaf
	batchRows int
	rows      int64 // of the row group
}

// wanted is a node of the wanted type.
type wanted struct {
	t        *schema.Type
	n        *fileNode   // nil: the file lacks it
	shape    *wantedLeaf // a leaf at or below n
	children []*wanted
}

// wantedLeaf is a column chunk that is read.
type wantedLeaf struct {
	n        *fileNode
	r        *pageReader
	add      appendFunc
	t        *schema.Type
	def, rep []byte // of the current batch
	v        *column.Vector
}

func (f *File) assembler(g *groupMeta, want *schema.Type) (a *assembler, err error) {
	defer recovered(&err)
	a = &assembler{f: f, want: want, byLeaf: make(map[int]*wantedLeaf), batchRows: MaxBatchRows, rows: g.rows}
	if want.Kind != schema.Struct {
		return nil, fmt.Errorf("wanted type is no struct: %w", ErrMisfit)
	}
	for _, field := range want.Fields {
		w, err := a.bind(f.root.find(field.Name), field.Type, g)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", field.Name, err)
		}
		a.roots = append(a.roots, w)
	}
	bytes := int64(0)
	for _, l := range a.leaves {
		bytes += max(l.r.meta.uncompressed, 0)
	}
	if bytes > batchTarget && g.rows > 0 {
		a.batchRows = int(max(1, min(MaxBatchRows, g.rows*batchTarget/bytes)))
	}
	return a, nil
}

// bind matches a node of the file with a wanted type.
func (a *assembler) bind(n *fileNode, t *schema.Type, g *groupMeta) (*wanted, error) {
	w := &wanted{t: t, n: n}
	if n == nil {
		return w, nil
	}
	var err error
	switch t.Kind {
	case schema.Struct:
		err = a.bindStruct(w, g)
	case schema.Array, schema.Map:
		err = a.bindRepeated(w, g)
	default:
		if len(n.children) > 0 {
			return nil, fmt.Errorf("%s cannot be read as %s: %w", kindName(n.t), kindName(t), ErrMisfit)
		}
		w.shape, err = a.leaf(n.leaf, t, g)
	}
	if err != nil {
		return nil, err
	}
	if w.shape == nil { // nothing below is wanted: its first leaf shows the shape
		w.shape, err = a.leaf(n.leaf, a.f.leaves[n.leaf].t, g)
	}
	return w, err
}

func (a *assembler) bindStruct(w *wanted, g *groupMeta) error {
	if w.n.t.Kind != schema.Struct {
		return fmt.Errorf("%s cannot be read as a struct: %w", kindName(w.n.t), ErrMisfit)
	}
	for _, field := range w.t.Fields {
		c, err := a.bind(w.n.find(field.Name), field.Type, g)
		if err != nil {
			return fmt.Errorf("field %s: %w", field.Name, err)
		}
		if w.shape == nil && c.n != nil {
			w.shape = c.shape
		}
		w.children = append(w.children, c)
	}
	return nil
}

func (a *assembler) bindRepeated(w *wanted, g *groupMeta) error {
	if w.n.t.Kind != w.t.Kind {
		return fmt.Errorf("%s cannot be read as %s: %w", kindName(w.n.t), kindName(w.t), ErrMisfit)
	}
	types := []*schema.Type{w.t.Elem}
	if w.t.Kind == schema.Map {
		types = []*schema.Type{w.t.Key, w.t.Elem}
	}
	for i, t := range types {
		c, err := a.bind(w.n.children[i], t, g)
		if err != nil {
			return fmt.Errorf("element: %w", err)
		}
		w.children = append(w.children, c)
	}
	w.shape = w.children[0].shape
	return nil
}

// leaf returns the reader of a column chunk as type t.
func (a *assembler) leaf(at int, t *schema.Type, g *groupMeta) (*wantedLeaf, error) {
	if l := a.byLeaf[at]; l != nil && l.t == t {
		return l, nil
	}
	n := a.f.leaves[at]
	add, err := converter(n, t)
	if err != nil {
		return nil, err
	}
	r, err := newPageReader(a.f.r, a.f.size, n, g.columns[at])
	if err != nil {
		return nil, err
	}
	l := &wantedLeaf{n: n, r: r, add: add, t: t, def: r.levels[0], rep: r.levels[1]}
	a.leaves = append(a.leaves, l)
	a.byLeaf[at] = l
	return l, nil
}

// release gives the memory of the readers back; no batch can be read afterwards.
func (a *assembler) release() {
	for _, l := range a.leaves {
		l.r.levels = [2][]byte{l.def[:0], l.rep[:0]}
		l.r.release()
	}
}

// batch reads the next rows rows.
func (a *assembler) batch(rows int) (b *column.Batch, err error) {
	defer recovered(&err)
	for _, l := range a.leaves {
		l.v = column.New(l.t)
		if k := l.t.Kind; k == schema.String || k == schema.Binary {
			l.v.Data = make([]byte, 0, a.textBytes(l, rows))
		}
		if l.def, l.rep, err = l.r.take(rows, l.def[:0], l.rep[:0], l.v, l.add); err != nil {
			return nil, fmt.Errorf("column %q: %w", l.n.name, err)
		}
	}
	b = &column.Batch{Schema: a.want, Rows: rows}
	for i, w := range a.roots {
		v, err := w.vector(place{slots: rows})
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", a.want.Fields[i].Name, err)
		}
		b.Columns = append(b.Columns, v)
	}
	return b, nil
}

// textBytes is a guess at the bytes of the leaf's values in so many rows, with some to spare. Values in a dictionary take more.
func (a *assembler) textBytes(l *wantedLeaf, rows int) int64 {
	return min(max(l.r.meta.uncompressed, 0)*int64(rows)/max(a.rows, 1)*9/8, batchTarget)
}

// place says which entries of a leaf are slots of a node: those whose parent exists (definition level at least def) and
// that continue no list at or below the node (repetition level at most rep).
type place struct {
	def, rep byte
	slots    int
}

// vector builds the node's vector.
func (w *wanted) vector(at place) (*column.Vector, error) {
	if w.n == nil {
		v := column.New(w.t)
		v.Seal(at.slots)
		return v, nil
	}
	v, below := w.shape.v, place{def: w.n.def, rep: w.n.rep}
	switch w.t.Kind {
	case schema.Struct:
		v = &column.Vector{Type: w.t}
		below.slots = w.validity(v, at)
	case schema.Array, schema.Map:
		v = &column.Vector{Type: w.t, Offsets: make([]int32, 1, at.slots+1)}
		below.slots = w.lists(v, at)
		below.def, below.rep = w.n.elemDef, w.n.rep+1
	default:
		if valid := w.validity(v, at); valid != v.Present() {
			return nil, fmt.Errorf("%d values for %d valid slots: %w", v.Present(), valid, ErrCorrupt)
		}
	}
	if v.Len != at.slots {
		return nil, fmt.Errorf("%d slots in place of %d: %w", v.Len, at.slots, ErrCorrupt)
	}
	for _, c := range w.children {
		k, err := c.vector(below)
		if err != nil {
			return nil, err
		}
		v.Children = append(v.Children, k)
	}
	return v, nil
}

// validity sets Len and Valid of v and returns the number of valid slots.
func (w *wanted) validity(v *column.Vector, at place) int {
	def, rep := w.shape.def, w.shape.rep
	if at.def == 0 && len(rep) == 0 && len(def) > 0 && bytes.Count(def, def[:1]) == len(def) {
		return w.uniform(v, len(def), def[0] >= w.n.def)
	}
	v.Len = 0
	if w.n.optional {
		v.Valid = make([]byte, 0, at.slots)
	}
	valid := 0
	for i, d := range def {
		if d < at.def || (len(rep) > 0 && rep[i] > at.rep) {
			continue
		}
		v.Len++
		is := b2i(d >= w.n.def)
		valid += int(is)
		if w.n.optional {
			v.Valid = append(v.Valid, is)
		}
	}
	return valid
}

// uniform is validity of slots that are all valid, or all null.
func (w *wanted) uniform(v *column.Vector, slots int, valid bool) int {
	v.Len = slots
	if valid {
		return slots
	}
	if w.n.optional {
		v.Valid = make([]byte, slots)
	}
	return 0
}

// lists sets Len, Valid and Offsets of v and returns the number of elements.
func (w *wanted) lists(v *column.Vector, at place) int {
	valid := w.validity(v, at)
	elems, open := int32(0), false
	for i, d := range w.shape.def {
		r := w.shape.rep[i]
		if d < at.def || r > at.rep+1 {
			continue
		}
		if r <= at.rep {
			if open {
				v.Offsets = append(v.Offsets, elems)
			}
			open = d >= w.n.def
		}
		if open && d >= w.n.elemDef {
			elems++
		}
	}
	if open {
		v.Offsets = append(v.Offsets, elems)
	}
	if len(v.Offsets) != valid+1 {
		v.Len = -1 // the caller refuses it
	}
	return int(elems)
}
