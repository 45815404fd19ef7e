package rsocket

import (
	"net"
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
	_ = old.transport().Close()         // its reader comes to awaitOffer
	t := time.NewTimer(s.o.SetupTimeout)
	defer t.Stop()
	select {
	case old.session.offers <- offer{nc: nc, received: f.position, available: f.available}:
		c.letGo()
		return errHandedOver
	case <-old.done:
		return &Error{Code: CodeRejectedResume, Message: "unknown session"}
	case <-t.C: // its reader waits for room, with frames that came before
		return &Error{Code: CodeConnectionError, Message: "the session is busy, try again"}
	}
}

// letGo makes the connection forget its transport, which belongs to another one.
func (c *Conn) letGo() {
	c.mu.Lock()
	defer c.mu.Unlock()
	near, far := net.Pipe()
	_ = far.Close() // a stand-in that has ended
	c.nc = near
}
