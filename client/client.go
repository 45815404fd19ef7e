package client

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"

	"github.com/weir-dev/weir/balancer"
	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// maxAnswer bounds an answer of the server, in bytes; acks name at most some 64 KiB of rejects.
const maxAnswer = 4 << 20

// Client is a producer's connection to one pipeline, or its connections to the pods that run it. Its methods may be called
// from any goroutine.
type Client struct {
	o     Options
	addr  string
	conns conns          // to addr
	pool  *balancer.Pool // instead of conns; nil for a single address

	// Metadata that routes requests.
	routes struct{ stream, request, fireAndForget, status, cluster, barrier []byte }

	mu      sync.Mutex         // guards streams
	streams map[string]*Stream // open ones by name; nil while one is being opened
}

// Dial connects to target, as [balancer.Target] has it: "host:port" is one server; "host:port,host:port" are several;
// "weir://host:port/pipeline" are all pods that DNS knows under this name, now and later. The pipeline may be left out if
// the servers run only one.
//
// Dial tries once, and is content with one pod that answers. A connection that is lost later is made again: to a single
// server as streams and requests need it, to pods at once.
func Dial(ctx context.Context, target string, o Options) (*Client, error) {
	t, err := balancer.ParseTarget(target)
	if err != nil {
		return nil, err
	}
	if o, err = o.withDefaults(randomID); err != nil {
		return nil, err
	}
	c := &Client{o: o, streams: map[string]*Stream{}}
	c.route(t.Pipeline)
	if !t.Single() {
		return c, c.dialPods(ctx, &t)
	}
	c.addr = t.Hosts[0].String()
	c.conns.dial = func(ctx context.Context) (*rsocket.Conn, error) { return c.dial(ctx, balancer.Endpoint{Addr: c.addr}) }
	conn, err := c.conns.share(ctx)
	if err != nil {
		return nil, err
	}
	c.conns.release(conn, false)
	return c, nil
}

func randomID() (string, error) { return protocol.NewID(rand.Read) }

func (c *Client) dial(ctx context.Context, e balancer.Endpoint) (*rsocket.Conn, error) {
	nc, err := c.o.DialContext(ctx, "tcp", e.Addr)
	if err == nil && c.o.TLS != nil {
		nc, err = encrypt(ctx, nc, c.o.TLS, e)
	}
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	return rsocket.NewClient(nc, rsocket.ClientOptions{
		DataMIME: c.o.MIME, KeepAlive: c.o.KeepAlive, MaxLifetime: c.o.MaxLifetime,
		Limits: rsocket.Limits{MaxPayload: maxAnswer},
	})
}

// encrypt does the client's part of a TLS handshake on nc.
func encrypt(ctx context.Context, nc net.Conn, conf *tls.Config, e balancer.Endpoint) (net.Conn, error) {
	if conf.ServerName == "" {
		host, _, err := net.SplitHostPort(e.Addr)
		if err != nil {
			return nil, errors.Join(err, nc.Close())
		}
		conf = conf.Clone()
		conf.ServerName = strings.TrimSuffix(cmp.Or(e.Host, host), ".") // a certificate has no last dot
	}
	secure := tls.Client(nc, conf)
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = nc.Close() // the handshake's error says more
		return nil, fmt.Errorf("TLS with %s: %w", e.Addr, err)
	}
	return secure, nil
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
	c.routes.cluster, c.routes.barrier = metadata(protocol.RouteCluster), metadata(barrierRoute)
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
	suffix, err := randomID()
	if err != nil {
		return nil, err
	}
	if c.pool != nil && len(o.Name) > protocol.MaxNameBytes-laneSuffix {
		return nil, fmt.Errorf("stream name has %d bytes, at most %d are allowed for a stream to several pods", len(o.Name), protocol.MaxNameBytes-laneSuffix)
	}
	c.mu.Lock()
	if _, taken := c.streams[o.Name]; taken {
		c.mu.Unlock()
		return nil, fmt.Errorf("open stream %q: %w", o.Name, ErrStreamOpen)
	}
	c.streams[o.Name] = nil
	c.mu.Unlock()
	s := newStream(c, o)
	s.suffix = suffix
	err = s.start(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		delete(c.streams, o.Name)
		return nil, fmt.Errorf("open stream %q: %w", o.Name, err)
	}
	select {
	case <-s.done: // it has ended already, and forgotten itself
		delete(c.streams, o.Name)
	default:
		c.streams[o.Name] = s
	}
	return s, nil
}

// Streams returns the streams that are open.
func (c *Client) Streams() []*Stream {
	c.mu.Lock()
	defer c.mu.Unlock()
	var open []*Stream
	for _, s := range c.streams {
		if s != nil {
			open = append(open, s)
		}
	}
	return open
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
	open := c.Streams()
	errs := make([]error, len(open))
	var closing sync.WaitGroup
	for i, s := range open {
		closing.Go(func() { _, errs[i] = s.Close(ctx) })
	}
	closing.Wait()
	if c.pool != nil {
		return errors.Join(errors.Join(errs...), c.pool.Close(ctx))
	}
	return errors.Join(errors.Join(errs...), c.conns.close(ctx))
}
