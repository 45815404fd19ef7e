package rsocket

import (
	"context"
	"errors"
)

// Sender is the outbound direction of a stream or channel. Its methods may be called from any goroutine.
//
// Nothing is sent beyond the credit the peer granted. After the peer's CANCEL every method returns [ErrCanceled], after its
// ERROR an *[Error], after Complete [ErrCompleted].
type Sender struct{ s *stream }

// Send waits for credit and for room in the write buffer and sends one payload, which may be reused afterwards. If ctx ends
// between the fragments of a large payload, the stream is ended with ERROR[CANCELED].
func (t *Sender) Send(ctx context.Context, p Payload) error {
	sent, err := t.s.trySend(&p)
	t.s.c.w.help(dueFull)
	if sent || err != nil {
		return err
	}
	return t.s.sendSlow(ctx, &p)
}

// SendBatch sends the payloads in order and returns how many were sent.
func (t *Sender) SendBatch(ctx context.Context, ps []Payload) (int, error) {
	n := 0
	for n < len(ps) {
		k, err := t.s.trySendMany(ps[n:])
		t.s.c.w.help(dueFull)
		n += k
		if err != nil || n == len(ps) {
			return n, err
		}
		if err := t.s.sendSlow(ctx, &ps[n]); err != nil {
			return n, err
		}
		n++
	}
	return n, nil
}

// TrySend sends the payload if that needs no waiting, and reports whether it did.
func (t *Sender) TrySend(p Payload) bool {
	sent, _ := t.s.trySend(&p)
	t.s.c.w.help(dueFull)
	return sent
}

// AwaitCredit waits until the peer has granted credit that is not used.
func (t *Sender) AwaitCredit(ctx context.Context) error {
	s := t.s
	if err := s.turn(ctx); err != nil {
		return err
	}
	defer s.endTurn()
	for {
		s.mu.Lock()
		credit, err := s.txCredit, s.txEnd
		s.mu.Unlock()
		if err != nil || credit > 0 {
			return err
		}
		if err := s.awaitRoom(ctx); err != nil {
			return err
		}
	}
}

// Credit returns how many payloads may be sent now.
func (t *Sender) Credit() int {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	return int(t.s.txCredit)
}

// Done is closed when nothing more can be sent: after Complete, Error, the peer's CANCEL or ERROR, or the connection's end.
func (t *Sender) Done() <-chan struct{} { return t.s.done() }

// Complete ends the outbound direction regularly; it needs no credit. It waits for a Send in progress.
func (t *Sender) Complete() error {
	return t.s.sendLast(Payload{}, FlagComplete)
}

// Error ends the stream, both directions, with an ERROR frame: err itself if it is an *[Error], else APPLICATION_ERROR. A
// Send in progress returns.
func (t *Sender) Error(err error) error {
	s := t.s
	e := errorFrameOf(err)
	s.mu.Lock()
	if end := s.txEnd; end != nil {
		s.mu.Unlock()
		return end
	}
	s.endBothLocked(e, e)
	s.mu.Unlock()
	defer s.c.remove(s)
	return s.c.sendError(s.id, e)
}

// payloadFrame returns the encoder of a PAYLOAD.
func (s *stream) payloadFrame(p *Payload, flags Flags) fragmenter {
	return fragmenter{typ: FramePayload, id: s.id, flags: flags, p: *p, mtu: s.c.mtu, answer: s.typ == FrameRequestResponse}
}

// trySend sends p if there is credit and room and it needs one frame only.
func (s *stream) trySend(p *Payload) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.txEnd != nil {
		return false, s.txEnd
	}
	if s.txCredit == 0 || s.txBusy || headerSize+payloadSize(p) > s.c.mtu {
		return false, nil
	}
	f := s.payloadFrame(p, FlagNext)
	if _, err := s.c.w.next(&f, nil); err != nil {
		return false, notFull(err)
	}
	spend(&s.txCredit)
	return true, nil
}

