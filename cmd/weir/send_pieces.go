package main

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/ipc"
	"github.com/apache/arrow-go/v18/arrow/memory"

	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// The formats that are sent as they are: their records are no JSON.
const (
	inputAvro     = "avro"     // an object container file
	inputArrow    = "arrow"    // an IPC stream or file
	inputProtobuf = "protobuf" // messages, each behind its length
)

// The bounds of a piece.
const (
	pieceRecords  = 1000      // of Avro and Arrow, whose pieces repeat the schema
	pieceBytes    = 256 << 10 // far below the limit of any pipeline
	maxArrowBytes = 1 << 30   // of one message of an Arrow file

	maxArrowSchema = 4 << 20 // bytes
)

// typed says whether the records of a format are no JSON.
func typed(format string) bool {
	return format == inputAvro || format == inputArrow || format == inputProtobuf
}

// mimeOf is the type of payloads that hold so many records of a format.
func mimeOf(format string, records int) event.MIME {
	switch {
	case format == inputAvro:
		return event.AvroFile
	case format == inputArrow:
		return event.Arrow
	case format == inputProtobuf && records > 1:
		return event.ProtobufMany
	case format == inputProtobuf:
		return event.Protobuf
	case records > 1:
		return event.NDJSON
	}
	return event.JSON
}

// magicOf tells a typed format by the first bytes; Protobuf has none.
func magicOf(r *bufio.Reader) string {
	switch head, _ := r.Peek(len(arrowMagic)); {
	case bytes.HasPrefix(head, []byte("Obj\x01")):
		return inputAvro
	case string(head) == arrowMagic, bytes.HasPrefix(head, []byte("\xff\xff\xff\xff")):
		return inputArrow
	}
	return ""
}

// cutter makes payloads of records.
type cutter struct {
	records int // in a payload at most
	bytes   int // a payload that has so many gets no further record
	do      func(payload []byte, records int) error
}

// each cuts an input of a typed format. A payload is valid during the call.
func (c *cutter) each(r *bufio.Reader, format string) error {
	switch format {
	case inputAvro:
		return c.avro(r)
	case inputArrow:
		return c.arrow(r)
	}
	return c.protobuf(r)
}

