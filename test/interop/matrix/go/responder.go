package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/rsocket/rsocket-go"
	"github.com/rsocket/rsocket-go/core/transport"
	"github.com/rsocket/rsocket-go/extension"
	"github.com/rsocket/rsocket-go/lease"
	"github.com/rsocket/rsocket-go/payload"
	"github.com/rsocket/rsocket-go/rx"
	"github.com/rsocket/rsocket-go/rx/flux"
	"github.com/rsocket/rsocket-go/rx/mono"
)

var errBoom = errors.New("boom")

type peer struct {
	record *record
	stop   func()
	leases chan int
}

// leases is a factory of the leases that the test asks for.
type leases struct{ requests <-chan int }

func (l leases) Next(ctx context.Context) (chan lease.Lease, bool) {
	out := make(chan lease.Lease)
	go func() {
		defer close(out)
		for {
			select {
			case n := <-l.requests:
				out <- lease.Lease{TimeToLive: time.Minute, NumberOfRequests: uint32(n)}
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, true
}

func (p *peer) serve(c *command) (int, error) {
	p.stop()
	p.record = &record{m: map[string]any{}}
	rec := p.record
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if c.Transport == "tls" {
		cert, err := tls.LoadX509KeyPair(c.Cert, c.Key)
		if err != nil {
			return 0, err
		}
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}})
	}
	builder := rsocket.Receive()
	if c.MTU > 0 {
		builder = builder.Fragment(c.MTU)
	}
	if c.Resume {
		builder = builder.Resume()
	}
	if n, _ := strconv.Atoi(string(c.Lease)); n > 0 {
		p.leases = make(chan int, 2)
		p.leases <- n
		builder = builder.Lease(leases{p.leases})
	}
	ctx, cancel := context.WithCancel(context.Background())
	p.stop = cancel
	listen := func(context.Context) (net.Listener, error) { return l, nil }
	started := make(chan struct{})
	go builder.
		OnStart(func() { close(started) }).
		Acceptor(func(_ context.Context, _ payload.SetupPayload, socket rsocket.CloseableRSocket) (rsocket.RSocket, error) {
			socket.OnClose(func(error) { rec.tally("closed") })
			return rec.responder(), nil
		}).
		Transport(func(context.Context) (transport.ServerTransport, error) {
			if c.Transport == "ws" {
				return transport.NewWebsocketServerTransport(listen, "/", nil), nil
			}
			return transport.NewTCPServerTransport(listen), nil
		}).
		Serve(ctx)
	<-started
	return port, nil
}

func words(p payload.Payload) (verb string, n int) {
	fields := strings.Fields(start(p))
	if len(fields) > 1 {
		n, _ = strconv.Atoi(fields[1])
	}
	return fields[0], n
}

func (r *record) responder() rsocket.RSocket {
	return rsocket.NewAbstractSocket(
		rsocket.FireAndForget(func(payload.Payload) { r.tally("fnf") }),
		rsocket.MetadataPush(func(payload.Payload) { r.tally("push") }),
		rsocket.RequestResponse(func(p payload.Payload) mono.Mono {
			r.tally("requests")
			p = payload.Clone(p)
			switch verb, _ := words(p); verb {
			case "echo", "idle":
				return mono.Just(p)
			case "auth":
				return mono.Just(payload.NewString(authorized(p), ""))
			case "never":
				return mono.Create(func(ctx context.Context, _ mono.Sink) { <-ctx.Done() }).
					DoOnCancel(func() { r.tally("cancelled") })
			default:
				return mono.Error(errBoom)
			}
		}),
		rsocket.RequestStream(func(p payload.Payload) flux.Flux {
			verb, n := words(p)
			if verb == "endless" {
				n = 1 << 30
			}
			var end error
			if verb == "fail" {
				end = errBoom
			}
			return numbers(n, end, func(int) {}, func() { r.tally("cancelled") })
		}),
		rsocket.RequestChannel(func(in flux.Flux) flux.Flux { return r.channel(in) }),
	)
}

func authorized(p payload.Payload) string {
	md, _ := p.Metadata()
	var route, token string
	for s := extension.NewCompositeMetadataBytes(md).Scanner(); s.Scan(); {
		mime, content, err := s.Metadata()
		if err != nil {
			return err.Error()
		}
		switch mime {
		case extension.MessageRouting.String():
			if tags, err := extension.ParseRoutingTags(content); err == nil {
				route = tags[0]
			}
		case extension.MessageAuthentication.String():
			if auth, err := extension.ParseAuthentication(content); err == nil {
				token = string(auth.Payload())
			}
		}
	}
	return route + "|" + token
}

// credit is what was asked for and not yet given.
type credit struct {
	mu   sync.Mutex // guards n
	n    int
	more chan struct{}
}

