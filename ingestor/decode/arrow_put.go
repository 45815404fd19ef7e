package decode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// slots are slots of an array: n from first on, or those listed in at.
type slots struct {
	first, n int
	at       []int32
}

func (s *slots) len() int {
	if s.at != nil {
		return len(s.at)
	}
	return s.n
}

func (s *slots) get(i int) int {
	if s.at != nil {
		return int(s.at[i])
	}
	return s.first + i
}

// arrowPut appends arrays to vectors.
type arrowPut struct {
	reader *arrowReader
	depth  int
	err    error // the payload is malformed, or too large
	bad    []badValue
}

// badValue is a value that cannot be stored: in a slot of the array at the top, or -1 for somewhere below.
type badValue struct {
	slot int
	what string
}

func (p *arrowPut) fail(err error) {
	if p.err == nil {
		p.err = err
	}
}

// spend takes bytes off the budget.
func (p *arrowPut) spend(n int) bool {
	if p.reader.left -= n; p.reader.left < 0 {
		p.fail(errArrowBudget)
	}
	return p.err == nil
}

// refuse notes that slot i of the array that is being appended holds what no column does.
func (p *arrowPut) refuse(i int, what string) {
	if p.depth > 1 {
		i = -1
	}
	if len(p.bad) <= maxRejects {
		p.bad = append(p.bad, badValue{i, what})
	}
}

// put appends slots of an array to v, whose type is the natural one of the array's field but for what a table has beyond it.
func (p *arrowPut) put(v *column.Vector, arr *arrowArray, s slots) {
	if !p.spend(s.len()) {
		return
	}
	mark := v.Mark()
	p.depth++
	p.append(v, arr, s)
	p.depth--
	if p.err != nil { // slots and values may not match now
		v.Restore(mark)
	}
}

func (p *arrowPut) append(v *column.Vector, arr *arrowArray, s slots) {
	n := s.len()
	if arr.field.dict != nil {
		p.dictionary(v, arr, s)
		return
	}
	if arr.nulls {
		s = p.valid(v, arr, s)
	} else {
		v.AppendValid(n)
	}
	switch arr.field.kind {
	case arrowStruct:
		p.structure(v, arr, s)
	case arrowList, arrowLargeList, arrowFixedList, arrowMap:
		p.list(v, arr, s)
	case arrowUtf8, arrowLargeUtf8, arrowBinary, arrowLargeBinary:
		p.text(v, arr, s)
	case arrowUtf8View, arrowBinaryView:
		p.views(v, arr, s)
	case arrowFixedBinary:
		w := arr.field.width
		if !p.spend(s.len() * (w + 4)) {
			return
		}
		for i := range s.len() {
			at := s.get(i) * w
			v.Data = append(v.Data, arr.data[at:at+w]...)
			v.Offsets = append(v.Offsets, int32(len(v.Data)))
		}
	default:
		if p.spend(s.len() * 8) {
			p.fixed(v, arr, s)
		}
	}
}

// valid appends which of the slots hold a value, and returns those that do.
func (p *arrowPut) valid(v *column.Vector, arr *arrowArray, s slots) slots {
	mask := v.AppendMask(s.len())
	picks := p.reader.picks
	from := len(picks)
	for i := range mask {
		at := s.get(i)
		bit := arr.valid[at>>3] >> (at & 7) & 1
		mask[i] = bit
		if bit != 0 {
			picks = append(picks, int32(at))
		}
	}
	p.reader.picks = picks
	out := slots{at: picks[from:len(picks):len(picks)]}
	if out.at == nil {
		out.at = []int32{}
	}
	return out
}

func (p *arrowPut) structure(v *column.Vector, arr *arrowArray, s slots) {
	base := v.CountStructs(s.len())
	for i, f := range arr.field.children {
		at := v.Type.Index(f.name)
		if f.natural == nil || at < 0 || v.Children[at].Len > base {
			continue
		}
		v.Children[at].PadNulls(base)
		p.put(v.Children[at], arr.children[i], s)
	}
}

// offset is entry i of a buffer of offsets.
func (arr *arrowArray) offset(i int) int64 {
	switch arr.field.kind {
	case arrowFixedList:
		return int64(i) * int64(arr.field.width)
	case arrowLargeUtf8, arrowLargeBinary, arrowLargeList:
		return int64(binary.LittleEndian.Uint64(arr.offsets[8*i:]))
	default:
		return int64(int32(binary.LittleEndian.Uint32(arr.offsets[4*i:])))
	}
}

