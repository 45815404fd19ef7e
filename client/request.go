package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"

	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// Request sends one payload and waits until its records are in the table. It has no identity: after an error that leaves
// the outcome open, such as a lost connection, sending it again may store it twice; a stream does not have that problem. A
// payload of which no record was taken is an error, an *rsocket.Error with the code INVALID and the reason.
func (c *Client) Request(ctx context.Context, data []byte) (Ack, error) {
	conn, err := c.conns.acquire(ctx)
	if err != nil {
		return Ack{}, fmt.Errorf("request: %w", err)
	}
	defer c.conns.release(conn, false)
	p, err := conn.RequestResponse(ctx, rsocket.NewPayload(data, c.routes.request))
	if err != nil {
		return Ack{}, fmt.Errorf("request: %w", err)
	}
	m, err := protocol.ParseMessage(p.Data)
	if err != nil || m.Type != protocol.TypeAck {
		return Ack{}, fmt.Errorf("request: %w: the answer is no ack: %.100q", ErrProtocol, p.Data)
	}
	ack := Ack{Sequence: m.Sequence, Records: m.Records, Version: m.Version}
	for _, r := range m.Rejected {
		ack.Rejected = append(ack.Rejected, Reject{Sequence: r.Sequence, Row: r.Row, Reason: r.Reason, Payload: data})
	}
	return ack, nil
}

// FireAndForget sends one payload without an answer. nil means that it was handed to the connection, no more; while the
// server is short of memory it stops reading, and then FireAndForget waits. Call Barrier before Close, which does not wait
// for a server that does not read.
func (c *Client) FireAndForget(ctx context.Context, data []byte) error {
	conn, err := c.conns.acquire(ctx)
	if err != nil {
		return fmt.Errorf("fire-and-forget: %w", err)
	}
	defer c.conns.release(conn, false)
	if err := conn.FireAndForget(ctx, rsocket.NewPayload(data, c.routes.fireAndForget)); err != nil {
		return fmt.Errorf("fire-and-forget: %w", err)
	}
	return nil
}

// Status are the flow figures of the pipeline on one server, as docs/protocol.md describes them.
type Status = protocol.PipelineStatus

// Status iterates over the server's figures, about one a second, until the caller stops, ctx ends or the connection is
// lost; the last two yield an error.
func (c *Client) Status(ctx context.Context) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		conn, err := c.conns.acquire(ctx)
		if err != nil {
			yield(Status{}, fmt.Errorf("status: %w", err))
			return
		}
		defer c.conns.release(conn, false)
		if err := watchStatus(ctx, conn, c.routes.status, yield); err != nil {
			yield(Status{}, fmt.Errorf("status: %w", err))
		}
	}
}

// watchStatus asks for one status after another, so that a slow caller holds the server back and misses none.
func watchStatus(ctx context.Context, conn *shared, metadata []byte, yield func(Status, error) bool) error {
	in, err := conn.RequestStream(ctx, rsocket.NewPayload(nil, metadata), 1)
	if err != nil {
		return err
	}
	defer in.Cancel()
	for {
		p, err := in.Recv(ctx)
		if completed(err) {
			return nil
		}
		if err != nil {
			return err
		}
		var s Status
		if err := json.Unmarshal(p.Data, &s); err != nil {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		if !yield(s, nil) {
			return nil
		}
		in.Grant(1)
	}
}

// barrierRoute is no route of a server: its refusal is the answer.
const barrierRoute = "ingest.barrier"

// Barrier waits until the server has taken in every FireAndForget that was sent before on this connection. A weir server
// handles the requests of a connection in order, so the answer to a later one, even a refusal, says so.
func (c *Client) Barrier(ctx context.Context) error {
	conn, err := c.conns.acquire(ctx)
	if err != nil {
		return fmt.Errorf("barrier: %w", err)
	}
	defer c.conns.release(conn, false)
	_, err = conn.RequestResponse(ctx, rsocket.NewPayload(nil, c.routes.barrier))
	if _, answered := errors.AsType[*rsocket.Error](err); err == nil || answered && !errors.Is(err, rsocket.ErrConnClosed) {
		return nil
	}
	return fmt.Errorf("barrier: %w", err)
}
