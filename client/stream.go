package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/weir-dev/weir/balancer"
)

// Stream carries payloads to the server and keeps each until it is acknowledged. Its methods may be called from any
// goroutine. To a single address, payloads of one goroutine stay in order. To a cluster they go over all its pods, in order
// only as far as they go over the same one; docs/balancer.md says what becomes of them when pods come and go.
//
// Two goroutines serve each of its lanes while it is open: run reads acknowledgements and opens the lane again when it has
// to (reconnect.go), and one of its children sends (attempt.go). A third one follows the cluster, if there is one (pods.go).
type Stream struct {
	c      *Client
	o      StreamOptions
	pool   *balancer.Pool  // nil: a single address
	suffix string          // of the names of lanes
	ctx    context.Context //nolint:containedctx // the lifetime of the lanes
	cancel context.CancelCauseFunc

	room  chan struct{} // capacity 1: wakes one Send that waits for room, which wakes the next
	ended chan struct{} // closed when Send takes nothing any more
	done  chan struct{} // closed when all goroutines have returned
	// followed has capacity 1: wakes follow when the stream is over.
	followed chan struct{}
	first    chan error    // what became of the first attempt of a lane, while OpenStream waits
	opened   chan struct{} // closed when the first lane is open
	busy     sync.WaitGroup

	calls sync.Mutex // held during callbacks, which lanes make

	mu       sync.Mutex // guards what follows and fields of lanes; never held while blocking or in a callback
	buf      buffer
	lanes    []*lane
	picker   balancer.Picker // over lanes; nil with a single address
	named    int             // lanes' streams that were given a name
	promised int             // payloads of the buffer that are in the quotas of lanes
	parked   int             // lanes that open when there is work
	closing  bool            // ended is closed
	err      error           // why the stream failed
	blocked  int             // Sends that wait on room
	flushes  []*flush
	rest     []Unacked // set by Close
	stats    Stats
	past     map[string]PodStats // of lanes that have ended, by pod
}

// flush is a call of Flush that waits, or a lane that waits for its own last ack.
type flush struct {
	target int64
	lane   *lane // nil: all of them
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

	Resent     int64         // payloads sent more than once, after the stream was opened again; the server knows them
	Moved      int64         // payloads taken from a pod that was lost or drained, and sent to another one
	Uncertain  int64         // of Moved, those that the first pod may have stored without having said so: they may be in the table twice
	Reopened   int64         // times the stream was opened again
	Epoch      int64         // of the newest claim
	Connected  bool          // the stream is open now
	Credit     int           // payloads that the server would take now
	AckLatency time.Duration // from sending to the ack, of a recent payload
	LastError  error         // why the stream was opened again, or failed; nil if it never was
}

func newStream(c *Client, o StreamOptions) *Stream {
	s := &Stream{
		c: c, o: o, pool: c.pool, buf: newBuffer(o.Buffer), room: make(chan struct{}, 1),
		ended: make(chan struct{}), followed: make(chan struct{}, 1), done: make(chan struct{}), first: make(chan error), opened: make(chan struct{}),
		past: map[string]PodStats{},
	}
	s.ctx, s.cancel = context.WithCancelCause(context.Background())
	return s
}

// start opens the lanes and waits until one is open, or no first attempt has succeeded.
func (s *Stream) start(ctx context.Context) error {
	tries := 1
	if s.pool == nil {
		l := newLane(s, &s.c.conns, s.o.Name)
		s.lanes = []*lane{l}
		s.busy.Go(l.run)
	} else {
		tries = s.sync(s.pool.Snapshot())
		s.busy.Go(s.follow)
	}
	go func() {
		s.busy.Wait()
		s.c.forget(s)
		close(s.done)
	}()
	err := s.awaitFirst(ctx, tries)
	if err == nil {
		close(s.opened)
		return nil
	}
	s.cancel(err)
	<-s.done
	return err
}

func (s *Stream) awaitFirst(ctx context.Context, tries int) (err error) {
	for range tries {
		select {
		case err = <-s.first:
			if err == nil || final(err) {
				return err
			}
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
	return err
}

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
		s.forgetFlush(f)
		return context.Cause(ctx)
	}
}

