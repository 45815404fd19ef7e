package parquet

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go/format"
)

// values are the decoded values of a page or of a dictionary; the physical type says which slice holds them.
type values struct {
	n          int
	bools      []bool
	i32        []int32
	i64        []int64
	f32        []float32
	f64        []float64
	data       []byte // of byte arrays; INT96 and fixed length too
	start, end []int32
}

func (v *values) reset() {
	v.n = 0
	v.bools, v.i32, v.i64, v.f32, v.f64 = v.bools[:0], v.i32[:0], v.i64[:0], v.f32[:0], v.f64[:0]
	v.start, v.end, v.data = v.start[:0], v.end[:0], nil
}

// memory is how many bytes v holds, data aside.
func (v *values) memory() int {
	return cap(v.bools) + 4*(cap(v.i32)+cap(v.f32)+cap(v.start)+cap(v.end)) + 8*(cap(v.i64)+cap(v.f64))
}

// maxPageValues bounds the values of one page in encodings where few bytes can claim many of them.
const maxPageValues = 1 << 24

// physType is a physical type with its width.
type physType struct {
	phys  format.Type
	width int // of FIXED_LEN_BYTE_ARRAY
}

// decode decodes b; at most limit values are taken. v may alias b.
func (v *values) decode(t physType, e format.Encoding, b []byte, limit int) error {
	v.reset()
	var err error
	switch e {
	case format.Plain:
		err = v.plain(t, b, limit)
	case format.RLE:
		err = v.rleBools(t, b, limit)
	case format.DeltaBinaryPacked:
		err = v.deltaInts(t, b, limit)
	case format.DeltaLengthByteArray:
		err = v.deltaLengths(t, b, limit)
	case format.DeltaByteArray:
		err = v.deltaStrings(t, b, limit)
	case format.ByteStreamSplit:
		var joined []byte
		if joined, err = unsplit(t, b); err == nil {
			err = v.plain(t, joined, limit)
		}
	default:
		err = fmt.Errorf("encoding %s: %w", e, ErrUnsupported)
	}
	return err
}

func (v *values) plain(t physType, b []byte, limit int) error {
	le := binary.LittleEndian
	switch t.phys {
	case format.Boolean:
		for i := range min(limit, 8*len(b)) {
			v.bools = append(v.bools, b[i/8]>>(i%8)&1 == 1)
		}
		v.n = len(v.bools)
	case format.Int32:
		for v.n = 0; v.n < limit && len(b) >= 4; v.n, b = v.n+1, b[4:] {
			v.i32 = append(v.i32, int32(le.Uint32(b)))
		}
	case format.Int64:
		for v.n = 0; v.n < limit && len(b) >= 8; v.n, b = v.n+1, b[8:] {
			v.i64 = append(v.i64, int64(le.Uint64(b)))
		}
	case format.Float:
		for v.n = 0; v.n < limit && len(b) >= 4; v.n, b = v.n+1, b[4:] {
			v.f32 = append(v.f32, math.Float32frombits(le.Uint32(b)))
		}
	case format.Double:
		for v.n = 0; v.n < limit && len(b) >= 8; v.n, b = v.n+1, b[8:] {
			v.f64 = append(v.f64, math.Float64frombits(le.Uint64(b)))
		}
	case format.ByteArray:
		return v.plainBytes(b, limit)
	case format.Int96:
		v.fixed(b, 12, limit)
	case format.FixedLenByteArray:
		v.fixed(b, t.width, limit)
	default:
		return fmt.Errorf("physical type %s: %w", t.phys, ErrCorrupt)
	}
	return nil
}

func (v *values) plainBytes(b []byte, limit int) error {
	v.data = b
	for at := 0; v.n < limit && at < len(b); v.n++ {
		if len(b)-at < 4 {
			return fmt.Errorf("byte array ends early: %w", ErrCorrupt)
		}
		n := int(binary.LittleEndian.Uint32(b[at:]))
		at += 4
		if n > len(b)-at {
			return fmt.Errorf("byte array ends early: %w", ErrCorrupt)
		}
		v.start, v.end = append(v.start, int32(at)), append(v.end, int32(at+n))
		at += n
	}
	return nil
}

