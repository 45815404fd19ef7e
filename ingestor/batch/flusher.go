package batch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/commit"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/transform"
)

// Settings of a flusher.
type Settings struct {
	MaxRecords int64         // a batch of so many records is eligible for a commit
	MaxAge     time.Duration // as is one whose first record is so old
	MaxBytes   int64         // bound of the payload bytes in the growing batch; shards take no more beyond it
	MinGap     time.Duration // least time from one commit's start to the next one's
	Shards     int
	Merge      bool // records are submitted as they are, not as data files

	// Tap sees what was cut, before it is written; it must not keep or change it. Nil: nobody does.
	Tap func([]*column.Batch)

	// What records go through before they are the table's: the schema that they are decoded into, and the steps. Without
	// steps they are decoded into the table's.
	Records   *decode.Schema
	Transform *transform.Program
}

// decoder returns a decoder for a shard.
func (s *Settings) decoder(table *decode.Schema) *transform.Decoder {
	if s.Transform == nil {
		return transform.NewDecoder(table, table, nil)
	}
	return transform.NewDecoder(s.Records, table, s.Transform)
}

// Table is where a flusher writes to; *commit.Local is one.
type Table interface {
	commit.Committer
	Write(ctx context.Context, sub *commit.Submission, batches []*column.Batch) error
	Schema() *schema.Type
	Version() int64
}

// Observer is told about every commit, for metrics and status. It must not block.
type Observer interface {
	Committed(Commit)
	// Retrying reports a failed attempt that will be tried again.
	Retrying(err error)
}

// Commit describes one commit.
type Commit struct {
	Version     int64
	Rows, Bytes int64 // of the data files
	Payload     int64 // bytes of the payloads
	Files       int
	Write, Put  time.Duration // time to write the data files, and to commit them
	Oldest      time.Duration // age of the oldest record when it was committed
	Rescued     int           // values that a newer schema moved into _rescued
	Conflicts   []decode.Conflict
	Merged      *delta.MergeResult // of a table that is merged
}

// Flusher cuts the shards of a pipeline when they are due and carries what it took through the commit. One commit is in
// flight at a time; meanwhile the shards grow.
type Flusher struct {
	set      Settings
	table    Table
	schema   *decode.Schema
	accounts Accounts
	observe  Observer
	shards   []*Shard
	next     atomic.Uint32 // shard of the next source

	records, bytes atomic.Int64 // in the shards
	oldest         atomic.Int64 // Unix nanoseconds of the first record in the shards, 0 for none
	urgent, eager  atomic.Bool
	ended          atomic.Pointer[ending]
	over           chan struct{} // closed once ended is set
	kick           chan struct{}

	flushMu sync.Mutex // guards flush generations below
	flushed *generation
}

// ending says why a flusher takes nothing any more.
type ending struct{ err error }

// generation is one cut that callers of Flush wait for.
type generation struct {
	done chan struct{}
	err  error // set before done is closed
}

// New returns a flusher of schema's records into table.
func New(set Settings, table Table, s *decode.Schema, a Accounts, o Observer) *Flusher {
	f := &Flusher{
		set: set, table: table, schema: s, accounts: a, observe: o,
		kick: make(chan struct{}, 1), over: make(chan struct{}), flushed: &generation{done: make(chan struct{})},
	}
	for range set.Shards {
		f.shards = append(f.shards, &Shard{flusher: f, dec: set.decoder(s)})
	}
	return f
}

// Shard returns the shard for a new source. A source keeps it for its whole life.
func (f *Flusher) Shard() *Shard { return f.shards[int(f.next.Add(1))%len(f.shards)] }

// Pending returns the records and the payload bytes that wait for a commit to take them.
func (f *Flusher) Pending() (records, bytes int64) { return f.records.Load(), f.bytes.Load() }

// Hasten makes what is in the shards eligible now: a source has nothing more to send, or memory is short.
func (f *Flusher) Hasten() {
	f.urgent.Store(true)
	f.wake()
}

// Eager makes every batch eligible at once from now on: the pipeline is draining, and nobody joins the last records.
func (f *Flusher) Eager() {
	f.eager.Store(true)
	f.wake()
}

