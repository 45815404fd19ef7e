package rsocket

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"math"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// ConnInfo is what is known of a connection since its SETUP.
type ConnInfo struct {
	ID                     uint64 // unique in the process
	RemoteAddr, LocalAddr  net.Addr
	MetadataMIME, DataMIME string
	SetupPayload           Payload
	LeaseRequested         bool
	KeepAlive              time.Duration // between the client's KEEPALIVE frames
	MaxLifetime            time.Duration // without a sign of life
	Principal              string        // set by Handlers.Setup; empty is anonymous
	// TLS is the state of the transport SETUP came on, with the client's certificates; nil without TLS.
	TLS *tls.ConnectionState
}

// Limits bound what a peer can make a connection hold. Zero fields take the default.
type Limits struct {
	MaxFrame      int // bytes of a received frame; default and maximum 16,777,215
	MaxPayload    int // bytes of a reassembled payload; default 64 MiB
	MaxReassembly int // bytes of unfinished fragments of the connection; default MaxPayload
	MaxFragments  int // bytes of unfinished fragments of all connections of a server; default 4 times MaxReassembly
	MaxStreams    int // requests of the peer in progress; default 4096
	MTU           int // longest frame sent before a payload is fragmented; default 256 KiB, at least 64
	WriteBuffer   int // bytes waiting to be written before senders block; default 256 KiB
	WorkQueue     int // fire-and-forget and request-response waiting for the worker; default 1024
}

func (l Limits) withDefaults() Limits {
	setDefault(&l.MaxFrame, maxFrameSize)
	l.MaxFrame = min(l.MaxFrame, maxFrameSize)
	setDefault(&l.MaxPayload, 64<<20)
	setDefault(&l.MaxReassembly, l.MaxPayload)
	setDefault(&l.MaxFragments, 4*l.MaxReassembly)
	setDefault(&l.MaxStreams, 4096)
	setDefault(&l.MTU, 256<<10)
	l.MTU = min(max(l.MTU, minMTU), maxFrameSize)
	setDefault(&l.WriteBuffer, defaultWriteBuffer)
	setDefault(&l.WorkQueue, 1024)
	return l
}

func setDefault(v *int, d int) {
	if *v <= 0 {
		*v = d
	}
}

const (
	closeTimeout  = 2 * time.Second        // to write the last ERROR
	lingerTimeout = 250 * time.Millisecond // to let the peer read it before the socket goes
)

// Conn is one RSocket connection, of a client or of a server. Both sides can request and respond. Its methods may be called
// from any goroutine.
type Conn struct {
	server  bool
	from    netip.Addr // server: whose place among MaxConnsPerAddr it takes
	info    ConnInfo
	h       Handlers
	budget  Budget
	unbuilt *atomic.Int64
	limits  Limits
	mtu     int
	log     *slog.Logger
	m       *Metrics
	tap     Tap

	observer RequestObserver // may be nil

	w    writer
	rd   frameReader
	work worker

	leased  *leaseHolder // requester: set if requests of this side need leases
	granted *leaseLedger // responder: set if requests of the peer need leases
	session *session     // set if the connection can be resumed

	// The reader's own.
	last       *stream // the stream of the last frame
	stage      stage   // payloads of one stream on their way to its queue
	newest     uint32  // the highest stream id of the peer's requests
	refused    refusals
	touch      []*stream // streams with new payloads in this burst
	assembling int       // bytes of unfinished fragments; unbuilt has those of all connections of the server
	frags      []*stream // streams with unfinished fragments
	sweeping   bool      // in sweepAssemblies
	framesIn   int64     // these three: not yet added to the metrics
	bytesIn    int64
	requestsIn int64
	accepted   bool // SETUP is done
	peerClosed bool // the peer sent CONNECTION_CLOSE
	confirmed  bool // client: the server has sent something that accepts SETUP

	mu       sync.Mutex // guards the fields below; a leaf: no other lock is taken under it
	nc       Transport  // the current one
	streams  map[uint32]*stream
	calls    *sync.Pool // of *stream, see newCall; set once
	nextID   uint32
	opened   int  // requests of the peer in progress
	working  bool // the worker has something to do
	draining bool
	closed   bool
	err      error
	idle     chan struct{} // closed when draining and no stream is left; made by drain

	once       sync.Once
	done       chan struct{}
	readerDone chan struct{}
	ctx        context.Context //nolint:containedctx // the lifetime of the connection, parent of its handlers' contexts
	cancel     context.CancelFunc
	handlers   sync.WaitGroup

	start    time.Time
	lastRecv atomic.Int64 // nanoseconds since start
	rtt      atomic.Int64 // nanoseconds, smoothed; 0 is unknown
	paused   atomic.Bool  // the reader waits for room and reads nothing
	closing  atomic.Bool  // the last frame has been sent
	refusing atomic.Bool  // draining, or as many requests in progress as are allowed
	away     atomic.Bool  // a resumable connection has no transport
	timer    *time.Timer
}

