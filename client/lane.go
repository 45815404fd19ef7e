package client

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/weir-dev/weir/balancer"
	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// lane carries payloads of a stream to one pod. A stream to a single address has one lane for its whole life; a stream to a
// cluster has one for each pod (pods.go).
//
// Towards the pod a lane is a stream with a name, epochs and sequences of its own, and every guarantee of a stream: what
// was not acknowledged is sent again after a lost connection, and the pod tells a repetition from news. What ties lanes
// together is the buffer of their stream: a payload belongs to no lane until the lane sends it, and comes back when the
// lane gives it up.
type lane struct {
	s      *Stream
	pod    source
	node   *balancer.Node  // nil with a single address
	ctx    context.Context //nolint:containedctx // the lifetime of run
	cancel context.CancelFunc
	work   chan struct{} // capacity 1: wakes whoever waits in take or awaitWork

	// Used by run alone.
	name     string // of the lane's stream
	epoch    int64  // highest ever tried
	retry    retry
	reported bool

	// Guarded by the stream's mutex.
	win     window
	began   bool     // the server has said where the window starts
	a       *attempt // open now; nil
	quota   int      // payloads of the buffer that it is to take
	free    int      // credit beyond the quota, as last seen
	idle    bool     // waits in take
	parked  bool     // has no attempt and makes one when there is work
	leaving bool     // takes nothing more: the pod drains
	probe   probe
	sent    int64
	acks    int64
	pick    *balancer.Candidate // nil with a single address
}

func newLane(s *Stream, pod source, name string) *lane {
	l := &lane{s: s, pod: pod, name: name, work: make(chan struct{}, 1), win: newWindow()}
	l.ctx, l.cancel = context.WithCancel(s.ctx)
	return l
}

func (l *lane) openWait() time.Duration {
	wait := openTimeout
	if up := l.s.c.o.GiveUpAfter; up > 0 {
		wait = min(wait, up)
	}
	if l.node != nil && l.mayGiveUp() {
		wait = min(wait, reopenWait)
	}
	return wait
}

// acked returns the last sequence that the server of the lane has acknowledged.
func (l *lane) acked() int64 {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	return l.win.head - 1
}

// resume sets the window to where the server wants to go on, with mu held.
func (l *lane) resume(from int64) error {
	s := l.s
	if !l.began {
		l.win.begin(from)
		if s.pool == nil { // the sequences of lane and stream are the same
			s.buf.begin(from)
		}
		l.began = true
		return nil
	}
	acked, again, err := s.buf.rewind(&l.win, from)
	if err != nil {
		return err
	}
	l.released(acked)
	s.stats.Resent += int64(again)
	s.stats.Reopened++
	return nil
}

// attach makes a the open attempt, with mu held.
func (l *lane) attach(a *attempt) {
	l.a, l.probe.seq = a, 0
	if l.leaving || l.s.dry(l) {
		a.dry()
	}
}

func (l *lane) detach() {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	l.a = nil
	l.refuse()
	l.s.checkOver()
}

// take appends what the lane is to send now. It waits for it; an empty run says that there is nothing left for this lane.
func (l *lane) take(ctx context.Context, out *rsocket.Sender, run []rsocket.Payload) ([]rsocket.Payload, error) {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		l.accept(out.Credit())
		if run = l.draw(run, out.Credit()); len(run) > 0 {
			return run, nil
		}
		if l.a == nil || l.a.credit.Err() != nil || l.leaving || s.dry(l) {
			return run, nil
		}
		l.idle = true
		s.mu.Unlock()
		err := l.await(ctx, out.Done())
		s.mu.Lock()
		l.idle = false
		if err != nil {
			return run, err
		}
	}
}