func (v *values) fixed(b []byte, width, limit int) {
	if width == 0 {
		limit = min(limit, maxPageValues)
	} else {
		limit = min(limit, len(b)/width)
	}
	v.data, v.n = b, limit
	for i := range limit {
		v.start, v.end = append(v.start, int32(i*width)), append(v.end, int32((i+1)*width))
	}
}

func (v *values) rleBools(t physType, b []byte, limit int) error {
	if t.phys != format.Boolean || len(b) < 4 {
		return fmt.Errorf("RLE values of %s: %w", t.phys, ErrCorrupt)
	}
	n := int(binary.LittleEndian.Uint32(b))
	if n > len(b)-4 {
		return fmt.Errorf("RLE values end early: %w", ErrCorrupt)
	}
	if limit > maxPageValues {
		return fmt.Errorf("page of %d values: %w", limit, ErrUnsupported)
	}
	h := hybrid{b: b[4 : 4+n], width: 1}
	var one [1]int32
	// The page does not say how many of its entries are values: take what there is.
	for v.n < limit && (h.run > 0 || len(h.b) > 0) {
		if err := h.next(one[:]); err != nil {
			return err
		}
		v.bools = append(v.bools, one[0] != 0)
		v.n++
	}
	return nil
}

// deltaBlock decodes one run of DELTA_BINARY_PACKED and returns what follows it.
func deltaBlock(dst []int64, b []byte, limit int) (_ []int64, rest []byte, err error) {
	r := &compactReader{b: b} // the same varints as Thrift's
	block, minis, total, last := r.uvarint(), r.uvarint(), r.uvarint(), r.int()
	switch {
	case r.err != nil:
		return dst, nil, r.err
	case total > uint64(min(limit, maxPageValues)):
		return dst, nil, fmt.Errorf("delta encoding of %d values in a page of %d: %w", total, limit, ErrCorrupt)
	case minis == 0 || block == 0 || block > 1<<20 || block%minis != 0 || block/minis%8 != 0:
		return dst, nil, fmt.Errorf("delta block of %d values in %d parts: %w", block, minis, ErrCorrupt)
	case total == 0:
		return dst, r.b, nil
	}
	const trusted = 1 << 15 // values that a few bytes may claim
	dst = append(slices.Grow(dst, int(min(total, trusted))), last)
	for left := int(total) - 1; left > 0; {
		least := r.int()
		if uint64(len(r.b)) < minis {
			return dst, nil, fmt.Errorf("delta block ends early: %w", ErrCorrupt)
		}
		widths := r.b[:minis]
		r.b = r.b[minis:]
		for i := 0; i < len(widths) && left > 0; i++ {
			n := min(left, int(block/minis))
			dst, last = deltaMini(dst, r, widths[i], n, int(block/minis), least, last)
			left -= n
		}
		if r.err != nil {
			return dst, nil, r.err
		}
	}
	return dst, r.b, nil
}

// deltaMini decodes n of the size values of a miniblock; arithmetic wraps, as the format says.
func deltaMini(dst []int64, r *compactReader, width byte, n, size int, least, last int64) ([]int64, int64) {
	bytes := size / 8 * int(width)
	if width > 64 || bytes > len(r.b) {
		r.fail("delta miniblock ends early")
		return dst, last
	}
	packed := r.b[:bytes]
	r.b = r.b[bytes:]
	if width == 0 { // the differences are all the same, as those of lengths that are
		for range n {
			last += least
			dst = append(dst, last)
		}
		return dst, last
	}
	mask := ^uint64(0) >> (64 - width)
	for bit := 0; n > 0; n, bit = n-1, bit+int(width) {
		last += least + int64(bitsAt(packed, bit, width)&mask)
		dst = append(dst, last)
	}
	return dst, last
}

