package delta

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/weir-dev/weir/delta/parquet"
)

// MaintenancePolicy says what a [Maintainer] does for its table.
type MaintenancePolicy struct {
	Every time.Duration // between two looks at the table; 0 means a minute

	Compact    bool          // pack small files into larger ones
	TargetSize int64         // bytes of a file; 0 means delta.targetFileSize, or 128 MiB
	MinFiles   int           // of about one size, from which on they are packed; 0 means 8
	Settled    time.Duration // a partition without a new file for so long is packed whatever it has; 0 means an hour
	ZOrder     []string      // columns along whose Z-order curve rows are sorted while they are packed

	Vacuum   bool // once a day: delete data files that the table has not used for its retention, a week unless it says
	CleanLog bool // once an hour: delete log entries older than the log's retention, 30 days unless the table says

	// Share is how much of one processor the work may take while there is some, above 0 and up to 1; 0 means a quarter. It
	// rests accordingly, every few milliseconds of work.
	Share   float64
	Memory  int64 // bytes of rows held at a time; 0 means 64 MiB
	Parquet parquet.WriterOptions

	// Busy says whether more urgent work is going on, such as a commit: maintenance then stands back, for at most a quarter
	// of a second each time, so that it gets on beside a table that is always busy. Nil: never.
	Busy func() bool
	// Turn is waited for before a commit of the maintenance, and what it returns is called after it: it can keep commits
	// apart that would conflict. Nil: none is needed.
	Turn func(ctx context.Context) (done func(), err error)
	// Report is told what was done, and what failed. It must not block.
	Report func(MaintenanceReport)
}

const (
	defaultLook       = time.Minute
	defaultShare      = 0.25
	defaultCareMemory = 64 << 20
	vacuumEvery       = 24 * time.Hour
	cleanEvery        = time.Hour
	workBetween       = 20 * time.Millisecond  // of work between two rests
	standBack         = 250 * time.Millisecond // at most, for what is more urgent
	standBackEach     = 5 * time.Millisecond
	insistBytes       = 8 << 20 // of files that are packed while merges wait
)

func (p MaintenancePolicy) withDefaults() MaintenancePolicy {
	orDuration := func(d *time.Duration, fallback time.Duration) {
		if *d <= 0 {
			*d = fallback
		}
	}
	orDuration(&p.Every, defaultLook)
	orDuration(&p.Settled, defaultSettled)
	if p.MinFiles < 2 {
		p.MinFiles = defaultMinFiles
	}
	if p.Share <= 0 || p.Share > 1 {
		p.Share = defaultShare
	}
	if p.Memory <= 0 {
		p.Memory = defaultCareMemory
	}
	if p.Busy == nil {
		p.Busy = func() bool { return false }
	}
	if p.Report == nil {
		p.Report = func(MaintenanceReport) {}
	}
	return p
}

// Task is a part of a table's maintenance.
type Task string

// The tasks.
const (
	TaskCompact  Task = "compact"
	TaskVacuum   Task = "vacuum"
	TaskCleanLog Task = "clean-log"
)

// MaintenanceReport is what became of a task. A task that found nothing to do is not reported.
type MaintenanceReport struct {
	Task         Task
	Took         time.Duration // rests included
	Files        int           // replaced by a compaction; deleted
	Bytes        int64         // of them; 0 for the log
	BytesWritten int64
	Err          error // not that another commit was first: then it is tried again at the next look
}

// Maintainer looks after a table beside those who write to it. What it does it does in one goroutine, in small commits, at a
// part of a processor's speed; a commit of others waits for nothing but the put of such a commit, which writes one log entry.
// If others change a file that is being packed, they win.
type Maintainer struct {
	t *Table
	p MaintenancePolicy

	vacuum, clean time.Time // when they are due
	rest          rester
}

// NewMaintainer returns a maintainer of t that does nothing before Run.
func NewMaintainer(t *Table, p MaintenancePolicy) *Maintainer {
	m := &Maintainer{t: t, p: p.withDefaults()}
	m.rest = rester{share: m.p.Share, busy: m.p.Busy}
	now := t.opt.Now()
	m.vacuum = now.Add(rand.N(time.Hour)) // not all at once after a restart of many
	m.clean = now.Add(m.p.Every)
	return m
}

// Run looks after the table until ctx is done, and has stopped when it returns.
func (m *Maintainer) Run(ctx context.Context) {
	for wait(ctx, m.p.Every) == nil {
		m.Look(ctx)
	}
}