// trySendMany sends as many of ps as trySend would.
func (s *stream) trySendMany(ps []Payload) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.txEnd != nil {
		return 0, s.txEnd
	}
	if s.txBusy {
		return 0, nil
	}
	w := &s.c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	defer w.kickUnlessDue()
	for i := range ps {
		if s.txCredit == 0 || headerSize+payloadSize(&ps[i]) > s.c.mtu {
			return i, nil
		}
		f := s.payloadFrame(&ps[i], FlagNext)
		if _, err := w.nextLocked(&f, nil); err != nil {
			return i, notFull(err)
		}
		spend(&s.txCredit)
	}
	return len(ps), nil
}

func notFull(err error) error {
	if errors.Is(err, errFull) {
		return nil
	}
	return err
}

// turn makes the caller the only one that waits for credit or room, or sends fragments.
func (s *stream) turn(ctx context.Context) error {
	select {
	case s.txTurn <- struct{}{}:
		return nil
	case <-s.txDone:
		return s.txError()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *stream) endTurn() { <-s.txTurn }

func (s *stream) txError() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.txEnd
}

// awaitRoom waits for credit or room; the caller checks again.
func (s *stream) awaitRoom(ctx context.Context) error {
	select {
	case <-s.txRoom.ch:
		return nil
	case <-s.txDone:
		return s.txError()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// sendSlow waits for credit and room and sends p in as many frames as it takes.
func (s *stream) sendSlow(ctx context.Context, p *Payload) error {
	if err := s.turn(ctx); err != nil {
		return err
	}
	defer s.endTurn()
	f := s.payloadFrame(p, FlagNext)
	begun := false
	for {
		last, err := s.sendNext(&f, &begun)
		if last || (err != nil && !errors.Is(err, errFull)) {
			return err
		}
		if err == nil {
			continue
		}
		if err := s.awaitRoom(ctx); err != nil {
			if begun {
				s.abandon()
			}
			return err
		}
	}
}

// sendNext appends one frame; errFull means wait. The first frame takes the credit.
func (s *stream) sendNext(f *fragmenter, begun *bool) (last bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.txEnd != nil {
		return false, s.txEnd
	}
	if !*begun && s.txCredit == 0 {
		return false, errFull
	}
	last, err = s.c.w.next(f, &s.txRoom)
	if err != nil {
		return false, err
	}
	if !*begun {
		spend(&s.txCredit)
	}
	*begun = true
	s.txBusy = !last
	return last, nil
}

// abandon ends a stream whose last payload was sent in part.
func (s *stream) abandon() {
	e := &Error{Code: CodeCanceled, Message: "payload abandoned between fragments"}
	s.endBoth(e, e, false)
	s.c.sendErrorBestEffort(s.id, e)
	s.c.remove(s)
}

// sendLast sends the final PAYLOAD of this direction.
func (s *stream) sendLast(p Payload, flags Flags) error {
	if s.txTurn != nil {
		if err := s.turn(context.Background()); err != nil {
			return err
		}
		defer s.endTurn()
	}
	f := s.payloadFrame(&p, flags)
	if done, err := s.tryLast(&f); done || err != nil {
		return err
	}
	wt := s.c.w.borrow()
	defer s.c.w.giveBack(wt)
	over := s.done()
	for {
		last, err := s.lastFrame(&f, wt)
		switch {
		case err == nil && last:
			s.settle()
			return nil
		case err == nil:
			continue
		case !errors.Is(err, errFull):
			return err
		}
		select {
		case <-wt.ch:
		case <-over:
			return s.txError()
		}
	}
}

// tryLast sends the final PAYLOAD if it is one frame and there is room.
func (s *stream) tryLast(f *fragmenter) (bool, error) {
	if headerSize+payloadSize(&f.p) > f.mtu {
		return false, nil
	}
	last, err := s.lastFrame(f, nil)
	s.c.w.help(dueEarly)
	if err == nil {
		s.settle()
	}
	return last, notFull(err)
}

func (s *stream) lastFrame(f *fragmenter, wt *waiter) (last bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.txEnd != nil {
		return false, s.txEnd
	}
	last, err = s.c.w.next(f, wt)
	if last && err == nil {
		s.endTx(ErrCompleted)
	}
	return last, err
}
