package matrix

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/weir-dev/weir/rsocket"
	"github.com/weir-dev/weir/test/harness"
)

// lab is what a cell works with.
type lab struct {
	req, resp implementation
	cert, key string // PEM files of a certificate for localhost
	long      bool
}

// features are the rows of the matrix, in order.
var features = []struct {
	name string
	run  func(context.Context, *lab) error
}{
	{"request-response", requestResponse},
	{"fire-and-forget", fireAndForget},
	{"request-stream", requestStream},
	{"request-channel", requestChannel},
	{"METADATA_PUSH", metadataPush},
	{"REQUEST_N: stream, 3 at a time, asynchronous", streamBatches},
	{"REQUEST_N: channel, requester's, 3 at a time", channelBatches},
	{"REQUEST_N: channel, responder's, 3 at a time", slowChannel},
	{"cancel: request", cancelledRequest},
	{"cancel: stream, by the requester", cancelledStream},
	{"cancel: channel, by the requester", cancelledChannel},
	{"cancel: channel, by the responder", stoppedChannel},
	{"error: request, stream, by the responder", failedRequests},
	{"error: channel, by the responder", failedChannel},
	{"error: channel, by the requester", failingChannel},
	{"half-close: the requester first", halfClosedFirst},
	{"half-close: the responder first", halfClosedLast},
	{"fragmentation: 60 KB", fragments(60_000, 1024)},
	{"fragmentation: 1 MB", fragments(1_000_000, 16<<10)},
	{"fragmentation: 40 MB", largest},
	{"composite metadata, routing, bearer", authorization},
	{"lease: fail fast", leasedFast},
	{"lease: waiting", leasedWaiting},
	{"lease: fire-and-forget", leasedForget},
	{"resume: stream, cut ten times", resumed(modelStream)},
	{"resume: channel, cut ten times", resumed(modelChannel)},
	{"keepalive loss: seen by the client", lostServer},
	{"keepalive loss: seen by the server", lostClient},
	{"WebSocket", over(overWS)},
	{"TLS", over(overTLS)},
}

// one serves, calls and fails unless the result is as wanted.
func (l *lab) one(ctx context.Context, c call, want result) error {
	port, err := l.resp.serve(ctx, serve{Transport: overTCP})
	if err != nil {
		return err
	}
	c.Transport, c.Port = overTCP, port
	got, err := l.req.call(ctx, c)
	if err != nil {
		return err
	}
	return same(got, want)
}

// same compares results; an error must only hold the text of the one wanted.
func same(got, want result) error {
	text := got.Error
	got.Error = want.Error
	if want.Error != "" && !strings.Contains(text, want.Error) || want.Error == "" && text != "" || got != want {
		got.Error = text
		return fmt.Errorf("got %+v, want %+v", got, want)
	}
	return nil
}

// await waits until the responder has seen it.
func (l *lab) await(ctx context.Context, ok func(seen) bool) error {
	var s seen
	err := harness.Poll(ctx, 10*time.Millisecond, func() (done bool, err error) {
		s, err = l.resp.seen(ctx)
		return ok(s), err
	})
	if err != nil {
		return fmt.Errorf("%w: the responder has seen %+v", err, s)
	}
	return nil
}

func requestResponse(ctx context.Context, l *lab) error {
	return l.one(ctx, call{Model: modelRequest, Data: "echo", N: 100}, result{Items: 100, Ordered: true, Last: "echo"})
}

func fireAndForget(ctx context.Context, l *lab) error {
	if err := l.one(ctx, call{Model: modelForget, Data: "one", N: 100}, result{Sent: 100}); err != nil {
		return err
	}
	return l.await(ctx, func(s seen) bool { return s.Forgotten == 100 })
}

func metadataPush(ctx context.Context, l *lab) error {
	if err := l.one(ctx, call{Model: modelPush}, result{}); err != nil {
		return err
	}
	return l.await(ctx, func(s seen) bool { return s.Pushed == 1 })
}

func requestStream(ctx context.Context, l *lab) error {
	return l.one(ctx, call{Model: modelStream, Data: "range 1000"}, result{Items: 1000, Ordered: true, Last: "999"})
}

