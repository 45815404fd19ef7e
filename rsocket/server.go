package rsocket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// ServerOptions configure a [Server]. Zero fields take the default.
type ServerOptions struct {
	Handlers          Handlers
	Budget            Budget        // nil: payload bytes are bounded per connection only
	MaxFrame          int           // see [Limits]
	MaxPayload        int           // see [Limits]
	MaxStreamsPerConn int           // see [Limits.MaxStreams]
	MTU               int           // see [Limits]
	Limits            Limits        // the fields above win
	SetupTimeout      time.Duration // for SETUP to arrive and its handler to return; default 10 s
	MaxConns          int           // connections at once; default 100,000
	MaxConnsPerAddr   int           // connections of one IP address at once; 0: MaxConns
	SetupRate         float64       // new connections a second, and at once after a pause; 0: no limit
	// Leases decides on a client that asks for leases; it is called after Handlers.Setup. nil, or a nil result, refuses the client
	// with ERROR[UNSUPPORTED_SETUP].
	Leases func(info *ConnInfo) LeaseSource
	// RequesterLeases governs requests of the server to clients that asked for leases.
	RequesterLeases RequesterLeases
	// Resume lets clients resume; nil: those that ask for it are refused.
	Resume  *ResumeOptions
	Logger  *slog.Logger // nil: silent
	Metrics *Metrics     // nil: not kept
	Tap     Tap          // nil: none
	// Requests is told of the requests that the server makes to its clients; nil: nobody is.
	Requests RequestObserver
}

// Server accepts RSocket connections.
type Server struct {
	o     ServerOptions
	conf  connConfig
	admit admission

	mu        sync.Mutex     // guards the fields below
	conns     map[*Conn]bool // whether SETUP was accepted
	listeners map[net.Listener]struct{}
	sessions  map[string]*Conn // resumable connections by token
	turned    int              // clients that are being told that they are not served
	closed    bool

	ctx    context.Context //nolint:containedctx // the lifetime of the server, parent of its connections' contexts
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

// NewServer returns a server that waits for Serve.
func NewServer(o ServerOptions) *Server {
	override(&o.Limits.MaxFrame, o.MaxFrame)
	override(&o.Limits.MaxPayload, o.MaxPayload)
	override(&o.Limits.MaxStreams, o.MaxStreamsPerConn)
	override(&o.Limits.MTU, o.MTU)
	setDefault(&o.MaxConns, 100_000)
	if o.SetupTimeout <= 0 {
		o.SetupTimeout = 10 * time.Second
	}
	if o.Metrics == nil {
		o.Metrics = new(Metrics)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Server{o: o, conns: make(map[*Conn]bool), listeners: make(map[net.Listener]struct{}), sessions: make(map[string]*Conn)}
	s.conf = connConfig{
		server: true, handlers: o.Handlers, budget: o.Budget, limits: o.Limits.withDefaults(), log: o.Logger, metrics: o.Metrics, tap: o.Tap,
		observer: o.Requests,
		leases:   o.Leases, holder: o.RequesterLeases, unbuilt: new(atomic.Int64),
	}
	s.admit.perAddress, s.admit.rate = o.MaxConnsPerAddr, o.SetupRate
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

func override(v *int, by int) {
	if by > 0 {
		*v = by
	}
}

// Serve accepts connections of l until ctx is done or Shutdown is called, then closes l. Connections already accepted go on
// until Shutdown. Errors of Accept, such as too many open files, are survived with a growing pause. It returns
// [ErrServerClosed] after Shutdown, the cause of ctx, or the error of a listener that was closed by someone else.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if !s.addListener(l) {
		_ = l.Close() // it was never used
		return ErrServerClosed
	}
	stop := context.AfterFunc(ctx, func() { _ = l.Close() })
	defer stop()
	defer s.removeListener(l)
	for failures := 0; ; {
		nc, err := l.Accept()
		if err == nil {
			failures = 0
			s.ServeConn(nc)
			continue
		}
		if over := s.acceptOver(ctx, err); over != nil {
			return over
		}
		failures++
		if err := s.acceptPause(ctx, failures, err); err != nil {
			return err
		}
	}
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.listeners[l] = struct{}{}
	s.wg.Add(1)
	return true
}

func (s *Server) removeListener(l net.Listener) {
	_ = l.Close() // closed twice at worst
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	s.wg.Done()
}

// acceptOver returns what Serve returns if err means that accepting is over.
func (s *Server) acceptOver(ctx context.Context, err error) error {
	s.mu.Lock()
	closed := s.closed
	s.mu.Unlock()
	switch {
	case closed:
		return ErrServerClosed
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, net.ErrClosed):
		return err
	default:
		return nil
	}
}

