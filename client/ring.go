package client

// ring is a queue that grows as needed and gives access by position.
type ring struct {
	items []ref // a power of two long
	first int
	n     int
}

func (r *ring) push(x ref) {
	if r.n == len(r.items) {
		r.grow()
	}
	r.items[(r.first+r.n)&(len(r.items)-1)] = x
	r.n++
}

func (r *ring) pop() ref {
	x := r.items[r.first]
	r.items[r.first] = ref{}
	r.first = (r.first + 1) & (len(r.items) - 1)
	r.n--
	return x
}

// at returns the item i places behind the first.
func (r *ring) at(i int) ref { return r.items[(r.first+i)&(len(r.items)-1)] }

func (r *ring) grow() {
	items := make([]ref, max(16, 2*len(r.items)))
	k := copy(items, r.items[r.first:])
	copy(items[k:], r.items[:r.first])
	r.items, r.first = items, 0
}
