package rsocket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
)

// A consumer that takes nothing holds up its own stream only, and no more is buffered than it granted.
func TestSlowConsumerDoesNotBlockOthers(t *testing.T) {
	slow := make(chan *Receiver, 1)
	stop := make(chan struct{})
	h := echoHandlers()
	echo := h.RequestChannel
	h.RequestChannel = func(ctx context.Context, r *Request, in *Receiver, out *Sender) error {
		if string(r.Data) != "slow" {
			return echo(ctx, r, in, out)
		}
		in.Grant(100)
		slow <- in
		<-stop
		return nil
	}
	c := pair(t, h)
	ctx := testContext(t)
	out, _, err := c.RequestChannel(ctx, data("slow"), 1, ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		if err := out.Send(ctx, Payload{Data: make([]byte, 1024)}); err != nil {
			t.Fatal(err)
		}
	}
	if out.TrySend(data("beyond credit")) {
		t.Error("sent without credit")
	}
	fast, in, err := c.RequestChannel(ctx, data("first"), 64, ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Recv(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 10_000 {
		if err := fast.Send(ctx, data(strconv.Itoa(i))); err != nil {
			t.Fatal(err)
		}
		p, err := in.Recv(ctx)
		if err != nil || string(p.Data) != strconv.Itoa(i) {
			t.Fatalf("payload %d: %q %v", i, p.Data, err)
		}
		in.Grant(1)
	}
	r := <-slow
	if n := r.Queued(); n != 100 || r.Outstanding() != 0 {
		t.Errorf("%d queued, %d outstanding; want 100 and 0", n, r.Outstanding())
	}
	in.Cancel()
	close(stop)
}

func TestHalfClose(t *testing.T) {
	c := pair(t, Handlers{RequestChannel: func(ctx context.Context, _ *Request, in *Receiver, out *Sender) error {
		if err := out.Complete(); err != nil { // our half first; the upload goes on
			return err
		}
		in.Grant(1000)
		n := 0
		for _, err := range in.All(ctx) {
			if err != nil {
				return err
			}
			n++
		}
		if n != 500 {
			return fmt.Errorf("%d received", n)
		}
		return nil
	}})
	ctx := testContext(t)
	out, in, err := c.RequestChannel(ctx, Payload{}, 1, ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := in.Recv(ctx); !errors.Is(err, io.EOF) {
		t.Fatalf("Recv: %v, want EOF", err)
	}
	for range 500 {
		if err := out.Send(ctx, data("x")); err != nil {
			t.Fatal(err)
		}
	}
	if err := out.Complete(); err != nil {
		t.Fatal(err)
	}
	if err := out.Send(ctx, data("x")); !errors.Is(err, ErrCompleted) {
		t.Errorf("Send after Complete: %v", err)
	}
	eventually(t, func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.streams) == 0
	}, "stream forgotten")
}

func TestOpeningThatCompletes(t *testing.T) {
	c := pair(t, echoHandlers())
	ctx := testContext(t)
	out, in, err := c.RequestChannel(ctx, data("only"), 2, ChannelOptions{Complete: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Send(ctx, data("x")); !errors.Is(err, ErrCompleted) {
		t.Errorf("Send: %v", err)
	}
	if p, err := in.Recv(ctx); err != nil || string(p.Data) != "only" {
		t.Errorf("got %q %v", p.Data, err)
	}
	if _, err := in.Recv(ctx); !errors.Is(err, io.EOF) {
		t.Errorf("end: %v", err)
	}
}

// Items within credit are delivered before COMPLETE and before an error; other implementations drop them.
func TestQueuedItemsBeforeTheEnd(t *testing.T) {
	for name, end := range map[string]error{"complete": nil, "error": Errorf(CodeApplicationError, "end")} {
		t.Run(name, func(t *testing.T) {
			c := pair(t, Handlers{RequestStream: func(ctx context.Context, _ *Request, out *Sender) error {
				for range 100 {
					if err := out.Send(ctx, data("x")); err != nil {
						return err
					}
				}
				return end
			}})
			ctx := testContext(t)
			r, err := c.RequestStream(ctx, Payload{}, 100)
			if err != nil {
				t.Fatal(err)
			}
			eventually(t, func() bool {
				r.s.mu.Lock()
				defer r.s.mu.Unlock()
				return r.s.rxEnd != nil
			}, "end arrived")
			n := 0
			for _, err := range r.All(ctx) {
				if err == nil {
					n++
				}
			}
			if n != 100 {
				t.Errorf("%d of 100 delivered", n)
			}
		})
	}
}

func TestRequesterCancels(t *testing.T) {
	ended := make(chan error, 1)
	c := pair(t, Handlers{RequestStream: func(ctx context.Context, _ *Request, out *Sender) error {
		for {
			if err := out.Send(ctx, data("x")); err != nil {
				<-ctx.Done()
				ended <- err
				return err
			}
		}
	}})
	ctx := testContext(t)
	r, err := c.RequestStream(ctx, Payload{}, 5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Recv(ctx); err != nil {
		t.Fatal(err)
	}
	r.Cancel()
	if err := <-ended; !errors.Is(err, ErrCanceled) {
		t.Errorf("handler ended with %v", err)
	}
	if _, err := r.Recv(ctx); !errors.Is(err, ErrCanceled) {
		t.Errorf("Recv after Cancel: %v", err)
	}
}

func TestRequestResponseCanceledByContext(t *testing.T) {
	canceled := make(chan struct{})
	started := make(chan struct{})
	c := pair(t, Handlers{RequestResponse: Blocking(func(ctx context.Context, _ *Request) (Payload, error) {
		close(started)
		<-ctx.Done()
		close(canceled)
		return Payload{}, ctx.Err()
	})})
	ctx, cancel := context.WithCancel(testContext(t))
	go func() {
		<-started
		cancel()
	}()
	if _, err := c.RequestResponse(ctx, Payload{}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	<-canceled
}

// Grants add up to 2³¹−1 at most, which counts as unlimited.
func TestCreditSaturates(t *testing.T) {
	got := make(chan int, 2)
	c := pair(t, Handlers{RequestChannel: func(ctx context.Context, _ *Request, in *Receiver, out *Sender) error {
		in.Grant(maxCredit - 1)
		in.Grant(maxCredit)
		in.Grant(-1)
		got <- in.Outstanding()
		if _, err := in.Recv(ctx); err != nil {
			return err
		}
		got <- in.Outstanding()
		return nil
	}})
	ctx := testContext(t)
	out, _, err := c.RequestChannel(ctx, Payload{}, 1, ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := out.AwaitCredit(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if n := <-got; n != maxCredit {
		t.Errorf("outstanding %d", n)
	}
	if err := out.Send(ctx, data("x")); err != nil {
		t.Fatal(err)
	}
	if n := <-got; n != maxCredit {
		t.Errorf("outstanding %d after one payload", n)
	}
}

func TestServerRequestsOfClient(t *testing.T) {
	answers := make(chan string, 1)
	_, addr := startServer(t, ServerOptions{Handlers: Handlers{
		FireAndForget: func(ctx context.Context, r *Request) {
			c := r.Conn
			c.handlers.Go(func() {
				p, err := c.RequestResponse(ctx, data("from the server"))
				answers <- fmt.Sprint(string(p.Data), err)
			})
		},
	}})
	c := dial(t, addr, ClientOptions{Handlers: echoHandlers()})
	if err := c.FireAndForget(testContext(t), Payload{}); err != nil {
		t.Fatal(err)
	}
	if s := <-answers; s != "from the server<nil>" {
		t.Errorf("got %s", s)
	}
}

func TestMetadataPush(t *testing.T) {
	got := make(chan string, 1)
	c := pair(t, Handlers{MetadataPush: func(_ context.Context, _ *Conn, md []byte) { got <- string(md) }})
	if err := c.MetadataPush(testContext(t), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if s := <-got; s != "hello" {
		t.Errorf("got %q", s)
	}
}

func TestSetupHandler(t *testing.T) {
	infos := make(chan ConnInfo, 1)
	_, addr := startServer(t, ServerOptions{Handlers: Handlers{
		Setup: func(_ context.Context, i *ConnInfo) error {
			if string(i.SetupPayload.Data) != "secret" {
				return errors.New("who are you")
			}
			i.Principal = "alice"
			return nil
		},
		RequestResponse: func(_ context.Context, r *Request, reply *Reply) {
			infos <- *r.Conn.Info()
			_ = reply.Complete()
		},
	}})
	ctx := testContext(t)
	c := dial(t, addr, ClientOptions{SetupPayload: data("secret"), DataMIME: "application/json"})
	if _, err := c.RequestResponse(ctx, Payload{}); err != nil {
		t.Fatal(err)
	}
	if i := <-infos; i.Principal != "alice" || i.DataMIME != "application/json" || i.MetadataMIME != MIMEComposite {
		t.Errorf("info %+v", i)
	}
	c = dial(t, addr, ClientOptions{SetupPayload: data("wrong")})
	_, err := c.RequestResponse(ctx, Payload{})
	var e *Error
	if !errors.As(err, &e) || e.Code != CodeRejectedSetup || e.Message != "who are you" {
		t.Errorf("refused client got %v", err)
	}
}

func TestMux(t *testing.T) {
	var m Mux
	m.HandleRequest("a", func(_ context.Context, _ *Request, r *Reply) { _ = r.Send(data("a!")) })
	m.HandleRequest("b", func(_ context.Context, _ *Request, r *Reply) { _ = r.Send(data("b!")) })
	m.HandleFireAndForget("f", func(context.Context, *Request) {})
	c := pair(t, m.Handlers())
	ctx := testContext(t)
	routed := func(route string) Payload {
		md := AppendComposite(nil, "application/json", []byte("{}"))
		return NewPayload(nil, AppendComposite(md, MIMERouting, AppendRoute(nil, route, "tag")))
	}
	for _, route := range []string{"a", "b"} {
		if p, err := c.RequestResponse(ctx, routed(route)); err != nil || string(p.Data) != route+"!" {
			t.Errorf("%s: %q %v", route, p.Data, err)
		}
	}
	for want, p := range map[string]Payload{
		"rsocket: REJECTED: unknown route nope; known: a, b": routed("nope"),
		"rsocket: REJECTED: no route given; known: a, b":     {},
		"rsocket: INVALID: rsocket: malformed metadata":      NewPayload(nil, []byte{0xFE, 0xFF}),
	} {
		if _, err := c.RequestResponse(ctx, p); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	if _, err := c.RequestStream(ctx, routed("a"), 1); err != nil {
		t.Fatal(err)
	}
	if err := c.FireAndForget(ctx, routed("nope")); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() bool { return m.Unrouted() == 1 }, "lost event counted")
}

func TestRoutes(t *testing.T) {
	plain := AppendRoute(nil, "x.y", "z")
	for name, c := range map[string]struct {
		mime string
		md   []byte
		want string
		bad  bool
	}{
		"plain":               {MIMERouting, plain, "x.y", false},
		"composite":           {MIMEComposite, AppendComposite(nil, MIMERouting, plain), "x.y", false},
		"spelled out":         {MIMEComposite, append(append([]byte{byte(len(MIMERouting) - 1)}, MIMERouting...), append([]byte{0, 0, byte(len(plain))}, plain...)...), "x.y", false},
		"other first":         {MIMEComposite, AppendComposite(AppendComposite(nil, "a/b", []byte("c")), MIMERouting, plain), "x.y", false},
		"none":                {MIMEComposite, AppendComposite(nil, "a/b", []byte("c")), "", false},
		"empty":               {MIMEComposite, nil, "", false},
		"foreign MIME":        {"application/json", []byte("{}"), "", false},
		"tag too long":        {MIMERouting, []byte{9, 'a'}, "", true},
		"composite cut":       {MIMEComposite, []byte{0xFE, 0, 0}, "", true},
		"composite name cut":  {MIMEComposite, []byte{0x7F, 'a'}, "", true},
		"composite too short": {MIMEComposite, []byte{0xFE, 0, 0, 9, 1, 'a'}, "", true},
	} {
		got, err := Route(c.mime, c.md)
		if got != c.want || (err != nil) != c.bad {
			t.Errorf("%s: %q %v", name, got, err)
		}
	}
}

// PAYLOAD with FOLLOWS and COMPLETE is the last fragment; an answer without COMPLETE completes a request-response.
func TestLenientPayloadFlags(t *testing.T) {
	near, far := net.Pipe()
	p := newRawPeer(t, far)
	answers := make(chan string, 2)
	c, err := NewClient(near, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		go func() {
			a, err := c.RequestResponse(context.Background(), Payload{})
			answers <- fmt.Sprint(string(a.Data), " ", err)
		}()
	}
	p.expect(FrameSetup)
	p.expect(FrameRequestResponse)
	p.expect(FrameRequestResponse)
	p.send(opened(FramePayload, 1, 0, FlagNext|FlagFollows|FlagComplete, data("one ")), opened(FramePayload, 1, 0, FlagNext, data("two")))
	if s := <-answers; s != "one two <nil>" {
		t.Errorf("got %q", s)
	}
	p.send(opened(FramePayload, 3, 0, FlagNext, data("three")))
	if s := <-answers; s != "three <nil>" {
		t.Errorf("got %q", s)
	}
	p.send(encodeError(0, &Error{Code: CodeRejectedSetup}), appendKeepAlive(nil, true, 0, nil)) // too late: ignored
	p.expect(FrameKeepAlive)
	p.send(encodeError(0, &Error{Code: CodeConnectionError, Message: "bye"}))
	<-c.Done()
	var e *Error
	if !errors.As(c.Err(), &e) || e.Message != "bye" {
		t.Errorf("ended with %v", c.Err())
	}
	_ = c.Close()
}

func TestStreamIDsWrap(t *testing.T) {
	c := pair(t, echoHandlers())
	ctx := testContext(t)
	out, in, err := c.RequestChannel(ctx, data("takes id 1"), 1, ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	c.nextID = maxStreamID
	c.mu.Unlock()
	var ids []uint32
	for range 3 {
		c.mu.Lock()
		ids = append(ids, c.nextID)
		c.mu.Unlock()
		if p, err := c.RequestResponse(ctx, data("x")); err != nil || string(p.Data) != "x" {
			t.Fatalf("%q %v", p.Data, err)
		}
	}
	if ids[0] != maxStreamID || ids[1] != 1 || ids[2] != 5 { // 1 is in use: 3 was taken instead
		t.Errorf("ids %v", ids)
	}
	if p, err := in.Recv(ctx); err != nil || string(p.Data) != "takes id 1" {
		t.Errorf("%q %v", p.Data, err)
	}
	if err := out.Complete(); err != nil {
		t.Error(err)
	}
}

// Close writes what was sent before it.
func TestCloseWritesWhatIsBuffered(t *testing.T) {
	const n = 2000
	var got atomic.Int64
	_, addr := startServer(t, ServerOptions{Handlers: Handlers{FireAndForget: func(context.Context, *Request) { got.Add(1) }}})
	c := dial(t, addr, ClientOptions{})
	for range n {
		if err := c.FireAndForget(testContext(t), Payload{Data: make([]byte, 1000)}); err != nil {
			t.Fatal(err)
		}
	}
	_ = c.Close()
	eventually(t, func() bool { return got.Load() == n }, "all arrived")
	if err := c.FireAndForget(testContext(t), Payload{}); !errors.Is(err, ErrConnClosed) {
		t.Errorf("after Close: %v", err)
	}
}
