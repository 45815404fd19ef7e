package decode

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"strconv"

	"github.com/klauspost/compress/snappy"
	"github.com/klauspost/compress/zstd"

	"github.com/weir-dev/weir/ingestor/event"
)

// Avro says what Avro payloads are.
type Avro struct {
	// Schema is that of records which do not name theirs, and that which names and defaults of columns come from; nil if every
	// record names its own.
	Schema *AvroSchema
	// Lookup returns a schema by the id that stands before a record, behind a zero byte. It does not wait. ErrSchemaUnknown
	// says that the id was not looked up yet. nil: records have no ids.
	Lookup func(id uint32) (*AvroSchema, error)
	// Fetch makes Lookup know an id, and waits for it. It may be called by several goroutines at once, before a payload is
	// decoded; its error is that nobody answers, not that there is no such schema.
	Fetch func(ctx context.Context, id uint32) error
}

// ErrSchemaUnknown says that a schema is still to be fetched.
var ErrSchemaUnknown = errors.New("the schema was not looked up")

// schemaHeader is how many bytes stand before a record that names its schema: a zero and the id, big-endian.
const schemaHeader = 5

// maxNewSchemas bounds how many schemas that nobody asked for before a payload may name: a payload of made-up ids must not become
// as many requests. Records that name further ones are refused.
const maxNewSchemas = 100

// FetchSchemas fetches the schemas that the records of a payload name, as far as the payload can be read and maxNewSchemas
// allows. Errors: those of Fetch.
func (o *Options) FetchSchemas(ctx context.Context, name event.MIME, payload []byte) error {
	a := o.Avro
	if a == nil || a.Lookup == nil {
		return nil
	}
	m := o.typeOf(name)
	if m != event.Avro && m != event.AvroMany {
		return nil
	}
	last, fresh := int64(-1), 0
	fr := frames{rest: payload, many: m == event.AvroMany}
	for first := true; first || len(fr.rest) > 0; first = false {
		b, ok := fr.take()
		if !ok {
			return nil
		}
		if len(b) < schemaHeader || b[0] != 0 {
			continue
		}
		id := binary.BigEndian.Uint32(b[1:])
		if int64(id) == last {
			continue
		}
		if _, err := a.Lookup(id); errors.Is(err, ErrSchemaUnknown) {
			if fresh++; fresh > maxNewSchemas {
				return nil
			}
		}
		if err := a.Fetch(ctx, id); err != nil {
			return fmt.Errorf("schema %d: %w", id, err)
		}
		last = int64(id)
	}
	return nil
}

// avroBound is how records of a schema are read under a plan.
type avroBound struct {
	plan *avroPlan
	of   *plan
}

// maxAvroPlans bounds how many schemas a decoder keeps a plan for; a registry keeps no more schemas either.
const maxAvroPlans = 1024

// avroPlanOf plans how records of s are read, and makes the columns that they bring.
func (d *Decoder) avroPlanOf(s *AvroSchema) *avroPlan {
	if b := d.avro[s]; b.of == d.plan {
		return b.plan
	}
	var reader *avroType
	if a := d.opts.Avro; a != nil && a.Schema != nil && a.Schema != s {
		reader = a.Schema.root
		d.shared.evolve(a.Schema.columns, false)
	}
	d.shared.evolve(s.named(reader), false)
	d.refresh()
	if len(d.avro) >= maxAvroPlans {
		clear(d.avro)
	}
	if d.avro == nil {
		d.avro = map[*AvroSchema]avroBound{}
	}
	b := avroBound{bindAvro(s.root, reader, d.plan.root), d.plan}
	d.avro[s] = b
	return b.plan
}

// avroFormat is the format of Options.Avro.
type avroFormat struct{}

func (avroFormat) bind(d *Decoder) int {
	a := d.opts.Avro
	if a.Schema == nil {
		return schemaHeader
	}
	return schemaHeader + a.Schema.weight
}

