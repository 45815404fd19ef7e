package rsocket

import (
	"math/bits"
	"sync"
	"sync/atomic"
)

// Received payloads are copied once, from the read buffer into chunks, or keep the read buffer, which is a chunk itself, if they
// are most of what is in it. A chunk is shared by payloads that arrived one after
// the other on one stream, so it never outlives the slowest of many consumers. It is counted: one reference per payload in
// use and one of the slab that still appends to it; the last one returns it to its pool. Only the connection's reader adds
// references for payloads, and it does so while the slab holds its own, so a count that has reached zero never rises again.

const (
	minChunkBits  = 10 // 1 KiB
	maxChunkBits  = 20 // 1 MiB; larger ones are not pooled
	slabChunkBits = 16 // 64 KiB: what a busy slab works in
)

type chunk struct {
	buf  []byte
	refs atomic.Int32
	bits int8 // size class, or -1: not pooled
}

var chunkPools [maxChunkBits + 1]sync.Pool

// newChunk returns a chunk of at least n bytes with one reference.
func newChunk(n int) *chunk {
	k := max(bits.Len(uint(max(n, 1)-1)), minChunkBits)
	if k > maxChunkBits {
		return ownedChunk(make([]byte, n))
	}
	c, ok := chunkPools[k].Get().(*chunk)
	if !ok {
		c = &chunk{buf: make([]byte, 1<<k), bits: int8(k)}
	}
	c.refs.Store(1)
	return c
}

// ownedChunk wraps memory that no pool wants, with one reference.
func ownedChunk(b []byte) *chunk {
	c := &chunk{buf: b, bits: -1}
	c.refs.Store(1)
	return c
}

func (c *chunk) release(n int32) {
	if c.refs.Add(-n) == 0 && c.bits >= 0 {
		chunkPools[c.bits].Put(c)
	}
}

// slab is the appending side of a row of chunks. It is guarded by the lock of its owner.
type slab struct {
	cur  *chunk
	off  int
	size int   // of the next chunk
	owed int32 // references of cur that were handed out and not counted yet
}

// copy stores metadata and data. The returned chunk carries one reference for them; it is nil if they are empty. The
// payload may leave the owner only after count.
func (s *slab) copy(p Payload) (Payload, *chunk) {
	n := len(p.Metadata) + len(p.Data)
	if n == 0 {
		return Payload{HasMetadata: p.HasMetadata}, nil
	}
	if s.cur == nil || len(s.cur.buf)-s.off < n {
		s.roll(n)
	}
	b := s.cur.buf[s.off : s.off+n : s.off+n]
	s.off += n
	s.owed++
	m := copy(b, p.Metadata)
	copy(b[m:], p.Data)
	return Payload{Data: b[m:], Metadata: b[:m:m], HasMetadata: p.HasMetadata}, s.cur
}

// count makes the references handed out so far count: once for many payloads, since it costs as much as copying a small one.
func (s *slab) count() {
	if s.owed > 0 {
		s.cur.refs.Add(s.owed)
		s.owed = 0
	}
}

// roll replaces a full chunk by a larger one, up to 64 KiB or n.
func (s *slab) roll(n int) {
	if s.cur != nil {
		s.count()
		s.size = min(2*len(s.cur.buf), 1<<slabChunkBits)
		s.cur.release(1)
	}
	s.cur, s.off = newChunk(max(n, s.size)), 0
}

// detach gives up the current chunk, so that an idle owner holds no memory, and remembers how much was needed.
func (s *slab) detach() {
	if s.cur == nil {
		return
	}
	s.count()
	s.size = min(max(s.off, s.size/2), 1<<slabChunkBits)
	s.cur.release(1)
	s.cur, s.off = nil, 0
}

// item is a received payload in a queue.
type item struct {
	payload Payload
	chunk   *chunk
	charged int // bytes of the budget
}

func (it *item) release(b Budget) {
	if it.chunk != nil {
		it.chunk.release(1)
	}
	if it.charged > 0 {
		b.Release(it.charged)
	}
}

// ring is a queue of items that keeps its memory.
type ring struct {
	buf  []item // length is zero or a power of two
	head int
	n    int
}

func (r *ring) push(it item) {
	if r.n == len(r.buf) {
		r.grow()
	}
	r.buf[(r.head+r.n)&(len(r.buf)-1)] = it
	r.n++
}

func (r *ring) pop() item {
	p := &r.buf[r.head]
	it := *p
	*p = item{}
	r.head = (r.head + 1) & (len(r.buf) - 1)
	r.n--
	return it
}

func (r *ring) grow() {
	next := make([]item, max(1, 4*len(r.buf)))
	k := copy(next, r.buf[r.head:])
	copy(next[k:], r.buf[:r.head])
	r.buf, r.head = next, 0
}
