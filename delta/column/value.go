package column

import (
	"bytes"
	"math/big"
	"strings"

	"github.com/weir-dev/weir/delta/schema"
)

// Entry is an entry of a map value.
type Entry struct {
	Key, Value any
}

// Row returns row i by column name, a null as nil. It is meant for tests and printing: it allocates, and takes O(i).
func (b *Batch) Row(i int) map[string]any {
	row := make(map[string]any, len(b.Columns))
	for c, f := range b.Schema.Fields {
		row[f.Name] = b.Columns[c].Value(i)
	}
	return row
}

// Value returns slot i as bool, int32, int64, float32, float64, string (also for a decimal, in plain notation), []byte,
// map[string]any, []any or []Entry, or nil. The batch must be sealed. It allocates, and takes O(i).
func (v *Vector) Value(i int) any {
	if v.IsNull(i) {
		return nil
	}
	return v.at(v.Position(i))
}

// IsNull says whether slot i is null.
func (v *Vector) IsNull(i int) bool { return v.Valid != nil && v.Valid[i] == 0 }

// Position returns the index of the value of valid slot i among the values. It takes O(i); see [Vector.Positions] for all.
func (v *Vector) Position(i int) int {
	if v.Valid == nil {
		return i
	}
	return bytes.Count(v.Valid[:i], []byte{1})
}

// BytesAt returns value p (see [Vector.Position]) of a String or Binary vector; it aliases the vector.
func (v *Vector) BytesAt(p int) []byte { return v.Data[v.Offsets[p]:v.Offsets[p+1]:v.Offsets[p+1]] }

// at returns value p as Value does.
func (v *Vector) at(p int) any {
	switch v.Type.Kind {
	case schema.Boolean:
		return v.Bools[p]
	case schema.Byte, schema.Short, schema.Integer, schema.Date:
		return v.Int32s[p]
	case schema.Long, schema.Timestamp, schema.TimestampNTZ:
		return v.Int64s[p]
	case schema.Float:
		return v.Float32s[p]
	case schema.Double:
		return v.Float64s[p]
	case schema.Decimal:
		return FormatDecimal(v.UnscaledAt(p), v.Type.Scale)
	case schema.String:
		return string(v.BytesAt(p))
	case schema.Binary:
		return append([]byte{}, v.BytesAt(p)...) // not nil, which is a null
	case schema.Struct:
		row := make(map[string]any, len(v.Children))
		for c, f := range v.Type.Fields {
			row[f.Name] = v.Children[c].Value(p)
		}
		return row
	case schema.Array:
		list := make([]any, 0, v.Offsets[p+1]-v.Offsets[p])
		for e := v.Offsets[p]; e < v.Offsets[p+1]; e++ {
			list = append(list, v.Children[0].Value(int(e)))
		}
		return list
	case schema.Map:
		list := make([]Entry, 0, v.Offsets[p+1]-v.Offsets[p])
		for e := int(v.Offsets[p]); e < int(v.Offsets[p+1]); e++ {
			list = append(list, Entry{v.Children[0].Value(e), v.Children[1].Value(e)})
		}
		return list
	default:
		return nil
	}
}

// UnscaledAt returns the unscaled integer of value p of a Decimal vector.
func (v *Vector) UnscaledAt(p int) *big.Int {
	if v.Type.Precision <= 18 {
		return big.NewInt(v.Int64s[p])
	}
	b := v.Data[p*wideDecimal : (p+1)*wideDecimal]
	n := new(big.Int).SetBytes(b)
	if b[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), 8*wideDecimal))
	}
	return n
}

// FormatDecimal returns unscaled · 10^-scale in plain notation with exactly scale digits after the point.
func FormatDecimal(unscaled *big.Int, scale int) string {
	digits := new(big.Int).Abs(unscaled).String()
	if scale > 0 {
		if len(digits) <= scale {
			digits = strings.Repeat("0", scale-len(digits)+1) + digits
		}
		digits = digits[:len(digits)-scale] + "." + digits[len(digits)-scale:]
	}
	if unscaled.Sign() < 0 {
		return "-" + digits
	}
	return digits
}
