package ingestor

import (
	"fmt"

	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
)

// schemas returns the schema that batches and table share, and the one that records are decoded into; they are the same
// unless there are steps in between. table is nil before there is one.
func (s *Settings) schemas(table *schema.Type) (out, in *decode.Schema, err error) {
	initial, conflicts := decode.Overlay(s.Transform.Source(table), s.Columns)
	if len(conflicts) > 0 {
		c := conflicts[0]
		if c.Theirs == nil {
			return nil, nil, fmt.Errorf("schema.columns: %s differs from a column of the table by case alone: give it the table's name", c.Path)
		}
		return nil, nil, fmt.Errorf("schema.columns: %s is declared as %s, the table has %s: a column's type never changes; declare what the table has, or use another name",
			c.Path, c.Ours.DDL(), c.Theirs.DDL())
	}
	if s.Transform == nil {
		out = decode.NewSchema(initial, s.Decode)
		return out, out, nil
	}
	records, behind := s.Decode, s.Decode
	records.PartitionBy = nil // steps may make these columns
	behind.Declares = false   // steps may leave these out
	return decode.NewSchema(table, behind), decode.NewSchema(initial, records), nil
}

// rescued counts the values that went to the column for misfits, when they were decoded or later.
func (p *Pipeline) rescued() int64 {
	n := p.schema.Stats().Rescued
	if p.records != p.schema {
		n += p.records.Stats().Rescued
	}
	return n
}
