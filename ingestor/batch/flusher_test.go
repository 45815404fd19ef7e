package batch

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/commit"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
	"github.com/weir-dev/weir/ingestor/transform"
)

// table is a table in memory whose answers a test steers.
type table struct {
	mu      sync.Mutex
	rows    []map[string]any // of the batches that were written last
	landed  []map[string]any // committed
	version int64
	ranges  [][]commit.Range
	answers []func() (commit.Verdict, error) // taken by Submit one by one before it commits
	writes  int
	stall   chan struct{} // Submit waits for it when set
}

func (t *table) Open(context.Context, commit.OpenRequest) (commit.Opened, error) {
	return commit.Opened{}, errors.New("not used")
}
func (t *table) Leave(event.StreamID) {}

func (t *table) Write(_ context.Context, sub *commit.Submission, batches []*column.Batch) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows = nil
	t.writes++
	for _, b := range batches {
		for i := range b.Rows {
			t.rows = append(t.rows, b.Row(i))
		}
	}
	sub.Files = []delta.Add{{Path: fmt.Sprint("file-", t.writes), Size: 1}}
	return nil
}

func (t *table) Submit(ctx context.Context, s *commit.Submission) (commit.Verdict, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.stall != nil {
		select {
		case <-t.stall:
		case <-ctx.Done():
			return commit.Verdict{}, ctx.Err()
		}
	}
	if len(t.answers) > 0 {
		answer := t.answers[0]
		t.answers = t.answers[1:]
		return answer()
	}
	if len(s.Files) > 0 {
		t.landed = append(t.landed, t.rows...)
		t.version++
	}
	t.ranges = append(t.ranges, s.Ranges)
	return commit.Verdict{Version: t.version}, nil
}

func (t *table) Schema() *schema.Type { return nil }
func (t *table) Version() int64       { return t.version }

// source counts what is settled.
type source struct {
	mu      sync.Mutex
	settled int64
	records int64
	bytes   int64
	err     error
}

func (s *source) Settle(p Part, _ int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settled, s.err = p.Last, err
	s.records += p.Records
	s.bytes += p.Bytes
}

type accounts struct {
	mu   sync.Mutex
	held int64
}

func (a *accounts) Hold(n int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.held += n
}

func (a *accounts) now() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.held
}

type observer struct {
	mu      sync.Mutex
	commits []Commit
	retries []error
}

func (o *observer) Committed(c Commit) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.commits = append(o.commits, c)
}

func (o *observer) Retrying(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.retries = append(o.retries, err)
}

// rig is a flusher over a steered table.
type rig struct {
	*testing.T
	f   *Flusher
	tab *table
	src *source
	acc *accounts
	obs *observer
	seq int64
	end chan error
}

// pass lets time go by, which in a synctest bubble takes none.
func pass(d time.Duration) { <-time.After(d) }

func newRig(t *testing.T, set Settings) *rig {
	t.Helper()
	r := &rig{T: t, tab: &table{}, src: &source{}, acc: &accounts{}, obs: &observer{}, end: make(chan error, 1)}
	r.f = New(set, r.tab, decode.NewSchema(nil, decode.Options{}), r.acc, r.obs)
	ctx, cancel := context.WithCancel(t.Context())
	go func() { r.end <- r.f.Run(ctx) }()
	t.Cleanup(cancel)
	return r
}

var settings = Settings{MaxRecords: 10, MaxAge: 5 * time.Second, MaxBytes: 1000, MinGap: 200 * time.Millisecond, Shards: 2}

// add appends n events of stream s to one shard.
func (r *rig) add(ctx context.Context, n int) error {
	shard := r.f.shards[0]
	for range n {
		err := shard.Append(ctx, time.Now(), func(dec *transform.Decoder) Part {
			r.seq++
			e := fmt.Appendf(nil, `{"n":%d}`, r.seq)
			ok, _ := dec.Append(event.JSON, e, decode.System{}, nil)
			return Part{Source: r.src, Stream: event.StreamID{Name: "s", Epoch: 1}, Last: r.seq, Records: int64(ok), Bytes: int64(len(e))}
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *rig) mustAdd(n int) {
	r.Helper()
	if err := r.add(r.Context(), n); err != nil {
		r.Fatal(err)
	}
}

func (r *rig) wantSettled(n int64) {
	r.Helper()
	synctest.Wait()
	r.src.mu.Lock()
	defer r.src.mu.Unlock()
	if r.src.settled != n {
		r.Fatalf("settled up to %d, want %d", r.src.settled, n)
	}
}

func TestAgeMakesABatchEligible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, settings)
		r.mustAdd(3)
		pass(5*time.Second - time.Millisecond)
		r.wantSettled(0)
		pass(time.Millisecond)
		r.wantSettled(3)
		if len(r.tab.landed) != 3 || len(r.tab.ranges) != 1 || r.tab.ranges[0][0].Last != 3 {
			t.Fatalf("landed %v, ranges %v", r.tab.landed, r.tab.ranges)
		}
	})
}

func TestRecordsMakeABatchEligibleAtFiveCommitsASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, settings)
		r.mustAdd(10)
		r.wantSettled(10)
		r.mustAdd(10)
		r.wantSettled(10)
		pass(200 * time.Millisecond)
		r.wantSettled(20)
	})
}