// schemaOf returns the schema of the record b and where the record begins.
func (d *Decoder) schemaOf(b []byte) (*AvroSchema, int) {
	a := d.opts.Avro
	if a.Lookup == nil {
		return a.Schema, 0
	}
	if len(b) < schemaHeader || b[0] != 0 {
		d.fail(0, "no zero byte and schema id before the record", "send each record behind a zero byte and the id of its schema in four bytes, big-endian, as serializers for a schema registry do")
		return nil, failed
	}
	id := binary.BigEndian.Uint32(b[1:])
	s, err := a.Lookup(id)
	if err != nil {
		advice := "register the schema, and send its id"
		if errors.Is(err, ErrSchemaUnknown) {
			advice = "send records of at most " + strconv.Itoa(maxNewSchemas) + " new schemas in a payload"
		}
		d.fail(1, "schema "+strconv.FormatUint(uint64(id), 10)+": "+printable([]byte(err.Error()), 150), advice)
		return nil, failed
	}
	return s, schemaHeader
}

func (avroFormat) read(d *Decoder, b []byte) bool {
	s, from := d.schemaOf(b)
	return s != nil && d.readAvro(s, b, from)
}

func (d *Decoder) readAvro(s *AvroSchema, b []byte, from int) bool {
	p := d.avroPlanOf(s)
	end := d.avroRecord(b, from, p, d.batch.Rows, 1)
	if end >= 0 && end < len(b) {
		d.depth = 0
		d.fail(end, "the record goes on behind its end", notAvro)
		return false
	}
	return end >= 0
}

func (avroFormat) text(d *Decoder, dst, b []byte) ([]byte, bool) {
	s, from := d.schemaOf(b)
	if s == nil {
		return dst, false
	}
	dst, end := s.root.appendJSON(dst, b, from, d.opts.MaxDepth)
	return dst, end >= 0
}

// avroRecords is the format of records of one known schema.
type avroRecords struct{ schema *AvroSchema }

func (f avroRecords) bind(d *Decoder) int            { return 0 }
func (f avroRecords) read(d *Decoder, b []byte) bool { return d.readAvro(f.schema, b, 0) }
func (f avroRecords) text(d *Decoder, dst, b []byte) ([]byte, bool) {
	dst, end := f.schema.root.appendJSON(dst, b, 0, d.opts.MaxDepth)
	return dst, end >= 0
}

var avroFileMark = []byte("Obj\x01")

// avroFile reads an Avro object container file: a header with the schema, then blocks of records.
//
// Format: "Object Container Files" of the Avro specification.
type avroFile struct {
	schema *AvroSchema
	codec  string
	sync   []byte
	rest   []byte
	left   int // bytes that may still be unpacked
	packed *avroPacked
}

func (d *Decoder) openAvroFile(b []byte) (*avroFile, error) {
	h, err := parseAvroHeader(b)
	if err != nil {
		return nil, err
	}
	if d.fileSchema == nil || !bytes.Equal(d.fileText, h.text) {
		s, err := NewAvroSchema(h.text)
		if err != nil {
			return nil, err
		}
		d.fileSchema, d.fileText = s, bytes.Clone(h.text)
	}
	return &avroFile{schema: d.fileSchema, codec: h.codec, sync: h.sync, rest: b[h.end:], left: d.opts.MaxInflated, packed: &d.blocks}, nil
}

// avroHeader is what stands before the blocks of a file.
type avroHeader struct {
	text  []byte // of the schema
	codec string
	sync  []byte
	end   int
}

// avroSync is how long the mark between blocks is.
const avroSync = 16

