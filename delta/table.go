// Package delta reads and writes Delta tables: the log, its snapshots, transactions and checkpoints.
//
// The files are named after the nouns of the Delta protocol (PROTOCOL.md of delta-io/delta), which is the source of every
// rule in here. The way of a commit: build (commit.go) → validate (transaction.go) → conflicts (conflict.go) → put
// (commit.go) → the next snapshot (snapshot.go).
package delta

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// Options of a table. The zero value is useful.
type Options struct {
	EngineInfo      string           // of commits, such as "weir/0.1.0"
	Logger          *slog.Logger     // nil: slog.Default
	CheckpointEvery int              // commits; 0: 100, or delta.checkpointInterval of the table if that is less. Sooner after 16 MiB of log
	MaxAttempts     int              // of a commit that loses against others; 0: 100
	Now             func() time.Time // nil: time.Now
}

func (o Options) withDefaults() Options {
	if o.EngineInfo == "" {
		o.EngineInfo = "weir"
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.MaxAttempts <= 0 {
		o.MaxAttempts = 100
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return o
}

// seenFor is how long a version counts as seen: after that it is looked at again before anything is built on it.
const seenFor = 60 * time.Second

// Table is an open table. Its methods may be called concurrently; commits of one Table wait for each other.
type Table struct {
	store store.Store
	opt   Options
	snap  atomic.Pointer[Snapshot]

	turn chan struct{} // holds one token; who has it may advance snap and use the fields below
	seen time.Time     // when the entry of snap.version was last known to be in the store

	checkpoints checkpointer
	filters     keyFilters // of the files that merges have read
}

// Open opens the table in st at its latest version.
//
// Errors: ErrNotATable, *CorruptLogError, *UnsupportedFeatureError (the table cannot be read), those of the store.
func Open(ctx context.Context, st store.Store, o Options) (*Table, error) {
	o = o.withDefaults()
	seen := o.Now()
	snap, seg, err := load(ctx, st, latest)
	if err != nil {
		return nil, err
	}
	return newTable(st, o, snap, seg.base(), seen), nil
}

func newTable(st store.Store, o Options, snap *Snapshot, checkpoint int64, seen time.Time) *Table {
	t := &Table{store: st, opt: o, turn: make(chan struct{}, 1), seen: seen}
	t.filters.seed = rand.Uint64()
	t.checkpoints.last = checkpoint
	t.snap.Store(snap)
	t.turn <- struct{}{}
	return t
}

// OpenAt is the snapshot of a version. Errors: as of [Open], *VersionError.
func OpenAt(ctx context.Context, st store.Store, version int64) (*Snapshot, error) {
	if version < 0 {
		return nil, &VersionError{version, "is negative"}
	}
	s, _, err := load(ctx, st, version)
	return s, err
}

// CreateOptions describe a new table.
type CreateOptions struct {
	Schema           *schema.Type // the columns, partition columns included
	PartitionColumns []string
	Name             string
	Description      string
	Configuration    map[string]string // table properties
	Features         []string          // of the protocol, by name; each makes the table unreadable or unwritable to some
	EngineInfo       string

	Options Options // of the opened table; EngineInfo is taken from above
}

// Create makes a table: version 0 of the log.
//
// Errors: ErrExist, *InvalidTransactionError, *UnsupportedFeatureError, *UnknownOutcomeError, those of the store.
func Create(ctx context.Context, st store.Store, c CreateOptions) (*Table, error) {
	o := c.Options
	o.EngineInfo = c.EngineInfo
	o = o.withDefaults()
	if _, err := findSegment(ctx, st, latest); err == nil || IsFatal(err) {
		return nil, fmt.Errorf("%w in %s", ErrExist, st)
	} else if !errors.Is(err, ErrNotATable) {
		return nil, err
	}
	now := o.Now()
	created := now.UnixMilli()
	md := Metadata{
		ID: newUUID(), Name: c.Name, Description: c.Description, CreatedTime: &created,
		PartitionColumns: c.PartitionColumns, Configuration: c.Configuration,
	}
	md.SetSchema(c.Schema)
	tx := &Transaction{
		Operation:   "CREATE TABLE",
		Parameters:  map[string]any{"partitionBy": c.PartitionColumns, "isManaged": false},
		BlindAppend: true,
		Protocol:    protocolWith(c.Features, c.Configuration),
		Metadata:    &md,
	}
	none := &Snapshot{version: -1, store: st}
	t := newTable(st, o, none, -1, now)
	<-t.turn
	defer t.release()
	p, err := t.prepare(none, tx)
	if err != nil {
		return nil, err
	}
	taken, err := t.put(ctx, p)
	if err != nil {
		return nil, err
	}
	if taken {
		return nil, fmt.Errorf("%w in %s", ErrExist, st)
	}
	return t, t.accept(p)
}

// Store is where the table is.
func (t *Table) Store() store.Store { return t.store }

// Snapshot is the newest snapshot that this Table has seen.
func (t *Table) Snapshot() *Snapshot { return t.snap.Load() }

// Update reads the entries that were added to the log since, and nothing else.
//
// Errors: ErrTableRecreated, *CorruptLogError, *UnsupportedFeatureError, those of the store. The snapshot then stays at the
// last version that could be read.
func (t *Table) Update(ctx context.Context) (*Snapshot, error) {
	if err := t.acquire(ctx); err != nil {
		return nil, err
	}
	defer t.release()
	if err := t.advance(ctx); err != nil {
		return nil, err
	}
	return t.snap.Load(), nil
}

func (t *Table) acquire(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-t.turn:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (t *Table) release() { t.turn <- struct{}{} }

// advance moves the snapshot to the end of the log. The caller has the turn.
func (t *Table) advance(ctx context.Context) error {
	if t.unseen(t.opt.Now()) {
		if err := t.verify(ctx); err != nil {
			return err
		}
	}
	for {
		now := t.opt.Now()
		s := t.snap.Load()
		e, err := readEntry(ctx, t.store, s.version+1)
		if errors.Is(err, store.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		next, err := s.next(e)
		if err != nil {
			return err
		}
		next.forget(now)
		t.snap.Store(next)
		t.seen = now
	}
}

// unseen says whether the newest entry was last looked at too long ago, by either clock: the monotonic one stands still
// while a machine sleeps, the other one can be set.
func (t *Table) unseen(now time.Time) bool {
	return now.Sub(t.seen).Abs() > seenFor || now.Round(0).Sub(t.seen.Round(0)).Abs() > seenFor
}

// verify looks whether the log still is the one that was read: its newest known entry is unchanged. If that entry was
// cleaned up, the log is loaded anew and must be of the same table and not shorter.
func (t *Table) verify(ctx context.Context) error {
	now := t.opt.Now()
	s := t.snap.Load()
	e, err := readEntry(ctx, t.store, s.version)
	switch {
	case err == nil && e.mark == s.mark:
		t.seen = now
		return nil
	case err == nil && s.mark != (mark{}):
		return fmt.Errorf("version %d has another content: %w", s.version, ErrTableRecreated)
	case err != nil && !errors.Is(err, store.ErrNotExist):
		return err
	}
	n, seg, err := load(ctx, t.store, latest)
	if errors.Is(err, ErrNotATable) {
		return fmt.Errorf("the log is gone: %w", ErrTableRecreated)
	}
	if err != nil {
		return err
	}
	if n.metadata.ID != s.metadata.ID || n.version < s.version {
		return fmt.Errorf("table %s at version %d was %s at %d: %w", n.metadata.ID, n.version, s.metadata.ID, s.version, ErrTableRecreated)
	}
	t.snap.Store(n)
	t.seen = now
	t.checkpoints.reloaded(seg.base())
	return nil
}

// History lists the newest commits, newest first, as far as the log has not been cleaned up. A limit of 0 lists all.
func (t *Table) History(ctx context.Context, limit int) ([]CommitInfo, error) {
	s, err := t.Update(ctx)
	if err != nil {
		return nil, err
	}
	var infos []CommitInfo
	for v := s.version; v >= 0 && (limit <= 0 || len(infos) < limit); v-- {
		e, err := readEntry(ctx, t.store, v)
		if errors.Is(err, store.ErrNotExist) {
			break
		}
		if err != nil {
			return nil, err
		}
		infos = append(infos, e.info())
	}
	return infos, nil
}

// Close waits for background work on the table and ends it when ctx is done. Commits after Close fail.
func (t *Table) Close(ctx context.Context) error { return t.checkpoints.close(ctx) }
