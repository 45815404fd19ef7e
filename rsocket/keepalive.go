package rsocket

import (
	"encoding/binary"
	"time"
)

const (
	maxKeepAliveData = 4096 // echoed; more ends the connection
	shortestTick     = 20 * time.Millisecond
	longestTick      = 10 * time.Second
)

// startTimer begins the periodic check of the connection's life. A client also sends KEEPALIVE with each tick.
func (c *Conn) startTimer() {
	period := c.info.KeepAlive
	if c.server {
		period = min(period, c.info.MaxLifetime/4)
		period = min(max(period, shortestTick), longestTick)
	}
	c.lastRecv.Store(int64(time.Since(c.start)))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	c.timer = time.AfterFunc(period, func() { c.tick(period) })
}

// tick runs on the timer's goroutine.
func (c *Conn) tick(period time.Duration) {
	now := time.Since(c.start)
	switch {
	case c.paused.Load() || c.away.Load() || now-time.Duration(c.lastRecv.Load()) <= c.lifetime():
	case c.session != nil:
		_ = c.transport().Close() // the reader notices and the session waits for a new one
	default:
		c.lifetimeExceeded()
		return
	}
	switch {
	case c.away.Load():
	case !c.server:
		var data [8]byte
		binary.BigEndian.PutUint64(data[:], uint64(now))
		c.sendKeepAlive(true, data[:])
	case c.paused.Load():
		c.sendKeepAlive(false, nil)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closed {
		c.timer.Reset(period)
	}
}

// lifetime is how long silence is tolerated. A client may ask for less than its own KEEPALIVE interval; that cannot be meant.
func (c *Conn) lifetime() time.Duration {
	return max(c.info.MaxLifetime, c.info.KeepAlive+c.info.KeepAlive/2)
}

// lifetimeExceeded gives the connection up. The last ERROR is a courtesy: the peer is probably gone.
func (c *Conn) lifetimeExceeded() {
	e := Errorf(CodeConnectionError, "no sign of life for %v", c.lifetime())
	_ = c.transport().SetWriteDeadline(time.Now().Add(closeTimeout))
	c.w.last(encodeError(0, e), FrameHeader{Type: FrameError, N: uint32(e.Code)}, &closedError{cause: ErrLifetimeExceeded})
	c.w.flushed()
	c.close(ErrLifetimeExceeded)
}

// sendKeepAlive does not wait: with the write buffer full, the peer has enough to read as a sign of life.
func (c *Conn) sendKeepAlive(respond bool, data []byte) {
	h := FrameHeader{Type: FrameKeepAlive}
	if respond {
		h.Flags = FlagRespond
	}
	_ = c.w.control(appendKeepAlive(nil, respond, c.position(), data), h, nil)
}

// onKeepAlive answers KEEPALIVE, or takes the round trip time from the answer to ours.
func (c *Conn) onKeepAlive(f *frame) *Error {
	if c.session != nil {
		c.w.confirm(f.position)
	}
	if f.Flags&FlagRespond != 0 {
		if len(f.data) > maxKeepAliveData {
			return Errorf(CodeConnectionError, "KEEPALIVE with more than %d bytes of data", maxKeepAliveData)
		}
		c.answer(appendKeepAlive(nil, false, c.position(), f.data), FrameHeader{Type: FrameKeepAlive})
		return nil
	}
	c.onLeaseEcho(f.data)
	if c.server || len(f.data) != 8 {
		return nil
	}
	sent := time.Duration(binary.BigEndian.Uint64(f.data))
	if rtt := time.Since(c.start) - sent; sent > 0 && rtt >= 0 {
		c.observeRTT(rtt)
	}
	return nil
}

// observeRTT smooths with a weight of 1/10.
func (c *Conn) observeRTT(rtt time.Duration) {
	if old := c.rtt.Load(); old != 0 {
		rtt = time.Duration(old) + (rtt-time.Duration(old))/10
	}
	c.rtt.Store(max(int64(rtt), 1))
}

// onMetadataPush queues the metadata for the worker.
func (c *Conn) onMetadataPush(f *frame) {
	if c.h.MetadataPush == nil {
		c.ignored()
		return
	}
	p := f.take()
	if n := len(p.Metadata); n > 0 && p.charged == 0 {
		if !c.reserve(n, true) {
			return // the connection has ended
		}
		p.charged = n
	}
	c.work.push(FrameMetadataPush, 0, nil, p)
}
