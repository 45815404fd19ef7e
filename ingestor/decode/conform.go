package decode

import (
	"math"
	"math/big"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// Conform turns b, which must be sealed, into a batch of the schema to: another writer changed the table first, or the
// schema grew. Columns are found by name. One of the same type is taken over without a copy, one that b lacks is null.
// Numbers are converted where that is exact; every other value whose column has another type now, or is gone, moves into
// the column for misfits. moved counts those. b is without columns afterwards.
//
// If to has no column for misfits but out needs one, out.Schema is to with that column added.
func Conform(b *column.Batch, to *schema.Type) (out *column.Batch, moved int) {
	m := &mover{}
	rescue := rescueColumn(to)
	if b.Schema.Index(rescue) >= 0 && to.Index(rescue) < 0 {
		to = withRescue(to, rescue)
	}
	out = &column.Batch{Schema: to, Rows: b.Rows, Columns: make([]*column.Vector, len(to.Fields))}
	taken := make(map[string]bool, len(b.Columns))
	for i, f := range to.Fields {
		at := indexNear(b.Schema, f.Name, i)
		if at < 0 {
			out.Columns[i] = column.New(f.Type)
			out.Columns[i].PadNulls(b.Rows)
			continue
		}
		taken[f.Name] = true
		out.Columns[i] = m.column(b.Columns[at], f.Type, &b.Schema.Fields[at], b.Rows)
	}
	for i := range b.Schema.Fields {
		if f := &b.Schema.Fields[i]; !taken[f.Name] {
			m.drop(b.Columns[i], f, b.Rows)
		}
	}
	if m.moved > 0 {
		m.store(out, rescue)
	}
	b.Schema, b.Columns = nil, nil
	return out, m.moved
}

// retype makes v a vector of type to without touching values, and says whether that is possible: every part of v is there
// in to with the same type.
func retype(v *column.Vector, to *schema.Type) bool {
	if !fits(v.Type, to) {
		return false
	}
	adopt(v, to)
	return true
}

func fits(from, to *schema.Type) bool {
	if from == to {
		return true
	}
	if from.Kind != to.Kind || from.Precision != to.Precision || from.Scale != to.Scale {
		return false
	}
	switch from.Kind {
	case schema.Struct:
		for i := range from.Fields {
			at := indexNear(to, from.Fields[i].Name, i)
			if at < 0 || !fits(from.Fields[i].Type, to.Fields[at].Type) {
				return false
			}
		}
	case schema.Array:
		return fits(from.Elem, to.Elem) && (to.ContainsNull || !from.ContainsNull)
	case schema.Map:
		return fits(from.Key, to.Key) && fits(from.Elem, to.Elem) && (to.ContainsNull || !from.ContainsNull)
	default:
	}
	return true
}

// indexNear is the position of the field called name in the struct t, or -1. Schemas that grow keep the order of their
// fields: it is usually at i.
func indexNear(t *schema.Type, name string, i int) int {
	if i < len(t.Fields) && t.Fields[i].Name == name {
		return i
	}
	return t.Index(name)
}

// adopt gives v and its children the types of to, whose additional fields are null.
func adopt(v *column.Vector, to *schema.Type) {
	from := v.Type
	v.Type = to
	switch to.Kind {
	case schema.Struct:
		if from == to {
			return
		}
		present := v.Present()
		children := make([]*column.Vector, len(to.Fields))
		for i, f := range to.Fields {
			if at := indexNear(from, f.Name, i); at >= 0 {
				children[i] = v.Children[at]
				adopt(children[i], f.Type)
				continue
			}
			children[i] = column.New(f.Type)
			children[i].PadNulls(present)
		}
		v.Children = children
	case schema.Array:
		adopt(v.Children[0], to.Elem)
	case schema.Map:
		adopt(v.Children[0], to.Key)
		adopt(v.Children[1], to.Elem)
	default:
	}
}

// mover moves values between vectors of different types.
type mover struct {
	rescued map[int][]byte // by row: members of the object for misfits
	row     int
	path    []byte
	moved   int
}

// column returns the rows of v as a vector of type to.
func (m *mover) column(v *column.Vector, to *schema.Type, f *schema.Field, rows int) *column.Vector {
	if retype(v, to) {
		return v
	}
	dst := column.New(to)
	src := newSource(v)
	for row := range rows {
		m.row = row
		m.path = appendName(m.path[:0], []byte(sourceName(f)), 0)
		m.slot(dst, src, row)
	}
	dst.Seal(rows)
	return dst
}

// drop moves all values of a column that is no more.
func (m *mover) drop(v *column.Vector, f *schema.Field, rows int) {
	src := newSource(v)
	for row := range rows {
		m.row = row
		m.path = appendName(m.path[:0], []byte(sourceName(f)), 0)
		if p := src.position(row); p >= 0 {
			m.rescue(src, p)
		}
	}
}

// slot appends a slot of src to dst, a null if its value does not fit.
func (m *mover) slot(dst *column.Vector, src *source, slot int) {
	p := src.position(slot)
	if p < 0 {
		dst.AppendNull()
	} else if !m.value(dst, src, p) {
		dst.AppendNull()
		m.rescue(src, p)
	}
}

// rescue notes value p of src under the current path.
func (m *mover) rescue(src *source, p int) {
	if m.rescued == nil {
		m.rescued = make(map[int][]byte)
	}
	out := m.rescued[m.row]
	if len(out) > 0 {
		out = append(out, ',')
	}
	out = appendQuoted(out, m.path)
	out = append(out, ':')
	m.rescued[m.row] = src.appendJSON(out, p)
	m.moved++
}

// value appends value p of src to dst, if that is possible in full or in the parts that can hold a null.
func (m *mover) value(dst *column.Vector, src *source, p int) bool {
	from, to := src.v.Type.Kind, dst.Type.Kind
	switch {
	case from == schema.Struct && to == schema.Struct:
		return m.structure(dst, src, p)
	case from == schema.Array && to == schema.Array, from == schema.Map && to == schema.Map:
		return m.list(dst, src, p)
	case isNumber(from) && isNumber(to):
		return appendExact(dst, src.v, p)
	case from != to:
		return false
	}
	switch from {
	case schema.Boolean:
		dst.AppendBool(src.v.Bools[p])
	case schema.Date:
		dst.AppendInt32(src.v.Int32s[p])
	case schema.Timestamp, schema.TimestampNTZ:
		dst.AppendInt64(src.v.Int64s[p])
	case schema.String, schema.Binary:
		dst.AppendBytes(src.v.BytesAt(p))
	default:
		return false
	}
	return true
}

func (m *mover) structure(dst *column.Vector, src *source, p int) bool {
	slot := dst.AppendStruct()
	mark := len(m.path)
	for i := range src.v.Type.Fields {
		f := &src.v.Type.Fields[i]
		child := src.children[i]
		m.path = appendName(m.path[:mark], []byte(sourceName(f)), 0)
		if at := dst.Type.Index(f.Name); at >= 0 {
			dst.Children[at].PadNulls(slot)
			m.slot(dst.Children[at], child, p)
		} else if q := child.position(p); q >= 0 {
			m.rescue(child, q)
		}
	}
	m.path = m.path[:mark]
	for _, c := range dst.Children {
		c.PadNulls(slot + 1)
	}
	return true
}

// list copies a list or a map. One with an element that cannot be converted and may not be null is not copied.
func (m *mover) list(dst *column.Vector, src *source, p int) bool {
	values := len(src.children) - 1 // the elements of a list, the values of a map
	noted, mark := len(m.rescued[m.row]), len(m.path)
	moved := m.moved
	undo := func() bool {
		dst.Truncate(dst.Len)
		if m.moved > moved {
			m.rescued[m.row] = m.rescued[m.row][:noted]
			m.moved = moved
		}
		m.path = m.path[:mark]
		return false
	}
	first := src.v.Offsets[p]
	for e := int(first); e < int(src.v.Offsets[p+1]); e++ {
		if values == 1 {
			key := src.children[0]
			if !m.value(dst.Children[0], key, key.position(e)) {
				return undo()
			}
			m.path = appendName(m.path[:mark], key.appendText(nil, key.position(e)), 0)
		} else {
			m.path = appendIndex(m.path[:mark], e-int(first))
		}
		before := m.moved
		m.slot(dst.Children[values], src.children[values], e)
		if !dst.Type.ContainsNull && (m.moved > before || src.children[values].position(e) < 0) {
			return undo()
		}
	}
	m.path = m.path[:mark]
	dst.AppendList()
	return true
}

// store writes the misfits into the rescue column of out, which is added if need be, behind what it holds already.
func (m *mover) store(out *column.Batch, name string) {
	at := out.Schema.Index(name)
	if at < 0 {
		at = len(out.Schema.Fields)
		out.Schema = withRescue(out.Schema, name)
		v := column.New(out.Schema.Fields[at].Type)
		v.PadNulls(out.Rows)
		out.Columns = append(out.Columns, v)
	}
	old := newSource(out.Columns[at])
	v := column.New(out.Schema.Fields[at].Type)
	var text []byte
	for row := range out.Rows {
		p := old.position(row)
		text = text[:0]
		if p >= 0 {
			text = append(text, old.v.BytesAt(p)...)
		}
		if added := m.rescued[row]; added != nil {
			text = mergeObjects(text, added)
		}
		if p < 0 && len(text) == 0 {
			v.AppendNull()
		} else {
			v.AppendBytes(text)
		}
	}
	out.Columns[at] = v
}

// mergeObjects adds members to the JSON object in text, which may be empty.
func mergeObjects(text, members []byte) []byte {
	switch len(text) {
	case 0, len("{}"):
		text = append(text[:0], '{')
	default:
		text = append(text[:len(text)-1], ',')
	}
	text = append(text, members...)
	return append(text, '}')
}

func isNumber(k schema.Kind) bool {
	switch k {
	case schema.Byte, schema.Short, schema.Integer, schema.Long, schema.Float, schema.Double, schema.Decimal:
		return true
	default:
		return false
	}
}

// appendExact converts value p of src, a number, to the type of dst if nothing is lost.
func appendExact(dst, src *column.Vector, p int) bool {
	x := exactValue(src, p)
	if x == nil {
		return appendSpecial(dst, src, p)
	}
	switch dst.Type.Kind {
	case schema.Float:
		f, _ := x.Float32()
		if new(big.Rat).SetFloat64(float64(f)) == nil || new(big.Rat).SetFloat64(float64(f)).Cmp(x) != 0 {
			return false
		}
		dst.AppendFloat32(f)
	case schema.Double:
		f, exact := x.Float64()
		if !exact {
			return false
		}
		dst.AppendFloat64(f)
	case schema.Decimal:
		return appendRat(dst, x)
	default:
		n := node{kind: dst.Type.Kind, vec: dst}
		return x.IsInt() && x.Num().IsInt64() && n.appendInteger(x.Num().Int64())
	}
	return true
}

// appendSpecial converts what no rational number is: infinities and NaN, between the floating-point types.
func appendSpecial(dst, src *column.Vector, p int) bool {
	var f float64
	if src.Type.Kind == schema.Float {
		f = float64(src.Float32s[p])
	} else {
		f = src.Float64s[p]
	}
	switch dst.Type.Kind {
	case schema.Float:
		dst.AppendFloat32(float32(f))
	case schema.Double:
		dst.AppendFloat64(f)
	default:
		return false
	}
	return true
}

// exactValue is value p of a numeric vector, nil if that is no finite number.
func exactValue(v *column.Vector, p int) *big.Rat {
	switch v.Type.Kind {
	case schema.Byte, schema.Short, schema.Integer:
		return new(big.Rat).SetInt64(int64(v.Int32s[p]))
	case schema.Long:
		return new(big.Rat).SetInt64(v.Int64s[p])
	case schema.Float:
		return new(big.Rat).SetFloat64(float64(v.Float32s[p]))
	case schema.Double:
		return new(big.Rat).SetFloat64(v.Float64s[p])
	default:
		return new(big.Rat).SetFrac(v.UnscaledAt(p), pow10(v.Type.Scale))
	}
}

func pow10(n int) *big.Int { return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil) }

// appendRat appends x to a decimal vector if it is exact there.
func appendRat(dst *column.Vector, x *big.Rat) bool {
	unscaled := new(big.Rat).Mul(x, new(big.Rat).SetInt(pow10(dst.Type.Scale)))
	if !unscaled.IsInt() || unscaled.Num().CmpAbs(pow10(dst.Type.Precision)) >= 0 {
		return false
	}
	u := unscaled.Num()
	if dst.Type.Precision <= 18 {
		dst.AppendInt64(u.Int64())
		return true
	}
	low := new(big.Int).And(u, new(big.Int).SetUint64(math.MaxUint64)) // And and Rsh act as on two's complement
	dst.AppendDecimal128(new(big.Int).Rsh(u, 64).Int64(), low.Uint64())
	return true
}
