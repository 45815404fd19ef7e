package rsocket

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"
	"time"
)

// ClientOptions configure a connection made by [Dial]. Zero fields take the default.
type ClientOptions struct {
	MetadataMIME string        // default [MIMEComposite]
	DataMIME     string        // default application/octet-stream
	KeepAlive    time.Duration // between KEEPALIVE frames; default 20 s, at least 1 ms
	MaxLifetime  time.Duration // without a sign of life of the server; default 90 s, at least 1 ms
	SetupPayload Payload
	Handlers     Handlers // what the client answers to requests of the server; Setup is not used
	Budget       Budget   // nil: payload bytes are bounded per connection only
	Limits       Limits
	// Lease asks the server for leases and honours them. nil: requests are sent without.
	Lease *RequesterLeases
	// Leases grants requests to the server, if Lease is set; nil: the server may not request.
	Leases func(info *ConnInfo) LeaseSource
	// TLS is for Dial, and DialWebSocket with wss; nil: Dial uses none.
	TLS *tls.Config
	// Resume makes the connection survive a cut transport, if the server supports it. nil: it does not.
	Resume  *ClientResume
	Logger  *slog.Logger // nil: silent
	Metrics *Metrics     // nil: not kept
	Tap     Tap          // nil: none
	// Requests is told of the requests of this side; nil: nobody is.
	Requests RequestObserver
}

// Dial connects and sends SETUP. The protocol has no answer to an accepted SETUP: a refusal appears as an *[Error] of
// [Conn.Err] and of the requests made meanwhile. ctx bounds the connecting only.
func Dial(ctx context.Context, network, addr string, o ClientOptions) (*Conn, error) {
	dial := func(ctx context.Context) (net.Conn, error) {
		if o.TLS != nil {
			d := tls.Dialer{Config: o.TLS}
			return d.DialContext(ctx, network, addr)
		}
		var d net.Dialer
		return d.DialContext(ctx, network, addr)
	}
	o.setRedial(dial)
	nc, err := dial(ctx)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	return NewClient(nc, o)
}

// setRedial has a resumable client come back the way it came, unless it knows a better one.
func (o *ClientOptions) setRedial(dial func(context.Context) (net.Conn, error)) {
	if o.Resume == nil || o.Resume.Redial != nil {
		return
	}
	r := *o.Resume
	r.Redial = func(ctx context.Context) (Transport, error) { return dial(ctx) }
	o.Resume = &r
}

// NewClient speaks RSocket as the client over an established transport, which it owns from then on, also on error.
func NewClient(nc Transport, o ClientOptions) (*Conn, error) {
	if err := o.prepare(); err != nil {
		_ = nc.Close() // it was never used
		return nil, err
	}
	c := newConn(context.Background(), nc, &connConfig{
		unbuilt:  new(atomic.Int64),
		handlers: o.Handlers, budget: o.Budget, limits: o.Limits.withDefaults(), log: o.Logger, metrics: o.Metrics, tap: o.Tap,
		observer: o.Requests,
	})
	c.info.MetadataMIME, c.info.DataMIME = o.MetadataMIME, o.DataMIME
	c.info.KeepAlive, c.info.MaxLifetime, c.info.SetupPayload = o.KeepAlive, o.MaxLifetime, o.SetupPayload
	c.info.LeaseRequested = o.Lease != nil
	if o.Resume != nil {
		s := newSession(o.Resume.Token, o.Resume.Window, o.Resume.Buffer)
		s.client = o.Resume
		c.startSession(s)
	}
	if o.Lease != nil {
		c.leased = &leaseHolder{o: *o.Lease}
		c.granted = new(leaseLedger)
		if o.Leases != nil {
			c.granted.source = o.Leases(&c.info)
		}
	}
	c.sendSetup() // from here on the connection can end by itself
	if c.granted != nil && c.granted.source != nil {
		c.granted.source.Start(c)
	}
	c.startTimer()
	go c.readLoop()
	return c, nil
}

// prepare fills defaults in and checks what SETUP can carry.
func (o *ClientOptions) prepare() error {
	if o.MetadataMIME == "" {
		o.MetadataMIME = MIMEComposite
	}
	if o.DataMIME == "" {
		o.DataMIME = "application/octet-stream"
	}
	if o.KeepAlive <= 0 {
		o.KeepAlive = 20 * time.Second
	}
	if o.MaxLifetime <= 0 {
		o.MaxLifetime = 90 * time.Second
	}
	o.KeepAlive, o.MaxLifetime = max(o.KeepAlive, time.Millisecond), max(o.MaxLifetime, time.Millisecond)
	if len(o.MetadataMIME) > 255 || len(o.DataMIME) > 255 {
		return &Error{Code: CodeInvalidSetup, Message: "MIME type longer than 255 bytes"}
	}
	if o.Resume != nil {
		if err := o.prepareResume(); err != nil {
			return err
		}
	}
	if payloadSize(&o.SetupPayload) > maxSetupFrame-1024 {
		return ErrPayloadTooLarge
	}
	return nil
}

// prepareResume fills defaults in, on a copy.
func (o *ClientOptions) prepareResume() error {
	r := *o.Resume
	o.Resume = &r
	if r.Redial == nil {
		return &Error{Code: CodeInvalidSetup, Message: "resuming needs Redial"}
	}
	if len(r.Token) > maxResumeToken {
		return &Error{Code: CodeInvalidSetup, Message: "resume token longer than 65535 bytes"}
	}
	if len(r.Token) == 0 {
		r.Token = make([]byte, 16)
		_, _ = rand.Read(r.Token) // never fails
	}
	if r.MinBackoff <= 0 {
		r.MinBackoff = 100 * time.Millisecond
	}
	if r.MaxBackoff <= 0 {
		r.MaxBackoff = 10 * time.Second
	}
	r.MaxBackoff = max(r.MaxBackoff, r.MinBackoff)
	return nil
}

func (c *Conn) sendSetup() {
	s := setupFields{
		major: versionMajor, minor: versionMinor, keepAlive: millis(c.info.KeepAlive), maxLifetime: millis(c.info.MaxLifetime),
		metadataMIME: []byte(c.info.MetadataMIME), dataMIME: []byte(c.info.DataMIME),
	}
	var flags Flags
	if c.info.LeaseRequested {
		flags = FlagLease
	}
	if c.session != nil {
		s.token = c.session.token
		flags |= FlagResume
	}
	b := encodeSetup(flags, &s, &c.info.SetupPayload)
	_ = c.w.control(b, FrameHeader{Type: FrameSetup, Flags: flags}, nil) // the first frame always has room
}
