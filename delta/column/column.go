// Package column holds batches of rows as columns in memory, in the shape that the Parquet writer takes without copying.
//
// Values are compact: a vector stores only its valid (non-null) slots, and Valid says which slots those are. For a flat
// column Valid therefore is the run of Parquet definition levels, and the value slices are the Parquet values.
package column

import "github.com/weir-dev/weir/delta/schema"

// Batch is a run of rows. Every column has Len == Rows.
//
// A batch from [NewBatch] is filled row by row with the Append methods of its vectors and is whole after [Batch.Seal];
// until then a column may lag behind (see [Vector.PadNulls]). A batch is not safe for concurrent use while it is filled.
type Batch struct {
	Schema  *schema.Type // of kind Struct; Schema.Fields[i] describes Columns[i]
	Columns []*Vector
	Rows    int
}

// Vector is one column, or a nested part of one.
//
// Invariant: len(values) == number of valid slots, for whichever slice Type.Kind selects:
//
//	Boolean                    Bools
//	Byte Short Integer Date    Int32s
//	Long Timestamp(NTZ)        Int64s
//	Decimal precision <= 18    Int64s (unscaled)
//	Decimal precision > 18     Data, 16 bytes each, big-endian two's complement (unscaled)
//	Float, Double              Float32s, Float64s
//	String Binary              value i is Data[Offsets[i]:Offsets[i+1]]; len(Offsets) == valid+1, Offsets[0] == 0
//	Struct                     Children[f].Len == number of valid slots
//	Array                      value i is Children[0] slots Offsets[i]..Offsets[i+1]
//	Map                        likewise, Children[0] the keys and Children[1] the values
type Vector struct {
	Type  *schema.Type
	Len   int    // slots, null ones included
	Valid []byte // 1 valid, 0 null, one per slot; nil means that every slot is valid

	Bools    []bool
	Int32s   []int32
	Int64s   []int64
	Float32s []float32
	Float64s []float64
	Data     []byte
	Offsets  []int32
	Children []*Vector

	spare   []byte // the memory of Valid while Valid is nil
	present int    // Struct only: valid slots, as counted by AppendStruct and Truncate
}