func (s *Stream) forgetFlush(f *flush) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushes = slices.DeleteFunc(s.flushes, func(x *flush) bool { return x == f })
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
	s.tellDry()
	s.checkOver()
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
		s.rest = s.buf.rest(s.windows()...)
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
	defer s.mu.Unlock()
	st := s.stats
	st.Buffered, st.Unsent, st.Bytes = int64(s.buf.len()), int64(s.buf.waiting()), s.buf.bytes
	for _, l := range s.lanes {
		st.Unsent += int64(l.win.unsent())
		if l.a != nil {
			st.Connected = true
			st.Credit += l.a.out.Credit()
		}
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
			s.offer()
			defer s.mu.Unlock()
			return n, 0, s.refusal()
		}
		if s.buf.fits(len(data)) {
			seq = s.push(data)
			n++
			continue
		}
		s.offer()
		if err := s.overflow(ctx, data); err != nil {
			return n, 0, err
		}
		if s.o.Overflow != Block {
			n, seq = n+1, 0
		}
	}
	s.offer()
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
	if s.o.Overflow == DropOldest {
		return 0
	}
	return seq
}

// offer gives what waits in the buffer to lanes that take it, with mu held.
func (s *Stream) offer() {
	waiting := s.buf.waiting()
	if waiting == 0 {
		return
	}
	if s.picker == nil {
		s.lanes[0].wake()
		s.unpark()
		return
	}
	for n := waiting - s.promised; n > 0; n = waiting - s.promised {
		i := s.picker.Pick(s.pool.Now())
		if i < 0 {
			break
		}
		l := s.lanes[i]
		part := (n + len(s.lanes) - 1) / len(s.lanes)
		l.give(min(part, l.free, runLength-l.quota))
	}
	s.unpark()
}

// unpark has lanes open that wait for a reason to, with mu held.
func (s *Stream) unpark() {
	if s.parked == 0 {
		return
	}
	for _, l := range s.lanes {
		if l.parked {
			signal(l.work)
		}
	}
}

// dry says, with mu held, that nothing is left for l to send, now or later.
func (s *Stream) dry(l *lane) bool {
	return s.closing && l.win.unsent() == 0 && s.buf.waiting() == 0
}

// tellDry has lanes end their direction that have nothing left to send, with mu held.
func (s *Stream) tellDry() {
	if !s.closing || s.buf.waiting() > 0 {
		return
	}
	for _, l := range s.lanes {
		if l.a != nil && l.win.unsent() == 0 {
			l.a.dry()
		}
		signal(l.work)
	}
}

// over says, with mu held, that the stream is closed and everything acknowledged.
func (s *Stream) over() bool { return s.closing && s.buf.len() == 0 }

// finished says whether the stream is closed and everything acknowledged.
func (s *Stream) finished() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.over()
}

// checkOver ends the lanes that are not open, once there is nothing left to open them for, with mu held.
func (s *Stream) checkOver() {
	if !s.over() {
		return
	}
	for _, l := range s.lanes {
		if l.a == nil {
			l.cancel()
		}
	}
	if s.pool != nil {
		signal(s.followed)
	}
}

// attached says whether any lane is open.
func (s *Stream) attached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.lanes, func(l *lane) bool { return l.a != nil })
}

func (s *Stream) windows() []*window {
	all := make([]*window, len(s.lanes))
	for i, l := range s.lanes {
		all[i] = &l.win
	}
	return all
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
		s.checkOver()
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
	if s.blocked > 0 {
		signal(s.room)
	}
	s.flushed()
	s.checkOver()
}

// flushed ends the calls of Flush that have what they wait for, with mu held.
func (s *Stream) flushed() {
	s.flushes = slices.DeleteFunc(s.flushes, func(f *flush) bool {
		switch {
		case f.lane != nil && f.lane.win.flight.n > 0:
			return false
		case f.lane == nil && f.target >= s.buf.head && s.buf.len() > 0:
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

// fail ends the stream for err; the first one counts.
func (s *Stream) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err, s.stats.LastError = err, err
	}
	s.stop()
	s.cancel(err)
}

// failure is err for the caller, with mu held.
func (s *Stream) failure() error {
	if s.err == nil {
		return nil
	}
	return s.wrap(s.err)
}

func (s *Stream) wrap(err error) error { return fmt.Errorf("stream %q: %w", s.o.Name, err) }
