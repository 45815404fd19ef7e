package rsocket

import (
	"context"
	"net"
	"sync"
)

// MemoryListener is a [net.Listener] without a network: for tests, also with testing/synctest, and for a client and a
// server in one process. Connections are synchronous pipes.
type MemoryListener struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

// NewMemoryListener returns a listener for [Server.Serve].
func NewMemoryListener() *MemoryListener {
	return &MemoryListener{conns: make(chan net.Conn), done: make(chan struct{})}
}

// Dial returns the client's end of a new connection, for [NewClient], once the listener has accepted it.
func (l *MemoryListener) Dial(ctx context.Context) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case l.conns <- server:
		return client, nil
	case <-l.done:
		return nil, &net.OpError{Op: "dial", Net: "memory", Err: net.ErrClosed}
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Accept implements [net.Listener].
func (l *MemoryListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, &net.OpError{Op: "accept", Net: "memory", Err: net.ErrClosed}
	}
}

// Close implements [net.Listener]. Accepted connections stay open.
func (l *MemoryListener) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

// Addr implements [net.Listener].
func (l *MemoryListener) Addr() net.Addr { return memoryAddr{} }

type memoryAddr struct{}

// Network implements [net.Addr].
func (memoryAddr) Network() string { return "memory" }

func (memoryAddr) String() string { return "memory" }
