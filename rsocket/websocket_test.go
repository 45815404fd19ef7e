package rsocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// webSocketServer mounts a server at /rsocket of an HTTP server and returns its URL.
func webSocketServer(t *testing.T, o ServerOptions, w WebSocketOptions) (url string, s *Server) {
	t.Helper()
	s, _ = startServer(t, o)
	mux := http.NewServeMux()
	mux.Handle("/rsocket", s.WebSocket(w))
	hs := httptest.NewServer(mux)
	t.Cleanup(hs.Close)
	return "ws" + strings.TrimPrefix(hs.URL, "http") + "/rsocket", s
}

func dialWS(t *testing.T, url string, o ClientOptions) *Conn {
	t.Helper()
	c, err := DialWebSocket(testContext(t), url, o, WebSocketDial{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func TestWebSocketModels(t *testing.T) {
	got := make(chan string, 1)
	h := echoHandlers()
	h.FireAndForget = func(_ context.Context, r *Request) { got <- string(r.Data) }
	url, _ := webSocketServer(t, ServerOptions{Handlers: h}, WebSocketOptions{})
	c := dialWS(t, url, ClientOptions{})
	ctx := testContext(t)
	if err := c.FireAndForget(ctx, data("fnf")); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "fnf" {
		t.Errorf("got %q", s)
	}
	for _, size := range []int{0, 10, 70_000, 3 << 20} { // within the pooled buffer, above it, in fragments
		p := Payload{Data: bytes.Repeat([]byte("x"), size)}
		a, err := c.RequestResponse(ctx, p)
		if err != nil || !bytes.Equal(a.Data, p.Data) {
			t.Fatalf("%d bytes: %d back, %v", size, len(a.Data), err)
		}
	}
	r, err := c.RequestStream(ctx, data("s"), 10)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, err := range r.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 10 {
		t.Errorf("%d payloads", n)
	}
	out, in, err := c.RequestChannel(ctx, data("0"), 100, ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if err := out.Send(ctx, data("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Complete(); err != nil {
		t.Fatal(err)
	}
	n = 0
	for _, err := range in.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 51 {
		t.Errorf("%d payloads on the channel, want 51", n)
	}
}

func TestWebSocketLimits(t *testing.T) {
	m := new(Metrics)
	url, s := webSocketServer(t, ServerOptions{Handlers: echoHandlers(), Metrics: m}, WebSocketOptions{MaxMessage: 100 << 10})
	witness := dialWS(t, url, ClientOptions{Limits: Limits{MTU: 100 << 10}})
	ctx := testContext(t)
	setup := goodSetup()[lengthSize:]
	for name, attack := range map[string]func(ws *websocket.Conn) error{
		"text message": func(ws *websocket.Conn) error { return ws.Write(ctx, websocket.MessageText, setup) },
		"message over the limit": func(ws *websocket.Conn) error {
			_ = ws.Write(ctx, websocket.MessageBinary, setup)
			return ws.Write(ctx, websocket.MessageBinary, make([]byte, 200<<10))
		},
		"large message before SETUP": func(ws *websocket.Conn) error { return ws.Write(ctx, websocket.MessageBinary, make([]byte, 90<<10)) },
		"empty message":              func(ws *websocket.Conn) error { return ws.Write(ctx, websocket.MessageBinary, nil) },
		"20 MB of empty frames (killer)": func(ws *websocket.Conn) error {
			_ = ws.Write(ctx, websocket.MessageBinary, setup)
			w, err := ws.Writer(ctx, websocket.MessageBinary)
			if err != nil {
				return err
			}
			for range 200_000 { // each Write is a continuation frame
				if _, err := w.Write([]byte{}); err != nil {
					return err
				}
			}
			return w.Close()
		},
	} {
		t.Run(name, func(t *testing.T) {
			ws, resp, err := websocket.Dial(ctx, url, nil)
			if err != nil {
				t.Fatal(err)
			}
			if resp.Body != nil {
				_ = resp.Body.Close()
			}
			defer ws.CloseNow() //nolint:errcheck // test end
			_ = attack(ws)      // may fail when the server has closed
			for {
				if _, _, err := ws.Read(ctx); err != nil {
					break
				}
			}
			eventually(t, func() bool { return s.Conns() == 1 }, "connection closed")
			if _, err := witness.RequestResponse(ctx, data("x")); err != nil {
				t.Errorf("another connection: %v", err)
			}
		})
	}
	if n := m.Panics.Load(); n != 0 {
		t.Errorf("%d panics", n)
	}
}

func TestWebSocketOrigin(t *testing.T) {
	url, _ := webSocketServer(t, ServerOptions{}, WebSocketOptions{Origins: []string{"*.example.com"}})
	for origin, ok := range map[string]bool{"": true, "https://app.example.com": true, "https://evil.test": false} {
		h := http.Header{}
		if origin != "" {
			h.Set("Origin", origin)
		}
		c, err := DialWebSocket(testContext(t), url, ClientOptions{}, WebSocketDial{Header: h})
		if (err == nil) != ok {
			t.Errorf("origin %q: %v", origin, err)
		}
		if err == nil {
			_ = c.Close()
		}
	}
}

func TestWebSocketResume(t *testing.T) {
	m := new(Metrics)
	url, _ := webSocketServer(t, ServerOptions{Handlers: counting(), Resume: &ResumeOptions{}, Metrics: m}, WebSocketOptions{})
	c := dialWS(t, url, ClientOptions{Resume: &ClientResume{MinBackoff: time.Millisecond}})
	ctx := testContext(t)
	const n = 20_000
	r, err := c.RequestStream(ctx, number(n), 100)
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for {
		_, err := r.Recv(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatalf("after %d: %v", got, err)
		}
		got++
		r.Grant(1)
		if got%5000 == 0 && got < n {
			_ = c.transport().Close()
		}
	}
	if got != n || m.Resumed.Load() < 3 {
		t.Errorf("%d received, resumed %d times", got, m.Resumed.Load())
	}
}

func TestWebSocketSetupDeadline(t *testing.T) {
	m := new(Metrics)
	url, _ := webSocketServer(t, ServerOptions{SetupTimeout: 20 * time.Millisecond, Metrics: m}, WebSocketOptions{})
	ctx := testContext(t)
	ws, resp, err := websocket.Dial(ctx, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if resp.Body != nil {
		_ = resp.Body.Close()
	}
	defer ws.CloseNow() //nolint:errcheck // test end
	for {
		if _, _, err := ws.Read(ctx); err != nil {
			break
		}
	}
	if ctx.Err() != nil {
		t.Error(ctx.Err())
	}
	eventually(t, func() bool { return m.SetupRejected.Load() == 1 }, "counted as rejected")
}
