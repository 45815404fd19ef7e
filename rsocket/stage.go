package rsocket

import "sync"

// stage holds payloads that came one after the other on one stream, still in the read buffer, until they go into the
// stream's queue together: one lock and one count of references for many payloads. It belongs to the connection's reader,
// which flushes it before the read buffer moves, before a frame of another kind or stream is handled, and at the end of a burst.
type stage struct {
	s      *stream              // whose payloads it takes
	credit uint32               // of them it may take that many more; the stream has at least as much
	bytes  int                  // of those held that are in the read buffer
	held   *[stageSize]received // of the pool while n > 0, so that an idle connection has none
	n      int
}

var stages = sync.Pool{New: func() any { return new([stageSize]received) }}

// stageSize bounds how long a stream's lock is held.
const stageSize = 64

// expect says that the next payloads are likely to be of s, which may receive credit more.
func (g *stage) expect(s *stream, credit uint32) { g.s, g.credit = s, credit }

// take takes a payload of s, whose bytes are reserved, if it can.
func (g *stage) take(s *stream, p *received) bool {
	if g.s != s || g.credit == 0 {
		return false
	}
	if g.n == stageSize {
		g.flush()
		if g.s == nil {
			return false
		}
	}
	if g.n == 0 {
		g.held = stages.Get().(*[stageSize]received) //nolint:forcetypeassert // the pool holds nothing else
	}
	spend(&g.credit)
	g.held[g.n] = *p
	g.n++
	if !p.owned {
		g.bytes += len(p.Data) + len(p.Metadata)
	}
	return true
}

// flush moves the payloads into the queue of their stream, or drops them if it takes none any more. The consumer is woken
// at the end of the burst.
func (g *stage) flush() {
	if g.n == 0 {
		return
	}
	s := g.s
	s.mu.Lock()
	open := s.rxEnd == nil
	var buffer *chunk
	if open {
		buffer = s.c.rd.share(int32(g.n), g.bytes)
	}
	for i := range g.held[:g.n] {
		p := &g.held[i]
		it := item{payload: p.Payload, charged: p.charged}
		switch {
		case !open:
			it.release(s.c.budget)
			continue
		case buffer != nil:
			it.payload.Metadata = it.payload.Metadata[:len(p.Metadata):len(p.Metadata)]
			it.chunk = buffer
		case !p.owned:
			it.payload, it.chunk = s.slab.copy(p.Payload)
		}
		spend(&s.rxCredit)
		s.queue.push(it)
	}
	s.slab.count()
	s.mu.Unlock()
	clear(g.held[:g.n])
	stages.Put(g.held)
	g.held, g.n, g.bytes = nil, 0, 0
	if open {
		s.c.touched(s)
		return
	}
	g.s = nil
}
