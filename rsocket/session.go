package rsocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"time"
)

// ErrSessionLost says that a resumable connection ended because it could not be resumed.
var ErrSessionLost = errors.New("rsocket: session lost")

const (
	defaultResumeWindow = time.Minute
	defaultResumeBuffer = 1 << 20
	resumeTimeout       = 10 * time.Second // for the answer to RESUME
	maxResumeToken      = 1<<16 - 1
)

// ResumeOptions let clients of a server resume a connection whose transport was cut.
type ResumeOptions struct {
	Window time.Duration // how long a session without transport is kept; default 60 s
	Buffer int           // bytes of sent, unconfirmed frames kept per connection; senders wait when it is full; default 1 MiB
	// Answers to request-responses take more while requests wait for the handlers: from 8 times Buffer on further requests are
	// refused with ERROR[REJECTED], at 16 times the connection is closed.
}

// ClientResume makes a client resume its connection when the transport is cut. Streams go on, nothing is lost or repeated.
type ClientResume struct {
	Window     time.Duration // how long to try before giving up with [ErrSessionLost]; default 60 s
	Buffer     int           // see [ResumeOptions]
	MinBackoff time.Duration // each attempt waits a random time up to a bound that doubles; its first value; default 100 ms
	MaxBackoff time.Duration // its last value; default 10 s
	Token      []byte        // names the session, and is the only proof of owning it; default 128 random bits
	// Redial makes a new transport. Dial sets it to dial the same address; NewClient needs it.
	Redial func(ctx context.Context) (Transport, error)
}

// session is what a resumable connection has beyond its transport.
type session struct {
	token  []byte
	window time.Duration
	store  *frameStore
	offers offers        // server: new transports
	client *ClientResume // client
}

func newSession(token []byte, window time.Duration, buffer int) *session {
	setDefault(&buffer, defaultResumeBuffer)
	if window <= 0 {
		window = defaultResumeWindow
	}
	return &session{token: token, window: window, store: &frameStore{limit: buffer}, offers: offers{wake: make(chan struct{}, 1)}}
}

// startSession makes the connection resumable; nothing but SETUP has been sent.
func (c *Conn) startSession(s *session) {
	c.session = s
	c.w.mu.Lock()
	defer c.w.mu.Unlock()
	c.w.store = s.store
}

// position is what KEEPALIVE tells the peer; 0 if the connection cannot be resumed.
func (c *Conn) position() uint64 {
	if c.session == nil {
		return 0
	}
	return c.session.store.received.Load()
}

// resume is called by the reader when the transport of a resumable connection is lost. It returns true with a new one in
// place and false when the connection has ended.
func (c *Conn) resume() bool {
	c.away.Store(true)
	_ = c.transport().Close() // it is broken, or the peer uses another one
	c.w.detach()
	c.endBurst()
	c.rd.r = c.rd.w
	c.rd.shrink()
	if c.server {
		return c.awaitOffer()
	}
	return c.redial()
}

// use makes nc the transport. If the connection has ended meanwhile, it closes nc.
func (c *Conn) use(nc Transport) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		_ = nc.Close() // it was never used
		return false
	}
	c.nc = nc
	c.rd.src = nc
	return true
}

// returned ends the absence of a transport.
func (c *Conn) returned() {
	c.accept()
	c.lastRecv.Store(int64(time.Since(c.start)))
	c.away.Store(false)
	c.m.Resumed.Add(1)
}

// restarted voids leases, which do not survive a transport, and lets the source grant new ones.
func (c *Conn) restarted() {
	if c.leased != nil {
		c.leased.set(0, 0)
	}
	if c.granted == nil {
		return
	}
	c.granted.reset()
	if c.granted.source != nil {
		c.granted.source.Start(c)
	}
}

// awaitOffer waits, as the server, for the client to come back.
func (c *Conn) awaitOffer() bool {
	t := time.NewTimer(c.session.window)
	defer t.Stop()
	for {
		select {
		case <-c.session.offers.wake:
			o := c.session.offers.take()
			if o == nil || !c.use(o.nc) {
				continue // withdrawn, or the connection has ended
			}
			if c.session.offers.pending() {
				_ = o.nc.Close() // the client has given it up
				continue
			}
			return c.adopt(o)
		case <-t.C:
			c.close(fmt.Errorf("%w: not resumed within %v", ErrSessionLost, c.session.window))
			return false
		case <-c.done:
			return false
		}
	}
}

