package client

// memory holds the payloads of one buffer in slabs, so that keeping a payload is a copy and not an allocation. Payloads are
// freed in about the order in which they came; a slab is used again once all of its payloads are freed.
type memory struct {
	size int     // bytes of a slab
	cur  *slab   // being filled
	free []*slab // standard slabs without live payloads
}

type slab struct {
	buf  []byte
	used int
	live int // payloads kept and not freed
}

// ref is a payload in memory.
type ref struct {
	slab   *slab
	off, n uint32
}

func (r ref) bytes() []byte { return r.slab.buf[r.off : r.off+r.n : r.off+r.n] }

const (
	minSlab = 4 << 10
	maxSlab = 256 << 10
	// ownSlab is the share of a slab, 1/ownSlab, from which on a payload gets memory of its own. It bounds what is wasted at
	// the end of slabs.
	ownSlab = 2
)

func newMemory(limit int64) memory {
	return memory{size: int(min(maxSlab, max(minSlab, limit/16)))}
}

// keep copies data. It allocates only while memory grows.
func (m *memory) keep(data []byte) ref {
	s := m.room(len(data))
	off := s.used
	s.used += copy(s.buf[off:], data)
	s.live++
	return ref{slab: s, off: uint32(off), n: uint32(len(data))}
}

func (m *memory) room(n int) *slab {
	if m.cur != nil && n <= len(m.cur.buf)-m.cur.used {
		return m.cur
	}
	if n > m.size/ownSlab {
		return &slab{buf: make([]byte, n)}
	}
	if old := m.cur; old != nil && old.live == 0 {
		old.used = 0
		return old
	}
	if last := len(m.free) - 1; last >= 0 {
		m.cur, m.free = m.free[last], m.free[:last]
	} else {
		m.cur = &slab{buf: make([]byte, m.size)}
	}
	return m.cur
}

// drop frees a payload.
func (m *memory) drop(r ref) {
	s := r.slab
	s.live--
	if s.live > 0 || s == m.cur || len(s.buf) != m.size {
		return
	}
	s.used = 0
	m.free = append(m.free, s)
}

// trim gives half of the unused slabs back. It is called whenever the buffer is empty, so that a burst does not hold its
// memory for ever and a steady flow keeps it.
func (m *memory) trim() {
	keep := len(m.free) / 2
	clear(m.free[keep:])
	m.free = m.free[:keep]
}
