package ingestor

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// recreated is a store whose table turns out to be another one.
type recreated struct{ store.Store }

func (r recreated) Create(context.Context, string) (store.Writer, error) {
	return nil, delta.ErrTableRecreated
}

// TestAPipelineThatCannotGoOn tells every producer, also those who had nothing in the batch and those who come later, and
// leaves the other pipelines of the process alone.
func TestAPipelineThatCannotGoOn(t *testing.T) {
	h := start(t, func(c *Config) {
		bad := c.Pipelines[0]
		bad.Name, bad.Store = "bad", recreated{store.NewMemory()}
		c.Pipelines = append(c.Pipelines, bad)
	})
	c := h.dial()
	idle := h.open(c, rsocket.NewPayload(nil, route("bad."+protocol.RouteStream)))
	busy := h.open(c, rsocket.NewPayload([]byte(`{"a":1}`), route("bad."+protocol.RouteStream)))
	for name, s := range map[string]*stream{"busy": busy, "idle": idle} {
		if m := s.message(); m.Type != protocol.TypeError || m.Code != protocol.CodeFailed || !strings.Contains(m.Message, delta.ErrTableRecreated.Error()) {
			t.Errorf("%s stream: %+v", name, m)
		}
	}
	late := h.open(c, rsocket.NewPayload(nil, route("bad."+protocol.RouteStream)))
	if m := late.message(); m.Code != protocol.CodeFailed {
		t.Errorf("a later stream: %+v", m)
	}
	_, err := c.RequestResponse(t.Context(), rsocket.NewPayload([]byte(`{"a":1}`), route("bad."+protocol.RouteRequest)))
	if e, ok := errors.AsType[*rsocket.Error](err); !ok || e.Code != rsocket.CodeRejected {
		t.Errorf("a later request: %v", err)
	}
	if status, body, _ := h.post("/v1/pipelines/bad/events", "application/json", `{"a":1}`); status != http.StatusServiceUnavailable {
		t.Errorf("a later POST: %d %s", status, body)
	}
	if err := h.in.ready(); !errors.Is(err, delta.ErrTableRecreated) {
		t.Errorf("ready: %v", err)
	}
	good := h.open(c, rsocket.NewPayload([]byte(`{"a":1}`), route("p."+protocol.RouteStream)))
	good.ackTo(1)
	h.wantRows(`{"a":1}`)
	if s := h.in.Status(); s[0].State != "Failed" || s[0].Error == "" || s[1].State != "Running" {
		t.Errorf("%+v", s)
	}
}

// TestAFailureDuringTheDrainIsReported: a stop whose last commit fails for good is not a clean one.
func TestAFailureDuringTheDrainIsReported(t *testing.T) {
	h := start(t, func(c *Config) {
		c.Pipelines[0].Store, c.Pipelines[0].Batch.MaxAge = recreated{c.Pipelines[0].Store}, time.Hour
	})
	h.open(h.dial(), rsocket.NewPayload([]byte(`{"a":1}`), route(protocol.RouteStream)))
	h.accepted(1)
	if err := h.stop(); !errors.Is(err, delta.ErrTableRecreated) {
		t.Errorf("the process ended with %v", err)
	}
}

// TestTheLastPipelineStopsTheProcess with its reason.
func TestTheLastPipelineStopsTheProcess(t *testing.T) {
	h := start(t, func(c *Config) { c.Pipelines[0].Store = recreated{c.Pipelines[0].Store} })
	h.open(h.dial(), rsocket.NewPayload([]byte(`{"a":1}`), route(protocol.RouteStream)))
	if err := h.wait(); !errors.Is(err, delta.ErrTableRecreated) {
		t.Errorf("the process ended with %v", err)
	}
}

// TestAnUnusableStoreIsRefusedAtTheStart with the reason.
func TestAnUnusableStoreIsRefusedAtTheStart(t *testing.T) {
	_, err := New(t.Context(), Config{Pipelines: []Settings{{Name: "p", Store: readOnly{store.NewMemory()}, Memory: minMemory}}, Registry: newTestRegistry()})
	if !errors.Is(err, errReadOnly) {
		t.Fatal(err)
	}
}

var errReadOnly = errors.New("read-only file system")

type readOnly struct{ store.Store }

func (readOnly) PutIfAbsent(context.Context, string, []byte) error { return errReadOnly }
