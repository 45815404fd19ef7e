// Package transform changes records between decoding and batching: an ordered list of steps, compiled once.
//
// A record is decoded into the columns of a batch first. The steps that look at values (set, filter, mask, derive, route)
// run over it row by row and write what they make into columns beside those of the batch; what they leave out is cut off
// again at once. The steps that only arrange columns (drop, rename, flatten) cost nothing per record: they say under
// which name a column leaves, which is settled when the batch is taken, without a copy.
//
// The steps see the columns in the order in which they stand: after a rename there is only the new name, after a mask
// only the masked value. Columns that no schema declares appear as records bring them, so a [Program] is compiled once
// against what is known and bound anew when the schema of the records grows.
package transform

import (
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/weir-dev/weir/delta/schema"
)

// Step is one step; exactly one field is set.
type Step struct {
	Set     *Set
	Filter  string // a CEL expression
	Drop    []string
	Rename  *Rename
	Flatten *Flatten
	Mask    *Mask
	Derive  *Derive
	Route   *Route
}

// Set gives a column the value of a CEL expression.
type Set struct {
	Column, Value string
	Type          *schema.Type // nil: that of the expression, or of its first value
}

// Rename gives a column another name.
type Rename struct{ From, To string }

// Flatten makes columns of the fields of a struct.
type Flatten struct{ Column, Separator string }

// Mask hides values.
type Mask struct {
	Columns []string
	Hash    bool // else they are redacted
	Salt    string
}

// Derive makes a column with a part of a time.
type Derive struct {
	Column, From string
	Hour         bool // else the date
}

// Route refuses the records for which a CEL expression is true.
type Route struct{ When, Reason string }

// OnError is what happens to a record for which a step fails.
type OnError uint8

const (
	// Rescue keeps the record; what failed is noted in the column for misfits.
	Rescue OnError = iota
	// Reject refuses the record.
	Reject
	// Suspend refuses it and asks for the pipeline to pause.
	Suspend
)

// Options of a Program.
type Options struct {
	Steps   []Step
	OnError OnError
	Columns *schema.Type // those that are declared, nil for none
	Closed  bool         // there are no others
}

// Fault is what is wrong with a step.
type Fault struct {
	Step         int
	Field        string // in the step, as in the API, such as set.value
	Line, Column int    // in the text of that field, from 1; 0 when it is about the field as a whole
	Message      string
}

func (f *Fault) Error() string {
	return fmt.Sprintf("transform[%d].%s: %s", f.Step, f.Field, f.Message)
}

// Program is a compiled list of steps. It is safe for use by several decoders at once.
type Program struct {
	opts  Options
	steps []compiled

	filtered, failed atomic.Int64
}

// Stats counts what the steps did, since the program was made.
type Stats struct {
	Filtered int64 // records that a filter left out
	Failed   int64 // steps that failed for a record
}

// Stats returns the counters.
func (p *Program) Stats() Stats {
	if p == nil {
		return Stats{}
	}
	return Stats{Filtered: p.filtered.Load(), Failed: p.failed.Load()}
}

// Hides says whether a step masks or drops columns: records before the steps then show more than those behind them.
func (p *Program) Hides() bool {
	return p != nil && slices.ContainsFunc(p.opts.Steps, func(s Step) bool { return s.Mask != nil || len(s.Drop) > 0 })
}
