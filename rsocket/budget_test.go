package rsocket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
)

// Without room in the budget a stream gets ERROR[REJECTED]; the connection and its other streams go on.
func TestBudgetRefusesAStream(t *testing.T) {
	b := &limit{max: 100 << 10}
	_, addr := startServer(t, ServerOptions{Handlers: echoHandlers(), Budget: b})
	ctx := testContext(t)
	c := dial(t, addr, ClientOptions{Limits: Limits{MTU: maxFrameSize}})
	for _, size := range []int{90 << 10, 500 << 10} { // in the read buffer, and above it
		out, in, err := c.RequestChannel(ctx, data("a"), 1, ChannelOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := in.Recv(ctx); err != nil {
			t.Fatal(err)
		}
		free := b.max - b.held() - 1000
		if !b.Reserve(free) {
			t.Fatal("reserve")
		}
		if err := out.Send(ctx, Payload{Data: make([]byte, size)}); err != nil {
			t.Fatal(err)
		}
		_, err = in.Recv(ctx)
		var e *Error
		if !errors.As(err, &e) || e.Code != CodeRejected {
			t.Errorf("size %d: got %v", size, err)
		}
		if _, err := c.RequestResponse(ctx, data("still alive")); err != nil {
			t.Errorf("size %d: %v", size, err)
		}
		b.Release(free)
	}
	eventually(t, func() bool { return b.held() == 0 }, "budget given back")
}

func TestBudgetIsGivenBack(t *testing.T) {
	b := &limit{max: 1 << 20}
	_, addr := startServer(t, ServerOptions{Handlers: echoHandlers(), Budget: b})
	ctx := testContext(t)
	c := dial(t, addr, ClientOptions{})
	out, in, err := c.RequestChannel(ctx, data("a"), 1000, ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 500 {
		if err := out.Send(ctx, NewPayload(make([]byte, 100), []byte("md"))); err != nil {
			t.Fatal(err)
		}
	}
	in.Cancel()
	eventually(t, func() bool { return b.most() > 0 }, "something charged")
	eventually(t, func() bool { return b.held() == 0 }, "budget given back")
}

// A payload over the limit is refused whether it comes in one frame or in fragments; the connection goes on.
func TestPayloadOverTheLimit(t *testing.T) {
	b, m := &limit{max: 1 << 20}, new(Metrics)
	h := echoHandlers()
	h.FireAndForget = func(_ context.Context, r *Request) { t.Errorf("%d bytes delivered", len(r.Data)) }
	_, addr := startServer(t, ServerOptions{Handlers: h, MaxPayload: 50 << 10, Budget: b, Metrics: m})
	ctx := testContext(t)
	for _, mtu := range []int{10 << 10, maxFrameSize} {
		for _, size := range []int{51 << 10, 200 << 10, 3 << 20} {
			c := dial(t, addr, ClientOptions{Limits: Limits{MTU: mtu}})
			p := Payload{Data: make([]byte, size)}
			var e *Error
			if _, err := c.RequestResponse(ctx, p); !errors.As(err, &e) || e.Code != CodeInvalid {
				t.Errorf("request of %d bytes, mtu %d: %v", size, mtu, err)
			}
			out, in, err := c.RequestChannel(ctx, data("a"), 1, ChannelOptions{})
			if err != nil {
				t.Fatal(err)
			}
			_ = out.Send(ctx, p) // may notice the end of the stream between fragments
			_, _ = in.Recv(ctx)  // the echo of the opening
			if _, err := in.Recv(ctx); !errors.As(err, &e) || e.Code != CodeInvalid {
				t.Errorf("channel with %d bytes, mtu %d: %v", size, mtu, err)
			}
			if err := c.FireAndForget(ctx, p); err != nil {
				t.Error(err)
			}
			if a, err := c.RequestResponse(ctx, data("x")); err != nil || string(a.Data) != "x" {
				t.Errorf("afterwards: %q %v", a.Data, err)
			}
		}
	}
	if n := m.FNFDropped.Load(); n != 6 {
		t.Errorf("%d of 6 counted as dropped", n)
	}
	if b.most() > 200<<10 {
		t.Errorf("%d bytes held at most", b.most())
	}
}

// A retained payload outlives its batch, byte for byte, and so does its charge.
func TestRetain(t *testing.T) {
	b := &limit{max: 1 << 20}
	result := make(chan error, 1)
	_, addr := startServer(t, ServerOptions{Budget: b, Handlers: Handlers{
		RequestChannel: func(ctx context.Context, _ *Request, in *Receiver, _ *Sender) (err error) {
			defer func() { result <- err }()
			in.Grant(1000)
			var batch Batch
			var kept []Retained
			for n := 0; n < 1000; n += len(batch.Payloads) {
				if err := in.RecvBatch(ctx, &batch); err != nil {
					return err
				}
				for i := range batch.Payloads {
					if (n+i)%100 == 0 {
						kept = append(kept, batch.Retain(i))
					}
				}
			}
			batch.Release()
			batch.Release()
			if held := b.held(); held != 10*100 {
				return fmt.Errorf("%d bytes held by 10 retained payloads", held)
			}
			for k, r := range kept {
				if want := bytes.Repeat([]byte{byte(k * 100 % 251)}, 100); !bytes.Equal(r.Data, want) {
					return fmt.Errorf("retained payload %d is % x", k, r.Data)
				}
				r.Release()
				r.Release()
			}
			return nil
		},
	}})
	c := dial(t, addr, ClientOptions{})
	ctx := testContext(t)
	out, _, err := c.RequestChannel(ctx, Payload{}, 1, ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if err := out.Send(ctx, Payload{Data: bytes.Repeat([]byte{byte(i % 251)}, 100)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-result; err != nil {
		t.Error(err)
	}
	if n := b.held(); n != 0 {
		t.Errorf("%d bytes held", n)
	}
}

// A payload is charged with its bytes exactly, however it arrived, and a detached batch leaves the charge to the caller.
func TestDetach(t *testing.T) {
	b := &limit{max: 8 << 20}
	charged := make(chan int, 1)
	_, addr := startServer(t, ServerOptions{Budget: b, Handlers: Handlers{
		RequestChannel: func(ctx context.Context, _ *Request, in *Receiver, _ *Sender) error {
			in.Grant(1)
			var batch Batch
			if err := in.RecvBatch(ctx, &batch); err != nil {
				return err
			}
			charged <- batch.Detach()
			batch.Release()
			return nil
		},
	}})
	ctx := testContext(t)
	for _, mtu := range []int{64, maxFrameSize} { // fragments; one frame, above the read buffer for the larger sizes
		c := dial(t, addr, ClientOptions{Limits: Limits{MTU: mtu}})
		for _, size := range []int{0, 10, 1000, 100_000, 1 << 20} {
			out, in, err := c.RequestChannel(ctx, Payload{}, 1, ChannelOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if err := out.Send(ctx, NewPayload(make([]byte, size), make([]byte, size/2))); err != nil {
				t.Fatal(err)
			}
			n := <-charged
			if want := size + size/2; n != want || b.held() != want {
				t.Errorf("mtu %d: %d charged and %d held, want %d", mtu, n, b.held(), want)
			}
			b.Release(n)
			if _, err := in.Recv(ctx); !errors.Is(err, io.EOF) {
				t.Error(err)
			}
		}
	}
}