// TestABatchGrowsWhileACommitIsInFlight up to its bytes; then appending waits, and what is cancelled is not half taken.
func TestABatchGrowsWhileACommitIsInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, settings)
		r.tab.stall = make(chan struct{})
		r.mustAdd(10)
		synctest.Wait()
		r.mustAdd(100) // some 900 bytes
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.add(ctx, 100); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("a full batch takes more: %v", err)
		}
		taken := r.seq
		if _, bytes := r.f.Pending(); bytes < settings.MaxBytes || bytes > settings.MaxBytes+16 {
			t.Fatalf("%d bytes are pending", bytes)
		}
		close(r.tab.stall)
		pass(time.Second)
		r.wantSettled(taken)
		if int64(len(r.tab.landed)) != taken || len(r.tab.ranges) != 2 {
			t.Fatalf("%d rows of %d in %d commits", len(r.tab.landed), taken, len(r.tab.ranges))
		}
	})
}

func TestFlushWaitsForWhatWasAppended(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, settings)
		for range 3 {
			r.mustAdd(1)
			if err := r.f.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			r.wantSettled(r.seq)
		}
		if err := r.f.Flush(t.Context()); err != nil { // of nothing
			t.Fatal(err)
		}
	})
}

// TestFlushOfWhatCannotPass says so, although its batch is settled.
func TestFlushOfWhatCannotPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, settings)
		r.tab.answers = []func() (commit.Verdict, error){func() (commit.Verdict, error) { return commit.Verdict{}, delta.ErrTableRecreated }}
		r.mustAdd(1)
		if err := r.f.Flush(t.Context()); !errors.Is(err, delta.ErrTableRecreated) {
			t.Fatalf("a flush of records that are lost: %v", err)
		}
	})
}

func TestWhatMayPassIsTriedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, settings)
		outage := errors.New("no route to store")
		for range 20 {
			r.tab.answers = append(r.tab.answers, func() (commit.Verdict, error) { return commit.Verdict{}, outage })
		}
		r.mustAdd(10)
		pass(5 * time.Minute)
		r.wantSettled(10)
		if len(r.tab.landed) != 10 || len(r.obs.retries) != 20 || r.tab.writes != 1 {
			t.Fatalf("%d rows, %d retries, files written %d times", len(r.tab.landed), len(r.obs.retries), r.tab.writes)
		}
	})
}

// TestANewerSchema makes the owner write again: n became a string in the table, so our numbers are rescued.
func TestANewerSchema(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, settings)
		theirs := &schema.Type{Kind: schema.Struct, Fields: []schema.Field{{Name: "n", Type: &schema.Type{Kind: schema.Boolean}, Nullable: true}}}
		r.tab.answers = []func() (commit.Verdict, error){func() (commit.Verdict, error) { return commit.Verdict{NewerSchema: theirs}, nil }}
		r.mustAdd(10)
		r.wantSettled(10)
		if len(r.tab.landed) != 10 || r.tab.writes != 2 || r.obs.commits[0].Rescued != 10 {
			t.Fatalf("%d rows, %d writes, %+v", len(r.tab.landed), r.tab.writes, r.obs.commits)
		}
		if row := r.tab.landed[0]; row["n"] != nil || row["_rescued"] == nil {
			t.Fatalf("%v", row)
		}
	})
}

// TestWhatCannotPassStopsTheFlusher and tells every source.
func TestWhatCannotPassStopsTheFlusher(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, settings)
		r.tab.answers = []func() (commit.Verdict, error){func() (commit.Verdict, error) { return commit.Verdict{}, delta.ErrTableRecreated }}
		r.mustAdd(10)
		if err := <-r.end; !errors.Is(err, delta.ErrTableRecreated) {
			t.Fatal(err)
		}
		if !errors.Is(r.src.err, delta.ErrTableRecreated) || len(r.tab.landed) != 0 {
			t.Fatalf("source was told %v", r.src.err)
		}
		if err := r.f.Flush(t.Context()); !errors.Is(err, delta.ErrTableRecreated) {
			t.Fatalf("a flush after the end: %v", err)
		}
		if err := r.add(t.Context(), 1); !errors.Is(err, delta.ErrTableRecreated) {
			t.Fatalf("a record after the end: %v", err)
		}
	})
}

// TestMemoryBooksBalance: what columns take beyond their payloads is held while they exist and given back after.
func TestMemoryBooksBalance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		set := settings
		set.MaxBytes = 1 << 20
		r := newRig(t, set)
		r.tab.stall = make(chan struct{})
		wide := []byte(`{"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8}`)
		for range 10 {
			err := r.f.shards[1].Append(t.Context(), time.Now(), func(dec *transform.Decoder) Part {
				ok, _ := dec.Append(event.JSON, wide, decode.System{}, nil)
				return Part{Source: r.src, Last: 1, Records: int64(ok), Bytes: int64(len(wide))}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		synctest.Wait()
		if held := r.acc.now(); held <= 0 {
			t.Fatalf("columns wider than their payloads are not charged: %d", held)
		}
		close(r.tab.stall)
		synctest.Wait()
		if r.acc.now() != 0 || r.src.bytes != 10*int64(len(wide)) {
			t.Fatalf("%d bytes stay charged, %d of payloads came back", r.acc.held, r.src.bytes)
		}
	})
}

func TestAHardStopTellsTheSources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &rig{T: t, tab: &table{stall: make(chan struct{})}, src: &source{}, acc: &accounts{}, obs: &observer{}, end: make(chan error, 1)}
		r.f = New(settings, r.tab, decode.NewSchema(nil, decode.Options{}), r.acc, r.obs)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { r.end <- r.f.Run(ctx) }()
		r.mustAdd(10)
		synctest.Wait()
		cancel()
		if err := <-r.end; err != nil {
			t.Fatal(err)
		}
		if !errors.Is(r.src.err, context.Canceled) {
			t.Fatalf("source was told %v", r.src.err)
		}
	})
}
