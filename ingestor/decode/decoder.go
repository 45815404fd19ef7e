package decode

import (
	"bytes"
	"strconv"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/event"
)

// Decoder appends records to a batch of columns. It serves one goroutine at a time; any number share a [Schema].
//
// Invariant between calls: every column of the batch has at most as many slots as there are rows, and a slot for every
// row that has a value for it. Columns that lag are padded with nulls by their next value or by Take.
type Decoder struct {
	shared *Schema
	opts   Options
	plan   *plan
	batch  *column.Batch // its rows are the accepted records
	spare  *column.Batch // recycled, empty

	// Of the record that is being read:
	reason   string // why it is refused
	mismatch bool   // it is valid, but a value of it has no place
	uncalled bool   // it has a field that is no column, and must not have one
	misfits  misfits
	expanded int // slots that lists of structs took, over all leaf columns
	path     [pathSteps]step
	depth    int // steps of path in use
	scratch  []byte
	name     []byte // of a member, unescaped
	json     []byte // of a record that is no JSON: values as JSON, those that the misfits name
	seen     []seenField

	proto   *protoPlan
	protoOf *plan // that proto was made for
	arrow   *arrowReader
	avro    map[*AvroSchema]avroBound

	fileSchema *AvroSchema // of the last Avro file
	fileText   []byte
	blocks     avroPacked
}

// NewDecoder returns a decoder without rows.
func NewDecoder(s *Schema) *Decoder {
	d := &Decoder{shared: s, opts: s.opts}
	snap := s.cur.Load()
	d.plan = newPlan(snap, d.opts.Hints)
	d.use(column.NewBatch(snap.typ))
	return d
}

func (d *Decoder) use(b *column.Batch) {
	d.batch = b
	d.plan.bind(b)
}

// Rows returns how many records the batch holds.
func (d *Decoder) Rows() int { return d.batch.Rows }

// Bytes returns how much memory the rows take once Take has padded all columns. Capacity for rows to come is not counted:
// after Recycle it may be as large as a former batch.
func (d *Decoder) Bytes() int64 {
	n := int64(0)
	for _, c := range d.batch.Columns {
		n += vectorBytes(c, d.batch.Rows)
	}
	return n
}

// Take returns the rows as a sealed batch and begins a new one. The batch is the caller's until Recycle.
func (d *Decoder) Take() *column.Batch {
	out := d.batch
	out.Seal(out.Rows)
	next := d.spare
	d.spare = nil
	if next == nil {
		next = column.NewBatch(d.plan.snap.typ)
	} else if next.Schema != d.plan.snap.typ {
		next, _ = Conform(next, d.plan.snap.typ)
	}
	d.use(next)
	return out
}

// Recycle gives the memory of a batch that Take returned back for reuse, at most of one; the batch is not the caller's any
// more. One that went through [Conform] has none.
func (d *Decoder) Recycle(b *column.Batch) {
	if b == nil || b.Schema == nil || b == d.batch || d.spare != nil {
		return
	}
	b.Reset()
	d.spare = b
}

// refresh takes the current snapshot over.
func (d *Decoder) refresh() {
	snap := d.shared.cur.Load()
	if snap == d.plan.snap {
		return
	}
	d.batch.Seal(d.batch.Rows)
	b, moved := Conform(d.batch, snap.typ)
	d.shared.rescued.Add(int64(moved))
	d.plan = newPlan(snap, d.opts.Hints)
	d.use(b)
}

// Append decodes the records of a payload. accepted is how many landed; the others are appended to rejects.
func (d *Decoder) Append(mime event.MIME, payload []byte, sys System, rejects []Reject) (accepted int, out []Reject) {
	d.refresh()
	switch mime = d.opts.typeOf(mime); mime {
	case event.NDJSON:
		return d.appendLines(payload, sys, rejects)
	case event.JSON:
		if d.record(payload, sys) {
			return 1, rejects
		}
		suspend := d.suspends()
		return 0, append(rejects, Reject{Reason: d.refusal(), Suspend: suspend})
	case event.Protobuf, event.ProtobufMany:
		if d.opts.Protobuf != nil {
			return d.appendFrames(protobuf{}, mime == event.ProtobufMany, payload, sys, rejects)
		}
	case event.Avro, event.AvroMany:
		if d.opts.Avro != nil {
			return d.appendFrames(avroFormat{}, mime == event.AvroMany, payload, sys, rejects)
		}
	case event.AvroFile:
		return d.appendAvroFile(payload, sys, rejects)
	case event.Arrow:
		return d.appendArrow(payload, sys, rejects)
	}
	d.shared.refused.Add(1)
	what := "payloads of type " + printable([]byte(mime), maxExcerptBytes) + " are not supported"
	return 0, append(rejects, Reject{Reason: reason(nil, 0, what, "send "+d.opts.Accepted())})
}

