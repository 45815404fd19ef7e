package rsocket

import (
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"runtime/debug"
	"time"
)

// readLoop is the connection's reader goroutine, from SETUP on, until the connection ends.
func (c *Conn) readLoop() {
	defer func() { c.readerEnded(recover()) }()
	c.accept()
	for c.readFrames() {
		c.restarted()
	}
}

// accept lifts the limits of a peer that nobody knows.
func (c *Conn) accept() {
	c.accepted = true
	if nc, ok := c.transport().(interface{ allowLarge() }); ok {
		nc.allowLarge()
	}
}

// readFrames reads until the connection ends, or until a resumable one has a new transport; then it returns true.
func (c *Conn) readFrames() (again bool) {
	var f frame
	for {
		if err := c.readFrame(&f); err != nil {
			return c.readFailed(err)
		}
		c.framesIn++
		c.bytesIn += int64(lengthSize + f.Length)
		if c.tap != nil {
			c.tap(c.info.ID, In, f.FrameHeader)
		}
		if c.closing.Load() {
			c.unreserve(f.charged)
			continue
		}
		if e := c.onFrame(&f); e != nil {
			c.m.Violations.Add(1)
			c.abort(e)
			return false
		}
		c.unreserve(f.charged) // nobody took it
		if c.session != nil {
			c.session.store.received.Add(f.advance())
		}
	}
}

// readerEnded cleans up behind the reader; p is what recover returned.
func (c *Conn) readerEnded(p any) {
	if p != nil {
		c.m.Panics.Add(1)
		c.log.Error("connection ended by a panic", "conn", c.info.ID, "panic", p, "stack", string(debug.Stack()))
		c.close(Errorf(CodeConnectionError, "internal error"))
	}
	c.sweepAssemblies(true)
	c.endBurst()
	c.rd.r = c.rd.w
	c.rd.shrink()
	close(c.readerDone)
}

// readFailed ends the connection after a read error or malformed bytes. It returns true if the connection was resumed.
func (c *Conn) readFailed(err error) (resumed bool) {
	c.stage.flush()
	var malformed *frameError
	switch {
	case errors.As(err, &malformed):
		c.m.Violations.Add(1)
		c.abort(&Error{Code: CodeConnectionError, Message: err.Error()})
	case c.closing.Load():
		c.close(nil)
	case c.session != nil:
		return c.resume()
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		c.close(io.EOF)
	default:
		c.close(err)
	}
	return false
}

// maxSetupFrame bounds the first frame, of a client nobody knows yet.
const maxSetupFrame = largeReadBuffer - lengthSize

// readFrame reads and decodes the next frame. Before it waits for the network it ends the burst.
func (c *Conn) readFrame(f *frame) error {
	r := &c.rd
	f.owned, f.charged = false, 0
	if err := c.buffer(lengthSize); err != nil {
		return err
	}
	n := int(uint24(r.unread()))
	if n < headerSize || n > c.limits.MaxFrame || (!c.accepted && n > maxSetupFrame) {
		return &frameError{reason: "impossible length"}
	}
	if lengthSize+n > largeReadBuffer {
		return c.readLarge(f, n)
	}
	if err := c.buffer(lengthSize + n); err != nil {
		return err
	}
	b := r.unread()[lengthSize : lengthSize+n : lengthSize+n]
	r.r += lengthSize + n
	return f.parse(b)
}

// buffer waits until n bytes are unread, n at most 64 KiB.
func (c *Conn) buffer(n int) error {
	for c.rd.w-c.rd.r < n {
		c.endBurst()
		if err := c.rd.fill(n); err != nil {
			return err
		}
		c.lastRecv.Store(int64(time.Since(c.start)))
	}
	return nil
}