func requestChannel(ctx context.Context, l *lab) error {
	return l.one(ctx, call{Model: modelChannel, Data: "echo", N: 1000}, result{Items: 1000, Ordered: true, Last: "999", Sent: 1000})
}

// streamBatches: weir ends a stream with an error when a responder sends more than it was granted.
func streamBatches(ctx context.Context, l *lab) error {
	return l.one(ctx, call{Model: modelStream, Data: "range 100", Grant: 3, Async: true}, result{Items: 100, Ordered: true, Last: "99"})
}

func channelBatches(ctx context.Context, l *lab) error {
	c := call{Model: modelChannel, Data: "echo", N: 100, Grant: 3, Async: true}
	return l.one(ctx, c, result{Items: 100, Ordered: true, Last: "99", Sent: 100})
}

func slowChannel(ctx context.Context, l *lab) error {
	return l.one(ctx, call{Model: modelChannel, Data: "slow 3", N: 100}, result{Items: 1, Last: "100:4950", Sent: 100})
}

func cancelledRequest(ctx context.Context, l *lab) error {
	port, err := l.resp.serve(ctx, serve{Transport: overTCP})
	if err != nil {
		return err
	}
	if _, err := l.req.call(ctx, call{Transport: overTCP, Port: port, Model: modelRequest, Data: "never", Cancel: 1}); err != nil {
		return err
	}
	return l.await(ctx, func(s seen) bool { return s.Cancelled > 0 })
}

func cancelledStream(ctx context.Context, l *lab) error {
	if err := l.one(ctx, call{Model: modelStream, Data: "endless", Grant: 3, Cancel: 100},
		result{Items: 100, Ordered: true, Last: "99"}); err != nil {
		return err
	}
	return l.await(ctx, func(s seen) bool { return s.Cancelled > 0 })
}

func cancelledChannel(ctx context.Context, l *lab) error {
	port, err := l.resp.serve(ctx, serve{Transport: overTCP})
	if err != nil {
		return err
	}
	c := call{Transport: overTCP, Port: port, Model: modelChannel, Data: "echo", N: 1 << 30, Grant: 3, Cancel: 100}
	got, err := l.req.call(ctx, c)
	if err != nil {
		return err
	}
	got.Sent, got.Stopped = 0, false // how far it was
	if err := same(got, result{Items: 100, Ordered: true, Last: "99"}); err != nil {
		return err
	}
	return l.await(ctx, func(s seen) bool { return s.Cancelled > 0 })
}

func stoppedChannel(ctx context.Context, l *lab) error {
	port, err := l.resp.serve(ctx, serve{Transport: overTCP})
	if err != nil {
		return err
	}
	c := call{Transport: overTCP, Port: port, Model: modelChannel, Data: "stop 5", N: 1 << 30}
	got, err := l.req.call(ctx, c)
	if err != nil {
		return err
	}
	if got.Sent < 5 {
		return fmt.Errorf("%d items sent before the cancellation", got.Sent)
	}
	got.Sent = 0
	return same(got, result{Items: 1, Last: "stopped", Stopped: true})
}

func failedRequests(ctx context.Context, l *lab) error {
	if err := l.one(ctx, call{Model: modelRequest, Data: "fail"}, result{Failed: 1, Error: "boom"}); err != nil {
		return fmt.Errorf("request: %w", err)
	}
	if err := l.one(ctx, call{Model: modelStream, Data: "fail 10"}, result{Items: 10, Ordered: true, Last: "9", Error: "boom"}); err != nil {
		return fmt.Errorf("stream: %w", err)
	}
	return nil
}

func failedChannel(ctx context.Context, l *lab) error {
	port, err := l.resp.serve(ctx, serve{Transport: overTCP})
	if err != nil {
		return err
	}
	got, err := l.req.call(ctx, call{Transport: overTCP, Port: port, Model: modelChannel, Data: "fail 10", N: 1 << 30})
	if err != nil {
		return err
	}
	got.Sent, got.Stopped = 0, false // it may learn of it later
	return same(got, result{Ordered: true, Error: "boom"})
}

func failingChannel(ctx context.Context, l *lab) error {
	port, err := l.resp.serve(ctx, serve{Transport: overTCP})
	if err != nil {
		return err
	}
	c := call{Transport: overTCP, Port: port, Model: modelChannel, Data: "sum", N: 10, Fail: true}
	if _, err := l.req.call(ctx, c); err != nil { // what a requester sees of its own error is not the protocol's
		return err
	}
	return l.await(ctx, func(s seen) bool { return strings.Contains(s.InputError, "boom") })
}

