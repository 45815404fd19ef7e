package rsocket

import (
	"io"
	"runtime"
)

const (
	helpFrom    = 32 << 10 // what makes a system call of one's own worth it
	helpEarly   = 16       // frames: the same where answers are waited for, so that the peer begins before all is sent
	gatherBelow = 16 << 10 // a flusher with less to write lets other goroutines append first
)

// due says how much is buffered for whoever appends to help.
type due = int32

const (
	dueEarly due = 1 + iota // helpEarly
	dueFull                 // helpFrom
)

// help writes what is buffered if that is much. It never waits: what the socket does not take at once is left to the
// flusher. Callers hold no lock.
func (w *writer) help(from due) {
	if w.due.Load() >= from {
		w.writeNow()
	}
}

// much reports whether there is enough to help with early, with mu held.
func (w *writer) much() bool { return w.frames >= helpEarly || len(w.buf) >= helpFrom }

// noteDue says how much there is to help with, with mu held.
func (w *writer) noteDue() {
	switch now := w.due.Load(); {
	case !w.much(), now == dueFull, w.socket == nil, w.writing:
	case len(w.buf) >= helpFrom:
		w.due.Store(dueFull)
	case now == 0:
		w.due.Store(dueEarly)
	}
}

// kickUnlessDue leaves to the flusher what is not enough to help with, with mu held. The caller then helps.
func (w *writer) kickUnlessDue() {
	if len(w.buf) > 0 && w.due.Load() < dueFull {
		w.kick()
	}
}

// writeNow writes what the socket takes at once, or has the flusher write.
func (w *writer) writeNow() {
	w.mu.Lock()
	w.due.Store(0)
	if w.writing || w.detached || w.overflow || w.socket == nil || !w.much() {
		w.kickUnlessDue()
		w.mu.Unlock()
		return
	}
	out, dst, socket := w.take(), w.dst, w.socket
	w.mu.Unlock()
	n, err := socket.tryWrite(out)
	w.written.Add(int64(n))
	if err != nil {
		w.fail(dst, err)
		w.abandon(false)
		return
	}
	w.helped(out, n)
}

// helped ends help, which wrote the first n bytes of out.
func (w *writer) helped(out []byte, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if n < len(out) {
		w.started, w.sent = out, n
		if !w.flusher {
			w.flusher = true
			go w.run()
		}
		return
	}
	w.wroteLocked(out)
	if len(w.buf)+len(w.controls) > 0 {
		w.kick()
	}
	w.checkFlushed()
}

// take takes the buffer for writing, with mu held.
func (w *writer) take() []byte {
	if len(w.controls) > 0 {
		if w.buf == nil {
			w.buf = takeWriteBuffer()
		}
		w.encodeControls()
	}
	out := w.buf
	w.buf, w.spare, w.frames = w.spare, nil, 0
	w.writing = true
	w.due.Store(0)
	w.wakeAll()
	return out
}

// flush is the flusher goroutine.
func (w *writer) flush() {
	for {
		out, sent, dst := w.swap()
		if out == nil {
			return
		}
		if _, err := dst.Write(out[sent:]); err != nil {
			w.fail(dst, err)
			w.abandon(true)
			return
		}
		w.written.Add(int64(len(out) - sent))
		w.wrote(out)
	}
}

// swap takes what is to be written, less the first bytes sent, or ends the flusher.
func (w *writer) swap() (out []byte, sent int, dst io.Writer) {
	w.mu.Lock()
	if len(w.buf) < gatherBelow && !w.writing {
		w.mu.Unlock()
		runtime.Gosched()
		w.mu.Lock()
	}
	defer w.mu.Unlock()
	switch {
	case w.started != nil:
		out, sent = w.started, w.sent
		w.started = nil
	case w.writing, w.detached, len(w.buf)+len(w.controls) == 0: // who writes goes on with what is left
		w.flusher = false
		w.checkFlushed()
		return nil, 0, nil
	default:
		out = w.take()
	}
	if w.overflow {
		return out, sent, unconfirmed{}
	}
	return out, sent, w.dst
}

// unconfirmed takes the place of a transport whose peer confirms nothing.
type unconfirmed struct{}

// Write fails.
func (unconfirmed) Write([]byte) (int, error) {
	return 0, &Error{Code: CodeConnectionError, Message: "positions are not confirmed"}
}

func (w *writer) wrote(out []byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wroteLocked(out)
}

// wroteLocked ends the writing of a buffer, with mu held.
func (w *writer) wroteLocked(out []byte) {
	w.writing = false
	if cap(out) <= keepWriteBuffer {
		w.spare = out[:0]
	}
}

// abandon drops what could not be written.
func (w *writer) abandon(byFlusher bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.buf, w.started, w.frames = w.buf[:0], nil, 0
	if w.store == nil {
		w.stopLocked(ErrConnClosed)
	}
	w.wakeAll() // there is room now
	w.detached, w.writing = true, false
	if byFlusher {
		w.flusher = false
	}
	w.checkFlushed()
}

// flushed waits until nobody writes.
func (w *writer) flushed() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.awaitFlushed()
}

func (w *writer) awaitFlushed() {
	for w.flusher || w.writing {
		w.idle.Wait()
	}
}

// checkFlushed gives the buffers back once nobody writes, with mu held.
func (w *writer) checkFlushed() {
	if w.flusher || w.writing {
		return
	}
	w.idle.Broadcast()
	if len(w.buf) > 0 {
		return
	}
	writeBuffers.put(w.buf)
	writeBuffers.put(w.spare)
	w.buf, w.spare = nil, nil
}
