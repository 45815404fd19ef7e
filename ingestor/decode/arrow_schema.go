package decode

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/weir-dev/weir/delta/schema"
)

// arrowKind says how the values of an Arrow array are laid out and what they are.
type arrowKind uint8

const (
	arrowNull arrowKind = iota
	arrowBool
	arrowInt8
	arrowInt16
	arrowInt32
	arrowInt64
	arrowUint8
	arrowUint16
	arrowUint32
	arrowUint64
	arrowFloat16
	arrowFloat32
	arrowFloat64
	arrowDecimal // of width bytes
	arrowDate64
	arrowTime // a timestamp in a unit
	arrowUtf8
	arrowLargeUtf8
	arrowUtf8View
	arrowBinary
	arrowLargeBinary
	arrowBinaryView
	arrowFixedBinary // of width bytes
	arrowList
	arrowLargeList
	arrowFixedList // of width elements
	arrowStruct
	arrowMap
)

// arrowField is a field of an Arrow schema.
type arrowField struct {
	name     string
	kind     arrowKind
	width    int   // bytes of a fixed-width value, elements of a fixed list
	unit     int64 // arrowTime: of a second there are so many
	children []*arrowField
	dict     *arrowDict // its values are elsewhere; kind is that of the values
	natural  *schema.Type
}

// arrowDict says that the array holds indexes into a dictionary.
type arrowDict struct {
	id    int64
	index arrowKind
}

// Bounds of an Arrow schema.
const (
	maxArrowFields = 20_000
	maxArrowDepth  = 24
)

// The union of types in Schema.fbs.
const (
	fbNull = iota + 1
	fbInt
	fbFloat
	fbBinary
	fbUtf8
	fbBool
	fbDecimal
	fbDate
	fbTime
	fbTimestamp
	fbInterval
	fbList
	fbStruct
	fbUnion
	fbFixedBinary
	fbFixedList
	fbMap
	fbDuration
	fbLargeBinary
	fbLargeUtf8
	fbLargeList
	fbRunEnd
	fbBinaryView
	fbUtf8View
	fbListView
	fbLargeListView
)

var fbNames = map[byte]string{
	fbDecimal: "decimal of more than 38 digits or with a negative scale", fbFixedBinary: "fixed-size binary of more than 1 MiB",
	fbInterval: "interval", fbUnion: "union", fbRunEnd: "run-end encoded", fbListView: "list view", fbLargeListView: "large list view",
}

var errArrowSchema = errors.New("its schema is malformed")

// arrowSchemaOf reads the schema message; t is its header.
func arrowSchemaOf(f *flat, t table) ([]*arrowField, error) {
	if f.shortAt(t, 0) != 0 {
		return nil, errors.New("its schema is big-endian: write little-endian")
	}
	left := maxArrowFields
	fields, err := arrowFields(f, t, 1, 0, &left)
	if err == nil && f.bad {
		err = errArrowSchema
	}
	return fields, err
}

// arrowFields reads a vector of fields, which is field n of the table t.
func arrowFields(f *flat, t table, n, depth int, left *int) ([]*arrowField, error) {
	at, count := f.vectorAt(t, n, 4)
	if f.bad {
		return nil, errArrowSchema
	}
	if depth > maxArrowDepth {
		return nil, fmt.Errorf("its schema nests deeper than %d levels", maxArrowDepth)
	}
	var all []*arrowField
	for i := range count {
		if *left--; *left < 0 {
			return nil, fmt.Errorf("its schema has more than %d fields", maxArrowFields)
		}
		field, err := newArrowField(f, f.follow(at+4*i), depth, left)
		if err != nil {
			return nil, err
		}
		all = append(all, field)
	}
	return all, nil
}

func newArrowField(f *flat, t table, depth int, left *int) (*arrowField, error) {
	a := &arrowField{name: f.stringAt(t, 0)}
	kind, typ := f.byteAt(t, 2), f.tableAt(t, 3)
	var err error
	if a.children, err = arrowFields(f, t, 5, depth+1, left); err != nil {
		return nil, err
	}
	if f.bad || typ == 0 {
		return nil, errArrowSchema
	}
	if !a.simple(f, kind, typ) && !a.nested(f, kind, typ) {
		what := fbNames[kind]
		if what == "" {
			what = "number " + strconv.Itoa(int(kind)) + " with these parameters"
		}
		return nil, fmt.Errorf("column %s is of the Arrow type %s, which is not taken: cast it", printable([]byte(a.name), maxPathBytes), what)
	}
	if enc := f.tableAt(t, 4); enc != 0 {
		if len(a.children) > 0 {
			return nil, fmt.Errorf("column %s is a dictionary of nested values, which is not taken: decode it", printable([]byte(a.name), maxPathBytes))
		}
		a.dict = &arrowDict{id: f.longAt(enc, 0), index: arrowInt32}
		if it := f.tableAt(enc, 1); it != 0 {
			var ok bool
			if a.dict.index, ok = intKind(f.intAt(it, 0, 0), f.byteAt(it, 1) != 0); !ok {
				return nil, errArrowSchema
			}
		}
	}
	if f.bad {
		return nil, errArrowSchema
	}
	return a, nil
}

