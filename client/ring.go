package client

// ring is a queue that grows as needed and gives access by position.
type ring[T any] struct {
	items []T // a power of two long
	first int
	n     int
}

func (r *ring[T]) push(x T) {
	if r.n == len(r.items) {
		r.grow()
	}
	r.items[(r.first+r.n)&(len(r.items)-1)] = x
	r.n++
}

func (r *ring[T]) pop() T {
	var zero T
	x := r.items[r.first]
	r.items[r.first] = zero
	r.first = (r.first + 1) & (len(r.items) - 1)
	r.n--
	return x
}

// at returns the item i places behind the first.
func (r *ring[T]) at(i int) T { return r.items[(r.first+i)&(len(r.items)-1)] }

// set changes the item i places behind the first.
func (r *ring[T]) set(i int, x T) { r.items[(r.first+i)&(len(r.items)-1)] = x }

func (r *ring[T]) grow() {
	items := make([]T, max(16, 2*len(r.items)))
	k := copy(items, r.items[r.first:])
	copy(items[k:], r.items[:r.first])
	r.items, r.first = items, 0
}
