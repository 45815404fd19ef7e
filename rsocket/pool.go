package rsocket

import "sync"

// slicePool keeps slices for later use, of at most `most` elements. Giving one back does not allocate: the pointers that
// sync.Pool wants are kept too.
type slicePool[T any] struct {
	most        int
	full, empty sync.Pool // of *[]T
}

// get returns an empty slice, nil if the pool has none.
func (p *slicePool[T]) get() []T {
	box, ok := p.full.Get().(*[]T)
	if !ok {
		return nil
	}
	s := (*box)[:0]
	*box = nil
	p.empty.Put(box)
	return s
}

// put gives s back; nobody may use it any more.
func (p *slicePool[T]) put(s []T) {
	if cap(s) == 0 || cap(s) > p.most {
		return
	}
	box, ok := p.empty.Get().(*[]T)
	if !ok {
		box = new([]T)
	}
	*box = s[:0]
	p.full.Put(box)
}