func halfClosedFirst(ctx context.Context, l *lab) error {
	return l.one(ctx, call{Model: modelChannel, Data: "sum", N: 1000}, result{Items: 1, Last: "1000:499500", Sent: 1000})
}

func halfClosedLast(ctx context.Context, l *lab) error {
	c := call{Model: modelChannel, Data: "down 10", N: 1000}
	if err := l.one(ctx, c, result{Items: 10, Ordered: true, Last: "9", Sent: 1000}); err != nil {
		return err
	}
	return l.await(ctx, func(s seen) bool { return s.Inputs == 1000 })
}

// fragments sends a payload there and back in fragments of at most mtu bytes, and looks at the frames.
func fragments(size, mtu int) func(context.Context, *lab) error {
	return func(ctx context.Context, l *lab) error {
		own, ok := l.resp.(*weir)
		if !ok {
			own = l.req.(*weir)
		}
		own.frames[rsocket.In].Store(0)
		own.frames[rsocket.Out].Store(0)
		port, err := l.resp.serve(ctx, serve{Transport: overTCP, MTU: mtu})
		if err != nil {
			return err
		}
		got, err := l.req.call(ctx, call{Transport: overTCP, Port: port, MTU: mtu, Model: modelRequest, Data: "echo", Size: size})
		if err != nil {
			return err
		}
		got.Last = ""
		return errors.Join(own.fragmented(mtu), same(got, result{Items: 1, Ordered: true}))
	}
}

func largest(ctx context.Context, l *lab) error { return fragments(40_000_000, 64<<10)(ctx, l) }

func authorization(ctx context.Context, l *lab) error {
	c := call{Model: modelRequest, Data: "auth", Route: "matrix.auth", Token: "token-1"}
	return l.one(ctx, c, result{Items: 1, Last: "matrix.auth|token-1"})
}

// leasedFast: three requests are allowed, so two of five fail at the requester.
func leasedFast(ctx context.Context, l *lab) error {
	port, err := l.resp.serve(ctx, serve{Transport: overTCP, Lease: 3})
	if err != nil {
		return err
	}
	got, err := l.req.call(ctx, call{Transport: overTCP, Port: port, Lease: leaseFast, Model: modelRequest, Data: "echo", N: 5})
	if err != nil {
		return err
	}
	s, err := l.resp.seen(ctx)
	if err != nil {
		return err
	}
	if got.Items != 3 || got.Failed != 2 || s.Requests != 3 {
		return fmt.Errorf("under a lease of 3 got %+v; the responder has seen %+v", got, s)
	}
	return nil
}

// leasedWaiting: two of five requests wait until there is another lease.
func leasedWaiting(ctx context.Context, l *lab) error {
	port, err := l.resp.serve(ctx, serve{Transport: overTCP, Lease: 3})
	if err != nil {
		return err
	}
	return l.whileWaiting(ctx, call{Port: port, Model: modelRequest, Data: "echo", N: 5},
		func(s seen) int { return s.Requests }, result{Items: 5, Ordered: true, Last: "echo"})
}

func leasedForget(ctx context.Context, l *lab) error {
	port, err := l.resp.serve(ctx, serve{Transport: overTCP, Lease: 3})
	if err != nil {
		return err
	}
	return l.whileWaiting(ctx, call{Port: port, Model: modelForget, Data: "one", N: 5},
		func(s seen) int { return s.Forgotten }, result{Sent: 5})
}

// whileWaiting makes a call of five requests under a lease of three, and gives the next lease when three have come.
func (l *lab) whileWaiting(ctx context.Context, c call, arrived func(seen) int, want result) error {
	c.Transport, c.Lease = overTCP, leaseWait
	type outcome struct {
		r   result
		err error
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan outcome, 1)
	go func() {
		r, err := l.req.call(ctx, c)
		ended <- outcome{r, err}
	}()
	err := l.await(ctx, func(s seen) bool { return arrived(s) >= 3 })
	if err == nil {
		var s seen
		if s, err = l.resp.seen(ctx); err == nil && arrived(s) != 3 {
			err = fmt.Errorf("under a lease of 3 the responder has seen %+v", s)
		}
	}
	if err == nil {
		err = l.resp.lease(ctx, 3)
	}
	if err != nil {
		cancel()
		<-ended
		return err
	}
	o := <-ended
	if o.err != nil {
		return o.err
	}
	if err := same(o.r, want); err != nil {
		return err
	}
	return l.await(ctx, func(s seen) bool { return arrived(s) == 5 })
}