func parseAvroHeader(b []byte) (avroHeader, error) {
	if !bytes.HasPrefix(b, avroFileMark) {
		return avroHeader{}, errors.New("it does not begin like an Avro object container file")
	}
	h := avroHeader{codec: "null"}
	i := len(avroFileMark)
	for {
		count, next := avroBlock(b, i)
		if i = next; i < 0 {
			return h, errAvroHeader
		}
		if count == 0 {
			break
		}
		for ; count > 0; count-- {
			keyFrom, keyEnd := avroSpan(b, i)
			if keyEnd < 0 {
				return h, errAvroHeader
			}
			from, end := avroSpan(b, keyEnd)
			if end < 0 {
				return h, errAvroHeader
			}
			switch string(b[keyFrom:keyEnd]) {
			case "avro.schema":
				h.text = b[from:end]
			case "avro.codec":
				h.codec = string(b[from:end])
			}
			i = end
		}
	}
	if len(b)-i < avroSync || h.text == nil {
		return h, errAvroHeader
	}
	h.sync, h.end = b[i:i+avroSync], i+avroSync
	return h, nil
}

var (
	errAvroHeader = errors.New("its header is malformed")
	errAvroBlock  = errors.New("a block of it is malformed")
)

// block returns the next block, unpacked, and how many records are in it.
func (f *avroFile) block() (data []byte, count int64, err error) {
	count, i := avroNumber(f.rest, 0)
	if i < 0 || count < 0 {
		return nil, 0, errAvroBlock
	}
	from, end := avroSpan(f.rest, i)
	if end < 0 || len(f.rest)-end < avroSync || !bytes.Equal(f.rest[end:end+avroSync], f.sync) {
		return nil, 0, errAvroBlock
	}
	data, f.rest = f.rest[from:end], f.rest[end+avroSync:]
	if data, err = f.packed.unpack(f.codec, data, f.left); err == nil {
		if f.left -= len(data); f.left < 0 {
			err = errArrowBudget
		}
	}
	return data, count, err
}

// avroPacked unpacks blocks.
type avroPacked struct {
	deflated bytes.Reader // what inflater reads
	inflater io.Reader    // 40 KB; nil until a deflated block comes
}

// unpack returns what the block b holds, at most left bytes.
func (p *avroPacked) unpack(codec string, b []byte, left int) ([]byte, error) {
	var r io.Reader
	switch codec {
	case "null":
		return b, nil
	case "deflate":
		r = p.inflate(b)
	case "snappy":
		return unsnap(b, left)
	case "zstandard":
		z, err := zstd.NewReader(bytes.NewReader(b), zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxUnpacked), zstd.WithDecoderMaxWindow(8<<20))
		if err != nil {
			return nil, errAvroBlock
		}
		defer z.Close()
		r = z
	default:
		return nil, fmt.Errorf("its codec %q is not known: use null, deflate, snappy or zstandard", printable([]byte(codec), maxExcerptBytes))
	}
	out, err := io.ReadAll(io.LimitReader(r, int64(left)+1))
	p.deflated.Reset(nil) // the payload is not kept
	switch {
	case err != nil:
		return nil, errAvroBlock
	case len(out) > left:
		return nil, errArrowBudget
	}
	return out, nil
}

func (p *avroPacked) inflate(b []byte) io.Reader {
	p.deflated.Reset(b)
	if r, ok := p.inflater.(flate.Resetter); !ok || r.Reset(&p.deflated, nil) != nil {
		p.inflater = flate.NewReader(&p.deflated)
	}
	return p.inflater
}

// unsnap undoes snappy, behind which stands a checksum.
func unsnap(b []byte, left int) ([]byte, error) {
	const sum = 4
	n, err := snappy.DecodedLen(b[:max(0, len(b)-sum)])
	if err != nil || len(b) < sum {
		return nil, errAvroBlock
	}
	if n > left {
		return nil, errArrowBudget
	}
	out, err := snappy.Decode(nil, b[:len(b)-sum])
	if err != nil || crc32.ChecksumIEEE(out) != binary.BigEndian.Uint32(b[len(b)-sum:]) {
		return nil, errAvroBlock
	}
	return out, nil
}

