package delta

import (
	"encoding/binary"
	"hash/crc32"
	"maps"
	"math/bits"
	"slices"
	"strings"
)

// deletionVectors says whether writers are to mark deleted rows rather than rewrite files.
func (s *state) deletionVectors() bool {
	return isTrue(s.metadata.Configuration["delta.enableDeletionVectors"]) &&
		slices.Contains(s.protocol.WriterFeatures, "deletionVectors")
}

func (s deletedRows) set(row int64) {
	block := s[row>>16]
	if block == nil {
		block = new([1024]uint64)
		s[row>>16] = block
	}
	block[row>>6&1023] |= 1 << (row & 63)
}

// merge takes in the rows of another set.
func (s deletedRows) merge(other deletedRows) {
	for at, words := range other {
		block := s[at]
		if block == nil {
			block = new([1024]uint64)
			s[at] = block
		}
		for i, w := range words {
			block[i] |= w
		}
	}
}

// mergeInto takes the rows from first on, n of them, into another set.
func (s deletedRows) mergeInto(other deletedRows, first int64, n int) {
	if len(s) == 0 {
		return
	}
	for row := first; row < first+int64(n); row++ {
		if s.has(row) {
			other.set(row)
		}
	}
}

// encode is the inverse of parseRoaring.
func (s deletedRows) encode() []byte {
	le := binary.LittleEndian
	blocks := slices.Sorted(maps.Keys(s))
	buckets := 0
	for i, at := range blocks {
		if i == 0 || at>>16 != blocks[i-1]>>16 {
			buckets++
		}
	}
	b := le.AppendUint32(nil, roaringMagic)
	b = le.AppendUint64(b, uint64(buckets))
	for len(blocks) > 0 {
		n := 1
		for n < len(blocks) && blocks[n]>>16 == blocks[0]>>16 {
			n++
		}
		b = le.AppendUint32(b, uint32(blocks[0]>>16))
		b = s.appendBucket(b, blocks[:n])
		blocks = blocks[n:]
	}
	return b
}

// appendBucket appends a 32-bit roaring bitmap without runs.
func (s deletedRows) appendBucket(b []byte, blocks []int64) []byte {
	le := binary.LittleEndian
	start := len(b)
	b = le.AppendUint32(b, cookieNoRuns)
	b = le.AppendUint32(b, uint32(len(blocks)))
	for _, at := range blocks {
		b = le.AppendUint16(b, uint16(at))
		b = le.AppendUint16(b, uint16(count(s[at])-1))
	}
	offsets := len(b)
	b = append(b, make([]byte, 4*len(blocks))...)
	for i, at := range blocks {
		le.PutUint32(b[offsets+4*i:], uint32(len(b)-start))
		if count(s[at]) > arrayMax {
			for _, w := range s[at] {
				b = le.AppendUint64(b, w)
			}
			continue
		}
		for i, w := range s[at] {
			for ; w != 0; w &= w - 1 {
				b = le.AppendUint16(b, uint16(i*64+bits.TrailingZeros64(w)))
			}
		}
	}
	return b
}

func count(block *[1024]uint64) (n int) {
	for _, w := range block {
		n += bits.OnesCount64(w)
	}
	return n
}

// maxInlineVector is the size in bytes up to which a deletion vector stands in the log, which saves a file.
const maxInlineVector = 128

// vectorFile is a file of deletion vectors: a version, then for each its size, its bytes and their checksum.
type vectorFile struct {
	id   [16]byte
	data []byte
}

func newVectorFile() *vectorFile {
	return &vectorFile{id: newUUIDBytes(), data: []byte{1}}
}

func (f *vectorFile) empty() bool { return len(f.data) == 1 }

func (f *vectorFile) key() string { return "deletion_vector_" + uuidText(f.id) + ".bin" }

// add returns the description of a set that is now in the file, or in the description.
func (f *vectorFile) add(s deletedRows) *DeletionVector {
	data := s.encode()
	d := &DeletionVector{StorageType: "u", SizeInBytes: int32(len(data)), Cardinality: s.len()}
	if len(data) <= maxInlineVector {
		d.StorageType = "i"
		d.PathOrInlineDV = encodeZ85(append(data, make([]byte, -len(data)&3)...))
		return d
	}
	offset := int32(len(f.data))
	d.PathOrInlineDV, d.Offset = encodeZ85(f.id[:]), &offset
	f.data = binary.BigEndian.AppendUint32(f.data, uint32(len(data)))
	f.data = append(f.data, data...)
	f.data = binary.BigEndian.AppendUint32(f.data, crc32.ChecksumIEEE(data))
	return d
}

// encodeZ85 is the inverse of decodeZ85; len(b) is a multiple of four.
func encodeZ85(b []byte) string {
	var out strings.Builder
	for ; len(b) > 0; b = b[4:] {
		n := binary.BigEndian.Uint32(b)
		for _, power := range [...]uint32{85 * 85 * 85 * 85, 85 * 85 * 85, 85 * 85, 85, 1} {
			out.WriteByte(z85Digits[n/power%85])
		}
	}
	return out.String()
}