func intKind(bits int, signed bool) (arrowKind, bool) {
	kinds := map[int]arrowKind{8: arrowInt8, 16: arrowInt16, 32: arrowInt32, 64: arrowInt64}
	k, ok := kinds[bits]
	if !signed {
		k += arrowUint8 - arrowInt8
	}
	return k, ok
}

// secondsUnits is how many of a TimeUnit of Schema.fbs a second has.
var secondsUnits = [...]int64{1, 1e3, 1e6, 1e9}

// simple reads types without children; false if this is none, or one that is not taken.
func (a *arrowField) simple(f *flat, kind byte, t table) bool {
	if len(a.children) > 0 {
		return false
	}
	set := func(k arrowKind, width int, natural *schema.Type) bool {
		a.kind, a.width, a.natural = k, width, natural
		return true
	}
	switch kind {
	case fbNull:
		return set(arrowNull, 0, nil)
	case fbBool:
		return set(arrowBool, 0, booleanType)
	case fbInt:
		k, ok := intKind(f.intAt(t, 0, 0), f.byteAt(t, 1) != 0)
		return ok && set(k, intWidths[k-arrowInt8], intTypes[k-arrowInt8])
	case fbFloat:
		p := f.shortAt(t, 0)
		return p >= 0 && p < 3 && set(arrowFloat16+arrowKind(p), 2<<p, []*schema.Type{floatType, floatType, doubleType}[p])
	case fbDecimal:
		return a.decimal(f.intAt(t, 0, 0), f.intAt(t, 1, 0), f.intAt(t, 2, 128))
	case fbDate:
		if f.shortAt(t, 1) == 0 {
			return set(arrowInt32, 4, dateType)
		}
		return set(arrowDate64, 8, dateType)
	case fbTime:
		if f.intAt(t, 1, 32) == 32 {
			return set(arrowInt32, 4, integerType)
		}
		return set(arrowInt64, 8, longType)
	case fbDuration:
		return set(arrowInt64, 8, longType)
	case fbTimestamp:
		u := f.shortAt(t, 0)
		if u < 0 || u >= len(secondsUnits) {
			return false
		}
		a.unit = secondsUnits[u]
		return set(arrowTime, 8, timestampType)
	case fbUtf8, fbLargeUtf8, fbUtf8View:
		return set(map[byte]arrowKind{fbUtf8: arrowUtf8, fbLargeUtf8: arrowLargeUtf8, fbUtf8View: arrowUtf8View}[kind], 0, stringType)
	case fbBinary, fbLargeBinary, fbBinaryView:
		return set(map[byte]arrowKind{fbBinary: arrowBinary, fbLargeBinary: arrowLargeBinary, fbBinaryView: arrowBinaryView}[kind], 0, binaryType)
	case fbFixedBinary:
		w := f.intAt(t, 0, 0)
		return w >= 0 && w <= 1<<20 && set(arrowFixedBinary, w, binaryType)
	}
	return false
}

var (
	intWidths = [...]int{1, 2, 4, 8, 1, 2, 4, 8}
	intTypes  = [...]*schema.Type{byteType, shortType, integerType, longType, shortType, integerType, longType, uint64Type}
)

func (a *arrowField) decimal(precision, scale, bits int) bool {
	if precision < 1 || precision > maxDecimalDigits || scale < 0 || scale > precision || bits != 32 && bits != 64 && bits != 128 && bits != 256 {
		return false
	}
	a.kind, a.width = arrowDecimal, bits/8
	a.natural = &schema.Type{Kind: schema.Decimal, Precision: precision, Scale: scale}
	return true
}

// nested reads types with children. A field whose values make no column has no natural type.
func (a *arrowField) nested(f *flat, kind byte, t table) bool {
	switch kind {
	case fbStruct:
		a.kind = arrowStruct
		typ := &schema.Type{Kind: schema.Struct}
		for _, c := range a.children {
			if c.natural != nil {
				typ.Fields = append(typ.Fields, schema.Field{Name: c.name, Type: c.natural, Nullable: true})
			}
		}
		if len(typ.Fields) > 0 {
			a.natural = typ
		}
		return true
	case fbList, fbLargeList, fbFixedList:
		if len(a.children) != 1 {
			return false
		}
		a.kind = map[byte]arrowKind{fbList: arrowList, fbLargeList: arrowLargeList, fbFixedList: arrowFixedList}[kind]
		if kind == fbFixedList {
			if a.width = f.intAt(t, 0, 0); a.width < 0 || a.width > 1<<20 {
				return false
			}
		}
		if e := a.children[0].natural; e != nil {
			a.natural = &schema.Type{Kind: schema.Array, Elem: e, ContainsNull: true}
		}
		return true
	case fbMap:
		if len(a.children) != 1 || a.children[0].kind != arrowStruct || len(a.children[0].children) != 2 {
			return false
		}
		a.kind = arrowMap
		key, value := a.children[0].children[0].natural, a.children[0].children[1].natural
		if key == nil || key.Kind == schema.Struct || key.Kind == schema.Array || key.Kind == schema.Map {
			return false
		}
		if value != nil {
			a.natural = &schema.Type{Kind: schema.Map, Key: key, Elem: value, ContainsNull: true}
		}
		return true
	}
	return false
}
