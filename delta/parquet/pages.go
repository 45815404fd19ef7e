package parquet

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"slices"
	"sync"

	"github.com/parquet-go/parquet-go/format"

	"github.com/weir-dev/weir/delta/column"
)

// Bounds of the reader.
const (
	maxPage         = 256 << 20 // bytes of a page, before and after decompression
	maxHeader       = 16 << 20  // bytes of a page header
	maxBatchEntries = 1 << 26   // entries of one column in one batch: rows, or elements of its lists
	readAhead       = 32 << 10
)

// oldDictionary is PLAIN_DICTIONARY, which old writers put on dictionaries and their indices alike.
const oldDictionary = format.Encoding(2)

// ErrUnsupported is wrapped by errors about valid files that need what this package does not do.
var ErrUnsupported = errors.New("not supported")

// pageReader reads the entries of one column chunk, page by page.
type pageReader struct {
	n              *fileNode
	maxDef, maxRep byte
	in             *bufio.Reader
	meta           columnMeta
	left           int64 // bytes of the chunk not read yet
	packed, body   []byte

	entries  int // of the current page, not taken yet
	def, rep hybrid
	vals     values // of the current page, unless it has indices
	dict     values
	dictBody []byte
	indexed  bool
	index    hybrid
	at       int // next of vals
	scratch  []int32
	levels   [2][]byte // memory for the definition and repetition levels of a batch
	ahead    int32     // a repetition level that was read and not used; -1 for none
}

func newPageReader(r io.ReaderAt, size int64, n *fileNode, m columnMeta) (*pageReader, error) {
	switch {
	case m.external:
		return nil, fmt.Errorf("column %q lies in another file or is encrypted: %w", n.name, ErrUnsupported)
	case m.start < 4 || m.size < 0 || m.start > size || m.size > size-m.start || m.phys != n.phys.phys:
		return nil, fmt.Errorf("column %q at %d, %d bytes of %d: %w", n.name, m.start, m.size, size, ErrCorrupt)
	}
	p := pageReaders.Get().(*pageReader) //nolint:forcetypeassert // New makes nothing else
	*p = pageReader{
		n: n, maxDef: n.def, maxRep: n.rep, in: p.in, meta: m, left: m.size, ahead: -1,
		packed: p.packed, body: p.body, dictBody: p.dictBody, vals: p.vals, dict: p.dict, scratch: p.scratch, levels: p.levels,
	}
	p.vals.reset()
	p.dict.reset()
	in := io.NewSectionReader(r, m.start, m.size)
	if size := int(min(m.size+16, readAhead)); p.in == nil || p.in.Size() < size {
		p.in = bufio.NewReaderSize(in, size)
	} else {
		p.in.Reset(in)
	}
	return p, nil
}

// pageReaders shares the memory of readers between chunks: a page is decompressed into what a page before it left. It holds
// no state.
var pageReaders = sync.Pool{New: func() any { return new(pageReader) }}

// release gives the memory back, unless an unusual chunk made it large. Nothing that was read is in it: values were copied.
func (p *pageReader) release() {
	p.in.Reset(nil)
	p.n, p.vals.data, p.dict.data = nil, nil, nil
	p.def, p.rep, p.index = hybrid{}, hybrid{}, hybrid{}
	if p.memory() <= maxKept {
		pageReaders.Put(p)
	}
}

// memory is how many bytes the reader holds.
func (p *pageReader) memory() int {
	return p.in.Size() + cap(p.packed) + cap(p.body) + cap(p.dictBody) + 4*cap(p.scratch) +
		cap(p.levels[0]) + cap(p.levels[1]) + p.vals.memory() + p.dict.memory()
}

// header reads the next page header, however long it is.
func (p *pageReader) header() (pageHeader, error) {
	for size := p.in.Size(); ; size *= 8 {
		b, err := p.in.Peek(int(min(int64(size), p.left)))
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return pageHeader{}, fmt.Errorf("read page header: %w", err)
		}
		h, n, err := decodePageHeader(b)
		if err == nil {
			p.left -= int64(n)
			_, err = p.in.Discard(n)
			return h, err
		}
		if int64(len(b)) == p.left || size > maxHeader {
			return pageHeader{}, fmt.Errorf("page header: %w", err)
		}
		p.in = bufio.NewReaderSize(p.in, size*8)
	}
}

