package decode

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/weir-dev/weir/delta/schema"
)

// Schema is the type that all decoders of a table decode into. It only grows: records add fields, the table's own schema
// is merged in. It is safe for use by several goroutines at once; each change is one new immutable snapshot.
type Schema struct {
	opts Options
	cur  atomic.Pointer[snapshot]

	mu      sync.Mutex                  // serialises changes; readers take cur
	settled atomic.Pointer[schema.Type] // what is in the table, or on the way there: its types stand

	rescued atomic.Int64
	refused atomic.Int64
	dropped atomic.Int64
}

// snapshot is a state of the schema.
type snapshot struct {
	typ    *schema.Type
	leaves int    // leaf columns that count against MaxColumns
	rescue string // name of the column for misfits, whether it exists already or not
	plain  bool   // there is a column that does not partition the table
}

// Stats counts what did not fit, since the schema was made.
type Stats struct {
	Columns int   // leaf columns that count against MaxColumns
	Rescued int64 // values in _rescued
	Refused int64 // records refused
	Dropped int64 // values of unknown fields left out by DropUnknown
}

// Conflict is a column that the table has otherwise than the decoders had it.
type Conflict struct {
	Path   string       // of the column, dotted
	Ours   *schema.Type // what the decoders had
	Theirs *schema.Type // what the table has; nil when only the case of the name differs
}

func (c Conflict) String() string {
	if c.Theirs == nil {
		return "column " + c.Path + " differs from another one by case alone"
	}
	return "column " + c.Path + " is " + c.Theirs.String() + ", records were decoded as " + c.Ours.String()
}

// NewSchema returns a schema that begins with initial, the schema of a table, and the system columns that o asks for;
// initial may be nil. System columns that the table has with another type are left alone and stay empty.
func NewSchema(initial *schema.Type, o Options) *Schema {
	s := &Schema{opts: o.withDefaults()}
	t := &schema.Type{Kind: schema.Struct}
	if initial != nil {
		t.Fields = append(t.Fields, initial.Fields...)
	}
	for _, c := range s.opts.SystemColumns.fields() {
		if t.FoldedIndex(c.Name) < 0 {
			t.Fields = append(t.Fields, c)
		}
	}
	s.publish(t)
	if s.opts.Declares {
		s.declare()
	}
	s.settled.Store(s.cur.Load().typ)
	return s
}

// declare adds the fields of the types that payloads have. Those that are there keep their types.
func (s *Schema) declare() {
	var own []*schema.Type
	if p := s.opts.Protobuf; p != nil {
		own = append(own, p.columns)
	}
	if a := s.opts.Avro; a != nil && a.Schema != nil {
		own = append(own, a.Schema.columns)
	}
	for _, t := range own {
		s.grow(t, false, false)
	}
}

func (c SystemColumns) fields() []schema.Field {
	var fields []schema.Field
	add := func(wanted bool, name string, t *schema.Type) {
		if wanted {
			fields = append(fields, schema.Field{Name: name, Type: t, Nullable: true})
		}
	}
	add(c.Stream, streamName, stringType)
	add(c.Seq, seqName, longType)
	add(c.Received, receivedName, timestampType)
	return fields
}

// Current returns the schema as it is now. It never changes.
func (s *Schema) Current() *schema.Type { return s.cur.Load().typ }

// Stats returns the counters.
func (s *Schema) Stats() Stats {
	return Stats{Columns: s.cur.Load().leaves, Rescued: s.rescued.Load(), Refused: s.refused.Load(), Dropped: s.dropped.Load()}
}

// publish makes t the current schema. The caller holds mu, or has the only reference.
func (s *Schema) publish(t *schema.Type) {
	next := &snapshot{typ: t, rescue: rescueColumn(t)}
	for i := range t.Fields {
		f := &t.Fields[i]
		if f.Name != next.rescue && !isSystem(f) {
			next.leaves += leaves(f.Type)
		}
		next.plain = next.plain || !slices.Contains(s.opts.PartitionBy, f.Name)
	}
	s.cur.Store(next)
}

// rescueColumn names the column for misfits: _rescued, unless the table has that for something else.
func rescueColumn(t *schema.Type) string {
	for n := 1; ; n++ {
		name := RescuedColumn
		if n > 1 {
			name = systemPrefix + "rescued"
		}
		if n > 2 {
			name += strconv.Itoa(n)
		}
		i := t.FoldedIndex(name)
		if i < 0 || t.Fields[i].Name == name && t.Fields[i].Type.Kind == schema.String && t.Fields[i].Nullable {
			return name
		}
	}
}

// isSystem says whether f is one of weir's system columns, with the type that weir gives it.
func isSystem(f *schema.Field) bool {
	switch f.Name {
	case streamName:
		return f.Type.Kind == schema.String
	case seqName:
		return f.Type.Kind == schema.Long
	case receivedName:
		return f.Type.Kind == schema.Timestamp
	}
	return false
}

