package matrix

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"

	"github.com/weir-dev/weir/rsocket"
)

var errBoom = rsocket.Errorf(rsocket.CodeApplicationError, "boom")

// record is what weir's responder has seen.
type record struct {
	mu sync.Mutex // guards s
	s  seen
}

func (r *record) update(fn func(*seen)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn(&r.s)
}

func (r *record) get() seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.s
}

// words splits the text of a request into its verb and number.
func words(data []byte) (verb string, n int) {
	fields := strings.Fields(string(data[:min(len(data), 40)]))
	if len(fields) == 0 {
		return "", 0
	}
	if len(fields) > 1 {
		n, _ = strconv.Atoi(fields[1]) // filler is not a number
	}
	return fields[0], n
}

func number(i int) rsocket.Payload {
	return rsocket.NewPayload(strconv.AppendInt(nil, int64(i), 10), nil)
}

// responder returns the handlers of the standard responder.
func (r *record) responder() rsocket.Handlers {
	return rsocket.Handlers{
		FireAndForget:   func(context.Context, *rsocket.Request) { r.update(func(s *seen) { s.Forgotten++ }) },
		MetadataPush:    func(context.Context, *rsocket.Conn, []byte) { r.update(func(s *seen) { s.Pushed++ }) },
		RequestResponse: r.respond,
		RequestStream:   r.stream,
		RequestChannel:  r.channel,
	}
}

func (r *record) respond(_ context.Context, req *rsocket.Request, reply *rsocket.Reply) {
	r.update(func(s *seen) { s.Requests++ })
	switch verb, _ := words(req.Data); verb {
	case "idle":
		go func() {
			<-req.Conn.Done()
			r.update(func(s *seen) { s.Closed++ })
		}()
		reply.Send(req.Payload) //nolint:errcheck // the requester sees it
	case "echo":
		reply.Send(req.Payload) //nolint:errcheck // the requester sees it
	case "auth":
		reply.Send(authorized(req)) //nolint:errcheck // the requester sees it
	case "never":
		go func() {
			<-reply.Done()
			r.update(func(s *seen) { s.Cancelled++ })
		}()
	default:
		reply.Error(errBoom) //nolint:errcheck // the requester sees it
	}
}

func authorized(req *rsocket.Request) rsocket.Payload {
	route, err := rsocket.Route(rsocket.MIMEComposite, req.Metadata)
	if err != nil {
		return rsocket.NewPayload([]byte(err.Error()), nil)
	}
	content, _, err := rsocket.FindComposite(req.Metadata, rsocket.MIMEAuthentication)
	if err != nil {
		return rsocket.NewPayload([]byte(err.Error()), nil)
	}
	auth, err := rsocket.ParseAuth(content)
	if err != nil {
		return rsocket.NewPayload([]byte(err.Error()), nil)
	}
	token, _ := auth.Bearer()
	return rsocket.NewPayload([]byte(route+"|"+token), nil)
}

func (r *record) stream(ctx context.Context, req *rsocket.Request, out *rsocket.Sender) error {
	verb, n := words(req.Data)
	for i := 0; verb == "endless" || i < n; i++ {
		if err := out.Send(ctx, number(i)); err != nil {
			if errors.Is(err, rsocket.ErrCanceled) || ctx.Err() != nil {
				r.update(func(s *seen) { s.Cancelled++ })
			}
			return err
		}
	}
	if verb == "fail" {
		return errBoom
	}
	return nil
}

// window is what weir's channels ask for at a time.
const window = 64

func (r *record) channel(ctx context.Context, req *rsocket.Request, in *rsocket.Receiver, out *rsocket.Sender) error {
	verb, n := words(req.Data)
	grant := window
	if verb == "slow" {
		grant = n
	}
	if verb == "down" {
		for i := range n {
			if err := out.Send(ctx, number(i)); err != nil {
				return err
			}
		}
		if err := out.Complete(); err != nil {
			return err
		}
	}
	count, sum := 0, 0
	defer func() { r.update(func(s *seen) { s.Inputs = count }) }()
	for in.Grant(grant); ; count++ {
		if verb == "fail" && count == n {
			return errBoom
		}
		if verb == "stop" && count == n {
			in.Cancel()
			return out.Send(ctx, rsocket.NewPayload([]byte("stopped"), nil))
		}
		p, err := in.Recv(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return r.inputError(err)
		}
		v, err := strconv.Atoi(string(p.Data))
		if err != nil {
			return fmt.Errorf("item: %w", err)
		}
		sum += v
		if count%grant == grant-1 {
			done := make(chan struct{})
			go func() { // another task, as a writer that has made room
				in.Grant(grant)
				close(done)
			}()
			<-done
		}
		if verb == "echo" {
			if err := out.Send(ctx, p); err != nil {
				return r.inputError(err)
			}
		}
	}
	if verb == "sum" || verb == "slow" {
		return out.Send(ctx, rsocket.NewPayload(fmt.Appendf(nil, "%d:%d", count, sum), nil))
	}
	return nil
}

// inputError records how a channel was ended by the requester.
func (r *record) inputError(err error) error {
	var e *rsocket.Error
	switch {
	case errors.As(err, &e):
		r.update(func(s *seen) { s.InputError = e.Message })
	case errors.Is(err, rsocket.ErrCanceled), errors.Is(err, context.Canceled):
		r.update(func(s *seen) { s.Cancelled++ })
	}
	return err
}