// turn makes the next data page current. io.EOF means that the chunk has no more.
func (p *pageReader) turn() error {
	for p.left > 0 {
		h, err := p.header()
		if err != nil {
			return err
		}
		if int64(h.compressed) > p.left || h.compressed > maxPage || h.uncompressed > maxPage {
			return fmt.Errorf("page of %d bytes (%d uncompressed), %d left: %w", h.compressed, h.uncompressed, p.left, ErrCorrupt)
		}
		p.packed = slices.Grow(p.packed[:0], h.compressed)[:h.compressed]
		if _, err := io.ReadFull(p.in, p.packed); err != nil {
			return fmt.Errorf("read page: %w", err)
		}
		p.left -= int64(h.compressed)
		switch h.typ {
		case format.DataPage:
			return p.pageV1(h)
		case format.DataPageV2:
			return p.pageV2(h)
		case format.DictionaryPage:
			if err := p.dictionary(h); err != nil {
				return err
			}
		default: // an index page
		}
	}
	return io.EOF
}

func (p *pageReader) dictionary(h pageHeader) error {
	b, err := decompress(p.dictBody, p.meta.codec, p.packed, h.uncompressed)
	if err != nil {
		return err
	}
	p.dictBody = b
	if h.encoding != format.Plain && h.encoding != oldDictionary {
		return fmt.Errorf("dictionary in %s: %w", h.encoding, ErrUnsupported)
	}
	return p.dict.decode(p.n.phys, format.Plain, b, h.values)
}

func (p *pageReader) pageV1(h pageHeader) error {
	b, err := decompress(p.body, p.meta.codec, p.packed, h.uncompressed)
	if err != nil {
		return err
	}
	p.body = b
	if p.rep, b, err = levelsV1(b, p.maxRep, h.repEncoding, h.values); err != nil {
		return err
	}
	if p.def, b, err = levelsV1(b, p.maxDef, h.defEncoding, h.values); err != nil {
		return err
	}
	return p.begin(h, b)
}

// levelsV1 cuts the levels off b.
func levelsV1(b []byte, highest byte, e format.Encoding, values int) (h hybrid, rest []byte, err error) {
	if highest == 0 {
		return h, b, nil
	}
	width := uint(bits.Len8(highest))
	if e == format.BitPacked {
		return newBitPacked(b, width, values)
	}
	if len(b) < 4 {
		return h, nil, fmt.Errorf("levels end early: %w", ErrCorrupt)
	}
	n := int(uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24)
	if n > len(b)-4 {
		return h, nil, fmt.Errorf("levels end early: %w", ErrCorrupt)
	}
	h, err = newHybrid(b[4:4+n], width)
	return h, b[4+n:], err
}

func (p *pageReader) pageV2(h pageHeader) error {
	levels := h.repBytes + h.defBytes
	if levels > len(p.packed) || levels > h.uncompressed {
		return fmt.Errorf("levels of %d bytes in a page of %d: %w", levels, len(p.packed), ErrCorrupt)
	}
	codec := p.meta.codec
	if h.plain {
		codec = format.Uncompressed
	}
	b := p.packed[levels:]
	if len(b) > 0 || h.uncompressed > levels {
		var err error
		if p.body, err = decompress(p.body, codec, b, h.uncompressed-levels); err != nil {
			return err
		}
		b = p.body
	}
	var err error
	if p.rep, err = newHybrid(p.packed[:h.repBytes], uint(bits.Len8(p.maxRep))); err != nil {
		return err
	}
	if p.def, err = newHybrid(p.packed[h.repBytes:levels], uint(bits.Len8(p.maxDef))); err != nil {
		return err
	}
	return p.begin(h, b)
}

// begin sets up the values of a data page.
func (p *pageReader) begin(h pageHeader, b []byte) error {
	p.entries, p.at = h.values, 0
	p.indexed = h.encoding == format.RLEDictionary || h.encoding == oldDictionary
	if !p.indexed {
		return p.vals.decode(p.n.phys, h.encoding, b, h.values)
	}
	p.index = hybrid{}
	if len(b) > 0 {
		var err error
		p.index, err = newHybrid(b[1:], uint(b[0]))
		return err
	}
	return nil
}

// take reads the entries of the next rows rows: it appends levels to def and rep, and the values to v.
func (p *pageReader) take(rows int, def, rep []byte, v *column.Vector, add appendFunc) (_, _ []byte, err error) {
	for {
		if p.entries == 0 {
			if rows == 0 && p.maxRep == 0 {
				return def, rep, nil
			}
			if err := p.turn(); errors.Is(err, io.EOF) && rows == 0 {
				return def, rep, nil // the last row ends with the chunk
			} else if err != nil {
				return def, rep, noEOF(err)
			}
			continue
		}
		from := len(def)
		var done bool
		if def, rep, rows, done, err = p.takeLevels(rows, def, rep); err != nil {
			return def, rep, err
		}
		if err := p.takeValues(def[from:], v, add); err != nil {
			return def, rep, err
		}
		if done {
			return def, rep, nil
		}
		if len(def) > maxBatchEntries {
			return def, rep, fmt.Errorf("more than %d entries: %w", maxBatchEntries, ErrUnsupported)
		}
	}
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("column chunk ends early: %w", ErrCorrupt)
	}
	return err
}

