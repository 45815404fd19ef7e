package rsocket

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/coder/websocket"
)

// Over WebSocket every frame is one binary message, without the length field. wsConn gives such a connection the form of a
// byte stream with length fields, which the rest of the package speaks.

// WebSocketOptions bound what a server takes over WebSocket.
type WebSocketOptions struct {
	// Origins are patterns of hosts that browsers may come from, as in path.Match; the server's own host is always allowed.
	// Requests without an Origin header, of programs, are too.
	Origins []string
	// MaxMessage is the length of the longest message, which is held in memory while it arrives; default 1 MiB. It bounds a frame,
	// not a payload: peers with larger payloads must fragment.
	MaxMessage int
}

// WebSocket returns a handler that upgrades requests and serves them like connections of Serve. It may be mounted on any
// path of any http.Server; connections end with Shutdown of s.
func (s *Server) WebSocket(o WebSocketOptions) http.Handler {
	limit := o.MaxMessage
	setDefault(&limit, 1<<20)
	limit = min(limit, s.conf.limits.MaxFrame)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := &hijacker{ResponseWriter: w}
		ws, err := websocket.Accept(h, r, &websocket.AcceptOptions{OriginPatterns: o.Origins, CompressionMode: websocket.CompressionDisabled})
		if err != nil {
			s.o.Logger.Warn("websocket refused", "remote", r.RemoteAddr, "error", err)
			return // Accept has answered
		}
		nc := newWSConn(ws, h.conn, limit)
		nc.tls = r.TLS
		s.ServeConn(nc)
	})
}

// WebSocketDial configures [DialWebSocket].
type WebSocketDial struct {
	Header     http.Header  // of the upgrade request
	HTTPClient *http.Client // nil: one connection without a proxy; writes are grouped only then
	MaxMessage int          // of the server; see [WebSocketOptions]; default 16,777,215
}

// DialWebSocket is [Dial] for a ws:// or wss:// URL. With wss, o.TLS configures the transport unless d.HTTPClient is set.
func DialWebSocket(ctx context.Context, url string, o ClientOptions, d WebSocketDial) (*Conn, error) {
	dial := func(ctx context.Context) (net.Conn, error) { return dialWebSocket(ctx, url, &o, &d) }
	o.setRedial(dial)
	nc, err := dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	return NewClient(nc, o)
}

func dialWebSocket(ctx context.Context, url string, o *ClientOptions, d *WebSocketDial) (net.Conn, error) {
	var grouped *groupedConn
	hc := d.HTTPClient
	if hc == nil {
		t := &http.Transport{TLSClientConfig: o.TLS, DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			var nd net.Dialer
			nc, err := nd.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			grouped = &groupedConn{Conn: nc}
			return grouped, nil
		}}
		hc = &http.Client{Transport: t}
	}
	ws, resp, err := websocket.Dial(ctx, url, &websocket.DialOptions{HTTPClient: hc, HTTPHeader: d.Header, CompressionMode: websocket.CompressionDisabled})
	if resp != nil && resp.Body != nil {
		defer resp.Body.Close() //nolint:errcheck // Dial has read what there was; after an upgrade it does nothing
	}
	if err != nil {
		return nil, err
	}
	limit := d.MaxMessage
	setDefault(&limit, maxFrameSize)
	return newWSConn(ws, grouped, limit), nil
}

// hijacker wraps the connection that Accept takes over, so that its writes can be grouped.
type hijacker struct {
	http.ResponseWriter
	conn *groupedConn
}

// Hijack implements [http.Hijacker].
func (h *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.conn = &groupedConn{Conn: nc}
	rw.Writer.Reset(h.conn)
	return h.conn, rw, nil
}

// groupedConn holds writes back between hold and release, so that many messages go out with one call.
type groupedConn struct {
	net.Conn

	mu   sync.Mutex // guards the fields below
	held bool
	buf  []byte
}

func (g *groupedConn) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.held {
		return g.Conn.Write(p)
	}
	g.buf = append(g.buf, p...)
	if len(g.buf) >= keepWriteBuffer {
		return len(p), g.flush()
	}
	return len(p), nil
}

func (g *groupedConn) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held = true
	if g.buf == nil {
		g.buf = takeWriteBuffer()
	}
}

func (g *groupedConn) release() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	err := g.flush()
	writeBuffers.put(g.buf)
	g.held, g.buf = false, nil
	return err
}

// flush writes what is held, with mu held.
func (g *groupedConn) flush() error {
	_, err := g.Conn.Write(g.buf)
	g.buf = g.buf[:0]
	return err
}

var readBuffers = sync.Pool{New: func() any { return new([largeReadBuffer]byte) }}