// Flush commits everything appended before the call, and returns when that is settled. Errors: that of ctx; why it is not
// in the table; what ended the flusher.
func (f *Flusher) Flush(ctx context.Context) error {
	f.flushMu.Lock()
	g := f.flushed
	f.flushMu.Unlock()
	f.Hasten()
	select {
	case <-g.done:
		return g.err
	case <-f.over:
		return f.ended.Load().err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// full says that the growing batch takes no more before the next cut.
func (f *Flusher) full() bool { return f.bytes.Load() >= f.set.MaxBytes }

func (f *Flusher) wake() {
	select {
	case f.kick <- struct{}{}:
	default:
	}
}

// added books rows from a payload of bytes; the first of a batch and the one that makes it eligible wake the flusher.
func (f *Flusher) added(rows, bytes int64, now time.Time) {
	n := f.records.Add(rows)
	f.bytes.Add(bytes)
	first := f.oldest.CompareAndSwap(0, now.UnixNano())
	if first || n >= f.set.MaxRecords && n-rows < f.set.MaxRecords {
		f.wake()
	}
}

// due is how long the batch has yet to wait; 0 when it is eligible, negative when there is none.
func (f *Flusher) due(now time.Time) time.Duration {
	oldest := f.oldest.Load()
	if oldest == 0 {
		if f.urgent.Load() {
			return 0
		}
		return -1
	}
	if f.urgent.Load() || f.eager.Load() || f.records.Load() >= f.set.MaxRecords || f.bytes.Load() >= f.set.MaxBytes/2 {
		return 0
	}
	return max(0, f.set.MaxAge-now.Sub(time.Unix(0, oldest)))
}

// Run flushes until ctx is done. It returns an error when the pipeline cannot go on. In both cases every source was told
// by then, and nothing more can be appended.
func (f *Flusher) Run(ctx context.Context) error {
	err := f.run(ctx)
	why := err
	if why == nil {
		why = ctx.Err()
	}
	f.ended.Store(&ending{why})
	close(f.over)
	f.settleAll(f.cutAll(), -1, why)
	return err
}

func (f *Flusher) run(ctx context.Context) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time // start of the last commit
	for {
		now := time.Now()
		wait := f.due(now)
		if wait == 0 {
			wait = f.set.MinGap - now.Sub(last)
			if wait <= 0 {
				last = now
				if err := f.flush(ctx); err != nil {
					return err
				}
				continue
			}
		}
		if wait > 0 {
			timer.Reset(wait)
		}
		select {
		case <-f.kick:
		case <-timer.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// cutAll empties the shards, one after the other.
func (f *Flusher) cutAll() []cut {
	f.oldest.Store(0)
	f.records.Store(0)
	f.bytes.Store(0)
	cuts := make([]cut, 0, len(f.shards))
	for _, s := range f.shards {
		if c := s.cut(); len(c.parts) > 0 {
			cuts = append(cuts, c)
		}
	}
	return cuts
}

// flush carries one batch into the table. Its steps: cut the shards, write the files, submit them, settle the sources.
func (f *Flusher) flush(ctx context.Context) error {
	f.urgent.Store(false) // before the new generation: whoever waits for that one makes it urgent again
	f.flushMu.Lock()
	g := f.flushed
	f.flushed = &generation{done: make(chan struct{})}
	f.flushMu.Unlock()
	defer close(g.done)

	cuts := f.cutAll()
	version, err := f.commit(ctx, cuts)
	f.settleAll(cuts, version, err)
	g.err = err
	if err != nil && ctx.Err() != nil {
		return nil // hard stop: the sources were told that their records did not make it
	}
	return err
}

func (f *Flusher) commit(ctx context.Context, cuts []cut) (int64, error) {
	sub := &commit.Submission{}
	var batches []*column.Batch
	began := Commit{}
	for _, c := range cuts {
		if c.cols != nil {
			batches = append(batches, c.cols)
			sub.Rows += int64(c.cols.Rows)
		}
		for _, p := range c.parts {
			began.Payload += p.Bytes
			if p.Stream.Name != "" {
				sub.Ranges = append(sub.Ranges, commit.Range{Stream: p.Stream, Last: p.Last})
			}
		}
	}
	began.Rows = sub.Rows
	if f.set.Tap != nil && len(batches) > 0 {
		f.set.Tap(batches)
	}
	return f.carry(ctx, sub, batches, began)
}

// carry writes and submits until the submission is in the table. What may pass is tried again for as long as it takes:
// meanwhile memory fills, credit dries up and the producers stand still.
func (f *Flusher) carry(ctx context.Context, sub *commit.Submission, batches []*column.Batch, c Commit) (int64, error) {
	for backoff := newBackoff(); ; {
		err := f.try(ctx, sub, batches, &c)
		switch {
		case err == nil:
			if c.Rows > 0 {
				f.observe.Committed(c)
			}
			return c.Version, nil
		case ctx.Err() != nil:
			return -1, ctx.Err()
		case delta.IsFatal(err) || delta.IsReject(err):
			return -1, err
		}
		f.observe.Retrying(err)
		if err := backoff.wait(ctx); err != nil {
			return -1, err
		}
	}
}

// try writes the files unless they are written, and submits them; a newer schema makes it begin anew.
func (f *Flusher) try(ctx context.Context, sub *commit.Submission, batches []*column.Batch, c *Commit) error {
	for {
		start := time.Now()
		if len(batches) > 0 && sub.Files == nil && sub.Source == nil {
			s := f.schema.Settle() // from here on its types stand
			for i, b := range batches {
				if b.Schema != s { // cut before the newest change
					var n int
					batches[i], n = decode.Conform(b, s)
					c.Rescued += n
				}
			}
			if err := f.fill(ctx, sub, s, batches); err != nil {
				return err
			}
		}
		wrote := time.Now()
		v, err := f.table.Submit(ctx, sub)
		if err != nil {
			return err
		}
		c.Write += wrote.Sub(start)
		c.Put += time.Since(wrote)
		if v.NewerSchema == nil {
			c.Version, c.Bytes, c.Files = v.Version, sub.Bytes, len(sub.Files)
			if c.Merged = v.Merged; c.Merged != nil {
				c.Bytes, c.Files = c.Merged.BytesAdded, c.Merged.FilesAdded
			}
			return nil
		}
		moved, conflicts := f.conform(batches, v.NewerSchema)
		c.Rescued += moved
		c.Conflicts = append(c.Conflicts, conflicts...)
		*sub = commit.Submission{Ranges: sub.Ranges, Rows: sub.Rows} // the old files are orphans
	}
}

// fill puts the rows into the submission: as files, or as they are.
func (f *Flusher) fill(ctx context.Context, sub *commit.Submission, s *schema.Type, batches []*column.Batch) error {
	sub.Schema = s
	if f.set.Merge {
		sub.Source = batches
		return nil
	}
	if err := f.table.Write(ctx, sub, batches); err != nil {
		return err
	}
	sub.Bytes = 0
	for _, add := range sub.Files {
		sub.Bytes += add.Size
	}
	return nil
}

// conform takes the table's schema over and moves values that no longer fit into _rescued.
func (f *Flusher) conform(batches []*column.Batch, table *schema.Type) (int, []decode.Conflict) {
	conflicts := f.schema.Merge(table)
	to, moved := f.schema.Current(), 0
	for i, b := range batches {
		out, n := decode.Conform(b, to)
		batches[i] = out
		moved += n
	}
	return moved, conflicts
}

func (f *Flusher) settleAll(cuts []cut, version int64, err error) {
	for _, c := range cuts {
		f.accounts.Hold(-c.extra)
		for _, p := range c.parts {
			p.Source.Settle(p, version, err)
		}
		if c.cols != nil {
			c.shard.recycle(c.cols)
		}
	}
}

// backoff waits 50 ms, doubled up to 5 s, each with full jitter.
type backoff struct{ next time.Duration }

func newBackoff() *backoff { return &backoff{next: 50 * time.Millisecond} }

func (b *backoff) wait(ctx context.Context) error {
	d := time.Duration(rand.Int64N(int64(b.next))) + b.next/2
	b.next = min(2*b.next, 5*time.Second)
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait to try again: %w", ctx.Err())
	}
}
