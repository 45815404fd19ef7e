package delta

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/store"
)

// DeletionVectorError says that the deleted rows of a data file cannot be known, so that the file cannot be read.
type DeletionVectorError struct {
	Path string // of the data file
	Err  error
}

func (e *DeletionVectorError) Error() string {
	return fmt.Sprintf("deletion vector of %s: %v", e.Path, e.Err)
}

func (e *DeletionVectorError) Unwrap() error { return e.Err }

// maxDeletionVector bounds the serialized size in bytes. A bitmap of 2³¹ rows takes 256 MiB.
const maxDeletionVector = 256 << 20

// loadDeletionVector reads the deleted rows of a file that has the given number of rows. Error: *DeletionVectorError.
func loadDeletionVector(ctx context.Context, st store.Store, a *Add, rows int64) (deletedRows, error) {
	if a.DeletionVector == nil {
		return nil, nil
	}
	set, err := a.DeletionVector.load(ctx, st, rows)
	if err != nil {
		return nil, &DeletionVectorError{Path: a.Path, Err: err}
	}
	return set, nil
}

func (d *DeletionVector) load(ctx context.Context, st store.Store, rows int64) (deletedRows, error) {
	data, err := d.bytes(ctx, st)
	if err != nil {
		return nil, err
	}
	set, err := parseRoaring(data, rows)
	if err != nil {
		return nil, err
	}
	if n := set.len(); n != d.Cardinality {
		return nil, fmt.Errorf("it holds %d rows and should hold %d", n, d.Cardinality)
	}
	return set, nil
}

// bytes is the serialized bitmap.
func (d *DeletionVector) bytes(ctx context.Context, st store.Store) ([]byte, error) {
	if d.SizeInBytes < 0 || d.SizeInBytes > maxDeletionVector {
		return nil, fmt.Errorf("its size is %d bytes", d.SizeInBytes)
	}
	if d.StorageType == "i" {
		data, err := decodeZ85(d.PathOrInlineDV)
		if err == nil && len(data) < int(d.SizeInBytes) {
			err = errors.New("it is shorter than its size")
		}
		if err != nil {
			return nil, err
		}
		return data[:d.SizeInBytes], nil
	}
	key, err := d.key()
	if err != nil {
		return nil, err
	}
	offset := int64(0)
	if d.Offset != nil {
		offset = int64(*d.Offset)
	}
	r, err := st.Open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // only read
	return readDeletionVector(r, offset, int(d.SizeInBytes))
}

// readDeletionVector reads one of the bitmaps in a file: its size, the bitmap, a checksum.
func readDeletionVector(r store.Reader, offset int64, size int) ([]byte, error) {
	if offset < 0 || offset+int64(size)+8 > r.Size() {
		return nil, errors.New("its file is too short")
	}
	buf := make([]byte, size+8)
	if n, err := r.ReadAt(buf, offset); n < len(buf) {
		return nil, err
	}
	data := buf[4 : 4+size]
	if binary.BigEndian.Uint32(buf) != uint32(size) {
		return nil, errors.New("its size is not the one in its file")
	}
	if crc32.ChecksumIEEE(data) != binary.BigEndian.Uint32(buf[4+size:]) {
		return nil, errors.New("its checksum does not match")
	}
	return data, nil
}

// uuidZ85 is the length of a UUID in Z85.
const uuidZ85 = 20

// key is the store key of the file that holds the vector.
func (d *DeletionVector) key() (string, error) {
	switch n := len(d.PathOrInlineDV) - uuidZ85; {
	case d.StorageType == "p":
		return "", &PathError{d.PathOrInlineDV}
	case d.StorageType != "u":
		return "", fmt.Errorf("unknown storage type %q", d.StorageType)
	case n < 0:
		return "", fmt.Errorf("%q does not end in an id", d.PathOrInlineDV)
	default:
		b, err := decodeZ85(d.PathOrInlineDV[n:])
		if err != nil {
			return "", err
		}
		dir := ""
		if n > 0 {
			dir = d.PathOrInlineDV[:n] + "/"
		}
		return fmt.Sprintf("%sdeletion_vector_%x-%x-%x-%x-%x.bin", dir, b[:4], b[4:6], b[6:8], b[8:10], b[10:]), nil
	}
}

const z85Digits = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"

// decodeZ85 decodes the base-85 form of ZeroMQ RFC 32: five digits are four bytes.
func decodeZ85(s string) ([]byte, error) {
	if len(s)%5 != 0 {
		return nil, fmt.Errorf("%d digits are not Z85", len(s))
	}
	out := make([]byte, 0, len(s)/5*4)
	for ; s != ""; s = s[5:] {
		n := uint64(0)
		for i := range 5 {
			digit := strings.IndexByte(z85Digits, s[i])
			if digit < 0 {
				return nil, fmt.Errorf("%q is not Z85", s[i])
			}
			n = n*85 + uint64(digit)
		}
		if n > 1<<32-1 {
			return nil, fmt.Errorf("%q is not Z85", s[:5])
		}
		out = binary.BigEndian.AppendUint32(out, uint32(n))
	}
	return out, nil
}

// live takes the deleted rows out of a batch whose first row is the given one of its file.
func (s deletedRows) live(b *column.Batch, first int64) *column.Batch {
	rows := make([]int, 0, b.Rows)
	for i := range b.Rows {
		if !s.has(first + int64(i)) {
			rows = append(rows, i)
		}
	}
	if len(rows) == b.Rows {
		return b
	}
	return b.Gather(rows)
}
