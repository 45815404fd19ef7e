package delta

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
)

// WhenMatched says what a merge does with a row of the table whose key the source has.
type WhenMatched string

// WhenNotMatched says what a merge does with a key that the table does not have.
type WhenNotMatched string

// The clauses of a merge.
const (
	MatchedUpdate        WhenMatched = "update"        // the source's row takes its place; the default
	MatchedUpdateIfNewer WhenMatched = "updateIfNewer" // likewise, unless the sequence of the table's row is higher
	MatchedDelete        WhenMatched = "delete"        // it goes
	MatchedIgnore        WhenMatched = "ignore"        // it stays

	NotMatchedInsert WhenNotMatched = "insert" // the default
	NotMatchedIgnore WhenNotMatched = "ignore"
)

// MergeOptions say how [Table.Merge] brings rows into a table. Key must be set.
type MergeOptions struct {
	Key      []string // columns that name a row
	Sequence string   // column of which the highest value is the last change of a key; empty: the order in the source
	Op       string   // column of the source, not of the table, that says what a row does; empty: all upsert
	Deletes  []string // the values of Op that delete; every other one upserts

	Matched    WhenMatched
	NotMatched WhenNotMatched
	Evolve     bool // columns that only the source has become columns of the table

	// Tombstones is how long a delete is remembered, so that an older change which comes late does not bring the row
	// back; 0: not at all. It needs Sequence, and lets a merge write below _weir/tombstones.
	Tombstones time.Duration
	// CopyOnWrite rewrites files even in a table with delta.enableDeletionVectors.
	CopyOnWrite bool

	Memory  int64 // bytes of rows held while files are rewritten, beside the source; 0 means 64 MiB
	Filters int64 // bytes of key filters kept in memory between merges; 0 means 64 MiB, negative none
	Parquet parquet.WriterOptions

	Txns []Txn          // of the commit
	Info map[string]any // further members of its commitInfo

	// Earlier are the puts of earlier calls with this source and of this one, where nobody knows what became of them; see
	// [Attempts]. One that is in the log is the merge. Without it a merge that is repeated after an *UnknownOutcomeError may
	// overwrite what others have merged since, if it has no Sequence.
	Earlier *Attempts
}

const (
	defaultMergeMemory  = 64 << 20
	defaultFilterMemory = 64 << 20
)

func (o MergeOptions) withDefaults() (MergeOptions, error) {
	if o.Matched == "" {
		o.Matched = MatchedUpdate
	}
	if o.NotMatched == "" {
		o.NotMatched = NotMatchedInsert
	}
	if o.Memory <= 0 {
		o.Memory = defaultMergeMemory
	}
	if o.Filters == 0 {
		o.Filters = defaultFilterMemory
	}
	if o.Earlier == nil {
		o.Earlier = new(Attempts)
	}
	switch {
	case o.Sequence == "" && o.Matched == MatchedUpdateIfNewer:
		return o, invalid("updateIfNewer needs a column of sequences")
	case o.Sequence == "" && o.Tombstones > 0:
		return o, invalid("tombstones need a column of sequences")
	case o.Tombstones > 0 && o.Matched != MatchedUpdateIfNewer:
		return o, invalid("tombstones are for updateIfNewer: an update that overwrites newer rows needs no memory of deletes")
	}
	return o, nil
}

// MergeResult says what [Table.Merge] did.
type MergeResult struct {
	Version    int64 // of the commit; of the table if there was nothing to commit
	Attempts   int   // how often the merge was worked out, because others committed meanwhile; 0: an earlier call's was found
	Inserted   int64 // rows
	Updated    int64
	Deleted    int64
	Stale      int64 // changes older than what the table holds or remembers
	Superseded int64 // changes of the source before the last one of their key

	Files         int   // of the table when it was read
	FilesRead     int   // whose keys were looked at; the others could not hold any of the source's
	FilesAdded    int   // data files written
	FilesRemoved  int   // data files that left the table
	FilesMarked   int   // files that got a new deletion vector
	BytesAdded    int64 // size of the data files written
	BytesMarked   int64 // size of the deletion vectors, tombstones and change files written
	RowsRewritten int64 // that did not change, but stood in a rewritten file
}

