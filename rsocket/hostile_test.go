package rsocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// rawPeer speaks bytes to a server, or to a client under test.
type rawPeer struct {
	tb testing.TB
	nc net.Conn
	r  frameReader
}

func newRawPeer(tb testing.TB, nc net.Conn) *rawPeer {
	tb.Helper()
	p := &rawPeer{tb: tb, nc: nc}
	p.r.init(nc)
	_ = nc.SetDeadline(time.Now().Add(20 * time.Second))
	tb.Cleanup(func() { _ = nc.Close() })
	return p
}

// rawDial connects without SETUP.
func rawDial(tb testing.TB, addr string) *rawPeer {
	tb.Helper()
	nc, err := net.Dial("tcp", addr) //nolint:noctx // loopback
	if err != nil {
		tb.Fatal(err)
	}
	return newRawPeer(tb, nc)
}

// rawClient connects and sends a good SETUP.
func rawClient(tb testing.TB, addr string) *rawPeer {
	tb.Helper()
	p := rawDial(tb, addr)
	p.send(goodSetup())
	return p
}

func goodSetup() []byte {
	return encodeSetup(0, &setupFields{major: 1, keepAlive: 20000, maxLifetime: 90000, metadataMIME: []byte(MIMEComposite), dataMIME: []byte("d")}, &Payload{})
}

func (p *rawPeer) send(frames ...[]byte) {
	p.tb.Helper()
	if _, err := p.nc.Write(bytes.Join(frames, nil)); err != nil {
		p.tb.Fatalf("write: %v", err)
	}
}

func (p *rawPeer) sendHex(s string) {
	p.tb.Helper()
	p.send(unhex(p.tb, s))
}

// frame returns the next frame, copied.
func (p *rawPeer) frame() (frame, error) {
	for p.r.w-p.r.r < lengthSize {
		if err := p.r.fill(lengthSize); err != nil {
			return frame{}, err
		}
	}
	b := make([]byte, lengthSize+int(uint24(p.r.unread())))
	if err := p.r.readFull(b); err != nil {
		return frame{}, err
	}
	var f frame
	err := f.parse(b[lengthSize:])
	return f, err
}

// expect returns the next frame, which must have the type.
func (p *rawPeer) expect(typ FrameType) frame {
	p.tb.Helper()
	f, err := p.frame()
	if err != nil {
		p.tb.Fatalf("waiting for %v: %v", typ, err)
	}
	if f.Type != typ {
		p.tb.Fatalf("got %v (n %d, data %q), want %v", f.Type, f.N, f.data, typ)
	}
	return f
}

func (p *rawPeer) expectError(id uint32, code ErrorCode) string {
	p.tb.Helper()
	f := p.expect(FrameError)
	if f.StreamID != id || ErrorCode(f.N) != code {
		p.tb.Fatalf("got ERROR %v on stream %d (%s), want %v on stream %d", ErrorCode(f.N), f.StreamID, f.data, code, id)
	}
	return string(f.data)
}

func (p *rawPeer) expectEOF() {
	p.tb.Helper()
	if f, err := p.frame(); !errors.Is(err, io.EOF) {
		p.tb.Fatalf("got %v %v, want EOF", f.Type, err)
	}
}

// alive checks that the connection still answers.
func (p *rawPeer) alive() {
	p.tb.Helper()
	p.send(appendKeepAlive(nil, true, 0, []byte("ping")))
	if f := p.expect(FrameKeepAlive); string(f.data) != "ping" || f.Flags&FlagRespond != 0 {
		p.tb.Fatalf("KEEPALIVE answered with %q, flags %x", f.data, f.Flags)
	}
}

// hostileServer is a server under attack together with a client that must not notice.
func hostileServer(t *testing.T, o ServerOptions) (addr string, check func()) {
	t.Helper()
	m := new(Metrics)
	b := &limit{max: 64 << 20}
	if o.Budget == nil {
		o.Budget = b
	}
	o.Metrics = m
	_, addr = startServer(t, o)
	witness := dial(t, addr, ClientOptions{})
	return addr, func() {
		t.Helper()
		if _, err := witness.RequestResponse(testContext(t), data("x")); err != nil {
			t.Errorf("another connection: %v", err)
		}
		if n := m.Panics.Load(); n != 0 {
			t.Errorf("%d panics", n)
		}
	}
}

