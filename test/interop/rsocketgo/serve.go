package main

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/rsocket/rsocket-go"
	"github.com/rsocket/rsocket-go/payload"
	"github.com/rsocket/rsocket-go/rx"
	"github.com/rsocket/rsocket-go/rx/flux"
)

// serve runs an rsocket-go server, prints its address, and how many items the handler of its channel saw.
func serve(handler string) error {
	l, err := net.Listen("tcp", "127.0.0.1:0") // finds a free port, which rsocket-go does not tell
	if err != nil {
		return err
	}
	addr := l.Addr().String()
	l.Close()
	return rsocket.Receive().
		OnStart(func() { fmt.Println(addr) }).
		Acceptor(func(context.Context, payload.SetupPayload, rsocket.CloseableRSocket) (rsocket.RSocket, error) {
			return rsocket.NewAbstractSocket(rsocket.RequestChannel(func(in flux.Flux) flux.Flux {
				consumers[handler](in)
				return flux.Create(func(context.Context, flux.Sink) {}) // sends nothing and stays open
			})), nil
		}).
		Transport(rsocket.TCPServer().SetAddr(addr).Build()).
		Serve(context.Background())
}

var consumers = map[string]func(flux.Flux){
	"count":        func(flux.Flux) {},
	"asynchronous": asynchronous,
}

// asynchronous asks for one item at a time, each from another goroutine than the one that delivers: the way of any
// consumer that hands items to a writer.
func asynchronous(in flux.Flux) {
	items := make(chan struct{}, 1000)
	subscription := make(chan rx.Subscription, 1)
	in.Subscribe(context.Background(),
		rx.OnSubscribe(func(_ context.Context, s rx.Subscription) {
			s.Request(1)
			subscription <- s
		}),
		rx.OnNext(func(payload.Payload) error {
			items <- struct{}{}
			return nil
		}),
		rx.OnComplete(func() { close(items) }),
	)
	go demand(items, subscription)
}

func demand(items <-chan struct{}, subscription <-chan rx.Subscription) {
	s, got := <-subscription, 0
	defer func() { fmt.Println("received", got) }()
	for {
		select {
		case _, more := <-items:
			if !more {
				return
			}
			got++
			s.Request(1)
		case <-time.After(patience):
			return
		}
	}
}
