package client

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// BenchmarkSend sends 1 KiB payloads over TCP loopback to a server that only counts, grants and acknowledges; its work is
// part of the figures.
func BenchmarkSend(b *testing.B) {
	addr := countingServer(b)
	for name, send := range map[string]func(s *Stream, data []byte) error{
		"one": func(s *Stream, data []byte) error { _, err := s.Send(context.Background(), data); return err },
		"batch100": func() func(s *Stream, data []byte) error {
			var batch [][]byte
			return func(s *Stream, data []byte) error {
				if batch = append(batch, data); len(batch) < 100 {
					return nil
				}
				_, err := s.SendBatch(context.Background(), batch)
				batch = batch[:0]
				return err
			}
		}(),
	} {
		b.Run(name, func(b *testing.B) {
			c, err := Dial(b.Context(), addr, Options{})
			if err != nil {
				b.Fatal(err)
			}
			s, err := c.OpenStream(b.Context(), StreamOptions{})
			if err != nil {
				b.Fatal(err)
			}
			data := make([]byte, 1024)
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				if err := send(s, data); err != nil {
					b.Fatal(err)
				}
			}
			if _, err := s.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
			if err := c.Close(context.Background()); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// BenchmarkBuffer is the part of a Send that is the buffer's: push, take and free.
func BenchmarkBuffer(b *testing.B) {
	buf, w := newBuffer(Buffer{Records: 100_000, Bytes: 64 << 20}), newWindow()
	data := make([]byte, 1024)
	run := make([]rsocket.Payload, 0, runLength)
	b.ReportAllocs()
	for b.Loop() {
		buf.push(data)
		if buf.waiting() == runLength {
			run = buf.take(&w, run[:0], runLength)
			buf.ack(&w, w.wired-10_000)
		}
	}
}

// countingServer acknowledges every batch it receives.
func countingServer(b *testing.B) (addr string) {
	b.Helper()
	mux := new(rsocket.Mux)
	mux.HandleChannel(protocol.RouteStream, func(ctx context.Context, _ *rsocket.Request, in *rsocket.Receiver, out *rsocket.Sender) error {
		const credit = 20_000
		m := protocol.Message{Type: protocol.TypeOpened, Epoch: 1, ResumeFrom: 1}
		if err := out.Send(ctx, rsocket.Payload{Data: m.Append(nil)}); err != nil {
			return err
		}
		in.Grant(credit)
		m = protocol.Message{Type: protocol.TypeAck, Level: protocol.LevelCommitted}
		var batch rsocket.Batch
		for granted := 0; ; {
			err := in.RecvBatch(ctx, &batch)
			if err == nil {
				m.Sequence += int64(len(batch.Payloads))
				granted += len(batch.Payloads)
			}
			if granted >= credit/4 || err != nil {
				in.Grant(granted)
				granted = 0
				if sendErr := out.Send(ctx, rsocket.Payload{Data: m.Append(nil)}); sendErr != nil {
					return sendErr
				}
			}
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
		}
	})
	l, err := new(net.ListenConfig).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	srv := rsocket.NewServer(rsocket.ServerOptions{Handlers: mux.Handlers()})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(context.Background(), l) }()
	b.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = srv.Shutdown(ctx) // nothing is left on it
		if err := <-served; !errors.Is(err, rsocket.ErrServerClosed) {
			b.Error(err)
		}
	})
	return l.Addr().String()
}
