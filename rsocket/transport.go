package rsocket

import (
	"io"
	"net"
	"time"
)

// Transport carries the bytes of a connection, in order and without loss. Every [net.Conn] is one: TCP, TLS, what
// [DialWebSocket] and [Server.WebSocket] make, a [MemoryListener]'s. A QUIC stream with the addresses of its connection
// is another: [NewClient] and [Server.ServeConn] take any.
//
// One goroutine reads and one writes, at the same time. Close ends both. A deadline that is not kept costs the bound on how
// long a peer may take to read the last frames; errors of setting one are ignored. If there is a method CloseWrite() error,
// it is called before the end, so that the peer reads the last frames.
type Transport interface {
	io.ReadWriteCloser
	LocalAddr() net.Addr
	RemoteAddr() net.Addr
	SetReadDeadline(t time.Time) error
	SetWriteDeadline(t time.Time) error
}
