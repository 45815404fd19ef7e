// Package decode turns payloads into columns: JSON and NDJSON records are parsed once, byte by byte, straight into the
// vectors of a column batch. There is no tree of values in between, and in steady state nothing is allocated.
//
// A record lands whole or not at all. What it holds beyond the known columns is looked at only after the record is known
// to be valid: new fields become columns of the shared [Schema], and values that fit no column go, unchanged, into the
// nullable string column _rescued, as a JSON object from path to value. The rules are:
//
//   - Types are picked once, by the first value: an integer of 64 bits is a long, another number a double, true and false
//     a boolean, an RFC 3339 time with a zone a timestamp, any other text a string, an object a struct, a list an array.
//     A null, an empty object and an empty list make no column. Other types, maps among them, only a table brings.
//   - With Options.Widen a column of longs becomes one of doubles when a record brings a number with a fraction, as long
//     as [Schema.Settle] was not called since the column was made.
//   - A number fits an integer column when its value is integral and in range (1.0 and 1e3 do, 1.5 does not). An integer
//     fits a floating-point column when it is exact there; other numbers are rounded to the nearest value, but neither
//     to infinity nor to zero. Times are cut to microseconds.
//   - Of a key that occurs twice in an object the first value that fits stands; the others are rescued.
//   - Table readers ignore the case of names. A field that differs from a column by case alone is rescued.
//   - Characters that Spark refuses in names become "_"; the column remembers the field's name in its metadata. When the
//     column is another field's already, the value is rescued. So is that of a field without a name, or with one that is
//     reserved (_rescued and _weir_…) or longer than 1024 bytes.
//   - Beyond Options.MaxColumns no columns are made: further fields are rescued.
//   - A column that partitions the table holds single values: an object or a list never makes one.
//   - While there is no column but such ones, a record that brings none is rejected if Options.NeedColumn says so.
//   - Text must be valid UTF-8, else the record is rejected. An escaped half of a surrogate pair cannot be stored as
//     UTF-8: the value is rescued, escape and all.
package decode

import (
	"github.com/weir-dev/weir/delta/schema"
)

// OnMismatch is what happens to a record with a value that fits no column.
type OnMismatch uint8

const (
	// Rescue keeps the record: the value goes into the column _rescued.
	Rescue OnMismatch = iota
	// RejectRecord refuses the record.
	RejectRecord
	// SuspendPipeline refuses the record and marks the [Reject]: nothing more is to be taken until somebody has looked.
	SuspendPipeline
)

// OnUnknown is what happens to a field that is no column.
type OnUnknown uint8

const (
	// AddColumns makes a column of it.
	AddColumns OnUnknown = iota
	// RescueUnknown keeps its value in the column _rescued.
	RescueUnknown
	// DropUnknown leaves it out, and counts it.
	DropUnknown
	// RejectUnknown refuses the record.
	RejectUnknown
	// SuspendUnknown refuses the record and marks the [Reject], as SuspendPipeline does.
	SuspendUnknown
)

// Defaults and bounds of [Options].
const (
	DefaultMaxDepth      = 64
	DefaultMaxColumns    = 1000
	DefaultMaxEventBytes = 1 << 20
	DefaultMaxInflated   = 64 << 20
	// HighestMaxDepth keeps the types that are made from records within schema.MaxDepth.
	HighestMaxDepth = schema.MaxDepth - 4
)

// Options of a [Schema] and all its decoders. A zero value means the default.
type Options struct {
	MaxDepth      int // how deep objects and lists may nest in a record, at most HighestMaxDepth
	MaxColumns    int // leaf columns that may exist before fields stop becoming columns
	MaxEventBytes int // size of a record
	SystemColumns SystemColumns
	OnMismatch    OnMismatch
	OnUnknown     OnUnknown
	Declares      bool     // the fields of Protobuf and of Avro.Schema are columns from the start, whatever OnUnknown says
	Widen         bool     // a long column becomes a double one for a number with a fraction, until Schema.Settle
	Hints         *Hint    // how to read the values of some columns; nil for none
	PartitionBy   []string // columns that partition the table, whether it has them yet or not
	Identity      *Identity
	Protobuf      *Protobuf // the type of Protobuf payloads; nil: they are refused
	Avro          *Avro     // what Avro payloads are; nil: only files, which bring their schema, are taken
	MaxInflated   int       // bytes that a payload of a compact format may take in columns, beyond what JSON could
	NeedColumn    bool      // refuse records while there is no other column: no table can be made of them
}

// SystemColumns says which columns about a record's way are added.
type SystemColumns struct {
	Stream   bool // _weir_stream string
	Seq      bool // _weir_seq long
	Received bool // _weir_received timestamp
}

// System is what the system columns of a payload's records hold.
type System struct {
	Stream         string // empty is stored as null
	Seq            int64  // 0 is stored as null
	ReceivedMicros int64  // since 1970
}

// Reject says why a record was refused.
type Reject struct {
	Row     int    // line of the payload, from 0, blank ones counted
	Reason  string // for humans, at most 256 bytes of UTF-8 on one line; offsets count from the start of the record
	Suspend bool   // nothing of the payload was taken, and nothing more is to be taken
}

func (o Options) withDefaults() Options {
	if o.MaxDepth <= 0 {
		o.MaxDepth = DefaultMaxDepth
	}
	o.MaxDepth = min(o.MaxDepth, HighestMaxDepth)
	if o.MaxColumns <= 0 {
		o.MaxColumns = DefaultMaxColumns
	}
	if o.MaxEventBytes <= 0 {
		o.MaxEventBytes = DefaultMaxEventBytes
	}
	if o.MaxInflated <= 0 {
		o.MaxInflated = DefaultMaxInflated
	}
	return o
}
