package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"sync/atomic"

	"github.com/weir-dev/weir/rsocket"
)

// credit is how many payloads a receiver allows at once, in every stack that has such a thing.
const credit = 2000

// weirServe counts what comes in. The data of a stream's opening frame says how many payloads of what size to send.
func weirServe(ctx context.Context, ln net.Listener) error {
	var forgotten atomic.Int64
	s := rsocket.NewServer(rsocket.ServerOptions{Handlers: rsocket.Handlers{
		FireAndForget: func(context.Context, *rsocket.Request) { forgotten.Add(1) },
		RequestResponse: func(_ context.Context, r *rsocket.Request, reply *rsocket.Reply) {
			if len(r.Data) == 1 { // how many were forgotten
				_ = reply.Send(rsocket.Payload{Data: binary.BigEndian.AppendUint64(nil, uint64(forgotten.Swap(0)))})
				return
			}
			_ = reply.Send(r.Payload)
		},
		RequestStream: weirDown,
		RequestChannel: func(ctx context.Context, _ *rsocket.Request, in *rsocket.Receiver, out *rsocket.Sender) error {
			n, err := weirCount(ctx, in)
			if err != nil {
				return err
			}
			return out.Send(ctx, rsocket.Payload{Data: binary.BigEndian.AppendUint64(nil, uint64(n))})
		},
	}})
	return s.Serve(ctx, ln)
}

// weirCount takes payloads until the end, granting anew when half of the credit is used.
func weirCount(ctx context.Context, in *rsocket.Receiver) (int, error) {
	in.Grant(credit)
	var b rsocket.Batch
	n, used := 0, 0
	for {
		if err := in.RecvBatch(ctx, &b); err != nil {
			if errors.Is(err, io.EOF) {
				return n, nil
			}
			return n, err
		}
		k := len(b.Payloads)
		n += k
		if used += k; used >= credit/2 {
			in.Grant(used)
			used = 0
		}
		b.Release()
	}
}

func weirDown(ctx context.Context, r *rsocket.Request, out *rsocket.Sender) error {
	n, size := int(binary.BigEndian.Uint32(r.Data)), int(binary.BigEndian.Uint32(r.Data[4:]))
	run := make([]rsocket.Payload, 256)
	for i := range run {
		run[i].Data = make([]byte, size)
	}
	for n > 0 {
		k, err := out.SendBatch(ctx, run[:min(n, len(run))])
		if err != nil {
			return err
		}
		n -= k
	}
	return nil
}

type weirClient struct{ *rsocket.Conn }

func weirDial(ctx context.Context, addr string) (client, error) {
	c, err := rsocket.Dial(ctx, "tcp", addr, rsocket.ClientOptions{})
	return weirClient{c}, err
}

func wantCount(b []byte, n int) error {
	if len(b) != 8 || binary.BigEndian.Uint64(b) != uint64(n) {
		return fmt.Errorf("the server counted %x, want %d", b, n)
	}
	return nil
}

func (c weirClient) up(ctx context.Context, n int, payload []byte) error {
	out, in, err := c.RequestChannel(ctx, rsocket.Payload{}, 1, rsocket.ChannelOptions{})
	if err != nil {
		return err
	}
	run := make([]rsocket.Payload, 256)
	for i := range run {
		run[i].Data = payload
	}
	for left := n; left > 0; {
		k, err := out.SendBatch(ctx, run[:min(left, len(run))])
		if err != nil {
			return err
		}
		left -= k
	}
	if err := out.Complete(); err != nil {
		return err
	}
	answer, err := in.Recv(ctx)
	if err != nil {
		return err
	}
	return wantCount(answer.Data, n)
}

func (c weirClient) forget(ctx context.Context, n int, payload []byte) error {
	p := rsocket.Payload{Data: payload}
	for range n {
		if err := c.FireAndForget(ctx, p); err != nil {
			return err
		}
	}
	answer, err := c.RequestResponse(ctx, rsocket.Payload{Data: []byte{0}})
	if err != nil {
		return err
	}
	return wantCount(answer.Data, n)
}

func (c weirClient) down(ctx context.Context, n, size int) error {
	ask := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(n)), uint32(size))
	in, err := c.RequestStream(ctx, rsocket.Payload{Data: ask}, 1)
	if err != nil {
		return err
	}
	in.Grant(credit - 1)
	var b rsocket.Batch
	got, used := 0, 0
	for {
		if err := in.RecvBatch(ctx, &b); err != nil {
			if errors.Is(err, io.EOF) && got == n {
				return nil
			}
			return fmt.Errorf("%d of %d received: %w", got, n, err)
		}
		k := len(b.Payloads)
		got += k
		if used += k; used >= credit/2 {
			in.Grant(used)
			used = 0
		}
		b.Release()
	}
}

func (c weirClient) respond(ctx context.Context, n, inFlight int, payload []byte) error {
	return inParallel(n, inFlight, func() error {
		_, err := c.RequestResponse(ctx, rsocket.Payload{Data: payload})
		return err
	})
}

// inParallel does work n times on inFlight goroutines.
func inParallel(n, inFlight int, work func() error) error {
	var left atomic.Int64
	left.Store(int64(n))
	errs := make(chan error, inFlight)
	var wg sync.WaitGroup
	for range inFlight {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if err := work(); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}