// refusal is the reason why the last record was refused.
func (d *Decoder) refusal() string {
	d.shared.refused.Add(1)
	r := d.reason
	d.reason = ""
	return r
}

// typeOf is the payload type of that name; what names none is of the pipeline's format.
func (o *Options) typeOf(name event.MIME) event.MIME {
	switch name {
	case event.JSON, event.NDJSON, event.Protobuf, event.ProtobufMany, event.Arrow, event.Avro, event.AvroMany, event.AvroFile:
		return name
	}
	m, _ := event.ParseMIME(string(name))
	if m == "" {
		return o.DefaultMIME()
	}
	return m
}

// lineSlots is how many slots of columns lines may fill for each of their bytes, beyond Options.MaxInflated: a line {} takes one
// of every column.
const lineSlots = 8

// maxRejects bounds the malformed records of a payload: what comes after them is not looked at, so that nobody keeps a
// shard busy, or memory full of reasons, with a payload of rubbish.
const maxRejects = 1000

func tooManyRejects(rest int) string {
	return "more than " + strconv.Itoa(maxRejects) + " records of the payload are malformed; this one and the " +
		strconv.Itoa(rest) + " lines after it are not taken; send one JSON object per line"
}

var newline = []byte("\n")

func (d *Decoder) appendLines(payload []byte, sys System, rejects []Reject) (int, []Reject) {
	accepted, records, before, named := 0, 0, d.batch.Rows, len(rejects)
	slots, room := 0, d.opts.MaxInflated+lineSlots*len(payload)
	for row := 0; len(payload) > 0; row++ {
		line := payload
		if i := bytes.IndexByte(payload, '\n'); i >= 0 {
			line, payload = payload[:i], payload[i+1:]
		} else {
			payload = nil
		}
		if row == 0 {
			line = bytes.TrimPrefix(line, bom)
		}
		if space(line, 0) == len(line) {
			continue
		}
		records++
		slots += d.plan.snap.leaves
		switch {
		case slots > room:
			d.begin()
			d.fail(0, "the records of the payload would fill too many slots, mostly with nulls; this one and all after it are not taken",
				"send fewer records in a payload")
			return accepted, append(rejects, Reject{Row: row, Reason: d.refusal()})
		case d.record(line, sys):
			accepted++
		case d.suspends():
			d.Truncate(before)
			return 0, append(rejects[:named], Reject{Row: row, Reason: d.refusal(), Suspend: true})
		case records-accepted <= maxRejects:
			rejects = append(rejects, Reject{Row: row, Reason: d.refusal()})
		default:
			d.refusal()
			rest := bytes.Count(payload, newline)
			return accepted, append(rejects, Reject{Row: row, Reason: tooManyRejects(rest)})
		}
	}
	if records == 0 {
		d.fail(0, "the payload holds no record", "send one JSON object per line")
		return 0, append(rejects, Reject{Reason: d.refusal()})
	}
	return accepted, rejects
}

var bom = []byte("\xef\xbb\xbf")

// maxAttempts bounds how often a record is read again because the schema changed under it. Each change adds a column, so
// it is not reached unless other goroutines change the schema all the time.
const maxAttempts = 8

// record appends the record in b and says whether it landed. If not, nothing of it is left in the batch.
func (d *Decoder) record(b []byte, sys System) bool {
	for attempt := 0; ; attempt++ {
		d.begin()
		if !d.read(b) {
			d.batch.Truncate(d.batch.Rows)
			return false
		}
		if d.misfits.none() || d.settle(b, attempt < maxAttempts) {
			break
		}
		d.batch.Truncate(d.batch.Rows)
		if d.reason != "" {
			return false
		}
		d.refresh() // the record has fields that are columns now: read it again
	}
	return d.land(sys)
}

