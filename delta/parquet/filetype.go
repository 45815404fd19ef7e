package parquet

import (
	"fmt"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"github.com/weir-dev/weir/delta/schema"
)

// fileNode is a column of the file, nested ones included, with its Delta type.
//
// The levels are those at which the node itself is not null; a list's elements exist from elemDef on and the second and
// later ones carry elemRep.
type fileNode struct {
	name     string
	t        *schema.Type
	optional bool
	def      byte // level at which this node is valid
	rep      byte // lists around this node
	elemDef  byte // Array and Map
	children []*fileNode
	leaf     int // index of the first column chunk at or below this node
	phys     physType
	e        *element
}

// Bounds of a file's schema.
const (
	maxFileDepth   = 100
	maxFileColumns = 1 << 17
)

// treeReader builds the tree from the flat list.
type treeReader struct {
	elements []element
	next     int
	leaves   []*fileNode
}

// fileTree returns the root and the leaves in the order of column chunks.
func fileTree(elements []element) (*fileNode, []*fileNode, error) {
	r := &treeReader{elements: elements}
	if len(elements) == 0 || elements[0].leaf || len(elements) > maxFileColumns {
		return nil, nil, fmt.Errorf("schema of %d elements: %w", len(elements), ErrCorrupt)
	}
	r.elements[0].repetition = format.Required
	root, err := r.node(0, 0, 0)
	if err != nil {
		return nil, nil, err
	}
	return root, r.leaves, nil
}

// take returns the next element.
func (r *treeReader) take(depth int) (*element, error) {
	if r.next >= len(r.elements) || depth > maxFileDepth {
		return nil, fmt.Errorf("schema tree does not close: %w", ErrCorrupt)
	}
	e := &r.elements[r.next]
	r.next++
	if e.children > len(r.elements)-r.next {
		return nil, fmt.Errorf("column %q has %d fields: %w", e.name, e.children, ErrCorrupt)
	}
	return e, nil
}

// node reads the next element as a struct field, with what lies below it. A repeated field that no LIST or MAP encloses
// is a list of required elements.
func (r *treeReader) node(def, rep byte, depth int) (*fileNode, error) {
	e, err := r.take(depth)
	if err != nil {
		return nil, err
	}
	if e.repetition != format.Repeated {
		return r.body(e, def, rep, depth)
	}
	elem, err := r.body(e, def+1, rep+1, depth)
	if err != nil {
		return nil, err
	}
	return &fileNode{
		name: e.name, t: &schema.Type{Kind: schema.Array, Elem: elem.t}, def: def, rep: rep, elemDef: def + 1,
		children: []*fileNode{elem}, leaf: elem.leaf, e: e,
	}, nil
}

// body reads what e holds; def and rep are the levels around e, with a repetition of e's own already counted.
func (r *treeReader) body(e *element, def, rep byte, depth int) (*fileNode, error) {
	n := &fileNode{name: e.name, optional: e.repetition == format.Optional, def: def, rep: rep, leaf: len(r.leaves), e: e}
	if n.optional {
		n.def++
	}
	isList := e.logical == logicalList || e.converted == int(deprecated.List)
	isMap := e.logical == logicalMap || e.converted == int(deprecated.Map) || e.converted == int(deprecated.MapKeyValue)
	switch {
	case e.leaf && e.phys > format.FixedLenByteArray:
		return nil, fmt.Errorf("column %q has physical type %d: %w", e.name, e.phys, ErrCorrupt)
	case e.leaf:
		n.phys = physType{phys: e.phys, width: e.width}
		n.t = leafType(e)
		r.leaves = append(r.leaves, n)
		return n, nil
	case e.children == 1 && isList && r.repeatedNext():
		return n, r.list(n, depth)
	case e.children == 1 && isMap && r.repeatedNext() && r.elements[r.next].children == 2:
		return n, r.mapping(n, depth)
	default:
		return n, r.structure(n, e.children, depth)
	}
}

func (r *treeReader) repeatedNext() bool {
	return r.next < len(r.elements) && r.elements[r.next].repetition == format.Repeated
}

func (r *treeReader) structure(n *fileNode, fields, depth int) error {
	n.t = &schema.Type{Kind: schema.Struct}
	names := make(map[string]bool, fields)
	for range fields {
		c, err := r.node(n.def, n.rep, depth+1)
		if err != nil {
			return err
		}
		if names[c.name] {
			return fmt.Errorf("two columns are named %q: %w", c.name, ErrCorrupt)
		}
		names[c.name] = true
		n.children = append(n.children, c)
		f := schema.Field{Name: c.name, Type: c.t, Nullable: c.optional}
		if c.e.hasFieldID {
			f.Metadata = map[string]any{FieldID: c.e.fieldID}
		}
		n.t.Fields = append(n.t.Fields, f)
	}
	if len(r.leaves) == n.leaf {
		return fmt.Errorf("column %q has no leaf: %w", n.name, ErrCorrupt)
	}
	return nil
}