// readLarge reads a frame that does not fit into the read buffer into memory of its own, once the budget has room for it.
// Without room, a frame of a stream is discarded piece by piece and the stream gets ERROR; an opening of a request waits.
func (c *Conn) readLarge(f *frame, n int) error {
	if err := c.buffer(lengthSize + headerSize); err != nil {
		return err
	}
	f.parseHeader(c.rd.unread()[lengthSize:])
	if !f.Type.carriesPayload() && f.Type != FrameMetadataPush {
		return f.bad("too long for its type")
	}
	c.endBurst()
	wait := f.Type == FrameRequestFNF || f.Type == FrameRequestResponse || f.Type == FrameMetadataPush
	if n > c.limits.MaxPayload+maxFrameOverhead {
		return c.discardLarge(f, n, c.tooLarge())
	}
	if !c.reserve(n, wait) {
		return c.discardLarge(f, n, c.noMemory(n))
	}
	c.rd.r += lengthSize
	b := make([]byte, n)
	if err := c.readFullPatiently(b); err != nil {
		c.unreserve(n)
		return err
	}
	if err := f.parse(b); err != nil {
		c.unreserve(n)
		return err
	}
	f.owned, f.charged = true, len(f.data)+len(f.metadata)
	c.unreserve(n - f.charged)
	return nil
}

// readFullPatiently reads a large frame in pieces, so that a slow sender counts as alive.
func (c *Conn) readFullPatiently(b []byte) error {
	for len(b) > 0 {
		k := min(len(b), largeReadBuffer)
		if err := c.rd.readFull(b[:k]); err != nil {
			return err
		}
		c.lastRecv.Store(int64(time.Since(c.start)))
		b = b[k:]
	}
	return nil
}

// maxFrameOverhead is the largest part of a frame that is not payload: header, initial request n, metadata length.
const maxFrameOverhead = headerSize + 4 + lengthSize

// discardLarge skips a frame, answers it with e, and leaves in f an empty frame that is ignored.
func (c *Conn) discardLarge(f *frame, n int, e *Error) error {
	if err := c.rd.discard(lengthSize + n); err != nil {
		return err
	}
	if s := c.lookup(f.StreamID); s != nil {
		c.dropAssembly(s)
		s.fail(e)
	} else if f.Type.isRequest() {
		c.rejectOpening(f.StreamID, f.Type, e)
	}
	f.Type, f.Flags, f.data, f.metadata, f.Length = FrameExt, FlagIgnore, nil, nil, n
	return nil
}

// reserve takes n bytes of the budget. If wait is set, it pauses the connection until there is room or it ends.
func (c *Conn) reserve(n int, wait bool) bool {
	if c.budget.Reserve(n) {
		return true
	}
	if !wait {
		return false
	}
	c.beginPause()
	defer c.endPause()
	const shortest, longest = time.Millisecond, 50 * time.Millisecond
	t := time.NewTimer(shortest)
	defer t.Stop()
	for delay := shortest; ; delay = min(2*delay, longest) {
		select {
		case <-t.C:
		case <-c.done:
			return false
		}
		if c.budget.Reserve(n) {
			return true
		}
		t.Reset(delay)
	}
}

// beginPause stops reading: consumers are woken, and from now on the timer keeps the peer alive and ours does not run.
func (c *Conn) beginPause() {
	c.endBurst()
	c.m.ReaderPauses.Add(1)
	c.paused.Store(true)
	if c.session != nil {
		c.w.retry() // answers need no room in the store now
	}
}

func (c *Conn) endPause() {
	c.lastRecv.Store(int64(time.Since(c.start)))
	c.paused.Store(false)
}

// touched notes that s has a new payload; its consumer is woken at the end of the burst.
func (c *Conn) touched(s *stream) {
	if !s.dirty {
		s.dirty = true
		c.touch = append(c.touch, s)
	}
}

// endBurst wakes everyone who got something since the last call: once per read, not once per frame.
func (c *Conn) endBurst() {
	c.stage.flush()
	if c.framesIn > 0 {
		c.m.FramesIn.Add(c.framesIn)
		c.m.BytesIn.Add(c.bytesIn)
		c.m.RequestsIn.Add(c.requestsIn)
		c.framesIn, c.bytesIn, c.requestsIn = 0, 0, 0
	}
	for i, s := range c.touch {
		s.dirty = false
		c.touch[i] = nil
		if c.last == s {
			c.last = nil // the caller may use it again for another request
		}
		s.mu.Lock()
		if s.queue.n > 0 || s.rxEnd != nil {
			s.wakeRx()
		}
		s.handed = s.requester && s.gone.Load()
		s.mu.Unlock()
	}
	if len(c.touch) > 0 {
		c.touch = c.touch[:0]
		runtime.Gosched() // let consumers grant anew while there is more to read
	}
	if len(c.frags) > 0 {
		c.sweepAssemblies(false)
	}
	c.work.wake()
}

