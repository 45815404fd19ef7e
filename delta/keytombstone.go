package delta

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math/bits"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
)

// A key tombstone remembers that a key was deleted and at which sequence, so that an older change that comes late does not
// bring the row back. Tombstones are Parquet files below _weir/tombstones, sorted by key, with the columns of the key and of
// the sequence and the time of the delete. Which files count says a list; which list counts says the txn action of
// tombstoneApp, whose version is the list's number. So tombstones are committed, or not, with the rows they belong to, and
// two merges at once conflict as they should.
//
// Invariant: a list and the files in it are never changed. What a newer list leaves out is deleted an hour later, when
// nobody can still be at work with the older one. An hour of it can be a thousand names and more, so a list does not repeat
// them: from retireAt on they are written to a file of their own, which later lists name, and read again when they are due.

const (
	tombstoneDir = "_weir/tombstones/"
	tombstoneApp = "weir/tombstones"

	deletedAt = "_weir_deleted_at"

	// tombstoneFanIn files of about one size become one; a row is copied once for each power of it.
	tombstoneFanIn   = 8
	maxTombstoneRows = 1 << 20 // of files that are still packed together
	tombstoneGrace   = time.Hour

	retireAt       = 64 // names of files that wait to be deleted in one list
	deletesAtATime = 16 // of such files, by one merge
)

// tombstoneList is the content of a list.
type tombstoneList struct {
	Key      []string        `json:"key"`
	Sequence string          `json:"sequence"`
	Files    []tombstoneFile `json:"files"`
	Obsolete []obsoleteFile  `json:"obsolete"`          // no longer in use
	Retired  []obsoleteFile  `json:"retired,omitempty"` // files that hold a JSON array of more of them
}

type tombstoneFile struct {
	Key    string `json:"path"`
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"`
	Newest int64  `json:"newest"` // delete, ms since the epoch
	Stats  string `json:"stats"`  // as of an add action
}

type obsoleteFile struct {
	Key   string `json:"path"`
	Since int64  `json:"since"` // ms since the epoch; of a retired one, when the newest of its files went out of use
}

func tombstoneListKey(id int64) string { return fmt.Sprintf("%s%016x.json", tombstoneDir, id) }

// tombstoneEdit is what a merge reads of the tombstones and adds to them.
type tombstoneEdit struct {
	m      *merge
	active bool
	now    time.Time
	id     int64 // of the list read, 0 for none
	list   tombstoneList
	bytes  int64 // of what was written
	next   int64 // id of the list written, 0 for none
}

// openTombstones makes stale what an earlier delete forbids.
func (m *merge) openTombstones(ctx context.Context) (*tombstoneEdit, error) {
	e := &tombstoneEdit{m: m, active: m.o.Tombstones > 0, now: m.t.opt.Now()}
	if !e.active {
		return e, nil
	}
	e.list = tombstoneList{Key: m.o.Key, Sequence: m.o.Sequence}
	id, ok := m.s.Txn(tombstoneApp)
	if !ok {
		return e, nil
	}
	e.id = id
	data, err := readObject(ctx, m.t.store, tombstoneListKey(id), maxEntryBytes)
	if err != nil {
		return nil, fmt.Errorf("read tombstones: %w", err)
	}
	e.list = tombstoneList{}
	if err := json.Unmarshal(data, &e.list); err != nil {
		return nil, &CorruptLogError{Key: tombstoneListKey(id), Err: err}
	}
	if !slices.Equal(e.list.Key, m.o.Key) || e.list.Sequence != m.o.Sequence {
		return nil, invalid("the table's tombstones are of the key %v with the sequence %s, not of %v with %s", e.list.Key, e.list.Sequence, m.o.Key, m.o.Sequence)
	}
	return e, e.apply(ctx)
}

