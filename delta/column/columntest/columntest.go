// Package columntest makes random schemas and rows for tests of what handles columns, and batches out of rows.
package columntest

import (
	"fmt"
	"math"
	"math/big"
	"strings"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// Exact compares floats by their bits, so that NaN equals NaN and 0 differs from -0.
var Exact = cmp.Options{
	cmp.Comparer(func(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }),
	cmp.Comparer(func(a, b float32) bool { return math.Float32bits(a) == math.Float32bits(b) }),
}

// Append appends a value in the form of [column.Vector.Value]; nil is a null. It panics on a value of another form.
func Append(v *column.Vector, x any) {
	switch x := x.(type) {
	case nil:
		v.AppendNull()
	case bool:
		v.AppendBool(x)
	case int32:
		v.AppendInt32(x)
	case int64:
		v.AppendInt64(x)
	case float32:
		v.AppendFloat32(x)
	case float64:
		v.AppendFloat64(x)
	case []byte:
		v.AppendBytes(x)
	case string:
		if v.Type.Kind == schema.Decimal {
			appendDecimal(v, x)
		} else {
			v.AppendString(x)
		}
	case map[string]any:
		i := v.AppendStruct()
		for c, f := range v.Type.Fields {
			if x[f.Name] != nil {
				v.Children[c].PadNulls(i)
				Append(v.Children[c], x[f.Name])
			}
		}
	case []any:
		for _, e := range x {
			Append(v.Children[0], e)
		}
		v.AppendList()
	case []column.Entry:
		for _, e := range x {
			Append(v.Children[0], e.Key)
			Append(v.Children[1], e.Value)
		}
		v.AppendList()
	default:
		panic(fmt.Sprintf("columntest: value of type %T", x))
	}
}

func appendDecimal(v *column.Vector, text string) {
	n, ok := new(big.Int).SetString(strings.Replace(text, ".", "", 1), 10)
	if !ok {
		panic("columntest: decimal " + text)
	}
	if v.Type.Precision <= 18 {
		v.AppendInt64(n.Int64())
		return
	}
	lo := new(big.Int).And(n, new(big.Int).SetUint64(math.MaxUint64)).Uint64()
	v.AppendDecimal128(new(big.Int).Rsh(n, 64).Int64(), lo)
}

// Build returns a sealed batch of the rows; columns that a row lacks are null in it.
func Build(s *schema.Type, rows []map[string]any) *column.Batch {
	b := column.NewBatch(s)
	for i, row := range rows {
		AppendRow(b, i, row)
	}
	b.Seal(len(rows))
	return b
}

// AppendRow appends row i to a batch that is not sealed.
func AppendRow(b *column.Batch, i int, row map[string]any) {
	for c, f := range b.Schema.Fields {
		if x := row[f.Name]; x != nil {
			b.Columns[c].PadNulls(i)
			Append(b.Columns[c], x)
		}
	}
}

// Rows returns all rows of the batches.
func Rows(batches ...*column.Batch) []map[string]any {
	var out []map[string]any
	for _, b := range batches {
		for i := range b.Rows {
			out = append(out, b.Row(i))
		}
	}
	return out
}

var primitives = []schema.Kind{
	schema.Boolean, schema.Byte, schema.Short, schema.Integer, schema.Long, schema.Float, schema.Double, schema.Decimal,
	schema.String, schema.Binary, schema.Date, schema.Timestamp, schema.TimestampNTZ,
}

// Schema generates a struct of 1 to 6 columns, nested at most depth deep.
func Schema(depth int) *rapid.Generator[*schema.Type] {
	return rapid.Custom(func(t *rapid.T) *schema.Type { return structType(t, depth, 6) })
}

func structType(t *rapid.T, depth, most int) *schema.Type {
	s := &schema.Type{Kind: schema.Struct}
	for i := range rapid.IntRange(1, most).Draw(t, "fields") {
		name := fmt.Sprintf("%s%d", rapid.SampledFrom([]string{"c", "ü ", "key", "list", "a.b"}).Draw(t, "name"), i)
		s.Fields = append(s.Fields, schema.Field{
			Name: name, Type: anyType(t, depth), Nullable: rapid.IntRange(0, 4).Draw(t, "required") > 0,
		})
	}
	return s
}

func anyType(t *rapid.T, depth int) *schema.Type {
	if depth > 0 {
		switch rapid.IntRange(0, 5).Draw(t, "shape") {
		case 0:
			return structType(t, depth-1, 3)
		case 1:
			return &schema.Type{Kind: schema.Array, Elem: anyType(t, depth-1), ContainsNull: rapid.Bool().Draw(t, "nulls")}
		case 2:
			return &schema.Type{
				Kind: schema.Map, Key: primitive(t), Elem: anyType(t, depth-1), ContainsNull: rapid.Bool().Draw(t, "nulls"),
			}
		}
	}
	return primitive(t)
}

func primitive(t *rapid.T) *schema.Type {
	p := &schema.Type{Kind: rapid.SampledFrom(primitives).Draw(t, "kind")}
	if p.Kind == schema.Decimal {
		p.Precision = rapid.IntRange(1, 38).Draw(t, "precision")
		p.Scale = rapid.IntRange(0, p.Precision).Draw(t, "scale")
	}
	return p
}

// Row generates a row of s.
func Row(s *schema.Type) *rapid.Generator[map[string]any] {
	return rapid.Custom(func(t *rapid.T) map[string]any { return fields(t, s) })
}

func fields(t *rapid.T, s *schema.Type) map[string]any {
	row := make(map[string]any, len(s.Fields))
	for _, f := range s.Fields {
		row[f.Name] = value(t, f.Type, f.Nullable)
	}
	return row
}

func value(t *rapid.T, typ *schema.Type, nullable bool) any {
	if nullable && rapid.IntRange(0, 3).Draw(t, "null") == 0 {
		return nil
	}
	switch typ.Kind {
	case schema.Struct:
		return fields(t, typ)
	case schema.Array:
		list := []any{}
		for range rapid.IntRange(0, 3).Draw(t, "len") {
			list = append(list, value(t, typ.Elem, typ.ContainsNull))
		}
		return list
	case schema.Map:
		list := []column.Entry{}
		for range rapid.IntRange(0, 3).Draw(t, "len") {
			list = append(list, column.Entry{Key: value(t, typ.Key, false), Value: value(t, typ.Elem, typ.ContainsNull)})
		}
		return list
	default:
		return scalar(t, typ)
	}
}

// scalar draws from a few values (so that dictionaries come about), extremes included, or from all.
func scalar(t *rapid.T, typ *schema.Type) any {
	switch typ.Kind {
	case schema.Boolean:
		return rapid.Bool().Draw(t, "bool")
	case schema.Byte:
		return int32(rapid.Int8().Draw(t, "byte"))
	case schema.Short:
		return int32(rapid.Int16().Draw(t, "short"))
	case schema.Integer, schema.Date:
		return pickOr(t, []int32{0, 1, -1, math.MinInt32, math.MaxInt32}, rapid.Int32())
	case schema.Long, schema.Timestamp, schema.TimestampNTZ:
		return pickOr(t, []int64{0, 1, -1, -1999, math.MinInt64, math.MaxInt64}, rapid.Int64())
	case schema.Float:
		few := []float32{0, float32(math.Copysign(0, -1)), 1.5, math.MaxFloat32, float32(math.NaN()), float32(math.Inf(-1))}
		return pickOr(t, few, rapid.Float32())
	case schema.Double:
		few := []float64{0, math.Copysign(0, -1), 0.1, math.MaxFloat64, math.NaN(), math.Inf(1)}
		return pickOr(t, few, rapid.Float64())
	case schema.Decimal:
		digits := rapid.StringMatching(fmt.Sprintf("-?[0-9]{1,%d}", typ.Precision)).Draw(t, "decimal")
		n, _ := new(big.Int).SetString(digits, 10)
		return column.FormatDecimal(n, typ.Scale)
	case schema.Binary:
		return rapid.SliceOfN(rapid.Byte(), 0, 12).Draw(t, "binary")
	default:
		return text(t)
	}
}

func text(t *rapid.T) string {
	long := "日本語の長い文字列" + strings.Repeat("x", 40)
	return pickOr(t, []string{"", "a", "ab", "ÿ", long, long + "y", strings.Repeat("\U0010FFFF", 40)}, rapid.StringN(-1, 60, -1))
}

func pickOr[T any](t *rapid.T, few []T, all *rapid.Generator[T]) T {
	if rapid.Bool().Draw(t, "few") {
		return rapid.SampledFrom(few).Draw(t, "value")
	}
	return all.Draw(t, "value")
}