// takeLevels takes a stretch of the page's entries that belong to the next rows rows; done says that the entry after
// them opens a further row.
func (p *pageReader) takeLevels(rows int, def, rep []byte) (_, _ []byte, left int, done bool, err error) {
	const stretch = 4096
	var n int
	if p.maxRep == 0 {
		n = min(rows, p.entries, stretch)
		rows -= n
		done = rows == 0
	} else if n, rows, done, rep, err = p.takeRepetition(rows, rep, stretch); err != nil {
		return def, rep, rows, done, err
	}
	p.entries -= n
	if p.maxDef == 0 {
		return appendRun(def, 0, n), rep, rows, done, nil
	}
	def, err = p.takeDefinition(n, def)
	return def, rep, rows, done, err
}

// takeDefinition reads n definition levels. Most are runs: of a column without nulls, or of nothing else.
func (p *pageReader) takeDefinition(n int, def []byte) ([]byte, error) {
	for n > 0 {
		level, run, err := p.def.repeat(n)
		if err != nil {
			return def, err
		}
		if level > int32(p.maxDef) {
			return def, fmt.Errorf("definition level %d of %d: %w", level, p.maxDef, ErrCorrupt)
		}
		if n -= run; run > 0 {
			def = appendRun(def, byte(level), run)
			continue
		}
		return p.unpackDefinition(n, def)
	}
	return def, nil
}

func (p *pageReader) unpackDefinition(n int, def []byte) ([]byte, error) {
	p.scratch = slices.Grow(p.scratch[:0], n)[:n]
	if err := p.def.next(p.scratch); err != nil {
		return def, err
	}
	for _, d := range p.scratch {
		if d > int32(p.maxDef) {
			return def, fmt.Errorf("definition level %d of %d: %w", d, p.maxDef, ErrCorrupt)
		}
		def = append(def, byte(d))
	}
	return def, nil
}

// takeRepetition reads repetition levels up to the entry that opens a row too many, which it keeps in ahead.
func (p *pageReader) takeRepetition(rows int, rep []byte, stretch int) (n, left int, done bool, _ []byte, err error) {
	var one [1]int32
	for most := min(p.entries, stretch); n < most; {
		if p.ahead < 0 && rows > 0 { // rows of at most one entry each, if it is a run of zeros
			run, err := p.rep.zeros(min(rows, most-n))
			if err != nil {
				return n, rows, false, rep, err
			}
			if run > 0 {
				rep, n, rows = appendRun(rep, 0, run), n+run, rows-run
				continue
			}
		}
		if one[0] = p.ahead; one[0] < 0 {
			if err := p.rep.next(one[:]); err != nil {
				return n, rows, false, rep, err
			}
		}
		p.ahead = -1
		if one[0] > int32(p.maxRep) {
			return n, rows, false, rep, fmt.Errorf("repetition level %d of %d: %w", one[0], p.maxRep, ErrCorrupt)
		}
		if one[0] == 0 {
			if rows == 0 {
				p.ahead = 0
				return n, rows, true, rep, nil
			}
			rows--
		}
		rep = append(rep, byte(one[0]))
		n++
	}
	return n, rows, false, rep, nil
}

// takeValues appends the values of the entries whose levels are def.
func (p *pageReader) takeValues(def []byte, v *column.Vector, add appendFunc) error {
	n := bytes.Count(def, []byte{p.maxDef})
	if n == 0 {
		return nil
	}
	if !p.indexed {
		if n > p.vals.n-p.at {
			return fmt.Errorf("page has too few values: %w", ErrCorrupt)
		}
		s := span{from: p.at, n: n}
		p.at += n
		return add(v, &p.vals, s)
	}
	p.scratch = slices.Grow(p.scratch[:0], n)[:n]
	if err := p.index.next(p.scratch); err != nil {
		return err
	}
	for _, i := range p.scratch {
		if i < 0 || int(i) >= p.dict.n {
			return fmt.Errorf("dictionary index %d of %d: %w", i, p.dict.n, ErrCorrupt)
		}
	}
	return add(v, &p.dict, span{indices: p.scratch})
}
