package ingestor

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/ingestor/batch"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// harness is an ingestor under test, on loopback.
type harness struct {
	testing.TB
	in    *Ingestor
	store store.Store
	addr  string // of the RSocket door
	http  string // URL of the HTTP door
	admin string // URL of the admin door
	stop  func() error
	wait  func() error // for an end that the test did not ask for
}

// start runs an ingestor of one pipeline named p over a memory store; change adjusts its configuration.
func start(t testing.TB, change func(*Config)) *harness {
	t.Helper()
	conf := Config{
		Pipelines: []Settings{{
			Name: "p", Store: store.NewMemory(), Memory: 64 << 20,
			Decode: decode.Options{MaxEventBytes: 1 << 20},
			Batch:  batch.Settings{MaxRecords: 1000, MaxAge: 20 * time.Millisecond, MaxBytes: 16 << 20, MinGap: time.Millisecond},
		}},
		RSocket: listen(t), HTTP: listen(t), Admin: listen(t),
		Grace: 20 * time.Second, Version: "test", Registry: newTestRegistry(), Log: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&conf)
	}
	in, err := New(t.Context(), conf)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	t.Cleanup(cancel)
	done := make(chan error, 1)
	go func() { done <- in.Run(ctx) }()
	h := &harness{
		TB: t, in: in, store: conf.Pipelines[0].Store, addr: conf.RSocket.Addr().String(),
		http: "http://" + conf.HTTP.Addr().String(), admin: "http://" + conf.Admin.Addr().String(),
	}
	stopped := false
	h.wait = func() error {
		stopped = true
		return <-done
	}
	h.stop = func() error {
		if stopped {
			return nil
		}
		cancel()
		return h.wait()
	}
	t.Cleanup(func() {
		if err := h.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
	return h
}

func newTestRegistry() *prometheus.Registry { return prometheus.NewRegistry() }

func listen(t testing.TB) net.Listener {
	t.Helper()
	var lc net.ListenConfig
	ln, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// dial connects with composite metadata.
func (h *harness) dial() *rsocket.Conn {
	h.Helper()
	c, err := rsocket.Dial(h.Context(), "tcp", h.addr, rsocket.ClientOptions{
		MetadataMIME: rsocket.MIMEComposite, DataMIME: "application/json",
	})
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { _ = c.Close() })
	return c
}

// route is composite metadata that names a route, followed by more entries of MIME type and content.
func route(name string, more ...string) []byte {
	md := rsocket.AppendComposite(nil, rsocket.MIMERouting, rsocket.AppendRoute(nil, name))
	for pair := range slices.Chunk(more, 2) {
		md = rsocket.AppendComposite(md, pair[0], []byte(pair[1]))
	}
	return md
}

// stream is an open ingest.stream.
type stream struct {
	*harness
	out *rsocket.Sender
	in  *rsocket.Receiver
}

// header is a stream header for stream s of incarnation i.
func header(epoch, acked int64) string {
	return fmt.Sprintf(`{"producer":"test","incarnation":"i","stream":"s","epoch":%d,"ack":"committed","k":%d,"reopen":false}`, epoch, acked)
}

func (h *harness) open(c *rsocket.Conn, opening rsocket.Payload) *stream {
	h.Helper()
	out, in, err := c.RequestChannel(h.Context(), opening, 1<<20, rsocket.ChannelOptions{})
	if err != nil {
		h.Fatal(err)
	}
	return &stream{h, out, in}
}

// openNamed opens stream s and returns its opened message.
func (h *harness) openNamed(c *rsocket.Conn, epoch, acked int64) (*stream, protocol.Message) {
	h.Helper()
	s := h.open(c, rsocket.NewPayload(nil, route(protocol.RouteStream, protocol.MIMEStream, header(epoch, acked))))
	return s, s.message()
}

func (s *stream) send(events ...string) {
	s.Helper()
	for _, e := range events {
		if err := s.out.Send(s.Context(), rsocket.NewPayload([]byte(e), nil)); err != nil {
			s.Fatal(err)
		}
	}
}

// message is the next message.
func (s *stream) message() protocol.Message {
	s.Helper()
	p, err := s.in.Recv(s.Context())
	if err != nil {
		s.Fatal(err)
	}
	m, err := protocol.ParseMessage(p.Data)
	if err != nil {
		s.Fatal(err)
	}
	return m
}

// ackTo reads messages until the ack of sequence and returns it with all rejects up to it.
func (s *stream) ackTo(sequence int64) protocol.Message {
	s.Helper()
	var rejected []protocol.Reject
	for {
		m := s.message()
		if m.Type != protocol.TypeAck {
			s.Fatalf("got %+v instead of an ack", m)
		}
		rejected = append(rejected, m.Rejected...)
		if m.Sequence >= sequence {
			m.Rejected = rejected
			return m
		}
	}
}

// rows reads the whole table, in the order of its files, each row as JSON.
func (h *harness) rows() []string {
	h.Helper()
	t, err := delta.Open(h.Context(), h.store, delta.Options{})
	if err != nil {
		h.Fatal(err)
	}
	defer func() {
		if err := t.Close(h.Context()); err != nil {
			h.Error(err)
		}
	}()
	var rows []string
	s := t.Snapshot()
	for b, err := range s.Read(h.Context(), s.Schema()) {
		if err != nil {
			h.Fatal(err)
		}
		for i := range b.Rows {
			j, err := json.Marshal(b.Row(i))
			if err != nil {
				h.Fatal(err)
			}
			rows = append(rows, string(j))
		}
	}
	return rows
}

func (h *harness) wantRows(want ...string) {
	h.Helper()
	got := h.rows()
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		h.Errorf("the table holds\n%q\nwant\n%q", got, want)
	}
}
