package decode

import (
	"strconv"

	"github.com/weir-dev/weir/ingestor/event"
)

// format is a format whose records come with their types: those are columns before the first record is read.
type format interface {
	// bind makes the columns that the format brings, and plans how records go to them. It returns the bytes that a record
	// takes in the columns even if it is empty.
	bind(d *Decoder) int
	// read appends the record b to the columns.
	read(d *Decoder, b []byte) bool
	// text appends the record b as a JSON object.
	text(d *Decoder, dst, b []byte) ([]byte, bool)
}

// Takes says whether payloads of type m are taken.
func (o *Options) Takes(m event.MIME) bool {
	switch m {
	case event.JSON, event.NDJSON, event.Arrow, "":
		return true
	case event.AvroFile:
		return true
	case event.Protobuf, event.ProtobufMany:
		return o.Protobuf != nil
	case event.Avro, event.AvroMany:
		return o.Avro != nil
	}
	return false
}

// Accepted names the payload types that are taken, for a human.
func (o *Options) Accepted() string {
	all := string(event.JSON) + ", " + string(event.NDJSON) + ", " + string(event.Arrow) + ", " + string(event.AvroFile)
	if o.Protobuf != nil {
		all += ", " + string(event.Protobuf) + ", " + string(event.ProtobufMany)
	}
	if o.Avro != nil {
		all += ", " + string(event.Avro) + ", " + string(event.AvroMany)
	}
	return all
}

// DefaultMIME is the type of payloads that name none: that of the pipeline's format, JSON if it has none or two.
func (o *Options) DefaultMIME() event.MIME {
	switch {
	case o.Protobuf != nil && o.Avro == nil:
		return event.Protobuf
	case o.Avro != nil && o.Protobuf == nil:
		return event.Avro
	}
	return event.JSON
}

// frames parts a payload into records.
type frames struct {
	rest []byte
	many bool
	next int // of the payload's bytes
}

// take returns the next record; ok is false when what stands there is none.
func (f *frames) take() (record []byte, ok bool) {
	if !f.many {
		record, f.rest = f.rest, nil
		return record, true
	}
	n, from := protoVarint(f.rest, 0)
	if from < 0 || n > uint64(len(f.rest)-from) {
		return nil, false
	}
	record, f.rest = f.rest[from:from+int(n)], f.rest[from+int(n):]
	f.next += from + int(n)
	return record, true
}

// appendFrames decodes a payload with one record, or with many that stand each behind its length.
func (d *Decoder) appendFrames(f format, many bool, payload []byte, sys System, rejects []Reject) (int, []Reject) {
	accepted, before, named, inflated := 0, d.batch.Rows, len(rejects), 0
	fr := frames{rest: payload, many: many}
	for row := 0; row == 0 || len(fr.rest) > 0; row++ {
		at := fr.next
		record, ok := fr.take()
		inflated += max(f.bind(d), d.plan.snap.leaves)
		switch {
		case !ok:
			d.begin()
			d.fail(at, "no record with its length before it stands here", "send each record behind its length in bytes as a varint")
			return accepted, append(rejects, Reject{Row: row, Reason: d.refusal()})
		case inflated > d.opts.MaxInflated:
			d.begin()
			d.fail(at, "the records of the payload take more than "+strconv.Itoa(d.opts.MaxInflated)+" bytes as columns; this one and all after it are not taken",
				"send fewer records in a payload")
			return accepted, append(rejects, Reject{Row: row, Reason: d.refusal()})
		case d.typed(f, record, sys):
			accepted++
		case d.suspends():
			d.Truncate(before)
			return 0, append(rejects[:named], Reject{Row: row, Reason: d.refusal(), Suspend: true})
		case row+1-accepted <= maxRejects:
			rejects = append(rejects, Reject{Row: row, Reason: d.refusal()})
		default:
			d.refusal()
			return accepted, append(rejects, Reject{Row: row, Reason: tooManyRefused})
		}
		inflated += d.beyond(record)
	}
	return accepted, rejects
}

// beyond is what the record that was just read takes in memory beyond its bytes: items that take none on the wire, and text that
// was made of it.
func (d *Decoder) beyond(record []byte) int { return max(0, d.expanded+len(d.json)-len(record)) }

var tooManyRefused = "more than " + strconv.Itoa(maxRejects) + " records of the payload are refused; this one and all after it are not taken"

// typed appends the record b of format f and says whether it landed. If not, nothing of it is left in the batch.
func (d *Decoder) typed(f format, b []byte, sys System) bool {
	for {
		d.begin()
		if !d.readTyped(f, b) {
			d.batch.Truncate(d.batch.Rows)
			return false
		}
		if d.misfits.none() || d.settleTyped(f, b) {
			return d.land(sys)
		}
		d.batch.Truncate(d.batch.Rows)
		if d.reason != "" {
			return false
		}
		d.refresh() // there is a column for misfits now
		f.bind(d)
	}
}

func (d *Decoder) readTyped(f format, b []byte) bool {
	if len(b) > d.opts.MaxEventBytes {
		d.fail(d.opts.MaxEventBytes, "the record has "+strconv.Itoa(len(b))+" bytes, the limit is "+
			strconv.Itoa(d.opts.MaxEventBytes), "split it, or raise the pipeline's limit for events")
		return false
	}
	return f.read(d, b)
}

// settleTyped is settle for a record whose misfits are in d.json.
func (d *Decoder) settleTyped(f format, b []byte) bool {
	if d.opts.OnMismatch != Rescue && d.refuseMisfit(d.json) {
		return false
	}
	if d.plan.rescue < 0 {
		d.shared.addRescue()
		return false
	}
	if d.misfits.coarse {
		var ok bool
		if d.json, ok = f.text(d, d.json[:0], b); !ok {
			d.fail(0, "too much of the record has no column, and it cannot be kept as JSON", "send text as UTF-8, and nest less")
			return false
		}
	}
	d.rescue(d.json)
	return true
}

// numbered is the index of a step for a field that has only a number.
func numbered(n int) int { return -2 - n }

// appendNumber appends a step for a field that has only a number: a.#17.
func appendNumber(path []byte, n, start int) []byte {
	if len(path) > start {
		path = append(path, '.')
	}
	return strconv.AppendInt(append(path, '#'), int64(n), 10)
}

// protobuf is the format of Options.Protobuf.
type protobuf struct{}

func (protobuf) bind(d *Decoder) int {
	if d.protoOf != d.plan {
		d.shared.evolve(d.opts.Protobuf.columns, false)
		d.refresh()
		d.proto, d.protoOf = bindProto(d.opts.Protobuf.root, d.plan.root), d.plan
	}
	return d.proto.fixed
}

func (protobuf) read(d *Decoder, b []byte) bool {
	return d.message(b, 0, d.proto, d.batch.Rows, 1, 0) >= 0
}

func (protobuf) text(d *Decoder, dst, b []byte) ([]byte, bool) {
	return d.opts.Protobuf.root.appendJSON(dst, b, d.opts.MaxDepth)
}
