package conformance

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// model is what a table must hold. It does not change once made.
type model struct {
	schema *schema.Type
	rows   map[int64]map[string]any // by id, values as of column.Batch.Row
}

// with is the model after a change of the rows, and with the columns that s has beside.
func (m *model) with(s *schema.Type, change func(rows map[int64]map[string]any)) (*model, error) {
	merged, err := schema.Merge(m.schema, s)
	if err != nil {
		return nil, err
	}
	out := &model{schema: merged, rows: maps.Clone(m.rows)}
	change(out.rows)
	return out, nil
}

// added are the columns that came after the first ones.
func (m *model) added() []schema.Field {
	return slices.DeleteFunc(slices.Clone(m.schema.Fields), func(f schema.Field) bool { return baseColumns.Index(f.Name) >= 0 })
}

// sameColumns says whether the model has the columns of s, in any order: deltalake moves partition columns when it adds one.
func (m *model) sameColumns(s *schema.Type) bool {
	return len(m.schema.Fields) == len(s.Fields) && !slices.ContainsFunc(s.Fields, func(f schema.Field) bool {
		own, ok := m.schema.Field(f.Name)
		return !ok || own.Type.String() != f.Type.String()
	})
}

// texts are the rows as the peers and weir print them, sorted.
func (m *model) texts() ([]string, error) {
	out := make([]string, 0, len(m.rows))
	for _, row := range m.rows {
		known := map[string]any{}
		for _, f := range m.schema.Fields {
			known[f.Name] = row[f.Name]
		}
		line, err := text(plain(known))
		if err != nil {
			return nil, err
		}
		out = append(out, line)
	}
	slices.Sort(out)
	return out, nil
}

// source is some rows on their way into the table.
type source struct {
	schema *schema.Type
	rows   []map[string]any
}

func (s *source) batch() *column.Batch { return build(s.schema, s.rows) }

// plain are the rows in the form of the peers.
func (s *source) plain() []any {
	out := make([]any, len(s.rows))
	for i, row := range s.rows {
		out[i] = plain(row)
	}
	return out
}

// add puts the rows into a model's.
func (s *source) add(rows map[int64]map[string]any) {
	for _, row := range s.rows {
		rows[row["id"].(int64)] = row
	}
}

var (
	baseColumns = structOf(field("id", schema.Long), field("s", schema.String), field("p", schema.String))
	someTexts   = []string{"x", "", "é/ü %", "日本=", "__", "a'b\"c", " ", "\n", "\U0001F600", "e\u0301", "\u200f\ufeff", "null"}
	someParts   = []any{nil, "x", "é/ü %", "日本=", "__", "a'b\"c", " ", "%2F", "null", "a:b?#[]"}
)

// newColumns are the columns that a table may get, each with the kinds of names that it then has.
var newColumns = []struct {
	name string
	t    *schema.Type
}{
	{"l%d", &schema.Type{Kind: schema.Long}},
	{"größe%d", &schema.Type{Kind: schema.Double}},
	{"a-b%d", &schema.Type{Kind: schema.String}},
	{"F%d", &schema.Type{Kind: schema.Boolean}},
	{"i%d", &schema.Type{Kind: schema.Integer}},
	{"d%d", &schema.Type{Kind: schema.Date}},
	{"t%d", &schema.Type{Kind: schema.Timestamp}},
	{"m%d", &schema.Type{Kind: schema.Decimal, Precision: 20, Scale: 3}},
	{"list%d", &schema.Type{Kind: schema.Array, Elem: &schema.Type{Kind: schema.String}, ContainsNull: true}},
	{"map%d", &schema.Type{Kind: schema.Map, Key: &schema.Type{Kind: schema.String}, Elem: &schema.Type{Kind: schema.Long}, ContainsNull: true}},
	{"st%d", structOf(field("x", schema.Long), field("y", schema.String))},
}

// draw draws a value of a type.
func draw(r *rand.Rand, t *schema.Type) any {
	if r.IntN(4) == 0 {
		return nil
	}
	switch t.Kind {
	case schema.Long:
		return pick(r, []int64{0, -1, math.MaxInt64, math.MinInt64, r.Int64()})
	case schema.Integer:
		return pick(r, []int32{0, -1, math.MaxInt32, math.MinInt32, r.Int32()})
	case schema.Double:
		return pick(r, []float64{0, -1.5, math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64, r.NormFloat64()})
	case schema.Boolean:
		return r.IntN(2) == 0
	case schema.String:
		return pick(r, someTexts) + strings.Repeat("ä", r.IntN(3)*r.IntN(20))
	case schema.Date:
		return pick(r, []int32{0, -1, 20_000, -719_162, 2_932_896})
	case schema.Timestamp:
		return pick(r, []int64{0, -1, 1_700_000_000_123_456, -62_135_596_800_000_000, 253_402_300_799_999_999})
	case schema.Decimal:
		return pick(r, []string{"0.000", "-0.001", "99999999999999999.999", "-12345678901234567.890"})
	case schema.Array:
		return drawSome(r, t.Elem)
	case schema.Map:
		entries := []column.Entry{}
		for _, k := range someTexts[:r.IntN(4)] {
			entries = append(entries, column.Entry{Key: k, Value: draw(r, t.Elem)})
		}
		return entries
	case schema.Struct:
		out := map[string]any{}
		for _, f := range t.Fields {
			out[f.Name] = draw(r, f.Type)
		}
		return out
	}
	panic("no values of " + t.String())
}

