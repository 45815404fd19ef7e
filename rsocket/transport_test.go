package rsocket

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

// pipes is a transport that is no net.Conn, has no deadlines and no addresses.
type pipes struct {
	*io.PipeReader
	*io.PipeWriter
}

func (p pipes) Close() error { return errors.Join(p.PipeReader.Close(), p.PipeWriter.Close()) }

func (pipes) LocalAddr() net.Addr  { return nil }
func (pipes) RemoteAddr() net.Addr { return nil }

func (pipes) SetReadDeadline(time.Time) error  { return errors.ErrUnsupported }
func (pipes) SetWriteDeadline(time.Time) error { return errors.ErrUnsupported }

func newPipes() (near, far pipes) {
	var a, b pipes
	a.PipeReader, b.PipeWriter = io.Pipe()
	b.PipeReader, a.PipeWriter = io.Pipe()
	return a, b
}

// Any transport will do: all models work over it, and both ends are told of its end.
func TestAnyTransport(t *testing.T) {
	near, far := newPipes()
	s := NewServer(ServerOptions{Handlers: echoHandlers()})
	s.ServeConn(far)
	c, err := NewClient(near, ClientOptions{})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := c.RequestResponse(t.Context(), data("hello"))
	if err != nil || string(answer.Data) != "hello" {
		t.Errorf("%q %v", answer.Data, err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
}
