package parquet

import (
	"encoding/binary"

	"github.com/parquet-go/parquet-go/encoding/delta"
)

// appendDifferences appends the plain integers b, of 4 or 8 bytes each, as DELTA_BINARY_PACKED.
func (s *scratch) appendDifferences(dst, b []byte, width int) ([]byte, error) {
	if width == 4 {
		s.ints = s.ints[:0]
		for ; len(b) >= 4; b = b[4:] {
			s.ints = append(s.ints, int32(binary.LittleEndian.Uint32(b)))
		}
		return new(delta.BinaryPackedEncoding).EncodeInt32(dst, s.ints)
	}
	s.longs = s.longs[:0]
	for ; len(b) >= 8; b = b[8:] {
		s.longs = append(s.longs, int64(binary.LittleEndian.Uint64(b)))
	}
	return new(delta.BinaryPackedEncoding).EncodeInt64(dst, s.longs)
}
