package rsocket

import (
	"context"
	"encoding/binary"
	"errors"
	"sync"
	"time"
)

// Errors of requests that need a lease.
var (
	ErrNoLease        = errors.New("rsocket: no lease")
	ErrLeaseQueueFull = errors.New("rsocket: too many requests wait for a lease")
)

// Lease allows the peer a number of requests, of any model, for a time.
type Lease struct {
	TTL      time.Duration // at least 1 ms; counts from reception
	Requests int           // 0 stops the peer
	Metadata []byte        // nil: none
}

// LeaseSource is the responder's side of leases on one connection.
type LeaseSource interface {
	// Start is called when a client that asked for leases has been accepted, and again after each resumption, when earlier leases
	// are void. The source calls [Conn.SendLease] now, and again from any goroutine for as long as it likes. It must not block.
	Start(c *Conn)
}

// LeaseFunc makes a function a [LeaseSource].
type LeaseFunc func(c *Conn)

// Start calls f.
func (f LeaseFunc) Start(c *Conn) { f(c) }

// PeriodicLeases grants n requests every ttl for as long as the connection lives.
func PeriodicLeases(ttl time.Duration, n int) func(*ConnInfo) LeaseSource {
	return func(*ConnInfo) LeaseSource {
		var timer *time.Timer
		var mu sync.Mutex
		return LeaseFunc(func(c *Conn) {
			mu.Lock()
			defer mu.Unlock()
			if timer != nil {
				timer.Stop()
			}
			renew := func() {
				if c.SendLease(Lease{TTL: ttl, Requests: n}) == nil {
					mu.Lock()
					defer mu.Unlock()
					timer.Reset(ttl)
				}
			}
			timer = time.AfterFunc(0, renew)
		})
	}
}

// RequesterLeases says how a requester behaves without a valid lease.
type RequesterLeases struct {
	// Queue is how many requests may wait for a lease, first come first served, each bounded by its context. With 0 a request
	// fails at once with [ErrNoLease]; when the queue is full, with [ErrLeaseQueueFull].
	Queue int
	// Received is told of every LEASE, serially, as Handlers.MetadataPush is. nil: nobody is.
	Received func(c *Conn, l Lease)
}

// leaseHolder is the requester's side: what may still be sent under the last LEASE. The last one overrides all before.
type leaseHolder struct {
	o RequesterLeases

	mu      sync.Mutex // guards the fields below
	left    int
	expires time.Duration // since Conn.start
	queue   []*leaseWaiter
	err     error // the connection has ended
}

type leaseWaiter struct {
	ready   chan struct{} // closed when granted or failed
	granted bool
	err     error
}

// acquire takes one request off the lease, or waits for one.
func (h *leaseHolder) acquire(ctx context.Context, c *Conn) error {
	w, err := h.take(time.Since(c.start))
	if w == nil {
		return err
	}
	select {
	case <-w.ready:
		return w.err
	case <-ctx.Done():
		h.leave(w)
		return context.Cause(ctx)
	}
}

// take takes one request off the lease, or joins the queue.
func (h *leaseHolder) take(now time.Duration) (*leaseWaiter, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case h.err != nil:
		return nil, h.err
	case h.left > 0 && now < h.expires && len(h.queue) == 0:
		h.left--
		return nil, nil //nolint:nilnil // no need to wait
	case h.o.Queue == 0:
		return nil, ErrNoLease
	case len(h.queue) >= h.o.Queue:
		return nil, ErrLeaseQueueFull
	}
	w := &leaseWaiter{ready: make(chan struct{})}
	h.queue = append(h.queue, w)
	return w, nil
}

// leave takes w out of the queue; if it was granted a request meanwhile, that goes to the next one.
func (h *leaseHolder) leave(w *leaseWaiter) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for i, x := range h.queue {
		if x == w {
			h.queue = append(h.queue[:i], h.queue[i+1:]...)
			return
		}
	}
	if w.granted {
		h.left++
		h.serve()
	}
}

// set replaces the lease.
func (h *leaseHolder) set(n int, expires time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.left, h.expires = n, expires
	h.serve()
}

// serve grants what is left to those who wait, with mu held.
func (h *leaseHolder) serve() {
	for h.left > 0 && len(h.queue) > 0 {
		w := h.queue[0]
		h.queue = h.queue[1:]
		h.left--
		w.granted = true
		close(w.ready)
	}
}

// end fails everyone.
func (h *leaseHolder) end(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.err = err
	for _, w := range h.queue {
		w.err = err
		close(w.ready)
	}
	h.queue = nil
}

// leaseLedger is the responder's side: what the peer may still send. A lease overrides those before it when the peer has
// received it; until the peer echoes the KEEPALIVE that follows each LEASE, requests may still be under way that used an
// earlier one. So earlier leases count until the echo comes or they have expired, and a peer that obeys is never refused.
type leaseLedger struct {
	source LeaseSource

	mu     sync.Mutex // guards the fields below
	grants []leaseGrant
	seq    uint64
	ended  bool // no more leases
	empty  chan struct{}
}

type leaseGrant struct {
	seq     uint64
	left    int
	sent    time.Duration // since Conn.start
	expires time.Duration // the latest time a request under it can arrive
}

// leaseSlack is added to twice the round trip time for requests that left the peer just before their lease expired.
const leaseSlack = 50 * time.Millisecond

// add records a lease and returns its number.
func (g *leaseLedger) add(n int, sent, expires time.Duration) (uint64, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended && n > 0 {
		return 0, ErrConnDraining
	}
	g.expire(sent) // a peer that confirms none and requests nothing must not make the list grow
	g.seq++
	g.grants = append(g.grants, leaseGrant{seq: g.seq, left: n, sent: sent, expires: expires})
	return g.seq, nil
}

