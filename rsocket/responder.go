package rsocket

import (
	"io"
	"runtime/debug"
	"time"
)

// opening is a complete request of the peer, reassembled if it came in fragments.
type opening struct {
	id    uint32
	typ   FrameType
	flags Flags
	n     uint32 // initial request n
	p     received

	fragments *stream // stood in the table for the request while its fragments came, else nil
}

// onRequest handles a frame that opens a stream.
func (c *Conn) onRequest(f *frame) {
	c.requestsIn++
	if used, e := c.admit(f); used {
		c.ignored()
		return
	} else if e != nil {
		c.rejectOpening(f.StreamID, f.Type, e)
		return
	}
	if f.Flags&FlagFollows != 0 {
		c.openFragmented(f)
		return
	}
	c.open(opening{id: f.StreamID, typ: f.Type, flags: f.Flags, n: f.N, p: f.take()})
}

// admit checks what can be checked before the payload is looked at. A stream id in use is ignored.
func (c *Conn) admit(f *frame) (used bool, refusal *Error) {
	if c.admitNow(f) {
		c.newest = f.StreamID
		return false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.newest = max(c.newest, f.StreamID)
	if _, used := c.streams[f.StreamID]; used {
		return true, nil
	}
	return false, c.refusal(f)
}

// admitNow admits a fire-and-forget without the lock: it has no stream, an id above all others is not in use, and nothing
// else is to be asked.
func (c *Conn) admitNow(f *frame) bool {
	return f.Type == FrameRequestFNF && f.StreamID > c.newest && f.StreamID&1 == 1 == c.server &&
		c.granted == nil && c.h.FireAndForget != nil && !c.refusing.Load()
}

// refusal says why a request is refused, or nothing, with mu held.
func (c *Conn) refusal(f *frame) *Error {
	switch {
	case f.StreamID&1 == 1 != c.server:
		return Errorf(CodeInvalid, "stream id %d has the wrong parity", f.StreamID)
	case f.Type.hasInitialN() && f.N == 0:
		return &Error{Code: CodeInvalid, Message: "initial request n must be positive"}
	case !c.h.serves(f.Type):
		return &Error{Code: CodeRejected, Message: f.Type.String() + " is not served here"}
	case c.draining:
		return &Error{Code: CodeRejected, Message: "the connection is draining"}
	case c.opened >= c.limits.MaxStreams:
		return Errorf(CodeRejected, "more than %d requests in progress", c.limits.MaxStreams)
	case c.w.overdrawn.Load() && f.Type == FrameRequestResponse:
		return &Error{Code: CodeRejected, Message: "too many answers are not confirmed: fewer requests at once, or a larger resume buffer"}
	case c.granted != nil && !c.granted.take(time.Since(c.start)):
		return &Error{Code: CodeRejected, Message: "no lease"}
	}
	return nil
}

func (h *Handlers) serves(t FrameType) bool {
	switch t {
	case FrameRequestFNF:
		return h.FireAndForget != nil
	case FrameRequestResponse:
		return h.RequestResponse != nil
	case FrameRequestStream:
		return h.RequestStream != nil
	case FrameRequestChannel:
		return h.RequestChannel != nil
	default:
		return false
	}
}

// A peer may have this many requests refused at once and a second. One that goes on is read no faster: its refusals would
// take the processor from others.
const (
	refusalBurst = 8192
	refusalRate  = 4096
)

// refusals is a bucket of refusals a peer may still have without being slowed down. It belongs to the reader.
type refusals struct {
	used   float64
	drains time.Duration // when used was right, since Conn.start
}

// take counts a refusal and returns how long the reader has to pause.
func (r *refusals) take(now time.Duration) time.Duration {
	r.used = max(0, r.used-(now-r.drains).Seconds()*refusalRate) + 1
	r.drains = now
	if r.used <= refusalBurst {
		return 0
	}
	return refusalPause
}

// refusalPause is long enough for a few hundred refusals to be paid for.
const refusalPause = 100 * time.Millisecond

// pause keeps the reader from reading for a while.
func (c *Conn) pause(d time.Duration) {
	c.beginPause()
	defer c.endPause()
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.done:
	}
}

