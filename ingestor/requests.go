package ingestor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-dev/weir/ingestor/batch"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
	"github.com/weir-dev/weir/ingestor/transform"
	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// single is a payload without a stream: a request, a fire-and-forget, an HTTP body. Its bytes are charged to the pool
// already; they come back when it is settled.
type single struct {
	p        *Pipeline
	records  int64
	rejected []protocol.Reject
	done     func(o outcome) // must not block

	suspended *suspendedError // why the payload stopped the pipeline instead of being taken
}

// outcome is what became of a single payload.
type outcome struct {
	records  int64
	version  int64
	rejected []protocol.Reject
	err      error
}

// Settle implements [batch.Source].
func (s *single) Settle(part batch.Part, version int64, err error) {
	s.p.admit.pool.Release(int(part.Bytes))
	if err == nil && s.suspended != nil {
		err = s.suspended
	}
	s.done(outcome{records: s.records, version: version, rejected: s.rejected, err: err})
}

// appendSingle decodes data into the next shard's batch; done is called once it is settled, unless an error is returned.
// The caller has charged len(data) bytes to the pool, and takes them back itself after an error.
func (p *Pipeline) appendSingle(ctx context.Context, door string, mime event.MIME, data []byte, done func(outcome)) error {
	if err := p.set.Decode.FetchSchemas(ctx, mime, data); err != nil {
		return err
	}
	now := time.Now()
	s := &single{p: p, done: done}
	err := p.flusher.Shard().Append(ctx, now, func(dec *transform.Decoder) batch.Part {
		n, rejects := dec.Append(mime, data, decode.System{ReceivedMicros: now.UnixMicro()}, nil)
		if taps := p.taps.all.Load(); taps != nil {
			taps.payload(tapped{now, door, "", 0, mime, data}, rejects)
		}
		if len(rejects) > 0 && rejects[0].Suspend {
			s.suspended, rejects = &suspendedError{door + ": " + rejects[0].Reason}, nil
		}
		s.records = int64(n)
		for _, r := range rejects[:min(len(rejects), maxRejectBytes/64)] {
			s.rejected = append(s.rejected, protocol.Reject{Sequence: 1, Row: r.Row, Reason: r.Reason})
		}
		p.metrics.received(door, 1, int64(len(data)), s.records)
		p.metrics.rejected(door, len(rejects))
		return batch.Part{Source: s, Last: 1, Records: s.records, Bytes: int64(len(data))}
	})
	if s.suspended != nil {
		p.suspend(s.suspended)
	}
	return err
}

// charge takes n bytes for a payload that came without credit. When there are none, what the batch holds is committed at once
// instead of when it is old enough: admission sees to that only while channels are open.
func (p *Pipeline) charge(n int) bool {
	if p.admit.pool.TryTake(n) {
		return true
	}
	p.flusher.Hasten()
	return false
}

var errOverloaded = &rsocket.Error{Code: rsocket.CodeRejected, Message: "the pipeline holds as much as its memory budget allows: try again later, or use ingest.stream, which is paced by demand"}

// serveRequest handles ingest.request: one payload, answered by an ack after the commit.
func (p *Pipeline) serveRequest(ctx context.Context, r *rsocket.Request, reply *rsocket.Reply) {
	head, err := p.readOpening(r)
	switch {
	case err != nil:
		p.refuse(reply, asRSocket(err))
		return
	case p.closed() != nil:
		p.refuse(reply, &rsocket.Error{Code: rsocket.CodeRejected, Message: p.closed().Message})
		return
	case !p.charge(len(r.Data)):
		p.refuse(reply, errOverloaded)
		return
	}
	err = p.appendSingle(ctx, doorRequest, head.mime, r.Data, func(o outcome) { p.answer(reply, o) })
	if err != nil {
		p.admit.pool.Release(len(r.Data))
		p.refuse(reply, err)
	}
}

