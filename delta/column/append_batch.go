package column

import (
	"slices"

	"github.com/weir-dev/weir/delta/schema"
)

// AppendBatch appends the rows of src, whose columns are of the same types, to b. Both must be sealed; b stays so. No
// column of b may grow beyond 2 GiB of variable-length data.
func (b *Batch) AppendBatch(src *Batch) {
	for i, c := range b.Columns {
		c.AppendVector(src.Columns[i])
	}
	b.Rows += src.Rows
}

// AppendVector appends the slots of src, a sealed vector of the same type.
func (v *Vector) AppendVector(src *Vector) {
	switch {
	case src.Valid != nil:
		if v.Valid == nil {
			v.materialise()
		}
		v.Valid = append(v.Valid, src.Valid...)
	case v.Valid != nil:
		for range src.Len {
			v.Valid = append(v.Valid, 1)
		}
	}
	v.Len += src.Len
	if v.Type.Kind == schema.Struct {
		v.present += src.Present()
	}
	v.Bools = append(v.Bools, src.Bools...)
	v.Int32s = append(v.Int32s, src.Int32s...)
	v.Int64s = append(v.Int64s, src.Int64s...)
	v.Float32s = append(v.Float32s, src.Float32s...)
	v.Float64s = append(v.Float64s, src.Float64s...)
	v.appendOffsets(src)
	v.Data = append(v.Data, src.Data...)
	for i, c := range v.Children {
		c.AppendVector(src.Children[i])
	}
}

// appendOffsets appends where the values of src end, which come after those of v.
func (v *Vector) appendOffsets(src *Vector) {
	if len(src.Offsets) == 0 {
		return
	}
	if len(v.Offsets) == 0 {
		v.Offsets = append(v.Offsets, 0)
	}
	base := v.Offsets[len(v.Offsets)-1]
	for _, end := range src.Offsets[1:] {
		v.Offsets = append(v.Offsets, base+end)
	}
}

// Reserve makes room for so many rows in all, if they are like those that b holds: then appending them moves little. The
// batch must be sealed and not empty.
func (b *Batch) Reserve(rows int) {
	for _, c := range b.Columns {
		c.reserve(float64(rows) / float64(b.Rows))
	}
}

func (v *Vector) reserve(times float64) {
	v.Valid = reserve(v.Valid, times)
	v.Bools = reserve(v.Bools, times)
	v.Int32s = reserve(v.Int32s, times)
	v.Int64s = reserve(v.Int64s, times)
	v.Float32s = reserve(v.Float32s, times)
	v.Float64s = reserve(v.Float64s, times)
	v.Data = reserve(v.Data, times)
	v.Offsets = reserve(v.Offsets, times)
	for _, c := range v.Children {
		c.reserve(times)
	}
}

// reserve grows the capacity of s to so many times its length, and a little.
func reserve[T any](s []T, times float64) []T {
	more := int(float64(len(s))*(times-1)*1.05) + 1
	if len(s) == 0 || more < 0 {
		return s
	}
	return slices.Grow(s, more)
}
