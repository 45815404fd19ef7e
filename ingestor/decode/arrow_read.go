package decode

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"

	"github.com/weir-dev/weir/delta/column"
)

// arrowReader reads Arrow IPC streams: a schema, then dictionaries and record batches. Nothing that a stream says is
// believed: positions are checked against the message, and what the columns, the dictionaries and the unpacked buffers take
// is counted against a budget before it is taken.
//
// Format: "Serialization and Interprocess Communication (IPC)" of the Arrow columnar format, Message.fbs and Schema.fbs.
type arrowReader struct {
	meta   []byte // of the schema message that fields were read from
	fields []*arrowField
	dicts  map[int64]*arrowValues
	owners map[int64]*arrowField

	left  int    // of the budget of the payload, in bytes
	arena []byte // unpacked buffers of a record batch
	picks []int32
	pool  []arrowArray // of the arrays of a record batch
	tops  []*arrowArray
	zstd  *zstd.Decoder
	lz4   *lz4.Reader
	plain bytes.Reader

	plan   *arrowPlan
	planOf *plan
}

// arrowValues are the values of a dictionary.
type arrowValues struct {
	vec       *column.Vector
	positions []int32
}

// arrowArray is an array of a record batch.
type arrowArray struct {
	field    *arrowField
	length   int
	nulls    bool
	valid    []byte // bitmap
	data     []byte
	offsets  []byte
	buffers  [][]byte // of views
	children []*arrowArray
}

// arrowBatch is a record batch, or the values of a dictionary.
type arrowBatch struct {
	rows    int
	body    []byte
	flat    *flat
	nodes   int // position of the next node
	node    int
	nodeN   int
	bufAt   int
	buf     int
	bufN    int
	viewAt  int
	view    int
	viewN   int
	codec   int // -1: none
	reader  *arrowReader
	failure error
}

var (
	errArrowCut    = errors.New("it ends in the middle of a message")
	errArrowBody   = errors.New("a record batch does not hold what it says")
	errArrowBudget = errors.New("budget")
)

// The headers of a message, in Message.fbs.
const (
	arrowSchemaHeader = 1
	arrowDictHeader   = 2
	arrowBatchHeader  = 3
)

const maxArrowMeta = 8 << 20

// message cuts the next message off a stream: its metadata and its body. It is io.EOF at the end of the stream.
func arrowMessage(b []byte) (meta, body, rest []byte, err error) {
	if len(b) == 0 {
		return nil, nil, nil, io.EOF
	}
	if len(b) < 4 {
		return nil, nil, nil, errArrowCut
	}
	n := binary.LittleEndian.Uint32(b)
	b = b[4:]
	if n == 0xffffffff { // the mark of a continuation, which old writers leave out
		if len(b) < 4 {
			return nil, nil, nil, errArrowCut
		}
		n = binary.LittleEndian.Uint32(b)
		b = b[4:]
	}
	if n == 0 {
		return nil, nil, nil, io.EOF
	}
	if n > maxArrowMeta || int(n) > len(b) {
		return nil, nil, nil, errArrowCut
	}
	meta, b = b[:n], b[n:]
	f := &flat{b: meta}
	size := f.longAt(f.root(), 3)
	if f.bad || size < 0 || size > int64(len(b)) {
		return nil, nil, nil, errArrowCut
	}
	return meta, b[:size], b[size:], nil
}

// use takes the schema of a stream over.
func (a *arrowReader) use(meta []byte) error {
	if a.fields != nil && bytes.Equal(meta, a.meta) {
		for _, d := range a.dicts {
			d.vec.Reset()
			d.positions = nil
		}
		return nil
	}
	f := &flat{b: meta}
	root := f.root()
	if f.byteAt(root, 1) != arrowSchemaHeader || f.bad {
		return errors.New("it does not begin with a schema")
	}
	fields, err := arrowSchemaOf(f, f.tableAt(root, 2))
	if err != nil {
		return err
	}
	a.meta, a.fields, a.planOf = bytes.Clone(meta), fields, nil
	a.pool = make([]arrowArray, 0, countFields(fields))
	a.dicts, a.owners = map[int64]*arrowValues{}, map[int64]*arrowField{}
	return a.own(fields)
}

func countFields(fields []*arrowField) int {
	n := len(fields)
	for _, f := range fields {
		n += countFields(f.children)
	}
	return n
}

// own notes which dictionaries there are.
func (a *arrowReader) own(fields []*arrowField) error {
	for _, f := range fields {
		if err := a.own(f.children); err != nil {
			return err
		}
		if f.dict == nil || f.natural == nil {
			continue
		}
		if other := a.owners[f.dict.id]; other != nil && (other.kind != f.kind || other.width != f.width || other.unit != f.unit) {
			return fmt.Errorf("dictionary %d has two types", f.dict.id)
		}
		if a.owners[f.dict.id] == nil {
			values := *f
			values.dict = nil
			a.owners[f.dict.id] = &values
			a.dicts[f.dict.id] = &arrowValues{vec: column.New(f.natural)}
		}
	}
	return nil
}

