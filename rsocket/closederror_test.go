package rsocket

import (
	"context"
	"errors"
	"io"
	"testing"
)

// TestALostConnectionIsNoRegularEnd: io.EOF says that the peer completed, so the end of a connection must not be it,
// although that is what the socket said.
func TestALostConnectionIsNoRegularEnd(t *testing.T) {
	received := make(chan error, 1)
	c := pair(t, Handlers{RequestChannel: func(ctx context.Context, _ *Request, in *Receiver, _ *Sender) error {
		in.Grant(10)
		for {
			if _, err := in.Recv(ctx); err != nil {
				received <- err
				return err
			}
		}
	}})
	out, in, err := c.RequestChannel(t.Context(), Payload{}, 1, ChannelOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := out.Send(t.Context(), Payload{Data: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-received; errors.Is(err, io.EOF) {
		t.Errorf("the responder takes a lost connection for COMPLETE: %v", err)
	}
	if _, err := in.Recv(t.Context()); !errors.Is(err, ErrConnClosed) || errors.Is(err, io.EOF) {
		t.Errorf("the requester got %v", err)
	}
}
