package rsocket

import (
	"net"
	"sync"
	"time"
)

// errHandedOver says that a transport now belongs to another connection, which it resumes.
var errHandedOver = &Error{Message: "handed over"}

// addSession registers a resumable connection under its token.
func (s *Server) addSession(c *Conn, token []byte) *Error {
	if s.o.Resume == nil {
		return &Error{Code: CodeRejectedSetup, Message: "resuming is not supported"}
	}
	key := string(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, used := s.sessions[key]; used {
		return &Error{Code: CodeRejectedSetup, Message: "resume token in use"}
	}
	s.sessions[key] = c
	c.startSession(newSession([]byte(key), s.o.Resume.Window, s.o.Resume.Buffer))
	return nil
}

func (s *Server) removeSession(c *Conn) {
	if c.session == nil {
		return
	}
	key := string(c.session.token)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sessions[key] == c {
		delete(s.sessions, key)
	}
}

func (s *Server) findSession(token []byte) *Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions[string(token)]
}

// takeOver handles RESUME on the new connection c: its transport goes to the connection it names, also if that one still
// believes in its old transport. On success it returns errHandedOver. The version is that of SETUP, whatever RESUME says.
func (s *Server) takeOver(c *Conn, f *frame) *Error {
	old := s.findSession(f.setup.token)
	switch {
	case s.o.Resume == nil:
		return &Error{Code: CodeRejectedResume, Message: "resuming is not supported"}
	case old == nil:
		return &Error{Code: CodeRejectedResume, Message: "unknown session"}
	case len(c.rd.unread()) > 0:
		return &Error{Code: CodeRejectedResume, Message: "frames before RESUME_OK"}
	}
	nc := c.transport()
	_ = nc.SetReadDeadline(time.Time{}) // as when it was set
	o := &offer{nc: nc, received: f.position, available: f.available, taken: make(chan bool, 1)}
	old.offer(o)
	e := s.awaitTaken(c, old, o)
	if e == errHandedOver {
		c.letGo()
	}
	return e
}

// awaitTaken returns errHandedOver once the connection old has the transport of o, else why it has not.
func (s *Server) awaitTaken(c, old *Conn, o *offer) (e *Error) {
	t := time.NewTimer(s.o.SetupTimeout)
	defer t.Stop()
	select {
	case taken := <-o.taken:
		if taken {
			return errHandedOver
		}
		return &Error{Code: CodeConnectionError, Message: "a newer RESUME came"}
	case <-c.ctx.Done():
		e = &Error{Code: CodeConnectionError, Message: shuttingDown}
	case <-old.done:
		e = &Error{Code: CodeRejectedResume, Message: "unknown session"}
	case <-t.C: // its reader waits for room, with frames that came before
		e = &Error{Code: CodeConnectionError, Message: "the session is busy, try again"}
	}
	if !old.session.offers.withdraw(o) && <-o.taken { // meanwhile
		return errHandedOver
	}
	return e
}

// offer is a transport on which a client has sent RESUME.
type offer struct {
	nc        Transport
	received  uint64    // what the client has received of us
	available uint64    // from where the client can send again
	taken     chan bool // capacity 1: told once whether the session took it; false: a newer one came
}

// offers holds the newest offer until the session's reader takes it: a client that sends RESUME again has given up what it
// offered before.
type offers struct {
	wake chan struct{} // capacity 1

	mu   sync.Mutex // guards next; Conn.mu may be taken under it
	next *offer
}

// offer has the session's reader take o, if need be by closing the transport it believes in.
func (c *Conn) offer(o *offer) {
	p := &c.session.offers
	p.mu.Lock()
	if p.next != nil {
		p.next.taken <- false
	}
	p.next = o
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
	if nc := c.outdated(o); nc != nil {
		_ = nc.Close() // the reader comes to awaitOffer
	}
}

// outdated returns the transport that o is to replace, nil if that is done.
func (c *Conn) outdated(o *offer) Transport {
	p := &c.session.offers
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != o {
		return nil
	}
	return c.transport()
}

// take returns the newest offer, or nil if there is none.
func (p *offers) take() *offer {
	p.mu.Lock()
	defer p.mu.Unlock()
	o := p.next
	p.next = nil
	if o != nil {
		o.taken <- true
	}
	return o
}

// pending reports whether an offer waits.
func (p *offers) pending() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.next != nil
}

// withdraw takes o back and reports whether it still waited.
func (p *offers) withdraw(o *offer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.next != o {
		return false
	}
	p.next = nil
	return true
}

// letGo makes the connection forget its transport, which belongs to another one.
func (c *Conn) letGo() {
	c.mu.Lock()
	defer c.mu.Unlock()
	near, far := net.Pipe()
	_ = far.Close() // a stand-in that has ended
	c.nc = near
}