// dictionary reads a dictionary batch.
func (a *arrowReader) dictionary(f *flat, t table, body []byte) error {
	id := f.longAt(t, 0)
	owner, d := a.owners[id], a.dicts[id]
	if f.bad || owner == nil {
		return fmt.Errorf("it brings dictionary %d, which no column has", id)
	}
	if f.byteAt(t, 2) == 0 { // no delta: all values anew
		d.vec.Reset()
	}
	batch, err := a.batch(f, f.tableAt(t, 1), body)
	if err != nil {
		return err
	}
	arr := batch.array(owner)
	if batch.failure != nil {
		return batch.failure
	}
	p := arrowPut{reader: a}
	p.put(d.vec, arr, slots{n: arr.length})
	d.positions = nil
	if d.vec.Valid != nil {
		d.positions = d.vec.Positions(nil)
	}
	if len(p.bad) > 0 {
		return errors.New("a dictionary holds " + p.bad[0].what)
	}
	return p.err
}

// batch opens a record batch.
func (a *arrowReader) batch(f *flat, t table, body []byte) (*arrowBatch, error) {
	rows := f.longAt(t, 0)
	b := &arrowBatch{body: body, flat: f, codec: -1, reader: a}
	b.nodes, b.nodeN = f.vectorAt(t, 1, 16)
	b.bufAt, b.bufN = f.vectorAt(t, 2, 16)
	b.viewAt, b.viewN = f.vectorAt(t, 4, 8)
	if c := f.tableAt(t, 3); c != 0 {
		b.codec = int(f.byteAt(c, 0))
		if f.byteAt(c, 1) != 0 || b.codec > 1 {
			return nil, errors.New("its buffers are compressed in a way that is not known: use lz4 or zstd")
		}
	}
	if f.bad || rows < 0 || rows > int64(a.left) {
		if !f.bad && rows >= 0 {
			return nil, errArrowBudget
		}
		return nil, errArrowBody
	}
	b.rows = int(rows)
	a.arena, a.picks, a.pool = a.arena[:0], a.picks[:0], a.pool[:0]
	return b, nil
}

func (b *arrowBatch) fail(err error) {
	if b.failure == nil {
		b.failure = err
	}
}

// newArray takes an array from the pool, which is as large as the schema has fields.
func (a *arrowReader) newArray(f *arrowField) *arrowArray {
	if len(a.pool) == cap(a.pool) {
		return &arrowArray{field: f}
	}
	a.pool = a.pool[:len(a.pool)+1]
	arr := &a.pool[len(a.pool)-1]
	*arr = arrowArray{field: f, children: arr.children[:0], buffers: arr.buffers[:0]}
	return arr
}

// array reads the next array, which is of field f.
func (b *arrowBatch) array(f *arrowField) *arrowArray {
	arr := b.reader.newArray(f)
	if b.failure != nil {
		return arr
	}
	if b.node >= b.nodeN {
		b.fail(errArrowBody)
		return arr
	}
	length, nulls := b.flat.i64(b.nodes+16*b.node), b.flat.i64(b.nodes+16*b.node+8)
	b.node++
	if b.flat.bad || length < 0 || nulls < 0 || length > 1<<31-1 || length > int64(b.reader.left) && f.kind != arrowNull {
		b.fail(errArrowBody)
		return arr
	}
	arr.length = int(length)
	if f.kind == arrowNull && f.dict == nil {
		return arr
	}
	arr.valid = b.buffer()
	arr.nulls = nulls > 0
	if arr.nulls && len(arr.valid) < (arr.length+7)/8 {
		b.fail(errArrowBody)
	}
	b.values(arr, f)
	return arr
}