// resumed runs a stream or channel through a proxy that cuts the connection ten times.
func resumed(model string) func(context.Context, *lab) error {
	return func(ctx context.Context, l *lab) error {
		n, every := 10_000, int64(10_000)
		if l.long {
			n, every = 100_000, 100_000
		}
		port, err := l.resp.serve(ctx, serve{Transport: overTCP, Resume: true})
		if err != nil {
			return err
		}
		p, err := newProxy(ctx, port, 10, every)
		if err != nil {
			return err
		}
		defer p.close()
		c := call{Transport: overTCP, Port: p.port(), Resume: true, Model: model, Grant: 100}
		want := result{Items: n, Ordered: true, Last: fmt.Sprint(n - 1)}
		if model == modelStream {
			c.Data = fmt.Sprintf("range %d", n)
		} else {
			c.Data, c.N, want.Sent = "echo", n, n
		}
		got, err := l.req.call(ctx, c)
		if err != nil {
			return fmt.Errorf("after %d cuts: %w", p.cuts.Load(), err)
		}
		if cuts := p.cuts.Load(); cuts != 10 {
			return fmt.Errorf("the connection was cut %d times, want 10: %+v", cuts, got)
		}
		return same(got, want)
	}
}

// lose opens an idle connection through a proxy that takes no bytes any more after the first request has come.
func (l *lab) lose(ctx context.Context, ok func(ended <-chan error) error) error {
	port, err := l.resp.serve(ctx, serve{Transport: overTCP})
	if err != nil {
		return err
	}
	p, err := newProxy(ctx, port, 0, 0)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan error, 1)
	var running sync.WaitGroup
	running.Go(func() {
		c := call{Transport: overTCP, Port: p.port(), KeepAlive: 100, Lifetime: 500, Model: modelIdle}
		got, err := l.req.call(ctx, c)
		if err == nil && !got.Closed {
			err = fmt.Errorf("the connection has not ended by itself: %+v", got)
		}
		ended <- err
	})
	err = l.await(ctx, func(s seen) bool { return s.Requests == 1 && p.back.Load() > 0 }) // it was answered
	if err == nil {
		p.frozen.Store(true)
		err = ok(ended)
	}
	p.close() // ends the call, if it has not ended
	if err != nil {
		cancel()
	}
	running.Wait()
	return err
}

func lostServer(ctx context.Context, l *lab) error {
	return l.lose(ctx, func(ended <-chan error) error { return <-ended })
}

func lostClient(ctx context.Context, l *lab) error {
	return l.lose(ctx, func(<-chan error) error {
		return l.await(ctx, func(s seen) bool { return s.Closed == 1 })
	})
}

// over runs a request, a stream and a channel over another transport.
func over(transport string) func(context.Context, *lab) error {
	return func(ctx context.Context, l *lab) error {
		port, err := l.resp.serve(ctx, serve{Transport: transport, Cert: l.cert, Key: l.key})
		if err != nil {
			return err
		}
		for _, c := range []struct {
			call call
			want result
		}{
			{call{Model: modelRequest, Data: "echo", Size: 10_000}, result{Items: 1, Ordered: true}},
			{call{Model: modelStream, Data: "range 1000", Grant: 7}, result{Items: 1000, Ordered: true}},
			{call{Model: modelChannel, Data: "echo", N: 1000, Grant: 7}, result{Items: 1000, Ordered: true, Sent: 1000}},
		} {
			c.call.Transport, c.call.Port, c.call.Cert = transport, port, l.cert
			got, err := l.req.call(ctx, c.call)
			if err == nil {
				got.Last = ""
				err = same(got, c.want)
			}
			if err != nil {
				return fmt.Errorf("%s: %w", c.call.Model, err)
			}
		}
		return nil
	}
}
