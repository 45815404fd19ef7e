//go:build unix

package rsocket

import (
	"errors"
	"io"
	"net"
	"syscall"
)

// socket writes to a non-blocking socket without waiting. One goroutine at a time uses it.
type socket struct {
	raw syscall.RawConn
	try func(fd uintptr) bool // bound once, so that a call does not allocate
	b   []byte
	n   int
	err error
}

// socketOf returns the socket below w, or nil: what wraps a connection may do more than write.
func socketOf(w io.Writer) *socket {
	var c syscall.Conn
	switch t := w.(type) {
	case *net.TCPConn:
		c = t
	case *net.UnixConn:
		c = t
	default:
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil // it is closed, as the next write tells
	}
	s := &socket{raw: raw}
	s.try = s.write
	return s
}

// tryWrite writes as much of b as the socket takes at once.
func (s *socket) tryWrite(b []byte) (int, error) {
	s.b, s.n, s.err = b, 0, nil
	err := s.raw.Write(s.try)
	s.b = nil
	if err == nil {
		err = s.err
	}
	return s.n, err
}

func (s *socket) write(fd uintptr) bool {
	for {
		n, err := syscall.Write(int(fd), s.b)
		switch {
		case errors.Is(err, syscall.EINTR):
			continue
		case errors.Is(err, syscall.EAGAIN):
		case err != nil:
			s.err = err
		default:
			s.n = n
		}
		return true
	}
}