func TestMalformedSetupIsRefused(t *testing.T) {
	addr, check := hostileServer(t, ServerOptions{Handlers: echoHandlers()})
	for name, s := range map[string]string{
		"17 bytes (killer: SETUP read beyond its end)": "000011 00000000 0400 0001 0000 00000001 0000 00",
		"bad resume token length (killer)":             "000014 00000000 0480 0001 0000 00000001 00000002 ffff",
		"bad metadata MIME length (killer)":            "000013 00000000 0400 0001 0000 00000001 00000002 ff",
		"bad data MIME length (killer)":                "000014 00000000 0400 0001 0000 00000001 00000002 00ff",
		"metadata length (killer)":                     "000017 00000000 0500 0001 0000 00000001 00000002 0000 ffffff",
		"version 2":                                    "000014 00000000 0400 0002 0000 00000001 00000002 0000",
		"keepalive 0":                                  "000014 00000000 0400 0001 0000 00000000 00000002 0000",
		"lifetime 0":                                   "000014 00000000 0400 0001 0000 00000001 00000000 0000",
		"on stream 1":                                  "000014 00000001 0400 0001 0000 00000001 00000002 0000",
		"a request first":                              "000007 00000001 1000 61",
		"a keepalive first":                            "00000e 00000000 0c80 0000000000000000",
		"frame of 16 MiB (killer: length trusted)":     "ffffff 00000000 0400",
		"frame of 0 bytes":                             "000000 00000000 0400",
		"frame of 5 bytes":                             "000005 00000000 0400",
		"2 GiB length of another protocol":             "7fffffff 00000000 0400",
		"HTTP":                                         "474554202f20485454502f312e310d0a0d0a",
	} {
		t.Run(name, func(t *testing.T) {
			p := rawDial(t, addr)
			p.sendHex(s)
			p.expectError(0, CodeInvalidSetup)
			p.expectEOF()
			check()
		})
	}
}

func TestSetupAsksForMoreThanOffered(t *testing.T) {
	addr, check := hostileServer(t, ServerOptions{Handlers: echoHandlers()})
	for _, x := range []struct {
		frame []byte
		code  ErrorCode
	}{
		{encodeSetup(FlagLease, &setupFields{major: 1, keepAlive: 1, maxLifetime: 1}, &Payload{}), CodeUnsupportedSetup},
		{encodeSetup(0, &setupFields{major: 1, keepAlive: 1, maxLifetime: 1, token: []byte("t")}, &Payload{}), CodeRejectedSetup},
		{encodeResume([]byte("t"), 0, 0), CodeRejectedResume},
	} {
		p := rawDial(t, addr)
		p.send(x.frame)
		p.expectError(0, x.code)
		p.expectEOF()
		check()
	}
}

// Killer: a second SETUP, 17 bytes long, after the first.
func TestSecondSetup(t *testing.T) {
	addr, check := hostileServer(t, ServerOptions{Handlers: echoHandlers()})
	p := rawClient(t, addr)
	p.send(goodSetup())
	p.alive() // a well-formed one is ignored
	p.sendHex("000011 00000000 0400 0001 0000 00000001 0000 00")
	p.expectError(0, CodeConnectionError)
	p.expectEOF()
	check()
}

func TestMalformedFramesEndTheirConnectionOnly(t *testing.T) {
	addr, check := hostileServer(t, ServerOptions{Handlers: echoHandlers()})
	for name, s := range map[string]string{
		"metadata longer than the frame": "00000a 00000001 1100 ffffff 61",
		"request n cut":                  "000008 00000001 2000 0000",
		"initial n cut":                  "000008 00000001 1800 0000",
		"frame of 5 bytes":               "000005 0000000110",
		"unknown type, not ignorable":    "000006 00000000 a000",
		"extension, not ignorable":       "00000a 00000000 fc00 00000001",
		"RESUME":                         "00001c 00000000 3400 0001 0000 0000 0000000000000009 0000000000000004",
		"large KEEPALIVE":                "001010 00000000 0c80 0000000000000000" + strings.Repeat("00", 4096+2),
	} {
		t.Run(name, func(t *testing.T) {
			p := rawClient(t, addr)
			p.sendHex(s)
			p.expectError(0, CodeConnectionError)
			p.expectEOF()
			check()
		})
	}
}