// await waits until there may be work, or the peer has ended the direction, which sending says.
func (l *lane) await(ctx context.Context, stopped <-chan struct{}) error {
	select {
	case <-l.work:
	case <-stopped:
		return rsocket.ErrCanceled
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return nil
}

// draw takes payloads out of the buffer, with mu held: first those of its own that go out again, then its quota.
func (l *lane) draw(run []rsocket.Payload, credit int) []rsocket.Payload {
	s := l.s
	again := l.win.unsent()
	part := min(l.quota, s.buf.waiting())
	if l.pick == nil {
		part = s.buf.waiting()
	}
	before := l.win.wired
	run = s.buf.take(&l.win, run, min(credit, runLength, again+part))
	if len(run) == 0 {
		l.undo(credit)
		return run
	}
	if l.pick != nil {
		l.spend(int(l.win.wired - before))
		l.accept(credit - len(run))
	}
	l.sent += int64(len(run))
	if l.probe.seq == 0 {
		l.probe = probe{seq: l.win.next - 1, at: time.Now()}
	}
	s.tellDry()
	return run
}

// accept says how much credit the lane has, with mu held; what exceeds its quota can be given to it.
func (l *lane) accept(credit int) {
	if l.pick == nil {
		return
	}
	l.free = max(0, credit-l.quota-l.win.unsent())
	l.pick.SetUsable(l.usable())
	if l.usable() {
		l.s.offer()
	}
}

func (l *lane) usable() bool { return l.a != nil && !l.leaving && l.free > 0 && l.quota < runLength }

// give adds n payloads of the buffer to the lane's quota, with mu held.
func (l *lane) give(n int) {
	l.quota += n
	l.free -= n
	l.s.promised += n
	l.node.Load.Begin(n)
	l.pick.SetUsable(l.usable())
	l.wake()
}

// wake has take look again, with mu held.
func (l *lane) wake() {
	if l.idle {
		l.idle = false
		signal(l.work)
	}
}

// spend takes n from the quota, which the lane has taken out of the buffer, with mu held. What was dropped meanwhile is no
// part of it any more.
func (l *lane) spend(n int) {
	l.quota -= n
	l.s.promised -= n
	l.waive(min(l.quota, l.s.promised-l.s.buf.waiting()))
}

// undo gives back, with mu held, what of the quota was dropped by the overflow policy before the lane could take it. Otherwise
// the next payloads would count as promised to a lane that waits to be told of them.
func (l *lane) undo(credit int) {
	if l.pick == nil || l.quota == 0 {
		return
	}
	l.waive(min(l.quota, l.s.promised-l.s.buf.waiting()))
	l.accept(credit)
}

// waive gives n of the quota back, with mu held.
func (l *lane) waive(n int) {
	if n > 0 {
		l.quota -= n
		l.s.promised -= n
		l.node.Load.End(n)
	}
}

// refuse gives the whole quota back, for others, and takes nothing more until accept, with mu held.
func (l *lane) refuse() {
	if l.pick == nil {
		return
	}
	l.free = 0
	l.pick.SetUsable(false)
	if l.quota > 0 {
		l.waive(l.quota)
		l.s.offer()
	}
}

// released books n acknowledged payloads, with mu held.
func (l *lane) released(n int) {
	if n == 0 {
		return
	}
	l.acks += int64(n)
	if p := &l.probe; p.seq != 0 && l.win.head > p.seq {
		l.s.stats.AckLatency = time.Since(p.at)
		p.seq = 0
		if l.node != nil {
			l.node.Load.Observe(l.s.stats.AckLatency, l.s.pool.Now())
		}
	}
	if l.node != nil {
		l.node.Load.End(n)
	}
	l.s.released(n)
}

// rejects prepares the calls of OnReject, with mu held. Only ack frees payloads, so they stay valid until it does.
func (l *lane) rejects(named []protocol.Reject) []Reject {
	if l.s.o.OnReject == nil {
		return nil
	}
	out := make([]Reject, len(named))
	for i, r := range named {
		out[i] = Reject{Row: r.Row, Reason: r.Reason}
		switch {
		case l.win.has(r.Sequence):
			it := l.win.at(r.Sequence)
			out[i].Sequence, out[i].Payload = it.seq, it.bytes()
		case l.s.pool == nil:
			out[i].Sequence = r.Sequence
		}
	}
	return out
}

// flushed waits until the lane has nothing in flight.
func (l *lane) flushed(ctx context.Context) error {
	l.s.mu.Lock()
	if l.win.flight.n == 0 {
		l.s.mu.Unlock()
		return nil
	}
	f := &flush{lane: l, done: make(chan struct{})}
	l.s.flushes = append(l.s.flushes, f)
	l.s.mu.Unlock()
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
		l.s.forgetFlush(f)
		return context.Cause(ctx)
	}
}

