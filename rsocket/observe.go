package rsocket

import (
	"context"
	"errors"
	"io"
)

var errPanicked = errors.New("rsocket: handler panicked")

// Observer is told of every request a responder serves, for metrics and traces. It returns the context for the handler and
// a function that is called once, at the end, with the error of the handler; either may be nil. It runs where the handler
// runs.
type Observer func(ctx context.Context, model FrameType, r *Request) (context.Context, func(error))

// Observe wraps handlers so that o is told of every request. Several observers are added by calling it several times; the
// last one added is the outermost. A request-response ends when it is answered, or, after a cancellation, when the handler
// tries to answer.
func Observe(h Handlers, o Observer) Handlers {
	w := h
	if h.FireAndForget != nil {
		w.FireAndForget = func(ctx context.Context, r *Request) {
			ctx, end := o.begin(ctx, FrameRequestFNF, r)
			err := errPanicked
			defer func() { end(err) }()
			h.FireAndForget(ctx, r)
			err = nil
		}
	}
	if h.RequestResponse != nil {
		w.RequestResponse = func(ctx context.Context, r *Request, reply *Reply) {
			ctx, end := o.begin(ctx, FrameRequestResponse, r)
			inner := reply.end.Load()
			both := func(err error) {
				end(err)
				if inner != nil {
					(*inner)(err)
				}
			}
			reply.end.Store(&both)
			h.RequestResponse(ctx, r, reply)
		}
	}
	if h.RequestStream != nil {
		w.RequestStream = func(ctx context.Context, r *Request, out *Sender) (err error) {
			ctx, end := o.begin(ctx, FrameRequestStream, r)
			err = errPanicked
			defer func() { end(err) }()
			err = h.RequestStream(ctx, r, out)
			return err
		}
	}
	if h.RequestChannel != nil {
		w.RequestChannel = func(ctx context.Context, r *Request, in *Receiver, out *Sender) (err error) {
			ctx, end := o.begin(ctx, FrameRequestChannel, r)
			err = errPanicked
			defer func() { end(err) }()
			err = h.RequestChannel(ctx, r, in, out)
			return err
		}
	}
	return w
}

// RequestObserver is told of every request a requester makes, for metrics and traces, before it is sent and on the caller's
// goroutine. It may change p, to send a trace in its metadata. The function it returns, which may be nil, is called once: when
// the request could not be sent, when a fire-and-forget was handed to the connection, and else when the caller learns of the
// end from the Receiver or cancels. Its error is nil after a regular end. A caller that abandons a Receiver without cancelling it
// is not told of.
type RequestObserver func(ctx context.Context, model FrameType, p *Payload) (end func(error))

// observed calls the observer of requests, if there is one. It returns what to send.
func (c *Conn) observed(ctx context.Context, typ FrameType, p Payload) (Payload, func(error)) {
	if c.observer == nil {
		return p, nil
	}
	changed := p // only this copy is on the heap
	end := c.observer(ctx, typ, &changed)
	return changed, end
}

// tellEnd tells the observer that the caller has learned of the end of s, once.
func (s *stream) tellEnd(err error) {
	if s.c.observer == nil {
		return
	}
	s.mu.Lock()
	end := s.observed
	s.observed = nil
	s.mu.Unlock()
	if end == nil {
		return
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	end(err)
}

func (o Observer) begin(ctx context.Context, model FrameType, r *Request) (context.Context, func(error)) {
	inner, end := o(ctx, model, r)
	if inner == nil {
		inner = ctx
	}
	if end == nil {
		end = func(error) {}
	}
	return inner, end
}
