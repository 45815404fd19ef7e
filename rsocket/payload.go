package rsocket

// Payload is what the application sends and receives: data and optional metadata.
type Payload struct {
	Data, Metadata []byte
	HasMetadata    bool // metadata is present, perhaps empty
}

// NewPayload returns a payload; metadata nil means none.
func NewPayload(data, metadata []byte) Payload {
	return Payload{Data: data, Metadata: metadata, HasMetadata: metadata != nil}
}

// Clone copies the payload into memory of its own.
func (p Payload) Clone() Payload {
	if len(p.Data)+len(p.Metadata) == 0 {
		return Payload{HasMetadata: p.HasMetadata}
	}
	b := make([]byte, 0, len(p.Data)+len(p.Metadata))
	b = append(b, p.Metadata...)
	m := len(b)
	b = append(b, p.Data...)
	return Payload{Data: b[m:], Metadata: b[:m:m], HasMetadata: p.HasMetadata}
}

// Budget bounds the bytes of received payloads the process holds. Its methods are called on hot paths from many goroutines
// and must not block. A payload is charged with the bytes of its data and metadata.
type Budget interface {
	// Reserve takes n bytes and reports whether there was room; false changes nothing.
	Reserve(n int) bool
	// Release gives back n bytes of an earlier Reserve.
	Release(n int)
}

// noBudget is the unlimited budget.
type noBudget struct{}

// Reserve always has room.
func (noBudget) Reserve(int) bool { return true }

// Release does nothing.
func (noBudget) Release(int) {}

// Batch is a set of payloads taken off a [Receiver] at once. The zero value is ready; reuse it to avoid allocations.
type Batch struct {
	// Payloads are valid until Release.
	Payloads []Payload
	// Limit is the largest number of payloads to take; 0 means 1024.
	Limit int

	held   []held // of Payloads, index by index
	budget Budget
}

// held is what a payload keeps from others: a reference to its chunk, and bytes of the budget.
type held struct {
	c       *chunk
	charged int
}

const defaultBatchLimit = 1024

func (b *Batch) limit() int {
	if b.Limit > 0 {
		return b.Limit
	}
	return defaultBatchLimit
}

func (b *Batch) add(it *item) {
	b.Payloads = append(b.Payloads, it.payload)
	b.held = append(b.held, held{c: it.chunk, charged: it.charged})
}

// Release gives the memory of the payloads and their bytes of the budget back. Nothing taken from the batch may be used
// afterwards, except what was retained. A released or empty batch may be released again.
func (b *Batch) Release() {
	if n := b.Detach(); n > 0 {
		b.budget.Release(n)
	}
}

// Detach is Release without the bytes of the budget: it returns how many the caller now owes [Budget.Release], because
// what the payloads were turned into still takes memory.
func (b *Batch) Detach() (charged int) {
	for i := 0; i < len(b.held); {
		run, n := b.held[i].c, int32(0)
		for ; i < len(b.held) && b.held[i].c == run; i++ { // neighbours share a chunk
			charged += b.held[i].charged
			n++
		}
		if run != nil {
			run.release(n)
		}
	}
	clear(b.Payloads)
	clear(b.held)
	b.Payloads, b.held = b.Payloads[:0], b.held[:0]
	return charged
}

// Retained is a payload taken out of a batch without a copy. It keeps the memory it arrived in, up to 64 KiB shared with its
// neighbours, and its bytes of the budget until Release.
type Retained struct {
	Payload

	held   held
	budget Budget
}

// Retain takes payload i out of the batch: b.Payloads[i] becomes empty, and b.Release leaves the payload alone.
func (b *Batch) Retain(i int) Retained {
	r := Retained{Payload: b.Payloads[i], held: b.held[i], budget: b.budget}
	b.Payloads[i], b.held[i] = Payload{}, held{}
	return r
}

// Release gives the memory and the bytes of the budget back. The payload may not be used afterwards; a second Release does
// nothing.
func (r *Retained) Release() {
	if r.held.c != nil {
		r.held.c.release(1)
	}
	if r.held.charged > 0 {
		r.budget.Release(r.held.charged)
	}
	*r = Retained{}
}
