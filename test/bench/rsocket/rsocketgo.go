package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"

	rs "github.com/rsocket/rsocket-go"
	"github.com/rsocket/rsocket-go/logger"
	"github.com/rsocket/rsocket-go/payload"
	"github.com/rsocket/rsocket-go/rx"
	"github.com/rsocket/rsocket-go/rx/flux"
	"github.com/rsocket/rsocket-go/rx/mono"
)

// It logs every frame that it drops; here only the figures count.
func init() { logger.SetLogger(nil) }

// rsocketGoServe serves on the port of ln, which it has to open by itself.
func rsocketGoServe(ctx context.Context, ln net.Listener) error {
	addr := ln.Addr().String()
	if err := ln.Close(); err != nil {
		return err
	}
	var forgotten atomic.Int64
	handlers := rs.NewAbstractSocket(
		rs.FireAndForget(func(payload.Payload) { forgotten.Add(1) }),
		rs.RequestResponse(func(p payload.Payload) mono.Mono {
			if len(p.Data()) == 1 {
				return mono.Just(payload.New(binary.BigEndian.AppendUint64(nil, uint64(forgotten.Load())), nil))
			}
			return mono.Just(payload.New(append([]byte(nil), p.Data()...), nil))
		}),
		rs.RequestStream(func(p payload.Payload) flux.Flux {
			n, data := binary.BigEndian.Uint32(p.Data()), make([]byte, binary.BigEndian.Uint32(p.Data()[4:]))
			return flux.Create(func(_ context.Context, s flux.Sink) {
				for range n {
					s.Next(payload.New(data, nil))
				}
				s.Complete()
			})
		}),
		rs.RequestChannel(func(in flux.Flux) flux.Flux {
			done := make(chan uint64, 1)
			var n uint64
			in.Subscribe(ctx, rx.OnNext(func(payload.Payload) error { n++; return nil }), rx.OnComplete(func() { done <- n }))
			return flux.Create(func(_ context.Context, s flux.Sink) {
				s.Next(payload.New(binary.BigEndian.AppendUint64(nil, <-done), nil))
				s.Complete()
			})
		}),
	)
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return err
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		return err
	}
	return rs.Receive().Acceptor(func(context.Context, payload.SetupPayload, rs.CloseableRSocket) (rs.RSocket, error) {
		return handlers, nil
	}).Transport(rs.TCPServer().SetHostAndPort(host, number).Build()).Serve(ctx)
}

type rsocketGoClient struct {
	c         rs.Client
	forgotten uint64
}

func rsocketGoDial(ctx context.Context, addr string) (client, error) {
	var c rs.Client
	err := retry(ctx, func() (err error) {
		c, err = rs.Connect().Transport(rs.TCPClient().SetAddr(addr).Build()).Start(ctx)
		return err
	})
	return &rsocketGoClient{c: c}, err
}

func (c *rsocketGoClient) up(ctx context.Context, n int, data []byte) error {
	// The first payload opens the channel; it counts.
	in := c.c.RequestChannel(flux.Create(func(_ context.Context, s flux.Sink) {
		for range n {
			s.Next(payload.New(data, nil))
		}
		s.Complete()
	}))
	answer, err := in.BlockFirst(ctx)
	if err != nil {
		return err
	}
	return wantCount(answer.Data(), n)
}

func (c *rsocketGoClient) forget(ctx context.Context, n int, data []byte) error {
	for range n {
		c.c.FireAndForget(payload.New(data, nil))
	}
	c.forgotten += uint64(n)
	for { // its requests overtake each other
		answer, err := c.c.RequestResponse(payload.New([]byte{0}, nil)).Block(ctx)
		if err != nil {
			return err
		}
		if binary.BigEndian.Uint64(answer.Data()) == c.forgotten {
			return nil
		}
	}
}

func (c *rsocketGoClient) down(ctx context.Context, n, size int) error {
	ask := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(n)), uint32(size))
	got := 0
	_, err := c.c.RequestStream(payload.New(ask, nil)).DoOnNext(func(payload.Payload) error { got++; return nil }).BlockLast(ctx)
	if err == nil && got != n {
		err = fmt.Errorf("%d of %d received", got, n)
	}
	return err
}

func (c *rsocketGoClient) respond(ctx context.Context, n, inFlight int, data []byte) error {
	return inParallel(n, inFlight, func() error {
		_, err := c.c.RequestResponse(payload.New(data, nil)).Block(ctx)
		return err
	})
}

func (c *rsocketGoClient) Close() error { return c.c.Close() }
