package client

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// Stream carries payloads to the server in order and keeps each until it is acknowledged. Its methods may be called from
// any goroutine; payloads of one goroutine stay in order.
//
// Two goroutines serve it while it is open: run reads acknowledgements and opens the stream again when it has to
// (reconnect.go), and one of its children sends (attempt.go).
type Stream struct {
	c      *Client
	o      StreamOptions
	ctx    context.Context //nolint:containedctx // the lifetime of run
	cancel context.CancelCauseFunc

	work  chan struct{} // capacity 1: wakes the sender
	room  chan struct{} // capacity 1: wakes one Send that waits for room, which wakes the next
	ended chan struct{} // closed when Send takes nothing any more
	done  chan struct{} // closed when run has returned

	// Used by OpenStream, then by run alone.
	epoch int64 // highest ever tried
	retry retry

	mu      sync.Mutex // guards what follows; never held while blocking or in a callback
	buf     buffer
	closing bool  // ended is closed
	err     error // why the stream failed
	idle    bool  // the sender sleeps on work
	blocked int   // Sends that wait on room
	flushes []*flush
	rest    []Unacked // set by Close
	stats   Stats
	credit  func() int // of the current attempt; nil while there is none
	probe   probe
}

// flush is a call of Flush that waits.
type flush struct {
	target int64
	done   chan struct{}
}

// probe measures the time from a payload's sending to its acknowledgement, one payload at a time.
type probe struct {
	seq int64 // 0: none is on its way
	at  time.Time
}

// Stats are the figures of a stream since it was opened. Payloads balance: Sent = Acked + Dropped + Buffered.
type Stats struct {
	Sent     int64 // payloads that Send took, dropped ones included
	Acked    int64 // payloads acknowledged, those with rejected records included
	Dropped  int64 // payloads dropped by the overflow policy
	Buffered int64 // payloads in the buffer: sent and not acknowledged, or not sent
	Unsent   int64 // of Buffered, those that wait for the server's credit
	Bytes    int64 // of Buffered

	// Records are counted by what acks said; an ack that was lost with its connection is missing here.
	Records  int64 // accepted
	Rejected int64
	Version  int64 // of the table, in the newest ack

	Resent     int64         // payloads sent more than once, after the stream was opened again
	Reopened   int64         // times the stream was opened again
	Epoch      int64         // of the newest claim
	Connected  bool          // the stream is open now
	Credit     int           // payloads that the server would take now
	AckLatency time.Duration // from sending to the ack, of a recent payload
	LastError  error         // why the stream was opened again, or failed; nil if it never was
}

func newStream(c *Client, o StreamOptions) *Stream {
	s := &Stream{
		c: c, o: o,
		work: make(chan struct{}, 1), room: make(chan struct{}, 1),
		ended: make(chan struct{}), done: make(chan struct{}),
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

func (s *Stream) start(first *attempt) { go s.run(first) }

// Name returns the name of the stream.
func (s *Stream) Name() string { return s.o.Name }

// Send takes one payload. It copies data, which may be used again at once, and returns its sequence: the server's rejects
// and the system column _weir_seq speak of it. Sequences count the payloads of a stream from 1, over all times it was
// opened.
//
// While the buffer is full it does what [StreamOptions.Overflow] says. Under [DropNewest] a dropped payload has sequence 0.
// Under [DropOldest] sequences are settled only when a payload is sent, since those behind a dropped one move up, and Send
// returns 0. After the stream has failed or was closed Send returns the reason.
func (s *Stream) Send(ctx context.Context, data []byte) (int64, error) {
	one := [1][]byte{data}
	_, seq, err := s.put(ctx, one[:])
	return seq, err
}

// SendBatch takes payloads in order and returns how many it took, dropped ones included. All were taken if err is nil.
func (s *Stream) SendBatch(ctx context.Context, payloads [][]byte) (int, error) {
	n, _, err := s.put(ctx, payloads)
	return n, err
}

// Flush waits until everything that was sent before the call is acknowledged or dropped. The server commits when a batch
// is large or old enough, so this can take some seconds.
func (s *Stream) Flush(ctx context.Context) error {
	s.mu.Lock()
	if s.buf.len() == 0 {
		defer s.mu.Unlock()
		return s.failure()
	}
	f := &flush{target: s.buf.last(), done: make(chan struct{})}
	s.flushes = append(s.flushes, f)
	s.mu.Unlock()
	select {
	case <-f.done:
		return nil
	case <-s.done:
		return s.flushEnd(f)
	case <-ctx.Done():
		s.mu.Lock()
		defer s.mu.Unlock()
		s.flushes = slices.DeleteFunc(s.flushes, func(x *flush) bool { return x == f })
		return context.Cause(ctx)
	}
}

// flushEnd answers a Flush that outlived its stream.
func (s *Stream) flushEnd(f *flush) error {
	select {
	case <-f.done:
		return nil
	default:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return s.failure()
	}
	return s.wrap(ErrClosed)
}

// Close sends what is buffered, waits until it is acknowledged, and ends the stream. When ctx ends, or the stream has
// failed, it stops waiting and returns what was not acknowledged, oldest first, with an error that is [ErrUnacked]. The
// payloads belong to the caller. Sends that wait for room return [ErrClosed]. Calling Close again returns the same.
func (s *Stream) Close(ctx context.Context) ([]Unacked, error) {
	s.mu.Lock()
	s.stop()
	s.wakeSender()
	s.mu.Unlock()
	select {
	case <-s.done:
	case <-ctx.Done():
		s.cancel(context.Cause(ctx))
		<-s.done
	}
	s.cancel(nil)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.rest == nil {
		s.rest = s.buf.rest()
	}
	if len(s.rest) == 0 {
		return nil, nil
	}
	return s.rest, s.wrap(fmt.Errorf("%w: %d payloads: %w", ErrUnacked, len(s.rest), s.err))
}

// Acked returns the highest sequence below which everything is acknowledged.
func (s *Stream) Acked() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.head - 1
}

// Err returns why the stream has failed, nil if it has not.
func (s *Stream) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure()
}

