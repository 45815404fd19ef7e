package commit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync/atomic"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/ingestor/event"
)

// Settings of a table and its committer.
type Settings struct {
	Store       store.Store
	PartitionBy []string // top-level columns; only used when the table is created
	Engine      string   // engineInfo of commits, such as "weir/0.1.0"
	Parquet     parquet.WriterOptions
	Merge       *Merge // nil: records are appended
	ChangeFeed  bool   // the table has a change data feed, from the first commit of this process on
}

// Local is the committer of a table in the owner's process. Its methods may be called by any goroutine, Write and Submit of one
// submission by one at a time.
type Local struct {
	set     Settings
	streams streams
	table   atomic.Pointer[delta.Table] // nil until the table exists

	working atomic.Int32  // calls of Write and Submit that are under way
	turn    chan struct{} // holds one token; who has it commits a merge, or work that could conflict with one
}

// NewLocal opens the table, if there is one; without one it is made by the first submission that holds a file.
func NewLocal(ctx context.Context, set Settings) (*Local, error) {
	l := &Local{set: set, streams: streams{byName: map[string]*stream{}}, turn: make(chan struct{}, 1)}
	l.turn <- struct{}{}
	t, err := set.open(ctx)
	if errors.Is(err, delta.ErrNotATable) {
		return l, nil
	}
	if err != nil {
		return nil, err
	}
	l.table.Store(t)
	return l, nil
}

// open opens the table and checks that it is one that the settings can write to.
func (s *Settings) open(ctx context.Context) (*delta.Table, error) {
	t, err := delta.Open(ctx, s.Store, delta.Options{EngineInfo: s.Engine})
	if err != nil {
		return nil, fmt.Errorf("open table %s: %w", s.Store, err)
	}
	err = t.Snapshot().CheckWritable()
	if err == nil {
		err = checkPartitioning(t.Snapshot().PartitionColumns(), s.PartitionBy)
	}
	if err == nil && s.ChangeFeed {
		err = t.EnableChangeFeed(ctx)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("table %s: %w", s.Store, err), t.Close(ctx))
	}
	return t, nil
}

// checkPartitioning refuses a Pipeline whose partitioning is not the table's; an empty wish takes the table's.
func checkPartitioning(have, want []string) error {
	if len(want) == 0 {
		return nil
	}
	if fmt.Sprint(have) != fmt.Sprint(want) {
		return fmt.Errorf("is partitioned by %v and the pipeline says partitionBy %v; a table's partitioning is fixed when it is made: change partitionBy or write to a new table", have, want)
	}
	return nil
}

// Schema is the schema of the table as last seen, nil before there is one.
func (l *Local) Schema() *schema.Type {
	if t := l.table.Load(); t != nil {
		return t.Snapshot().Schema()
	}
	return nil
}

// Version is the table's version as last seen, -1 before there is one.
func (l *Local) Version() int64 {
	if t := l.table.Load(); t != nil {
		return t.Snapshot().Version()
	}
	return -1
}

// Open implements [Committer]. It answers from memory.
func (l *Local) Open(ctx context.Context, r OpenRequest) (Opened, error) {
	return l.streams.open(ctx, r)
}

// Leave implements [Committer].
func (l *Local) Leave(id event.StreamID) { l.streams.leave(id) }

// Write writes the files of sub under its schema, creating the table if this is its first data.
func (l *Local) Write(ctx context.Context, sub *Submission, batches []*column.Batch) error {
	l.working.Add(1)
	defer l.working.Add(-1)
	if l.table.Load() == nil {
		if err := l.create(ctx, sub.Schema); err != nil {
			return err
		}
	}
	t := l.table.Load()
	by := t.Snapshot().PartitionColumns()
	sub.Constraints = t.Snapshot().Constraints()
	adds, err := t.WriteData(ctx, withPartitions(sub.Schema, by), by, batches, l.set.Parquet)
	if err != nil {
		return fmt.Errorf("write data files: %w", err)
	}
	sub.Files = adds
	return nil
}

