package parquet

import (
	"fmt"
	"math/big"
	"slices"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/weir-dev/weir/delta/schema"
)

// node is a step from the root to a leaf.
type node struct {
	name     string // of a struct's field
	child    int    // index in the parent's Children when the parent is an Array or Map; -1 for a struct's field
	t        *schema.Type
	optional bool
	rep      byte // repetition level of the elements, 0 unless t is an Array or Map
}

// leaf is a Parquet column: the way to it, its levels, and while a file is written, where the writer stands.
type leaf struct {
	nodes          []node
	path           []string
	t              *schema.Type
	phys           format.Type
	width          int // bytes of a FIXED_LEN_BYTE_ARRAY
	maxDef, maxRep byte
	stats          *fieldStats // nil: no statistics
	nullDef        byte        // an entry that opens a row is null for stats when its level is below
	cursor
}

// plan is a schema laid out as Parquet columns.
type plan struct {
	elements []format.SchemaElement
	leaves   []*leaf
	stats    []*fieldStats // of the root's fields, nil where not counted
	left     int           // statistics columns still to give
}

// newPlan lays out the struct type s; statsColumns as in [WriterOptions].
func newPlan(s *schema.Type, statsColumns int) (*plan, error) {
	if s == nil || s.Kind != schema.Struct {
		return nil, fmt.Errorf("root is not a struct: %w", ErrMisfit)
	}
	p := &plan{left: statsColumns}
	p.elements = append(p.elements, format.SchemaElement{
		Name: "schema", NumChildren: thrift.New(int32(len(s.Fields))),
	})
	for _, f := range s.Fields {
		st, err := p.field(f, way{})
		if err != nil {
			return nil, err
		}
		p.stats = append(p.stats, st)
	}
	return p, nil
}

// way is the path from the root to the place where the plan is being extended.
type way struct {
	nodes    []node
	path     []string
	def, rep byte
	inList   bool // below an Array or Map: no statistics of its own
}

func (w way) add(n node, names ...string) way {
	w.nodes = append(slices.Clip(w.nodes), n)
	w.path = append(slices.Clip(w.path), names...)
	if n.optional {
		w.def++
	}
	return w
}

func repetition(optional bool) thrift.Null[format.FieldRepetitionType] {
	if optional {
		return thrift.New(format.Optional)
	}
	return thrift.New(format.Required)
}

// field adds the column tree of a struct's field.
func (p *plan) field(f schema.Field, w way) (*fieldStats, error) {
	n := node{name: f.Name, child: -1, t: f.Type, optional: f.Nullable}
	return p.add(f.Name, n, w.add(n, f.Name))
}

// add adds the elements and leaves of n, which is the last node of w.
func (p *plan) add(name string, n node, w way) (*fieldStats, error) {
	switch n.t.Kind {
	case schema.Struct:
		return p.addStruct(name, n, w)
	case schema.Array, schema.Map:
		return p.addRepeated(name, n, w)
	default:
		st := p.takeStats(name, n.t, w)
		return st, p.addLeaf(name, n, w, st)
	}
}

// takeStats gives the next column statistics while there are some left.
func (p *plan) takeStats(name string, t *schema.Type, w way) *fieldStats {
	if w.inList || p.left <= 0 {
		return nil
	}
	p.left--
	return &fieldStats{name: name, t: t}
}

func (p *plan) addStruct(name string, n node, w way) (*fieldStats, error) {
	if len(n.t.Fields) == 0 {
		return nil, fmt.Errorf("column %s: a struct without fields cannot be written: %w", name, ErrMisfit)
	}
	p.elements = append(p.elements, format.SchemaElement{
		Name: name, RepetitionType: repetition(n.optional), NumChildren: thrift.New(int32(len(n.t.Fields))),
	})
	st := &fieldStats{name: name, t: n.t}
	for _, f := range n.t.Fields {
		c, err := p.field(f, w)
		if err != nil {
			return nil, err
		}
		if c != nil {
			st.children = append(st.children, c)
		}
	}
	if len(st.children) == 0 {
		st = nil
	}
	return st, nil
}

