package client

import (
	"context"
	"errors"
	"net"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// scripted is a server whose side of every stream is played by the test.
type scripted struct {
	listener *rsocket.MemoryListener
	server   *rsocket.Server
	mux      *rsocket.Mux
	served   chan error
	claims   chan *peer
	dials    int
	refuse   error // of further dials
}

// peer is the server's side of one claim.
type peer struct {
	t      testing.TB
	header protocol.Header
	mime   string // of the stream, if it has one of its own
	conn   *rsocket.Conn
	in     *rsocket.Receiver
	out    *rsocket.Sender
	end    chan error // what the handler returns
}

func newScripted(t testing.TB) *scripted {
	t.Helper()
	s := &scripted{listener: rsocket.NewMemoryListener(), mux: new(rsocket.Mux), served: make(chan error, 1), claims: make(chan *peer)}
	s.mux.HandleChannel(protocol.RouteStream, func(ctx context.Context, r *rsocket.Request, in *rsocket.Receiver, out *rsocket.Sender) error {
		p := &peer{t: t, conn: r.Conn, in: in, out: out, end: make(chan error, 1)}
		for e, err := range rsocket.EachComposite(r.Metadata) {
			if err == nil && e.MIME == protocol.MIMEStream {
				p.header, err = protocol.ParseHeader(e.Content)
			}
			if e.MIME == rsocket.MIMEPerStreamData {
				p.mime, _ = rsocket.StreamMIME(e.Content)
			}
			if err != nil {
				return err
			}
		}
		select {
		case s.claims <- p:
		case <-ctx.Done():
			return ctx.Err()
		}
		select {
		case err := <-p.end:
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	})
	return s
}

// start serves; call it once all routes are bound.
func (s *scripted) start() {
	s.server = rsocket.NewServer(rsocket.ServerOptions{Handlers: s.mux.Handlers()})
	go func() { s.served <- s.server.Serve(context.Background(), s.listener) }()
}

func (s *scripted) stop(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = s.server.Shutdown(ctx) // streams may be cut off
	if err := <-s.served; !errors.Is(err, rsocket.ErrServerClosed) {
		t.Errorf("serve: %v", err)
	}
}

func (s *scripted) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	s.dials++
	if s.refuse != nil {
		return nil, s.refuse
	}
	return s.listener.Dial(ctx)
}

// client returns a client of s whose ids are "id".
func (s *scripted) client(t testing.TB, o Options) *Client {
	t.Helper()
	o.DialContext = s.dial
	c, err := Dial(context.Background(), "memory:1", o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// open opens a stream whose first claim is accepted from sequence 1.
func (s *scripted) open(t testing.TB, c *Client, o StreamOptions) (*Stream, *peer) {
	t.Helper()
	peers := make(chan *peer, 1)
	go func() {
		p := <-s.claims
		p.opened(1)
		peers <- p
	}()
	st, err := c.OpenStream(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	return st, <-peers
}

func (p *peer) say(m protocol.Message) {
	err := p.out.Send(context.Background(), rsocket.Payload{Data: m.Append(nil)})
	if err != nil && !errors.Is(err, rsocket.ErrCanceled) && !errors.Is(err, rsocket.ErrConnClosed) {
		p.t.Errorf("say %s: %v", m.Type, err)
	}
}

func (p *peer) opened(resumeFrom int64) {
	p.say(protocol.Message{Type: protocol.TypeOpened, Epoch: p.header.Epoch, ResumeFrom: resumeFrom})
}

func (p *peer) ack(seq, records int64, rejected ...protocol.Reject) {
	p.say(protocol.Message{Type: protocol.TypeAck, Level: protocol.LevelCommitted, Sequence: seq, Records: records, Version: seq, Rejected: rejected})
}

// receive grants n payloads and waits for them.
func (p *peer) receive(n int) []string {
	p.t.Helper()
	p.in.Grant(n)
	var got []string
	for range n {
		r, err := p.in.Recv(context.Background())
		if err != nil {
			p.t.Errorf("receive payload %d of %d: %v", len(got)+1, n, err)
			return got
		}
		got = append(got, string(r.Data))
	}
	return got
}

// numbers returns the decimal numbers from a to b, the payloads of most tests.
func numbers(a, b int) []string {
	var all []string
	for i := a; i <= b; i++ {
		all = append(all, strconv.Itoa(i))
	}
	return all
}

func sendNumbers(t testing.TB, s *Stream, a, b int) {
	t.Helper()
	for _, n := range numbers(a, b) {
		if _, err := s.Send(context.Background(), []byte(n)); err != nil {
			t.Fatalf("send %s: %v", n, err)
		}
	}
}

func closeAll(t testing.TB, c *Client, s *scripted) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel() // a scripted server that does not complete its streams
	if err := c.Close(ctx); err != nil {
		t.Error(err)
	}
	s.stop(t)
}