var connIDs atomic.Uint64

type connConfig struct {
	server   bool
	handlers Handlers
	budget   Budget
	limits   Limits
	unbuilt  *atomic.Int64 // bytes of unfinished fragments of all connections
	log      *slog.Logger
	metrics  *Metrics
	tap      Tap
	observer RequestObserver
	leases   func(info *ConnInfo) LeaseSource
	holder   RequesterLeases
}

func newConn(ctx context.Context, nc Transport, o *connConfig) *Conn {
	c := &Conn{
		nc: nc, server: o.server, h: o.handlers, budget: o.budget, limits: o.limits, unbuilt: o.unbuilt, mtu: o.limits.MTU, log: o.log, m: o.metrics, tap: o.tap,
		observer: o.observer,
		nextID:   1, done: make(chan struct{}), readerDone: make(chan struct{}), start: time.Now(),
	}
	if o.server {
		c.nextID = 2
	}
	if c.budget == nil {
		c.budget = noBudget{}
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	if c.m == nil {
		c.m = new(Metrics)
	}
	c.info = ConnInfo{ID: connIDs.Add(1), RemoteAddr: nc.RemoteAddr(), LocalAddr: nc.LocalAddr()}
	c.ctx, c.cancel = context.WithCancel(ctx)
	c.rd.init(nc)
	c.w.init(nc, c.limits.WriteBuffer, &c.m.BytesOut, c.writeFailed)
	c.w.paused = &c.paused
	c.work.init(c)
	if c.tap != nil {
		c.w.tap = func(h FrameHeader) { c.tap(c.info.ID, Out, h) }
	}
	return c
}

// Info describes the connection. The result must not be changed.
func (c *Conn) Info() *ConnInfo { return &c.info }

// Done is closed when the connection has ended.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Err returns why the connection ended: *[Error] if the peer said so or was told so; nil while it is open and after Close.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Close refuses further frames, ends all streams, writes what is buffered if the peer takes it within two seconds, and waits
// for the connection's reader and writer, not for handlers. Use [Conn.Shutdown] to let streams end by themselves.
func (c *Conn) Close() error {
	if c.session == nil {
		c.finish(nil)
	} else { // tell the peer not to wait for a resumption
		c.finish(&Error{Code: CodeConnectionError, Message: "closed"})
	}
	c.linger()
	return nil
}

// Shutdown refuses new requests in both directions, waits until the streams in progress have ended or ctx is done, sends
// ERROR[CONNECTION_CLOSE] and closes. It returns the error of ctx if streams were cut off.
func (c *Conn) Shutdown(ctx context.Context) error {
	var err error
	c.drainLeases(ctx)
	select {
	case <-c.drain():
	case <-c.done:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	c.finish(&Error{Code: CodeConnectionClose, Message: "shutting down"})
	c.linger()
	return err
}

// finish writes what is buffered, and e as the last frame unless it is nil. Frames that still arrive are not looked at.
func (c *Conn) finish(e *Error) {
	c.closing.Store(true)
	nc := c.transport()
	_ = nc.SetWriteDeadline(time.Now().Add(closeTimeout)) // a transport without deadlines is closed by its peer
	if e == nil {
		c.w.stop(&closedError{})
	} else {
		c.w.last(encodeError(0, e), FrameHeader{Type: FrameError, N: uint32(e.Code)}, &closedError{cause: e})
	}
	c.w.flushed()
	_ = nc.SetReadDeadline(time.Now().Add(lingerTimeout)) // as above
}

// linger gives the peer a moment to take the last frames and close: a socket closed with unread bytes is reset, and then the
// peer loses what it has not read either.
func (c *Conn) linger() {
	if half, ok := c.transport().(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		t := time.NewTimer(lingerTimeout)
		defer t.Stop()
		select {
		case <-c.readerDone:
		case <-t.C:
		}
	}
	c.close(nil)
	<-c.readerDone
	c.w.flushed()
}

// drain refuses new requests; the channel is closed when no stream is left.
func (c *Conn) drain() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.draining = true
	c.limitRequests()
	if c.idle == nil {
		c.idle = make(chan struct{})
		c.checkIdle()
	}
	return c.idle
}

// checkIdle reports the end of draining, with mu held.
func (c *Conn) checkIdle() {
	if c.idle == nil || len(c.streams) > 0 || c.opened > 0 || c.working {
		return
	}
	select {
	case <-c.idle:
	default:
		close(c.idle)
	}
}

// close ends the connection; the first cause wins.
func (c *Conn) close(cause error) {
	c.once.Do(func() {
		end := &closedError{cause: cause}
		c.mu.Lock()
		c.err, c.closed = cause, true
		streams := c.streams
		c.streams = nil
		timer, nc := c.timer, c.nc
		c.mu.Unlock()
		c.w.stop(end)
		c.cancel()
		_ = nc.Close() // nothing is left to do with it
		if timer != nil {
			timer.Stop()
		}
		close(c.done)
		if c.leased != nil {
			c.leased.end(end)
		}
		for _, s := range streams {
			s.terminate(end, end, false)
		}
	})
}

// writeFailed is called by the flusher. The reader of a resumable connection notices the closed transport.
func (c *Conn) writeFailed(dst io.Writer, err error) {
	nc, ok := dst.(Transport)
	if c.session == nil || !ok {
		c.close(err)
		return
	}
	_ = nc.Close() // it is broken
}

// transport returns the current network connection.
func (c *Conn) transport() Transport {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.nc
}

// abort ends the connection because of the peer's doing. Only the reader calls it; it lingers by reading on.
func (c *Conn) abort(e *Error) {
	c.finish(e)
	if half, ok := c.transport().(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite() // the peer sees the end; the socket is closed soon in any case
	}
	_, _ = io.Copy(io.Discard, c.transport())
	c.close(e)
}

// sendControl appends a control frame, waiting for room if it must.
func (c *Conn) sendControl(b []byte, h FrameHeader) error {
	err := c.w.control(b, h, nil)
	if !errors.Is(err, errFull) {
		return err
	}
	return c.untilSent(func(wt *waiter) error { return c.w.control(b, h, wt) })
}

// untilSent repeats try until there is room or the connection has ended.
func (c *Conn) untilSent(try func(wt *waiter) error) error {
	wt := c.w.borrow()
	defer c.w.giveBack(wt)
	for {
		if err := try(wt); !errors.Is(err, errFull) {
			return err
		}
		select {
		case <-wt.ch:
		case <-c.done:
		}
	}
}

// sendError does not wait for room in the store, see [writer.nextLocked].
func (c *Conn) sendError(id uint32, e *Error) error {
	b, h := encodeError(id, e), FrameHeader{Type: FrameError, StreamID: id, N: uint32(e.Code)}
	err := c.w.answer(b, h, nil)
	if !errors.Is(err, errFull) {
		return err
	}
	return c.untilSent(func(wt *waiter) error { return c.w.answer(b, h, wt) })
}

// answer is sendControl for the reader: if it must wait, consumers are woken first.
func (c *Conn) answer(b []byte, h FrameHeader) {
	if !errors.Is(c.w.answer(b, h, nil), errFull) {
		return // sent, or the connection has ended
	}
	c.endBurst()
	_ = c.untilSent(func(wt *waiter) error { return c.w.answer(b, h, wt) }) // fails only if the connection ended
}

func (c *Conn) answerError(id uint32, e *Error) {
	c.answer(encodeError(id, e), FrameHeader{Type: FrameError, StreamID: id, N: uint32(e.Code)})
}

// sendErrorBestEffort does not wait for room.
func (c *Conn) sendErrorBestEffort(id uint32, e *Error) {
	_ = c.w.control(encodeError(id, e), FrameHeader{Type: FrameError, StreamID: id, N: uint32(e.Code)}, nil)
}

// lookup finds a stream. The reader calls it for every frame.
func (c *Conn) lookup(id uint32) *stream {
	if c.last != nil && c.last.id == id && !c.last.gone.Load() {
		return c.last
	}
	c.mu.Lock()
	s := c.streams[id]
	c.mu.Unlock()
	if s != nil {
		c.last = s
	}
	return s
}

// add registers a stream, with mu held.
func (c *Conn) add(s *stream) {
	if c.streams == nil {
		c.streams = make(map[uint32]*stream)
	}
	c.streams[s.id] = s
	if !s.requester {
		c.opened++
		c.limitRequests()
	}
}

// limitRequests notes whether the peer's requests are refused, with mu held.
func (c *Conn) limitRequests() { c.refusing.Store(c.draining || c.opened >= c.limits.MaxStreams) }

// remove takes a stream that has ended out of the table.
func (c *Conn) remove(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[s.id] != s {
		return
	}
	delete(c.streams, s.id)
	s.gone.Store(true)
	if !s.requester && !s.handled {
		c.opened--
		c.limitRequests()
	}
	c.checkIdle()
}

// replaced ends a stream that stood for a request whose fragments came, once the request itself is counted.
func (c *Conn) replaced(s *stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s.gone.Store(true)
	if c.streams[s.id] == s {
		delete(c.streams, s.id)
	}
	c.opened--
	c.limitRequests()
	c.checkIdle()
}

// handlerEnded counts down a stream whose handler kept it in progress.
func (c *Conn) handlerEnded() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.opened--
	c.limitRequests()
	c.checkIdle()
}

