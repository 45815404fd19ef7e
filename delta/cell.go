package delta

import (
	"bytes"
	"cmp"
	"math"
	"math/big"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// class says how the values of a type compare.
type class uint8

const (
	noClass    class = iota // nested: they do not
	intClass                // booleans, integers, dates, timestamps
	floatClass              // as in SQL: NaN equals itself and is the largest
	bytesClass              // strings by their UTF-8, binary
	ratClass                // decimals
)

func classOf(t *schema.Type) class {
	switch t.Kind {
	case schema.Boolean, schema.Byte, schema.Short, schema.Integer, schema.Long, schema.Date, schema.Timestamp, schema.TimestampNTZ:
		return intClass
	case schema.Float, schema.Double:
		return floatClass
	case schema.String, schema.Binary:
		return bytesClass
	case schema.Decimal:
		return ratClass
	default:
		return noClass
	}
}

// datum is a single value that is not null; the class says which member it is.
type datum struct {
	i int64
	f float64
	b []byte // may alias a vector
	r *big.Rat
}

func (c class) compare(a, b datum) int {
	switch c {
	case floatClass:
		return compareFloats(a.f, b.f)
	case bytesClass:
		return bytes.Compare(a.b, b.b)
	case ratClass:
		return a.r.Cmp(b.r)
	default:
		return cmp.Compare(a.i, b.i)
	}
}

func compareFloats(a, b float64) int {
	switch {
	case math.IsNaN(a) && math.IsNaN(b):
		return 0
	case math.IsNaN(a):
		return 1
	case math.IsNaN(b):
		return -1
	default:
		return cmp.Compare(a, b)
	}
}

// cells gives access to the rows of a column of single values.
type cells struct {
	v     *column.Vector // nil: null everywhere
	class class
	at    []int32 // where a row's value is, -1 for null; nil: at its own place
}

func newCells(v *column.Vector) cells {
	if v == nil {
		return cells{}
	}
	c := cells{v: v, class: classOf(v.Type)}
	if v.Valid != nil {
		c.at = v.Positions(nil)
	}
	return c
}

// position is where the value of a row is, -1 for null.
func (c *cells) position(row int) int {
	switch {
	case c.v == nil:
		return -1
	case c.at != nil:
		return int(c.at[row])
	default:
		return row
	}
}

// get returns the value of a row; false for null.
func (c *cells) get(row int) (datum, bool) {
	p := c.position(row)
	if p < 0 {
		return datum{}, false
	}
	return valueAt(c.v, p), true
}

// valueAt is value p (see [column.Vector.Position]) of a vector that has a class.
func valueAt(v *column.Vector, p int) datum {
	switch v.Type.Kind {
	case schema.Boolean:
		if v.Bools[p] {
			return datum{i: 1}
		}
		return datum{}
	case schema.Byte, schema.Short, schema.Integer, schema.Date:
		return datum{i: int64(v.Int32s[p])}
	case schema.Long, schema.Timestamp, schema.TimestampNTZ:
		return datum{i: v.Int64s[p]}
	case schema.Float:
		return datum{f: float64(v.Float32s[p])}
	case schema.Double:
		return datum{f: v.Float64s[p]}
	case schema.String, schema.Binary:
		return datum{b: v.BytesAt(p)}
	case schema.Decimal:
		return datum{r: rational(v.UnscaledAt(p), v.Type.Scale)}
	default:
		return datum{}
	}
}

func rational(unscaled *big.Int, scale int) *big.Rat {
	return new(big.Rat).SetFrac(unscaled, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil))
}
