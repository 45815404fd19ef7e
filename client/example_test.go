package client_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/weir-dev/weir/client"
)

// A producer that waits while the buffer is full, and learns what became of its events.
func Example() {
	if err := produce(context.Background()); err != nil {
		panic(err)
	}
}

func produce(ctx context.Context) (err error) {
	c, err := client.Dial(ctx, "localhost:7000", client.Options{Producer: "checkout"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close(ctx)) }()
	var refused []error
	s, err := c.OpenStream(ctx, client.StreamOptions{
		OnReject: func(r client.Reject) { refused = append(refused, fmt.Errorf("%s: %s", r.Payload, r.Reason)) },
	})
	if err != nil {
		return err
	}
	for i := range 1000 {
		if _, err := s.Send(ctx, fmt.Appendf(nil, `{"order":%d,"amount":12.5}`, i)); err != nil {
			return err
		}
	}
	unacked, err := s.Close(ctx) // waits for the acks
	if err != nil {
		return fmt.Errorf("%d orders may be missing: %w", len(unacked), err)
	}
	return errors.Join(refused...)
}
