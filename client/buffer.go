package client

import (
	"cmp"
	"slices"

	"github.com/weir-dev/weir/rsocket"
)

// maxPayload is the largest payload a buffer takes, whatever its limits; servers take less.
const maxPayload = 1 << 30

// buffer keeps the payloads of a stream from Send to their acknowledgement. It has no lock, no clock and no I/O.
//
// unsent holds what was never given to a connection and has no sequence yet; only from there may payloads be dropped. What
// is given to a connection gets the next sequence and moves to the window of its lane (window.go). What a lane gives up
// goes back, with its sequence, and leaves first.
//
// Invariants: count is the number of payloads in unsent, again and all windows, bytes their sum; settled has one entry for
// each sequence from head to wired, the first of them false.
type buffer struct {
	maxRecords int
	maxBytes   int64

	mem    memory
	again  ring[item] // given up by a lane, in order
	unsent ring[ref]
	count  int
	bytes  int64

	head    int64 // the oldest sequence that is not acknowledged
	wired   int64 // the highest one ever given to a connection
	settled ring[bool]
}

// item is a payload that has a sequence.
type item struct {
	ref
	seq int64
}

// newBuffer returns a buffer whose first payload will have the sequence 1.
func newBuffer(limits Buffer) buffer {
	return buffer{maxRecords: limits.Records, maxBytes: limits.Bytes, mem: newMemory(limits.Bytes), head: 1}
}

// begin sets the sequence of the first payload; there must not be one yet.
func (b *buffer) begin(first int64) { b.head, b.wired = first, first-1 }

func (b *buffer) len() int { return b.count }

// fits says whether a payload of n bytes may be pushed now.
func (b *buffer) fits(n int) bool {
	return b.count < b.maxRecords && b.bytes+int64(n) <= b.maxBytes
}

// never says whether a payload of n bytes can never be pushed.
func (b *buffer) never(n int) bool { return int64(n) > min(b.maxBytes, maxPayload) }

// push keeps a copy of data and returns its sequence, which holds unless an older payload is dropped.
func (b *buffer) push(data []byte) int64 {
	b.unsent.push(b.mem.keep(data))
	b.count++
	b.bytes += int64(len(data))
	return b.last()
}

// last returns the sequence that the newest payload has or will have.
func (b *buffer) last() int64 { return b.wired + int64(b.unsent.n) }

// waiting returns how many payloads any lane may send.
func (b *buffer) waiting() int { return b.again.n + b.unsent.n }

// next takes out the payload that is to be sent first.
func (b *buffer) next() item {
	if b.again.n > 0 {
		return b.again.pop()
	}
	b.wired++
	b.settled.push(false)
	return item{b.unsent.pop(), b.wired}
}

// take appends the next payloads that the lane of w is to send, at most limit. Their bytes stay valid until they are
// acknowledged.
func (b *buffer) take(w *window, dst []rsocket.Payload, limit int) []rsocket.Payload {
	for range min(limit, w.unsent()+b.waiting()) {
		if w.next > w.wired {
			w.flight.push(b.next())
			w.wired++
		}
		dst = append(dst, rsocket.Payload{Data: w.at(w.next).bytes()})
		w.next++
	}
	return dst
}

// ack frees what the server of w has acknowledged with seq and returns the number of payloads freed. Acks are cumulative; an
// old one frees nothing.
func (b *buffer) ack(w *window, seq int64) int {
	n := 0
	for ; w.head <= min(seq, w.wired); w.head++ {
		it := w.flight.pop()
		b.settle(it.seq)
		b.free(it.ref)
		n++
	}
	w.next = max(w.next, w.head)
	if n > 0 && b.count == 0 {
		b.mem.trim()
	}
	return n
}

// rewind starts the lane of w again on a new connection, where the server wants resumeFrom next: what lies below is
// acknowledged, the rest will be sent again. It returns how many were acknowledged and how many go out again.
func (b *buffer) rewind(w *window, resumeFrom int64) (acked, again int, err error) {
	if err := w.checkResume(resumeFrom); err != nil {
		return 0, 0, err
	}
	acked = b.ack(w, resumeFrom-1)
	w.next = resumeFrom
	return acked, w.flight.n, nil
}

// settle notes that seq is acknowledged.
func (b *buffer) settle(seq int64) {
	b.settled.set(int(seq-b.head), true)
	for b.settled.n > 0 && b.settled.at(0) {
		b.settled.pop()
		b.head++
	}
}

func (b *buffer) free(r ref) {
	b.count--
	b.bytes -= int64(r.n)
	b.mem.drop(r)
}

// dropOldest drops the oldest payload that has no sequence and returns it, valid until the next push; false if there is none.
func (b *buffer) dropOldest() ([]byte, bool) {
	if b.unsent.n == 0 {
		return nil, false
	}
	r := b.unsent.pop()
	b.free(r)
	return r.bytes(), true
}

// giveUp takes what is in flight away from the lane of w, for others to send, and returns how many that are.
func (b *buffer) giveUp(w *window) int {
	n := w.flight.n
	if n > 0 {
		all := b.sent(w)
		w.flight, b.again = ring[item]{}, ring[item]{}
		for _, it := range all {
			b.again.push(it)
		}
	}
	w.begin(1)
	return n
}

// sent returns what has a sequence and is in again or one of the windows, by sequence.
func (b *buffer) sent(windows ...*window) []item {
	all := make([]item, 0, b.count)
	for i := range b.again.n {
		all = append(all, b.again.at(i))
	}
	for _, w := range windows {
		all = w.items(all)
	}
	slices.SortFunc(all, func(a, b item) int { return cmp.Compare(a.seq, b.seq) })
	return all
}

// rest returns what was not acknowledged, by sequence. Its memory belongs to the buffer, which is not to be used any more.
func (b *buffer) rest(windows ...*window) []Unacked {
	if b.count == 0 {
		return nil
	}
	out := make([]Unacked, 0, b.count)
	for _, it := range b.sent(windows...) {
		out = append(out, Unacked{Sequence: it.seq, Data: it.bytes()})
	}
	for i := range b.unsent.n {
		out = append(out, Unacked{Data: b.unsent.at(i).bytes()})
	}
	return out
}