// appendAvroFile decodes an Avro object container file. What cannot be read is refused as a whole, a record alone.
func (d *Decoder) appendAvroFile(payload []byte, sys System, rejects []Reject) (int, []Reject) {
	before, named := d.batch.Rows, len(rejects)
	accepted, out, err := d.avroBlocks(payload, sys, rejects)
	if err == nil {
		return accepted, out
	}
	d.Truncate(before)
	d.begin()
	what := "the payload cannot be read as an Avro file: " + err.Error()
	if errors.Is(err, errArrowBudget) {
		what = "the payload takes more than " + strconv.Itoa(d.opts.MaxInflated) + " bytes unpacked: send fewer records in a payload"
	}
	d.fail(0, what, "send an object container file whole, or records as "+string(event.Avro))
	return 0, append(rejects[:named], Reject{Reason: d.refusal()})
}

func (d *Decoder) avroBlocks(payload []byte, sys System, rejects []Reject) (int, []Reject, error) {
	f, err := d.openAvroFile(payload)
	if err != nil {
		return 0, nil, err
	}
	accepted, row, before, named := 0, 0, d.batch.Rows, len(rejects)
	for len(f.rest) > 0 {
		data, count, err := f.block()
		if err != nil {
			return 0, nil, err
		}
		i := 0
		for ; count > 0; count-- {
			end := f.schema.root.skip(data, i, maxAvroDepth+HighestMaxDepth)
			if end < 0 {
				return 0, nil, errAvroBlock
			}
			if f.left -= 1 + d.plan.snap.leaves; f.left < 0 {
				return 0, nil, errArrowBudget
			}
			switch {
			case d.typed(avroRecords{f.schema}, data[i:end], sys):
				accepted++
			case d.suspends():
				d.Truncate(before)
				return 0, append(rejects[:named], Reject{Row: row, Reason: d.refusal(), Suspend: true}), nil
			case row+1-accepted > maxRejects:
				d.refusal()
				return accepted, append(rejects, Reject{Row: row, Reason: tooManyRefused}), nil
			default:
				rejects = append(rejects, Reject{Row: row, Reason: d.refusal()})
			}
			f.left -= d.beyond(data[i:end])
			row++
			i = end
		}
		if i < len(data) {
			return 0, nil, errAvroBlock
		}
	}
	if f.left < 0 {
		return 0, nil, errArrowBudget
	}
	return accepted, rejects, nil
}

// skip returns the index behind the value at b[i], negative if it is malformed or nests deeper than depth.
func (t *avroType) skip(b []byte, i, depth int) int {
	if depth < 0 || i < 0 || i > len(b) {
		return failed
	}
	switch t.kind {
	case avroNull:
		return i
	case avroBoolean:
		i++
	case avroFloat:
		i += 4
	case avroDouble:
		i += 8
	case avroInt, avroLong, avroDate, avroTimestamp, avroEnum:
		_, i = avroNumber(b, i)
	case avroUnion:
		x, next := avroNumber(b, i)
		if next < 0 || x < 0 || x >= int64(len(t.branches)) {
			return failed
		}
		return t.branches[x].skip(b, next, depth-1)
	case avroRecord:
		for _, f := range t.fields {
			if i = f.typ.skip(b, i, depth-1); i < 0 {
				return i
			}
		}
	case avroArray, avroMap:
		return t.skipList(b, i, depth)
	default:
		if t.size > 0 || t.kind == avroFixed {
			i += t.size
		} else {
			_, i = avroSpan(b, i)
		}
	}
	if i > len(b) {
		return failed
	}
	return i
}

func (t *avroType) skipList(b []byte, i, depth int) int {
	items := int64(0)
	for {
		count, next := avroBlock(b, i)
		if items += count; next < 0 || count > maxSkippedItems || items > maxSkippedItems {
			return failed
		}
		if i = next; count == 0 {
			return i
		}
		for ; count > 0; count-- {
			if t.kind == avroMap {
				if _, i = avroSpan(b, i); i < 0 {
					return failed
				}
			}
			before := i
			if i = t.elem.skip(b, i, depth-1); i < 0 {
				return i
			}
			if i == before && t.kind == avroArray {
				break // no item of the type takes a byte
			}
		}
	}
}

// maxSkippedItems bounds the items of a list, which may take no bytes.
const maxSkippedItems = 16 << 20
