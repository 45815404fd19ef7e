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

// run serves the lane from its first claim to its end.
func (l *lane) run() {
	for {
		a, cause := l.open()
		if !l.report(cause) {
			return
		}
		if cause == nil {
			cause = a.serve(l.ctx)
		}
		if l.over(cause) {
			return
		}
		l.settle(cause)
		if err := l.rest(cause); err != nil {
			l.s.fail(err)
			return
		}
	}
}

// report tells the first outcome to OpenStream, which is the only one who hears it. It returns false if the stream does not
// come to be.
func (l *lane) report(err error) bool {
	s := l.s
	if l.reported {
		return true
	}
	l.reported = true
	select {
	case <-s.opened:
		return true
	case s.first <- err:
	case <-l.ctx.Done():
		return err == nil
	}
	if err == nil {
		return true
	}
	select {
	case <-s.opened: // by another lane
		return true
	case <-l.ctx.Done():
		return false
	}
}

// over says whether the lane has nothing more to do: everything is acknowledged, the pod is gone, or the stream has failed,
// for cause or otherwise.
func (l *lane) over(cause error) bool {
	s := l.s
	switch {
	case s.finished():
		return true
	case s.ctx.Err() != nil:
		s.fail(context.Cause(s.ctx))
		return true
	case l.ctx.Err() != nil: // the pod is gone
		l.giveUp(cause)
		return true
	case l.fatal(cause):
		s.fail(cause)
		return true
	}
	return false
}

// rest waits before the next attempt. After a regular end it first waits for something to send. It returns an error if the
// stream has to give up.
func (l *lane) rest(cause error) error {
	if errors.Is(cause, errEnded) {
		work, idle := l.awaitWork()
		if !work {
			return nil // run finds out why
		}
		if idle {
			l.retry.progress() // nothing was tried meanwhile, so nothing has failed
		}
	}
	o, now := &l.s.c.o, time.Now()
	wait := l.retry.next(now, o.MinBackoff, o.MaxBackoff, rand.N[time.Duration])
	if o.GiveUpAfter > 0 && now.Add(wait).Sub(l.retry.since) > o.GiveUpAfter && !l.s.attached() {
		return fmt.Errorf("%w after %v: %w", ErrGaveUp, now.Sub(l.retry.since).Round(time.Millisecond), cause)
	}
	l.retrying(cause, wait)
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
	case <-l.ctx.Done():
	}
	return nil
}

// retrying tells why the lane has to be opened again.
func (l *lane) retrying(cause error, wait time.Duration) {
	s := l.s
	s.mu.Lock()
	s.stats.LastError = cause
	s.mu.Unlock()
	if s.o.OnRetry == nil {
		return
	}
	s.calls.Lock()
	defer s.calls.Unlock()
	s.o.OnRetry(cause, wait)
}
