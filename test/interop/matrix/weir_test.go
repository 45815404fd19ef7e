package matrix

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-dev/weir/rsocket"
)

// weir is package rsocket as an implementation.
type weir struct {
	t      *testing.T
	record *record
	stop   func()
	leases chan int // requests of the LEASE frames to send

	frames [2]atomic.Int64 // length of the longest frame so far, by direction
}

// tap takes the length of a frame.
func (w *weir) tap(_ uint64, d rsocket.Direction, h rsocket.FrameHeader) {
	for longest := &w.frames[d]; ; {
		was := longest.Load()
		if int64(h.Length) <= was || longest.CompareAndSwap(was, int64(h.Length)) {
			return
		}
	}
}

// fragmented returns an error if a frame was longer than mtu, with some bytes for what peers do not count.
func (w *weir) fragmented(mtu int) error {
	const slack = 64
	in, out := w.frames[rsocket.In].Load(), w.frames[rsocket.Out].Load()
	if longest := max(in, out); longest > int64(mtu+slack) || longest < int64(mtu/2) {
		return fmt.Errorf("with fragments of %d bytes, frames of up to %d came in and %d went out", mtu, in, out)
	}
	return nil
}

func newWeir(t *testing.T) *weir {
	t.Helper()
	w := &weir{t: t, record: &record{}, stop: func() {}}
	t.Cleanup(func() { w.stop() })
	return w
}

func (w *weir) seen(context.Context) (seen, error) { return w.record.get(), nil }

func (w *weir) lease(_ context.Context, n int) error {
	w.leases <- n
	return nil
}