// "Handling the Unexpected" of the protocol: these are ignored.
func TestIgnoredFrames(t *testing.T) {
	addr, check := hostileServer(t, ServerOptions{Handlers: echoHandlers()})
	p := rawClient(t, addr)
	for name, s := range map[string]string{
		"unknown type, ignorable":           "000006 00000000 a200",
		"unknown type on a stream":          "000006 00000009 a200",
		"extension, ignorable":              "00000a 00000000 fe00 00000001",
		"PAYLOAD on an unknown stream":      "000007 00000065 2820 61",
		"PAYLOAD on stream 0":               "000007 00000000 2820 61",
		"CANCEL on an unknown stream":       "000006 00000065 2400",
		"CANCEL on stream 0":                "000006 00000000 2400",
		"ERROR on an unknown stream":        "00000a 00000065 2c00 00000201",
		"REQUEST_N on an unknown stream":    "00000a 00000065 2000 00000001",
		"REQUEST_N on stream 0":             "00000a 00000000 2000 00000001",
		"METADATA_PUSH on a stream":         "000007 00000001 3100 61",
		"ERROR[REJECTED_SETUP] to a server": "00000a 00000000 2c00 00000003",
		"LEASE that nobody asked for":       "00000e 00000000 0800 000003e8 00000005",
		"RESUME_OK":                         "00000e 00000000 3800 0000000000000009",
		"a request on stream 0":             "000007 00000000 1000 61",
		"SETUP on a stream":                 "000014 00000001 0400 0001 0000 00000001 00000002 0000",
	} {
		p.sendHex(s)
		p.alive()
		if t.Failed() {
			t.Fatal(name)
		}
	}
	check()
}

func TestStreamIDs(t *testing.T) {
	addr, check := hostileServer(t, ServerOptions{Handlers: echoHandlers()})
	p := rawClient(t, addr)
	p.send(opened(FrameRequestResponse, 2, 0, 0, data("even")))
	p.expectError(2, CodeInvalid)
	p.send(opened(FrameRequestChannel, 5, 1, 0, data("a")))
	p.expect(FramePayload)
	p.expect(FrameRequestN)
	p.send(opened(FrameRequestChannel, 5, 1, 0, data("in use: ignored")))
	p.alive()
	p.send(appendCancel(nil, 5))
	p.send(opened(FrameRequestResponse, maxStreamID, 0, 0, data("largest")))
	if f := p.expect(FramePayload); f.StreamID != maxStreamID {
		t.Errorf("answer on stream %d", f.StreamID)
	}
	check()
}

// Killer: REQUEST_N 0.
func TestRequestNZero(t *testing.T) {
	addr, check := hostileServer(t, ServerOptions{Handlers: echoHandlers()})
	p := rawClient(t, addr)
	p.send(opened(FrameRequestStream, 1, 0, 0, data("a")))
	p.expectError(1, CodeInvalid)
	p.send(opened(FrameRequestChannel, 3, 0, 0, data("a")))
	p.expectError(3, CodeInvalid)
	p.send(opened(FrameRequestStream, 5, 1, 0, data("a")))
	p.expect(FramePayload)
	p.send(appendRequestN(nil, 5, 0))
	p.expectError(5, CodeInvalid)
	p.alive()
	check()
}

// Killer: a channel that the client errors, which is legal.
func TestClientErrorsItsChannel(t *testing.T) {
	ended := make(chan error, 1)
	h := echoHandlers()
	h.RequestChannel = func(ctx context.Context, _ *Request, in *Receiver, _ *Sender) error {
		in.Grant(1)
		_, err := in.Recv(ctx)
		ended <- err
		return err
	}
	addr, check := hostileServer(t, ServerOptions{Handlers: h})
	p := rawClient(t, addr)
	p.send(opened(FrameRequestChannel, 1, 1, 0, data("a")))
	p.expect(FrameRequestN)
	p.send(encodeError(1, &Error{Code: CodeApplicationError, Message: "mine"}))
	var e *Error
	if err := <-ended; !errors.As(err, &e) || e.Message != "mine" {
		t.Errorf("handler got %v", err)
	}
	p.alive() // nothing was sent on the dead stream
	check()
}

