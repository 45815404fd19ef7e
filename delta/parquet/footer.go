package parquet

import (
	"encoding/binary"
	"fmt"
	"io"

	"github.com/parquet-go/parquet-go/format"
)

// maxFooter bounds the footer that is read into memory, in bytes.
const maxFooter = 256 << 20

// element is a node of the file's schema as stored: a flat list in depth-first order.
type element struct {
	name        string
	leaf        bool
	phys        format.Type
	width       int // of FIXED_LEN_BYTE_ARRAY
	repetition  format.FieldRepetitionType
	children    int
	converted   int // deprecated.ConvertedType, -1 for none
	scale       int
	precision   int
	logical     int16 // field id of the LogicalType union, 0 for none
	bits        int   // of a logical INTEGER
	signed      bool
	utc         bool // of a logical TIMESTAMP
	unit        int16
	hasTimeUnit bool
	fieldID     int64
	hasFieldID  bool
}

// columnMeta is what reading a column chunk needs of ColumnMetaData.
type columnMeta struct {
	phys         format.Type
	codec        format.CompressionCodec
	values       int64
	start, size  int64 // bytes in the file, headers included
	uncompressed int64
	external     bool // in another file, or encrypted
}

type groupMeta struct {
	columns []columnMeta
	rows    int64
}

type fileMeta struct {
	elements []element
	groups   []groupMeta
	rows     int64
}

// readFooter reads and decodes the file's metadata.
func readFooter(r io.ReaderAt, size int64) (*fileMeta, error) {
	var tail [8]byte
	if size < 12 {
		return nil, fmt.Errorf("%d bytes are too few: %w", size, ErrCorrupt)
	}
	if _, err := r.ReadAt(tail[:], size-8); err != nil {
		return nil, fmt.Errorf("read footer: %w", err)
	}
	n := int64(binary.LittleEndian.Uint32(tail[:]))
	switch {
	case string(tail[4:]) == "PARE":
		return nil, fmt.Errorf("the footer is encrypted: %w", ErrCorrupt)
	case string(tail[4:]) != magic:
		return nil, fmt.Errorf("no magic number at the end: %w", ErrCorrupt)
	case n > size-12 || n > maxFooter:
		return nil, fmt.Errorf("footer of %d bytes in a file of %d: %w", n, size, ErrCorrupt)
	}
	b := make([]byte, n)
	if _, err := r.ReadAt(b, size-8-n); err != nil {
		return nil, fmt.Errorf("read footer: %w", err)
	}
	return decodeFooter(b)
}

func decodeFooter(b []byte) (*fileMeta, error) {
	m := &fileMeta{}
	r := &compactReader{b: b}
	r.structure(func(id int16, typ byte) {
		switch {
		case id == 2 && typ == ctList:
			r.list(func(byte) { m.elements = append(m.elements, r.element()) })
		case id == 3 && typ == ctI64:
			m.rows = r.int()
		case id == 4 && typ == ctList:
			r.list(func(byte) { m.groups = append(m.groups, r.group()) })
		default:
			r.skip(typ)
		}
	})
	return m, r.err
}

func (r *compactReader) element() element {
	e := element{converted: -1}
	r.structure(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == ctI32:
			e.leaf, e.phys = true, format.Type(r.count())
		case id == 2 && typ == ctI32:
			e.width = r.count()
		case id == 3 && typ == ctI32:
			e.repetition = format.FieldRepetitionType(r.count())
		case id == 4 && typ == ctBinary:
			e.name = string(r.bytes())
		case id == 5 && typ == ctI32:
			e.children = r.count()
		case id == 6 && typ == ctI32:
			e.converted = r.count()
		case id == 7 && typ == ctI32:
			e.scale = r.count()
		case id == 8 && typ == ctI32:
			e.precision = r.count()
		case id == 9 && typ == ctI32:
			e.fieldID, e.hasFieldID = r.int(), true
		case id == 10 && typ == ctStruct:
			r.logical(&e)
		default:
			r.skip(typ)
		}
	})
	if e.children > 0 {
		e.leaf = false
	}
	return e
}

// logical reads the LogicalType union.
func (r *compactReader) logical(e *element) {
	r.structure(func(id int16, typ byte) {
		if typ != ctStruct {
			r.skip(typ)
			return
		}
		e.logical = id
		r.structure(func(field int16, typ byte) { r.logicalField(e, field, typ) })
	})
}

// Field ids of the LogicalType union.
const (
	logicalMap       = 2
	logicalList      = 3
	logicalDecimal   = 5
	logicalDate      = 6
	logicalTimestamp = 8
	logicalInteger   = 10
)

