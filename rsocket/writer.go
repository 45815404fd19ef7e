package rsocket

import (
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// errFull says that the write buffer has no room now; the waiter is told when it has.
var errFull = errors.New("rsocket: write buffer full")

const (
	defaultWriteBuffer = 256 << 10
	controlReserve     = 64 << 10  // room above the limit for KEEPALIVE, ERROR, COMPLETE
	keepWriteBuffer    = 512 << 10 // larger buffers are left to the garbage collector
	storeOverdraft     = 15        // a connection is given up when its store exceeds its limit by that many times
)

// waiter is woken when the write buffer has room again.
type waiter struct {
	ch     chan struct{} // capacity 1
	listed bool          // guarded by writer.mu
}

func newWaiter() *waiter { return &waiter{ch: make(chan struct{}, 1)} }

func (w *waiter) wake() {
	select {
	case w.ch <- struct{}{}:
	default:
	}
}

// writer collects whole frames and writes them in groups.
//
// Appending never waits: without room it registers the waiter and returns errFull. Whoever has appended much writes it by
// himself if the socket takes it at once, see [writer.help]: the bytes are still in the cache of his processor. The flusher
// goroutine does the rest. It runs only while there is something to write and takes the whole buffer, so that one call to
// the connection carries all frames appended during the call before.
type writer struct {
	written *atomic.Int64                  // bytes
	limit   int                            // data is refused from this many buffered bytes on
	tap     func(h FrameHeader)            // may be nil; called under mu, in wire order
	fail    func(dst io.Writer, err error) // told of a write error; no lock is held
	run     func()                         // flush, bound once so that starting it does not allocate
	paused  *atomic.Bool                   // the reader reads nothing, see Conn

	due       atomic.Int32 // a due; set under mu
	overdrawn atomic.Bool  // the store exceeds its limit so far that requests are refused; set under mu

	mu       sync.Mutex // guards all below; taken after stream.mu, before Conn.mu
	dst      io.Writer
	socket   *socket     // of dst, nil if it is not one
	detached bool        // a resumable connection waits for a new transport: frames go to the store only
	store    *frameStore // of a resumable connection, else nil
	overflow bool        // the store exceeds its limit by far: the peer confirms nothing
	idle     sync.Cond   // signalled when nobody writes and no flusher exists
	buf      []byte
	frames   int // in buf
	spare    []byte
	started  []byte // what the socket took only a part of, the first sent bytes; the flusher writes the rest
	sent     int
	flusher  bool  // the goroutine exists
	writing  bool  // someone writes, or the rest of started waits for the flusher
	err      error // set once: nothing more is appended
	waiters  []*waiter
	free     []*waiter // for goroutines that wait without a stream
	controls []*stream // with a REQUEST_N or CANCEL to encode
}

var writeBuffers = slicePool[byte]{most: keepWriteBuffer}

func (w *writer) init(dst io.Writer, limit int, written *atomic.Int64, fail func(io.Writer, error)) {
	w.dst, w.socket, w.limit, w.fail = dst, socketOf(dst), limit, fail
	w.idle.L = &w.mu
	w.written = written
	w.run = w.flush
}

// ready checks, with mu held, that a frame can be appended below limit. Frames of streams also need room in the store of a
// resumable connection.
func (w *writer) ready(limit int, ofStream bool, wt *waiter) error {
	if w.err != nil {
		return w.err
	}
	if len(w.buf) < limit && (w.store == nil || !ofStream || w.store.room(limit-w.limit)) {
		if w.buf == nil {
			w.buf = takeWriteBuffer()
		}
		return nil
	}
	if wt != nil && !wt.listed {
		wt.listed = true
		w.waiters = append(w.waiters, wt)
	}
	return errFull
}

func takeWriteBuffer() []byte {
	if b := writeBuffers.get(); b != nil {
		return b
	}
	return make([]byte, 0, 4<<10)
}

// appended ends the append of one frame, with mu held; buf is the buffer with the frame at its end.
func (w *writer) appended(buf []byte, h FrameHeader) {
	from := len(w.buf)
	w.buf = buf
	w.frames++
	w.noteDue()
	if w.tap != nil {
		w.tap(h)
	}
	if w.store != nil {
		w.retain(from, h)
	}
}

// retain keeps the frame at the end of the buffer, from `from` on, until the peer has confirmed it, with mu held.
func (w *writer) retain(from int, h FrameHeader) {
	if h.StreamID != 0 {
		w.store.append(w.buf[from:])
		w.checkStore()
	}
	switch {
	case w.detached:
		w.buf = w.buf[:from]
	case w.store.askForPosition():
		w.buf = appendKeepAlive(w.buf, true, w.store.received.Load(), nil)
	}
}

// checkStore notes how full the store is, with mu held.
func (w *writer) checkStore() {
	s := w.store
	w.overdrawn.Store(!s.room(storeOverdraft / 2 * s.limit))
	w.overflow = !s.room(storeOverdraft*s.limit + 4*controlReserve)
}

func (w *writer) kick() {
	if !w.flusher && !w.writing && !w.detached {
		w.flusher = true
		go w.run()
	}
}

// next appends the next frame of f.
func (w *writer) next(f *fragmenter, wt *waiter) (last bool, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, err = w.nextLocked(f, wt)
	if err == nil {
		w.kick()
	}
	return last, err
}

// nextLocked is next with mu held; the caller kicks. While the reader waits for the worker, answers of the worker do not wait
// for room in the store: that comes with frames the reader has yet to read.
func (w *writer) nextLocked(f *fragmenter, wt *waiter) (last bool, err error) {
	if err := w.ready(w.limit, !f.answer || !w.paused.Load(), wt); err != nil {
		return false, err
	}
	buf, h, last := f.next(w.buf)
	w.appended(buf, h)
	return last, nil
}

// control appends an encoded control frame; it may use the control reserve.
func (w *writer) control(b []byte, h FrameHeader, wt *waiter) error {
	return w.controlFrame(b, h, h.StreamID != 0, wt)
}

// answer is control for the reader. It does not wait for room in the store: that comes with frames it has yet to read.
func (w *writer) answer(b []byte, h FrameHeader, wt *waiter) error {
	return w.controlFrame(b, h, false, wt)
}

func (w *writer) controlFrame(b []byte, h FrameHeader, ofStream bool, wt *waiter) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.ready(w.limit+controlReserve, ofStream, wt); err != nil {
		return err
	}
	h.Length = len(b) - lengthSize
	w.appended(append(w.buf, b...), h)
	w.kick()
	return nil
}

