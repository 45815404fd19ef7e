package ingestor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

func TestPlainChannelCountsItsOpeningPayload(t *testing.T) {
	h := start(t, nil)
	s := h.open(h.dial(), rsocket.NewPayload([]byte(`{"a":1}`), route(protocol.RouteStream)))
	s.send(`{"a":2}`, `{"a":3,"b":"x"}`)
	if m := s.ackTo(3); m.Sequence != 3 || m.Records != 3 || m.Level != protocol.LevelCommitted {
		t.Fatalf("%+v", m)
	}
	h.wantRows(`{"a":1,"b":null}`, `{"a":2,"b":null}`, `{"a":3,"b":"x"}`)
}

func TestEmptyOpeningPayloadIsNotCounted(t *testing.T) {
	h := start(t, nil)
	s := h.open(h.dial(), rsocket.NewPayload(nil, route("p."+protocol.RouteStream)))
	s.send(`{"a":1}`)
	if m := s.ackTo(1); m.Sequence != 1 || m.Records != 1 {
		t.Fatalf("%+v", m)
	}
}

// TestHalfCloseHastensTheCommit: a producer that has nothing more to send does not wait for the batch to age, gets the
// last ack and then COMPLETE.
func TestHalfCloseHastensTheCommit(t *testing.T) {
	h := start(t, func(c *Config) { c.Pipelines[0].Batch.MaxAge = time.Hour })
	s, opened := h.openNamed(h.dial(), 1, 0)
	if opened.Type != protocol.TypeOpened || opened.Epoch != 1 || opened.ResumeFrom != 1 {
		t.Fatalf("%+v", opened)
	}
	s.send(`{"a":1}`, `{"a":2}`)
	if err := s.out.Complete(); err != nil {
		t.Fatal(err)
	}
	s.ackTo(2)
	if p, err := s.in.Recv(t.Context()); !errors.Is(err, io.EOF) {
		t.Fatalf("after the last ack: %q, %v", p.Data, err)
	}
}

func TestRejectedRecordsAreNamedAndTheStreamLivesOn(t *testing.T) {
	h := start(t, nil)
	c := h.dial()
	s, _ := h.openNamed(c, 1, 0)
	s.send(`{"a":1}`, `{"a":`, `[1]`, `{"a":"\xff"}`, `{"a":2}`)
	m := s.ackTo(5)
	if m.Records != 2 || len(m.Rejected) != 3 {
		t.Fatalf("%+v", m)
	}
	for i, r := range m.Rejected {
		if r.Sequence != int64(i+2) || r.Reason == "" || len(r.Reason) > 256 {
			t.Errorf("reject %d: %+v", i, r)
		}
	}
	s.send(`{"a":3}`)
	s.ackTo(6)
	h.wantRows(`{"a":1}`, `{"a":2}`, `{"a":3}`)
}

// TestOnlyRejects acknowledges payloads that bring no record, although there is no table yet.
func TestOnlyRejects(t *testing.T) {
	h := start(t, nil)
	s, _ := h.openNamed(h.dial(), 1, 0)
	s.send(`nonsense`)
	if m := s.ackTo(1); m.Records != 0 || len(m.Rejected) != 1 || m.Version != -1 {
		t.Fatalf("%+v", m)
	}
}

func TestNDJSONRejectsByRow(t *testing.T) {
	h := start(t, nil)
	md := route(protocol.RouteStream, rsocket.MIMEPerStreamData, string(rsocket.AppendStreamMIME(nil, "application/x-ndjson")))
	s := h.open(h.dial(), rsocket.NewPayload([]byte("{\"a\":1}\nnope\n{\"a\":2}\n"), md))
	m := s.ackTo(1)
	if m.Records != 2 || len(m.Rejected) != 1 || m.Rejected[0].Sequence != 1 || m.Rejected[0].Row != 1 {
		t.Fatalf("%+v", m)
	}
	h.wantRows(`{"a":1}`, `{"a":2}`)
}

func TestRefusals(t *testing.T) {
	h := start(t, nil)
	c := h.dial()
	for name, tc := range map[string]struct{ header, data, typ, code string }{
		"durable":       {`{"incarnation":"i","stream":"s","epoch":1,"ack":"durable"}`, "", "error", protocol.CodeUnsupportedAckLevel},
		"unknown level": {`{"incarnation":"i","stream":"s","epoch":1,"ack":"soon"}`, "", "error", protocol.CodeUnsupportedAckLevel},
		"reopen":        {`{"incarnation":"i","stream":"s","epoch":1,"ack":"committed","reopen":true}`, "", "error", protocol.CodeUnsupportedReopen},
		"epoch 0":       {`{"incarnation":"i","stream":"s","ack":"committed"}`, "", "error", protocol.CodeBadHeader},
		"no JSON":       {`{`, "", "error", protocol.CodeBadHeader},
		"data":          {header(1, 0), `{"a":1}`, "error", protocol.CodeBadHeader},
	} {
		s := h.open(c, rsocket.NewPayload([]byte(tc.data), route(protocol.RouteStream, protocol.MIMEStream, tc.header)))
		m := s.message()
		if string(m.Type) != tc.typ || m.Code != tc.code || m.Message == "" {
			t.Errorf("%s: %+v", name, m)
		}
		if _, err := s.in.Recv(t.Context()); !errors.Is(err, io.EOF) {
			t.Errorf("%s: the stream goes on: %v", name, err)
		}
	}
	bad := route(protocol.RouteStream, rsocket.MIMEPerStreamData, string(rsocket.AppendStreamMIME(nil, "image/png")))
	if m := h.open(c, rsocket.NewPayload(nil, bad)).message(); m.Code != protocol.CodeUnsupportedMIME {
		t.Errorf("an image: %+v", m)
	}
	_, err := c.RequestResponse(t.Context(), rsocket.NewPayload([]byte(`{}`), route("ingest.nowhere")))
	if e, ok := errors.AsType[*rsocket.Error](err); !ok || !strings.Contains(e.Message, "ingest.request") {
		t.Errorf("unknown route: %v", err)
	}
	s := h.open(c, rsocket.NewPayload(nil, route(protocol.RouteStream)))
	s.send(`{"alive":true}`)
	s.ackTo(1)
}

