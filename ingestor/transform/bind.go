package transform

import (
	"slices"
	"strconv"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
)

// made is a column that a step makes. It is as long as the rows that were looked at, or shorter.
type made struct {
	typ *schema.Type   // nil until its first value
	vec *column.Vector // nil until typ is known
	cur *cursor
}

func (m *made) use(t *schema.Type) {
	m.typ, m.vec = t, column.New(t)
	m.cur.vec = m.vec
}

// origin says where a column of the result comes from.
type origin struct {
	name   string
	field  schema.Field // type, nullability and metadata of an existing column
	path   []int        // into the decoder's batch, through structs; nil for one that a step makes
	made   *made
	rescue bool
}

// binding is a program over one schema of records: what each step reads and writes, and what comes out.
type binding struct {
	source  *schema.Type
	ops     []op
	out     []origin
	cursors []*cursor
	private []private
}

// op is a step that looks at values.
type op struct {
	step *compiled
	at   int // of the step in the program
	act  *activation
	from chain // of mask and derive; nil when the column is not there
	to   *made
	name string  // of the column that it makes
	hash *hasher // of a mask that hashes, once it is needed
}

type binder struct {
	d      *Decoder
	b      *binding
	roots  []*cursor // by column of the batch, made when needed
	scope  []origin
	byName map[string]int // of scope, folded
}

// bind binds the decoder's program to the batch as it is now.
func (d *Decoder) bind() {
	batch := d.dec.Batch()
	w := &binder{d: d, b: &binding{source: batch.Schema}, roots: make([]*cursor, len(batch.Columns)), byName: map[string]int{}}
	rescue := decode.RescueColumn(batch.Schema)
	for i, f := range batch.Schema.Fields {
		w.put(origin{name: f.Name, field: f, path: []int{i}, rescue: f.Name == rescue})
	}
	for i := range d.prog.steps {
		w.step(i, &d.prog.steps[i])
	}
	for _, o := range w.scope {
		if o.name != "" {
			w.b.out = append(w.b.out, o)
		}
	}
	d.bound = w.b
	d.grow()
}

// put adds a column. One that has its name already is called name_2 from now on.
func (w *binder) put(o origin) {
	key := decode.Fold(o.name)
	if i, there := w.byName[key]; there {
		old := w.scope[i]
		old.name = w.free(old.name)
		w.scope[i] = old
		w.byName[decode.Fold(old.name)] = i
	}
	w.byName[key] = len(w.scope)
	w.scope = append(w.scope, o)
}

// free returns the first of name_2, name_3, ... that no column has.
func (w *binder) free(name string) string {
	for n := 2; ; n++ {
		if s := name + "_" + strconv.Itoa(n); !w.has(s) {
			return s
		}
	}
}

func (w *binder) has(name string) bool {
	_, ok := w.byName[decode.Fold(name)]
	return ok
}

// get returns the index of the column in scope, or -1.
func (w *binder) get(name string) int {
	if i, ok := w.byName[decode.Fold(name)]; ok && w.scope[i].name == name && !w.scope[i].rescue {
		return i
	}
	return -1
}

// take removes a column and returns it.
func (w *binder) take(name string) (origin, bool) {
	i := w.get(name)
	if i < 0 {
		return origin{}, false
	}
	o := w.scope[i]
	w.scope[i].name = ""
	delete(w.byName, decode.Fold(name))
	return o, true
}

// replace puts a column in the place of the one that has its name, or at the end.
func (w *binder) replace(o origin) {
	if i := w.get(o.name); i >= 0 {
		w.scope[i] = o
		return
	}
	w.put(o)
}

// chain leads to a column of the scope.
func (w *binder) chain(i int) chain {
	if i < 0 {
		return nil
	}
	o := w.scope[i]
	if o.made != nil {
		if o.made.vec == nil {
			return nil
		}
		return chain{o.made.cur}
	}
	c := w.root(o.path[0])
	out := chain{c}
	for _, child := range o.path[1:] {
		c = c.children[child]
		out = append(out, c)
	}
	return out
}

func (w *binder) root(i int) *cursor {
	if w.roots[i] == nil {
		w.roots[i] = newCursor(w.d.dec.Batch().Columns[i])
		w.b.cursors = append(w.b.cursors, w.roots[i])
	}
	return w.roots[i]
}

func (w *binder) step(at int, s *compiled) {
	switch {
	case s.Set != nil:
		m := w.d.column(at, 0, s.typ)
		w.op(op{step: s, at: at, act: w.activation(s.expr), to: m, name: s.Set.Column})
		w.replace(origin{name: s.Set.Column, made: m})
	case s.expr != nil:
		w.op(op{step: s, at: at, act: w.activation(s.expr)})
	case s.Rename != nil:
		if o, ok := w.take(s.Rename.From); ok {
			o.name = s.Rename.To
			w.put(o)
		}
	case s.Flatten != nil:
		w.flatten(s.Flatten)
	case s.Mask != nil:
		w.mask(at, s)
	case s.Derive != nil:
		m := w.d.column(at, 0, derivedType(s.Derive))
		w.op(op{step: s, at: at, from: w.chain(w.get(s.Derive.From)), to: m, name: s.Derive.Column})
		w.replace(origin{name: s.Derive.Column, made: m})
	default:
		for _, name := range s.Drop {
			w.hide(at, name, nil)
			w.take(name)
		}
	}
}