// bitsAt returns the width bits of b from the given one on, and others above them.
func bitsAt(b []byte, bit int, width byte) uint64 {
	at, shift := bit>>3, byte(bit&7)
	if at+8 < len(b) {
		x := binary.LittleEndian.Uint64(b[at:]) >> shift
		if shift+width > 64 {
			x |= uint64(b[at+8]) << (64 - shift)
		}
		return x
	}
	var x uint64
	for i := at; i < len(b) && i <= (bit+int(width)-1)>>3; i++ {
		if i == at {
			x = uint64(b[i]) >> shift
		} else {
			x |= uint64(b[i]) << (8*(i-at) - int(shift))
		}
	}
	return x
}

func (v *values) deltaInts(t physType, b []byte, limit int) error {
	var err error
	v.i64, _, err = deltaBlock(v.i64, b, limit)
	v.n = len(v.i64)
	switch {
	case err != nil:
		return err
	case t.phys == format.Int32:
		for _, x := range v.i64 {
			v.i32 = append(v.i32, int32(x))
		}
	case t.phys != format.Int64:
		return fmt.Errorf("delta encoding of %s: %w", t.phys, ErrCorrupt)
	}
	return nil
}

func (v *values) deltaLengths(t physType, b []byte, limit int) error {
	if t.phys != format.ByteArray {
		return fmt.Errorf("delta lengths of %s: %w", t.phys, ErrCorrupt)
	}
	lengths, rest, err := deltaBlock(v.i64, b, limit)
	if err != nil {
		return err
	}
	v.data, v.i64 = rest, lengths[:0] // the memory is used again
	v.start, v.end = slices.Grow(v.start, len(lengths)), slices.Grow(v.end, len(lengths))
	at := int64(0)
	for _, n := range lengths {
		if n < 0 || n > int64(len(rest))-at {
			return fmt.Errorf("byte array ends early: %w", ErrCorrupt)
		}
		v.start, v.end = append(v.start, int32(at)), append(v.end, int32(at+n))
		at += n
	}
	v.n = len(lengths)
	return nil
}

// deltaStrings decodes DELTA_BYTE_ARRAY: each value shares a prefix with the one before.
func (v *values) deltaStrings(t physType, b []byte, limit int) error {
	if t.phys != format.ByteArray && t.phys != format.FixedLenByteArray {
		return fmt.Errorf("delta strings of %s: %w", t.phys, ErrCorrupt)
	}
	prefixes, rest, err := deltaBlock(nil, b, limit)
	if err != nil {
		return err
	}
	var suffixes values
	if err := suffixes.deltaLengths(physType{phys: format.ByteArray}, rest, limit); err != nil {
		return err
	}
	if suffixes.n != len(prefixes) {
		return fmt.Errorf("%d prefixes for %d suffixes: %w", len(prefixes), suffixes.n, ErrCorrupt)
	}
	from, to := 0, 0 // the value before
	for i, n := range prefixes {
		if n < 0 || n > int64(to-from) || len(v.data) > maxPage {
			return fmt.Errorf("byte array prefix of %d bytes: %w", n, ErrCorrupt)
		}
		at := len(v.data)
		v.data = append(v.data, v.data[from:from+int(n)]...)
		v.data = append(v.data, suffixes.data[suffixes.start[i]:suffixes.end[i]]...)
		from, to = at, len(v.data)
		v.start, v.end = append(v.start, int32(from)), append(v.end, int32(to))
	}
	v.n = len(prefixes)
	return nil
}

// unsplit turns BYTE_STREAM_SPLIT into PLAIN: byte k of all values lies together.
func unsplit(t physType, b []byte) ([]byte, error) {
	width := t.width
	switch t.phys {
	case format.Int32, format.Float:
		width = 4
	case format.Int64, format.Double:
		width = 8
	case format.FixedLenByteArray:
	default:
		return nil, fmt.Errorf("byte stream split of %s: %w", t.phys, ErrCorrupt)
	}
	if width == 0 {
		return b, nil
	}
	n := len(b) / width
	out := make([]byte, n*width)
	for k := range width {
		for i := range n {
			out[i*width+k] = b[k*n+i]
		}
	}
	return out, nil
}
