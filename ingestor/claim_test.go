package ingestor

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// until waits for what the server does by itself.
func (h *harness) until(done func() bool) {
	h.Helper()
	for !done() {
		select {
		case <-h.Context().Done():
			h.Fatal(h.Context().Err())
		case <-time.After(time.Millisecond):
		}
	}
}

// accepted waits until the server has taken n records in.
func (h *harness) accepted(n int64) {
	h.Helper()
	h.until(func() bool { return h.in.pipelines["p"].metrics.totals.accepted.Load() == n })
}

// TestLostConnectionIsNotStoredTwice opens a stream again after its connection was lost with records that wait for a
// commit: they are settled first, so the producer is not asked for them again.
func TestLostConnectionIsNotStoredTwice(t *testing.T) {
	h := start(t, func(c *Config) { c.Pipelines[0].Batch.MaxAge = time.Hour })
	c := h.dial()
	first, _ := h.openNamed(c, 1, 0)
	first.send(`{"a":1}`, `{"a":2}`, `{"a":3}`)
	h.accepted(3)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	h.until(func() bool { return len(h.in.pipelines["p"].open()) == 0 })

	second, opened := h.openNamed(h.dial(), 2, 0)
	if opened.ResumeFrom != 4 {
		t.Fatalf("%+v", opened)
	}
	second.send(`{"a":4}`)
	if err := second.out.Complete(); err != nil {
		t.Fatal(err)
	}
	second.ackTo(4)
	h.wantRows(`{"a":1}`, `{"a":2}`, `{"a":3}`, `{"a":4}`)
}

// TestClaimsOfProducersThatAreGone has producers that cancel before they can be told "opened": the stream can be opened
// again all the same.
func TestClaimsOfProducersThatAreGone(t *testing.T) {
	h := start(t, nil)
	c := h.dial()
	const n = 200
	for epoch := range int64(n) {
		md := route(protocol.RouteStream, protocol.MIMEStream, header(epoch+1, 0))
		_, in, err := c.RequestChannel(t.Context(), rsocket.NewPayload(nil, md), 1, rsocket.ChannelOptions{})
		if err != nil {
			t.Fatal(err)
		}
		in.Cancel()
	}
	s, opened := h.openNamed(h.dial(), n+1, 0)
	if opened.Type != protocol.TypeOpened {
		t.Fatalf("%+v", opened)
	}
	s.send(`{"a":1}`)
	s.ackTo(1)
}

// TestDrainMeetsAStreamThatIsBeingOpened begins a drain while a claim waits for an earlier one: that stream is told too,
// and does not hold the drain up.
func TestDrainMeetsAStreamThatIsBeingOpened(t *testing.T) {
	g := newGate()
	h := start(t, func(c *Config) { c.Pipelines[0].Store = g.wrap(c.Pipelines[0].Store) })
	p := h.in.pipelines["p"]
	g.close()
	first, _ := h.openNamed(h.dial(), 1, 0)
	first.send(`{"a":1}`)
	h.accepted(1)
	md := route(protocol.RouteStream, protocol.MIMEStream, header(2, 0))
	second := h.open(h.dial(), rsocket.NewPayload(nil, md))
	h.until(func() bool {
		s := p.open()[0]
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.stopped // the second claim has revoked the first and waits
	})
	stopped := make(chan error, 1)
	go func() { stopped <- h.stop() }()
	h.until(p.stopping.Load)
	g.open()
	if m := second.message(); m.Type != protocol.TypeOpened || m.ResumeFrom != 2 {
		t.Fatalf("%+v", m)
	}
	if m := second.message(); m.Type != protocol.TypeError || m.Code != protocol.CodeUnavailable {
		t.Fatalf("%+v", m)
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
}

// TestARegistryThatFailsLosesNoPlace: what came before the payload whose schema cannot be had is settled and acknowledged before
// the stream ends, so that it is not sent again and stored twice.
func TestARegistryThatFailsLosesNoPlace(t *testing.T) {
	h := start(t, func(c *Config) {
		c.Pipelines[0].Batch.MaxAge = time.Hour
		c.Pipelines[0].Decode.Avro = &decode.Avro{
			Lookup: func(uint32) (*decode.AvroSchema, error) { return nil, decode.ErrSchemaUnknown },
			Fetch:  func(context.Context, uint32) error { return errors.New("the registry does not answer") },
		}
	})
	c := h.dial()
	first, _ := h.openNamed(c, 1, 0)
	first.send(`{"a":1}`, `{"a":2}`)
	h.accepted(2)
	md := rsocket.AppendComposite(nil, rsocket.MIMEPerStreamData, rsocket.AppendStreamMIME(nil, "application/avro"))
	if err := first.out.Send(t.Context(), rsocket.NewPayload([]byte("\x00\x00\x00\x00\x01\x04"), md)); err != nil {
		t.Fatal(err)
	}
	if m := first.ackTo(2); m.Records != 2 {
		t.Errorf("%+v", m)
	}
	if m := first.message(); m.Type != protocol.TypeError || m.Code != protocol.CodeUnavailable {
		t.Errorf("%+v", m)
	}
	if p, err := first.in.Recv(t.Context()); !errors.Is(err, io.EOF) {
		t.Errorf("after the last word: %q, %v", p.Data, err)
	}
	if _, opened := h.openNamed(c, 2, 0); opened.ResumeFrom != 3 {
		t.Errorf("%+v", opened)
	}
}

// TestTheLastWordFollowsTheLastAck although both came before the session looked.
func TestTheLastWordFollowsTheLastAck(t *testing.T) {
	h := start(t, nil)
	s, _ := h.openNamed(h.dial(), 1, 0)
	p := h.in.pipelines["p"]
	h.until(func() bool { return len(p.open()) == 1 })
	served := p.open()[0]
	served.mu.Lock()
	served.received, served.settled = 1, 1
	served.fatal = failure(errors.New("the table is gone"))
	served.mu.Unlock()
	served.notify()
	s.ackTo(1)
	if m := s.message(); m.Type != protocol.TypeError || m.Code != protocol.CodeFailed {
		t.Errorf("%+v", m)
	}
}
