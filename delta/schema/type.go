// Package schema holds the types of a Delta table: the tree that the log stores as schemaString.
//
// The form follows "Schema Serialization Format" of the Delta protocol.
package schema

// Kind says which Delta type a [Type] is.
type Kind uint8

// The Delta types. Byte to Long are signed integers of 8, 16, 32 and 64 bits.
const (
	Invalid      Kind = iota
	Boolean           // true or false
	Byte              // 8-bit signed integer
	Short             // 16-bit signed integer
	Integer           // 32-bit signed integer
	Long              // 64-bit signed integer
	Float             // 32-bit IEEE 754
	Double            // 64-bit IEEE 754
	Decimal           // unscaled integer with Precision (1..38) and Scale (0..Precision)
	String            // UTF-8
	Binary            // bytes
	Date              // days since 1970-01-01
	Timestamp         // microseconds since 1970-01-01T00:00:00Z
	TimestampNTZ      // microseconds since 1970-01-01T00:00:00 of no time zone
	Struct            // Fields
	Array             // Elem, ContainsNull
	Map               // Key, Elem (the value), ContainsNull (of the value)
)

// Type is a node of the tree. A Type is immutable once shared: evolution makes new nodes.
type Type struct {
	Kind         Kind
	Precision    int // Decimal only
	Scale        int // Decimal only
	Fields       []Field
	Key          *Type // Map only
	Elem         *Type // element of an Array, value of a Map
	ContainsNull bool  // whether Elem may be null
}

// Field is a named member of a struct; the columns of a table are the fields of its root struct.
type Field struct {
	Name     string
	Type     *Type
	Nullable bool
	Metadata map[string]any // as in the log; nil when empty
}
