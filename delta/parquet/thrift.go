package parquet

import (
	"encoding/binary"
	"fmt"
	"math"
)

// compactReader reads the Thrift compact protocol
// (https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md) from memory.
//
// The first fault stays in err and everything reads as zero from then on. Nothing is allocated by a length that the
// input claims: strings alias the input, and lists are handed out element by element.
type compactReader struct {
	b     []byte
	depth int
	err   error
}

// Types of the compact protocol.
const (
	ctTrue   = 1
	ctFalse  = 2
	ctByte   = 3
	ctI16    = 4
	ctI32    = 5
	ctI64    = 6
	ctDouble = 7
	ctBinary = 8
	ctList   = 9
	ctSet    = 10
	ctMap    = 11
	ctStruct = 12

	maxThriftDepth = 16
)

func (r *compactReader) fail(what string) {
	if r.err == nil {
		r.err = fmt.Errorf("thrift: %s: %w", what, ErrCorrupt)
	}
	r.b = nil
}

func (r *compactReader) byte() byte {
	if len(r.b) == 0 {
		r.fail("unexpected end")
		return 0
	}
	x := r.b[0]
	r.b = r.b[1:]
	return x
}

func (r *compactReader) uvarint() uint64 {
	x, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.fail("bad varint")
		return 0
	}
	r.b = r.b[n:]
	return x
}

// int reads a zigzag integer.
func (r *compactReader) int() int64 {
	x := r.uvarint()
	return int64(x>>1) ^ -int64(x&1)
}

// count reads an integer that counts or measures something and must fit 0..2³¹-1.
func (r *compactReader) count() int {
	x := r.int()
	if x < 0 || x > math.MaxInt32 {
		r.fail("count out of range")
		return 0
	}
	return int(x)
}

// bytes reads a string, which aliases the input.
func (r *compactReader) bytes() []byte {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.fail("string longer than its input")
		return nil
	}
	x := r.b[:n:n]
	r.b = r.b[n:]
	return x
}

// structure reads a struct: field is called for each field and must consume a value of type typ.
func (r *compactReader) structure(field func(id int16, typ byte)) {
	if r.depth++; r.depth > maxThriftDepth {
		r.fail("nested too deep")
	}
	id := int16(0)
	for r.err == nil {
		h := r.byte()
		if h&0x0F == 0 {
			break
		}
		if delta := h >> 4; delta != 0 {
			id += int16(delta)
		} else {
			id = int16(r.int())
		}
		field(id, h&0x0F)
	}
	r.depth--
}

// list reads a list or set: elem is called for each element and must consume a value of type typ.
func (r *compactReader) list(elem func(typ byte)) {
	h := r.byte()
	n := uint64(h >> 4)
	if n == 15 {
		n = r.uvarint()
	}
	if n > uint64(len(r.b)) { // every element takes a byte at least
		r.fail("list longer than its input")
		return
	}
	for ; n > 0 && r.err == nil; n-- {
		elem(h & 0x0F)
	}
}

// skip consumes a value of type typ.
func (r *compactReader) skip(typ byte) {
	switch typ {
	case ctTrue, ctFalse:
	case ctByte:
		r.byte()
	case ctI16, ctI32, ctI64:
		r.uvarint()
	case ctDouble:
		if len(r.b) < 8 {
			r.fail("unexpected end")
			return
		}
		r.b = r.b[8:]
	case ctBinary:
		r.bytes()
	case ctList, ctSet:
		r.nested(func() { r.list(r.skipElement) })
	case ctMap:
		r.nested(r.skipMap)
	case ctStruct:
		r.structure(func(_ int16, typ byte) { r.skip(typ) })
	default:
		r.fail("unknown type")
	}
}

func (r *compactReader) nested(read func()) {
	if r.depth++; r.depth > maxThriftDepth {
		r.fail("nested too deep")
	}
	read()
	r.depth--
}

// skipElement is skip for list elements, where a bool takes a byte.
func (r *compactReader) skipElement(typ byte) {
	if typ == ctTrue || typ == ctFalse {
		typ = ctByte
	}
	r.skip(typ)
}

func (r *compactReader) skipMap() {
	n := r.uvarint()
	if n == 0 {
		return
	}
	kv := r.byte()
	if n > uint64(len(r.b)) {
		r.fail("map longer than its input")
	}
	for ; n > 0 && r.err == nil; n-- {
		r.skipElement(kv >> 4)
		r.skipElement(kv & 0x0F)
	}
}
