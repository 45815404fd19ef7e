package client

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

// retry counts what went wrong since the last progress. Progress is an ack, or a stream that stayed open for a while; not an
// open alone: a server that opens the stream and then fails it at once must not be asked in a tight loop.
type retry struct {
	attempts int
	since    time.Time // of the first failure
}

func (r *retry) progress() { r.attempts = 0 }

// next returns how long to wait before the next attempt: a random part of minWait·2^attempts, at most of maxWait.
func (r *retry) next(now time.Time, minWait, maxWait time.Duration, random func(time.Duration) time.Duration) time.Duration {
	if r.attempts == 0 {
		r.since = now
	}
	ceiling := maxWait
	if r.attempts < 30 && minWait<<r.attempts < maxWait {
		ceiling = minWait << r.attempts
	}
	r.attempts++
	return random(ceiling) + 1
}

// run serves the stream from its first claim to its end.
func (s *Stream) run(a *attempt) {
	defer close(s.done)
	defer s.c.forget(s)
	for {
		err := a.serve(s.ctx)
		if s.finished() {
			return
		}
		if a, err = s.reopen(err); err != nil {
			s.fail(err)
			return
		}
		if a == nil { // closed while there was nothing to send
			return
		}
	}
}

// finished says whether the stream is closed and everything acknowledged.
func (s *Stream) finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing && s.buf.len() == 0
}

// reopen claims the stream again, on another connection if need be, until that succeeds or there is no point in trying.
// After a regular end it first waits for something to send; nil without an error says that the stream was closed instead.
func (s *Stream) reopen(cause error) (*attempt, error) {
	if errors.Is(cause, errEnded) {
		if more, err := s.awaitPending(); !more || err != nil {
			return nil, err
		}
	}
	for {
		if s.ctx.Err() != nil {
			return nil, context.Cause(s.ctx)
		}
		if final(cause) {
			return nil, cause
		}
		if err := s.pause(cause); err != nil {
			return nil, err
		}
		a, err := s.open(s.ctx)
		if err == nil {
			return a, nil
		}
		cause = err
	}
}

// awaitPending waits until there is something to send or the stream is closed.
func (s *Stream) awaitPending() (bool, error) {
	s.mu.Lock()
	pending := s.buf.len() > 0
	s.mu.Unlock()
	if pending {
		return true, nil
	}
	return s.awaitWork(s.ctx, nil)
}

// pause waits before the next attempt.
func (s *Stream) pause(cause error) error {
	o, now := &s.c.o, time.Now()
	wait := s.retry.next(now, o.MinBackoff, o.MaxBackoff, rand.N[time.Duration])
	if o.GiveUpAfter > 0 && now.Add(wait).Sub(s.retry.since) > o.GiveUpAfter {
		return fmt.Errorf("%w after %v: %w", ErrGaveUp, now.Sub(s.retry.since).Round(time.Millisecond), cause)
	}
	s.mu.Lock()
	s.stats.LastError = cause
	s.mu.Unlock()
	if s.o.OnRetry != nil {
		s.o.OnRetry(cause, wait)
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-s.ctx.Done():
		return context.Cause(s.ctx)
	}
}