// last appends a final control frame, room or not, and refuses everything after it with err.
func (w *writer) last(b []byte, h FrameHeader, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil {
		w.encodeControls()
		h.Length = len(b) - lengthSize
		w.appended(append(w.buf, b...), h)
		w.kick()
	}
	w.stopLocked(err)
}

// request has the flusher encode the pending REQUEST_N or CANCEL of s. It never waits: there is one entry per stream.
func (w *writer) request(s *stream) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil || s.listed {
		return
	}
	s.listed = true
	w.controls = append(w.controls, s)
	w.kick()
}

// encodeControls writes what request collected, with mu held.
func (w *writer) encodeControls() {
	for i, s := range w.controls {
		w.controls[i] = nil
		s.listed = false
		if n := s.pendingN.Swap(0); n > 0 {
			w.appended(appendRequestN(w.buf, s.id, n), FrameHeader{Type: FrameRequestN, StreamID: s.id, N: n, Length: headerSize + 4})
		}
		if s.pendingCancel.Swap(false) {
			w.appended(appendCancel(w.buf, s.id), FrameHeader{Type: FrameCancel, StreamID: s.id, Length: headerSize})
		}
	}
	w.controls = w.controls[:0]
}

// retry has everyone who waits for room look again.
func (w *writer) retry() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wakeAll()
}

// stop refuses further frames with err. What is buffered is still written, also if it was left to someone who has yet to help.
func (w *writer) stop(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopLocked(err)
	if len(w.buf)+len(w.controls) > 0 {
		w.kick()
	}
}

func (w *writer) stopLocked(err error) {
	if w.err == nil {
		w.err = err
	}
	w.wakeAll()
}

func (w *writer) wakeAll() {
	for i, wt := range w.waiters {
		wt.listed = false
		wt.wake()
		w.waiters[i] = nil
	}
	w.waiters = w.waiters[:0]
}

// borrow returns a waiter for one wait; giveBack takes it again.
func (w *writer) borrow() *waiter {
	w.mu.Lock()
	defer w.mu.Unlock()
	n := len(w.free)
	if n == 0 {
		return newWaiter()
	}
	wt := w.free[n-1]
	w.free = w.free[:n-1]
	return wt
}

func (w *writer) giveBack(wt *waiter) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forget(wt)
	select {
	case <-wt.ch:
	default:
	}
	w.free = append(w.free, wt)
}

// forget takes wt off the list, with mu held.
func (w *writer) forget(wt *waiter) {
	if !wt.listed {
		return
	}
	for i, x := range w.waiters {
		if x == wt {
			last := len(w.waiters) - 1
			w.waiters[i], w.waiters[last] = w.waiters[last], nil
			w.waiters = w.waiters[:last]
			break
		}
	}
	wt.listed = false
}