// setWorking notes whether the worker has something to do.
func (c *Conn) setWorking(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.working = on
	c.checkIdle()
}

// newID returns the next free stream id, with mu held: in steps of two, restarting after 2³¹−1 and skipping those in use.
func (c *Conn) newID() (uint32, error) {
	for range len(c.streams) + 1 {
		id := c.nextID
		c.nextID += 2
		if c.nextID > maxStreamID {
			c.nextID = 2 - id&1
		}
		if _, used := c.streams[id]; !used {
			return id, nil
		}
	}
	return 0, ErrStreamIDs
}

// charge reserves the bytes of p unless that was done.
func (c *Conn) charge(p *received) *Error {
	n := len(p.Data) + len(p.Metadata)
	if n > c.limits.MaxPayload {
		c.unreserve(p.charged)
		return c.tooLarge()
	}
	if p.charged > 0 || n == 0 {
		return nil
	}
	if !c.budget.Reserve(n) {
		return c.noMemory(n)
	}
	p.charged = n
	return nil
}

func (c *Conn) tooLarge() *Error {
	return Errorf(CodeInvalid, "payload of more than %d bytes", c.limits.MaxPayload)
}

func (c *Conn) unreserve(n int) {
	if n > 0 {
		c.budget.Release(n)
	}
}

func (c *Conn) noMemory(n int) *Error {
	c.m.BudgetRefused.Add(1)
	return Errorf(CodeRejected, "no room for a payload of %d bytes", n)
}

// RTT returns the smoothed round trip time of KEEPALIVE, 0 before the first one.
func (c *Conn) RTT() time.Duration { return time.Duration(c.rtt.Load()) }

// millis clamps a duration to what 31 bits of milliseconds hold, at least one.
func millis(d time.Duration) uint32 {
	return uint32(min(max(d.Milliseconds(), 1), math.MaxInt32))
}
