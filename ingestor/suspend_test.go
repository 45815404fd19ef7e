package ingestor

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/transform"
	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// TestSuspend: what came before the event that stops the pipeline is committed and acknowledged, the event and what is
// behind it are not, every door says why, and the process stays.
func TestSuspend(t *testing.T) {
	for name, change := range map[string]func(*Settings){
		"by a value that does not fit": func(s *Settings) { s.Decode.OnMismatch = decode.SuspendPipeline },
		"by a step that fails": func(s *Settings) {
			p, faults := transform.Compile(transform.Options{
				OnError: transform.Suspend, Steps: []transform.Step{{Set: &transform.Set{Column: "b", Value: `int(a)`}}, {Drop: []string{"b"}}},
			})
			if len(faults) > 0 {
				t.Fatal(faults)
			}
			s.Transform = p
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := start(t, func(c *Config) { change(&c.Pipelines[0]) })
			c := h.dial()
			first := []byte(`{"a":1}`)
			if strings.Contains(name, "step") {
				first = []byte(`{"a":"1"}`)
			}
			idle := h.open(c, rsocket.NewPayload(nil, route(protocol.RouteStream)))
			s := h.open(c, rsocket.NewPayload(first, route(protocol.RouteStream)))
			s.ackTo(1)
			for _, e := range []string{string(first), `{"a":"x"}`, string(first)} {
				if err := s.out.Send(t.Context(), rsocket.NewPayload([]byte(e), nil)); err != nil {
					break // the stream may be over already
				}
			}
			s.ackTo(2)
			for _, s := range []*stream{idle, s} {
				if p, err := s.in.Recv(t.Context()); !errors.Is(err, io.EOF) {
					t.Errorf("a stream ended with %q, %v", p.Data, err)
				}
			}
			if got := h.rows(); len(got) != 2 {
				t.Errorf("the table has %q", got)
			}
			late := h.open(c, rsocket.NewPayload(nil, route(protocol.RouteStream)))
			if m := late.message(); m.Type != protocol.TypeError || m.Code != protocol.CodeUnavailable || !strings.Contains(m.Message, "suspended: stream") {
				t.Errorf("a later stream: %+v", m)
			}
			if status, body, _ := h.post("/v1/pipelines/p/events", "application/json", `{"a":1}`); status != http.StatusServiceUnavailable || !strings.Contains(body, "suspended") {
				t.Errorf("a later POST: %d %s", status, body)
			}
			if s := h.in.Status()[0]; s.State != "Suspended" || !strings.Contains(s.Error, "payload 3: ") {
				t.Errorf("%+v", s)
			}
		})
	}
}

// TestSuspendedByPost: the answer says that the payload was not taken, and why.
func TestSuspendedByPost(t *testing.T) {
	h := start(t, func(c *Config) { c.Pipelines[0].Decode.OnMismatch = decode.SuspendPipeline })
	if status, body, _ := h.post("/v1/pipelines/p/events", "application/x-ndjson", "{\"a\":1}\n{\"a\":\"x\"}"); status != http.StatusServiceUnavailable || !strings.Contains(body, "suspended: http") {
		t.Errorf("%d %s", status, body)
	}
	if s := h.in.Status()[0]; s.State != "Suspended" || s.Accepted != 0 {
		t.Errorf("%+v", s)
	}
}
