package parquet

import (
	"bytes"
	"hash/maphash"
	"math"
	"math/bits"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// Bounds of a dictionary, and of the column chunk that gets one.
const (
	dictBytes   = 1 << 20
	dictEntries = 1 << 16
	dictSample  = 1024            // values after which a column of all but distinct values gives up
	dictTrial   = 16 * dictSample // and after which one of mostly distinct values does
	dictIndices = 4 << 20         // values of a chunk, for the memory of their indices
)

// dictionary numbers the distinct values of a column chunk. Values are kept as bytes (String, Binary, wide Decimal) or
// as the bits of a number.
type dictionary struct {
	seed    maphash.Seed // of byte values
	keys    [2]uint64    // of numbers
	table   []int32      // open addressing: entry+1, 0 is free; a power of two, at most half full
	entries int
	data    []byte
	offsets []int32
	numbers []uint64
	indices []int32 // of all values of the chunk
	plain   int     // bytes that the values take in PLAIN encoding
	next    int     // index that the next page begins with
}

func newDictionary() *dictionary {
	d := &dictionary{seed: maphash.MakeSeed(), table: make([]int32, 1<<10)}
	d.keys = [2]uint64{maphash.String(d.seed, "0"), maphash.String(d.seed, "1") | 1}
	return d
}

func (d *dictionary) reset() {
	d.table = d.table[:1<<10]
	clear(d.table)
	d.entries, d.next = 0, 0
	d.data, d.offsets, d.numbers = d.data[:0], append(d.offsets[:0], 0), d.numbers[:0]
	d.indices, d.plain = d.indices[:0], 0
}

// worthwhile says whether to go on after so many values.
func (d *dictionary) worthwhile() bool {
	n := len(d.indices)
	if d.entries > dictEntries || len(d.data) > dictBytes || n > dictIndices {
		return false
	}
	switch {
	case n < dictSample:
		return true
	case n < dictTrial:
		return d.entries <= n-n/64
	default:
		return d.entries <= n-n/4
	}
}

// pays says whether dictionary and indices take clearly less than the plain values would.
func (d *dictionary) pays() bool {
	if d.entries == 0 {
		return false
	}
	entries := len(d.data) + 4*d.entries
	if len(d.numbers) > 0 {
		entries = d.entries * d.plain / len(d.indices)
	}
	return entries+len(d.indices)*bits.Len(uint(d.entries-1))/8 <= d.plain/4*3
}

// add numbers the values from..to of v; false means that the chunk is better written plain.
func (d *dictionary) add(v *column.Vector, from, to int) bool {
	for from < to {
		n := min(to-from, dictSample)
		d.addSome(v, from, from+n)
		if !d.worthwhile() {
			return false
		}
		from += n
	}
	return true
}

func (d *dictionary) addSome(v *column.Vector, from, to int) {
	switch v.Type.Kind {
	case schema.String, schema.Binary:
		d.plain += 4*(to-from) + int(v.Offsets[to]-v.Offsets[from])
		for i := from; i < to; i++ {
			d.bytes(v.Data[v.Offsets[i]:v.Offsets[i+1]])
		}
	case schema.Byte, schema.Short, schema.Integer, schema.Date:
		d.plain += 4 * (to - from)
		for _, x := range v.Int32s[from:to] {
			d.number(uint64(uint32(x)))
		}
	case schema.Long, schema.Timestamp, schema.TimestampNTZ, schema.Decimal:
		d.plain += 8 * (to - from)
		for _, x := range v.Int64s[from:to] {
			d.number(uint64(x))
		}
	case schema.Float:
		d.plain += 4 * (to - from)
		for _, x := range v.Float32s[from:to] {
			d.number(uint64(math.Float32bits(x)))
		}
	case schema.Double:
		d.plain += 8 * (to - from)
		for _, x := range v.Float64s[from:to] {
			d.number(math.Float64bits(x))
		}
	default:
	}
}

func (d *dictionary) bytes(x []byte) {
	h := maphash.Bytes(d.seed, x)
	mask := uint64(len(d.table) - 1)
	for at := h & mask; ; at = (at + 1) & mask {
		e := d.table[at]
		if e == 0 {
			d.data = append(d.data, x...)
			d.offsets = append(d.offsets, int32(len(d.data)))
			d.insert(at)
			return
		}
		if bytes.Equal(d.entry(int(e-1)), x) {
			d.indices = append(d.indices, e-1)
			return
		}
	}
}

func (d *dictionary) entry(i int) []byte { return d.data[d.offsets[i]:d.offsets[i+1]] }

// mix spreads a number over 64 bits: it folds a full product, since a double's entropy is in its high bits and an
// integer's in its low ones. The keys are random, so that nobody can send numbers that collide.
func (d *dictionary) mix(x uint64) uint64 {
	hi, lo := bits.Mul64(x^d.keys[0], d.keys[1])
	return hi ^ lo
}

func (d *dictionary) number(x uint64) {
	mask := uint64(len(d.table) - 1)
	for at := d.mix(x) & mask; ; at = (at + 1) & mask {
		e := d.table[at]
		if e == 0 {
			d.numbers = append(d.numbers, x)
			d.insert(at)
			return
		}
		if d.numbers[e-1] == x {
			d.indices = append(d.indices, e-1)
			return
		}
	}
}

// insert puts the entry whose value was just appended at a free place.
func (d *dictionary) insert(at uint64) {
	d.indices = append(d.indices, int32(d.entries))
	d.entries++
	d.table[at] = int32(d.entries)
	if 2*d.entries > len(d.table) {
		d.rehash()
	}
}

func (d *dictionary) rehash() {
	n := 2 * len(d.table)
	if cap(d.table) >= n {
		d.table = d.table[:n]
		clear(d.table)
	} else {
		d.table = make([]int32, n)
	}
	mask := uint64(n - 1)
	for i := range d.entries {
		var at uint64
		if len(d.numbers) > 0 {
			at = d.mix(d.numbers[i]) & mask
		} else {
			at = maphash.Bytes(d.seed, d.entry(i)) & mask
		}
		for d.table[at] != 0 {
			at = (at + 1) & mask
		}
		d.table[at] = int32(i + 1)
	}
}

// vector returns the entries as a vector of type t that aliases the dictionary's memory, except that numbers are copied
// into v, which is reused.
func (d *dictionary) vector(t *schema.Type, v *column.Vector) *column.Vector {
	v.Type, v.Len, v.Data, v.Offsets = t, d.entries, d.data, d.offsets
	v.Int32s, v.Int64s, v.Float32s, v.Float64s = v.Int32s[:0], v.Int64s[:0], v.Float32s[:0], v.Float64s[:0]
	for _, x := range d.numbers {
		switch t.Kind {
		case schema.Float:
			v.Float32s = append(v.Float32s, math.Float32frombits(uint32(x)))
		case schema.Double:
			v.Float64s = append(v.Float64s, math.Float64frombits(x))
		case schema.Byte, schema.Short, schema.Integer, schema.Date:
			v.Int32s = append(v.Int32s, int32(uint32(x)))
		default:
			v.Int64s = append(v.Int64s, int64(x))
		}
	}
	return v
}

// dictionaryKind says whether values of t are tried with a dictionary.
func dictionaryKind(t *schema.Type) bool {
	return t.Kind != schema.Boolean && (t.Kind != schema.Decimal || t.Precision <= 18)
}
