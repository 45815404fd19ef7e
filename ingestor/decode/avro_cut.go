package decode

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// The bounds of an [AvroFileReader].
const (
	maxAvroHeader = MaxAvroSchemaBytes + 64<<10
	maxAvroBlock  = 256 << 20 // packed, and unpacked
)

// AvroFileReader reads the records of an object container file of any size as they are, one block at a time, for producers
// that cut a file into payloads.
type AvroFileReader struct {
	r      *bufio.Reader
	schema *AvroSchema
	text   []byte
	codec  string
	sync   []byte
	packed avroPacked

	block []byte // packed
	data  []byte // the records of the block that are left
	count int64  // how many
	at    int    // blocks read
}

// NewAvroFileReader reads the header of a file. Its codec is null, deflate, snappy or zstandard.
func NewAvroFileReader(r io.Reader) (*AvroFileReader, error) {
	f := &AvroFileReader{r: bufio.NewReaderSize(r, maxAvroHeader)}
	head, err := f.r.Peek(maxAvroHeader)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	h, err := parseAvroHeader(head)
	if err != nil {
		return nil, fmt.Errorf("Avro file: %w", err)
	}
	f.text, f.codec, f.sync = bytes.Clone(h.text), h.codec, bytes.Clone(h.sync)
	if f.schema, err = NewAvroSchema(f.text); err != nil {
		return nil, err
	}
	_, err = f.r.Discard(h.end)
	return f, err
}

// Header returns what stands at the begin of an unpacked file of the same schema.
func (f *AvroFileReader) Header() []byte {
	out := bytes.Clone(avroFileMark)
	out = appendZigZag(out, 2)
	for _, part := range [][]byte{[]byte("avro.schema"), f.text, []byte("avro.codec"), []byte("null")} {
		out = append(appendZigZag(out, int64(len(part))), part...)
	}
	return append(append(out, 0), f.sync...)
}

// AppendBlock appends a block with so many records, which are data.
func (f *AvroFileReader) AppendBlock(dst, data []byte, records int) []byte {
	dst = appendZigZag(appendZigZag(dst, int64(records)), int64(len(data)))
	return append(append(dst, data...), f.sync...)
}

// Next returns the next record, valid until the next call, or io.EOF.
func (f *AvroFileReader) Next() ([]byte, error) {
	for f.count == 0 {
		if len(f.data) > 0 {
			return nil, f.broken(errors.New("it goes on behind its last record"))
		}
		if err := f.open(); err != nil {
			return nil, err
		}
	}
	end := f.schema.root.skip(f.data, 0, maxAvroDepth+HighestMaxDepth)
	if end < 0 {
		return nil, f.broken(errors.New("a record is malformed"))
	}
	record := f.data[:end]
	f.data = f.data[end:]
	f.count--
	return record, nil
}

// open reads the next block.
func (f *AvroFileReader) open() error {
	if _, err := f.r.Peek(1); err != nil {
		return err
	}
	f.at++
	count, err := binary.ReadVarint(f.r)
	if err != nil {
		return f.broken(err)
	}
	size, err := binary.ReadVarint(f.r)
	if err != nil {
		return f.broken(err)
	}
	if count < 0 || size < 0 || size > maxAvroBlock {
		return f.broken(fmt.Errorf("it has %d records and %d bytes, at most %d bytes are read", count, size, maxAvroBlock))
	}
	if f.block, err = readGrowing(f.r, f.block[:0], int(size)+avroSync); err != nil {
		return f.broken(err)
	}
	body := f.block[:size]
	if !bytes.Equal(f.block[size:], f.sync) {
		return f.broken(errors.New("the mark behind it is not that of the file"))
	}
	if f.data, err = f.packed.unpack(f.codec, body, maxAvroBlock); err != nil {
		return f.broken(err)
	}
	if count > int64(len(f.data)) { // a record that is a column has a byte at least
		return f.broken(fmt.Errorf("it has %d records in %d bytes", count, len(f.data)))
	}
	f.count = count
	return nil
}

// readGrowing appends n bytes of r to dst. Memory grows with what is there, not with what was promised.
func readGrowing(r io.Reader, dst []byte, n int) ([]byte, error) {
	const step = 1 << 20
	for n > 0 {
		from := len(dst)
		k := min(n, step)
		dst = append(dst, make([]byte, k)...)
		if _, err := io.ReadFull(r, dst[from:]); err != nil {
			return dst, err
		}
		n -= k
	}
	return dst, nil
}

func (f *AvroFileReader) broken(err error) error {
	switch {
	case errors.Is(err, io.EOF):
		err = io.ErrUnexpectedEOF
	case errors.Is(err, errArrowBudget):
		err = fmt.Errorf("it has more than %d bytes unpacked", maxAvroBlock)
	case errors.Is(err, errAvroBlock):
		err = errors.New("it is malformed")
	}
	return fmt.Errorf("Avro file: block %d: %w", f.at, err)
}