func drawSome(r *rand.Rand, t *schema.Type) []any {
	out := []any{}
	for range r.IntN(4) {
		out = append(out, draw(r, t))
	}
	return out
}

// drawRow draws a row of the columns, for an id.
func drawRow(r *rand.Rand, s *schema.Type, id int64) map[string]any {
	row := map[string]any{"id": id}
	for _, f := range s.Fields {
		switch f.Name {
		case "id":
		case "p":
			row["p"] = pick(r, someParts)
		default:
			row[f.Name] = draw(r, f.Type)
		}
	}
	return row
}

// drawSource draws rows with new ids, and perhaps a column that the table does not have yet.
func (q *sequence) drawSource(evolve bool) *source {
	s := &source{schema: structOf(baseColumns.Fields...)}
	if q.model != nil {
		added := q.model.added()
		s.schema = structOf(append(slices.Clone(baseColumns.Fields), added[:q.r.IntN(len(added)+1)]...)...)
	}
	if evolve && q.r.IntN(4) == 0 {
		c := pick(q.r, newColumns)
		f := field(fmt.Sprintf(c.name, q.evolved), schema.Invalid)
		f.Type = c.t
		s.schema = structOf(append(slices.Clone(s.schema.Fields), f)...)
		q.evolved++
	}
	for range 1 + q.r.IntN(6) {
		s.rows = append(s.rows, drawRow(q.r, s.schema, q.nextID))
		q.nextID++
	}
	return s
}

// condition is one that weir and SQL understand alike.
type condition struct {
	sql   string
	holds func(row map[string]any) bool
}

func (q *sequence) drawCondition() condition {
	low := q.r.Int64N(1 + q.nextID)
	high := low + 1 + q.r.Int64N(8)
	switch q.r.IntN(4) {
	case 0:
		return condition{"s IS NULL", func(row map[string]any) bool { return row["s"] == nil }}
	case 1:
		return condition{"p = 'x'", func(row map[string]any) bool { return row["p"] == "x" }}
	case 2:
		return condition{fmt.Sprintf("id IN (%d, %d)", low, high), func(row map[string]any) bool { return row["id"] == low || row["id"] == high }}
	}
	return q.drawRange()
}

// drawRange draws a condition that no row with a new id fulfils.
func (q *sequence) drawRange() condition {
	low := q.r.Int64N(1 + q.nextID)
	high := min(q.nextID, low+1+q.r.Int64N(8))
	return condition{fmt.Sprintf("id >= %d AND id < %d", low, high), func(row map[string]any) bool {
		id := row["id"].(int64)
		return low <= id && id < high
	}}
}

// drawChanges draws a merge: new rows, new values for old ones, and deletes.
func (q *sequence) drawChanges(evolve bool) *source {
	s := q.drawSource(evolve)
	columns := s.schema
	s.schema = structOf(append(slices.Clone(columns.Fields), field("op", schema.String))...)
	for _, row := range s.rows {
		row["op"] = "u"
	}
	for _, id := range slices.Sorted(maps.Keys(q.model.rows)) {
		if q.r.IntN(3) == 0 {
			row := drawRow(q.r, columns, id)
			row["op"] = pick(q.r, []string{"u", "u", "d"})
			s.rows = append(s.rows, row)
		}
	}
	return s
}

// merge applies the changes; columns that they lack become null if replace is set, else they stay.
func (m *model) merge(s *source, replace bool) (*model, error) {
	columns := structOf(s.schema.Fields[:len(s.schema.Fields)-1]...)
	return m.with(columns, func(rows map[int64]map[string]any) {
		for _, change := range s.rows {
			id := change["id"].(int64)
			row := map[string]any{}
			if !replace {
				maps.Copy(row, rows[id])
			}
			for _, f := range columns.Fields {
				row[f.Name] = change[f.Name]
			}
			if change["op"] == "d" {
				delete(rows, id)
			} else {
				rows[id] = row
			}
		}
	})
}
