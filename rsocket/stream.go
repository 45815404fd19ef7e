package rsocket

import (
	"io"
	"sync"
	"sync/atomic"
)

// stream is one request in progress: requester's or responder's side, of any model but fire-and-forget.
//
// Its two directions end on their own: rxEnd and txEnd are set exactly once, and when both are set the stream leaves the
// connection's table. The connection's reader delivers frames, one consumer takes payloads, any goroutine sends.
// Invariant: len(queue) + rxCredit never exceeds what the consumer granted.
type stream struct {
	c         *Conn
	id        uint32
	typ       FrameType // of the request
	requester bool
	handled   bool        // a handler goroutine keeps it counted as in progress
	handed    bool        // of a request: the reader has forgotten it; guarded by mu
	gone      atomic.Bool // has left the connection's table
	rx        Receiver
	tx        Sender
	reply     Reply // responder's side of a request-response

	mu       sync.Mutex // guards the fields down to txBusy; writer.mu may be taken under it
	queue    ring
	slab     slab
	rxCredit uint32 // granted and not yet received
	rxEnd    error  // io.EOF after COMPLETE
	rxWait   bool   // the consumer sleeps on rxWake
	rxWake   chan struct{}
	txCredit uint32
	txEnd    error
	txBusy   bool          // fragments of one payload are being appended
	txDone   chan struct{} // of a request-response: made on demand
	canceled bool
	ctxDone  chan struct{} // made on demand

	observed func(error) // of a [RequestObserver], nil after it was told; guarded by mu

	txRoom waiter        // woken by credit and by room in the write buffer
	txTurn chan struct{} // capacity 1: whoever waits for credit or room holds it

	pendingN      atomic.Uint32 // credit to tell the peer
	pendingCancel atomic.Bool
	listed        bool // in writer.controls, guarded by writer.mu

	frag  *assembly // reader only: fragments so far
	dirty bool      // reader only: payloads arrived in this burst
}

var errNoDirection error = &Error{Code: CodeInvalid, Message: "the interaction has no such direction"}

func (c *Conn) newStream(id uint32, typ FrameType, requester bool) *stream {
	if requester && typ == FrameRequestResponse {
		return c.newCall(id)
	}
	s := &stream{c: c, id: id, typ: typ, requester: requester}
	s.rx.s, s.tx.s = s, s
	channel := typ == FrameRequestChannel
	if requester || channel {
		s.rxWake = make(chan struct{}, 1)
	} else {
		s.rxEnd = io.EOF
	}
	if requester && !channel {
		s.txEnd = errNoDirection
		return s
	}
	s.reply.s = s
	if typ != FrameRequestResponse {
		s.txDone = make(chan struct{})
		s.txRoom.ch = make(chan struct{}, 1)
		s.txTurn = make(chan struct{}, 1)
	}
	return s
}

// newCall returns the requester's side of a request-response, with Conn.mu held. Those that are over are used again, but only
// if their caller was woken from by the reader, which had forgotten them before: nobody else knows them.
func (c *Conn) newCall(id uint32) *stream {
	if c.calls == nil {
		c.calls = new(sync.Pool)
	}
	s, ok := c.calls.Get().(*stream)
	if !ok {
		s = &stream{c: c, typ: FrameRequestResponse, requester: true, rxWake: make(chan struct{}, 1), txEnd: errNoDirection}
		s.rx.s, s.tx.s = s, s
	}
	s.id, s.rxEnd, s.handed, s.observed = id, nil, false, nil
	s.gone.Store(false)
	return s
}

// addCredit adds n, saturating at 2³¹−1, which counts as unlimited.
func addCredit(have, n uint32) uint32 {
	if n > maxCredit-have {
		return maxCredit
	}
	return have + n
}

// spend takes one credit; unlimited credit stays.
func spend(credit *uint32) {
	if *credit != maxCredit {
		*credit--
	}
}

// endRx ends the inbound direction, with mu held.
func (s *stream) endRx(err error) {
	if s.rxEnd != nil {
		return
	}
	s.rxEnd = err
	s.wakeRx()
}

// wakeRx wakes the consumer if it sleeps, with mu held.
func (s *stream) wakeRx() {
	if !s.rxWait {
		return
	}
	s.rxWait = false
	select {
	case s.rxWake <- struct{}{}:
	default:
	}
}

// endTx ends the outbound direction, with mu held.
func (s *stream) endTx(err error) {
	if s.txEnd != nil {
		return
	}
	s.txEnd = err
	if s.txDone != nil {
		close(s.txDone)
	}
}

// done returns the channel that is closed when nothing more can be sent.
func (s *stream) done() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.txDone == nil {
		s.txDone = make(chan struct{})
		if s.txEnd != nil {
			close(s.txDone)
		}
	}
	return s.txDone
}

// cancelContext ends the handler's context, with mu held.
func (s *stream) cancelContext() {
	if s.canceled {
		return
	}
	s.canceled = true
	if s.ctxDone != nil {
		close(s.ctxDone)
	}
}

// terminate ends both directions. Payloads already queued can still be received, unless drop is set.
func (s *stream) terminate(rxErr, txErr error, drop bool) {
	s.endBoth(rxErr, txErr, drop)
	s.c.remove(s)
}

// endBoth is terminate for who still has an ERROR to send: a connection that drains is closed once no stream is left.
func (s *stream) endBoth(rxErr, txErr error, drop bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endBothLocked(rxErr, txErr)
	if drop {
		s.dropQueue()
	}
}

