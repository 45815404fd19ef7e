package rsocket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/weir-dev/weir/rsocket"
)

// serve starts a server in memory. A real one passes a listener of package net, or of crypto/tls, to Serve.
func serve(o rsocket.ServerOptions) (l *rsocket.MemoryListener, stop func()) {
	l = rsocket.NewMemoryListener()
	s := rsocket.NewServer(o)
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), l) }()
	return l, func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := s.Shutdown(ctx); err != nil {
			panic(err)
		}
		if err := <-served; !errors.Is(err, rsocket.ErrServerClosed) {
			panic(err)
		}
	}
}

func connect(l *rsocket.MemoryListener, o rsocket.ClientOptions) *rsocket.Conn {
	nc, err := l.Dial(context.Background())
	if err != nil {
		panic(err)
	}
	c, err := rsocket.NewClient(nc, o)
	if err != nil {
		panic(err)
	}
	return c
}

// numbers streams 1 to 12.
func numbers(ctx context.Context, _ *rsocket.Request, out *rsocket.Sender) error {
	for i := 1; i <= 12; i++ {
		if err := out.Send(ctx, rsocket.Payload{Data: fmt.Append(nil, i)}); err != nil {
			return err
		}
	}
	return nil
}

// Batches of five: the peer sends no more than was granted.
func ExampleReceiver_Grant() {
	l, stop := serve(rsocket.ServerOptions{Handlers: rsocket.Handlers{RequestStream: numbers}})
	defer stop()
	c := connect(l, rsocket.ClientOptions{})
	defer c.Close()
	ctx := context.Background()
	r, err := c.RequestStream(ctx, rsocket.Payload{}, 5)
	if err != nil {
		fmt.Println(err)
		return
	}
	n := 0
	for p, err := range r.All(ctx) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Print(string(p.Data), " ")
		if n++; n%5 == 0 {
			fmt.Println("| five more, please")
			r.Grant(5)
		}
	}
	fmt.Println("| done")
	// Output:
	// 1 2 3 4 5 | five more, please
	// 6 7 8 9 10 | five more, please
	// 11 12 | done
}

// A stream goes on through a cut connection.
func ExampleClientResume() {
	l, stop := serve(rsocket.ServerOptions{
		Handlers: rsocket.Handlers{RequestStream: numbers},
		Resume:   &rsocket.ResumeOptions{Window: time.Minute},
	})
	defer stop()
	var transport rsocket.Transport
	dial := func(ctx context.Context) (rsocket.Transport, error) {
		nc, err := l.Dial(ctx)
		transport = nc
		return nc, err
	}
	nc, err := dial(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	c, err := rsocket.NewClient(nc, rsocket.ClientOptions{Resume: &rsocket.ClientResume{Redial: dial, MinBackoff: time.Millisecond}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	ctx := context.Background()
	r, err := c.RequestStream(ctx, rsocket.Payload{}, 4)
	if err != nil {
		fmt.Println(err)
		return
	}
	for n := 1; ; n++ {
		p, err := r.Recv(ctx)
		if errors.Is(err, io.EOF) {
			fmt.Println("| done")
			return
		}
		fmt.Print(string(p.Data), " ")
		if n == 4 {
			_ = transport.Close()
			fmt.Print("| cut | ")
		}
		if n%4 == 0 {
			r.Grant(4)
		}
	}
	// Output: 1 2 3 4 | cut | 5 6 7 8 9 10 11 12 | done
}

// A requester whose requests wait for the responder's lease.
func ExampleRequesterLeases() {
	conns := make(chan *rsocket.Conn, 1)
	l, stop := serve(rsocket.ServerOptions{
		Handlers: rsocket.Handlers{RequestResponse: rsocket.Blocking(func(_ context.Context, r *rsocket.Request) (rsocket.Payload, error) {
			return rsocket.Payload{Data: append([]byte("served "), r.Data...)}, nil
		})},
		Leases: func(*rsocket.ConnInfo) rsocket.LeaseSource {
			return rsocket.LeaseFunc(func(c *rsocket.Conn) { conns <- c })
		},
	})
	defer stop()
	c := connect(l, rsocket.ClientOptions{Lease: &rsocket.RequesterLeases{Queue: 10}})
	defer c.Close()
	answers := make(chan string, 1)
	go func() {
		p, err := c.RequestResponse(context.Background(), rsocket.Payload{Data: []byte("the first")})
		answers <- fmt.Sprint(string(p.Data), " ", err)
	}()
	responder := <-conns
	fmt.Println("no lease yet:", len(answers), "answers")
	if err := responder.SendLease(rsocket.Lease{TTL: time.Minute, Requests: 1}); err != nil {
		fmt.Println(err)
	}
	fmt.Println(<-answers)
	// Output:
	// no lease yet: 0 answers
	// served the first <nil>
}

// Routing by composite metadata.
func ExampleMux() {
	var m rsocket.Mux
	m.HandleRequest("greet", func(_ context.Context, r *rsocket.Request, reply *rsocket.Reply) {
		_ = reply.Send(rsocket.Payload{Data: append([]byte("hello "), r.Data...)})
	})
	l, stop := serve(rsocket.ServerOptions{Handlers: m.Handlers()})
	defer stop()
	c := connect(l, rsocket.ClientOptions{})
	defer c.Close()
	route := func(name string) []byte {
		return rsocket.AppendComposite(nil, rsocket.MIMERouting, rsocket.AppendRoute(nil, name))
	}
	for _, name := range []string{"greet", "grete"} {
		p, err := c.RequestResponse(context.Background(), rsocket.NewPayload([]byte("world"), route(name)))
		fmt.Println(string(p.Data), err)
	}
	// Output:
	// hello world <nil>
	//  rsocket: REJECTED: unknown route grete; known: greet
}
