package lease

import (
	"errors"
	"time"
)

// ErrFull is returned by [Allocator.Join] when the pool cannot give one more channel even its floor.
var ErrFull = errors.New("too many open channels for the memory budget")

const (
	// activeFor is how long after its last payload a channel counts as active.
	activeFor = time.Second
	// maxWindow bounds the credit of one channel, in payloads.
	maxWindow = 16384
	// maxFloor bounds the credit that a channel always gets, in payloads.
	maxFloor = 8
	// firstEstimate is the payload size assumed before the first payload, in bytes.
	firstEstimate = 1024
)

// Allocator turns free bytes into credit for channels. It is pure: the caller passes the time, and serialises calls.
//
// The scheme: each channel is charged for what it holds (received, not committed) and for its outstanding credit at the
// observed 99th percentile of payload sizes. Active channels share the pool evenly; a channel grows into its share by
// doubling. A quarter of the pool is kept for floors: a channel that holds nothing and has no credit always gets a few
// payloads, so no channel starves behind others that sit on theirs.
type Allocator struct {
	pool     *Pool
	size     sizes
	channels map[*Channel]struct{}
	active   int // channels that were active at the last Tick
	maxBytes int64
}

// Channel is the ledger of one channel.
type Channel struct {
	held        int64 // bytes received and not yet settled
	outstanding int64 // credit given and not yet used, in payloads
	charged     int64 // bytes promised for outstanding
	window      int64 // the last credit given, in payloads
	last        time.Time
	closed      bool
}

// Grant is credit for a channel: REQUEST_N(N).
type Grant struct {
	Channel *Channel
	N       int
}

// NewAllocator returns an allocator over pool for payloads of at most maxPayload bytes.
func NewAllocator(pool *Pool, maxPayload int64) *Allocator {
	return &Allocator{pool: pool, channels: map[*Channel]struct{}{}, maxBytes: maxPayload}
}

// Estimate is the size in bytes that one payload of credit is charged with.
func (a *Allocator) Estimate() int64 {
	if a.size.total == 0 {
		return firstEstimate
	}
	return max(64, min(a.size.p99, a.maxBytes))
}

// Len is the number of channels.
func (a *Allocator) Len() int { return len(a.channels) }

// floor is the credit that every channel can have at once from a quarter of the pool: one payload as long as nobody knows
// how large they are.
func (a *Allocator) floor() int64 {
	if a.size.total == 0 {
		return 1
	}
	n := int64(max(1, len(a.channels)))
	return max(1, min(maxFloor, a.pool.capacity/4/a.Estimate()/n))
}

// Join adds a channel. It fails with [ErrFull] when a quarter of the pool does not hold one payload for each.
func (a *Allocator) Join(now time.Time) (*Channel, error) {
	if int64(len(a.channels)+1)*a.Estimate() > a.pool.capacity/4 {
		return nil, ErrFull
	}
	c := &Channel{last: now}
	a.channels[c] = struct{}{}
	a.active = max(a.active, 1)
	return c, nil
}

// Leave takes c out and returns its credit. What it holds stays charged until it is settled.
func (a *Allocator) Leave(c *Channel) {
	if c.closed {
		return
	}
	c.closed = true
	delete(a.channels, c)
	a.pool.promise(-c.charged)
	c.outstanding, c.charged = 0, 0
}

// Arrived books items payloads of bytes together that came on c's credit.
func (a *Allocator) Arrived(c *Channel, items int, bytes int64, now time.Time) {
	if items == 0 || c.closed {
		return
	}
	a.size.add(items, bytes/int64(items))
	c.last = now
	c.held += bytes
	used := min(int64(items), c.outstanding)
	back := c.charged
	if used < c.outstanding {
		back = c.charged * used / c.outstanding
	}
	c.outstanding -= used
	c.charged -= back
	a.pool.promise(-back)
}

// Settled books that bytes of c's payloads have left memory.
func (a *Allocator) Settled(c *Channel, bytes int64) { c.held -= bytes }

// Next returns the credit to give to c now; 0 when it has enough or the pool has none.
func (a *Allocator) Next(c *Channel, now time.Time) int {
	if c.closed || c.outstanding > c.window/2 {
		return 0
	}
	est, free := a.Estimate(), a.pool.free()
	quarter := a.pool.capacity / 4
	floor := a.floor()

	share := (a.pool.capacity - quarter) / int64(max(1, a.active))
	room := min(share-c.held-c.charged, free-quarter)
	n := min(room/est, max(2*c.window, floor), maxWindow) - c.outstanding
	if n < max(1, c.window/8) { // not worth a frame, unless the channel is at a stand
		n = 0
		if c.outstanding == 0 && c.held <= 0 && free >= est {
			n = min(floor, free/est)
		}
	}
	if n <= 0 {
		return 0
	}
	c.outstanding += n
	c.charged += n * est
	c.window = max(c.outstanding, floor)
	a.pool.promise(n * est)
	return int(n)
}

// Tick recounts the active channels and appends to dst the grants that have become possible to channels that may have
// some.
func (a *Allocator) Tick(now time.Time, dst []Grant, may func(*Channel) bool) []Grant {
	active := 0
	for c := range a.channels {
		if now.Sub(c.last) <= activeFor || c.held > 0 {
			active++
		}
	}
	a.active = active
	for c := range a.channels {
		if !may(c) {
			continue
		}
		if n := a.Next(c, now); n > 0 {
			dst = append(dst, Grant{Channel: c, N: n})
		}
	}
	return dst
}
