package parquet

import (
	"fmt"

	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/format"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// stretch is the values from..to of a vector. A page has one of each batch that it takes rows from, or a few.
type stretch struct {
	v        *column.Vector
	from, to int
}

// take adds the values from..to of v to the page.
func (c *chunk) take(v *column.Vector, from, to int) {
	c.stretches = append(c.stretches, stretch{v, from, to})
	if c.l.bounded() {
		c.bounds.add(v, from, to)
	}
}

// appendValues appends the page's n values to c.raw: as indices of the dictionary, integers by their differences
// (DELTA_BINARY_PACKED) if that takes half of the bytes at most, text behind its lengths (DELTA_LENGTH_BYTE_ARRAY), all else
// plain.
func (c *chunk) appendValues(n int) (format.Encoding, error) {
	switch {
	case c.dict:
		return format.RLEDictionary, c.appendIndices(n)
	case n == 0 || c.opts.Encodings == EncodingsV1:
	case c.l.phys == format.ByteArray:
		c.lengths = taken
		return format.DeltaLengthByteArray, c.appendText()
	case intWidth(c.l.phys) > 0 && c.differences != declined:
		if err := c.encodeDifferences(); err != nil {
			return 0, fmt.Errorf("encode differences: %w", err)
		}
		if c.differences == open {
			c.differences.decide(2*len(c.encoded) <= n*intWidth(c.l.phys))
		}
		if c.differences == taken {
			c.raw = append(c.raw, c.encoded...)
			return format.DeltaBinaryPacked, nil
		}
	}
	at := len(c.raw)
	for _, s := range c.stretches {
		c.raw = c.l.appendPlain(c.raw, s.v, s.from, s.to)
	}
	if c.l.t.Kind == schema.Boolean {
		c.raw = packBools(c.raw, at)
	}
	return format.Plain, nil
}

// intWidth is how many bytes a plain integer has, 0 for other values.
func intWidth(t format.Type) int {
	switch t {
	case format.Int32:
		return 4
	case format.Int64:
		return 8
	default:
		return 0
	}
}

// encodeDifferences encodes the page's integers into c.encoded.
func (c *chunk) encodeDifferences() (err error) {
	var e delta.BinaryPackedEncoding
	if c.l.phys == format.Int64 {
		c.encoded, err = e.EncodeInt64(c.encoded, c.int64s())
	} else {
		c.encoded, err = e.EncodeInt32(c.encoded, c.int32s())
	}
	return err
}

// int64s are the page's values of a vector with Int64s; those of one stretch stay where they are.
func (c *chunk) int64s() []int64 {
	if len(c.stretches) == 1 {
		s := c.stretches[0]
		return s.v.Int64s[s.from:s.to]
	}
	c.longs = c.longs[:0]
	for _, s := range c.stretches {
		c.longs = append(c.longs, s.v.Int64s[s.from:s.to]...)
	}
	return c.longs
}

// int32s are the page's values of INT32, which short decimals are as well.
func (c *chunk) int32s() []int32 {
	if s := c.stretches[0]; len(c.stretches) == 1 && c.l.t.Kind != schema.Decimal {
		return s.v.Int32s[s.from:s.to]
	}
	c.ints = c.ints[:0]
	for _, s := range c.stretches {
		if c.l.t.Kind != schema.Decimal {
			c.ints = append(c.ints, s.v.Int32s[s.from:s.to]...)
			continue
		}
		for _, x := range s.v.Int64s[s.from:s.to] {
			c.ints = append(c.ints, int32(x))
		}
	}
	return c.ints
}

// appendText appends the lengths of the page's values, by their differences, and the values one after another.
func (c *chunk) appendText() (err error) {
	c.ints = c.ints[:0]
	for _, s := range c.stretches {
		offsets := s.v.Offsets[s.from : s.to+1]
		for i, o := range offsets[1:] {
			c.ints = append(c.ints, o-offsets[i])
		}
	}
	if c.encoded, err = new(delta.BinaryPackedEncoding).EncodeInt32(c.encoded, c.ints); err != nil {
		return fmt.Errorf("encode lengths: %w", err)
	}
	c.raw = append(c.raw, c.encoded...)
	for _, s := range c.stretches {
		c.raw = append(c.raw, s.v.Data[s.v.Offsets[s.from]:s.v.Offsets[s.to]]...)
	}
	return nil
}

// plainSize is how many bytes the values from..to of v have about, in PLAIN encoding.
func (l *leaf) plainSize(v *column.Vector, from, to int) int {
	switch l.phys {
	case format.Boolean, format.Int32, format.Float:
		return 4 * (to - from)
	case format.ByteArray:
		return 4*(to-from) + int(v.Offsets[to]-v.Offsets[from])
	case format.FixedLenByteArray:
		return l.width * (to - from)
	default:
		return 8 * (to - from)
	}
}
