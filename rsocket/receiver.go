package rsocket

import (
	"context"
	"errors"
	"io"
	"iter"
)

// Receiver is the inbound direction of a stream or channel. Its methods may be called from any goroutine, but only one may
// wait in Recv or RecvBatch at a time.
//
// What was granted and not received, and what was received and not taken, stays charged to the connection until the stream
// ends and the payloads are taken or [Receiver.Cancel] is called: always drain or cancel.
type Receiver struct{ s *stream }

// Grant allows the peer to send n payloads more. Grants add up and saturate at 2³¹−1, which counts as unlimited. n < 1 and
// grants after the end do nothing. Grants made in quick succession may travel as one REQUEST_N.
func (r *Receiver) Grant(n int) {
	if n < 1 {
		return
	}
	k := uint32(min(n, maxCredit))
	s := r.s
	s.mu.Lock()
	if s.rxEnd != nil {
		s.mu.Unlock()
		return
	}
	s.rxCredit = addCredit(s.rxCredit, k)
	s.mu.Unlock()
	for {
		was := s.pendingN.Load()
		if s.pendingN.CompareAndSwap(was, addCredit(was, k)) {
			if was == 0 {
				s.c.w.request(s)
			}
			return
		}
	}
}

// Outstanding returns how many payloads the peer may still send.
func (r *Receiver) Outstanding() int {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return int(r.s.rxCredit)
}

// Queued returns how many payloads have been received and not taken.
func (r *Receiver) Queued() int {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.s.queue.n
}

// Recv returns the next payload, which then belongs to the caller. After the last one it returns io.EOF if the peer
// completed, *[Error] if it failed, [ErrCanceled] after a cancellation, an error that is [ErrConnClosed] if the connection
// ended, or the error of ctx.
func (r *Receiver) Recv(ctx context.Context) (Payload, error) {
	s := r.s
	if err := s.awaitItem(ctx); err != nil {
		return Payload{}, err
	}
	it := s.queue.pop()
	if s.queue.n == 0 {
		s.slab.detach()
	}
	s.mu.Unlock()
	p := it.payload
	if it.chunk != nil {
		p = p.Clone()
	}
	it.release(s.c.budget)
	return p, nil
}

// RecvBatch releases b, waits for a payload and takes all that are queued, at most b.Limit. They are valid until b.Release.
// Errors are those of Recv.
func (r *Receiver) RecvBatch(ctx context.Context, b *Batch) error {
	b.Release()
	s := r.s
	if err := s.awaitItem(ctx); err != nil {
		return err
	}
	b.budget = s.c.budget
	for limit := b.limit(); s.queue.n > 0 && len(b.Payloads) < limit; {
		it := s.queue.pop()
		b.add(&it)
	}
	if s.queue.n == 0 {
		s.slab.detach()
	}
	s.mu.Unlock()
	return nil
}

// awaitItem returns nil with s.mu held once the queue holds something.
func (s *stream) awaitItem(ctx context.Context) error {
	for {
		s.mu.Lock()
		if s.queue.n > 0 {
			return nil
		}
		if err := s.rxEnd; err != nil {
			s.mu.Unlock()
			s.tellEnd(err)
			return err
		}
		s.rxWait = true
		s.mu.Unlock()
		select {
		case <-s.rxWake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Cancel ends the inbound direction and discards what is queued. On the requester's side it ends the whole stream; on the
// responder's side of a channel the outbound direction goes on.
func (r *Receiver) Cancel() {
	s := r.s
	s.mu.Lock()
	open := s.rxEnd == nil
	s.endRx(ErrCanceled)
	if open && s.requester {
		s.endTx(ErrCanceled)
	}
	s.dropQueue()
	s.mu.Unlock()
	s.tellEnd(ErrCanceled)
	if !open {
		return
	}
	s.pendingN.Store(0)
	s.pendingCancel.Store(true)
	s.c.w.request(s)
	s.settle()
}

// All iterates over the payloads until the peer completes; another end yields its error once. Leaving the loop early does
// not cancel.
func (r *Receiver) All(ctx context.Context) iter.Seq2[Payload, error] {
	return func(yield func(Payload, error) bool) {
		for {
			p, err := r.Recv(ctx)
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(p, err) || err != nil {
				return
			}
		}
	}
}
