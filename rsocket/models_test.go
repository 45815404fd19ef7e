package rsocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is a budget of bytes that fails the test if it is not given back in full.
type limit struct {
	mu        sync.Mutex
	max, used int
	peak      int
}

func (l *limit) Reserve(n int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.used+n > l.max {
		return false
	}
	l.used += n
	l.peak = max(l.peak, l.used)
	return true
}

func (l *limit) Release(n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.used -= n
}

func (l *limit) held() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.used
}

func (l *limit) most() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.peak
}

// startServer serves on a loopback port until the test ends.
func startServer(tb testing.TB, o ServerOptions) (*Server, string) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // returns at once
	if err != nil {
		tb.Fatal(err)
	}
	s := NewServer(o)
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_ = s.Shutdown(ctx) // streams may be cut off
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			tb.Errorf("Serve: %v", err)
		}
	})
	return s, l.Addr().String()
}

func dial(tb testing.TB, addr string, o ClientOptions) *Conn {
	tb.Helper()
	c, err := Dial(context.Background(), "tcp", addr, o)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = c.Close() })
	return c
}

// pair is a client connected to a server with the handlers.
func pair(tb testing.TB, h Handlers) *Conn {
	tb.Helper()
	_, addr := startServer(tb, ServerOptions{Handlers: h})
	return dial(tb, addr, ClientOptions{})
}

func testContext(tb testing.TB) context.Context {
	tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	tb.Cleanup(cancel)
	return ctx
}

func data(s string) Payload { return Payload{Data: []byte(s)} }

func echoHandlers() Handlers {
	return Handlers{
		RequestResponse: func(_ context.Context, r *Request, reply *Reply) { _ = reply.Send(r.Payload) },
		RequestStream: func(ctx context.Context, r *Request, out *Sender) error {
			for i := range 10 {
				if err := out.Send(ctx, data(fmt.Sprintf("%s-%d", r.Data, i))); err != nil {
					return err
				}
			}
			return nil
		},
		RequestChannel: func(ctx context.Context, r *Request, in *Receiver, out *Sender) error {
			if err := out.Send(ctx, r.Payload); err != nil {
				return err
			}
			in.Grant(8)
			var b Batch
			defer b.Release()
			for {
				if err := in.RecvBatch(ctx, &b); err != nil {
					if errors.Is(err, io.EOF) {
						return nil
					}
					return err
				}
				n := len(b.Payloads)
				if _, err := out.SendBatch(ctx, b.Payloads); err != nil {
					return err
				}
				b.Release()
				in.Grant(n)
			}
		},
	}
}

func TestRequestResponse(t *testing.T) {
	c := pair(t, echoHandlers())
	ctx := testContext(t)
	for _, p := range []Payload{data("hello"), {}, {Metadata: []byte("m"), HasMetadata: true, Data: []byte("d")}, {HasMetadata: true}} {
		got, err := c.RequestResponse(ctx, p)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.Data, p.Data) || !bytes.Equal(got.Metadata, p.Metadata) || got.HasMetadata != p.HasMetadata {
			t.Errorf("got %+v, want %+v", got, p)
		}
	}
}

func TestFireAndForget(t *testing.T) {
	const n = 5000
	got := make(chan string, n)
	c := pair(t, Handlers{FireAndForget: func(_ context.Context, r *Request) { got <- string(r.Data) }})
	ctx := testContext(t)
	for i := range n {
		if err := c.FireAndForget(ctx, data(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
	}
	for i := range n {
		if s := <-got; s != strconv.Itoa(i) {
			t.Fatalf("event %d is %q", i, s)
		}
	}
}

func TestRequestStream(t *testing.T) {
	c := pair(t, echoHandlers())
	ctx := testContext(t)
	r, err := c.RequestStream(ctx, data("x"), 3)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for p, err := range r.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf("x-%d", n); string(p.Data) != want {
			t.Errorf("got %q, want %q", p.Data, want)
		}
		n++
		r.Grant(1)
	}
	if n != 10 {
		t.Errorf("%d payloads, want 10", n)
	}
}

func TestRequestChannel(t *testing.T) {
	c := pair(t, echoHandlers())
	ctx := testContext(t)
	out, in, err := c.RequestChannel(ctx, data("0"), 4, ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	const n = 1000
	go func() {
		for i := 1; i < n; i++ {
			if out.Send(ctx, data(strconv.Itoa(i))) != nil {
				return
			}
		}
		_ = out.Complete()
	}()
	i := 0
	for p, err := range in.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		if string(p.Data) != strconv.Itoa(i) {
			t.Fatalf("payload %d is %q", i, p.Data)
		}
		i++
		in.Grant(1)
	}
	if i != n {
		t.Errorf("%d payloads, want %d", i, n)
	}
}
