package transform

import (
	"math/big"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// cursor finds the values of a vector by slot. Values are stored without gaps, so it keeps how many came before; slots
// are asked for in almost ascending order, which makes a step of it cheap. It never looks behind the vector's end: a
// column may lag behind the rows.
type cursor struct {
	vec      *column.Vector
	slot     int // slots passed
	pos      int // values among them
	children []*cursor
}

func newCursor(v *column.Vector) *cursor {
	c := &cursor{vec: v}
	for _, child := range v.Children {
		c.children = append(c.children, newCursor(child))
	}
	return c
}

// seek returns the index of the value of a slot, -1 for a null.
func (c *cursor) seek(slot int) int {
	v := c.vec
	if slot >= v.Len {
		return -1
	}
	if v.Valid == nil {
		return slot
	}
	for ; c.slot < slot; c.slot++ {
		c.pos += int(v.Valid[c.slot])
	}
	for c.slot > slot {
		c.slot--
		c.pos -= int(v.Valid[c.slot])
	}
	if v.Valid[slot] == 0 {
		return -1
	}
	return c.pos
}

// rewind goes back to slots that stay when those from slot on are cut off.
func (c *cursor) rewind(slot int) {
	v, values := c.vec, slot
	if v.Valid != nil {
		for c.slot > slot {
			c.slot--
			c.pos -= int(v.Valid[c.slot])
		}
		values = c.pos
	}
	if v.Type.Kind == schema.Array || v.Type.Kind == schema.Map {
		values = int(v.Offsets[min(values, len(v.Offsets)-1)])
	}
	for _, child := range c.children {
		child.rewind(values)
	}
}

// chain leads from a column through structs to a field of theirs.
type chain []*cursor

// seek returns the cursor of the field and the index of its value in a row, -1 for a null.
func (c chain) seek(row int) (*cursor, int) {
	for i, step := range c {
		row = step.seek(row)
		if row < 0 || i == len(c)-1 {
			break
		}
	}
	return c[len(c)-1], row
}

// value is value p as expressions see it. Structs stay where they are and are read field by field, until the next row.
func (c *cursor) value(a *activation, p int) ref.Val {
	v := c.vec
	switch v.Type.Kind {
	case schema.Boolean:
		return types.Bool(v.Bools[p])
	case schema.Byte, schema.Short, schema.Integer:
		return types.Int(v.Int32s[p])
	case schema.Long:
		return types.Int(v.Int64s[p])
	case schema.Float:
		return types.Double(v.Float32s[p])
	case schema.Double:
		return types.Double(v.Float64s[p])
	case schema.Decimal:
		x, _ := new(big.Float).SetString(column.FormatDecimal(v.UnscaledAt(p), v.Type.Scale))
		f, _ := x.Float64()
		return types.Double(f)
	case schema.String:
		return types.String(v.BytesAt(p))
	case schema.Binary:
		return types.Bytes(append([]byte(nil), v.BytesAt(p)...))
	case schema.Date:
		return types.Timestamp{Time: time.Unix(int64(v.Int32s[p])*secondsPerDay, 0).UTC()}
	case schema.Timestamp, schema.TimestampNTZ:
		return types.Timestamp{Time: time.UnixMicro(v.Int64s[p]).UTC()}
	case schema.Struct:
		return &object{a, c, p}
	case schema.Array:
		return c.list(a, p)
	case schema.Map:
		return c.mapping(a, p)
	default:
		return types.NullValue
	}
}

const secondsPerDay = 86_400

// slotValue is the value of a slot, a null included.
func (c *cursor) slotValue(a *activation, slot int) ref.Val {
	p := c.seek(slot)
	if p < 0 {
		a.null = true
		return types.NullValue
	}
	return c.value(a, p)
}

func (c *cursor) list(a *activation, p int) ref.Val {
	from, to := c.vec.Offsets[p], c.vec.Offsets[p+1]
	all := make([]ref.Val, 0, to-from)
	for e := from; e < to; e++ {
		all = append(all, c.children[0].slotValue(a, int(e)))
	}
	return types.NewRefValList(types.DefaultTypeAdapter, all)
}

func (c *cursor) mapping(a *activation, p int) ref.Val {
	all := make(map[ref.Val]ref.Val)
	for e := c.vec.Offsets[p]; e < c.vec.Offsets[p+1]; e++ {
		all[c.children[0].slotValue(a, int(e))] = c.children[1].slotValue(a, int(e))
	}
	return types.NewRefValMap(types.DefaultTypeAdapter, all)
}