// apply looks the keys that the table does not have up.
func (e *tombstoneEdit) apply(ctx context.Context) error {
	m := e.m
	if !slices.ContainsFunc(m.changes, func(c change) bool { return !c.matched }) {
		return nil
	}
	var hashes []uint64
	var key []byte
	for _, f := range e.list.Files {
		if e.expired(f.Newest) || !m.within(statsBounds(f.Stats)) {
			continue
		}
		for b, err := range e.read(ctx, f) {
			if err != nil {
				return err
			}
			keys, seqs := newKeyColumns(b, m.key), newCells(find(b, m.seq))
			hashes = keys.hashes(hashes[:0], m.t.filters.seed, b.Rows)
			for row, h := range hashes {
				if !m.index.maybe(h) {
					continue
				}
				key = keys.append(key[:0], row)
				n := m.index.find(h, key)
				if n < 0 || m.changes[n].matched {
					continue
				}
				if seq, ok := seqs.get(row); ok && m.older(m.changes[n].seq, seq) {
					m.changes[n].stale = true
				}
			}
		}
	}
	return nil
}

func (e *tombstoneEdit) expired(newest int64) bool {
	return newest < e.now.Add(-e.m.o.Tombstones).UnixMilli()
}

// schema of a tombstone file.
func (e *tombstoneEdit) schema() *schema.Type {
	s := e.m.keySchema()
	s.Fields = append(s.Fields, leaf(deletedAt, schema.Timestamp))
	return s
}

func (e *tombstoneEdit) read(ctx context.Context, f tombstoneFile) func(yield func(*column.Batch, error) bool) {
	return func(yield func(*column.Batch, error) bool) {
		r, err := e.m.t.store.Open(ctx, f.Key)
		if err != nil {
			yield(nil, fmt.Errorf("read tombstones: %w", err))
			return
		}
		defer func() { _ = r.Close() }() // only read
		p, err := parquet.Open(r, r.Size())
		if err != nil {
			yield(nil, fmt.Errorf("tombstones %s: %w", f.Key, err))
			return
		}
		p.Read(ctx, e.schema())(yield)
	}
}

// write adds the deletes of the merge, forgets those that are too old, and writes the list if it has changed.
func (e *tombstoneEdit) write(ctx context.Context) error {
	if !e.active {
		return nil
	}
	changed := e.expire(ctx)
	var graves []int
	for n := range e.m.changes {
		if c := &e.m.changes[n]; c.delete && !c.stale {
			graves = append(graves, n)
		}
	}
	if len(graves) > 0 {
		changed = true
		if err := e.bury(ctx, graves); err != nil {
			return err
		}
		if err := e.pack(ctx); err != nil {
			return err
		}
	}
	if !changed {
		return nil
	}
	return e.writeList(ctx)
}

// expire takes files out of the list whose deletes are all too old, and deletes some of those that have been out for long.
func (e *tombstoneEdit) expire(ctx context.Context) (changed bool) {
	e.list.Files = slices.DeleteFunc(e.list.Files, func(f tombstoneFile) bool {
		if !e.expired(f.Newest) {
			return false
		}
		changed = true
		e.obsolete(f.Key)
		return true
	})
	return e.deleteObsolete(ctx) || changed
}

// deleteObsolete deletes what has been out of the list for long, some of it at a time. What cannot be deleted is tried again by
// a later merge.
func (e *tombstoneEdit) deleteObsolete(ctx context.Context) (changed bool) {
	e.recall(ctx)
	tried := 0
	e.list.Obsolete = slices.DeleteFunc(e.list.Obsolete, func(f obsoleteFile) bool {
		if !e.due(f) || tried == deletesAtATime {
			return false
		}
		if !strings.HasPrefix(f.Key, tombstoneDir) {
			return true // not a name that a merge has written
		}
		tried++
		gone := e.m.t.store.Delete(ctx, f.Key) == nil
		changed = changed || gone
		return gone
	})
	return changed
}

func (e *tombstoneEdit) due(f obsoleteFile) bool {
	return f.Since < e.now.Add(-tombstoneGrace).UnixMilli()
}