// Stats returns the figures of now.
func (s *Stream) Stats() Stats {
	s.mu.Lock()
	st, credit := s.stats, s.credit
	st.Buffered, st.Unsent, st.Bytes = int64(s.buf.len()), int64(s.buf.toSend()), s.buf.bytes
	s.mu.Unlock()
	if credit != nil {
		st.Connected, st.Credit = true, credit()
	}
	return st
}

// put takes payloads in order, n of them until err, and returns the sequence of the last one.
func (s *Stream) put(ctx context.Context, payloads [][]byte) (n int, seq int64, err error) {
	if ctx.Err() != nil {
		return 0, 0, context.Cause(ctx)
	}
	s.mu.Lock()
	for n < len(payloads) {
		data := payloads[n]
		if s.closing || s.buf.never(len(data)) {
			defer s.mu.Unlock()
			return n, 0, s.refusal()
		}
		if s.buf.fits(len(data)) {
			seq = s.push(data)
			n++
			continue
		}
		if err := s.overflow(ctx, data); err != nil {
			return n, 0, err
		}
		if s.o.Overflow != Block {
			n, seq = n+1, 0
		}
	}
	if s.blocked > 0 && s.buf.len() < s.o.Buffer.Records {
		signal(s.room)
	}
	s.mu.Unlock()
	return n, seq, nil
}

// push buffers data, with mu held.
func (s *Stream) push(data []byte) int64 {
	seq := s.buf.push(data)
	s.stats.Sent++
	if s.idle {
		s.wakeSender()
	}
	if s.o.Overflow == DropOldest {
		return 0
	}
	return seq
}

func (s *Stream) wakeSender() {
	s.idle = false
	signal(s.work)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// refusal says, with mu held, why a payload is not taken.
func (s *Stream) refusal() error {
	switch {
	case s.err != nil:
		return s.failure()
	case s.closing:
		return s.wrap(ErrClosed)
	default:
		return s.wrap(fmt.Errorf("%w of %d bytes", ErrTooLarge, s.o.Buffer.Bytes))
	}
}

// overflow acts on a payload for which there is no room. It is called with mu held and returns with it held, unless it
// returns an error. Under [Block] it only waits; otherwise data is taken when it returns nil.
func (s *Stream) overflow(ctx context.Context, data []byte) error {
	switch s.o.Overflow {
	case Fail:
		s.mu.Unlock()
		return s.wrap(ErrBufferFull)
	case DropNewest:
		s.stats.Sent++
		s.drop(data)
	case DropOldest:
		s.makeRoom(data)
	case Block:
		return s.awaitRoom(ctx)
	}
	return nil
}

// awaitRoom waits until an ack may have made room.
func (s *Stream) awaitRoom(ctx context.Context) error {
	s.blocked++
	s.mu.Unlock()
	var err error
	select {
	case <-s.room:
	case <-s.ended:
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	s.mu.Lock()
	s.blocked--
	if err != nil {
		s.mu.Unlock()
	}
	return err
}

// makeRoom drops the oldest unsent payloads until data fits and pushes it; if everything was sent, data is the oldest that
// was not.
func (s *Stream) makeRoom(data []byte) {
	for !s.buf.fits(len(data)) {
		old, ok := s.buf.dropOldest()
		if ok && s.o.OnDrop != nil {
			old = append([]byte(nil), old...) // its memory is free once mu is
		}
		if ok {
			s.drop(old)
		}
		if !ok || s.closing {
			s.stats.Sent++
			s.drop(data)
			return
		}
	}
	s.push(data)
}

// drop counts and reports a payload that is dropped. It lets mu go meanwhile.
func (s *Stream) drop(data []byte) {
	s.stats.Dropped++
	if s.buf.len() == 0 {
		s.flushed()
	}
	if s.o.OnDrop == nil {
		return
	}
	s.mu.Unlock()
	defer s.mu.Lock()
	s.o.OnDrop(Drop{Payload: data})
}

// released books n acknowledged payloads, with mu held.
func (s *Stream) released(n int) {
	if n == 0 {
		return
	}
	s.stats.Acked += int64(n)
	if p := &s.probe; p.seq != 0 && s.buf.head > p.seq {
		s.stats.AckLatency = time.Since(p.at)
		p.seq = 0
	}
	if s.blocked > 0 {
		signal(s.room)
	}
	s.flushed()
}

// flushed ends the calls of Flush that have what they wait for, with mu held.
func (s *Stream) flushed() {
	s.flushes = slices.DeleteFunc(s.flushes, func(f *flush) bool {
		if f.target >= s.buf.head && s.buf.len() > 0 {
			return false
		}
		close(f.done)
		return true
	})
}

// stop ends the taking of payloads, with mu held.
func (s *Stream) stop() {
	if !s.closing {
		s.closing = true
		close(s.ended)
	}
}

// fail ends the stream for err.
func (s *Stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err, s.stats.LastError = err, err
	s.stop()
}

// failure is err for the caller, with mu held.
func (s *Stream) failure() error {
	if s.err == nil {
		return nil
	}
	return s.wrap(s.err)
}

func (s *Stream) wrap(err error) error { return fmt.Errorf("stream %q: %w", s.o.Name, err) }