// land completes the record that was read, or takes it back.
func (d *Decoder) land(sys System) bool {
	if d.opts.NeedColumn && !d.plan.snap.plain {
		d.batch.Truncate(d.batch.Rows)
		d.fail(0, "the record brings no column to a table that has none yet", `send a field with a value, such as {"value": 1}`)
		return false
	}
	if !d.identified() {
		d.batch.Truncate(d.batch.Rows)
		return false
	}
	d.appendSystem(sys)
	d.batch.Rows++
	return true
}

func (d *Decoder) begin() {
	d.misfits.reset()
	d.mismatch, d.uncalled = false, false
	d.expanded = 0
	d.depth = 0
	d.json, d.seen = d.json[:0], d.seen[:0]
}

// read appends the members of the record in b to the columns.
func (d *Decoder) read(b []byte) bool {
	if len(b) > d.opts.MaxEventBytes {
		d.fail(d.opts.MaxEventBytes, "the record has "+strconv.Itoa(len(b))+" bytes, the limit is "+
			strconv.Itoa(d.opts.MaxEventBytes), "split it, or raise the pipeline's limit for events")
		return false
	}
	i := 0
	if len(b) > 0 && b[0] == bom[0] && bytes.HasPrefix(b, bom) {
		i = len(bom)
	}
	i = space(b, i)
	if i >= len(b) || b[i] != '{' {
		d.refuseTop(b, i)
		return false
	}
	if i = d.object(b, i, d.plan.root, d.batch.Rows, 1); i < 0 {
		return false
	}
	if i = space(b, i); i < len(b) {
		d.refuseTrailing(b, i)
		return false
	}
	return true
}

func (d *Decoder) refuseTop(b []byte, i int) {
	switch {
	case i >= len(b):
		d.fail(0, "the payload is empty", "send one JSON object")
	case b[i] == '[':
		d.fail(i, "the record is a list", "send its elements as "+string(event.NDJSON)+", one object per line")
	case b[i] == '"':
		d.fail(i, "a string"+notObject, objectAdvice)
	case b[i] == '-', b[i]-'0' <= 9:
		d.fail(i, "a number"+notObject, objectAdvice)
	case b[i] == 't', b[i] == 'f', b[i] == 'n':
		d.fail(i, "a word"+notObject, objectAdvice)
	default:
		d.wantValue(b, i)
	}
}

const (
	notObject    = " where an object should be"
	objectAdvice = `a record is a JSON object such as {"value": 1}`
)

func (d *Decoder) refuseTrailing(b []byte, i int) {
	if b[i] == '{' {
		d.fail(i, "a second object", "send many records as "+string(event.NDJSON)+", one object per line")
		return
	}
	d.fail(i, unexpected(b, i)+" after the end of the object", notJSON)
}

func (d *Decoder) appendSystem(sys System) {
	row := d.batch.Rows
	if c := d.plan.stream; c >= 0 && sys.Stream != "" {
		d.batch.Columns[c].PadNulls(row)
		d.batch.Columns[c].AppendString(sys.Stream)
	}
	if c := d.plan.seq; c >= 0 && sys.Seq != 0 {
		d.batch.Columns[c].PadNulls(row)
		d.batch.Columns[c].AppendInt64(sys.Seq)
	}
	if c := d.plan.received; c >= 0 {
		d.batch.Columns[c].PadNulls(row)
		d.batch.Columns[c].AppendInt64(sys.ReceivedMicros)
	}
}

// vectorBytes is what v takes once it is padded to rows.
func vectorBytes(v *column.Vector, rows int) int64 {
	n := int64(len(v.Bools) + len(v.Data) + 4*(len(v.Int32s)+len(v.Float32s)+len(v.Offsets)) +
		8*(len(v.Int64s)+len(v.Float64s)))
	present := rows
	if v.Valid != nil || v.Len < rows {
		n += int64(rows)
	}
	switch v.Type.Kind {
	case schema.Struct:
		if n > 0 && len(v.Children) > 0 {
			present = v.Present()
		}
	case schema.Array, schema.Map:
		present = int(v.Offsets[len(v.Offsets)-1])
	default:
	}
	for _, c := range v.Children {
		n += vectorBytes(c, present)
	}
	return n
}