// rejectOpening answers a request that is not served. Fire-and-forget has no answer.
func (c *Conn) rejectOpening(id uint32, typ FrameType, e *Error) {
	if d := c.refused.take(time.Since(c.start)); d > 0 {
		c.pause(d)
	}
	if typ == FrameRequestFNF {
		c.m.FNFDropped.Add(1)
		return
	}
	c.answerError(id, e)
}

// openFragmented enters a stream that waits for the further fragments of its opening.
func (c *Conn) openFragmented(f *frame) {
	s := c.newStream(f.StreamID, f.Type, false)
	if !c.enter(s) {
		return
	}
	c.assembleFor(s, &assembly{opening: true, typ: f.Type, flags: f.Flags &^ FlagFollows, n: f.N})
	f.Flags &^= FlagComplete // of the channel, not of the payload
	s.onFragment(f)
}

// enter registers a stream of the peer and reports whether the connection still lives.
func (c *Conn) enter(s *stream) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return false
	}
	c.add(s)
	return true
}

// open starts what serves the request.
func (c *Conn) open(o opening) {
	if o.fragments != nil {
		defer c.replaced(o.fragments)
	}
	if o.typ == FrameRequestFNF || o.typ == FrameRequestResponse {
		c.openQueued(o)
		return
	}
	if e := c.charge(&o.p); e != nil {
		c.rejectOpening(o.id, o.typ, e)
		return
	}
	s := c.newStream(o.id, o.typ, false)
	s.handled = true
	s.txCredit = o.n
	if o.typ == FrameRequestChannel && o.flags&FlagComplete != 0 {
		s.rxEnd = io.EOF
	}
	it := s.keep(o.p)
	if !c.enter(s) {
		it.release(c.budget)
		return
	}
	c.handlers.Add(1)
	go s.serve(it)
}

// keep stores the opening payload.
func (s *stream) keep(p received) item {
	it := item{payload: p.Payload, charged: p.charged}
	if !p.owned {
		var sl slab
		it.payload, it.chunk = sl.copy(p.Payload)
		sl.detach()
	}
	return it
}

// openQueued hands a request to the worker; without room in the budget the connection is not read.
func (c *Conn) openQueued(o opening) {
	n := len(o.p.Data) + len(o.p.Metadata)
	if n > c.limits.MaxPayload {
		c.unreserve(o.p.charged)
		c.rejectOpening(o.id, o.typ, c.tooLarge())
		return
	}
	if o.p.charged == 0 && n > 0 {
		if !c.reserve(n, true) {
			return // the connection has ended
		}
		o.p.charged = n
	}
	var s *stream
	if o.typ == FrameRequestResponse {
		s = c.newStream(o.id, o.typ, false)
		if !c.enter(s) {
			c.unreserve(o.p.charged)
			return
		}
	}
	c.work.push(o.typ, o.id, s, o.p)
}

// serve is the goroutine of a stream or channel handler.
func (s *stream) serve(it item) {
	c := s.c
	defer c.handlers.Done()
	defer c.handlerEnded()
	err := s.call(it.payload)
	it.release(c.budget)
	s.end(err)
}

// call runs the handler and turns a panic into an error.
func (s *stream) call(p Payload) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = s.c.panicked(v)
		}
	}()
	r := &Request{Payload: p, Conn: s.c, StreamID: s.id}
	if s.typ == FrameRequestStream {
		return s.c.h.RequestStream(streamContext{s}, r, &s.tx)
	}
	return s.c.h.RequestChannel(streamContext{s}, r, &s.rx, &s.tx)
}

// end tells the peer how the handler ended and releases what it left.
func (s *stream) end(err error) {
	if err != nil {
		_ = s.tx.Error(err) // fails only if the direction or the connection has ended
	} else {
		_ = s.tx.Complete() // as above
	}
	s.rx.Cancel()
	s.mu.Lock()
	s.cancelContext()
	s.mu.Unlock()
}

// answerPanic ends a request-response whose handler panicked; v is what recover returned.
func (s *stream) answerPanic(v any) {
	if v != nil {
		_ = s.tx.Error(s.c.panicked(v)) // fails only if nobody waits for it
		_ = s.reply.ended(errPanicked)
	}
}

// panicked counts and logs a panic; the peer learns no details.
func (c *Conn) panicked(v any) *Error {
	c.m.Panics.Add(1)
	c.log.Error("handler panicked", "conn", c.info.ID, "panic", v, "stack", string(debug.Stack()))
	return &Error{Code: CodeApplicationError, Message: "internal error"}
}
