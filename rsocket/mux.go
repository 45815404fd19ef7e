package rsocket

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
)

// Mux routes requests by their first routing tag. Register all routes before [Mux.Handlers] is called. The zero value is
// ready.
type Mux struct {
	// Setup and MetadataPush go into the Handlers as they are.
	Setup        func(ctx context.Context, info *ConnInfo) error
	MetadataPush func(ctx context.Context, c *Conn, metadata []byte)
	// Logger is told of fire-and-forget without a known route; nil: silent.
	Logger *slog.Logger

	fnf      map[string]func(context.Context, *Request)
	response map[string]func(context.Context, *Request, *Reply)
	stream   map[string]func(context.Context, *Request, *Sender) error
	channel  map[string]func(context.Context, *Request, *Receiver, *Sender) error
	unrouted atomic.Int64
}

// HandleFireAndForget registers a handler as in [Handlers.FireAndForget].
func (m *Mux) HandleFireAndForget(route string, fn func(ctx context.Context, r *Request)) {
	put(&m.fnf, route, fn)
}

// HandleRequest registers a handler as in [Handlers.RequestResponse].
func (m *Mux) HandleRequest(route string, fn func(ctx context.Context, r *Request, reply *Reply)) {
	put(&m.response, route, fn)
}

// HandleStream registers a handler as in [Handlers.RequestStream].
func (m *Mux) HandleStream(route string, fn func(ctx context.Context, r *Request, out *Sender) error) {
	put(&m.stream, route, fn)
}

// HandleChannel registers a handler as in [Handlers.RequestChannel].
func (m *Mux) HandleChannel(route string, fn func(ctx context.Context, r *Request, in *Receiver, out *Sender) error) {
	put(&m.channel, route, fn)
}

func put[F any](routes *map[string]F, route string, fn F) {
	if *routes == nil {
		*routes = make(map[string]F)
	}
	(*routes)[route] = fn
}

// Unrouted counts fire-and-forget requests without a known route.
func (m *Mux) Unrouted() int64 { return m.unrouted.Load() }

// Handlers returns the routing handlers. A request without a known route gets ERROR[REJECTED], which names the routes of its
// model; fire-and-forget is counted and logged.
func (m *Mux) Handlers() Handlers {
	return Handlers{
		Setup: m.Setup, MetadataPush: m.MetadataPush,
		FireAndForget: m.serveFNF, RequestResponse: m.serveRequest, RequestStream: m.serveStream, RequestChannel: m.serveChannel,
	}
}

// find looks the handler of a request up.
func find[F any](routes map[string]F, r *Request) (F, *Error) {
	var none F
	tag, err := routeTag(r.Conn.info.MetadataMIME, r.Metadata)
	if err != nil {
		return none, &Error{Code: CodeInvalid, Message: err.Error()}
	}
	if fn, ok := routes[string(tag)]; ok {
		return fn, nil
	}
	return none, unknownRoute(routes, string(tag))
}

func unknownRoute[F any](routes map[string]F, tag string) *Error {
	known := make([]string, 0, len(routes))
	for k := range routes {
		known = append(known, k)
	}
	slices.Sort(known)
	what := "no route given"
	if tag != "" {
		what = "unknown route " + strings.ToValidUTF8(tag, "?")
	}
	if len(known) == 0 {
		return Errorf(CodeRejected, "%s; this interaction model has no routes here", what)
	}
	return Errorf(CodeRejected, "%s; known: %s", what, strings.Join(known, ", "))
}

func (m *Mux) serveFNF(ctx context.Context, r *Request) {
	fn, e := find(m.fnf, r)
	if e != nil {
		m.unrouted.Add(1)
		if m.Logger != nil {
			m.Logger.Warn("fire-and-forget without a handler", "conn", r.Conn.info.ID, "reason", e.Message)
		}
		return
	}
	fn(ctx, r)
}

func (m *Mux) serveRequest(ctx context.Context, r *Request, reply *Reply) {
	fn, e := find(m.response, r)
	if e != nil {
		_ = reply.Error(e) // fails only if nobody waits for it
		return
	}
	fn(ctx, r, reply)
}

func (m *Mux) serveStream(ctx context.Context, r *Request, out *Sender) error {
	fn, e := find(m.stream, r)
	if e != nil {
		return e
	}
	return fn(ctx, r, out)
}

func (m *Mux) serveChannel(ctx context.Context, r *Request, in *Receiver, out *Sender) error {
	fn, e := find(m.channel, r)
	if e != nil {
		return e
	}
	return fn(ctx, r, in, out)
}