// Merge brings the rows of source into the table by key, in one commit.
//
// The steps: keep the last change of each key; leave out the files that cannot hold any of the keys, by partition values,
// statistics and key filters; read the key columns of the others to find the rows; write what follows; commit. A file is
// rewritten row group by row group, or, in a table with delta.enableDeletionVectors, its rows are marked as deleted and the
// new ones written to a file of their own; once half of a file's rows are gone it is rewritten after all. When another
// commit got in the way, all is done again on the newer snapshot.
//
// A key names at most one row of the table; rows that share one become one when they are updated. A row that is updated
// takes all its values from the source: columns that the source lacks become null. With a Sequence a row without one
// counts as the oldest. The same merge twice changes nothing the second time, so one whose outcome is unknown may be
// repeated.
//
// Errors: *KeyError, *schema.MergeError, *InvalidTransactionError, ErrAppendOnly, *NotNullError and the like of the
// rows; those of [Snapshot.Read] and [Table.Commit]. Nothing was merged then, unless it is an *UnknownOutcomeError; see Earlier.
func (t *Table) Merge(ctx context.Context, source []*column.Batch, o MergeOptions) (MergeResult, error) {
	o, err := o.withDefaults()
	if err != nil {
		return MergeResult{}, err
	}
	if err := checkText(source); err != nil {
		return MergeResult{}, fmt.Errorf("merge: %w", err)
	}
	changes, err := newChangeSet(source, &o, t.filters.seed)
	if err != nil {
		return MergeResult{}, fmt.Errorf("merge: %w", err)
	}
	for attempt := 1; ; attempt++ {
		s, err := t.Update(ctx)
		if err != nil {
			return MergeResult{}, err
		}
		if landed, err := t.landed(ctx, o.Earlier); err != nil {
			return MergeResult{}, fmt.Errorf("merge: %w", err)
		} else if landed {
			return t.merged(ctx, o.Earlier.version)
		}
		m := &merge{t: t, s: s, o: &o, changeSet: changes}
		m.result = MergeResult{Version: s.version, Attempts: attempt, Superseded: changes.superseded, Files: s.files.len}
		err = m.run(ctx)
		if err == nil {
			return m.result, nil
		}
		err = fmt.Errorf("merge: %w", errors.Join(err, m.undo(ctx, err)))
		if _, conflict := errors.AsType[*ConflictError](err); !conflict || attempt >= t.opt.MaxAttempts {
			return MergeResult{Attempts: attempt}, err
		}
		if err := pause(ctx, attempt); err != nil {
			return MergeResult{}, err
		}
	}
}

// merge is one attempt, over one snapshot.
type merge struct {
	*changeSet
	t      *Table
	s      *Snapshot
	o      *MergeOptions
	schema *schema.Type // of the table afterwards
	values [][]datum    // of the key columns, for pruning

	files []*mergeFile // that hold keys of the source
	fresh []int        // changes whose rows go into new files
	edit  *tableEdit

	result MergeResult
}

func (m *merge) run(ctx context.Context) error {
	m.reset()
	if len(m.changes) == 0 {
		return nil
	}
	if err := m.prepare(); err != nil {
		return err
	}
	if err := m.match(ctx); err != nil {
		return err
	}
	graves, err := m.openTombstones(ctx)
	if err != nil {
		return err
	}
	m.decide()
	if err := m.write(ctx); err != nil {
		return err
	}
	if err := graves.write(ctx); err != nil {
		return err
	}
	return m.commit(ctx, graves)
}

// prepare settles the schema that the table will have.
func (m *merge) prepare() error {
	if err := checkWritable(m.s.protocol, m.s.metadata, m.s.schema); err != nil {
		return err
	}
	merged, err := schema.Merge(m.s.schema, m.changeSet.schema)
	if err != nil {
		return err
	}
	if merged != m.s.schema && !m.o.Evolve {
		return invalid("the source has columns that the table lacks, and the schema is not to evolve")
	}
	m.schema, m.values = merged, m.keyValues()
	for i, f := range m.key {
		if classOf(f.Type) == bytesClass && len(m.values[i][0].b) == 0 && slices.Contains(m.s.metadata.PartitionColumns, f.Name) {
			return &KeyError{f.Name, "it partitions the table, where the empty string is null"}
		}
	}
	m.edit = m.t.newTableEdit(m.s, merged, m.o.Parquet, m.o.Memory)
	m.edit.mark = m.s.deletionVectors() && !m.o.CopyOnWrite
	return nil
}

// decide sorts the changes by what becomes of them, now that it is known which keys the table has.
func (m *merge) decide() {
	for n := range m.changes {
		c := &m.changes[n]
		switch {
		case c.stale:
			m.result.Stale++
		case c.matched && (c.delete || m.o.Matched == MatchedDelete):
			m.result.Deleted++
		case c.matched && m.o.Matched != MatchedIgnore:
			m.result.Updated++
		case !c.matched && !c.delete && m.o.NotMatched == NotMatchedInsert:
			m.result.Inserted++
			m.fresh = append(m.fresh, n)
		}
	}
}

// replaces says whether the rows of the table with the key of change n go.
func (m *merge) replaces(n int) bool { return !m.changes[n].stale && m.o.Matched != MatchedIgnore }

// upserts says whether the row of change n, which has matched, is to be in the table.
func (m *merge) upserts(n int) bool {
	return m.replaces(n) && !m.changes[n].delete && m.o.Matched != MatchedDelete
}

