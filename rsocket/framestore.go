package rsocket

import (
	"io"
	"sync/atomic"
)

// frameStore keeps the frames of streams that a resumable connection has sent, until the peer has confirmed them. It is
// guarded by writer.mu. Positions are those of the protocol: bytes of such frames since the beginning, without length fields.
type frameStore struct {
	limit    int
	received atomic.Uint64 // position of the other direction: what was received and processed

	buf   []byte // frames with length fields; buf[head:] is kept
	head  int
	first uint64 // position of buf[head]
	end   uint64 // position after the last frame
	since int    // bytes since the peer was last asked for its position
}

// room reports whether another frame may be stored; extra is the reserve of control frames.
func (s *frameStore) room(extra int) bool { return len(s.buf)-s.head < s.limit+extra }

func (s *frameStore) append(frame []byte) {
	if s.head > len(s.buf)/2 && len(s.buf)+len(frame) > cap(s.buf) {
		s.buf = s.buf[:copy(s.buf, s.buf[s.head:])]
		s.head = 0
	}
	s.buf = append(s.buf, frame...)
	s.end += uint64(len(frame) - lengthSize)
	s.since += len(frame)
}

// askForPosition reports, once per quarter of the limit, that the peer should be asked how far it is.
func (s *frameStore) askForPosition() bool {
	if s.since < s.limit/4 {
		return false
	}
	s.since = 0
	return true
}

// trim forgets the frames before the position. It is false if the position is not the beginning of a frame that is kept, nor
// the end; positions already confirmed are ignored by confirm, not here.
func (s *frameStore) trim(position uint64) bool {
	if position < s.first || position > s.end {
		return false
	}
	for s.first < position {
		n := int(uint24(s.buf[s.head:]))
		s.head += lengthSize + n
		s.first += uint64(n)
	}
	if s.head == len(s.buf) {
		s.buf, s.head = s.buf[:0], 0
	}
	return s.first == position
}

// confirm takes a position the peer reported in KEEPALIVE; senders that wait for room in the store go on.
func (w *writer) confirm(position uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if position <= w.store.first || position > w.store.end {
		return
	}
	w.store.trim(position)
	w.checkStore()
	w.wakeAll()
}

// detach stops writing to a transport that is lost and waits for the flusher to end. What was not written stays in the
// store; frames of stream 0 are lost, as the protocol allows.
func (w *writer) detach() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.detached = true
	w.awaitFlushed()
	w.buf, w.frames = w.buf[:0], 0
}

// attach goes on with a new transport: first the greeting, then all frames from the peer's position on. It is false if those
// are not kept any more.
func (w *writer) attach(dst io.Writer, greeting []byte, position uint64) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.store.trim(position) {
		return false
	}
	w.dst, w.socket = dst, socketOf(dst)
	w.detached = false
	w.checkStore()
	w.store.since = 0
	w.buf = append(append(w.buf[:0], greeting...), w.store.buf[w.store.head:]...)
	if w.store.end > w.store.first { // senders may be waiting for room, and the answer to an earlier question was lost
		w.buf = appendKeepAlive(w.buf, true, w.store.received.Load(), nil)
	}
	if len(w.buf)+len(w.controls) > 0 {
		w.kick()
	}
	w.wakeAll()
	return true
}

// available is the position of the first frame that can be sent again.
func (w *writer) available() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.store.first
}