// TestReconnect opens a stream again while its first connection still looks open: what that one took in is settled
// first, its channel ends, and nothing is lost or taken twice.
func TestReconnect(t *testing.T) {
	h := start(t, func(c *Config) { c.Pipelines[0].Batch.MaxAge = time.Hour })
	first, _ := h.openNamed(h.dial(), 1, 0)
	first.send(`{"a":1}`, `{"a":2}`, `{"a":3}`)
	for first.in.Outstanding() > 0 && h.in.pipelines["p"].metrics.totals.accepted.Load() < 3 {
		select { // until the server has taken them in; there is no ack before the batch ages
		case <-t.Context().Done():
			t.Fatal(t.Context().Err())
		case <-time.After(time.Millisecond):
		}
	}
	second, opened := h.openNamed(h.dial(), 2, 0)
	if opened.Type != protocol.TypeOpened || opened.Epoch != 2 || opened.ResumeFrom != 4 {
		t.Fatalf("%+v", opened)
	}
	if m := first.ackTo(3); m.Sequence != 3 {
		t.Fatalf("%+v", m)
	}
	if _, err := first.in.Recv(t.Context()); !errors.Is(err, io.EOF) {
		t.Fatalf("the first channel goes on: %v", err)
	}
	second.send(`{"a":4}`)
	if err := second.out.Complete(); err != nil {
		t.Fatal(err)
	}
	if m := second.ackTo(4); m.Records != 1 {
		t.Fatalf("%+v", m)
	}
	if _, m := h.openNamed(h.dial(), 2, 4); m.Type != protocol.TypeStaleEpoch || m.Highest != 2 {
		t.Fatalf("the same epoch again: %+v", m)
	}
	if _, m := h.openNamed(h.dial(), 3, 9); m.Type != protocol.TypeOutOfRange || m.Expected != 5 {
		t.Fatalf("an ack that was never given: %+v", m)
	}
	other := strings.Replace(header(4, 0), `"i"`, `"j"`, 1)
	s := h.open(h.dial(), rsocket.NewPayload(nil, route(protocol.RouteStream, protocol.MIMEStream, other)))
	if m := s.message(); m.Type != protocol.TypeFenced {
		t.Fatalf("another incarnation: %+v", m)
	}
	h.wantRows(`{"a":1}`, `{"a":2}`, `{"a":3}`, `{"a":4}`)
}

// TestDrain stops an ingestor under an open stream: the producer is told, what was taken is committed and acknowledged,
// and the channel ends with COMPLETE.
func TestDrain(t *testing.T) {
	h := start(t, func(c *Config) { c.Pipelines[0].Batch.MaxAge = time.Hour })
	s, _ := h.openNamed(h.dial(), 1, 0)
	const n = 500
	for i := range n {
		s.send(fmt.Sprintf(`{"a":%d}`, i))
	}
	for h.in.pipelines["p"].metrics.totals.accepted.Load() < n {
		<-time.After(time.Millisecond)
	}
	stopped := make(chan error, 1)
	go func() { stopped <- h.stop() }()
	if m := s.message(); m.Type != protocol.TypeDrain {
		t.Fatalf("%+v", m)
	}
	s.ackTo(n)
	if _, err := s.in.Recv(context.WithoutCancel(t.Context())); !errors.Is(err, io.EOF) {
		t.Fatalf("after drain: %v", err)
	}
	if err := <-stopped; err != nil {
		t.Fatal(err)
	}
	if got := len(h.rows()); got != n {
		t.Fatalf("%d rows of %d", got, n)
	}
}

// TestSystemColumns finds every row's stream and sequence in the table.
func TestSystemColumns(t *testing.T) {
	h := start(t, func(c *Config) {
		c.Pipelines[0].Decode.SystemColumns.Stream = true
		c.Pipelines[0].Decode.SystemColumns.Seq = true
	})
	s, _ := h.openNamed(h.dial(), 1, 0)
	s.send(`{"a":1}`, `oops`, `{"a":2}`)
	s.ackTo(3)
	h.wantRows(`{"_weir_seq":1,"_weir_stream":"s","a":1}`, `{"_weir_seq":3,"_weir_stream":"s","a":2}`)
}