func (r *compactReader) logicalField(e *element, field int16, typ byte) {
	switch {
	case e.logical == logicalDecimal && field == 1 && typ == ctI32:
		e.scale = r.count()
	case e.logical == logicalDecimal && field == 2 && typ == ctI32:
		e.precision = r.count()
	case e.logical == logicalInteger && field == 1 && typ == ctByte:
		e.bits = int(r.byte())
	case e.logical == logicalInteger && field == 2 && typ <= ctFalse:
		e.signed = typ == ctTrue
	case e.logical == logicalTimestamp && field == 1 && typ <= ctFalse:
		e.utc = typ == ctTrue
	case e.logical == logicalTimestamp && field == 2 && typ == ctStruct:
		r.structure(func(unit int16, typ byte) {
			e.unit, e.hasTimeUnit = unit, true
			r.skip(typ)
		})
	default:
		r.skip(typ)
	}
}

func (r *compactReader) group() groupMeta {
	var g groupMeta
	r.structure(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == ctList:
			r.list(func(byte) { g.columns = append(g.columns, r.column()) })
		case id == 3 && typ == ctI64:
			g.rows = r.int()
		default:
			r.skip(typ)
		}
	})
	return g
}

func (r *compactReader) column() columnMeta {
	var c columnMeta
	r.structure(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == ctBinary: // file_path
			c.external = len(r.bytes()) > 0
		case id == 3 && typ == ctStruct:
			r.columnMeta(&c)
		case id == 8 && typ == ctStruct:
			c.external = true
			r.skip(typ)
		default:
			r.skip(typ)
		}
	})
	return c
}

func (r *compactReader) columnMeta(c *columnMeta) {
	dictionary := int64(0)
	r.structure(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == ctI32:
			c.phys = format.Type(r.count())
		case id == 4 && typ == ctI32:
			c.codec = format.CompressionCodec(r.count())
		case id == 5 && typ == ctI64:
			c.values = r.int()
		case id == 6 && typ == ctI64:
			c.uncompressed = r.int()
		case id == 7 && typ == ctI64:
			c.size = r.int()
		case id == 9 && typ == ctI64:
			c.start = r.int()
		case id == 11 && typ == ctI64:
			dictionary = r.int()
		default:
			r.skip(typ)
		}
	})
	if dictionary > 0 && dictionary < c.start {
		c.start = dictionary
	}
}

// pageHeader is what reading a page needs of PageHeader.
type pageHeader struct {
	typ                      format.PageType
	uncompressed, compressed int
	values                   int
	encoding                 format.Encoding
	defEncoding, repEncoding format.Encoding
	defBytes, repBytes       int  // V2
	plain                    bool // V2: the values are not compressed
}

// decodePageHeader returns the header at the start of b and its length.
func decodePageHeader(b []byte) (h pageHeader, n int, err error) {
	r := &compactReader{b: b}
	r.structure(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == ctI32:
			h.typ = format.PageType(r.count())
		case id == 2 && typ == ctI32:
			h.uncompressed = r.count()
		case id == 3 && typ == ctI32:
			h.compressed = r.count()
		case (id == 5 || id == 7) && typ == ctStruct:
			r.pageV1(&h)
		case id == 8 && typ == ctStruct:
			r.pageV2(&h)
		default:
			r.skip(typ)
		}
	})
	return h, len(b) - len(r.b), r.err
}

// pageV1 reads DataPageHeader or DictionaryPageHeader, which begin alike.
func (r *compactReader) pageV1(h *pageHeader) {
	r.structure(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == ctI32:
			h.values = r.count()
		case id == 2 && typ == ctI32:
			h.encoding = format.Encoding(r.count())
		case id == 3 && typ == ctI32:
			h.defEncoding = format.Encoding(r.count())
		case id == 4 && typ == ctI32:
			h.repEncoding = format.Encoding(r.count())
		default:
			r.skip(typ)
		}
	})
}

func (r *compactReader) pageV2(h *pageHeader) {
	h.defEncoding, h.repEncoding = format.RLE, format.RLE
	r.structure(func(id int16, typ byte) {
		switch {
		case id == 1 && typ == ctI32:
			h.values = r.count()
		case id == 4 && typ == ctI32:
			h.encoding = format.Encoding(r.count())
		case id == 5 && typ == ctI32:
			h.defBytes = r.count()
		case id == 6 && typ == ctI32:
			h.repBytes = r.count()
		case id == 7 && typ <= ctFalse:
			h.plain = typ == ctFalse
		default:
			r.skip(typ)
		}
	})
}
