package column

import "github.com/weir-dev/weir/delta/schema"

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