// take admits one request, off the oldest lease that can still be in use.
func (g *leaseLedger) take(now time.Duration) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expire(now)
	for i := range g.grants {
		if g.grants[i].left > 0 {
			g.grants[i].left--
			g.checkEmpty()
			return true
		}
	}
	return false
}

// expire drops leases whose time is over, with mu held.
func (g *leaseLedger) expire(now time.Duration) {
	k := 0
	for _, x := range g.grants {
		if now < x.expires {
			g.grants[k] = x
			k++
		}
	}
	g.grants = g.grants[:k]
	g.checkEmpty()
}

// confirm drops the leases before seq, which the peer has received, and returns when that one was sent.
func (g *leaseLedger) confirm(seq uint64) (sent time.Duration, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i, x := range g.grants {
		if x.seq == seq {
			g.grants = append(g.grants[:0], g.grants[i:]...)
			g.checkEmpty()
			return x.sent, true
		}
	}
	return 0, false
}

// checkEmpty tells the one who drains, with mu held.
func (g *leaseLedger) checkEmpty() {
	if g.empty == nil {
		return
	}
	for _, x := range g.grants {
		if x.left > 0 {
			return
		}
	}
	close(g.empty)
	g.empty = nil
}

// drain refuses further leases. The channel is closed when the peer can use none any more; last is when they have expired.
func (g *leaseLedger) drain() (empty <-chan struct{}, last time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.ended = true
	if g.empty == nil {
		g.empty = make(chan struct{})
	}
	ch := g.empty
	for _, x := range g.grants {
		last = max(last, x.expires)
	}
	g.checkEmpty()
	return ch, last
}

// reset voids all leases, when the session moves to a new connection.
func (g *leaseLedger) reset() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.grants = nil
	g.checkEmpty()
}

// leaseMark is the data of the KEEPALIVE behind a LEASE: a tag and the number of the lease.
const leaseMark = "weirlse"

// SendLease sends LEASE to a peer that asked for leases; others get [ErrNoLease]. It replaces earlier leases. Requests of the
// peer beyond it are refused with ERROR[REJECTED] (fire-and-forget: counted and dropped). While the connection drains,
// [ErrConnDraining] is returned.
func (c *Conn) SendLease(l Lease) error { return c.sendLease(c.ctx, l) }

// sendLease is SendLease that waits for room until ctx is done.
func (c *Conn) sendLease(ctx context.Context, l Lease) error {
	g := c.granted
	if g == nil {
		return ErrNoLease
	}
	now := time.Since(c.start)
	ttl := time.Duration(millis(l.TTL)) * time.Millisecond
	n := uint32(min(max(l.Requests, 0), maxCredit))
	rtt := c.RTT()
	if rtt == 0 {
		rtt = time.Second
	}
	seq, err := g.add(int(n), now, now+ttl+2*rtt+leaseSlack)
	if err != nil {
		return err
	}
	b := appendLease(nil, millis(ttl), n, l.Metadata)
	h := FrameHeader{Type: FrameLease, N: n}
	if err := c.untilRoom(ctx, func(wt *waiter) error { return c.w.control(b, h, wt) }); err != nil {
		return err
	}
	mark := binary.BigEndian.AppendUint64([]byte(leaseMark), seq)
	c.sendKeepAlive(true, mark)
	return nil
}

// LeaseOutstanding returns how many requests the peer may still send under leases, as far as this side can know: earlier
// leases count until the peer has confirmed a newer one or they have expired.
func (c *Conn) LeaseOutstanding() int {
	g := c.granted
	if g == nil {
		return 0
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.expire(time.Since(c.start))
	n := 0
	for _, x := range g.grants {
		n = min(n+x.left, maxCredit)
	}
	return n
}

// onLeaseEcho handles the echo of the KEEPALIVE behind a LEASE.
func (c *Conn) onLeaseEcho(data []byte) {
	if c.granted == nil || len(data) != len(leaseMark)+8 || string(data[:len(leaseMark)]) != leaseMark {
		return
	}
	if sent, ok := c.granted.confirm(binary.BigEndian.Uint64(data[len(leaseMark):])); ok {
		c.observeRTT(time.Since(c.start) - sent)
	}
}

// onLease handles a LEASE frame of the responder.
func (c *Conn) onLease(f *frame) {
	h := c.leased
	if h == nil {
		c.ignored()
		return
	}
	h.set(int(f.N), time.Since(c.start)+time.Duration(f.ttl)*time.Millisecond)
	if h.o.Received == nil {
		return
	}
	p := f.take()
	p.Data = binary.BigEndian.AppendUint64(nil, uint64(f.ttl)<<32|uint64(f.N))
	p.charged = 0
	p.Payload = p.Clone()
	p.owned = true
	c.work.push(FrameLease, 0, nil, p)
}

// leaseOf is what onLease queued.
func leaseOf(p Payload) Lease {
	x := binary.BigEndian.Uint64(p.Data)
	l := Lease{TTL: time.Duration(x>>32) * time.Millisecond, Requests: int(uint32(x))}
	if p.HasMetadata {
		l.Metadata = p.Metadata
	}
	return l
}

// drainLeases stops granting and waits until the peer can no longer use a lease, or ctx is done.
func (c *Conn) drainLeases(ctx context.Context) {
	g := c.granted
	if g == nil {
		return
	}
	empty, last := g.drain()
	if c.sendLease(ctx, Lease{TTL: time.Millisecond}) != nil {
		return
	}
	t := time.NewTimer(last - time.Since(c.start))
	defer t.Stop()
	select {
	case <-empty:
	case <-t.C:
	case <-c.done:
	case <-ctx.Done():
	}
}
