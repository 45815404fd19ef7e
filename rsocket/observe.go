package rsocket

import (
	"context"
	"errors"
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
			inner := reply.end
			reply.end = func(err error) {
				end(err)
				if inner != nil {
					inner(err)
				}
			}
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
