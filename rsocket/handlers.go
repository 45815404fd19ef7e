package rsocket

import (
	"context"
	"time"
)

// Request is the opening frame of a request. Its memory is valid until the handler returns; copy what must live longer.
type Request struct {
	Payload
	Conn     *Conn
	StreamID uint32
}

// Handlers is what a responder does. A nil handler means that the model is refused with ERROR[REJECTED] (fire-and-forget:
// counted in [Metrics.FNFDropped]). No handler runs on the connection's reader. A panic is recovered, counted and reported
// to the peer as ERROR[APPLICATION_ERROR].
type Handlers struct {
	// Setup decides on a client, before any other of its frames is read; an error refuses it with ERROR[REJECTED_SETUP], or with
	// the code of an *[Error] of a setup code. It may set info.Principal. ctx ends with the server's SetupTimeout.
	Setup func(ctx context.Context, info *ConnInfo) error

	// FireAndForget is called serially, in order, on one goroutine per connection, together with RequestResponse and
	// MetadataPush. While it blocks, its bounded queue fills up and then the connection is no longer read. KEEPALIVE frames
	// without the respond flag go on meanwhile, so that the peer does not give the connection up.
	FireAndForget func(ctx context.Context, r *Request)

	// RequestResponse is called like FireAndForget. It may answer at once or later, from any goroutine; it must answer, unless
	// ctx is done. Use [Blocking] for a goroutine per request.
	RequestResponse func(ctx context.Context, r *Request, reply *Reply)

	// RequestStream has a goroutine of its own. nil ends the stream with COMPLETE, an error with ERROR.
	RequestStream func(ctx context.Context, r *Request, out *Sender) error

	// RequestChannel has a goroutine of its own. The opening payload is in r and not in `in`. The peer may send nothing before
	// in.Grant. nil sends COMPLETE, unless that was done, and CANCEL of the input unless it has ended; an error sends ERROR.
	RequestChannel func(ctx context.Context, r *Request, in *Receiver, out *Sender) error

	// MetadataPush is called like FireAndForget. metadata is valid until it returns.
	MetadataPush func(ctx context.Context, c *Conn, metadata []byte)
}

// Blocking makes a RequestResponse handler that runs fn on a goroutine of its own per request.
func Blocking(fn func(ctx context.Context, r *Request) (Payload, error)) func(context.Context, *Request, *Reply) {
	return func(ctx context.Context, r *Request, reply *Reply) {
		own := &Request{Payload: r.Clone(), Conn: r.Conn, StreamID: r.StreamID}
		r.Conn.handlers.Go(func() {
			defer func() { reply.s.answerPanic(recover()) }()
			p, err := fn(ctx, own)
			if err != nil {
				_ = reply.Error(err) // fails only if nobody waits for it
				return
			}
			_ = reply.Send(p) // as above
		})
	}
}

// streamContext is the context of a handler: it ends with the stream. Its channel is made on demand.
type streamContext struct{ *stream }

// Deadline implements [context.Context]: there is none.
func (x streamContext) Deadline() (time.Time, bool) { return time.Time{}, false }

// Done implements [context.Context].
func (x streamContext) Done() <-chan struct{} {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.ctxDone == nil {
		x.ctxDone = make(chan struct{})
		if x.canceled {
			close(x.ctxDone)
		}
	}
	return x.ctxDone
}

// Err implements [context.Context].
func (x streamContext) Err() error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.canceled {
		return context.Canceled
	}
	return nil
}

// Value implements [context.Context] with the values of the server's context.
func (x streamContext) Value(key any) any { return x.c.ctx.Value(key) }
