// Package batch collects decoded records until they are worth a commit, and drives them through it.
//
// Records are decoded straight into the columns of a [Shard]. Each stream is bound to one shard, so that what a flush
// takes out of the shards is a contiguous range of every stream, although the shards are cut one after the other. The
// [Flusher] decides when to cut, writes the columns out and tells every source what became of its records.
package batch

import (
	"context"
	"sync"
	"time"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/ingestor/event"
	"github.com/weir-dev/weir/ingestor/transform"
)

// Source is where payloads came from, and where the outcome goes.
type Source interface {
	// Settle reports that everything up to part.Last is settled: its accepted records are in the table at version.
	// An error says that the records are not in the table and never will be by this pipeline. It must not block.
	Settle(part Part, version int64, err error)
}

// Part is what a batch holds of one source.
type Part struct {
	Source  Source
	Stream  event.StreamID // empty without identity
	Last    int64          // sequence of the last payload
	Records int64          // accepted records
	Bytes   int64          // charged to the memory pool for these payloads
}

// Accounts is told about memory that decoding takes beyond the payloads themselves, in bytes.
type Accounts interface {
	Hold(n int64)
}

// Shard holds the growing columns of the streams bound to it.
type Shard struct {
	flusher *Flusher

	mu    sync.Mutex // guards what follows; never held over I/O
	dec   *transform.Decoder
	parts []Part
	raw   int64 // bytes of the payloads in dec
	extra int64 // bytes held in the pool beyond raw, because columns are larger than what they came from
	since time.Time
	room  chan struct{} // closed when the shard was cut; nil while nobody waits
}

// cut is what a flush took out of one shard.
type cut struct {
	shard *Shard
	cols  *column.Batch // nil without rows
	parts []Part
	extra int64 // as Shard.extra
}

// Appender decodes payloads into the shard it is given. It returns the part that it added.
type Appender func(dec *transform.Decoder) Part

// Append calls add with the shard's decoder once the batch has room. Payloads decoded by one call land in one commit.
// Errors: that of ctx; what ended the flusher.
func (s *Shard) Append(ctx context.Context, now time.Time, add Appender) error {
	for {
		s.mu.Lock()
		if end := s.flusher.ended.Load(); end != nil {
			s.mu.Unlock()
			return end.err
		}
		if !s.flusher.full() {
			break
		}
		if s.room == nil {
			s.room = make(chan struct{})
		}
		room := s.room
		s.mu.Unlock()
		s.flusher.wake()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	defer s.mu.Unlock()
	rows := s.dec.Rows()
	part := add(s.dec)
	s.note(part)
	if s.since.IsZero() {
		s.since = now
	}
	s.raw += part.Bytes
	if extra := max(0, s.dec.Bytes()-s.raw); extra != s.extra {
		s.flusher.accounts.Hold(extra - s.extra)
		s.extra = extra
	}
	s.flusher.added(int64(s.dec.Rows()-rows), part.Bytes, now)
	return nil
}

// note adds part, joined with the one before when both are of one source.
func (s *Shard) note(part Part) {
	if n := len(s.parts); n > 0 && s.parts[n-1].Source == part.Source {
		last := &s.parts[n-1]
		last.Last = part.Last
		last.Records += part.Records
		last.Bytes += part.Bytes
		return
	}
	s.parts = append(s.parts, part)
}

// cut takes everything out.
func (s *Shard) cut() cut {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := cut{shard: s, parts: s.parts, extra: s.extra}
	if s.dec.Rows() > 0 {
		c.cols = s.dec.Take()
	}
	s.parts, s.raw, s.since = nil, 0, time.Time{}
	s.extra = 0 // stays charged until the cut is settled
	if s.room != nil {
		close(s.room)
		s.room = nil
	}
	return c
}

// recycle gives the memory of columns that were written back to the decoder.
func (s *Shard) recycle(b *column.Batch) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.dec.Recycle(b)
}