// leaves counts the leaf columns of t.
func leaves(t *schema.Type) int {
	switch t.Kind {
	case schema.Struct:
		n := 0
		for i := range t.Fields {
			n += leaves(t.Fields[i].Type)
		}
		return n
	case schema.Array:
		return leaves(t.Elem)
	case schema.Map:
		return leaves(t.Key) + leaves(t.Elem)
	default:
		return 1
	}
}

// full says whether no more columns are made.
func (s *Schema) full(snap *snapshot) bool { return snap.leaves >= s.opts.MaxColumns }

// Full says whether no more columns are made of fields: there are Options.MaxColumns.
func (s *Schema) Full() bool { return s.full(s.cur.Load()) }

// evolve adds what inferred, the type of a record, has beyond the schema. With whole it adds all of that or nothing. The
// caller looks at the current snapshot afterwards: it may also have been changed by others.
func (s *Schema) evolve(inferred *schema.Type, whole bool) {
	s.grow(inferred, whole, s.opts.OnUnknown != AddColumns)
}

// grow is evolve. closed says that no field becomes a column.
func (s *Schema) grow(inferred *schema.Type, whole, closed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := s.cur.Load()
	g := growth{budget: s.opts.MaxColumns - snap.leaves, partitionBy: s.opts.PartitionBy, closed: closed, widen: s.opts.Widen}
	t := g.grow(snap.typ, inferred, s.settled.Load(), true)
	if t != snap.typ && (!whole || !g.refused) {
		s.publish(t)
	}
}

// addRescue adds the column for misfits if it is not there.
func (s *Schema) addRescue() {
	s.mu.Lock()
	defer s.mu.Unlock()
	snap := s.cur.Load()
	if snap.typ.Index(snap.rescue) < 0 {
		s.publish(withRescue(snap.typ, snap.rescue))
	}
}

func withRescue(t *schema.Type, name string) *schema.Type {
	out := *t
	out.Fields = append(slices.Clip(t.Fields), schema.Field{Name: name, Type: stringType, Nullable: true})
	return &out
}

// growth adds fields to a type without touching the original.
type growth struct {
	budget      int // leaf columns that may still be added
	partitionBy []string
	closed      bool // no field becomes a column
	widen       bool // a long becomes a double
	refused     bool // something could not be added
}

// grow returns t with the fields that inferred has beyond it. Where the two differ in kind, t stands, but for a long that
// may still be widened and met a double.
func (g *growth) grow(t, inferred, settled *schema.Type, root bool) *schema.Type {
	switch {
	case t.Kind == schema.Struct && inferred.Kind == schema.Struct:
		return g.growStruct(t, inferred, settled, root)
	case t.Kind == schema.Array && inferred.Kind == schema.Array:
		return g.growElem(t, g.grow(t.Elem, inferred.Elem, settledElem(settled, t.Kind), false))
	case t.Kind == schema.Map && inferred.Kind == schema.Map:
		return g.growElem(t, g.grow(t.Elem, inferred.Elem, settledElem(settled, t.Kind), false))
	case t.Kind == schema.Map && inferred.Kind == schema.Struct:
		elem := t.Elem
		for i := range inferred.Fields {
			elem = g.grow(elem, inferred.Fields[i].Type, settledElem(settled, t.Kind), false)
		}
		return g.growElem(t, elem)
	case g.widen && t.Kind == schema.Long && inferred.Kind == schema.Double && settled == nil:
		return doubleType
	}
	return t
}

func (g *growth) growElem(t, elem *schema.Type) *schema.Type {
	if elem == t.Elem {
		return t
	}
	out := *t
	out.Elem = elem
	return &out
}

func (g *growth) growStruct(t, inferred, settled *schema.Type, root bool) *schema.Type {
	out := t
	edit := func() *schema.Type {
		if out == t {
			c := *t
			c.Fields = append(make([]schema.Field, 0, len(t.Fields)+4), t.Fields...)
			out = &c
		}
		return out
	}
	names := namesOf(t)
	for i := range inferred.Fields {
		f := &inferred.Fields[i]
		if at, ok := names.bySource[f.Name]; ok {
			if ft := g.grow(out.Fields[at].Type, f.Type, settledField(settled, out.Fields[at].Name), false); ft != out.Fields[at].Type {
				edit().Fields[at].Type = ft
			}
			continue
		}
		if column, ok := g.newField(f, names, root); ok {
			names.add(f.Name, column.Name, len(out.Fields))
			edit().Fields = append(out.Fields, column)
		} else {
			g.refused = true
		}
	}
	return out
}