// protobuf reads messages behind their lengths. One in a payload goes without its length.
func (c *cutter) protobuf(r *bufio.Reader) error {
	var buf []byte
	n := 0
	flush := func() error {
		if n == 0 {
			return nil
		}
		err := c.do(buf, n)
		buf, n = buf[:0], 0
		return err
	}
	for at := 1; ; at++ {
		size, err := binary.ReadUvarint(r)
		if errors.Is(err, io.EOF) {
			return flush()
		}
		if err == nil && size > maxLine {
			err = fmt.Errorf("it has %d bytes, at most %d are read: is this length-delimited Protobuf?", size, maxLine)
		}
		if err == nil {
			if c.records > 1 {
				buf = binary.AppendUvarint(buf, size)
			}
			from := len(buf)
			buf = append(buf, make([]byte, size)...)
			if _, err = io.ReadFull(r, buf[from:]); err != nil {
				buf, err = buf[:from], unfinished(err)
			}
		}
		if err != nil { // what was read before is sent
			return errors.Join(flush(), fmt.Errorf("read Protobuf message %d: %w", at, err))
		}
		if n++; n >= c.records || len(buf) >= c.bytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

// avro reads an object container file and makes small ones of it.
func (c *cutter) avro(r *bufio.Reader) error {
	f, err := decode.NewAvroFileReader(r)
	if err != nil {
		return fmt.Errorf("read: %w", err)
	}
	header := f.Header()
	var data, payload []byte
	n := 0
	flush := func() error {
		if n == 0 {
			return nil
		}
		payload = f.AppendBlock(append(payload[:0], header...), data, n)
		err := c.do(payload, n)
		data, n = data[:0], 0
		return err
	}
	for {
		record, err := f.Next()
		if errors.Is(err, io.EOF) {
			return flush()
		}
		if err != nil {
			return errors.Join(flush(), fmt.Errorf("read: %w", err))
		}
		data = append(data, record...)
		if n++; n >= c.records || len(data) >= c.bytes {
			if err := flush(); err != nil {
				return err
			}
		}
	}
}

const arrowMagic = "ARROW1"

// arrow reads an IPC stream, or a file, which is one between two marks, and makes small streams of it.
func (c *cutter) arrow(r *bufio.Reader) error {
	if head, _ := r.Peek(len(arrowMagic)); string(head) == arrowMagic {
		if _, err := r.Discard(len(arrowMagic) + 2); err != nil {
			return fmt.Errorf("read Arrow file: %w", unfinished(err))
		}
	}
	r = bufio.NewReaderSize(r, maxArrowSchema)
	if err := checkArrowSchema(r); err != nil {
		return fmt.Errorf("read Arrow: %w", err)
	}
	bounds := []ipc.Option{ipc.WithMetadataSizeLimit(maxLine), ipc.WithBodySizeLimit(maxArrowBytes), ipc.WithAllocator(boundedMemory{memory.DefaultAllocator})}
	in, err := ipc.NewReaderFromMessageReader(ipc.NewMessageReader(r, bounds...), bounds...)
	if err != nil {
		return fmt.Errorf("read Arrow: %w", unfinished(err))
	}
	defer in.Release()
	for rows := c.records; in.Next(); {
		if rows, err = c.batch(in.RecordBatch(), rows); err != nil {
			return err
		}
	}
	if err := in.Err(); err != nil {
		return fmt.Errorf("read Arrow: %w", unfinished(err))
	}
	return nil
}

// checkArrowSchema lets weir's decoder look at the schema, which it takes for hostile: the library hangs over a damaged one.
func checkArrowSchema(r *bufio.Reader) error {
	head, _ := r.Peek(8)
	size := 0
	if len(head) == 8 {
		size = int(binary.LittleEndian.Uint32(head[4:])) + len(head)
	}
	if size > maxArrowSchema {
		return fmt.Errorf("its schema has %d bytes, at most %d are read", size, maxArrowSchema)
	}
	message, err := r.Peek(size)
	if err != nil {
		return unfinished(err)
	}
	d := decode.NewDecoder(decode.NewSchema(nil, decode.Options{}))
	if _, rejects := d.Append(event.Arrow, message, decode.System{}, nil); len(rejects) > 0 {
		return errors.New(rejects[0].Reason)
	}
	return nil
}

// boundedMemory refuses what only a damaged file asks for: the library believes the sizes that compressed buffers claim. It
// panics, which the library's reader makes an error of.
type boundedMemory struct{ memory.Allocator }

// Allocate implements [memory.Allocator].
func (m boundedMemory) Allocate(size int) []byte {
	m.check(size)
	return m.Allocator.Allocate(size)
}

// Reallocate implements [memory.Allocator].
func (m boundedMemory) Reallocate(size int, b []byte) []byte {
	m.check(size)
	return m.Allocator.Reallocate(size, b)
}

func (m boundedMemory) check(size int) {
	if size < 0 || size > maxArrowBytes {
		panic(fmt.Errorf("a buffer would have %d bytes, at most %d are read", size, maxArrowBytes))
	}
}

// batch sends a record batch in slices of so many rows, fewer if they are large. It returns how many were right.
func (c *cutter) batch(all arrow.RecordBatch, rows int) (int, error) {
	var buf bytes.Buffer
	for from := int64(0); from < all.NumRows(); {
		n := min(int64(rows), all.NumRows()-from)
		if err := writeArrow(&buf, all, from, n); err != nil {
			return rows, err
		}
		for size := buf.Len(); size > c.bytes && n > 1; size = buf.Len() {
			if err := writeArrow(&buf, all, from, n/2); err != nil {
				return rows, err
			}
			n /= 2
			if rows = int(n); buf.Len() > size/4*3 { // dictionaries, which each stream needs
				break
			}
		}
		if err := c.do(buf.Bytes(), int(n)); err != nil {
			return rows, err
		}
		from += n
	}
	return rows, nil
}

// writeArrow makes buf a stream of n rows.
func writeArrow(buf *bytes.Buffer, all arrow.RecordBatch, from, n int64) error {
	buf.Reset()
	rows := all.NewSlice(from, from+n)
	defer rows.Release()
	w := ipc.NewWriter(buf, ipc.WithSchema(all.Schema()))
	if err := errors.Join(w.Write(rows), w.Close()); err != nil {
		return fmt.Errorf("write Arrow: %w", err)
	}
	return nil
}
