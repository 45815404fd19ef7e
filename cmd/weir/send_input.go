package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"
)

// The formats of weir send.
const (
	inputAuto   = "auto"
	inputNDJSON = "ndjson"
	inputCSV    = "csv"
	inputJSON   = "json" // an array, or values one after another
)

// maxLine bounds a line of NDJSON in bytes; no server takes larger payloads.
const maxLine = 16 << 20

// input is what is to be read: unpacked, and of a known format.
type input struct {
	r      *bufio.Reader
	format string // "" if nothing is there
}

// openInput looks at the begin of in, which may be gzipped, unless its format is known.
func openInput(in io.Reader, format string) (*input, error) {
	r, err := unpacked(in, !typed(format))
	if err == nil && format == inputAuto {
		if format = magicOf(r); format == "" {
			format, err = detect(r)
		}
	}
	if err != nil {
		return nil, err
	}
	return &input{r, format}, nil
}

// each calls do with every record as JSON, which is valid during the call. A record that is no JSON is passed on from NDJSON,
// for the server to reject it by name, and ends the other formats.
func (in *input) each(csvStrings bool, do func(record []byte) error) error {
	switch in.format {
	case inputNDJSON:
		return eachNDJSON(in.r, do)
	case inputJSON:
		return eachJSON(in.r, do)
	case inputCSV:
		return eachRow(in.r, csvStrings, do)
	}
	return nil // nothing is there
}

// unpacked undoes gzip and skips the byte order mark of a text.
func unpacked(in io.Reader, text bool) (*bufio.Reader, error) {
	r := bufio.NewReaderSize(in, 64<<10)
	if magic, _ := r.Peek(2); bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		plain, err := gzip.NewReader(r)
		if err != nil {
			return nil, fmt.Errorf("unpack: %w", err)
		}
		r = bufio.NewReaderSize(plain, 64<<10)
	}
	const mark = "\xef\xbb\xbf"
	if start, _ := r.Peek(len(mark)); text && string(start) == mark {
		if _, err := r.Discard(len(mark)); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// detect tells the format by the first character that is not blank; "" if there is none.
func detect(r *bufio.Reader) (string, error) {
	for {
		c, err := r.ReadByte()
		if errors.Is(err, io.EOF) {
			return "", nil
		}
		if err != nil {
			return "", fmt.Errorf("read: %w", err)
		}
		if strings.IndexByte(" \t\r\n", c) >= 0 {
			continue
		}
		if err := r.UnreadByte(); err != nil {
			return "", err
		}
		switch c {
		case '{':
			return inputNDJSON, nil
		case '[':
			return inputJSON, nil
		}
		return inputCSV, nil
	}
}

// eachNDJSON reads lines; blank ones do not count.
func eachNDJSON(r *bufio.Reader, do func([]byte) error) error {
	var long []byte
	for n := 1; ; n++ {
		line, end, err := readLine(r, &long)
		if err != nil {
			return fmt.Errorf("read line %d: %w", n, err)
		}
		if line = bytes.TrimSpace(line); len(line) > 0 {
			if err := do(line); err != nil {
				return err
			}
		}
		if end {
			return nil
		}
	}
}

// readLine returns the next line, valid until the next call, and whether it is the last one. long is memory for lines that
// do not fit into r's.
func readLine(r *bufio.Reader, long *[]byte) (line []byte, last bool, err error) {
	*long = (*long)[:0]
	line, err = r.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) {
		if *long = append(*long, line...); len(*long) > maxLine {
			return nil, false, fmt.Errorf("it has more than %d MiB: is this NDJSON?", maxLine>>20)
		}
		line, err = r.ReadSlice('\n')
	}
	if len(*long) > 0 {
		*long = append(*long, line...)
		line = *long
	}
	if last = errors.Is(err, io.EOF); last {
		err = nil
	}
	return line, last, err
}