// awaitWork waits, without an attempt, until there is something to send. There is no work when the lane ends instead; idle
// says that it had to wait.
func (l *lane) awaitWork() (work, idle bool) {
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	for l.ctx.Err() == nil && !s.over() {
		if !l.leaving && (l.win.flight.n > 0 || s.buf.waiting() > 0) {
			return true, idle
		}
		idle, l.parked = true, true
		s.parked++
		s.mu.Unlock()
		select {
		case <-l.work:
		case <-l.ctx.Done():
		}
		s.mu.Lock()
		l.parked = false
		s.parked--
	}
	return false, idle
}

// fatal says whether cause ends the whole stream. A pod that does not know the lane, or knows another, is no reason while
// the lane can begin anew.
func (l *lane) fatal(cause error) bool {
	if l.node != nil {
		if _, lost := errors.AsType[*OutOfRangeError](cause); lost || errors.Is(cause, ErrFenced) {
			return false
		}
	}
	return final(cause)
}

// settle decides, after an attempt has ended for cause, what becomes of what is in flight: it stays with the lane, which
// will send it again to the same pod; or it is for the other lanes, if there are any, once the pod is no longer to be
// expected, or does not want it.
func (l *lane) settle(cause error) {
	if l.node == nil {
		return
	}
	_, lost := errors.AsType[*OutOfRangeError](cause)
	switch {
	case errors.Is(cause, errEnded), lost, errors.Is(cause, ErrFenced):
		l.giveUp(cause)
	case l.retry.attempts > 0 && l.mayGiveUp(), l.node.State() == balancer.Draining && l.mayGiveUp():
		l.giveUp(cause)
	}
}

// mayGiveUp says whether another lane is there to take over.
func (l *lane) mayGiveUp() bool {
	l.s.mu.Lock()
	defer l.s.mu.Unlock()
	if l.win.flight.n == 0 {
		return false
	}
	for _, other := range l.s.lanes {
		if other != l && other.a != nil && !other.leaving {
			return true
		}
	}
	return false
}

// giveUp leaves what is in flight to the other lanes; the lane begins anew, as another stream of the pod. What a pod has ended
// in order it has acknowledged as far as it took it; after anything else it may have more of it than it could say.
func (l *lane) giveUp(cause error) {
	if l.node == nil {
		return
	}
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.buf.giveUp(&l.win)
	l.began, l.probe.seq = false, 0
	l.name, l.epoch = s.laneName(), 0
	if n == 0 {
		return
	}
	l.node.Load.End(n)
	s.stats.Moved += int64(n)
	if !errors.Is(cause, errEnded) {
		s.stats.Uncertain += int64(n)
	}
	s.offer()
}

// welcome notes, with the stream's mutex held, that the pod takes a stream on c: what it said before, that it wants nothing
// new, does not hold any more.
func (l *lane) welcome(c link) {
	if l.node == nil {
		return
	}
	l.node.Revive(c.Conn)
	l.leaving = l.node.State() == balancer.Draining
}

// leave has the lane take nothing more, or go on, with the stream's mutex held.
func (l *lane) leave(leaving bool) {
	if l.leaving == leaving {
		return
	}
	l.leaving = leaving
	if leaving {
		l.refuse()
	}
	if leaving && l.a != nil && l.win.unsent() == 0 {
		l.a.dry()
	}
	signal(l.work)
}

// laneName names a lane's stream: pods know the stream of a pod-spanning producer under one such name each, and a new one
// whenever a lane begins anew.
func (s *Stream) laneName() string {
	if s.pool == nil {
		return s.o.Name
	}
	s.named++
	return fmt.Sprintf("%s/%.8s-%d", s.o.Name, s.suffix, s.named)
}

// PodStats are the figures of a stream to one pod of a cluster.
type PodStats struct {
	Pod       string // its id
	Addr      string
	State     string // connecting, ready, draining or gone
	Connected bool   // the stream is open there now
	Sent      int64  // payloads handed to the connection, repeated ones included
	Acked     int64  // payloads it acknowledged
	InFlight  int64  // payloads sent and not acknowledged
	Credit    int    // payloads that it would take now
}