// acceptPause waits 5 ms after the first failure, doubling up to 1 s.
func (s *Server) acceptPause(ctx context.Context, failures int, cause error) error {
	s.o.Metrics.AcceptFailures.Add(1)
	delay := min(5*time.Millisecond<<min(failures-1, 8), time.Second)
	s.o.Logger.Warn("accept failed", "error", cause, "retryIn", delay)
	t := time.NewTimer(delay)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.ctx.Done():
		return ErrServerClosed
	}
}

// ServeConn serves one connection, which it owns from then on, and returns at once. Any transport will do that carries bytes
// in order and without loss and can be closed while it is read and written; deadlines are used where it has them.
func (s *Server) ServeConn(nc Transport) {
	addr := addressOf(nc.RemoteAddr())
	if refusal := s.admit.admit(addr, time.Now()); refusal != "" {
		s.turnAway(nc, refusal)
		return
	}
	c := newConn(s.ctx, nc, &s.conf)
	c.from = addr
	if refusal := s.addConn(c); refusal != "" {
		s.admit.leave(addr)
		s.turnAway(nc, refusal)
		c.cancel()
		return
	}
	s.o.Metrics.Accepted.Add(1)
	s.o.Metrics.Open.Add(1)
	go s.serveConn(c)
}

const shuttingDown = "the server is shutting down"

// addConn returns why there is no place for c, or nothing.
func (s *Server) addConn(c *Conn) (refusal string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return shuttingDown
	case len(s.conns) >= s.o.MaxConns:
		return "too many connections"
	}
	s.conns[c] = false
	s.wg.Add(1)
	return ""
}

// mostTurnedAway bounds the clients that are told at the same time that they are not served.
const mostTurnedAway = 64

// turnAway tells a client why it is not served, for which it has a moment: over TLS it has to shake hands before. It does
// not wait for that, so that others are accepted meanwhile; of very many clients some are told nothing.
func (s *Server) turnAway(nc Transport, why string) {
	s.o.Metrics.Refused.Add(1)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.turned >= mostTurnedAway {
		_ = nc.Close() // it is of no use
		return
	}
	s.turned++
	s.wg.Go(func() {
		setDeadline(nc, time.Now().Add(lingerTimeout))
		_, _ = nc.Write(encodeError(0, &Error{Code: CodeRejectedSetup, Message: why}))
		_ = nc.Close()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.turned--
	})
}

func (s *Server) removeConn(c *Conn) {
	s.removeSession(c)
	s.admit.leave(c.from)
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.o.Metrics.Open.Add(-1)
	s.wg.Done()
}

// serveConn is the goroutine of a connection: SETUP, then the read loop, then the end of its handlers.
func (s *Server) serveConn(c *Conn) {
	defer s.removeConn(c)
	s.handshake(c)
	c.handlers.Wait()
	c.w.flushed()
}

// handshake reads SETUP and goes on reading if the client is accepted.
func (s *Server) handshake(c *Conn) {
	e := s.setup(c)
	if e == nil {
		e = s.accepted(c)
	}
	if e == nil {
		c.startTimer()
		c.readLoop()
		return
	}
	if e == errHandedOver {
		c.close(nil)
		close(c.readerDone)
		return
	}
	s.o.Metrics.SetupRejected.Add(1)
	c.abort(e)
	close(c.readerDone)
}

// accepted notes that SETUP is done, unless the server shuts down.
func (s *Server) accepted(c *Conn) *Error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return &Error{Code: CodeConnectionClose, Message: shuttingDown}
	}
	s.conns[c] = true
	return nil
}

// cutSetup ends a connection before its SETUP is done, at the latest when ctx is.
func (c *Conn) cutSetup(ctx context.Context) {
	c.cancel()
	_ = c.transport().SetReadDeadline(time.Now()) // a connection without deadlines is closed when ctx is done
	select {
	case <-c.readerDone:
		return
	case <-ctx.Done():
	}
	_ = c.transport().Close()
	<-c.readerDone
}

// setup returns why the connection is refused, or nil.
func (s *Server) setup(c *Conn) (refusal *Error) {
	defer func() {
		if v := recover(); v != nil {
			refusal = Errorf(CodeRejectedSetup, "%s", c.panicked(v).Message)
		}
	}()
	deadline := time.Now().Add(s.o.SetupTimeout)
	_ = c.transport().SetReadDeadline(deadline) // a connection without deadlines is bounded by MaxConns
	var f frame
	err := c.ctx.Err()
	if err == nil {
		err = c.readFrame(&f)
	}
	if c.ctx.Err() != nil {
		c.unreserve(f.charged)
		return &Error{Code: CodeRejectedSetup, Message: shuttingDown}
	}
	if err != nil {
		return setupReadError(err)
	}
	c.unreserve(f.charged)
	if c.tap != nil {
		c.tap(c.info.ID, In, f.FrameHeader)
	}
	if f.Type == FrameResume && f.StreamID == 0 {
		return s.takeOver(c, &f)
	}
	if e := c.checkSetup(&f); e != nil {
		return e
	}
	token := bytes.Clone(f.setup.token)
	if err := c.runSetup(deadline); err != nil {
		return setupRefusal(err)
	}
	if f.Flags&FlagResume != 0 {
		if e := s.addSession(c, token); e != nil {
			return e
		}
	}
	if e := c.startLeases(&s.conf); e != nil {
		return e
	}
	_ = c.transport().SetReadDeadline(time.Time{}) // as above
	return nil
}