// recall takes the names of a retired file back into the list when they are due and there are none before them. The file
// is one of them, the last: it must not go before a list is committed that can do without it. One that cannot be read does
// not keep the others from it; a later merge tries it again.
func (e *tombstoneEdit) recall(ctx context.Context) {
	if slices.ContainsFunc(e.list.Obsolete, e.due) {
		return
	}
	for i, retired := range e.list.Retired {
		if !e.due(retired) {
			continue
		}
		data, err := readObject(ctx, e.m.t.store, retired.Key, maxEntryBytes)
		var files []obsoleteFile
		if err != nil || json.Unmarshal(data, &files) != nil {
			continue
		}
		e.list.Retired = slices.Delete(e.list.Retired, i, i+1)
		e.list.Obsolete = slices.Concat(files, []obsoleteFile{retired}, e.list.Obsolete)
		return
	}
}

// retire moves the names of files that wait to be deleted out of the list when they are many.
func (e *tombstoneEdit) retire(ctx context.Context) error {
	var due, wait []obsoleteFile
	newest := int64(0)
	for _, f := range e.list.Obsolete {
		if e.due(f) {
			due = append(due, f)
			continue
		}
		wait = append(wait, f)
		newest = max(newest, f.Since)
	}
	if len(wait) < retireAt {
		return nil
	}
	data, err := json.Marshal(wait)
	if err != nil {
		return fmt.Errorf("write tombstones: %w", err)
	}
	key := tombstoneDir + newUUID() + ".json"
	if err := e.m.t.store.PutIfAbsent(ctx, key, data); err != nil {
		return fmt.Errorf("write tombstones: %w", err)
	}
	e.wrote(key, int64(len(data)))
	e.list.Obsolete = due
	e.list.Retired = append(e.list.Retired, obsoleteFile{key, newest})
	return nil
}

func (e *tombstoneEdit) obsolete(key string) {
	e.list.Obsolete = append(e.list.Obsolete, obsoleteFile{Key: key, Since: e.now.UnixMilli()})
}

// grave is a row of a tombstone file.
type grave struct {
	key  []byte
	from *column.Batch
	row  int
	at   int64 // microseconds since the epoch
}

// bury writes a file of the keys of some changes.
func (e *tombstoneEdit) bury(ctx context.Context, numbers []int) error {
	graves := make([]grave, len(numbers))
	for i, n := range numbers {
		c := &e.m.changes[n]
		graves[i] = grave{e.m.index.key(n), e.m.source[c.batch], int(c.row), e.now.UnixMicro()}
	}
	return e.writeFile(ctx, graves)
}

func (e *tombstoneEdit) writeFile(ctx context.Context, graves []grave) error {
	slices.SortFunc(graves, func(a, b grave) int { return bytes.Compare(a.key, b.key) })
	s := e.schema()
	out := column.NewBatch(s)
	newest := int64(0)
	for _, g := range graves {
		for i, f := range s.Fields[:len(s.Fields)-1] {
			appendFrom(out.Columns[i], find(g.from, f.Name), g.row)
		}
		out.Columns[len(s.Fields)-1].AppendInt64(g.at)
		newest = max(newest, g.at/1000)
	}
	out.Seal(len(graves))
	key := tombstoneDir + newUUID() + ".parquet"
	w, err := e.m.t.store.Create(ctx, key)
	if err != nil {
		return err
	}
	info, err := parquet.Write(w, s, []*column.Batch{out}, e.m.o.Parquet)
	if err != nil {
		return fmt.Errorf("write tombstones: %w", errors.Join(err, w.Abort()))
	}
	if err := w.Close(); err != nil {
		return err
	}
	e.wrote(key, info.Size)
	e.list.Files = append(e.list.Files, tombstoneFile{
		Key: key, Rows: info.Rows, Bytes: info.Size, Newest: newest, Stats: info.Stats.JSON(),
	})
	return nil
}

func (e *tombstoneEdit) wrote(key string, size int64) {
	e.m.edit.side = append(e.m.edit.side, key)
	e.bytes += size
}