// wsConn is a net.Conn over a WebSocket connection. One goroutine reads, one writes.
type wsConn struct {
	ws      *websocket.Conn
	grouped *groupedConn // nil: writes are not grouped
	limit   int
	tls     *tlsState

	large *[largeReadBuffer]byte // pooled, while it holds an unread message
	rest  []byte                 // unread part of the message, with its length field

	mu      sync.Mutex // guards the fields below
	timers  [2]*time.Timer
	expired bool
}

func newWSConn(ws *websocket.Conn, g *groupedConn, limit int) *wsConn {
	ws.SetReadLimit(int64(min(limit, maxSetupFrame)))
	return &wsConn{ws: ws, grouped: g, limit: limit}
}

// allowLarge lifts the limit of a peer that nobody knows yet.
func (w *wsConn) allowLarge() { w.ws.SetReadLimit(int64(w.limit)) }

func (w *wsConn) Read(p []byte) (int, error) {
	if len(w.rest) == 0 {
		w.giveBack()
		if err := w.message(); err != nil {
			w.giveBack()
			return 0, w.mapError(err)
		}
	}
	n := copy(p, w.rest)
	w.rest = w.rest[n:]
	return n, nil
}

func (w *wsConn) giveBack() {
	if w.large != nil {
		readBuffers.Put(w.large)
		w.large = nil
	}
	w.rest = nil
}

// message reads one message behind a length field. Its buffer is taken when the message has begun, so that an idle
// connection holds none.
func (w *wsConn) message() error {
	typ, r, err := w.ws.Reader(context.Background())
	if err != nil {
		return err
	}
	if typ != websocket.MessageBinary {
		return &frameError{reason: "text message"}
	}
	w.large = readBuffers.Get().(*[largeReadBuffer]byte) //nolint:forcetypeassert // the pool holds nothing else
	b := w.large[:lengthSize]
	for {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	appendUint24(b[:0], len(b)-lengthSize)
	w.rest = b
	return nil
}

// mapError makes the end of the connection look like that of a byte stream.
func (w *wsConn) mapError(err error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.expired:
		return os.ErrDeadlineExceeded
	case websocket.CloseStatus(err) == websocket.StatusNormalClosure, websocket.CloseStatus(err) == websocket.StatusGoingAway:
		return io.EOF
	default:
		return err
	}
}

// Write sends the frames in p, which holds whole ones, as a message each.
func (w *wsConn) Write(p []byte) (int, error) {
	if w.grouped != nil {
		w.grouped.hold()
	}
	n, err := w.writeFrames(p)
	if w.grouped != nil {
		if e := w.grouped.release(); err == nil {
			err = e
		}
	}
	return n, err
}

func (w *wsConn) writeFrames(p []byte) (n int, err error) {
	for n < len(p) {
		k := lengthSize + int(uint24(p[n:]))
		if err := w.ws.Write(context.Background(), websocket.MessageBinary, p[n+lengthSize:n+k]); err != nil {
			return n, err
		}
		n += k
	}
	return n, nil
}

// Close implements [net.Conn] without the closing handshake: RSocket has its own.
func (w *wsConn) Close() error {
	w.setDeadline(0, time.Time{})
	w.setDeadline(1, time.Time{})
	return w.ws.CloseNow()
}

// CloseWrite sends nothing: a WebSocket connection closes as a whole. That it exists has the connection linger, so that the
// peer can read the last frames.
func (*wsConn) CloseWrite() error { return nil }

type wsAddr struct{}

// Network implements [net.Addr].
func (wsAddr) Network() string { return "websocket" }

func (wsAddr) String() string { return "websocket" }

// LocalAddr implements [net.Conn].
func (w *wsConn) LocalAddr() net.Addr {
	if w.grouped == nil {
		return wsAddr{}
	}
	return w.grouped.LocalAddr()
}

// RemoteAddr implements [net.Conn].
func (w *wsConn) RemoteAddr() net.Addr {
	if w.grouped == nil {
		return wsAddr{}
	}
	return w.grouped.RemoteAddr()
}

// SetDeadline implements [net.Conn].
func (w *wsConn) SetDeadline(t time.Time) error {
	w.setDeadline(0, t)
	w.setDeadline(1, t)
	return nil
}

// SetReadDeadline implements [net.Conn].
func (w *wsConn) SetReadDeadline(t time.Time) error {
	w.setDeadline(0, t)
	return nil
}

// SetWriteDeadline implements [net.Conn].
func (w *wsConn) SetWriteDeadline(t time.Time) error {
	w.setDeadline(1, t)
	return nil
}

// setDeadline has the connection closed at t: a WebSocket connection does not survive an interrupted read or write anyway.
func (w *wsConn) setDeadline(which int, t time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.timers[which] != nil {
		w.timers[which].Stop()
		w.timers[which] = nil
	}
	if !t.IsZero() {
		w.timers[which] = time.AfterFunc(time.Until(t), w.expire)
	}
}

func (w *wsConn) expire() {
	w.mu.Lock()
	w.expired = true
	w.mu.Unlock()
	_ = w.ws.CloseNow() // the reader and the writer notice
}