func setupReadError(err error) *Error {
	var malformed *frameError
	switch {
	case errors.As(err, &malformed):
		return &Error{Code: CodeInvalidSetup, Message: err.Error()}
	case timedOut(err):
		return &Error{Code: CodeInvalidSetup, Message: "no SETUP in time"}
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return &Error{Code: CodeInvalidSetup, Message: "connection closed before SETUP"}
	default:
		return &Error{Code: CodeInvalidSetup, Message: "no SETUP"}
	}
}

// checkSetup takes the parameters of the client over, or says what is wrong with them.
func (c *Conn) checkSetup(f *frame) *Error {
	switch {
	case f.Type != FrameSetup || f.StreamID != 0:
		return Errorf(CodeInvalidSetup, "first frame is %s on stream %d, not SETUP", f.Type, f.StreamID)
	case f.setup.major != versionMajor:
		return Errorf(CodeInvalidSetup, "version %d.%d is not supported", f.setup.major, f.setup.minor)
	case f.setup.keepAlive == 0 || f.setup.maxLifetime == 0:
		return &Error{Code: CodeInvalidSetup, Message: "keepalive interval and maximum lifetime must be positive"}
	}
	i := &c.info
	i.MetadataMIME, i.DataMIME = string(f.setup.metadataMIME), string(f.setup.dataMIME)
	i.KeepAlive = time.Duration(f.setup.keepAlive) * time.Millisecond
	i.MaxLifetime = time.Duration(f.setup.maxLifetime) * time.Millisecond
	i.TLS = tlsOf(c.transport())
	i.LeaseRequested = f.Flags&FlagLease != 0
	i.SetupPayload = Payload{Data: f.data, Metadata: f.metadata, HasMetadata: f.hasMetadata}.Clone()
	return nil
}

// runSetup asks the handler. It runs on the connection's goroutine, which does not read before the answer.
func (c *Conn) runSetup(deadline time.Time) error {
	if c.h.Setup == nil {
		return nil
	}
	ctx, cancel := context.WithDeadline(c.ctx, deadline)
	defer cancel()
	return c.h.Setup(ctx, &c.info)
}

// startLeases sets both directions up if the client asked for leases.
func (c *Conn) startLeases(o *connConfig) *Error {
	if !c.info.LeaseRequested {
		return nil
	}
	var source LeaseSource
	if o.leases != nil {
		source = o.leases(&c.info)
	}
	if source == nil {
		return &Error{Code: CodeUnsupportedSetup, Message: "leases are not supported"}
	}
	c.granted = &leaseLedger{source: source}
	c.leased = &leaseHolder{o: o.holder}
	source.Start(c)
	return nil
}

// setupRefusal maps the error of the Setup handler to a setup code.
func setupRefusal(err error) *Error {
	var e *Error
	if errors.As(err, &e) && e.Code >= CodeInvalidSetup && e.Code <= CodeRejectedResume {
		return e
	}
	return &Error{Code: CodeRejectedSetup, Message: err.Error()}
}

// Shutdown stops accepting, refuses new requests and waits for the handlers. When they have ended, or ctx is done, it sends
// ERROR[CONNECTION_CLOSE], closes every connection and waits for all goroutines. It returns the error of ctx if streams were
// cut off. Handlers that ignore their context delay it.
func (s *Server) Shutdown(ctx context.Context) error {
	conns := s.stopAccepting()
	errs := make(chan error, len(conns))
	for c, accepted := range conns {
		go func() {
			if accepted {
				errs <- c.Shutdown(ctx)
				return
			}
			c.cutSetup(ctx)
			errs <- nil
		}()
	}
	var first error
	for range conns {
		if err := <-errs; err != nil && first == nil {
			first = err
		}
	}
	s.cancel()
	s.wg.Wait()
	return first
}

// stopAccepting returns the connections there are, and whether their SETUP was accepted.
func (s *Server) stopAccepting() map[*Conn]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for l := range s.listeners {
		_ = l.Close() // Serve sees it
	}
	return maps.Clone(s.conns)
}

// Conns returns the number of open connections.
func (s *Server) Conns() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}