// pack makes one file of several of about one size.
func (e *tombstoneEdit) pack(ctx context.Context) error {
	levels := map[int][]tombstoneFile{}
	for _, f := range e.list.Files {
		level := bits.Len64(uint64(f.Rows)) / 3
		levels[level] = append(levels[level], f)
		if len(levels[level]) < tombstoneFanIn {
			continue
		}
		rows := int64(0)
		for _, f := range levels[level] {
			rows += f.Rows
		}
		if rows > maxTombstoneRows {
			continue
		}
		return e.packFiles(ctx, levels[level])
	}
	return nil
}

func (e *tombstoneEdit) packFiles(ctx context.Context, files []tombstoneFile) error {
	var graves []grave
	for _, f := range files {
		for b, err := range e.read(ctx, f) {
			if err != nil {
				return err
			}
			keys, at := newKeyColumns(b, e.m.key), newCells(find(b, deletedAt))
			for row := range b.Rows {
				if when, _ := at.get(row); !e.expired(when.i / 1000) {
					graves = append(graves, grave{keys.append(nil, row), b, row, when.i})
				}
			}
		}
	}
	gone := map[string]bool{}
	for _, f := range files {
		gone[f.Key] = true
		e.obsolete(f.Key)
	}
	e.list.Files = slices.DeleteFunc(e.list.Files, func(f tombstoneFile) bool { return gone[f.Key] })
	return e.writeFile(ctx, e.latest(graves))
}

// latest keeps the tombstone of the highest sequence for each key.
func (e *tombstoneEdit) latest(graves []grave) []grave {
	order := classOf(e.m.seqType)
	seq := func(g grave) datum {
		v := find(g.from, e.m.seq)
		return valueAt(v, v.Position(g.row)) // merges take no row without one
	}
	slices.SortStableFunc(graves, func(a, b grave) int { return bytes.Compare(a.key, b.key) })
	out := graves[:0]
	for _, g := range graves {
		n := len(out) - 1
		switch {
		case n < 0 || !bytes.Equal(out[n].key, g.key):
			out = append(out, g)
		case order.compare(seq(g), seq(out[n])) >= 0:
			out[n] = g
		}
	}
	return out
}

func (e *tombstoneEdit) writeList(ctx context.Context) error {
	if e.id != 0 {
		e.obsolete(tombstoneListKey(e.id))
	}
	if err := e.retire(ctx); err != nil {
		return err
	}
	// Random above the last one too: merges of one base that are as fast as the clock, or whose clock is behind that of who
	// was before, would take the same number.
	e.next = max(e.now.UnixMilli()<<20, e.id+1) + rand.Int64N(1<<20)
	data, err := json.Marshal(e.list)
	if err != nil {
		return fmt.Errorf("write tombstones: %w", err)
	}
	key := tombstoneListKey(e.next)
	if err := e.m.t.store.PutIfAbsent(ctx, key, data); err != nil {
		return fmt.Errorf("write tombstones: %w", err)
	}
	e.wrote(key, int64(len(data)))
	return nil
}

// txns makes the list the one that counts.
func (e *tombstoneEdit) txns() []Txn {
	if e.next == 0 {
		return nil
	}
	return []Txn{{AppID: tombstoneApp, Version: e.next}}
}

// appendFrom appends row of src, a column of single values, to dst, which has the same type.
func appendFrom(dst, src *column.Vector, row int) {
	if src == nil || src.IsNull(row) {
		dst.AppendNull()
		return
	}
	row = src.Position(row)
	switch {
	case src.Type.Kind == schema.Boolean:
		dst.AppendBool(src.Bools[row])
	case src.Int32s != nil:
		dst.AppendInt32(src.Int32s[row])
	case src.Int64s != nil:
		dst.AppendInt64(src.Int64s[row])
	case src.Float32s != nil:
		dst.AppendFloat32(src.Float32s[row])
	case src.Float64s != nil:
		dst.AppendFloat64(src.Float64s[row])
	case src.Type.Kind == schema.Decimal:
		n := src.Data[16*row : 16*row+16]
		dst.AppendDecimal128(int64(binary.BigEndian.Uint64(n)), binary.BigEndian.Uint64(n[8:]))
	default:
		dst.AppendBytes(src.BytesAt(row))
	}
}
