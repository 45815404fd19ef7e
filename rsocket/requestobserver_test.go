package rsocket

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// notes collects what an observer was told.
type notes struct {
	mu   sync.Mutex
	told []string
}

func (n *notes) observe(_ context.Context, model FrameType, p *Payload) func(error) {
	request := string(p.Data)
	p.Data = append(slices.Clone(p.Data), " traced"...)
	return func(err error) {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.told = append(n.told, fmt.Sprintf("%v %s: %v", model, request, err))
	}
}

func TestRequestObserver(t *testing.T) {
	got := make(chan string, 10)
	h := echoHandlers()
	h.FireAndForget = func(_ context.Context, r *Request) { got <- string(r.Data) }
	h.RequestStream = func(ctx context.Context, r *Request, out *Sender) error {
		if string(r.Data) == "fails traced" {
			return errors.New("broken")
		}
		return out.Send(ctx, r.Payload)
	}
	_, addr := startServer(t, ServerOptions{Handlers: h})
	var n notes
	c := dial(t, addr, ClientOptions{Requests: n.observe})
	ctx := testContext(t)

	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(c.FireAndForget(ctx, data("forget")))
	if sent := <-got; sent != "forget traced" {
		t.Errorf("sent %q: what the observer added is missing", sent)
	}
	_, err := c.RequestResponse(ctx, data("ask"))
	must(err)
	r, err := c.RequestStream(ctx, data("stream"), 10)
	must(err)
	for _, err := range r.All(ctx) {
		must(err)
	}
	r, err = c.RequestStream(ctx, data("fails"), 10)
	must(err)
	for range 2 { // the end is told once
		if _, err := r.Recv(ctx); err == nil {
			t.Error("the stream did not fail")
		}
	}
	r, err = c.RequestStream(ctx, data("cancelled"), 10)
	must(err)
	r.Cancel()
	r.Cancel()
	must(c.Close())
	if _, err := c.RequestResponse(ctx, data("late")); err == nil {
		t.Error("a request over a closed connection succeeded")
	}
	want := []string{
		"REQUEST_FNF forget: <nil>",
		"REQUEST_RESPONSE ask: <nil>",
		"REQUEST_STREAM stream: <nil>",
		"REQUEST_STREAM fails: rsocket: APPLICATION_ERROR: broken",
		"REQUEST_STREAM cancelled: rsocket: stream canceled",
		"REQUEST_RESPONSE late: rsocket: connection closed",
	}
	if d := cmp.Diff(want, n.told); d != "" {
		t.Errorf("told (-want +got):\n%s", d)
	}
}