// list appends lists, or maps whose elements are pairs.
func (p *arrowPut) list(v *column.Vector, arr *arrowArray, s slots) {
	if !p.spend(s.len() * 4) {
		return
	}
	child := arr.children[0]
	base := v.Offsets[len(v.Offsets)-1]
	elems := slots{}
	picks := p.reader.picks
	from, dense := len(picks), s.at == nil
	end := int64(base)
	for i := range s.len() {
		at := s.get(i)
		lo, hi := arr.offset(at), arr.offset(at+1)
		if lo < 0 || hi < lo || hi > int64(child.length) {
			p.fail(errArrowBody)
			return
		}
		if end += hi - lo; 4*(end-int64(base)) > int64(p.reader.left) || end > math.MaxInt32 {
			p.fail(errArrowBudget)
			return
		}
		if !dense {
			for e := lo; e < hi; e++ {
				picks = append(picks, int32(e))
			}
		}
		v.Offsets = append(v.Offsets, int32(end))
	}
	if dense && s.n > 0 {
		first := arr.offset(s.first)
		elems = slots{first: int(first), n: int(end - int64(base))}
	} else if !dense {
		p.reader.picks = picks
		elems.at = picks[from:len(picks):len(picks)]
	}
	if elems.len() == 0 {
		return
	}
	if arr.field.kind != arrowMap {
		v.Children[0].PadNulls(int(base))
		p.put(v.Children[0], child, elems)
		return
	}
	if child.nulls {
		p.fail(errArrowBody)
		return
	}
	p.entries(v, child, elems, len(v.Offsets)-1-s.len(), s)
}

// entries appends keys and values of maps, of which the first is value number first of v.
func (p *arrowPut) entries(v *column.Vector, child *arrowArray, elems slots, first int, s slots) {
	keys, values := v.Children[0], v.Children[1]
	from := keys.Len
	p.put(keys, child.children[0], elems)
	values.PadNulls(from)
	p.put(values, child.children[1], elems)
	if p.err != nil || len(p.bad) > 0 {
		return
	}
	if keys.Valid != nil && bytes.IndexByte(keys.Valid[from:], 0) >= 0 {
		p.fail(errors.New("a map has a null key"))
		return
	}
	for i := range s.len() {
		if repeatsIn(keys, int(v.Offsets[first+i]), int(v.Offsets[first+i+1])) {
			p.refuse(s.get(i), "a map with a key twice")
		}
	}
}

// repeatsIn says whether two keys of v in [from, to) are equal.
func repeatsIn(v *column.Vector, from, to int) bool {
	view := *v
	view.Len = to
	return repeats(&view, from)
}

// text appends strings and binaries. Adjacent ones are copied together.
func (p *arrowPut) text(v *column.Vector, arr *arrowArray, s slots) {
	isText := arr.field.kind == arrowUtf8 || arr.field.kind == arrowLargeUtf8
	if s.at == nil && (arr.field.kind == arrowUtf8 || arr.field.kind == arrowBinary) {
		if s.n > 0 && p.dense(v, arr, s) && isText {
			p.checkText(v, s)
		}
		return
	}
	size := int64(0)
	for i := range s.len() {
		at := s.get(i)
		lo, hi := arr.offset(at), arr.offset(at+1)
		if lo < 0 || hi < lo || hi > int64(len(arr.data)) {
			p.fail(errArrowBody)
			return
		}
		size += hi - lo
		if size > int64(p.reader.left) {
			p.fail(errArrowBudget)
			return
		}
	}
	if !p.spend(int(size)+4*s.len()) || len(v.Data)+int(size) > math.MaxInt32 {
		p.fail(errArrowBudget)
		return
	}
	if s.at == nil && s.n > 0 {
		lo, hi := arr.offset(s.first), arr.offset(s.first+s.n)
		from := int64(len(v.Data))
		v.Data = append(v.Data, arr.data[lo:hi]...)
		for i := range s.n {
			v.Offsets = append(v.Offsets, int32(from+arr.offset(s.first+i+1)-lo))
		}
	} else {
		for _, at := range s.at {
			v.Data = append(v.Data, arr.data[arr.offset(int(at)):arr.offset(int(at)+1)]...)
			v.Offsets = append(v.Offsets, int32(len(v.Data)))
		}
	}
	if isText {
		p.checkText(v, s)
	}
}

// dense appends adjacent values of an array with offsets of 32 bits: their bytes at once.
func (p *arrowPut) dense(v *column.Vector, arr *arrowArray, s slots) bool {
	offsets := arr.offsets[4*s.first : 4*(s.first+s.n+1)]
	first, last := binary.LittleEndian.Uint32(offsets), binary.LittleEndian.Uint32(offsets[4*s.n:])
	if last < first || uint64(last) > uint64(len(arr.data)) {
		p.fail(errArrowBody)
		return false
	}
	size := int(last - first)
	if !p.spend(size+4*s.n) || len(v.Data)+size > math.MaxInt32 {
		p.fail(errArrowBudget)
		return false
	}
	base := uint32(len(v.Data)) - first
	v.Data = append(v.Data, arr.data[first:last]...)
	at := len(v.Offsets)
	v.Offsets = grown(v.Offsets, s.n)
	before, ordered := first, true
	for i, dst := 0, v.Offsets[at:]; i < len(dst); i++ {
		x := binary.LittleEndian.Uint32(offsets[4*i+4:])
		ordered = ordered && x >= before
		before = x
		dst[i] = int32(base + x)
	}
	if !ordered || before != last {
		p.fail(errArrowBody)
	}
	return p.err == nil
}

