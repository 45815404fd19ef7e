package ingestor

import (
	"encoding/json"
	"sync"
	"time"

	"github.com/weir-dev/weir/ingestor/batch"
)

// Status are the flow figures of a pipeline on this pod.
type Status struct {
	Pipeline string `json:"pipeline"`
	State    string `json:"state"` // Running, Retrying, Suspended, Draining, Failed
	Error    string `json:"error,omitempty"`

	Streams        int   `json:"streams"`        // open now
	Accepted       int64 `json:"accepted"`       // records, since the start
	Rejected       int64 `json:"rejected"`       // records, since the start
	Committed      int64 `json:"committed"`      // records, since the start
	InFlight       int64 `json:"inFlight"`       // records accepted and not committed
	AcceptedPerSec int64 `json:"acceptedPerSec"` // over the last commits
	Version        int64 `json:"version"`        // of the table, -1 before it exists

	Memory    Memory     `json:"memory"`
	Last      LastCommit `json:"lastCommit"`
	LimitedBy string     `json:"limitedBy"` // the stage that limits the flow: producers, write or commit
}

// Memory is the state of the byte pool.
type Memory struct {
	Capacity int64 `json:"capacity"` // bytes
	Held     int64 `json:"held"`     // bytes received and not committed
	Promised int64 `json:"promised"` // bytes of credit that producers have
}

// LastCommit describes the newest commit.
type LastCommit struct {
	Version int64 `json:"version"`
	Rows    int64 `json:"rows"`
	Bytes   int64 `json:"bytes"`
	WriteMs int64 `json:"writeMs"` // writing the data files
	PutMs   int64 `json:"putMs"`   // committing them
}

// JSON encodes s.
func (s Status) JSON() ([]byte, error) { return json.Marshal(s) }

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
func (f *flow) limit(m Memory) string {
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
		Pipeline: p.set.Name, State: "Running", Streams: len(p.open()),
		Accepted: p.metrics.totals.accepted.Load(), Rejected: p.metrics.totals.rejected.Load(),
		Committed: p.metrics.totals.committed.Load(), Version: p.table.Version(),
		Memory: Memory{Capacity: p.admit.pool.Capacity(), Held: held, Promised: promised},
	}
	s.InFlight = s.Accepted - s.Committed
	p.flow.mu.Lock()
	defer p.flow.mu.Unlock()
	last := p.flow.last
	s.AcceptedPerSec = int64(p.flow.rate)
	s.Last = LastCommit{last.Version, last.Rows, last.Bytes, last.Write.Milliseconds(), last.Put.Milliseconds()}
	s.LimitedBy = p.flow.limit(s.Memory)
	switch {
	case p.failed.Load() != nil:
		s.State, s.Error = "Failed", p.failed.Load().err.Error()
	case p.suspended.Load() != nil:
		s.State, s.Error = "Suspended", p.suspended.Load().Error()
	case p.stopping.Load():
		s.State = "Draining"
	case p.flow.err != nil:
		s.State, s.Error = "Retrying", p.flow.err.Error()
	}
	return s
}