// Killer: a responder that cancels the inbound half of a channel; the outbound half goes on.
func TestResponderCancelsInbound(t *testing.T) {
	h := echoHandlers()
	h.RequestChannel = func(ctx context.Context, _ *Request, in *Receiver, out *Sender) error {
		in.Cancel()
		for i := range 3 {
			if err := out.Send(ctx, data(strconv.Itoa(i))); err != nil {
				return err
			}
		}
		return nil
	}
	addr, check := hostileServer(t, ServerOptions{Handlers: h})
	c := dial(t, addr, ClientOptions{})
	ctx := testContext(t)
	out, in, err := c.RequestChannel(ctx, data("a"), 10, ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Send(ctx, data("b")); !errors.Is(err, ErrCanceled) {
		t.Errorf("Send: %v, want ErrCanceled", err)
	}
	n := 0
	for _, err := range in.All(ctx) {
		if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d payloads after the cancellation, want 3", n)
	}
	check()
}

func TestCreditIgnoringSender(t *testing.T) {
	ended := make(chan error, 1)
	h := echoHandlers()
	h.RequestChannel = func(ctx context.Context, _ *Request, in *Receiver, out *Sender) error {
		in.Grant(2)
		<-out.Done()
		for {
			if _, err := in.Recv(ctx); err != nil {
				ended <- err
				return err
			}
		}
	}
	addr, check := hostileServer(t, ServerOptions{Handlers: h})
	p := rawClient(t, addr)
	p.send(opened(FrameRequestChannel, 1, 1, 0, data("a")))
	p.expect(FrameRequestN)
	for range 3 {
		p.send(opened(FramePayload, 1, 0, FlagNext, data("x")))
	}
	p.expectError(1, CodeInvalid)
	var e *Error
	if err := <-ended; !errors.As(err, &e) || e.Code != CodeInvalid {
		t.Errorf("handler got %v", err)
	}
	for range 1000 {
		p.send(opened(FramePayload, 1, 0, FlagNext, data("ignored")))
	}
	p.alive()
	check()
}

func TestTooManyStreams(t *testing.T) {
	release := make(chan struct{})
	var running atomic.Int64
	h := echoHandlers()
	h.RequestStream = func(context.Context, *Request, *Sender) error {
		running.Add(1)
		<-release
		return nil
	}
	addr, check := hostileServer(t, ServerOptions{Handlers: h, MaxStreamsPerConn: 100})
	p := rawClient(t, addr)
	var all []byte
	for i := range uint32(1000) {
		all = append(all, opened(FrameRequestStream, 2*i+1, 1, 0, data("a"))...)
	}
	go func() { _, _ = p.nc.Write(all) }()
	for range 900 {
		if f := p.expect(FrameError); ErrorCode(f.N) != CodeRejected {
			t.Fatalf("got %v", ErrorCode(f.N))
		}
	}
	if n := running.Load(); n > 100 {
		t.Errorf("%d handlers at once", n)
	}
	check()
	close(release)
	for range 100 {
		p.expect(FramePayload)
	}
}

func TestUnfinishedFragmentsAreBounded(t *testing.T) {
	b := &limit{max: 64 << 20}
	addr, check := hostileServer(t, ServerOptions{Handlers: echoHandlers(), MaxPayload: 1 << 20, Limits: Limits{MaxReassembly: 2 << 20}, Budget: b})
	p := rawClient(t, addr)
	part := make([]byte, 60<<10)
	first := func(id uint32) []byte { return opened(FrameRequestResponse, id, 0, FlagFollows, Payload{Data: part}) }
	p.send(first(1))
	for range 17 {
		p.send(opened(FramePayload, 1, 0, FlagFollows|FlagNext, Payload{Data: part}))
	}
	p.expectError(1, CodeInvalid) // over MaxPayload
	for i := range uint32(36) {
		p.send(first(2*i + 3))
	}
	p.expectError(2*34+3, CodeRejected) // over MaxReassembly
	if b.most() > 3<<20 {
		t.Errorf("%d bytes held", b.most())
	}
	p.expectError(2*35+3, CodeRejected)
	p.alive()
	_ = p.nc.Close()
	check()
	eventually(t, func() bool { return b.held() == 0 }, "budget given back")
}

// eventually polls a condition that another goroutine is about to make true.
func eventually(tb testing.TB, ok func() bool, what string) {
	tb.Helper()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			tb.Fatalf("not in time: %s", what)
		}
	}
}

