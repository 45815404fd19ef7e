// Package lease decides admission: how many bytes an ingestor may hold, and which peer may send how much.
//
// It has two parts. [Pool] counts bytes: those held (received and not yet committed) and those promised (credit that
// producers have and may still use). [Allocator] turns what is left into REQUEST_N for channels. Every door asks these
// two and nothing else, so that a slow store slows every producer and memory stays within the pool.
package lease

import (
	"context"
	"sync"
)

// Pool is the byte account of an ingestor. It is safe for concurrent use.
//
// Invariant: held + promised ≤ capacity whenever credit is given. What payloads need beyond the size that their credit
// was charged with comes from the reserve, so held ≤ capacity + reserve always.
type Pool struct {
	capacity, reserve int64

	mu       sync.Mutex // guards what follows; never held while blocking
	held     int64
	promised int64
	room     chan struct{} // closed when bytes come back; nil while nobody waits
}

// NewPool returns a pool of capacity bytes and an overdraft of reserve bytes.
func NewPool(capacity, reserve int64) *Pool {
	return &Pool{capacity: capacity, reserve: reserve}
}

// Capacity is the number of bytes that may be held and promised together.
func (p *Pool) Capacity() int64 { return p.capacity }

// Usage returns the bytes held and the bytes promised.
func (p *Pool) Usage() (held, promised int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.held, p.promised
}

// Reserve takes n bytes for a payload whose length was just read. It may use the overdraft, and is false when that is
// empty too: then the payload must not be read into memory.
func (p *Pool) Reserve(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held+int64(n) > p.capacity+p.reserve {
		return false
	}
	p.held += int64(n)
	return true
}

// TryTake takes n bytes for a payload that came without credit (a request). It never touches what is promised to
// channels, nor the overdraft.
func (p *Pool) TryTake(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held+p.promised+int64(n) > p.capacity {
		return false
	}
	p.held += int64(n)
	return true
}

// Hold adds n bytes that are in memory already, or takes them off when n is negative.
func (p *Pool) Hold(n int64) {
	if n < 0 {
		p.Release(int(-n))
		return
	}
	p.mu.Lock()
	p.held += n
	p.mu.Unlock()
}

// Release gives n held bytes back.
func (p *Pool) Release(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held -= int64(n)
	p.wake()
}

// wake tells waiters to look again. The caller holds p.mu.
func (p *Pool) wake() {
	if p.room != nil {
		close(p.room)
		p.room = nil
	}
}

// promise books n bytes of credit; negative when credit was used or its owner left.
func (p *Pool) promise(n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.promised += n
	if n < 0 {
		p.wake()
	}
}

// free is what may still be held or promised.
func (p *Pool) free() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.capacity - p.held - p.promised
}

// Over says whether more is held and promised than the capacity: then nothing without credit is taken.
func (p *Pool) Over() bool { return p.free() < 0 }

// Await returns once held and promised bytes fit the capacity again: the wait of a fire-and-forget, which has neither
// credit nor an answer and is held back by its sender's connection.
func (p *Pool) Await(ctx context.Context) error {
	for {
		p.mu.Lock()
		if p.held+p.promised <= p.capacity {
			p.mu.Unlock()
			return nil
		}
		if p.room == nil {
			p.room = make(chan struct{})
		}
		room := p.room
		p.mu.Unlock()
		select {
		case <-room:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
