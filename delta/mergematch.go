package delta

import (
	"context"
	"strings"

	"github.com/weir-dev/weir/delta/schema"
)

// mergeFile is a file that holds keys of the source.
type mergeFile struct {
	add     *Add
	matches []keyMatch
	updates []int // changes whose rows take the place of rows in here
}

// keyMatch is a row of the table whose key the source has.
type keyMatch struct {
	row    int64 // in its file
	change int32
}

// dead are the rows that go.
func (f *mergeFile) dead(m *merge) deletedRows {
	rows := deletedRows{}
	for _, at := range f.matches {
		if m.replaces(int(at.change)) {
			rows.set(at.row)
		}
	}
	return rows
}

// updated are the rows that go because others take their place.
func (f *mergeFile) updated(m *merge) deletedRows {
	rows := deletedRows{}
	for _, at := range f.matches {
		if m.upserts(int(at.change)) {
			rows.set(at.row)
		}
	}
	return rows
}

// mayHold says whether a file can hold one of the keys, by what the log says of it.
func (m *merge) mayHold(a *Add) bool { return m.within(m.s.boundsOf(a)) }

func (m *merge) within(bounds *fileBounds) bool {
	for i, f := range m.key {
		b := bounds.of(reference{path: []string{f.Name}, t: f.Type})
		if !b.mayHoldAny(m.values[i]) {
			return false
		}
	}
	return true
}

// match finds the rows of the table whose keys the source has.
func (m *merge) match(ctx context.Context) error {
	for _, a := range m.s.inOrder() {
		if !m.mayHold(a) {
			continue
		}
		if filter := m.t.filters.get(m.keyID(), identity(a.Path)); filter != nil && !filter.hasAny(m.index.hash) {
			continue
		}
		m.result.FilesRead++
		f, err := m.matchFile(ctx, a)
		if err != nil {
			return err
		}
		if len(f.matches) > 0 {
			m.files = append(m.files, f)
		}
	}
	return nil
}

// keyID names the key for the filters.
func (m *merge) keyID() string { return strings.Join(m.o.Key, "\x00") }

// matchFile reads the key columns of a file, and makes its filter if there is none.
func (m *merge) matchFile(ctx context.Context, a *Add) (*mergeFile, error) {
	f := &mergeFile{add: a}
	filter := m.newFilter(a)
	var hashes []uint64
	var key []byte
	for b, err := range m.s.readStored(ctx, a, m.keySchema()) {
		if err != nil {
			return nil, err
		}
		keys := newKeyColumns(b.Batch, m.key)
		hashes = keys.hashes(hashes[:0], m.t.filters.seed, b.Rows)
		seqs := newCells(find(b.Batch, m.seq))
		for row, h := range hashes {
			if filter != nil {
				filter.add(h)
			}
			if !m.index.maybe(h) || keys.null(row) >= 0 || b.deleted.has(b.first+int64(row)) {
				continue
			}
			key = keys.append(key[:0], row)
			if n := m.index.find(h, key); n >= 0 {
				m.note(f, n, b.first+int64(row), &seqs, row)
			}
		}
	}
	if filter != nil {
		m.t.filters.put(m.keyID(), identity(a.Path), filter, m.o.Filters)
	}
	return f, nil
}

// note books that change n has met a row. A row that is newer makes the change void, if newer rows are to stay.
func (m *merge) note(f *mergeFile, n int, at int64, seqs *cells, row int) {
	c := &m.changes[n]
	c.matched = true
	if seq, ok := seqs.get(row); ok && m.o.Matched == MatchedUpdateIfNewer && m.older(c.seq, seq) {
		c.stale = true
	}
	f.matches = append(f.matches, keyMatch{row: at, change: int32(n)})
}

// keySchema are the columns that matching needs. Their types are those of the source, which the table shares.
func (m *merge) keySchema() *schema.Type {
	s := &schema.Type{Kind: schema.Struct}
	s.Fields = append(s.Fields, m.key...)
	if m.seq != "" && s.Index(m.seq) < 0 {
		f, _ := m.changeSet.schema.Field(m.seq)
		s.Fields = append(s.Fields, f)
	}
	for i := range s.Fields {
		s.Fields[i].Nullable = true
	}
	return s
}

// newFilter is an empty filter for a file, nil if it has one, or if filters are not to be kept or would not fit.
func (m *merge) newFilter(a *Add) *keyFilter {
	rows, ok := a.storedRecords()
	if !ok || filterBytes(rows) > m.o.Filters/4 || m.t.filters.get(m.keyID(), identity(a.Path)) != nil {
		return nil
	}
	return newKeyFilter(rows)
}