// addRepeated adds an Array as group(LIST){repeated group list{element}}, a Map as group(MAP){repeated group
// key_value{key, value}}.
func (p *plan) addRepeated(name string, n node, w way) (*fieldStats, error) {
	st := p.takeStats(name, n.t, w)
	first, nullDef := len(p.leaves), w.def
	w.rep++
	w.nodes[len(w.nodes)-1].rep = w.rep
	w.def++ // of the repeated group
	w.inList = true
	group := format.SchemaElement{Name: name, RepetitionType: repetition(n.optional), NumChildren: thrift.New(int32(1))}
	inner := format.SchemaElement{RepetitionType: thrift.New(format.Repeated)}
	var members []node
	var names []string
	if n.t.Kind == schema.Array {
		group.LogicalType.Value, group.ConvertedType = &format.ListType{}, thrift.New(deprecated.List)
		inner.Name, names = "list", []string{"element"}
		members = []node{{t: n.t.Elem, optional: n.t.ContainsNull}}
	} else {
		group.LogicalType.Value, group.ConvertedType = &format.MapType{}, thrift.New(deprecated.Map)
		inner.Name, names = "key_value", []string{"key", "value"}
		members = []node{{t: n.t.Key}, {t: n.t.Elem, optional: n.t.ContainsNull, child: 1}}
	}
	inner.NumChildren = thrift.New(int32(len(members)))
	p.elements = append(p.elements, group, inner)
	for i, m := range members {
		if _, err := p.add(names[i], m, w.add(m, inner.Name, names[i])); err != nil {
			return nil, fmt.Errorf("column %s: %w", name, err)
		}
	}
	if st != nil {
		p.leaves[first].stats, p.leaves[first].nullDef = st, nullDef
	}
	return st, nil
}

func (p *plan) addLeaf(name string, n node, w way, st *fieldStats) error {
	e := format.SchemaElement{Name: name, RepetitionType: repetition(n.optional)}
	l := &leaf{nodes: w.nodes, path: w.path, t: n.t, maxDef: w.def, maxRep: w.rep, stats: st, nullDef: w.def}
	if err := physical(n.t, &e); err != nil {
		return fmt.Errorf("column %s: %w", name, err)
	}
	l.phys, l.width = e.Type.V, int(e.TypeLength.V)
	p.elements = append(p.elements, e)
	p.leaves = append(p.leaves, l)
	return nil
}

// physical sets the physical and logical type of t on e.
func physical(t *schema.Type, e *format.SchemaElement) error {
	set := func(p format.Type, l format.LogicalTypeValue, c thrift.Null[deprecated.ConvertedType]) {
		e.Type, e.ConvertedType = thrift.New(p), c
		if l != nil {
			e.LogicalType.Value = l
		}
	}
	none := thrift.Null[deprecated.ConvertedType]{}
	micros := format.TimeUnit{Value: &format.MicroSeconds{}}
	switch t.Kind {
	case schema.Boolean:
		set(format.Boolean, nil, none)
	case schema.Byte:
		set(format.Int32, &format.IntType{BitWidth: 8, IsSigned: true}, thrift.New(deprecated.Int8))
	case schema.Short:
		set(format.Int32, &format.IntType{BitWidth: 16, IsSigned: true}, thrift.New(deprecated.Int16))
	case schema.Integer:
		set(format.Int32, nil, none)
	case schema.Long:
		set(format.Int64, nil, none)
	case schema.Float:
		set(format.Float, nil, none)
	case schema.Double:
		set(format.Double, nil, none)
	case schema.String:
		set(format.ByteArray, &format.StringType{}, thrift.New(deprecated.UTF8))
	case schema.Binary:
		set(format.ByteArray, nil, none)
	case schema.Date:
		set(format.Int32, &format.DateType{}, thrift.New(deprecated.Date))
	case schema.Timestamp:
		set(format.Int64, &format.TimestampType{IsAdjustedToUTC: true, Unit: micros},
			thrift.New(deprecated.TimestampMicros))
	case schema.TimestampNTZ:
		set(format.Int64, &format.TimestampType{Unit: micros}, none)
	case schema.Decimal:
		return decimalElement(t, e)
	default:
		return fmt.Errorf("type kind %d has no Parquet form: %w", t.Kind, ErrMisfit)
	}
	return nil
}

// decimalElement uses INT32 up to precision 9, INT64 up to 18, and the fewest fixed bytes beyond, as Spark does.
func decimalElement(t *schema.Type, e *format.SchemaElement) error {
	if t.Precision < 1 || t.Precision > 38 || t.Scale < 0 || t.Scale > t.Precision {
		return fmt.Errorf("decimal(%d,%d) is out of range: %w", t.Precision, t.Scale, ErrMisfit)
	}
	switch {
	case t.Precision <= 9:
		e.Type = thrift.New(format.Int32)
	case t.Precision <= 18:
		e.Type = thrift.New(format.Int64)
	default:
		e.Type = thrift.New(format.FixedLenByteArray)
		e.TypeLength = thrift.New(int32(decimalWidth(t.Precision)))
	}
	e.ConvertedType = thrift.New(deprecated.Decimal)
	e.Precision, e.Scale = thrift.New(int32(t.Precision)), thrift.New(int32(t.Scale))
	e.LogicalType.Value = &format.DecimalType{Precision: int32(t.Precision), Scale: int32(t.Scale)}
	return nil
}

// decimalWidth returns how many bytes hold every signed integer of that many decimal digits.
func decimalWidth(precision int) int {
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(precision)), nil)
	return (limit.Sub(limit, big.NewInt(1)).BitLen() + 8) / 8
}