// serve starts a server in place of the one before.
func (w *weir) serve(ctx context.Context, s serve) (int, error) {
	w.stop()
	w.record, w.leases = &record{}, make(chan int, 1)
	leases, ended := w.leases, make(chan struct{})
	o := rsocket.ServerOptions{Handlers: w.record.responder(), MTU: s.MTU, Tap: w.tap}
	if s.Resume {
		o.Resume = &rsocket.ResumeOptions{}
	}
	if s.Lease > 0 {
		o.Leases = func(*rsocket.ConnInfo) rsocket.LeaseSource {
			return rsocket.LeaseFunc(func(c *rsocket.Conn) {
				go grantLeases(c, s.Lease, leases, ended)
			})
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // local
	if err != nil {
		return 0, err
	}
	port := l.Addr().(*net.TCPAddr).Port
	if s.Transport == overTLS {
		cert, err := rsocket.LoadCertificate(s.Cert, s.Key, 0)
		if err != nil {
			return 0, err
		}
		l = tls.NewListener(l, &tls.Config{GetCertificate: cert.GetCertificate, MinVersion: tls.VersionTLS12})
	}
	server := rsocket.NewServer(o)
	var web *http.Server
	var serving sync.WaitGroup
	if s.Transport == overWS {
		web = &http.Server{Handler: server.WebSocket(rsocket.WebSocketOptions{MaxMessage: 16 << 20}), ReadHeaderTimeout: time.Minute}
		serving.Go(func() { web.Serve(l) }) //nolint:errcheck // ends with Close
	} else {
		serving.Go(func() { server.Serve(context.WithoutCancel(ctx), l) }) //nolint:errcheck // ends with Shutdown
	}
	w.stop = func() {
		close(ended)
		now, cancel := context.WithCancel(context.Background())
		cancel()
		server.Shutdown(now) //nolint:errcheck // open streams are cut
		if web != nil {
			web.Close()
		}
		serving.Wait()
		w.stop = func() {}
	}
	return port, nil
}

func grantLeases(c *rsocket.Conn, n int, more <-chan int, ended <-chan struct{}) {
	for {
		if err := c.SendLease(rsocket.Lease{TTL: time.Minute, Requests: n}); err != nil {
			return
		}
		select {
		case n = <-more:
		case <-c.Done():
			return
		case <-ended:
			return
		}
	}
}

// dial connects as the call says.
func (w *weir) dial(ctx context.Context, c call) (*rsocket.Conn, chan struct{}, error) {
	leased := make(chan struct{}, 100)
	o := rsocket.ClientOptions{
		DataMIME:    "application/octet-stream",
		KeepAlive:   time.Duration(c.KeepAlive) * time.Millisecond,
		MaxLifetime: time.Duration(c.Lifetime) * time.Millisecond,
		Limits:      rsocket.Limits{MTU: c.MTU},
		Tap:         w.tap,
	}
	if c.Resume {
		o.Resume = &rsocket.ClientResume{MinBackoff: time.Millisecond, MaxBackoff: 100 * time.Millisecond}
	}
	if c.Lease != "" {
		o.Lease = &rsocket.RequesterLeases{Received: func(*rsocket.Conn, rsocket.Lease) { leased <- struct{}{} }}
		if c.Lease == leaseWait {
			o.Lease.Queue = 100
		}
	}
	addr := net.JoinHostPort("127.0.0.1", strconv.Itoa(c.Port))
	if c.Transport == overTLS {
		pem, err := os.ReadFile(c.Cert)
		if err != nil {
			return nil, nil, err
		}
		o.TLS = &tls.Config{RootCAs: x509.NewCertPool(), ServerName: "localhost", MinVersion: tls.VersionTLS12}
		o.TLS.RootCAs.AppendCertsFromPEM(pem)
	}
	if c.Transport == overWS {
		conn, err := rsocket.DialWebSocket(ctx, "ws://"+addr, o, rsocket.WebSocketDial{})
		return conn, leased, err
	}
	conn, err := rsocket.Dial(ctx, "tcp", addr, o)
	return conn, leased, err
}

// call makes a call on a new connection.
func (w *weir) call(ctx context.Context, c call) (result, error) {
	conn, leased, err := w.dial(ctx, c)
	if err != nil {
		return result{}, err
	}
	defer conn.Close()
	if c.Lease == leaseFast {
		select {
		case <-leased:
		case <-conn.Done():
			return result{}, conn.Err()
		case <-ctx.Done():
			return result{}, ctx.Err()
		}
	}
	switch c.Model {
	case modelRequest:
		return requests(ctx, conn, c)
	case modelForget:
		return forget(ctx, conn, c)
	case modelStream:
		r, err := conn.RequestStream(ctx, opening(c), initial(c))
		if err != nil {
			return result{Error: err.Error()}, nil
		}
		return receive(ctx, r, c), nil
	case modelChannel:
		return channel(ctx, conn, c)
	case modelPush:
		if err := conn.MetadataPush(ctx, []byte("pushed")); err != nil {
			return result{}, err
		}
		return result{}, conn.Shutdown(ctx)
	default:
		return idle(ctx, conn)
	}
}

// idle makes a request, so that the responder knows the connection, and then waits for its end.
func idle(ctx context.Context, conn *rsocket.Conn) (result, error) {
	if _, err := conn.RequestResponse(ctx, rsocket.NewPayload([]byte("idle"), nil)); err != nil {
		return result{}, err
	}
	select {
	case <-conn.Done():
		return result{Closed: true, Error: fmt.Sprint(conn.Err())}, nil
	case <-ctx.Done():
		return result{}, ctx.Err()
	}
}

func opening(c call) rsocket.Payload {
	data := []byte(c.Data)
	if len(data) < c.Size {
		data = append(data, ' ')
	}
	for i := len(data); i < c.Size; i++ {
		data = append(data, 'a'+byte(i%26))
	}
	if c.Route == "" {
		return rsocket.NewPayload(data, nil)
	}
	md := rsocket.AppendComposite(nil, rsocket.MIMERouting, rsocket.AppendRoute(nil, c.Route))
	return rsocket.NewPayload(data, rsocket.AppendComposite(md, rsocket.MIMEAuthentication, rsocket.AppendAuthBearer(nil, c.Token)))
}

func initial(c call) int {
	if c.Grant > 0 {
		return c.Grant
	}
	return 1<<31 - 1
}

// note takes an answer into the result.
func (r *result) note(p rsocket.Payload, err error) {
	if err != nil {
		r.Failed, r.Error = r.Failed+1, err.Error()
		return
	}
	r.Items, r.Last = r.Items+1, string(p.Data[:min(len(p.Data), 100)])
}

func requests(ctx context.Context, conn *rsocket.Conn, c call) (result, error) {
	var res result
	if c.Cancel > 0 {
		return cancelRequest(ctx, conn, c)
	}
	type answer struct {
		p   rsocket.Payload
		err error
	}
	p, n := opening(c), max(c.N, 1)
	answers := make(chan answer, n)
	for range n {
		ask := func() {
			p, err := conn.RequestResponse(ctx, p)
			answers <- answer{p, err}
		}
		if c.Lease == leaseWait {
			go ask()
		} else {
			ask()
		}
	}
	for range n {
		a := <-answers
		res.note(a.p, a.err)
		res.Ordered = string(a.p.Data) == string(p.Data)
	}
	return res, nil
}

// cancelRequest cancels a request that the responder has received, because it has answered a later one.
func cancelRequest(ctx context.Context, conn *rsocket.Conn, c call) (result, error) {
	request, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 1)
	started := make(chan struct{})
	go func() {
		close(started)
		_, err := conn.RequestResponse(request, opening(c))
		failed <- err
	}()
	<-started
	if _, err := conn.RequestResponse(ctx, rsocket.NewPayload([]byte("echo"), nil)); err != nil {
		return result{}, err
	}
	cancel()
	err := <-failed
	if err == nil {
		return result{}, errors.New("a cancelled request was answered")
	}
	// The connection ends only when CANCEL has been written.
	_, again := conn.RequestResponse(ctx, rsocket.NewPayload([]byte("echo"), nil))
	return result{Error: err.Error()}, again
}

func forget(ctx context.Context, conn *rsocket.Conn, c call) (result, error) {
	var res result
	errs := make(chan error, c.N)
	for range c.N {
		send := func() { errs <- conn.FireAndForget(ctx, opening(c)) }
		if c.Lease == leaseWait {
			go send()
		} else {
			send()
		}
	}
	for range c.N {
		err := <-errs
		if err != nil {
			res.Failed, res.Error = res.Failed+1, err.Error()
		} else {
			res.Sent++
		}
	}
	return res, conn.Shutdown(ctx)
}

// receive takes items until the end, or cancels, and asks for more from another goroutine.
func receive(ctx context.Context, r *rsocket.Receiver, c call) result {
	res := result{Ordered: true}
	for {
		p, err := r.Recv(ctx)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				res.Error = err.Error()
			}
			return res
		}
		res.Ordered = res.Ordered && string(p.Data) == strconv.Itoa(res.Items)
		res.note(p, nil)
		if res.Items == c.Cancel {
			r.Cancel()
			return res
		}
		if c.Grant > 0 && res.Items%c.Grant == 0 {
			done := make(chan struct{})
			go func() {
				r.Grant(c.Grant)
				close(done)
			}()
			<-done
		}
	}
}

