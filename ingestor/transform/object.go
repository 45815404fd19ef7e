package transform

import (
	"fmt"
	"reflect"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
)

// object is a value of a struct column as expressions see it. A field that it lacks is null: records need not have it.
type object struct {
	a *activation
	c *cursor
	p int
}

var objectType = types.NewOpaqueType("struct")

var (
	_ traits.Indexer     = (*object)(nil)
	_ traits.FieldTester = (*object)(nil)
)

func (o *object) field(name ref.Val) (*cursor, bool) {
	s, ok := name.(types.String)
	if !ok {
		return nil, false
	}
	i := o.c.vec.Type.Index(string(s))
	if i < 0 {
		return nil, false
	}
	return o.c.children[i], true
}

// Get implements [traits.Indexer].
func (o *object) Get(name ref.Val) ref.Val {
	c, ok := o.field(name)
	if !ok {
		o.a.null = true
		return types.NullValue
	}
	return c.slotValue(o.a, o.p)
}

// IsSet implements [traits.FieldTester]: has(o.name).
func (o *object) IsSet(name ref.Val) ref.Val {
	c, ok := o.field(name)
	return types.Bool(ok && c.seek(o.p) >= 0)
}

// ConvertToNative implements [ref.Val].
func (o *object) ConvertToNative(t reflect.Type) (any, error) {
	return nil, fmt.Errorf("a struct does not become a %s", t)
}

// ConvertToType implements [ref.Val].
func (o *object) ConvertToType(t ref.Type) ref.Val {
	return types.NewErr("a struct does not become a %s", t.TypeName())
}

// Equal implements [ref.Val].
func (o *object) Equal(ref.Val) ref.Val {
	return types.NewErr("structs are not compared: compare their fields")
}

// Type implements [ref.Val].
func (o *object) Type() ref.Type { return objectType }

// Value implements [ref.Val].
func (o *object) Value() any { return o }

// activation gives an expression the columns of the current row.
type activation struct {
	columns map[string]chain // nil chain: the column is not there yet
	row     int
	null    bool // a null was read since it was cleared
}

// ResolveName implements the interface of CEL.
func (a *activation) ResolveName(name string) (any, bool) {
	columns, ok := a.columns[name]
	if !ok {
		return nil, false
	}
	if columns == nil {
		a.null = true
		return types.NullValue, true
	}
	c, p := columns.seek(a.row)
	if p < 0 {
		a.null = true
		return types.NullValue, true
	}
	return c.value(a, p), true
}

// Parent implements the interface of CEL.
func (a *activation) Parent() cel.Activation { return nil }