// values reads the buffers behind the validity, and the children.
func (b *arrowBatch) values(arr *arrowArray, f *arrowField) {
	need := 0
	switch {
	case f.dict != nil:
		arr.data = b.buffer()
		need = arr.length * intWidths[f.dict.index-arrowInt8]
	case f.kind == arrowBool:
		arr.data = b.buffer()
		need = (arr.length + 7) / 8
	case f.kind == arrowUtf8 || f.kind == arrowBinary:
		arr.offsets, arr.data = b.offsets(arr.length, 4), b.buffer()
	case f.kind == arrowLargeUtf8 || f.kind == arrowLargeBinary:
		arr.offsets, arr.data = b.offsets(arr.length, 8), b.buffer()
	case f.kind == arrowUtf8View || f.kind == arrowBinaryView:
		arr.data = b.buffer()
		need = 16 * arr.length
		for range b.variadic() {
			arr.buffers = append(arr.buffers, b.buffer())
		}
	case f.kind == arrowList || f.kind == arrowMap:
		arr.offsets = b.offsets(arr.length, 4)
	case f.kind == arrowLargeList:
		arr.offsets = b.offsets(arr.length, 8)
	case f.kind == arrowStruct || f.kind == arrowFixedList:
	default:
		arr.data = b.buffer()
		need = arr.length * f.width
	}
	if len(arr.data) < need {
		b.fail(errArrowBody)
	}
	if f.dict != nil {
		return
	}
	for _, c := range f.children {
		child := b.array(c)
		arr.children = append(arr.children, child)
		if f.kind == arrowStruct && child.length < arr.length || f.kind == arrowFixedList && child.length < arr.length*f.width {
			b.fail(errArrowBody)
		}
	}
}

// offsets reads the buffer of offsets; an empty array may have none.
func (b *arrowBatch) offsets(length, width int) []byte {
	buf := b.buffer()
	if length > 0 && len(buf) < (length+1)*width {
		b.fail(errArrowBody)
	}
	return buf
}

// variadic is how many buffers the next array of views has.
func (b *arrowBatch) variadic() int {
	if b.view >= b.viewN {
		b.fail(errArrowBody)
		return 0
	}
	n := b.flat.i64(b.viewAt + 8*b.view)
	b.view++
	if n < 0 || n > int64(b.bufN-b.buf) {
		b.fail(errArrowBody)
		return 0
	}
	return int(n)
}

// buffer is the next buffer, unpacked.
func (b *arrowBatch) buffer() []byte {
	if b.failure != nil {
		return nil
	}
	if b.buf >= b.bufN {
		b.fail(errArrowBody)
		return nil
	}
	at, size := b.flat.i64(b.bufAt+16*b.buf), b.flat.i64(b.bufAt+16*b.buf+8)
	b.buf++
	if b.flat.bad || at < 0 || size < 0 || at > int64(len(b.body)) || size > int64(len(b.body))-at {
		b.fail(errArrowBody)
		return nil
	}
	raw := b.body[at : at+size]
	if b.codec < 0 || len(raw) == 0 {
		return raw
	}
	if len(raw) < 8 {
		b.fail(errArrowBody)
		return nil
	}
	plain := int64(binary.LittleEndian.Uint64(raw))
	if raw = raw[8:]; plain == -1 {
		return raw
	}
	out, err := b.reader.unpack(b.codec, raw, plain)
	if err != nil {
		b.fail(err)
	}
	return out
}

// unpack appends a compressed buffer of that size to the arena.
func (a *arrowReader) unpack(codec int, raw []byte, size int64) ([]byte, error) {
	if size < 0 || size > int64(a.left) {
		return nil, errArrowBudget
	}
	a.left -= int(size)
	out := make([]byte, 0, size)
	if from := len(a.arena); cap(a.arena)-from >= int(size) {
		out = a.arena[from : from : from+int(size)]
		a.arena = a.arena[:from+int(size)]
	} else if from == 0 {
		a.arena = out[:size]
	}
	var err error
	if codec == 1 {
		out, err = a.unzstd(out, raw, size)
	} else {
		out, err = a.unlz4(out[:size], raw)
	}
	if err != nil || int64(len(out)) != size {
		return nil, errors.New("a compressed buffer cannot be unpacked to the size that it says")
	}
	return out, nil
}

func (a *arrowReader) unzstd(dst, raw []byte, size int64) ([]byte, error) {
	var h zstd.Header
	if err := h.Decode(raw); err != nil || h.HasFCS && h.FrameContentSize != uint64(size) {
		return nil, errArrowBody
	}
	if a.zstd == nil {
		var err error
		if a.zstd, err = zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxUnpacked), zstd.WithDecodeAllCapLimit(true)); err != nil {
			return nil, err
		}
	}
	return a.zstd.DecodeAll(raw, dst)
}

// maxUnpacked bounds what the decompressor holds for one buffer, in bytes.
const maxUnpacked = 256 << 20

func (a *arrowReader) unlz4(dst, raw []byte) ([]byte, error) {
	a.plain.Reset(raw)
	if a.lz4 == nil {
		a.lz4 = lz4.NewReader(&a.plain)
	} else {
		a.lz4.Reset(&a.plain)
	}
	if _, err := io.ReadFull(a.lz4, dst); err != nil {
		return nil, err
	}
	var one [1]byte
	if n, _ := a.lz4.Read(one[:]); n > 0 {
		return nil, errArrowBody
	}
	return dst, nil
}
