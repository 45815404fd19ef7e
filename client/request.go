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
//
// Of a cluster the pod is picked by what is pending on it. A refusal, after which nothing is stored, is tried again on
// another pod while there is one that has not refused.
func (c *Client) Request(ctx context.Context, data []byte) (Ack, error) {
	p, err := c.ask(ctx, data)
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

// ask sends one request and returns the answer.
func (c *Client) ask(ctx context.Context, data []byte) (rsocket.Payload, error) {
	tries := 1
	if c.pool != nil {
		tries = max(1, len(c.pool.Snapshot().Nodes))
	}
	for {
		conn, err := c.acquire(ctx)
		if err != nil {
			return rsocket.Payload{}, err
		}
		p, err := conn.RequestResponse(ctx, rsocket.NewPayload(data, c.routes.request))
		conn.done(err)
		tries--
		if refused, ok := errors.AsType[*rsocket.Error](err); !ok || refused.Code != rsocket.CodeRejected || tries <= 0 {
			return p, err
		}
	}
}

// use is a connection for one request. done gives it back, with what became of the request; over does for what has no answer
// of which the time would say anything.
type use struct {
	*rsocket.Conn
	done func(err error)
	over func()
}

// acquire returns a connection for one request: the only one, or that of a pod that is picked.
func (c *Client) acquire(ctx context.Context) (use, error) {
	if c.pool == nil {
		s, err := c.conns.share(ctx)
		if err != nil {
			return use{}, err
		}
		over := func() { c.conns.release(s, false) }
		return use{s.Conn, func(error) { over() }, over}, nil
	}
	n, conn, err := c.pool.Pick(ctx)
	if err != nil {
		return use{}, err
	}
	began := c.pool.Now()
	n.Load.Begin(1)
	return use{conn, func(err error) {
		now := c.pool.Now()
		n.Load.End(1)
		if err != nil {
			n.Load.Fail(now)
		} else {
			n.Load.Observe(now-began, now)
		}
	}, func() { n.Load.End(1) }}, nil
}

// FireAndForget sends one payload without an answer. nil means that it was handed to the connection, no more; while the
// server is short of memory it stops reading, and then FireAndForget waits. Call Barrier before Close, which does not wait
// for a server that does not read.
func (c *Client) FireAndForget(ctx context.Context, data []byte) error {
	conn, err := c.acquire(ctx)
	if err != nil {
		return fmt.Errorf("fire-and-forget: %w", err)
	}
	err = conn.FireAndForget(ctx, rsocket.NewPayload(data, c.routes.fireAndForget))
	conn.done(err)
	if err != nil {
		return fmt.Errorf("fire-and-forget: %w", err)
	}
	return nil
}

// Status are the flow figures of the pipeline on one server, as docs/protocol.md describes them.
type Status = protocol.PipelineStatus

// Status iterates over the figures of the server, of a cluster those of one of its pods, about one a second, until the caller stops, ctx ends or the connection is
// lost; the last two yield an error.
func (c *Client) Status(ctx context.Context) iter.Seq2[Status, error] {
	return func(yield func(Status, error) bool) {
		conn, err := c.acquire(ctx)
		if err != nil {
			yield(Status{}, fmt.Errorf("status: %w", err))
			return
		}
		err = watchStatus(ctx, conn.Conn, c.routes.status, yield)
		conn.over()
		if err != nil {
			yield(Status{}, fmt.Errorf("status: %w", err))
		}
	}
}

// watchStatus asks for one status after another, so that a slow caller holds the server back and misses none.
func watchStatus(ctx context.Context, conn *rsocket.Conn, metadata []byte, yield func(Status, error) bool) error {
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
// handles the requests of a connection in order, so the answer to a later one, even a refusal, says so. Of a cluster every pod
// is asked; what was sent over a connection that was lost since is not known of.
func (c *Client) Barrier(ctx context.Context) error {
	if c.pool != nil {
		var errs []error
		for _, n := range c.pool.Snapshot().Nodes {
			if conn := n.Conn(); conn != nil {
				errs = append(errs, c.barrier(ctx, conn))
			}
		}
		return errors.Join(errs...)
	}
	conn, err := c.conns.share(ctx)
	if err != nil {
		return fmt.Errorf("barrier: %w", err)
	}
	defer c.conns.release(conn, false)
	return c.barrier(ctx, conn.Conn)
}

func (c *Client) barrier(ctx context.Context, conn *rsocket.Conn) error {
	_, err := conn.RequestResponse(ctx, rsocket.NewPayload(nil, c.routes.barrier))
	if _, answered := errors.AsType[*rsocket.Error](err); err == nil || answered && !errors.Is(err, rsocket.ErrConnClosed) {
		return nil
	}
	return fmt.Errorf("barrier: %w", err)
}
