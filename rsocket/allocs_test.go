package rsocket

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
)

// allocations returns how many heap allocations of the whole process fn makes per event.
func allocations(events int, fn func(n int)) float64 {
	fn(events / 10) // warm up
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn(events)
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / float64(events)
}

// Sender and receiver together allocate nothing per event; what remains is per batch, per pool and of the runtime.
func TestNoAllocationPerEvent(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	const events, most = 200_000, 0.02
	var handled atomic.Int64
	p := Payload{Data: make([]byte, 1024)}
	c := pair(t, Handlers{
		FireAndForget:   func(context.Context, *Request) { handled.Add(1) },
		RequestResponse: func(_ context.Context, _ *Request, reply *Reply) { _ = reply.Complete() },
		RequestStream: func(ctx context.Context, _ *Request, out *Sender) error {
			for {
				if err := out.Send(ctx, p); err != nil {
					return err
				}
			}
		},
		RequestChannel: func(ctx context.Context, _ *Request, in *Receiver, _ *Sender) error {
			var b Batch
			defer b.Release()
			in.Grant(2000)
			for {
				if err := in.RecvBatch(ctx, &b); err != nil {
					return err
				}
				handled.Add(int64(len(b.Payloads)))
				in.Grant(len(b.Payloads))
			}
		},
	})
	ctx := testContext(t)
	reached := func(n int64) { eventually(t, func() bool { return handled.Load() >= n }, "handled") }

	fnf := allocations(events, func(n int) {
		goal := handled.Load() + int64(n)
		for range n {
			if err := c.FireAndForget(ctx, p); err != nil {
				t.Fatal(err)
			}
		}
		reached(goal)
	})
	out, up, err := c.RequestChannel(ctx, Payload{}, 1, ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	channel := allocations(events, func(n int) {
		goal := handled.Load() + int64(n)
		for range n {
			if err := out.Send(ctx, p); err != nil {
				t.Fatal(err)
			}
		}
		reached(goal)
	})
	up.Cancel()
	in, err := c.RequestStream(ctx, Payload{}, 2000)
	if err != nil {
		t.Fatal(err)
	}
	var b Batch
	stream := allocations(events, func(n int) {
		for n > 0 {
			if err := in.RecvBatch(ctx, &b); err != nil {
				t.Fatal(err)
			}
			n -= len(b.Payloads)
			in.Grant(len(b.Payloads))
		}
	})
	in.Cancel()
	t.Logf("allocations per event: fire-and-forget %.4f, channel up %.4f, stream down %.4f", fnf, channel, stream)
	if fnf > most || channel > most || stream > most {
		t.Errorf("more than %.2f allocations per event", most)
	}
}
