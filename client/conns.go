package client

import (
	"context"
	"fmt"
	"sync"

	"github.com/weir-dev/weir/rsocket"
)

// conns keeps the client's connection. Streams and requests share it; one that has died, or whose server asks streams to
// leave, is replaced when it is next needed, and closed when its last user has let go.
type conns struct {
	dial func(ctx context.Context) (*rsocket.Conn, error)

	mu      sync.Mutex // guards what follows and the fields of shared; never held while dialing or closing
	cur     *shared
	dialing chan struct{} // closed when the attempt in progress has ended; nil when there is none
	closed  bool
}

// shared is a connection with its users.
type shared struct {
	*rsocket.Conn
	users   int
	retired bool // not for new users
}

func (s *shared) usable() bool {
	if s == nil || s.retired {
		return false
	}
	select {
	case <-s.Done():
		return false
	default:
		return true
	}
}

// acquire returns a live connection, dialing once if there is none.
func (c *conns) acquire(ctx context.Context) (link, error) {
	s, err := c.share(ctx)
	if err != nil {
		return link{}, err
	}
	return link{s.Conn, func(retire bool) { c.release(s, retire) }}, nil
}

// share returns a live connection, dialing once if there is none. Give it back with release.
func (c *conns) share(ctx context.Context) (*shared, error) {
	for {
		c.mu.Lock()
		switch {
		case c.closed:
			c.mu.Unlock()
			return nil, ErrClosed
		case c.cur.usable():
			s := c.cur
			s.users++
			c.mu.Unlock()
			return s, nil
		case c.dialing == nil:
			c.dialing = make(chan struct{})
			c.mu.Unlock()
			return c.connect(ctx)
		}
		dialing := c.dialing
		c.mu.Unlock()
		select {
		case <-dialing:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

func (c *conns) connect(ctx context.Context) (*shared, error) {
	conn, err := c.dial(ctx)
	c.mu.Lock()
	close(c.dialing)
	c.dialing = nil
	if err != nil {
		c.mu.Unlock()
		return nil, err
	}
	if c.closed {
		c.mu.Unlock()
		_ = conn.Close() // never used
		return nil, ErrClosed
	}
	old := c.cur
	c.cur = &shared{Conn: conn, users: 1}
	s := c.cur
	idle := old != nil && old.users == 0
	c.mu.Unlock()
	if idle {
		_ = old.Close() // it has ended already
	}
	return s, nil
}

// release gives s back; retire also keeps it from new users.
func (c *conns) release(s *shared, retire bool) {
	c.mu.Lock()
	s.users--
	s.retired = s.retired || retire
	done := s.users == 0 && (s != c.cur || !s.usable())
	if done && s == c.cur {
		c.cur = nil
	}
	c.mu.Unlock()
	if done {
		_ = s.Close() // nothing of ours is on it any more
	}
}

// close ends the connection once what was sent on it is written; ctx bounds the wait for requests in progress.
func (c *conns) close(ctx context.Context) error {
	c.mu.Lock()
	s := c.cur
	c.cur, c.closed = nil, true
	c.mu.Unlock()
	if s == nil {
		return nil
	}
	if err := s.Shutdown(ctx); err != nil {
		return fmt.Errorf("close connection: %w", err)
	}
	return nil
}
