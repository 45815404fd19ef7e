package parquet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"github.com/andybalholm/brotli"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// zstdDecoders shares decoders; a decoder holds no state between pages.
var zstdDecoders = sync.Pool{New: func() any {
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxPage))
	if err != nil {
		return err
	}
	return d
}}

// decompress appends to dst[:0] the size bytes that b holds compressed.
func decompress(dst []byte, codec format.CompressionCodec, b []byte, size int) ([]byte, error) {
	if size == 0 {
		return dst[:0], nil
	}
	var err error
	switch codec {
	case format.Uncompressed:
		dst = append(dst[:0], b...)
	case format.Snappy:
		if n, e := snappy.DecodedLen(b); e != nil || n != size {
			return nil, fmt.Errorf("snappy page of %d bytes declares %d: %w", size, n, ErrCorrupt)
		}
		if size > 32*len(b)+64 { // a copy of at most 64 bytes takes two
			return nil, fmt.Errorf("snappy page of %d bytes from %d: %w", size, len(b), ErrCorrupt)
		}
		dst, err = snappy.Decode(slices.Grow(dst[:0], size)[:size], b)
	case format.Zstd:
		dst, err = unzstd(dst, b, size)
	case format.Gzip:
		var z *gzip.Reader
		if z, err = gzip.NewReader(bytes.NewReader(b)); err == nil {
			dst, err = readFull(dst, z, size)
		}
	case format.Brotli:
		dst, err = readFull(dst, brotli.NewReader(bytes.NewReader(b)), size)
	case format.Lz4:
		dst, err = hadoopLZ4(dst, b, size)
	case format.Lz4Raw:
		dst, err = unlz4(dst[:0], b, size)
	default:
		return nil, fmt.Errorf("codec %s: %w", codec, ErrUnsupported)
	}
	if err != nil {
		return nil, fmt.Errorf("%s page: %w: %w", codec, ErrCorrupt, err)
	}
	if len(dst) != size {
		return nil, fmt.Errorf("%s page of %d bytes, declared %d: %w", codec, len(dst), size, ErrCorrupt)
	}
	return dst, nil
}

func unzstd(dst, b []byte, size int) ([]byte, error) {
	d, ok := zstdDecoders.Get().(*zstd.Decoder)
	if !ok {
		return nil, errors.New("no zstd decoder")
	}
	defer zstdDecoders.Put(d)
	return d.DecodeAll(b, slices.Grow(dst[:0], min(size, 64*len(b)+1024)))
}

// readFull reads up to size bytes; memory grows with what there is, not with what the page claims.
func readFull(dst []byte, r io.Reader, size int) ([]byte, error) {
	out := bytes.NewBuffer(dst[:0])
	_, err := io.Copy(out, io.LimitReader(r, int64(size)))
	return out.Bytes(), err
}

// unlz4 appends the at most size bytes of an LZ4 block to dst.
func unlz4(dst, b []byte, size int) ([]byte, error) {
	if size > 256*len(b)+64 { // a match's length grows by at most 255 a byte
		return nil, fmt.Errorf("%d bytes from %d", size, len(b))
	}
	at := len(dst)
	dst = slices.Grow(dst, size)[:at+size]
	n, err := lz4.UncompressBlock(b, dst[at:])
	return dst[:at+n], err
}

// hadoopLZ4 reads the deprecated LZ4 codec as Hadoop writes it: frames of an uncompressed length, then blocks of a
// compressed length and data until the frame is full, lengths big-endian.
func hadoopLZ4(dst, b []byte, size int) ([]byte, error) {
	dst = dst[:0]
	for len(dst) < size {
		if len(b) < 8 {
			return nil, io.ErrUnexpectedEOF
		}
		end := len(dst) + int(binary.BigEndian.Uint32(b))
		if end <= len(dst) || end > size {
			return nil, fmt.Errorf("frame up to byte %d of %d", end, size)
		}
		for b = b[4:]; len(dst) < end; {
			if len(b) < 4 || uint64(binary.BigEndian.Uint32(b)) > uint64(len(b)-4) {
				return nil, io.ErrUnexpectedEOF
			}
			n := int(binary.BigEndian.Uint32(b))
			at := len(dst)
			var err error
			if dst, err = unlz4(dst, b[4:4+n], end-at); err != nil {
				return nil, err
			}
			if len(dst) == at {
				return nil, errors.New("empty block")
			}
			b = b[4+n:]
		}
	}
	return dst, nil
}
