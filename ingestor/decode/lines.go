package decode

import (
	"bytes"
	"slices"

	"github.com/weir-dev/weir/ingestor/event"
)

// Rows finds the rows of a payload, as [Reject] has them, that its decoded records were. It goes over the payload once.
type Rows struct {
	lines   bool
	rest    []byte // of a payload of lines: those from row on
	refused []int  // rows that were not decoded, ascending, from row on
	row     int
	passed  int // decoded records before row
}

// NewRows returns the rows of a payload of which rejects were refused.
func NewRows(mime event.MIME, payload []byte, rejects []Reject) *Rows {
	m, _ := event.ParseMIME(string(mime))
	r := &Rows{lines: m == event.NDJSON, rest: bytes.TrimPrefix(payload, bom)}
	for _, no := range rejects {
		r.refused = append(r.refused, no.Row)
	}
	slices.Sort(r.refused)
	return r
}

// Of returns the row of the i-th record that was decoded, from 0. i must not be less than at the call before.
func (r *Rows) Of(i int) int {
	for r.passed < i || !r.decoded() {
		if r.decoded() {
			r.passed++
		}
		if !r.next() {
			break
		}
	}
	return r.row
}

// decoded says whether there is a record in the row, which was not refused.
func (r *Rows) decoded() bool {
	if len(r.refused) > 0 && r.refused[0] == r.row {
		return false
	}
	return !r.lines || len(r.rest) > 0 && space(r.line(), 0) < len(r.line())
}

func (r *Rows) line() []byte {
	if at := bytes.IndexByte(r.rest, '\n'); at >= 0 {
		return r.rest[:at]
	}
	return r.rest
}

// next goes on to the next row, if there can be one.
func (r *Rows) next() bool {
	if r.lines {
		if len(r.rest) == 0 {
			return false
		}
		r.rest = r.rest[min(len(r.line())+1, len(r.rest)):]
	}
	for len(r.refused) > 0 && r.refused[0] <= r.row {
		r.refused = r.refused[1:]
	}
	r.row++
	return true
}
