package delta

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/bits"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// A key is the values of some columns that name a row. In memory it is a string of bytes, equal for equal values only,
// and a hash of 64 bits.

// KeyError says that a column cannot be part of a key, or that a row has no value for it.
type KeyError struct {
	Column string
	Reason string
}

func (e *KeyError) Error() string { return fmt.Sprintf("key column %s: %s", e.Column, e.Reason) }

// keyFields are the columns of a key, in the order of names. Error: *KeyError.
func keyFields(s *schema.Type, names []string) ([]schema.Field, error) {
	fields := make([]schema.Field, len(names))
	for i, name := range names {
		f, ok := s.Field(name)
		if !ok {
			return nil, &KeyError{name, "there is no such column"}
		}
		switch classOf(f.Type) {
		case intClass, bytesClass, ratClass:
		default:
			return nil, &KeyError{name, fmt.Sprintf("values of type %s cannot name a row", f.Type)}
		}
		fields[i] = f
	}
	return fields, nil
}

// keyColumns are the key columns of a batch.
type keyColumns []cells

func newKeyColumns(b *column.Batch, fields []schema.Field) keyColumns {
	k := make(keyColumns, len(fields))
	for i, f := range fields {
		k[i] = newCells(find(b, f.Name))
	}
	return k
}

// null returns the index of the first column in which the row has no value, -1 if it has all.
func (k keyColumns) null(row int) int {
	for i := range k {
		if k[i].position(row) < 0 {
			return i
		}
	}
	return -1
}

// append appends the key of a row that has all values.
func (k keyColumns) append(dst []byte, row int) []byte {
	for i := range k {
		v, p := k[i].v, k[i].position(row)
		switch k[i].class {
		case bytesClass:
			dst = appendSized(dst, v.BytesAt(p))
		case ratClass:
			if v.Type.Precision > 18 {
				dst = append(dst, v.Data[16*p:16*p+16]...)
				continue
			}
			dst = binary.BigEndian.AppendUint64(dst, uint64(v.Int64s[p]))
		default:
			dst = binary.BigEndian.AppendUint64(dst, uint64(valueAt(v, p).i))
		}
	}
	return dst
}

func appendSized(dst, b []byte) []byte {
	return append(binary.BigEndian.AppendUint32(dst, uint32(len(b))), b...)
}

const mixer = 0x9E3779B97F4A7C15

// mix folds the 128-bit product, so that every bit of x and seed counts in all of the result.
func mix(seed, x uint64) uint64 {
	hi, lo := bits.Mul64(seed^x, mixer^bits.RotateLeft64(x, 29))
	return hi ^ lo ^ bits.RotateLeft64(seed, 17)
}

func hashBytes(h uint64, b []byte) uint64 {
	h = mix(h, uint64(len(b)))
	for ; len(b) >= 8; b = b[8:] {
		h = mix(h, binary.LittleEndian.Uint64(b))
	}
	var tail uint64
	for i, c := range b {
		tail |= uint64(c) << (8 * i)
	}
	return mix(h, tail)
}

// hashes appends the hash of each row's key; rows that lack a value get one too, which means nothing.
func (k keyColumns) hashes(dst []uint64, seed uint64, rows int) []uint64 {
	start := len(dst)
	for range rows {
		dst = append(dst, seed)
	}
	out := dst[start:]
	for i := range k {
		k[i].hash(out)
	}
	return dst
}

// hash takes the values of a column into the hashes of the rows.
func (c *cells) hash(out []uint64) {
	for row := range out {
		p := c.position(row)
		if p < 0 {
			continue
		}
		switch v := c.v; {
		case c.class == bytesClass:
			out[row] = hashBytes(out[row], v.BytesAt(p))
		case c.class == ratClass && v.Type.Precision > 18:
			out[row] = hashBytes(out[row], v.Data[16*p:16*p+16])
		case v.Type.Kind == schema.Long, c.class == ratClass:
			out[row] = mix(out[row], uint64(v.Int64s[p]))
		default:
			out[row] = mix(out[row], uint64(valueAt(v, p).i))
		}
	}
}

// keyIndex finds the number that was given to a key: an open-addressing table of hashes beside the keys' bytes.
type keyIndex struct {
	slots []int32 // number + 1; 0: empty. The length is a power of two, at most half full
	hash  []uint64
	ends  []int // of a key's bytes
	bytes []byte
}

func newKeyIndex(capacity int) *keyIndex {
	size := 16
	for size < 2*capacity {
		size *= 2
	}
	return &keyIndex{slots: make([]int32, size)}
}

func (x *keyIndex) key(n int) []byte {
	start := 0
	if n > 0 {
		start = x.ends[n-1]
	}
	return x.bytes[start:x.ends[n]]
}

// maybe says whether a key of that hash may be there; it is false for most that are not.
func (x *keyIndex) maybe(hash uint64) bool {
	mask := uint64(len(x.slots) - 1)
	for at := hash & mask; x.slots[at] != 0; at = (at + 1) & mask {
		if x.hash[x.slots[at]-1] == hash {
			return true
		}
	}
	return false
}

// find returns the key's number, -1 if it has none.
func (x *keyIndex) find(hash uint64, key []byte) int {
	mask := uint64(len(x.slots) - 1)
	for at := hash & mask; x.slots[at] != 0; at = (at + 1) & mask {
		if n := int(x.slots[at] - 1); x.hash[n] == hash && bytes.Equal(x.key(n), key) {
			return n
		}
	}
	return -1
}

// add gives the next number to a key that has none.
func (x *keyIndex) add(hash uint64, key []byte) int {
	if 2*len(x.hash) >= len(x.slots) {
		x.grow()
	}
	n := len(x.hash)
	x.hash = append(x.hash, hash)
	x.bytes = append(x.bytes, key...)
	x.ends = append(x.ends, len(x.bytes))
	x.place(n)
	return n
}

func (x *keyIndex) place(n int) {
	mask := uint64(len(x.slots) - 1)
	at := x.hash[n] & mask
	for x.slots[at] != 0 {
		at = (at + 1) & mask
	}
	x.slots[at] = int32(n + 1)
}

func (x *keyIndex) grow() {
	x.slots = make([]int32, 2*len(x.slots))
	for n := range x.hash {
		x.place(n)
	}
}