func channel(ctx context.Context, conn *rsocket.Conn, c call) (result, error) {
	out, in, err := conn.RequestChannel(ctx, opening(c), initial(c), rsocket.ChannelOptions{})
	if err != nil {
		return result{}, err
	}
	var sent int
	var stopped bool
	var sending sync.WaitGroup
	sending.Go(func() { sent, stopped = send(ctx, out, c) })
	res := receive(ctx, in, c)
	if c.Cancel > 0 || res.Error != "" {
		select {
		case <-out.Done():
		case <-ctx.Done():
		}
	}
	sending.Wait()
	res.Sent, res.Stopped = sent, stopped
	if c.Cancel > 0 || c.Fail { // until the frame is on the wire
		_, err = conn.RequestResponse(ctx, rsocket.NewPayload([]byte("echo"), nil))
	}
	return res, err
}

func send(ctx context.Context, out *rsocket.Sender, c call) (sent int, stopped bool) {
	for ; sent < c.N; sent++ {
		if err := out.Send(ctx, number(sent)); err != nil {
			return sent, errors.Is(err, rsocket.ErrCanceled)
		}
	}
	if c.Fail {
		out.Error(errBoom) //nolint:errcheck // the responder sees it
		return sent, false
	}
	out.Complete() //nolint:errcheck // the responder sees it
	return sent, false
}