// write makes the files.
func (m *merge) write(ctx context.Context) error {
	m.placeUpdates()
	for _, f := range m.files {
		var moved []*column.Batch
		if len(f.updates) > 0 {
			moved = m.rows(f.updates)
		}
		if err := m.edit.remove(ctx, f.add, f.dead(m), f.updated(m), moved); err != nil {
			return err
		}
	}
	if len(m.fresh) > 0 {
		if err := m.edit.insert(ctx, m.rows(m.fresh)); err != nil {
			return err
		}
	}
	return m.edit.finish(ctx)
}

// placeUpdates gives each updated row to the first file that held its key.
func (m *merge) placeUpdates() {
	placed := make(map[int]bool, m.result.Updated)
	for _, f := range m.files {
		for _, at := range f.matches {
			if n := int(at.change); m.upserts(n) && !placed[n] {
				placed[n] = true
				f.updates = append(f.updates, n)
			}
		}
	}
}

// commit puts the log entry, unless nothing has changed.
func (m *merge) commit(ctx context.Context, graves *tombstoneEdit) error {
	tx := m.edit.transaction()
	tx.Operation = "MERGE"
	tx.Parameters = map[string]any{
		"predicate": m.o.Key, "matchedPredicates": string(m.o.Matched), "notMatchedPredicates": string(m.o.NotMatched),
	}
	tx.Info, tx.Txns = m.o.Info, append(graves.txns(), m.o.Txns...)
	tx.Reads.Match = m.mayHold
	if m.o.Tombstones > 0 {
		tx.ReadTxns = []string{tombstoneApp}
	}
	m.sumUp(graves)
	if len(tx.Adds)+len(tx.Removes)+len(tx.Txns) == 0 && tx.Metadata == nil {
		return nil
	}
	tx.Metrics = m.result.metrics()
	res, err := m.t.CommitOnce(ctx, m.o.Earlier, func(context.Context, *Snapshot) (*Transaction, error) {
		again := *tx
		return &again, nil
	})
	if err != nil {
		return err
	}
	m.result.Version = res.Version
	if res.Attempts > 0 {
		return nil
	}
	if m.result, err = m.t.merged(ctx, res.Version); err != nil {
		return err
	}
	return m.edit.undo(ctx)
}

// merged is the result of the merge that made a version, as far as the entry tells it.
func (t *Table) merged(ctx context.Context, version int64) (MergeResult, error) {
	e, err := readEntry(ctx, t.store, version)
	if err != nil {
		return MergeResult{}, fmt.Errorf("read an earlier merge: %w", err)
	}
	info := e.info()
	n := func(metric string) int64 {
		i, _ := strconv.ParseInt(info.Metrics[metric], 10, 64) // 0 if it is not there
		return i
	}
	return MergeResult{
		Version: version, Inserted: n("numTargetRowsInserted"), Updated: n("numTargetRowsUpdated"), Deleted: n("numTargetRowsDeleted"),
		RowsRewritten: n("numTargetRowsCopied"), FilesAdded: int(n("numTargetFilesAdded")), FilesRemoved: int(n("numTargetFilesRemoved")),
		BytesAdded: n("numTargetBytesAdded"), FilesMarked: int(n("numTargetDeletionVectorsUpdated")),
	}, nil
}

func (m *merge) sumUp(graves *tombstoneEdit) {
	e := m.edit
	m.result.FilesAdded, m.result.FilesMarked = len(e.written.adds), e.marked
	m.result.FilesRemoved = len(e.removes) - e.marked
	m.result.RowsRewritten = e.kept
	m.result.BytesMarked = e.sideBytes + graves.bytes
	for _, a := range e.written.adds {
		m.result.BytesAdded += a.Size
	}
}

func (r *MergeResult) metrics() map[string]string {
	n := func(i int64) string { return strconv.FormatInt(i, 10) }
	return map[string]string{
		"numTargetRowsInserted": n(r.Inserted), "numTargetRowsUpdated": n(r.Updated), "numTargetRowsDeleted": n(r.Deleted),
		"numTargetRowsCopied": n(r.RowsRewritten), "numTargetFilesAdded": n(int64(r.FilesAdded)),
		"numTargetFilesRemoved": n(int64(r.FilesRemoved)), "numTargetBytesAdded": n(r.BytesAdded),
		"numTargetDeletionVectorsUpdated": n(int64(r.FilesMarked)),
		"numSourceRows":                   n(r.Inserted + r.Updated + r.Deleted + r.Stale + r.Superseded),
	}
}

// undo deletes what no commit names. After an unknown outcome that is not known.
func (m *merge) undo(ctx context.Context, why error) error {
	if _, unknown := errors.AsType[*UnknownOutcomeError](why); unknown || m.edit == nil {
		return nil
	}
	return m.edit.undo(ctx)
}
