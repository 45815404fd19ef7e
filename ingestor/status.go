package ingestor

import (
	"sync"
	"time"

	"github.com/weir-dev/weir/ingestor/batch"
	"github.com/weir-dev/weir/protocol"
)

// Status are the flow figures of a pipeline on this pod.
type Status = protocol.PipelineStatus

// flow keeps what is needed to say how fast records flow and what limits them.
type flow struct {
	mu        sync.Mutex // guards what follows
	last      batch.Commit
	lastAt    time.Time
	rate      float64 // committed records/s, EWMA over commits
	busy      float64 // share of time spent in commits, EWMA
	writePart float64 // share of commit time spent writing files, EWMA
	err       error   // of the newest attempt, nil after a commit
}

// weight of the newest commit in the averages.
const flowWeight = 0.3

func (f *flow) committed(c batch.Commit, now time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = nil
	if span := now.Sub(f.lastAt).Seconds(); !f.lastAt.IsZero() && span > 0 {
		work := (c.Write + c.Put).Seconds()
		f.rate += flowWeight * (float64(c.Rows)/span - f.rate)
		f.busy += flowWeight * (min(1, work/span) - f.busy)
		if work > 0 {
			f.writePart += flowWeight * (c.Write.Seconds()/work - f.writePart)
		}
	}
	f.last, f.lastAt = c, now
}

func (f *flow) failed(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

// limit names the stage that limits the flow: the table when commits take up most of the time and memory is filled by
// what waits for them, else whoever sends.
func (f *flow) limit(m protocol.Memory) string {
	if f.err != nil {
		return "commit"
	}
	if f.busy < 0.5 || m.Held < m.Capacity/4 {
		return "producers"
	}
	if f.writePart >= 0.5 {
		return "write"
	}
	return "commit"
}

// Status returns the figures of now.
func (p *Pipeline) Status() Status {
	held, promised := p.admit.pool.Usage()
	s := Status{
		Pipeline: p.set.Name, State: protocol.StateRunning, Streams: len(p.open()),
		Accepted: p.metrics.totals.accepted.Load(), Rejected: p.metrics.totals.rejected.Load(),
		Committed: p.metrics.totals.committed.Load(), Version: p.table.Version(),
		Memory: protocol.Memory{Capacity: p.admit.pool.Capacity(), Held: held, Promised: promised},
	}
	s.InFlight = s.Accepted - s.Committed
	s.Maintenance = p.care.newest()
	p.flow.mu.Lock()
	defer p.flow.mu.Unlock()
	last := p.flow.last
	s.AcceptedPerSec = int64(p.flow.rate)
	s.Last = protocol.LastCommit{
		Version: last.Version, Rows: last.Rows, Bytes: last.Bytes, WriteMs: last.Write.Milliseconds(), PutMs: last.Put.Milliseconds(),
	}
	s.LimitedBy = p.flow.limit(s.Memory)
	trouble := p.flow.err
	switch {
	case p.failed.Load() != nil:
		trouble = p.failed.Load().err
		s.State, s.Error = protocol.StateFailed, trouble.Error()
	case p.suspended.Load() != nil:
		s.State, s.Error = protocol.StateSuspended, p.suspended.Load().Error()
	case p.stopping.Load():
		s.State = protocol.StateDraining
	case trouble != nil:
		s.State, s.Error = protocol.StateRetrying, trouble.Error()
	}
	s.Storage, s.Table = checks(trouble, s.Version)
	return s
}
