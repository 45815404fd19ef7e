package parquet

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"math/bits"

	"github.com/parquet-go/parquet-go/encoding/rle"
	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// chunk writes one column of one row group.
//
// It first tries to number the chunk's values in a dictionary, which a column of distinct values gives up after
// 1024 of them; the leaf then goes back, and walks the rows again to write pages of indices or of plain values.
type chunk struct {
	*fileWriter
	l      *leaf
	rows   int
	dict   bool
	bounds bounds
	meta   format.ColumnMetaData

	differences choice // of pages of integers, see appendValues
	lengths     choice // taken: some page of text has them in front
	literals    choice // of pages of text, see pack
}

// choice is what the first page of a chunk decides for the others.
type choice int8

const (
	open choice = iota
	taken
	declined
)

func (c *choice) decide(yes bool) {
	if *c = declined; yes {
		*c = taken
	}
}

func (c *chunk) write() error {
	c.meta = format.ColumnMetaData{Type: c.l.phys, PathInSchema: c.l.path, Codec: c.opts.Codec.format()}
	if err := c.tryDictionary(); err != nil {
		return err
	}
	c.meta.DataPageOffset = c.offset
	for left := c.rows; left > 0; {
		n, err := c.writePage(left)
		if err != nil {
			return err
		}
		left -= n
	}
	c.describe()
	return nil
}

func (c Codec) format() format.CompressionCodec {
	switch c {
	case Snappy:
		return format.Snappy
	case Uncompressed:
		return format.Uncompressed
	default:
		return format.Zstd
	}
}

// tryDictionary numbers the chunk's values and writes the dictionary page, if that pays.
func (c *chunk) tryDictionary() error {
	if !dictionaryKind(c.l.t) {
		return nil
	}
	d := c.scratch.dict
	d.reset()
	c.l.save()
	c.dict = true
	for left := c.rows; left > 0 && c.dict; {
		n := c.l.piece(left, c.opts.pageBytes)
		c.levels.reset()
		v, from, to := c.l.walk(n, &c.levels)
		if from < to {
			c.dict = d.add(v, from, to)
		}
		left -= n
	}
	c.l.restore()
	if c.dict = c.dict && d.pays(); !c.dict {
		return nil
	}
	entries := d.vector(c.l.t, &c.scratch.entries)
	if c.l.bounded() {
		c.bounds.add(entries, 0, d.entries)
		c.bounds.minB, c.bounds.maxB = bytes.Clone(c.bounds.minB), bytes.Clone(c.bounds.maxB) // the dictionary is reused
	}
	c.meta.DictionaryPageOffset = c.offset
	c.raw = c.l.appendPlain(c.raw[:0], entries, 0, d.entries)
	return c.emitPage(format.PageHeader{
		Type: format.DictionaryPage,
		DictionaryPageHeader: thrift.New(format.DictionaryPageHeader{
			NumValues: int32(d.entries), Encoding: format.Plain,
		}),
	})
}

// bounded says whether the leaf's own values are what its statistics bound.
func (l *leaf) bounded() bool { return l.stats != nil && l.maxRep == 0 }

// writePage writes the next page, of at most left rows, and returns how many it took.
func (c *chunk) writePage(left int) (rows int, err error) {
	c.levels.reset()
	c.stretches = c.stretches[:0]
	values, size := 0, 0
	most, room := min(left, c.opts.pageRows), c.opts.pageBytes
	for rows < most && max(size, 4*values) < room && c.levels.entries < room {
		n := c.l.piece(most-rows, room)
		v, from, to := c.l.walk(n, &c.levels)
		if from < to && !c.dict {
			c.take(v, from, to)
			size += c.l.plainSize(v, from, to)
		}
		values += to - from
		rows += n
	}
	if c.raw, err = c.appendLevels(c.raw[:0]); err != nil {
		return 0, err
	}
	encoding, err := c.appendValues(values)
	if err != nil {
		return 0, err
	}
	if rows == left && c.literals == open {
		c.literals = declined // there is no other page to gain from looking twice at this one
	}
	c.countNulls()
	nulls := int64(c.levels.entries - values)
	c.meta.NumValues += int64(c.levels.entries)
	c.meta.Statistics.NullCount += nulls
	return rows, c.emitPage(format.PageHeader{
		Type: format.DataPage,
		DataPageHeader: thrift.New(format.DataPageHeader{
			NumValues: int32(c.levels.entries), Encoding: encoding,
			DefinitionLevelEncoding: format.RLE, RepetitionLevelEncoding: format.RLE,
			Statistics: format.Statistics{NullCount: nulls},
		}),
	})
}