// adopt goes on with the offered transport if both sides still have the frames that the other one lacks.
func (c *Conn) adopt(o *offer) bool {
	received := c.position()
	if o.available > received || !c.w.attach(o.nc, appendResumeOK(nil, received), o.received) {
		refuse(o.nc, Errorf(CodeRejectedResume, "position %d is not available", o.received))
		c.close(fmt.Errorf("%w: the client lacks frames that are not kept", ErrSessionLost))
		return false
	}
	c.returned()
	return true
}

// refuse answers RESUME with an error, on a transport that nothing else uses.
func refuse(nc Transport, e *Error) {
	_ = nc.SetWriteDeadline(time.Now().Add(closeTimeout))
	_, _ = nc.Write(encodeError(0, e))
	_ = nc.Close()
}

// redial tries, as the client, to come back, waiting random times up to a growing bound in between.
func (c *Conn) redial() bool {
	o := c.session.client
	ctx, cancel := context.WithTimeout(c.ctx, c.session.window)
	defer cancel()
	var last error
	for bound := o.MinBackoff; ; bound = min(2*bound, o.MaxBackoff) {
		if !pause(ctx, rand.N(bound)) {
			c.close(lost(c.ctx, last))
			return false
		}
		nc, err := o.Redial(ctx)
		if err == nil {
			err = c.tryResume(ctx, nc)
		}
		switch {
		case err == nil:
			return true
		case errors.Is(err, ErrSessionLost):
			c.close(err)
			return false
		}
		last = err
	}
}

// lost is why a client gave up: nil if it was closed.
func lost(conn context.Context, last error) error {
	if conn.Err() == nil {
		return fmt.Errorf("%w: window over, last attempt: %w", ErrSessionLost, last)
	}
	return nil
}

// pause waits and reports whether ctx is still valid.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// tryResume sends RESUME on a new transport and waits for the answer.
func (c *Conn) tryResume(ctx context.Context, nc Transport) error {
	if !c.use(nc) {
		return ErrSessionLost
	}
	deadline, _ := ctx.Deadline()
	if d := time.Now().Add(resumeTimeout); d.Before(deadline) {
		deadline = d
	}
	setDeadline(nc, deadline)
	position, err := c.exchangeResume(nc)
	if err == nil && !c.w.attach(nc, nil, position) {
		err = fmt.Errorf("%w: the server lacks frames that are not kept", ErrSessionLost)
	}
	if err != nil {
		_ = nc.Close() // given up
		c.rd.r = c.rd.w
		return err
	}
	setDeadline(nc, time.Time{})
	c.returned()
	return nil
}

// setDeadline bounds reading and writing; a transport without deadlines is bounded by the window.
func setDeadline(nc Transport, at time.Time) {
	_ = nc.SetReadDeadline(at)
	_ = nc.SetWriteDeadline(at)
}

// exchangeResume returns the position the server has received.
func (c *Conn) exchangeResume(nc io.Writer) (uint64, error) {
	b := encodeResume(c.session.token, c.position(), c.w.available())
	if c.tap != nil {
		c.tap(c.info.ID, Out, FrameHeader{Type: FrameResume, Length: len(b) - lengthSize})
	}
	if _, err := nc.Write(b); err != nil {
		return 0, fmt.Errorf("send RESUME: %w", err)
	}
	var f frame
	if err := c.readFrame(&f); err != nil {
		return 0, fmt.Errorf("answer to RESUME: %w", err)
	}
	if c.tap != nil {
		c.tap(c.info.ID, In, f.FrameHeader)
	}
	c.unreserve(f.charged)
	switch {
	case f.Type == FrameResumeOK && f.StreamID == 0:
		return f.position, nil
	case f.Type == FrameError && f.StreamID == 0:
		e := &Error{Code: ErrorCode(f.N), Message: string(f.data)}
		if e.Code == CodeConnectionError {
			return 0, e // may be tried again
		}
		return 0, fmt.Errorf("%w: %w", ErrSessionLost, e)
	default:
		return 0, fmt.Errorf("answer to RESUME is %v", f.Type)
	}
}