// list reads the single repeated child of a LIST group. By the format's rules for old files, the repeated field is
// itself the element when it is no group, has several fields, or is named "array" or "<list>_tuple".
func (r *treeReader) list(n *fileNode, depth int) error {
	repeated, err := r.take(depth)
	if err != nil {
		return err
	}
	n.elemDef = n.def + 1
	var elem *fileNode
	if repeated.leaf || repeated.children != 1 || repeated.name == "array" || repeated.name == n.name+"_tuple" ||
		r.repeatedNext() {
		elem, err = r.body(repeated, n.elemDef, n.rep+1, depth+1)
	} else {
		elem, err = r.node(n.elemDef, n.rep+1, depth+1)
	}
	if err != nil {
		return err
	}
	n.children = []*fileNode{elem}
	n.t = &schema.Type{Kind: schema.Array, Elem: elem.t, ContainsNull: elem.optional}
	return nil
}

func (r *treeReader) mapping(n *fileNode, depth int) error {
	if _, err := r.take(depth); err != nil {
		return err
	}
	n.elemDef = n.def + 1
	for range 2 {
		c, err := r.node(n.elemDef, n.rep+1, depth+1)
		if err != nil {
			return err
		}
		n.children = append(n.children, c)
	}
	n.t = &schema.Type{
		Kind: schema.Map, Key: n.children[0].t, Elem: n.children[1].t, ContainsNull: n.children[1].optional,
	}
	return nil
}

// leafType returns the Delta type that fits a leaf best. What Delta cannot express is shown by its physical type.
func leafType(e *element) *schema.Type {
	t := func(k schema.Kind) *schema.Type { return &schema.Type{Kind: k} }
	if d := decimalType(e); d != nil {
		return d
	}
	switch e.phys {
	case format.Boolean:
		return t(schema.Boolean)
	case format.Int32:
		return t(int32Kind(e))
	case format.Int64:
		return t(int64Kind(e))
	case format.Int96:
		return t(schema.Timestamp)
	case format.Float:
		return t(schema.Float)
	case format.Double:
		return t(schema.Double)
	default:
		// STRING, ENUM, JSON
		if e.logical == 1 || e.logical == 4 || e.logical == 12 || (e.logical == 0 && isText(e.converted)) {
			return t(schema.String)
		}
		return t(schema.Binary)
	}
}

func isText(converted int) bool {
	return converted == int(deprecated.UTF8) || converted == int(deprecated.Enum) || converted == int(deprecated.Json)
}

func decimalType(e *element) *schema.Type {
	if e.logical != logicalDecimal && e.converted != int(deprecated.Decimal) {
		return nil
	}
	if e.precision < 1 || e.precision > 38 || e.scale > e.precision {
		return nil
	}
	switch e.phys {
	case format.Int32, format.Int64, format.ByteArray, format.FixedLenByteArray:
		return &schema.Type{Kind: schema.Decimal, Precision: e.precision, Scale: e.scale}
	default:
		return nil
	}
}

// unsigned says whether the numbers of a column of 64 bits have no sign.
func (n *fileNode) unsigned() bool {
	return n.e.logical == logicalInteger && n.e.bits == 64 && !n.e.signed || n.e.logical == 0 && n.e.converted == int(deprecated.Uint64)
}

func int32Kind(e *element) schema.Kind {
	switch {
	case e.logical == logicalDate || e.converted == int(deprecated.Date):
		return schema.Date
	case e.logical == logicalInteger && e.bits == 8 && e.signed, e.logical == 0 && e.converted == int(deprecated.Int8):
		return schema.Byte
	case e.logical == logicalInteger && !e.signed && e.bits == 32, e.logical == 0 && e.converted == int(deprecated.Uint32):
		return schema.Long
	case e.logical == logicalInteger && !e.signed && e.bits == 8, e.logical == 0 && e.converted == int(deprecated.Uint8),
		e.logical == logicalInteger && e.bits == 16 && e.signed, e.logical == 0 && e.converted == int(deprecated.Int16):
		return schema.Short
	default:
		return schema.Integer
	}
}

func int64Kind(e *element) schema.Kind {
	switch {
	case e.logical == logicalTimestamp && !e.utc:
		return schema.TimestampNTZ
	case e.logical == logicalTimestamp, e.converted == int(deprecated.TimestampMicros),
		e.converted == int(deprecated.TimestampMillis):
		return schema.Timestamp
	default:
		return schema.Long
	}
}