// appendIndices appends the page's part of the dictionary indices: their width in bits, then the hybrid encoding.
func (c *chunk) appendIndices(n int) error {
	d := c.scratch.dict
	page := d.indices[d.next : d.next+n]
	d.next += n
	if n == 0 {
		c.raw = append(c.raw, 0)
		return nil
	}
	b, err := new(rle.DictionaryEncoding).EncodeInt32(c.encoded[:0], page)
	if err != nil {
		return fmt.Errorf("encode dictionary indices: %w", err)
	}
	c.encoded = b
	c.raw = append(c.raw, b...)
	return nil
}

// appendLevels appends the page's levels, each kind with its length in front.
func (c *chunk) appendLevels(dst []byte) ([]byte, error) {
	var err error
	if c.l.maxRep > 0 {
		if dst, err = c.appendLevel(dst, c.levels.rep, c.l.maxRep); err != nil {
			return dst, err
		}
	}
	if c.l.maxDef > 0 {
		dst, err = c.appendLevel(dst, c.levels.def, c.l.maxDef)
	}
	return dst, err
}

func (c *chunk) appendLevel(dst, level []byte, highest byte) ([]byte, error) {
	e := rle.Encoding{BitWidth: bits.Len8(highest)}
	b, err := e.EncodeLevels(c.encoded[:0], level)
	if err != nil {
		return dst, fmt.Errorf("encode levels: %w", err)
	}
	c.encoded = b
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(b)))
	return append(dst, b...), nil
}

// countNulls adds the page's nulls to the statistics: rows in which the column, or a struct around it, is null.
func (c *chunk) countNulls() {
	if c.l.stats == nil {
		return
	}
	for i, d := range c.levels.def {
		if d < c.l.nullDef && (c.l.maxRep == 0 || c.levels.rep[i] == 0) {
			c.l.stats.nulls++
		}
	}
}

// worthMatching: matches have to save more than one byte in so many, at level 1.
const worthMatching = 64

// pack compresses the page c.raw. Text is compressed without matches as well if it is the first of several pages, or if matches
// did not make it smaller, where the compressor does not try anything else: the smaller one counts, and where matches save
// next to nothing on the first page, the others do without.
func (c *chunk) pack(data bool) ([]byte, error) {
	if c.opts.Codec != Zstd || !data || c.dict || c.l.phys != format.ByteArray {
		return c.compress(c.opts, c.raw)
	}
	if c.literals == taken {
		return c.compressLiterals(c.raw), nil
	}
	matched, err := c.compress(c.opts, c.raw)
	if err != nil || c.literals == declined && len(matched) < len(c.raw) {
		return matched, err
	}
	literals := c.compressLiterals(c.raw)
	if c.literals == open {
		most := len(matched)
		if c.opts.Level == 1 {
			most += most / worthMatching
		}
		c.literals.decide(len(literals) <= most)
	}
	if len(literals) < len(matched) {
		return literals, nil
	}
	return matched, nil
}

// emitPage compresses c.raw and writes it behind the header h, whose sizes and checksum it fills in.
func (c *chunk) emitPage(h format.PageHeader) error {
	body, err := c.pack(h.Type == format.DataPage)
	if err != nil {
		return err
	}
	if len(c.raw) > math.MaxInt32 || len(body) > math.MaxInt32 {
		return fmt.Errorf("page of %d bytes is over 2 GiB", len(c.raw))
	}
	h.UncompressedPageSize, h.CompressedPageSize = int32(len(c.raw)), int32(len(body))
	h.CRC = int32(crc32.ChecksumIEEE(body))
	header, err := c.encodeHeader(&h)
	if err != nil {
		return err
	}
	c.meta.TotalUncompressedSize += int64(len(header) + len(c.raw))
	c.meta.TotalCompressedSize += int64(len(header) + len(body))
	if err := c.emit(header); err != nil {
		return err
	}
	return c.emit(body)
}

// describe completes the chunk's metadata and hands its bounds to the file's statistics.
func (c *chunk) describe() {
	c.meta.Encoding = []format.Encoding{format.RLE, format.Plain}
	if c.dict {
		c.meta.Encoding = append(c.meta.Encoding, format.RLEDictionary)
	}
	if c.differences == taken {
		c.meta.Encoding = append(c.meta.Encoding, format.DeltaBinaryPacked)
	}
	if c.lengths == taken {
		c.meta.Encoding = append(c.meta.Encoding, format.DeltaLengthByteArray)
	}
	if !c.l.bounded() {
		return
	}
	c.meta.Statistics.MinValue, c.meta.Statistics.MaxValue = c.bounds.encode(c.l.t, c.l.width)
	c.l.stats.merge(c.l.t, &c.bounds)
}
