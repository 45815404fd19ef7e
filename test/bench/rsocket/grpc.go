package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/encoding"
)

// The grpc-go stack sends the bytes as they are, with a codec that copies nothing: no Protobuf in between.

type bytesCodec struct{}

func (bytesCodec) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (bytesCodec) Unmarshal(b []byte, v any) error {
	*v.(*[]byte) = b
	return nil
}
func (bytesCodec) Name() string { return "bytes" }

func init() { encoding.RegisterCodec(bytesCodec{}) }

var grpcService = grpc.ServiceDesc{
	ServiceName: "bench", HandlerType: (*any)(nil),
	Methods: []grpc.MethodDesc{{MethodName: "respond", Handler: func(_ any, _ context.Context, dec func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
		var b []byte
		err := dec(&b)
		return &b, err
	}}},
	Streams: []grpc.StreamDesc{
		{StreamName: "up", ClientStreams: true, ServerStreams: true, Handler: grpcUp},
		{StreamName: "down", ServerStreams: true, Handler: grpcDown},
	},
}

func grpcUp(_ any, s grpc.ServerStream) error {
	for n := uint64(0); ; n++ {
		var b []byte
		if err := s.RecvMsg(&b); errors.Is(err, io.EOF) {
			answer := binary.BigEndian.AppendUint64(nil, n)
			return s.SendMsg(&answer)
		} else if err != nil {
			return err
		}
	}
}

func grpcDown(_ any, s grpc.ServerStream) error {
	var ask []byte
	if err := s.RecvMsg(&ask); err != nil {
		return err
	}
	b := make([]byte, binary.BigEndian.Uint32(ask[4:]))
	for range binary.BigEndian.Uint32(ask) {
		if err := s.SendMsg(&b); err != nil {
			return err
		}
	}
	return nil
}

func grpcServe(_ context.Context, ln net.Listener) error {
	s := grpc.NewServer()
	s.RegisterService(&grpcService, nil)
	return s.Serve(ln)
}

type grpcClient struct{ *grpc.ClientConn }

func grpcDial(_ context.Context, addr string) (client, error) {
	c, err := grpc.NewClient(addr, grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.CallContentSubtype("bytes")))
	return grpcClient{c}, err
}

func (c grpcClient) up(ctx context.Context, n int, payload []byte) error {
	s, err := c.NewStream(ctx, &grpcService.Streams[0], "/bench/up")
	if err != nil {
		return err
	}
	for range n {
		if err := s.SendMsg(&payload); err != nil {
			return err
		}
	}
	if err := s.CloseSend(); err != nil {
		return err
	}
	var answer []byte
	if err := s.RecvMsg(&answer); err != nil {
		return err
	}
	return wantCount(answer, n)
}

func (c grpcClient) down(ctx context.Context, n, size int) error {
	s, err := c.NewStream(ctx, &grpcService.Streams[1], "/bench/down")
	if err != nil {
		return err
	}
	ask := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, uint32(n)), uint32(size))
	if err := errors.Join(s.SendMsg(&ask), s.CloseSend()); err != nil {
		return err
	}
	for got := 0; ; got++ {
		var b []byte
		if err := s.RecvMsg(&b); errors.Is(err, io.EOF) && got == n {
			return nil
		} else if err != nil {
			return fmt.Errorf("%d of %d received: %w", got, n, err)
		}
	}
}

func (c grpcClient) respond(ctx context.Context, n, inFlight int, payload []byte) error {
	return inParallel(n, inFlight, func() error {
		var answer []byte
		return c.Invoke(ctx, "/bench/respond", &payload, &answer)
	})
}

func (grpcClient) forget(context.Context, int, []byte) error { return errNotOffered }