// eachJSON reads the elements of an array, one by one, or values one after another.
func eachJSON(r *bufio.Reader, do func([]byte) error) error {
	format, err := detect(r)
	if err != nil || format == "" {
		return err
	}
	dec := json.NewDecoder(r)
	array := format == inputJSON
	if array {
		if _, err := dec.Token(); err != nil {
			return fmt.Errorf("read JSON array: %w", err)
		}
	}
	var value json.RawMessage
	for n := 1; !array || dec.More(); n++ {
		err := dec.Decode(&value)
		if !array && errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read JSON value %d: %w", n, unfinished(err))
		}
		if err := do(value); err != nil {
			return err
		}
	}
	if _, err := dec.Token(); err != nil {
		return fmt.Errorf("read the end of the JSON array: %w", unfinished(err))
	}
	return nil
}

// eachRow reads CSV whose first row names the columns.
func eachRow(r io.Reader, asStrings bool, do func([]byte) error) error {
	in := csv.NewReader(r)
	in.ReuseRecord = true
	header, err := in.Read()
	if errors.Is(err, io.EOF) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read CSV header: %w", err)
	}
	if !utf8.ValidString(strings.Join(header, "")) {
		return errors.New("this is neither NDJSON, nor a JSON array, nor CSV in UTF-8, nor an Avro or Arrow file; of length-delimited Protobuf say --format protobuf")
	}
	names := make([][]byte, len(header))
	for i, h := range header {
		if names[i], err = marshal(h); err != nil {
			return err
		}
	}
	var record []byte
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read CSV: %w", err)
		}
		if record, err = appendRow(record[:0], names, cells, asStrings); err != nil {
			return err
		}
		if err := do(record); err != nil {
			return err
		}
	}
}

func appendRow(dst []byte, names [][]byte, cells []string, asStrings bool) ([]byte, error) {
	for i, c := range cells {
		dst = append(dst, "{,"[min(i, 1)])
		dst = append(dst, names[i]...)
		dst = append(dst, ':')
		var v any = c
		if !asStrings {
			v = csvValue(c)
		}
		switch v := v.(type) {
		case nil:
			dst = append(dst, "null"...)
		case json.RawMessage:
			dst = append(dst, v...)
		default:
			b, err := marshal(v)
			if err != nil {
				return dst, err
			}
			dst = append(dst, b...)
		}
	}
	return append(dst, '}'), nil
}

// batcher joins records to payloads, one on a line, and sends them.
type batcher struct {
	size int
	pace *pace
	way  way
	sent *atomic.Int64 // records

	records int // in buf
	buf     bytes.Buffer
}

func (b *batcher) add(ctx context.Context, record []byte) error {
	if b.records > 0 {
		b.buf.WriteByte('\n')
	}
	if b.size > 1 && bytes.IndexByte(record, '\n') >= 0 { // an element of an array that is printed for people
		if err := json.Compact(&b.buf, record); err != nil {
			return fmt.Errorf("record %d: %w", b.sent.Load()+int64(b.records)+1, err)
		}
	} else {
		b.buf.Write(record)
	}
	if b.records++; b.records < b.size {
		return nil
	}
	return b.flush(ctx)
}

func (b *batcher) flush(ctx context.Context) error {
	if b.records == 0 {
		return nil
	}
	if err := b.payload(ctx, b.buf.Bytes(), b.records); err != nil {
		return err
	}
	b.buf.Reset()
	b.records = 0
	return nil
}

// payload sends some records that are a payload already.
func (b *batcher) payload(ctx context.Context, data []byte, records int) error {
	if err := b.pace.wait(ctx, records); err != nil {
		return err
	}
	if err := b.way.send(ctx, data, records); err != nil {
		return err
	}
	b.sent.Add(int64(records))
	return nil
}

// pace spreads records over time.
type pace struct {
	each time.Duration // for one record; 0: no limit
	next time.Time     // when the next payload may go
}

func newPace(rate float64) *pace {
	if rate == 0 {
		return &pace{}
	}
	return &pace{each: time.Duration(float64(time.Second) / rate), next: time.Now()}
}

// wait waits until n records may go. Time that the server took is made up for by at most a second's worth.
func (p *pace) wait(ctx context.Context, n int) error {
	if p.each == 0 {
		return nil
	}
	now := time.Now()
	if behind := now.Add(-time.Second); p.next.Before(behind) {
		p.next = behind
	}
	d := p.next.Sub(now)
	p.next = p.next.Add(time.Duration(n) * p.each)
	if d <= 0 {
		return nil
	}
	return sleep(ctx, d)
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
