package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/rsocket/rsocket-go"
	"github.com/rsocket/rsocket-go/core/transport"
	"github.com/rsocket/rsocket-go/extension"
	"github.com/rsocket/rsocket-go/payload"
	"github.com/rsocket/rsocket-go/rx"
	"github.com/rsocket/rsocket-go/rx/flux"
)

// result is what came of a call.
type result struct {
	Items   int    `json:"items"`
	Ordered bool   `json:"ordered"`
	Last    string `json:"last"`
	Error   string `json:"error"`
	Failed  int    `json:"failed"`
	Sent    int    `json:"sent"`
	Stopped bool   `json:"stopped"`
	Closed  bool   `json:"closed"`
}

func call(c *command) (result, error) {
	t, err := dial(c)
	if err != nil {
		return result{}, err
	}
	closed := make(chan error, 10)
	builder := rsocket.Connect().
		MetadataMimeType(extension.MessageCompositeMetadata.String()).
		OnClose(func(err error) { closed <- err })
	if c.MTU > 0 {
		builder = builder.Fragment(c.MTU)
	}
	if c.KeepAlive > 0 {
		builder = builder.KeepAlive(time.Duration(c.KeepAlive)*time.Millisecond, time.Duration(c.Lifetime)*time.Millisecond, 1)
	}
	if c.Resume {
		builder = builder.Resume()
	}
	if c.leased() != "" {
		builder = builder.Lease()
	}
	starter := builder.Transport(t)
	client, err := starter.Start(context.Background())
	for range 3 { // it fails at times with "short write", for a reason of its own
		if err != nil {
			client, err = starter.Start(context.Background())
		}
	}
	if err != nil {
		return result{}, err
	}
	defer client.Close()
	var r result
	switch c.Model {
	case "rr":
		requests(client, c, &r)
	case "fnf":
		for range c.N {
			client.FireAndForget(opening(c))
		}
		r.Sent = c.N
		echo(client)
	case "stream":
		receive(client.RequestStream(opening(c)), c, &r)
	case "channel":
		channel(client, c, &r)
	case "push":
		client.MetadataPush(payload.New(nil, []byte("pushed")))
		echo(client)
	default:
		client.RequestResponse(payload.NewString("idle", "")).Block(context.Background())
		r.Error = fmt.Sprint(<-closed)
		r.Closed = true
	}
	return r, nil
}

func dial(c *command) (transport.ClientTransporter, error) {
	switch c.Transport {
	case "ws":
		return rsocket.WebsocketClient().SetURL(fmt.Sprintf("ws://127.0.0.1:%d/", c.Port)).Build(), nil
	case "tls":
		pem, err := os.ReadFile(c.Cert)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		return rsocket.TCPClient().SetHostAndPort("127.0.0.1", c.Port).SetTLSConfig(&tls.Config{RootCAs: roots, ServerName: "localhost"}).Build(), nil
	default:
		return rsocket.TCPClient().SetHostAndPort("127.0.0.1", c.Port).Build(), nil
	}
}

func echo(client rsocket.Client) {
	client.RequestResponse(payload.NewString("echo", "")).Block(context.Background())
}

func opening(c *command) payload.Payload {
	data := []byte(c.Data)
	if len(data) < c.Size {
		data = append(data, ' ')
	}
	for i := len(data); i < c.Size; i++ {
		data = append(data, 'a'+byte(i%26))
	}
	if c.Route == "" {
		return payload.New(data, nil)
	}
	route, err := extension.EncodeRouting(c.Route)
	if err != nil {
		panic(err)
	}
	md, err := extension.NewCompositeMetadataBuilder().
		PushWellKnown(extension.MessageRouting, route).
		PushWellKnown(extension.MessageAuthentication, extension.MustNewAuthentication("bearer", []byte(c.Token)).Bytes()).
		Build()
	if err != nil {
		panic(err)
	}
	return payload.New(data, md)
}

func requests(client rsocket.Client, c *command, r *result) {
	if c.Cancel > 0 {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			client.RequestResponse(opening(c)).Block(ctx)
			close(done)
		}()
		echo(client)
		cancel()
		<-done
		echo(client)
		return
	}
	p := opening(c)
	type answer struct {
		p   payload.Payload
		err error
	}
	n := max(c.N, 1)
	answers := make(chan answer, n)
	ask := func() error {
		a, err := client.RequestResponse(p).Block(context.Background())
		answers <- answer{a, err}
		return err
	}
	for i := range n {
		switch {
		case c.leased() == "wait":
			go ask()
		case c.leased() == "fast" && i == 0: // there is no sign of the first lease but a request that succeeds
			for ask() != nil {
				<-answers
			}
		default:
			ask()
		}
	}
	for range n {
		a := <-answers
		if a.err != nil {
			r.Failed, r.Error = r.Failed+1, a.err.Error()
			continue
		}
		r.Items, r.Last, r.Ordered = r.Items+1, start(a.p), bytes.Equal(a.p.Data(), p.Data())
	}
}

// receive takes items until the end, or cancels, and asks for more from another goroutine.
func receive(items flux.Flux, c *command, r *result) {
	ended := make(chan struct{})
	r.Ordered = true
	var subscription rx.Subscription
	items.DoFinally(func(rx.SignalType) { close(ended) }).Subscribe(context.Background(),
		rx.OnSubscribe(func(_ context.Context, s rx.Subscription) {
			subscription = s
			if c.Grant > 0 {
				s.Request(c.Grant)
			} else {
				s.Request(1<<31 - 1)
			}
		}),
		rx.OnNext(func(p payload.Payload) error {
			r.Ordered = r.Ordered && p.DataUTF8() == strconv.Itoa(r.Items)
			r.Items, r.Last = r.Items+1, start(p)
			switch {
			case r.Items == c.Cancel:
				subscription.Cancel()
			case c.Grant > 0 && r.Items%c.Grant == 0 && c.Async:
				go subscription.Request(c.Grant)
			case c.Grant > 0 && r.Items%c.Grant == 0:
				subscription.Request(c.Grant)
			}
			return nil
		}),
		rx.OnError(func(err error) { r.Error = err.Error() }),
	)
	<-ended
}

func channel(client rsocket.Client, c *command, r *result) {
	var sent atomic.Int64
	var stopped atomic.Bool
	var end error
	if c.Fail {
		end = errBoom
	}
	first, ended := opening(c), make(chan struct{})
	items := numbers(c.N+1, end, func(n int) { sent.Store(int64(n - 1)) }, func() { stopped.Store(true) }).
		DoFinally(func(rx.SignalType) { close(ended) }).
		Map(func(p payload.Payload) (payload.Payload, error) {
			n, err := strconv.Atoi(p.DataUTF8())
			if err != nil || n == 0 {
				return first, err
			}
			return number(n - 1), nil
		})
	if c.Fail { // what becomes of the answers is not asked
		go receive(client.RequestChannel(items), c, &result{})
		<-ended
		echo(client)
		return
	}
	receive(client.RequestChannel(items), c, r)
	switch {
	case c.Cancel > 0:
		echo(client)
	case r.Error == "":
		<-ended
	}
	r.Sent, r.Stopped = int(sent.Load()), stopped.Load()
}
