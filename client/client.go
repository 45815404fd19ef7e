package client

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// maxAnswer bounds an answer of the server, in bytes; acks name at most some 64 KiB of rejects.
const maxAnswer = 4 << 20

// Client is a producer's connection to one pipeline. Its methods may be called from any goroutine.
type Client struct {
	o     Options
	addr  string
	conns conns

	// Metadata that routes requests.
	routes struct{ stream, request, fireAndForget, status, barrier []byte }

	mu      sync.Mutex         // guards streams
	streams map[string]*Stream // open ones by name; nil while one is being opened
}

// Dial connects to target, "host:port" or "weir://host:port/pipeline". The pipeline may be left out if the server runs only
// one. Dial tries once; a connection that is lost later is made again as streams and requests need it.
func Dial(ctx context.Context, target string, o Options) (*Client, error) {
	addr, pipeline, err := parseTarget(target)
	if err != nil {
		return nil, err
	}
	if o, err = o.withDefaults(randomID); err != nil {
		return nil, err
	}
	c := &Client{o: o, addr: addr, streams: map[string]*Stream{}}
	c.route(pipeline)
	c.conns.dial = c.dial
	conn, err := c.conns.acquire(ctx)
	if err != nil {
		return nil, err
	}
	c.conns.release(conn, false)
	return c, nil
}

func randomID() (string, error) { return protocol.NewID(rand.Read) }

func (c *Client) dial(ctx context.Context) (*rsocket.Conn, error) {
	nc, err := c.o.DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return rsocket.NewClient(nc, rsocket.ClientOptions{
		DataMIME: c.o.MIME, KeepAlive: c.o.KeepAlive, MaxLifetime: c.o.MaxLifetime,
		Limits: rsocket.Limits{MaxPayload: maxAnswer},
	})
}

// route prepares the metadata of all routes: bare, or those of a pipeline.
func (c *Client) route(pipeline string) {
	if pipeline != "" {
		pipeline += "."
	}
	metadata := func(route string) []byte {
		return rsocket.AppendComposite(nil, rsocket.MIMERouting, rsocket.AppendRoute(nil, pipeline+route))
	}
	c.routes.stream, c.routes.request = metadata(protocol.RouteStream), metadata(protocol.RouteRequest)
	c.routes.fireAndForget, c.routes.status = metadata(protocol.RouteFireAndForget), metadata(protocol.RouteStatus)
	c.routes.barrier = metadata(barrierRoute)
}

// Incarnation returns the id under which this client holds its streams.
func (c *Client) Incarnation() string { return c.o.Incarnation }

// OpenStream opens a stream and waits until the server has agreed. It returns the first failure; only after that the
// stream heals by itself. ctx bounds the opening; the stream lives until Close.
func (c *Client) OpenStream(ctx context.Context, o StreamOptions) (*Stream, error) {
	o, err := o.withDefaults(c.o.MIME, randomID)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	if _, taken := c.streams[o.Name]; taken {
		c.mu.Unlock()
		return nil, fmt.Errorf("open stream %q: %w", o.Name, ErrStreamOpen)
	}
	c.streams[o.Name] = nil
	c.mu.Unlock()
	s := newStream(c, o)
	first, err := s.open(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		delete(c.streams, o.Name)
		s.cancel(nil)
		return nil, fmt.Errorf("open stream %q: %w", o.Name, err)
	}
	c.streams[o.Name] = s
	s.start(first)
	return s, nil
}

// forget frees the name of a stream that has ended.
func (c *Client) forget(s *Stream) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.streams[s.o.Name] == s {
		delete(c.streams, s.o.Name)
	}
}

// Close closes the streams that are still open and the connection. Close streams yourself to learn what was not
// acknowledged; here it only makes an error.
func (c *Client) Close(ctx context.Context) error {
	c.mu.Lock()
	var open []*Stream
	for _, s := range c.streams {
		if s != nil {
			open = append(open, s)
		}
	}
	c.mu.Unlock()
	errs := make([]error, len(open))
	var closing sync.WaitGroup
	for i, s := range open {
		closing.Go(func() { _, errs[i] = s.Close(ctx) })
	}
	closing.Wait()
	return errors.Join(errors.Join(errs...), c.conns.close(ctx))
}
