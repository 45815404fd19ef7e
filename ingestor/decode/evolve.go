package decode

import (
	"slices"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// Settle returns the current schema and makes its types stand: what is written with it goes to the table. Until then a
// column of longs becomes one of doubles when a record brings such a number.
func (s *Schema) Settle() *schema.Type {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.cur.Load().typ
	s.settled.Store(t)
	return t
}

// Extend adds the columns of t that the schema lacks. Where the two have different types for a column, the schema's stands.
func (s *Schema) Extend(t *schema.Type) {
	s.mu.Lock()
	defer s.mu.Unlock()
	cur := s.cur.Load().typ
	m := merger{}
	if out := m.structs(cur, t, ""); !out.Equal(cur) {
		s.publish(out)
	}
}

// RescueColumn returns the name of the column for misfits in t, whether it is there or not: _rescued, unless t has that
// for something else.
func RescueColumn(t *schema.Type) string { return rescueColumn(t) }

// IsReserved says whether a column called name would be taken for one of weir's own.
func IsReserved(name string) bool { return reserved(name) }

// SourceName is what the field of column f is called in records.
func SourceName(f *schema.Field) string { return sourceName(f) }

// Fold is the form under which two names are one to readers.
func Fold(name string) string { return fold(name) }

// ParseTimestamp reads an RFC 3339 time with a zone: microseconds since 1970-01-01T00:00:00Z.
func ParseTimestamp(s string) (micros int64, ok bool) { return parseTimestamp([]byte(s)) }

// AppendJSON appends the value of slot i of v as a record would have it, null for a null.
func AppendJSON(dst []byte, v *column.Vector, i int) []byte { return newSource(v).appendSlot(dst, i) }

// AppendQuoted appends s, valid UTF-8, as a JSON string.
func AppendQuoted(dst []byte, s string) []byte { return appendQuoted(dst, []byte(s)) }

// Batch returns the rows decoded so far. It stays the decoder's, and only its rows so far are settled: the columns may lag.
func (d *Decoder) Batch() *column.Batch { return d.batch }

// Truncate takes the newest rows back, so that so many are left.
func (d *Decoder) Truncate(rows int) { d.batch.Truncate(rows) }

// suspends says whether the record that was just refused is to stop the pipeline.
func (d *Decoder) suspends() bool {
	return d.mismatch && d.opts.OnMismatch == SuspendPipeline || d.uncalled && d.opts.OnUnknown == SuspendUnknown
}

// refuseUnknown refuses the record because of a field that is no column, of b[at].
func (d *Decoder) refuseUnknown(at int) int {
	d.uncalled = true
	policy := "Reject"
	if d.opts.OnUnknown == SuspendUnknown {
		policy = "Suspend"
	}
	return d.fail(at, "the field is no column, and onUnknown is "+policy, "declare it in schema.columns, or leave it out")
}

// uninvited goes on after the value record[i:end] of a field that is no column and must not become one.
func (d *Decoder) uninvited(i, end int) int {
	switch d.opts.OnUnknown {
	case DropUnknown:
		d.shared.dropped.Add(1)
	case RejectUnknown, SuspendUnknown:
		return d.refuseUnknown(i)
	default:
		d.note(i, end, unwelcome)
	}
	return end
}

// widens says whether n is a column of longs for which value is a reason to become one of doubles. Whether its type may
// still change only evolve knows.
func (d *Decoder) widens(value []byte, n *node) bool {
	if !d.opts.Widen || n.kind != schema.Long || len(value) == 0 || value[0] != '-' && value[0]-'0' > 9 || d.shared.settled.Load() == d.plan.snap.typ {
		return false
	}
	num, ok := scanNumber(value, 0)
	if !ok || num.integer {
		return false
	}
	_, ok = num.float64(value)
	return ok
}

// settledElem is the type of the elements in settled, a list or map; nil if that is not settled.
func settledElem(settled *schema.Type, kind schema.Kind) *schema.Type {
	if settled == nil || settled.Kind != kind {
		return nil
	}
	return settled.Elem
}

// settledField is the type of the field in settled, a struct; nil if that is not settled.
func settledField(settled *schema.Type, name string) *schema.Type {
	if settled == nil || settled.Kind != schema.Struct {
		return nil
	}
	if i := slices.IndexFunc(settled.Fields, func(f schema.Field) bool { return f.Name == name }); i >= 0 {
		return settled.Fields[i].Type
	}
	return nil
}

// Path is the path of a field as the column for misfits has it.
func Path(names ...string) string {
	var path []byte
	for _, n := range names {
		path = appendName(path, []byte(n), 0)
	}
	return string(path)
}

// CountRescued counts values that were moved into the column for misfits.
func (s *Schema) CountRescued(n int) { s.rescued.Add(int64(n)) }

// Overlay is the schema to decode into when the columns declared are wanted in a table: those of the table first, then the
// ones that it lacks. A declared column that is NOT NULL is, whatever the table says. It also returns where the two
// disagree: the table's type stands there.
func Overlay(table, declared *schema.Type) (*schema.Type, []Conflict) {
	switch {
	case declared == nil:
		return table, nil
	case table == nil:
		return declared, nil
	}
	m := merger{}
	out := m.structs(table, declared, "")
	for i := range out.Fields {
		if at := declared.Index(out.Fields[i].Name); at >= 0 && !declared.Fields[at].Nullable {
			out.Fields[i].Nullable = false
		}
	}
	return out, m.conflicts
}