// onFrame handles one frame. An error ends the connection.
func (c *Conn) onFrame(f *frame) *Error {
	if f.StreamID == 0 {
		return c.onConnFrame(f)
	}
	c.confirmed = true
	switch f.Type {
	case FramePayload:
		if s := c.lookup(f.StreamID); s != nil {
			s.onPayload(f)
			return nil
		}
	case FrameRequestN:
		if s := c.lookup(f.StreamID); s != nil {
			s.onRequestN(f.N)
			return nil
		}
	case FrameCancel:
		if s := c.lookup(f.StreamID); s != nil {
			s.onCancel()
			return nil
		}
	case FrameError:
		if s := c.lookup(f.StreamID); s != nil {
			s.onError(&Error{Code: ErrorCode(f.N), Message: string(f.data)})
			return nil
		}
	case FrameRequestFNF, FrameRequestResponse, FrameRequestStream, FrameRequestChannel:
		c.onRequest(f)
		return nil
	case FrameSetup, FrameLease, FrameKeepAlive, FrameMetadataPush, FrameResume, FrameResumeOK, FrameExt:
		return c.onUnknown(f)
	default:
		return c.onUnknown(f)
	}
	c.ignored()
	return nil
}

// onUnknown ignores known frames in the wrong place; a frame of an unknown type ends the connection unless it may be ignored.
func (c *Conn) onUnknown(f *frame) *Error {
	_, known := frameNames[f.Type]
	if (known && f.Type != FrameExt) || f.Flags&FlagIgnore != 0 {
		c.ignored()
		return nil
	}
	return Errorf(CodeConnectionError, "frame of type %s is not understood", f.Type)
}

func (c *Conn) ignored() { c.m.FramesIgnored.Add(1) }

// onConnFrame handles frames of stream 0.
func (c *Conn) onConnFrame(f *frame) *Error {
	switch f.Type {
	case FrameKeepAlive:
		c.confirmed = true
		return c.onKeepAlive(f)
	case FrameMetadataPush:
		c.onMetadataPush(f)
	case FrameError:
		c.onConnError(&Error{Code: ErrorCode(f.N), Message: string(f.data)})
	case FrameResume:
		if c.server {
			return &Error{Code: CodeConnectionError, Message: "RESUME after SETUP"}
		}
		c.ignored()
	case FrameLease:
		c.confirmed = true
		c.onLease(f)
	case FrameSetup, FrameRequestResponse, FrameRequestFNF, FrameRequestStream, FrameRequestChannel,
		FrameRequestN, FrameCancel, FramePayload, FrameResumeOK:
		c.ignored()
	case FrameExt:
		return c.onUnknown(f)
	default:
		return c.onUnknown(f)
	}
	return nil
}

// onConnError handles ERROR of stream 0.
func (c *Conn) onConnError(e *Error) {
	switch e.Code {
	case CodeConnectionClose:
		c.peerCloses(e)
	case CodeInvalidSetup, CodeUnsupportedSetup, CodeRejectedSetup, CodeRejectedResume:
		if c.server || c.confirmed {
			c.ignored()
			return
		}
		c.close(e)
	case CodeConnectionError, CodeApplicationError, CodeRejected, CodeCanceled, CodeInvalid:
		c.close(e)
	default:
		c.close(e)
	}
}

// peerCloses ends the connection once the streams in progress have.
func (c *Conn) peerCloses(e *Error) {
	if c.peerClosed {
		return
	}
	c.peerClosed = true
	idle := c.drain()
	c.handlers.Go(func() {
		select {
		case <-idle:
			c.close(e)
		case <-c.done:
		}
	})
}

// timedOut reports whether err is an expired deadline.
func timedOut(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