// A peer that never reads cannot make the server buffer answers.
func TestPeerThatDoesNotRead(t *testing.T) {
	addr, check := hostileServer(t, ServerOptions{Handlers: echoHandlers()})
	p := rawClient(t, addr)
	_ = p.nc.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
	ping := bytes.Repeat(appendKeepAlive(nil, true, 0, make([]byte, 4096)), 16)
	total := 0
	for {
		n, err := p.nc.Write(ping)
		total += n
		if err != nil {
			break // the server stopped reading
		}
		if total > 256<<20 {
			t.Fatal("the server buffers without bound")
		}
	}
	check()
}

func TestPanicsOfHandlers(t *testing.T) {
	m := new(Metrics)
	h := Handlers{
		FireAndForget:   func(context.Context, *Request) { panic("f") },
		RequestResponse: func(context.Context, *Request, *Reply) { panic("r") },
		RequestStream:   func(context.Context, *Request, *Sender) error { panic("s") },
		RequestChannel:  func(context.Context, *Request, *Receiver, *Sender) error { panic("c") },
		MetadataPush:    func(context.Context, *Conn, []byte) { panic("m") },
	}
	_, addr := startServer(t, ServerOptions{Handlers: h, Metrics: m})
	p := rawClient(t, addr)
	p.send(opened(FrameRequestFNF, 1, 0, 0, data("a")), appendMetadataPush(nil, []byte("m")))
	for i, typ := range []FrameType{FrameRequestResponse, FrameRequestStream, FrameRequestChannel} {
		id := uint32(2*i + 3)
		p.send(opened(typ, id, 1, 0, data("a")))
		p.expectError(id, CodeApplicationError)
	}
	p.alive()
	if n := m.Panics.Load(); n != 5 {
		t.Errorf("%d panics counted, want 5", n)
	}
	_, addr = startServer(t, ServerOptions{Handlers: Handlers{Setup: func(context.Context, *ConnInfo) error { panic("setup") }}})
	rawClient(t, addr).expectError(0, CodeRejectedSetup)
}

// Killer: EMFILE in Accept ends the listener for ever.
func TestAcceptSurvivesEMFILE(t *testing.T) {
	inner, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // returns at once
	if err != nil {
		t.Fatal(err)
	}
	l := &failingListener{Listener: inner}
	l.failures.Store(3)
	m := new(Metrics)
	s := NewServer(ServerOptions{Handlers: echoHandlers(), Metrics: m})
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	c := dial(t, inner.Addr().String(), ClientOptions{})
	if _, err := c.RequestResponse(testContext(t), data("x")); err != nil {
		t.Error(err)
	}
	if n := m.AcceptFailures.Load(); n != 3 {
		t.Errorf("%d failures counted, want 3", n)
	}
	if err := s.Shutdown(testContext(t)); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, ErrServerClosed) {
		t.Errorf("Serve: %v", err)
	}
}

type failingListener struct {
	net.Listener
	failures atomic.Int64
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.failures.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: syscall.EMFILE}
	}
	return l.Listener.Accept()
}

func TestTooManyConnections(t *testing.T) {
	_, addr := startServer(t, ServerOptions{Handlers: echoHandlers(), MaxConns: 1})
	c := dial(t, addr, ClientOptions{})
	if _, err := c.RequestResponse(testContext(t), data("x")); err != nil {
		t.Fatal(err)
	}
	p := rawDial(t, addr)
	p.expectError(0, CodeRejectedSetup)
	p.expectEOF()
}

func TestErrorCodeWithApplicationRange(t *testing.T) {
	h := Handlers{RequestResponse: func(_ context.Context, _ *Request, r *Reply) { _ = r.Error(Errorf(0x301, "mine %d", 1)) }}
	c := pair(t, h)
	_, err := c.RequestResponse(testContext(t), Payload{})
	var e *Error
	if !errors.As(err, &e) || e.Code != 0x301 || e.Message != "mine 1" {
		t.Errorf("got %v", err)
	}
	if s := e.Error(); s != "rsocket: 0x00000301: mine 1" {
		t.Errorf("prints as %q", s)
	}
}
