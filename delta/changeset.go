package delta

import (
	"fmt"
	"slices"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// changeSet is the source of a merge with at most one change for each key: the one that is last by sequence, and of equal
// ones the one that came last.
type changeSet struct {
	source  []*column.Batch
	schema  *schema.Type // of the rows, without the column of operations
	key     []schema.Field
	seq     string // column; empty: the order of arrival decides
	seqType *schema.Type

	index      *keyIndex
	changes    []change // by the number of the key
	superseded int64    // changes that a later one of the same key made void
}

// change is what becomes of one key.
type change struct {
	batch, row int32 // in the source
	delete     bool
	matched    bool  // the table has the key
	stale      bool  // the table has a newer row, or remembers a newer delete
	seq        datum // if there is a column of sequences
}

// newChangeSet reads the source. Errors: *KeyError, *schema.MergeError.
func newChangeSet(source []*column.Batch, o *MergeOptions, seed uint64) (*changeSet, error) {
	c := &changeSet{source: source, seq: o.Sequence, schema: &schema.Type{Kind: schema.Struct}}
	rows := 0
	for _, b := range source {
		merged, err := schema.Merge(c.schema, withoutColumn(b.Schema, o.Op))
		if err != nil {
			return nil, err
		}
		c.schema = merged
		rows += b.Rows
	}
	c.index = newKeyIndex(min(rows, 1<<24))
	if rows == 0 {
		return c, nil
	}
	if len(o.Key) == 0 {
		return nil, invalid("a merge needs a key")
	}
	var err error
	if c.key, err = keyFields(c.schema, o.Key); err != nil {
		return nil, err
	}
	if c.seq != "" {
		f, ok := c.schema.Field(c.seq)
		if !ok || classOf(f.Type) == noClass {
			return nil, &KeyError{c.seq, "it is missing or has a type without order, and cannot say which change is last"}
		}
		c.seqType = f.Type
	}
	for i, b := range source {
		if err := c.take(int32(i), b, o, seed); err != nil {
			return nil, err
		}
	}
	return c, nil
}

func withoutColumn(s *schema.Type, name string) *schema.Type {
	i := s.Index(name)
	if name == "" || i < 0 {
		return s
	}
	out := *s
	out.Fields = slices.Delete(slices.Clone(s.Fields), i, i+1)
	return &out
}

// take takes in the rows of a batch.
func (c *changeSet) take(n int32, b *column.Batch, o *MergeOptions, seed uint64) error {
	keys := newKeyColumns(b, c.key)
	hashes := keys.hashes(nil, seed, b.Rows)
	var seqs, ops cells
	if c.seq != "" {
		seqs = newCells(find(b, c.seq))
	}
	if o.Op != "" {
		ops = newCells(find(b, o.Op))
		if ops.v != nil && ops.v.Type.Kind != schema.String {
			return &KeyError{o.Op, fmt.Sprintf("operations are strings, not values of type %s", ops.v.Type)}
		}
	}
	var key []byte
	for row := range b.Rows {
		if i := keys.null(row); i >= 0 {
			return &KeyError{c.key[i].Name, "a row has no value for it"}
		}
		next := change{batch: n, row: int32(row)}
		if c.seq != "" {
			var ok bool
			if next.seq, ok = seqs.get(row); !ok {
				return &KeyError{c.seq, "a row has no value for it"}
			}
		}
		if op, ok := ops.get(row); ok {
			next.delete = slices.Contains(o.Deletes, string(op.b))
		}
		key = keys.append(key[:0], row)
		c.put(hashes[row], key, next)
	}
	return nil
}

func (c *changeSet) put(hash uint64, key []byte, next change) {
	n := c.index.find(hash, key)
	if n < 0 {
		c.index.add(hash, key)
		c.changes = append(c.changes, next)
		return
	}
	c.superseded++
	if !c.older(next.seq, c.changes[n].seq) {
		c.changes[n] = next
	}
}

// older says whether a change with sequence a comes before one with b that arrived earlier.
func (c *changeSet) older(a, b datum) bool {
	return c.seq != "" && classOf(c.seqType).compare(a, b) < 0
}

// reset forgets what was found out about the table.
func (c *changeSet) reset() {
	for i := range c.changes {
		c.changes[i].matched, c.changes[i].stale = false, false
	}
}

// keyValues are the distinct values of each key column, sorted.
func (c *changeSet) keyValues() [][]datum {
	out := make([][]datum, len(c.key))
	for i, f := range c.key {
		columns := make([]cells, len(c.source))
		for n, b := range c.source {
			columns[n] = newCells(find(b, f.Name))
		}
		values := make([]datum, 0, len(c.changes))
		for n := range c.changes {
			v, _ := columns[c.changes[n].batch].get(int(c.changes[n].row))
			values = append(values, v)
		}
		order := classOf(f.Type)
		slices.SortFunc(values, order.compare)
		out[i] = slices.CompactFunc(values, func(a, b datum) bool { return order.compare(a, b) == 0 })
	}
	return out
}

// rows copies the rows of some changes out of the source, in the order in which they came.
func (c *changeSet) rows(numbers []int) []*column.Batch {
	byBatch := make([][]int, len(c.source))
	for _, n := range numbers {
		ch := &c.changes[n]
		byBatch[ch.batch] = append(byBatch[ch.batch], int(ch.row))
	}
	var out []*column.Batch
	for i, rows := range byBatch {
		if len(rows) == 0 {
			continue
		}
		slices.Sort(rows)
		out = append(out, c.source[i].Gather(rows))
	}
	return out
}