// answer sends the ack of a request. A payload of which nothing was taken is an error, so that a client that looks only
// at success and failure sees it. It does not wait for a slow client, which would hold up the commits of all: an ack that
// finds no room, and an error, has a goroutine until it is out or the connection ends.
func (p *Pipeline) answer(reply *rsocket.Reply, o outcome) {
	switch {
	case o.err != nil:
		p.answers.Go(func() {
			p.refuse(reply, &rsocket.Error{Code: rsocket.CodeApplicationError, Message: failure(o.err).Message})
		})
	case o.records == 0 && len(o.rejected) > 0:
		p.answers.Go(func() { p.refuse(reply, &rsocket.Error{Code: rsocket.CodeInvalid, Message: o.rejected[0].Reason}) })
	default:
		m := protocol.Message{
			Type: protocol.TypeAck, Level: protocol.LevelCommitted,
			Sequence: 1, Records: o.records, Version: o.version, Rejected: o.rejected,
		}
		ack := rsocket.Payload{Data: m.Append(nil)}
		if !reply.TrySend(ack) {
			p.answers.Go(func() { p.unanswered(reply.Send(ack)) })
		}
	}
}

// refuse answers a request with an error, once there is room for it.
func (p *Pipeline) refuse(reply *rsocket.Reply, e error) { p.unanswered(reply.Error(e)) }

// unanswered notes that a client was gone before its answer; its records are in the table all the same.
func (p *Pipeline) unanswered(err error) {
	if err != nil {
		p.log.Debug("a request was not answered", "error", err)
	}
}

// serveFireAndForget handles ingest.fire-forget. There is no answer: while memory is short the call waits, which holds
// the sender's connection back, and nothing is discarded but what can never be a record. What a connection has left in
// its queue when it ends is taken too, so the wait is bound to the pipeline's life and not to the connection's.
func (p *Pipeline) serveFireAndForget(_ context.Context, r *rsocket.Request) {
	ctx := p.life
	head, err := p.readOpening(r)
	if err == nil {
		if p.admit.pool.Over() {
			p.flusher.Hasten()
		}
		err = p.admit.pool.Await(ctx)
	}
	if err != nil {
		p.drop(err)
		return
	}
	n := int64(len(r.Data))
	p.admit.pool.Hold(n)
	err = p.appendSingle(ctx, doorFireAndForget, head.mime, r.Data, func(o outcome) {
		if o.err != nil {
			p.drop(o.err)
		} else if len(o.rejected) > 0 {
			p.limited.Warn("fire-and-forget rejected", "reason", o.rejected[0].Reason, "rows", len(o.rejected))
		}
	})
	if err != nil {
		p.admit.pool.Hold(-n)
		p.drop(err)
	}
}

// drop counts a fire-and-forget that did not make it.
func (p *Pipeline) drop(err error) {
	p.metrics.dropped.WithLabelValues(dropReason(err)).Inc()
	p.limited.Warn("fire-and-forget dropped", "error", err)
}

func dropReason(err error) string {
	switch {
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return "stopped"
	default:
		if _, ok := errors.AsType[*protocol.Error](err); ok {
			return "badHeader"
		}
		return "failed"
	}
}

// serveStatus handles status.watch: the flow figures of the pipeline, one JSON object a second while there is demand.
func (p *Pipeline) serveStatus(ctx context.Context, _ *rsocket.Request, out *rsocket.Sender) error {
	return p.watch(ctx, out, time.Second, func(context.Context) (b []byte, last bool, err error) {
		b, err = p.Status().JSON()
		return b, false, err
	})
}

// watch sends what say returns, once every period while there is demand, until say calls one the last. When the doors close it
// ends at once, so that watchers hold no shutdown up; who has demand gets one more.
func (p *Pipeline) watch(ctx context.Context, out *rsocket.Sender, every time.Duration, say func(context.Context) (b []byte, last bool, err error)) error {
	t := time.NewTicker(every)
	defer t.Stop()
	open, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(p.watching, cancel)
	defer stop()
	for {
		if err := out.AwaitCredit(open); err != nil && open.Err() == nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		b, last, err := say(ctx)
		if err != nil {
			return fmt.Errorf("watch: %w", err)
		}
		if open.Err() != nil {
			_ = out.TrySend(rsocket.Payload{Data: b}) // without demand there is nobody to tell
			return nil
		}
		if err := out.Send(open, rsocket.Payload{Data: b}); err != nil && open.Err() == nil || last {
			return err
		}
		select {
		case <-t.C:
		case <-open.Done():
		}
	}
}