func (l *Local) create(ctx context.Context, s *schema.Type) error {
	t, err := delta.Create(ctx, l.set.Store, delta.CreateOptions{
		Schema:           withPartitions(l.set.Merge.columns(s), l.set.PartitionBy),
		PartitionColumns: l.set.PartitionBy,
		EngineInfo:       l.set.Engine,
		Configuration:    l.set.properties(),
	})
	if errors.Is(err, delta.ErrExist) { // another writer was first
		t, err = l.set.open(ctx)
	}
	if err != nil {
		return fmt.Errorf("create table %s: %w", l.set.Store, err)
	}
	l.table.Store(t)
	return nil
}

// properties are those of a new table.
func (s *Settings) properties() map[string]string {
	out := map[string]string{}
	if s.ChangeFeed {
		out["delta.enableChangeDataFeed"] = "true"
	}
	if s.Parquet.Encodings == parquet.EncodingsV1 {
		out["delta.parquet.format.version"] = "1.0.0"
	}
	return out
}

// withPartitions adds partition columns that the first records did not have, as strings.
func withPartitions(s *schema.Type, partitionBy []string) *schema.Type {
	out := *s
	for _, name := range partitionBy {
		if _, ok := s.Field(name); !ok {
			out.Fields = append(slices.Clip(out.Fields),
				schema.Field{Name: name, Type: &schema.Type{Kind: schema.String}, Nullable: true})
		}
	}
	return &out
}

// newerSchema leaves the build callback when the files do not fit the table any more.
type newerSchema struct{ table *schema.Type }

func (e *newerSchema) Error() string { return "the table's schema has moved on" }

// Submit implements [Committer].
func (l *Local) Submit(ctx context.Context, s *Submission) (Verdict, error) {
	l.working.Add(1)
	defer l.working.Add(-1)
	if len(s.Source) > 0 {
		return l.merge(ctx, s)
	}
	if len(s.Files) == 0 {
		l.streams.advance(s.Ranges)
		return Verdict{Version: l.Version()}, nil
	}
	res, err := l.table.Load().CommitOnce(ctx, &s.attempts, func(_ context.Context, snap *delta.Snapshot) (*delta.Transaction, error) {
		return l.build(snap, s)
	})
	if newer, ok := errors.AsType[*newerSchema](err); ok {
		return Verdict{NewerSchema: newer.table}, nil
	}
	if err != nil {
		return Verdict{}, fmt.Errorf("commit: %w", err)
	}
	l.streams.advance(s.Ranges)
	return Verdict{Version: res.Version}, nil
}

// build makes the transaction over snap: the files and, when they bring columns, the wider schema.
func (l *Local) build(snap *delta.Snapshot, s *Submission) (*delta.Transaction, error) {
	table := snap.Schema()
	merged, err := schema.Merge(table, s.Schema)
	if err != nil { // a column of the files has another type in the table
		return nil, &newerSchema{table}
	}
	if snap.Constraints() != s.Constraints { // the rows were not checked against what holds now
		return nil, &newerSchema{table}
	}
	tx := &delta.Transaction{
		Adds:        s.Files,
		Constraints: s.Constraints,
		Operation:   "WRITE",
		Parameters:  map[string]any{"mode": "Append", "partitionBy": snap.PartitionColumns()},
		BlindAppend: true,
		Metrics: map[string]string{
			"numFiles":       strconv.Itoa(len(s.Files)),
			"numOutputRows":  strconv.FormatInt(s.Rows, 10),
			"numOutputBytes": strconv.FormatInt(s.Bytes, 10),
		},
	}
	if merged != table { // Merge returns its first argument when there is nothing new
		md := snap.Metadata()
		md.SetSchema(merged)
		tx.Metadata = &md
	}
	return tx, nil
}

// Close waits for background work on the table.
func (l *Local) Close(ctx context.Context) error {
	if t := l.table.Load(); t != nil {
		return t.Close(ctx)
	}
	return nil
}
