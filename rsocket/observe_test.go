package rsocket

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
)

func TestObserve(t *testing.T) {
	var mu sync.Mutex
	var seen []string
	note := func(s string) {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, s)
	}
	type key struct{}
	observer := func(name string) Observer {
		return func(ctx context.Context, model FrameType, r *Request) (context.Context, func(error)) {
			return context.WithValue(ctx, key{}, name), func(err error) {
				note(fmt.Sprintf("%s %v %s: %v", name, model, r.Data, err))
			}
		}
	}
	fail := errors.New("failed")
	h := Handlers{
		FireAndForget: func(context.Context, *Request) { panic("p") },
		RequestResponse: func(ctx context.Context, _ *Request, reply *Reply) {
			if ctx.Value(key{}) != "inner" {
				t.Error("context of the observer not used")
			}
			_ = reply.Send(Payload{})
		},
		RequestStream:  func(context.Context, *Request, *Sender) error { return fail },
		RequestChannel: func(context.Context, *Request, *Receiver, *Sender) error { return nil },
	}
	c := pair(t, Observe(Observe(h, observer("inner")), observer("outer")))
	ctx := testContext(t)
	if err := c.FireAndForget(ctx, data("f")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.RequestResponse(ctx, data("r")); err != nil {
		t.Fatal(err)
	}
	r, err := c.RequestStream(ctx, data("s"), 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Recv(ctx); err == nil {
		t.Error("stream did not fail")
	}
	_, r, err = c.RequestChannel(ctx, data("c"), 1, ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, _ = r.Recv(ctx)
	var want []string
	for _, s := range []string{"REQUEST_FNF f: rsocket: handler panicked", "REQUEST_RESPONSE r: <nil>", "REQUEST_STREAM s: failed", "REQUEST_CHANNEL c: <nil>"} {
		want = append(want, "inner "+s, "outer "+s)
	}
	eventually(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) >= len(want)
	}, "ends")
	mu.Lock()
	defer mu.Unlock()
	slices.Sort(seen)
	slices.Sort(want)
	if !slices.Equal(seen, want) {
		t.Errorf("got %q", seen)
	}
}

// A handler that panics has ended, also if it was to answer on a goroutine of its own.
func TestObservePanics(t *testing.T) {
	ends := make(chan error, 2)
	observer := func(ctx context.Context, _ FrameType, _ *Request) (context.Context, func(error)) {
		return ctx, func(err error) { ends <- err }
	}
	for name, h := range map[string]func(context.Context, *Request, *Reply){
		"at once":        func(context.Context, *Request, *Reply) { panic("p") },
		"on a goroutine": Blocking(func(context.Context, *Request) (Payload, error) { panic("p") }),
	} {
		t.Run(name, func(t *testing.T) {
			c := pair(t, Observe(Handlers{RequestResponse: h}, observer))
			if _, err := c.RequestResponse(testContext(t), data("r")); err == nil {
				t.Error("answered")
			}
			if err := <-ends; !errors.Is(err, errPanicked) {
				t.Errorf("the observer was told %v", err)
			}
		})
	}
}
