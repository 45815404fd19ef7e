package parquet

import (
	"encoding/binary"

	"github.com/klauspost/compress/huff0"
)

// The parts of a zstd frame that compressLiterals needs. Format: RFC 8878, section 3.
const (
	zstdMagic     = 0xFD2FB528
	zstdSingle32  = 2<<6 | 1<<5 // a single segment; its size follows in four bytes
	zstdBlock     = 128 << 10   // bytes that a block holds at most
	zstdRaw       = 0
	zstdPacked    = 2
	huffmanHeader = 2 | 3<<2 // literals with a tree of their own, in four streams, sizes of 18 bits
	fewLiterals   = 1 << 8   // a shorter block is stored as it is
)

// compressLiterals returns b as a zstd frame without matches, in memory that the next call uses again: its blocks are literals
// with a Huffman code. Text whose characters are few and whose words do not come again, such as identifiers in hexadecimal,
// gets as small as by searching for matches, in a third of the time. b is shorter than 4 GiB.
func (s *scratch) compressLiterals(b []byte) []byte {
	dst := binary.LittleEndian.AppendUint32(s.coded[:0], zstdMagic)
	dst = append(dst, zstdSingle32)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(b)))
	for last := false; !last; {
		block := b[:min(len(b), zstdBlock)]
		b = b[len(block):]
		last = len(b) == 0
		dst = s.appendBlock(dst, block, last)
	}
	s.coded = dst
	return dst
}

func (s *scratch) appendBlock(dst, block []byte, last bool) []byte {
	if len(block) >= fewLiterals {
		// It fails on what cannot be made smaller, or is one character: then the block is stored.
		if packed, _, err := huff0.Compress4X(block, &s.huff); err == nil && len(packed)+6 < len(block) {
			dst = appendBlockHeader(dst, zstdPacked, len(packed)+6, last)
			sizes := huffmanHeader | uint64(len(block))<<4 | uint64(len(packed))<<22
			dst = append(dst, byte(sizes), byte(sizes>>8), byte(sizes>>16), byte(sizes>>24), byte(sizes>>32))
			return append(append(dst, packed...), 0) // no sequences
		}
	}
	return append(appendBlockHeader(dst, zstdRaw, len(block), last), block...)
}

func appendBlockHeader(dst []byte, kind, size int, last bool) []byte {
	h := kind<<1 | size<<3
	if last {
		h |= 1
	}
	return append(dst, byte(h), byte(h>>8), byte(h>>16))
}
