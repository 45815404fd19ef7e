package commit

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weir-dev/weir/ingestor/event"
)

// maxIdleStreams bounds the streams that are remembered without an open claim; the longest idle are forgotten first.
const maxIdleStreams = 100_000

// streams is the state of all streams of a pipeline, in memory.
type streams struct {
	mu     sync.Mutex // guards all; never held while a claim is revoked
	byName map[string]*stream
	idle   int
}

type stream struct {
	incarnation string
	epoch       int64 // highest claimed
	watermark   int64 // every payload up to it is settled
	revoke      func(ctx context.Context) error
	claiming    chan struct{} // closed when the claim in progress has ended; nil when there is none
	left        time.Time     // zero while a claim is open
}

// open grants r or says why not. Claims of one stream are served one after another.
func (s *streams) open(ctx context.Context, r OpenRequest) (Opened, error) {
	st, revoke, err := s.claim(ctx, r)
	if err != nil {
		return Opened{}, err
	}
	if revoke != nil {
		err = revoke(ctx) // without the lock: it waits for a commit
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	close(st.claiming)
	st.claiming = nil
	if err != nil {
		return Opened{}, fmt.Errorf("end the earlier claim: %w", err)
	}
	if st.epoch == 0 { // first seen by this process: the producer's word is all there is
		st.watermark = r.Acked
	}
	st.epoch = r.Stream.Epoch // an epoch that was tried counts, whatever becomes of it
	if r.Acked > st.watermark {
		st.revoke = nil // the earlier claim has ended, and its owner's word that it left comes too late
		s.setIdle(st, time.Now())
		return Opened{}, &OutOfRangeError{Expected: st.watermark + 1}
	}
	s.setIdle(st, time.Time{})
	st.incarnation, st.revoke = r.Incarnation, r.Revoke
	return Opened{Epoch: st.epoch, ResumeFrom: st.watermark + 1}, nil
}

// claim finds or makes the stream's state and marks it as being claimed. It returns what ends the earlier claim, whose owner
// may leave meanwhile; nil if there is none.
func (s *streams) claim(ctx context.Context, r OpenRequest) (*stream, func(context.Context) error, error) {
	for {
		s.mu.Lock()
		st := s.byName[r.Stream.Name]
		if st == nil {
			st = &stream{incarnation: r.Incarnation, left: time.Now()}
			s.byName[r.Stream.Name] = st
			s.idle++
		}
		busy := st.claiming
		if busy == nil {
			err := st.check(r)
			if err == nil {
				st.claiming = make(chan struct{})
			}
			revoke := st.revoke
			s.mu.Unlock()
			return st, revoke, err
		}
		s.mu.Unlock()
		select {
		case <-busy:
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		}
	}
}

func (st *stream) check(r OpenRequest) error {
	if st.incarnation != r.Incarnation {
		return ErrFenced
	}
	if r.Stream.Epoch <= st.epoch {
		return &StaleEpochError{Highest: st.epoch}
	}
	return nil
}

// leave ends the claim id, unless a later one has taken its place.
func (s *streams) leave(id event.StreamID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.byName[id.Name]
	if st == nil || st.epoch != id.Epoch || !st.left.IsZero() {
		return
	}
	st.revoke = nil
	s.setIdle(st, time.Now())
	if s.idle > maxIdleStreams {
		s.forget()
	}
}

func (s *streams) setIdle(st *stream, at time.Time) {
	if st.left.IsZero() != at.IsZero() {
		if at.IsZero() {
			s.idle--
		} else {
			s.idle++
		}
	}
	st.left = at
}

// forget drops the longest idle tenth, so that its cost is spread over many claims. The caller holds s.mu.
func (s *streams) forget() {
	type candidate struct {
		name string
		left time.Time
	}
	idle := make([]candidate, 0, s.idle)
	for name, st := range s.byName {
		if !st.left.IsZero() && st.claiming == nil {
			idle = append(idle, candidate{name, st.left})
		}
	}
	slices.SortFunc(idle, func(a, b candidate) int { return a.left.Compare(b.left) })
	for _, c := range idle[:min(len(idle), maxIdleStreams/10)] {
		delete(s.byName, c.name)
		s.idle--
	}
}

// advance raises watermarks after a commit.
func (s *streams) advance(ranges []Range) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range ranges {
		if st := s.byName[r.Stream.Name]; st != nil && r.Stream.Epoch == st.epoch {
			st.watermark = max(st.watermark, r.Last)
		}
	}
}
