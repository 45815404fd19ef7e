package parquet

import (
	"bytes"
	"fmt"
	"sync"

	"github.com/klauspost/compress/huff0"
	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"

	"github.com/weir-dev/weir/delta/column"
)

// scratch is the memory that writing a file needs and the next file can use again.
type scratch struct {
	levels    levels
	stretches []stretch // of the page's values
	raw       []byte    // the page before compression
	packed    []byte    // and after
	encoded   []byte
	dict      *dictionary
	entries   column.Vector // of the dictionary
	header    bytes.Buffer
	thrift    *thrift.Encoder
	zstd      map[int]*zstd.Encoder // by level

	coded []byte // a page compressed without matches
	huff  huff0.Scratch
	longs []int64
	ints  []int32
}

// maxKept is the size above which a buffer is not kept for the next file.
const maxKept = 8 << 20

// scratches shares scratch memory between files; it holds no state.
var scratches = sync.Pool{New: func() any {
	s := &scratch{dict: newDictionary(), zstd: make(map[int]*zstd.Encoder)}
	s.huff.Reuse = huff0.ReusePolicyNone
	s.thrift = thrift.NewEncoder(new(thrift.CompactProtocol).NewWriter(&s.header))
	return s
}}

func getScratch() *scratch { return scratches.Get().(*scratch) } //nolint:forcetypeassert // New makes nothing else

// put gives the memory back, unless an unusual file made it large.
func (s *scratch) put() {
	s.entries.Data, s.entries.Offsets = nil, nil // they alias the dictionary
	clear(s.stretches[:cap(s.stretches)])        // they would keep the batches
	if max(cap(s.raw), cap(s.packed), cap(s.coded), 8*cap(s.longs), 4*cap(s.ints)) <= maxKept && cap(s.dict.indices) <= dictIndices {
		scratches.Put(s)
	}
}

// compress returns b compressed, in memory that the next call uses again.
func (s *scratch) compress(o WriterOptions, b []byte) ([]byte, error) {
	switch o.Codec {
	case Uncompressed:
		return b, nil
	case Snappy:
		n := s2.MaxEncodedLen(len(b))
		if n < 0 {
			return nil, fmt.Errorf("page of %d bytes is too large for snappy", len(b))
		}
		if cap(s.packed) < n {
			s.packed = make([]byte, n)
		}
		return s2.EncodeSnappy(s.packed[:n], b), nil
	default:
		e, err := s.zstdEncoder(o.Level)
		if err != nil {
			return nil, err
		}
		s.packed = e.EncodeAll(b, s.packed[:0])
		return s.packed, nil
	}
}

func (s *scratch) zstdEncoder(level int) (*zstd.Encoder, error) {
	if e := s.zstd[level]; e != nil {
		return e, nil
	}
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.EncoderLevel(level)),
		zstd.WithEncoderCRC(false), zstd.WithZeroFrames(true), zstd.WithWindowSize(pageBytes))
	if err != nil {
		return nil, fmt.Errorf("zstd level %d: %w", level, err)
	}
	s.zstd[level] = e
	return e, nil
}

// encodeHeader returns the Thrift form of h, in memory that the next call uses again.
func (s *scratch) encodeHeader(h *format.PageHeader) ([]byte, error) {
	s.header.Reset()
	if err := s.thrift.Encode(h); err != nil {
		return nil, fmt.Errorf("encode page header: %w", err)
	}
	return s.header.Bytes(), nil
}
