package delta

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

// deletedRows is a set of row numbers of one file: for each run of 65,536 rows that holds one, a bitmap.
type deletedRows map[int64]*[1024]uint64

func (s deletedRows) has(row int64) bool {
	block := s[row>>16]
	return block != nil && block[row>>6&1023]>>(row&63)&1 == 1
}

func (s deletedRows) len() (n int64) {
	for _, block := range s {
		for _, w := range block {
			n += int64(bits.OnesCount64(w))
		}
	}
	return n
}

var errRoaring = errors.New("malformed roaring bitmap")

// roaringReader reads Delta's serialization of a set of row numbers: a magic number, then a 64-bit roaring bitmap in the
// portable format (RoaringFormatSpec), all little-endian. The rest of data is what has not been read.
type roaringReader struct {
	data []byte
	rows int64 // of the file: the set holds no number from here on
	set  deletedRows
}

const (
	roaringMagic     = 1681511377
	cookieNoRuns     = 12346 // all containers are arrays or bitmaps
	cookieRuns       = 12347 // in the lower half; the upper half is the number of containers less one
	offsetsFromN     = 4     // with runs, offsets are stored from this number of containers on
	arrayMax         = 4096  // values in an array container; a larger one is a bitmap
	bitmapBytes      = 8192
	maxRoaringBucket = 1 << 31
)

// parseRoaring reads the rows of a file of the given number of rows.
func parseRoaring(data []byte, rows int64) (deletedRows, error) {
	r := roaringReader{data: data, rows: rows, set: deletedRows{}}
	magic, err := r.u32()
	if err != nil {
		return nil, err
	}
	if magic != roaringMagic {
		return nil, fmt.Errorf("%w: magic number %d", errRoaring, magic)
	}
	buckets, err := r.take(8)
	if err != nil {
		return nil, err
	}
	for range binary.LittleEndian.Uint64(buckets) {
		key, err := r.u32()
		if err == nil && key >= maxRoaringBucket {
			err = fmt.Errorf("%w: key %d", errRoaring, key)
		}
		if err == nil {
			err = r.bucket(int64(key) << 32)
		}
		if err != nil {
			return nil, err
		}
	}
	return r.set, nil
}

func (r *roaringReader) take(n int) ([]byte, error) {
	if n > len(r.data) {
		return nil, fmt.Errorf("%w: cut off", errRoaring)
	}
	b := r.data[:n]
	r.data = r.data[n:]
	return b, nil
}

func (r *roaringReader) u32() (uint32, error) {
	b, err := r.take(4)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint32(b), nil
}

func (r *roaringReader) u16() (uint16, error) {
	b, err := r.take(2)
	if err != nil {
		return 0, err
	}
	return binary.LittleEndian.Uint16(b), nil
}

// bucket reads a 32-bit roaring bitmap of the rows from base on.
func (r *roaringReader) bucket(base int64) error {
	cookie, err := r.u32()
	if err != nil {
		return err
	}
	var n int
	var runs []byte // a bit for each container
	switch {
	case cookie == cookieNoRuns:
		size, err := r.u32()
		if err != nil || size > 1<<16 {
			return fmt.Errorf("%w: %d containers", errRoaring, size)
		}
		n = int(size)
	case cookie&0xffff == cookieRuns:
		n = int(cookie>>16) + 1
		if runs, err = r.take((n + 7) / 8); err != nil {
			return err
		}
	default:
		return fmt.Errorf("%w: cookie %d", errRoaring, cookie)
	}
	header, err := r.take(4 * n)
	if err != nil {
		return err
	}
	if runs == nil || n >= offsetsFromN {
		if _, err := r.take(4 * n); err != nil { // offsets: the containers follow one another anyway
			return err
		}
	}
	for i := range n {
		start := base + int64(binary.LittleEndian.Uint16(header[4*i:]))<<16
		cardinality := int(binary.LittleEndian.Uint16(header[4*i+2:])) + 1
		if err := r.container(start, cardinality, runs != nil && runs[i/8]>>(i%8)&1 == 1); err != nil {
			return err
		}
	}
	return nil
}

// container reads the values of the rows from start on.
func (r *roaringReader) container(start int64, cardinality int, isRun bool) error {
	if start >= r.rows { // before any memory is spent
		return fmt.Errorf("%w: row %d of %d", errRoaring, start, r.rows)
	}
	block := r.set[start>>16]
	if block == nil {
		block = new([1024]uint64)
		r.set[start>>16] = block
	}
	if err := r.fill(block, cardinality, isRun); err != nil {
		return err
	}
	if left := r.rows - start; left < 1<<16 && highest(block) >= left {
		return fmt.Errorf("%w: row %d of %d", errRoaring, start+highest(block), r.rows)
	}
	return nil
}

func highest(block *[1024]uint64) int64 {
	for i := len(block) - 1; i >= 0; i-- {
		if block[i] != 0 {
			return int64(64*i + 63 - bits.LeadingZeros64(block[i]))
		}
	}
	return -1
}

func (r *roaringReader) fill(block *[1024]uint64, cardinality int, isRun bool) error {
	switch {
	case isRun:
		return r.fillRuns(block)
	case cardinality > arrayMax:
		words, err := r.take(bitmapBytes)
		for i := 0; err == nil && i < len(block); i++ {
			block[i] |= binary.LittleEndian.Uint64(words[8*i:])
		}
		return err
	}
	values, err := r.take(2 * cardinality)
	for i := 0; err == nil && i < cardinality; i++ {
		v := binary.LittleEndian.Uint16(values[2*i:])
		block[v>>6] |= 1 << (v & 63)
	}
	return err
}

func (r *roaringReader) fillRuns(block *[1024]uint64) error {
	n, err := r.u16()
	if err != nil {
		return err
	}
	pairs, err := r.take(4 * int(n))
	if err != nil {
		return err
	}
	for ; len(pairs) > 0; pairs = pairs[4:] {
		first := int(binary.LittleEndian.Uint16(pairs))
		last := first + int(binary.LittleEndian.Uint16(pairs[2:]))
		if last > 0xffff {
			return fmt.Errorf("%w: run to %d", errRoaring, last)
		}
		for v := first; v <= last; v++ {
			block[v>>6] |= 1 << (v & 63)
		}
	}
	return nil
}