func (s *stream) endBothLocked(rxErr, txErr error) {
	s.endRx(rxErr)
	s.endTx(txErr)
	s.cancelContext()
}

// dropQueue releases what was not consumed, with mu held.
func (s *stream) dropQueue() {
	for s.queue.n > 0 {
		it := s.queue.pop()
		it.release(s.c.budget)
	}
	s.queue = ring{}
	s.slab.detach()
}

// settle removes the stream if both directions have ended.
func (s *stream) settle() {
	s.mu.Lock()
	over := s.rxEnd != nil && s.txEnd != nil
	s.mu.Unlock()
	if over {
		s.c.remove(s)
	}
}

// fail answers a violation by the peer: ERROR on this stream, both directions end.
func (s *stream) fail(e *Error) {
	s.c.stage.flush()
	s.endBoth(e, e, false)
	s.c.answerError(s.id, e)
	s.c.remove(s)
}

// The functions below are called by the connection's reader.

// onPayload delivers a PAYLOAD frame.
func (s *stream) onPayload(f *frame) {
	if s.typ == FrameRequestResponse && s.requester {
		if s.frag == nil && f.Flags&FlagFollows == 0 {
			s.onResponse(f)
			return
		}
		f.Flags |= FlagComplete * flagIf(f.Flags&FlagFollows == 0)
		f.Flags |= FlagNext * flagIf(len(f.data) > 0 || f.hasMetadata)
	}
	if s.frag != nil || f.Flags&FlagFollows != 0 {
		s.onFragment(f)
		return
	}
	if f.Flags&FlagNext != 0 {
		if e := s.accept(f.take()); e != nil {
			s.fail(e)
			return
		}
	}
	if f.Flags&FlagComplete != 0 {
		s.onComplete()
	}
}

// onResponse delivers the only payload of a request-response. The caller is woken at the end of the burst.
func (s *stream) onResponse(f *frame) {
	p := f.take()
	if e := s.c.charge(&p); e != nil {
		s.fail(e)
		return
	}
	s.mu.Lock()
	if s.rxEnd != nil {
		s.mu.Unlock()
		s.c.unreserve(p.charged)
		return
	}
	s.rxEnd = io.EOF
	if len(p.Data) > 0 || p.HasMetadata || f.Flags&FlagNext != 0 {
		if !p.owned {
			p.Payload = p.Clone() // it is the caller's
		}
		s.queue.push(item{payload: p.Payload, charged: p.charged})
	}
	s.mu.Unlock()
	s.c.remove(s)
	s.c.touched(s)
}

func flagIf(b bool) Flags {
	if b {
		return 1
	}
	return 0
}

// mayReceive checks that the peer has credit for one more payload.
func (s *stream) mayReceive() *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rxEnd == nil && s.rxCredit == 0 {
		return &Error{Code: CodeInvalid, Message: "payload without credit"}
	}
	return nil
}

// received is a payload on its way from the reader to a queue. Its memory is the read buffer unless owned.
type received struct {
	Payload
	owned   bool // the slices are not the read buffer
	charged int  // bytes already reserved
}

// accept queues a payload.
func (s *stream) accept(p received) *Error {
	if e := s.c.charge(&p); e != nil {
		return e
	}
	if s.c.stage.take(s, &p) {
		return nil
	}
	s.c.stage.flush()
	s.mu.Lock()
	if s.rxEnd != nil || s.rxCredit == 0 {
		over := s.rxEnd == nil
		s.mu.Unlock()
		s.c.unreserve(p.charged)
		if over {
			return &Error{Code: CodeInvalid, Message: "payload without credit"}
		}
		return nil
	}
	spend(&s.rxCredit)
	it := item{payload: p.Payload, charged: p.charged}
	switch {
	case p.owned:
	default:
		it.payload, it.chunk = s.slab.copy(p.Payload)
		s.slab.count()
		s.c.stage.expect(s, s.rxCredit)
	}
	s.queue.push(it)
	s.mu.Unlock()
	s.c.touched(s)
	return nil
}

// onComplete ends the inbound direction after what is queued.
func (s *stream) onComplete() {
	s.c.stage.flush()
	s.mu.Lock()
	s.endRx(io.EOF)
	s.mu.Unlock()
	s.settle()
}

// onRequestN adds credit for the outbound direction.
func (s *stream) onRequestN(n uint32) {
	if n == 0 {
		s.fail(&Error{Code: CodeInvalid, Message: "request n must be positive"})
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.txEnd != nil || s.txRoom.ch == nil {
		return
	}
	was := s.txCredit
	s.txCredit = addCredit(s.txCredit, n)
	if was == 0 {
		s.txRoom.wake()
	}
}

// granted is what REQUEST_N has granted so far.
func (s *stream) granted() uint32 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.txCredit
}

// onCancel ends the outbound direction; on a responder the whole stream.
func (s *stream) onCancel() {
	s.c.stage.flush()
	s.c.dropAssembly(s)
	if !s.requester {
		s.terminate(ErrCanceled, ErrCanceled, false)
		return
	}
	s.mu.Lock()
	s.endTx(ErrCanceled)
	s.mu.Unlock()
	s.settle()
}

// onError ends both directions with the peer's error.
func (s *stream) onError(e *Error) {
	s.c.stage.flush()
	s.c.dropAssembly(s)
	s.terminate(e, e, false)
}

// completedEmpty reports whether the peer completed.
func (s *stream) completedEmpty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rxEnd == io.EOF //nolint:errorlint // set by this package, never wrapped
}