const notText = "text that is not valid UTF-8"

// checkText looks at the values of v that were appended last: all together, since that is fast, and where they part.
func (p *arrowPut) checkText(v *column.Vector, s slots) {
	n := s.len()
	ends := v.Offsets[len(v.Offsets)-n-1:]
	all := v.Data[ends[0]:]
	if isASCII(all) {
		return // wherever it is cut
	}
	if validText(all) && !partsCharacter(v.Data, ends) {
		return
	}
	for i := range n {
		if !validText(v.Data[ends[i]:ends[i+1]]) {
			p.refuse(s.get(i), notText)
		}
	}
}

// partsCharacter says whether one of the ends but the last lies within a character of b, which is valid text.
func partsCharacter(b []byte, ends []int32) bool {
	for _, at := range ends[:len(ends)-1] {
		if int(at) < len(b) && b[at]&0xc0 == 0x80 {
			return true
		}
	}
	return false
}

// views appends strings and binaries that are kept in pieces.
func (p *arrowPut) views(v *column.Vector, arr *arrowArray, s slots) {
	for i := range s.len() {
		view := arr.data[16*s.get(i):][:16]
		size := int(int32(binary.LittleEndian.Uint32(view)))
		value := view[4:]
		if size > 12 {
			buf, at := int(int32(binary.LittleEndian.Uint32(view[8:]))), int(int32(binary.LittleEndian.Uint32(view[12:])))
			if buf < 0 || buf >= len(arr.buffers) || at < 0 || at > len(arr.buffers[buf]) {
				p.fail(errArrowBody)
				return
			}
			value = arr.buffers[buf][at:]
		}
		if size < 0 || size > len(value) {
			p.fail(errArrowBody)
			return
		}
		if !p.spend(size+4) || len(v.Data)+size > math.MaxInt32 {
			p.fail(errArrowBudget)
			return
		}
		v.Data = append(v.Data, value[:size]...)
		v.Offsets = append(v.Offsets, int32(len(v.Data)))
	}
	if arr.field.kind == arrowUtf8View {
		p.checkText(v, s)
	}
}

// dictionary appends the values that the slots point to.
func (p *arrowPut) dictionary(v *column.Vector, arr *arrowArray, s slots) {
	d := p.reader.dicts[arr.field.dict.id]
	if d == nil || !p.spend(9*s.len()) {
		p.fail(errArrowBody)
		return
	}
	index := arr.field.dict.index
	for i := range s.len() {
		at := s.get(i)
		if arr.nulls && arr.valid[at>>3]>>(at&7)&1 == 0 {
			v.AppendNull()
			continue
		}
		slot := integerAt(index, arr.data, at)
		if slot < 0 || slot >= int64(d.vec.Len) {
			p.fail(errors.New("an index points beyond its dictionary"))
			return
		}
		if d.positions != nil {
			if slot = int64(d.positions[slot]); slot < 0 {
				v.AppendNull()
				continue
			}
		}
		p.copyValue(v, d.vec, int(slot))
		if p.err != nil {
			return
		}
	}
}

// copyValue appends value at of src, which has no children.
func (p *arrowPut) copyValue(v, src *column.Vector, at int) {
	switch src.Type.Kind {
	case schema.String, schema.Binary:
		b := src.BytesAt(at)
		if !p.spend(len(b)) || len(v.Data)+len(b) > math.MaxInt32 {
			p.fail(errArrowBudget)
			return
		}
		v.AppendBytes(b)
	case schema.Boolean:
		v.AppendBool(src.Bools[at])
	case schema.Float:
		v.AppendFloat32(src.Float32s[at])
	case schema.Double:
		v.AppendFloat64(src.Float64s[at])
	case schema.Byte, schema.Short, schema.Integer, schema.Date:
		v.AppendInt32(src.Int32s[at])
	case schema.Decimal:
		if src.Type.Precision > 18 {
			v.AppendBytes16(src.Data[16*at : 16*at+16])
			return
		}
		v.AppendInt64(src.Int64s[at])
	default:
		v.AppendInt64(src.Int64s[at])
	}
}

func integerAt(kind arrowKind, b []byte, i int) int64 {
	switch kind {
	case arrowInt8:
		return int64(int8(b[i]))
	case arrowUint8:
		return int64(b[i])
	case arrowInt16:
		return int64(int16(binary.LittleEndian.Uint16(b[2*i:])))
	case arrowUint16:
		return int64(binary.LittleEndian.Uint16(b[2*i:]))
	case arrowInt32:
		return int64(int32(binary.LittleEndian.Uint32(b[4*i:])))
	case arrowUint32:
		return int64(binary.LittleEndian.Uint32(b[4*i:]))
	default:
		return int64(binary.LittleEndian.Uint64(b[8*i:]))
	}
}
