package rsocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"sync/atomic"
	"testing"
)

// patterned returns a payload of n bytes that says which one it is, all over.
func patterned(i uint64, n int) Payload {
	return Payload{Data: bytes.Repeat(binary.BigEndian.AppendUint64(nil, i), n/8), Metadata: binary.BigEndian.AppendUint64(nil, ^i), HasMetadata: true}
}

func samePattern(p *Payload, i uint64, n int) bool {
	want := patterned(i, n)
	return bytes.Equal(p.Data, want.Data) && bytes.Equal(p.Metadata, want.Metadata)
}

// Payloads that are kept stay as they came, whatever arrives behind them, and may be appended to.
func TestKeptPayloadsStay(t *testing.T) {
	const events, size = 20_000, 1000
	sm := new(Metrics)
	budget := &limit{max: 64 << 20}
	kept := make(chan []Retained, 1)
	_, addr := startServer(t, ServerOptions{Metrics: sm, Budget: budget, Handlers: Handlers{RequestChannel: func(ctx context.Context, _ *Request, in *Receiver, _ *Sender) error {
		in.Grant(events)
		var b Batch
		defer b.Release()
		var all []Retained
		for len(all) < events {
			if err := in.RecvBatch(ctx, &b); err != nil {
				return err
			}
			for i := range b.Payloads {
				r := b.Retain(i)
				_ = append(r.Metadata, "appended"...) //nolint:gocritic // what lies behind must stay
				all = append(all, r)
			}
		}
		kept <- all
		return nil
	}}})
	c := dial(t, addr, ClientOptions{})
	ctx := testContext(t)
	out, _, err := c.RequestChannel(ctx, Payload{}, 1, ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range uint64(events) {
		if err := out.Send(ctx, patterned(i, size)); err != nil {
			t.Fatal(err)
		}
	}
	chunks := map[*chunk]bool{}
	for i, r := range <-kept {
		if !samePattern(&r.Payload, uint64(i), size) {
			t.Fatalf("payload %d is %x %x", i, r.Metadata, r.Data[:16])
		}
		chunks[r.held.c] = true
		r.Release()
	}
	if most := events * size / (largeReadBuffer / 2); len(chunks) > most {
		t.Errorf("%d chunks for %d payloads of %d bytes, want %d at most", len(chunks), events, size, most)
	}
	if n := budget.held(); n != 0 {
		t.Errorf("%d bytes are still held", n)
	}
}

// Requests that wait for their handler stay as they came while the reader goes on.
func TestWaitingRequestsStay(t *testing.T) {
	const events, size = 20_000, 1000
	var next, wrong atomic.Uint64
	begin := make(chan struct{})
	c := pair(t, Handlers{FireAndForget: func(_ context.Context, r *Request) {
		<-begin
		if !samePattern(&r.Payload, next.Add(1)-1, size) {
			wrong.Add(1)
		}
	}})
	go close(begin)
	for i := range uint64(events) {
		if err := c.FireAndForget(testContext(t), patterned(i, size)); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool { return next.Load() == events }, "all events")
	if n := wrong.Load(); n > 0 {
		t.Errorf("%d events have changed", n)
	}
}