func (w *binder) op(o op) { w.b.ops = append(w.b.ops, o) }

func (w *binder) mask(at int, s *compiled) {
	for n, name := range s.Mask.Columns {
		w.hide(at, name, s.Mask)
		i := w.get(name)
		if i < 0 {
			continue
		}
		m := w.d.column(at, n, stringType)
		w.op(op{step: s, at: at, from: w.chain(i), to: m, name: name})
		w.scope[i] = origin{name: name, made: m, field: schema.Field{Metadata: w.scope[i].field.Metadata}}
	}
}

func (w *binder) flatten(f *Flatten) {
	i := w.get(f.Column)
	if i < 0 || w.scope[i].made != nil || w.scope[i].field.Type.Kind != schema.Struct {
		return
	}
	o, _ := w.take(f.Column)
	w.spread(o.field.Type, o.path, f.Column, f.Separator)
}

func (w *binder) spread(t *schema.Type, path []int, prefix, separator string) {
	for i, f := range t.Fields {
		at := append(append([]int(nil), path...), i)
		name := prefix + separator + f.Name
		if f.Type.Kind == schema.Struct {
			w.spread(f.Type, at, name, separator)
			continue
		}
		f.Nullable, f.Metadata = true, comment(f.Metadata)
		if w.has(name) { // what is there keeps its name
			name = w.free(name)
		}
		w.put(origin{name: name, field: f, path: at})
	}
}

// comment is what of a field's metadata holds under another name too.
func comment(metadata map[string]any) map[string]any {
	if c, ok := metadata[schema.CommentKey]; ok {
		return map[string]any{schema.CommentKey: c}
	}
	return nil
}

// activation gives the expression e the columns of the scope.
func (w *binder) activation(e *expr) *activation {
	a := &activation{columns: make(map[string]chain, len(e.names))}
	for _, name := range e.names {
		i := w.get(name)
		if i >= 0 && w.scope[i].made != nil {
			a.columns[name] = chain{w.scope[i].made.cur} // it may get its type later
			continue
		}
		a.columns[name] = w.chain(i)
	}
	return a
}

// result is the type of what comes out as far as it is known, and grows with the schema of the records.
func (b *binding) result() *schema.Type {
	t := &schema.Type{Kind: schema.Struct}
	for _, o := range b.out {
		f := o.field
		f.Name = o.name
		if o.made != nil {
			if o.made.typ == nil {
				continue
			}
			f.Type, f.Nullable = o.made.typ, true
		}
		t.Fields = append(t.Fields, f)
	}
	return t
}

// Source turns the schema of the table round: what is known of the columns of records from those of the table. Those that
// the steps make, or hide, are not records'.
func (p *Program) Source(table *schema.Type) *schema.Type {
	if p == nil || table == nil {
		return table
	}
	out := &schema.Type{Kind: schema.Struct}
	for _, f := range table.Fields {
		name, ok := f.Name, true
		for i := len(p.steps) - 1; i >= 0 && ok; i-- {
			name, ok = p.steps[i].source(name)
		}
		if ok && out.FoldedIndex(name) < 0 {
			if name != f.Name {
				f.Metadata = comment(f.Metadata)
			}
			f.Name = name
			out.Fields = append(out.Fields, f)
		}
	}
	return out
}

// source is the name, before the step, of the column that has this name after it; false when it is not the same column.
func (s *compiled) source(name string) (string, bool) {
	switch {
	case s.Set != nil:
		return name, s.Set.Column != name
	case s.Derive != nil:
		return name, s.Derive.Column != name
	case s.Rename != nil && s.Rename.To == name:
		return s.Rename.From, true
	case s.Rename != nil:
		return name, s.Rename.From != name
	case s.Flatten != nil:
		prefix := s.Flatten.Column + s.Flatten.Separator
		return name, name != s.Flatten.Column && (len(name) <= len(prefix) || name[:len(prefix)] != prefix)
	case s.Mask != nil:
		return name, !slices.Contains(s.Mask.Columns, name)
	default:
		return name, !slices.Contains(s.Drop, name)
	}
}

// Keeps says whether the column called name comes out as it came in.
func (p *Program) Keeps(name string) bool {
	if p == nil {
		return true
	}
	for i := len(p.steps) - 1; i >= 0; i-- {
		if before, ok := p.steps[i].source(name); !ok || before != name {
			return false
		}
	}
	return true
}
