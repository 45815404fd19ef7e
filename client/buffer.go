package client

import (
	"fmt"

	"github.com/weir-dev/weir/rsocket"
)

// maxPayload is the largest payload a buffer takes, whatever its limits; servers take less.
const maxPayload = 1 << 30

// buffer keeps the payloads of a stream from Send to their acknowledgement. It has no lock, no clock and no I/O.
//
// Payloads are in two queues. unsent holds what was never given to a connection and has no sequence yet; only from there
// may payloads be dropped. flight holds what has a sequence: those from head to wired, in order and without a gap.
//
// Invariants: head ≤ next ≤ wired+1; flight.n = wired−head+1; bytes is the sum over both queues.
type buffer struct {
	maxRecords int
	maxBytes   int64

	mem    memory
	flight ring
	unsent ring
	bytes  int64

	head  int64 // the oldest sequence that is not acknowledged
	next  int64 // the next one to send on the current connection
	wired int64 // the highest one ever given to a connection
}

// newBuffer returns a buffer whose first payload will have the sequence first.
func newBuffer(limits Buffer, first int64) buffer {
	return buffer{
		maxRecords: limits.Records, maxBytes: limits.Bytes, mem: newMemory(limits.Bytes),
		head: first, next: first, wired: first - 1,
	}
}

func (b *buffer) len() int { return b.flight.n + b.unsent.n }

// fits says whether a payload of n bytes may be pushed now.
func (b *buffer) fits(n int) bool {
	return b.len() < b.maxRecords && b.bytes+int64(n) <= b.maxBytes
}

// never says whether a payload of n bytes can never be pushed.
func (b *buffer) never(n int) bool { return int64(n) > min(b.maxBytes, maxPayload) }

// push keeps a copy of data and returns its sequence, which holds unless an older payload is dropped.
func (b *buffer) push(data []byte) int64 {
	b.unsent.push(b.mem.keep(data))
	b.bytes += int64(len(data))
	return b.last()
}

// last returns the sequence that the newest payload has or will have.
func (b *buffer) last() int64 { return b.wired + int64(b.unsent.n) }

// toSend returns how many payloads wait for the current connection.
func (b *buffer) toSend() int { return int(b.wired-b.next) + 1 + b.unsent.n }

// take appends the next payloads to send, at most limit. Their bytes stay valid until they are acknowledged.
func (b *buffer) take(dst []rsocket.Payload, limit int) []rsocket.Payload {
	for range min(limit, b.toSend()) {
		if b.next > b.wired {
			b.flight.push(b.unsent.pop())
			b.wired++
		}
		dst = append(dst, rsocket.Payload{Data: b.at(b.next)})
		b.next++
	}
	return dst
}

// at returns the payload of a sequence from head to wired.
func (b *buffer) at(seq int64) []byte { return b.flight.at(int(seq - b.head)).bytes() }

// has says whether the payload of seq is in flight.
func (b *buffer) has(seq int64) bool { return b.head <= seq && seq <= b.wired }

// checkAck refuses what a correct server never acknowledges.
func (b *buffer) checkAck(seq int64) error {
	if seq >= b.next {
		return fmt.Errorf("%w: it acknowledges payload %d, the last one sent is %d", ErrProtocol, seq, b.next-1)
	}
	return nil
}

// ack frees everything up to seq and returns the number of payloads freed. Acks are cumulative; an old one frees nothing.
func (b *buffer) ack(seq int64) int {
	n := 0
	for ; b.head <= min(seq, b.wired); b.head++ {
		r := b.flight.pop()
		b.bytes -= int64(r.n)
		b.mem.drop(r)
		n++
	}
	b.next = max(b.next, b.head)
	if n > 0 && b.len() == 0 {
		b.mem.trim()
	}
	return n
}

// dropOldest drops the oldest payload that has no sequence and returns it, valid until the next push; false if there is none.
func (b *buffer) dropOldest() ([]byte, bool) {
	if b.unsent.n == 0 {
		return nil, false
	}
	r := b.unsent.pop()
	b.bytes -= int64(r.n)
	b.mem.drop(r)
	return r.bytes(), true
}

// rewind starts again on a new connection, where the server wants resumeFrom next: what lies below is acknowledged, the rest
// will be sent again. It returns how many were acknowledged and how many go out again.
func (b *buffer) rewind(resumeFrom int64) (acked, again int, err error) {
	switch {
	case resumeFrom < b.head:
		return 0, 0, &OutOfRangeError{Expected: resumeFrom}
	case resumeFrom > b.wired+1:
		return 0, 0, fmt.Errorf("%w: it resumes at payload %d, the last one sent is %d", ErrProtocol, resumeFrom, b.wired)
	}
	acked = b.ack(resumeFrom - 1)
	b.next = resumeFrom
	return acked, b.flight.n, nil
}

// rest returns what was not acknowledged. The buffer is not usable afterwards.
func (b *buffer) rest() []Unacked {
	if b.len() == 0 {
		return nil
	}
	out := make([]Unacked, 0, b.len())
	for seq := b.head; seq <= b.wired; seq++ {
		out = append(out, Unacked{Sequence: seq, Data: b.at(seq)})
	}
	for i := range b.unsent.n {
		out = append(out, Unacked{Data: b.unsent.at(i).bytes()})
	}
	return out
}