// Look does what is due now.
func (m *Maintainer) Look(ctx context.Context) {
	now := m.t.opt.Now()
	if m.p.Compact {
		m.do(ctx, TaskCompact, m.compact)
	}
	if m.p.Vacuum && !now.Before(m.vacuum) {
		m.vacuum = now.Add(vacuumEvery)
		m.do(ctx, TaskVacuum, m.sweep)
	}
	if m.p.CleanLog && !now.Before(m.clean) {
		m.clean = now.Add(cleanEvery)
		m.do(ctx, TaskCleanLog, func(ctx context.Context, r *MaintenanceReport) (err error) {
			r.Files, err = m.t.CleanLog(ctx)
			return err
		})
	}
}

func (m *Maintainer) do(ctx context.Context, task Task, work func(context.Context, *MaintenanceReport) error) {
	r := MaintenanceReport{Task: task}
	start := m.t.opt.Now()
	m.rest.begin()
	r.Err = work(ctx, &r)
	r.Took = m.t.opt.Now().Sub(start)
	if ctx.Err() == nil && (r.Err != nil || r.Files > 0) {
		m.p.Report(r)
	}
}

// compact packs what is ripe, a commit for each file that comes out.
func (m *Maintainer) compact(ctx context.Context, r *MaintenanceReport) error {
	s, err := m.t.Update(ctx)
	if err != nil {
		return err
	}
	if err := checkWritable(s.protocol, s.metadata, s.schema); err != nil {
		return err
	}
	m.t.maybeCheckpoint(s) // for commits of others
	o := OptimizeOptions{
		TargetSize: m.p.TargetSize, Memory: m.p.Memory, ZOrder: m.p.ZOrder, Parquet: m.p.Parquet,
		Pause: m.rest.pause, Turn: m.p.Turn, auto: true,
	}
	o = o.withDefaults(s)
	for _, b := range s.compactions(o.TargetSize, m.p.MinFiles, m.p.Settled, m.t.opt.Now()) {
		err := m.pack(ctx, b, o, r)
		if isConflict(err) {
			err = m.insist(ctx, b, o, r)
		}
		if err != nil && !isConflict(err) {
			return fmt.Errorf("compact: %w", err)
		}
	}
	return nil
}

func isConflict(err error) bool {
	_, ok := errors.AsType[*ConflictError](err)
	return ok
}

// pack packs what the table still has of b.
func (m *Maintainer) pack(ctx context.Context, b bin, o OptimizeOptions, r *MaintenanceReport) error {
	s := m.t.Snapshot()
	if b = b.in(s); len(b) < 2 {
		return nil
	}
	var done OptimizeResult
	err := m.t.replace(ctx, s, []bin{b}, o, &done)
	r.Files += done.FilesRemoved
	r.Bytes += done.BytesRemoved
	r.BytesWritten += done.BytesAdded
	return err
}

// insist packs a part of b once more, small enough to be packed in a moment, while the commits that would get in the way wait
// for their turn. Files that every merge changes would never be packed otherwise.
func (m *Maintainer) insist(ctx context.Context, b bin, o OptimizeOptions, r *MaintenanceReport) error {
	if m.p.Turn == nil {
		return nil
	}
	release, err := o.Turn(ctx)
	if err != nil {
		return err
	}
	defer release()
	o.Pause, o.Turn = nil, nil
	s := m.t.Snapshot()
	if b = b.in(s); len(b) < 2 {
		return nil
	}
	return m.pack(ctx, chunked(b, insistBytes)[0], o.withDefaults(s), r)
}

func (m *Maintainer) sweep(ctx context.Context, r *MaintenanceReport) error {
	gone, err := m.t.Vacuum(ctx, VacuumOptions{DataFiles: true})
	r.Files, r.Bytes = len(gone.Files), gone.Bytes
	return err
}

// rester keeps work to its share of a processor, and out of the way of what is more urgent.
type rester struct {
	share float64
	busy  func() bool
	since time.Time // of the work since the last rest
}

func (r *rester) begin() { r.since = time.Now() }

// pause is called often while there is work. Time that the work spent waiting for the processor counts as work, so on a
// machine that is busy it takes less than its share.
func (r *rester) pause(ctx context.Context) error {
	worked := time.Since(r.since)
	if worked < workBetween {
		return ctx.Err()
	}
	err := wait(ctx, time.Duration(float64(worked)*(1/r.share-1)))
	for waited := time.Duration(0); err == nil && waited < standBack && r.busy(); waited += standBackEach {
		err = wait(ctx, standBackEach)
	}
	r.begin()
	return err
}

// wait waits for d or for the end of ctx.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err()
	case <-ctx.Done():
		return ctx.Err()
	}
}
