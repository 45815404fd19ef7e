package rsocket

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
)

func BenchmarkChannelUp(b *testing.B) {
	done := make(chan int, 1)
	c := pair(b, Handlers{RequestChannel: func(ctx context.Context, _ *Request, in *Receiver, _ *Sender) error {
		in.Grant(2000)
		n := 0
		var batch Batch
		pending := 0
		for {
			if err := in.RecvBatch(ctx, &batch); err != nil {
				done <- n
				if errors.Is(err, io.EOF) {
					return nil
				}
				return err
			}
			k := len(batch.Payloads)
			n += k
			batch.Release()
			if pending += k; pending >= 1000 {
				in.Grant(pending)
				pending = 0
			}
		}
	}})
	ctx := context.Background()
	out, _, err := c.RequestChannel(ctx, Payload{}, 1, ChannelOptions{})
	if err != nil {
		b.Fatal(err)
	}
	p := Payload{Data: make([]byte, 1024)}
	b.SetBytes(1024)
	b.ReportAllocs()
	for b.Loop() {
		if err := out.Send(ctx, p); err != nil {
			b.Fatal(err)
		}
	}
	_ = out.Complete()
	if n := <-done; n != b.N {
		b.Errorf("%d received, want %d", n, b.N)
	}
}

func BenchmarkFireAndForget(b *testing.B) {
	var n atomic.Int64
	c := pair(b, Handlers{
		FireAndForget:   func(context.Context, *Request) { n.Add(1) },
		RequestResponse: func(_ context.Context, _ *Request, r *Reply) { _ = r.Send(Payload{}) },
	})
	ctx := context.Background()
	p := Payload{Data: make([]byte, 1024)}
	b.SetBytes(1024)
	b.ReportAllocs()
	for b.Loop() {
		if err := c.FireAndForget(ctx, p); err != nil {
			b.Fatal(err)
		}
	}
	if _, err := c.RequestResponse(ctx, Payload{}); err != nil {
		b.Fatal(err)
	}
	if n.Load() != int64(b.N) {
		b.Errorf("%d received, want %d", n.Load(), b.N)
	}
}

func BenchmarkStreamDown(b *testing.B) {
	p := Payload{Data: make([]byte, 1024)}
	c := pair(b, Handlers{RequestStream: func(ctx context.Context, _ *Request, out *Sender) error {
		for {
			if err := out.Send(ctx, p); err != nil {
				return err
			}
		}
	}})
	ctx := context.Background()
	r, err := c.RequestStream(ctx, Payload{}, 2000)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(1024)
	b.ReportAllocs()
	var batch Batch
	pending, left := 0, 0
	for b.Loop() {
		if left == 0 {
			if err := r.RecvBatch(ctx, &batch); err != nil {
				b.Fatal(err)
			}
			left = len(batch.Payloads)
			if pending += left; pending >= 1000 {
				r.Grant(pending)
				pending = 0
			}
		}
		left--
	}
	r.Cancel()
}

func BenchmarkRequestResponse64(b *testing.B) {
	c := pair(b, Handlers{RequestResponse: func(_ context.Context, r *Request, reply *Reply) { _ = reply.Send(r.Payload) }})
	p := Payload{Data: make([]byte, 1024)}
	b.SetBytes(1024)
	b.ReportAllocs()
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.RequestResponse(context.Background(), p); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkBesideSlowConsumer is BenchmarkChannelUp with 16 streams on the same connection whose consumers take nothing.
func BenchmarkBesideSlowConsumer(b *testing.B) {
	stop := make(chan struct{})
	taken := make(chan struct{}, 1)
	c := pair(b, Handlers{RequestChannel: func(ctx context.Context, r *Request, in *Receiver, _ *Sender) error {
		in.Grant(2000)
		if len(r.Data) > 0 {
			<-stop
			return nil
		}
		var batch Batch
		defer batch.Release()
		for {
			if err := in.RecvBatch(ctx, &batch); err != nil {
				taken <- struct{}{}
				return nil
			}
			in.Grant(len(batch.Payloads))
		}
	}})
	ctx := context.Background()
	p := Payload{Data: make([]byte, 1024)}
	for range 16 {
		out, _, err := c.RequestChannel(ctx, p, 1, ChannelOptions{})
		if err != nil {
			b.Fatal(err)
		}
		for range 2000 {
			if err := out.Send(ctx, p); err != nil {
				b.Fatal(err)
			}
		}
	}
	out, _, err := c.RequestChannel(ctx, Payload{}, 1, ChannelOptions{})
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(1024)
	b.ReportAllocs()
	for b.Loop() {
		if err := out.Send(ctx, p); err != nil {
			b.Fatal(err)
		}
	}
	_ = out.Complete()
	<-taken
	close(stop)
}