func (c *credit) add(n int) {
	c.mu.Lock()
	c.n = min(c.n+n, 1<<31-1)
	c.mu.Unlock()
	select {
	case c.more <- struct{}{}:
	default:
	}
}

func (c *credit) take(stop <-chan struct{}) bool {
	for {
		c.mu.Lock()
		ok := c.n > 0
		if ok {
			c.n--
		}
		c.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-c.more:
		case <-stop:
			return false
		}
	}
}

// numbers gives the numbers below n as they are asked for, and then completes, or fails with end.
func numbers(n int, end error, sent func(int), cancelled func()) flux.Flux {
	c, stopped := &credit{more: make(chan struct{}, 1)}, make(chan struct{})
	return flux.Create(func(ctx context.Context, s flux.Sink) {
		go func() {
			for i := range n {
				if !c.take(stopped) {
					return
				}
				s.Next(number(i))
				sent(i + 1)
			}
			if end != nil {
				s.Error(end)
			} else {
				s.Complete()
			}
		}()
	}).DoOnRequest(c.add).DoFinally(func(signal rx.SignalType) {
		close(stopped)
		if signal == rx.SignalCancel {
			cancelled()
		}
	})
}

// channel takes what comes in; the first payload says what to do.
func (r *record) channel(in flux.Flux) flux.Flux {
	return in.SwitchOnFirst(func(first flux.Signal, all flux.Flux) flux.Flux {
		p, ok := first.Value()
		if !ok {
			return flux.Error(errors.New("no opening"))
		}
		if verb, _ := words(p); verb == "echo" {
			return r.echo(all)
		}
		return r.consume(all)
	})
}

// echo is what the library is made for: a chain of operators.
func (r *record) echo(all flux.Flux) flux.Flux {
	opening := true
	return all.
		Filter(func(payload.Payload) bool {
			was := opening
			opening = false
			return !was
		}).
		Map(func(p payload.Payload) (payload.Payload, error) { return payload.Clone(p), nil }).
		DoOnError(func(err error) { r.set("inputError", err.Error()) }).
		DoFinally(func(signal rx.SignalType) {
			if signal == rx.SignalCancel {
				r.tally("cancelled")
			}
		})
}

func (r *record) consume(in flux.Flux) flux.Flux {
	out := &credit{more: make(chan struct{}, 1)}
	stopped := make(chan struct{})
	return flux.Create(func(_ context.Context, s flux.Sink) {
		c := &channelIn{record: r, sink: s, credit: out, stopped: stopped}
		in.Subscribe(context.Background(),
			rx.OnSubscribe(func(_ context.Context, su rx.Subscription) {
				c.subscription = su
				su.Request(1)
			}),
			rx.OnNext(c.next),
			rx.OnComplete(c.complete),
			rx.OnError(func(err error) { r.set("inputError", err.Error()) }),
		)
	}).DoOnRequest(out.add).DoFinally(func(signal rx.SignalType) {
		close(stopped)
		if signal == rx.SignalCancel {
			r.tally("cancelled")
		}
	})
}

type channelIn struct {
	record       *record
	sink         flux.Sink
	credit       *credit
	stopped      chan struct{}
	subscription rx.Subscription

	verb       string
	n          int
	grant      int
	count, sum int
}

func (c *channelIn) next(p payload.Payload) error {
	if c.verb == "" {
		c.verb, c.n = words(p)
		c.grant = 64
		if c.verb == "slow" {
			c.grant = c.n
		}
		if c.verb == "down" {
			for i := range c.n {
				c.sink.Next(number(i))
			}
			c.sink.Complete()
		}
		c.subscription.Request(c.grant)
		return nil
	}
	v, err := strconv.Atoi(p.DataUTF8())
	if err != nil {
		return err
	}
	c.count, c.sum = c.count+1, c.sum+v
	switch {
	case c.verb == "fail" && c.count == c.n:
		c.sink.Error(errBoom)
		return nil
	case c.verb == "stop" && c.count == c.n:
		c.subscription.Cancel()
		c.sink.Next(payload.NewString("stopped", ""))
		c.sink.Complete()
		return nil
	}
	switch {
	case c.count%c.grant != 0:
	case c.verb == "slow":
		go c.subscription.Request(c.grant)
	default:
		c.subscription.Request(c.grant)
	}
	return nil
}

func (c *channelIn) complete() {
	c.record.set("inputs", c.count)
	if c.verb == "sum" || c.verb == "slow" {
		c.sink.Next(payload.NewString(fmt.Sprintf("%d:%d", c.count, c.sum), ""))
	}
	if c.verb != "down" {
		c.sink.Complete()
	}
}