// newField makes the column for a field of a record, as far as names and budget allow.
func (g *growth) newField(f *schema.Field, names fieldNames, root bool) (schema.Field, bool) {
	name, ok := columnName(f.Name)
	if !ok || g.closed || root && (reserved(f.Name) || !g.partitions(f)) || names.folded[fold(name)] != "" {
		return schema.Field{}, false
	}
	t := g.build(f.Type)
	if t == nil {
		return schema.Field{}, false
	}
	column := schema.Field{Name: name, Type: t, Nullable: true}
	if name != f.Name {
		column.Metadata = map[string]any{SourceKey: f.Name}
	}
	return column, true
}

// partitions says whether f may become a column as far as the partitioning of the table goes: one of its columns has the
// name as it is written there, and single values.
func (g *growth) partitions(f *schema.Field) bool {
	for _, name := range g.partitionBy {
		if fold(name) == fold(f.Name) {
			return name == f.Name && f.Type.Kind != schema.Struct && f.Type.Kind != schema.Array
		}
	}
	return true
}

// build returns the type of new columns for inferred, nil when there can be none.
func (g *growth) build(inferred *schema.Type) *schema.Type {
	switch inferred.Kind {
	case schema.Struct:
		t := g.growStruct(&schema.Type{Kind: schema.Struct}, inferred, nil, false)
		if len(t.Fields) == 0 {
			return nil
		}
		return t
	case schema.Array:
		elem := g.build(inferred.Elem)
		if elem == nil {
			return nil
		}
		return &schema.Type{Kind: schema.Array, Elem: elem, ContainsNull: true}
	case schema.Map:
		if g.budget--; g.budget < 0 {
			g.budget, g.refused = 0, true
			return nil
		}
		elem := g.build(inferred.Elem)
		if elem == nil {
			g.budget++
			return nil
		}
		return &schema.Type{Kind: schema.Map, Key: inferred.Key, Elem: elem, ContainsNull: true}
	default:
		if g.budget <= 0 {
			g.refused = true
			return nil
		}
		g.budget--
		return inferred
	}
}

// fieldNames finds the fields of a struct by the names that records use, and those that readers take for one.
type fieldNames struct {
	bySource map[string]int
	folded   map[string]string // column name
}

func namesOf(t *schema.Type) fieldNames {
	n := fieldNames{make(map[string]int, len(t.Fields)), make(map[string]string, len(t.Fields))}
	for i := range t.Fields {
		n.add(sourceName(&t.Fields[i]), t.Fields[i].Name, i)
	}
	return n
}

func (n fieldNames) add(source, column string, at int) {
	n.bySource[source] = at
	n.folded[fold(column)] = column
}

// Merge takes the schema of the table over: its columns come first and win, those that only the decoders have stay
// behind them. It returns where the two disagree; decoders and [Conform] move the values concerned into _rescued. A nil
// table changes nothing.
func (s *Schema) Merge(table *schema.Type) []Conflict {
	if table == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	cur := s.cur.Load().typ
	m := merger{}
	t := m.structs(table, cur, "")
	if len(m.conflicts) > 0 {
		if name := rescueColumn(t); t.Index(name) < 0 {
			t = withRescue(t, name)
		}
	}
	if !t.Equal(cur) {
		s.publish(t)
	}
	s.settled.Store(table)
	return m.conflicts
}

// merger makes the union of two types of which the first wins.
type merger struct{ conflicts []Conflict }

func (m *merger) merge(table, ours *schema.Type, path string) *schema.Type {
	switch {
	case table == ours:
		return table
	case table.Kind != ours.Kind || table.Precision != ours.Precision || table.Scale != ours.Scale:
		m.conflicts = append(m.conflicts, Conflict{path, ours, table})
		return table
	case table.Kind == schema.Struct:
		return m.structs(table, ours, path)
	case table.Kind == schema.Array:
		out := *table
		out.Elem = m.merge(table.Elem, ours.Elem, joinPath(path, "element"))
		return &out
	case table.Kind == schema.Map:
		out := *table
		out.Key = m.merge(table.Key, ours.Key, joinPath(path, "key"))
		out.Elem = m.merge(table.Elem, ours.Elem, joinPath(path, "value"))
		return &out
	}
	return table
}

func (m *merger) structs(table, ours *schema.Type, path string) *schema.Type {
	out := *table
	out.Fields = append(make([]schema.Field, 0, max(len(table.Fields), len(ours.Fields))), table.Fields...)
	names := namesOf(table)
	for _, f := range ours.Fields {
		at := table.Index(f.Name)
		full := joinPath(path, f.Name)
		switch {
		case at >= 0:
			out.Fields[at].Type = m.merge(table.Fields[at].Type, f.Type, full)
		case names.folded[fold(f.Name)] != "":
			m.conflicts = append(m.conflicts, Conflict{full, f.Type, nil})
		default:
			out.Fields = append(out.Fields, f)
			names.folded[fold(f.Name)] = f.Name
		}
	}
	return &out
}

func joinPath(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
