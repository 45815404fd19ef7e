package ingestor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/weir-dev/weir/ingestor/batch"
	"github.com/weir-dev/weir/ingestor/commit"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
	"github.com/weir-dev/weir/ingestor/lease"
	"github.com/weir-dev/weir/ingestor/transform"
	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

const (
	// maxRejectBytes bounds the rejects that wait for an ack; when they are full the channel gets no credit.
	maxRejectBytes = 64 << 10
	// decodeRun is how many payloads are decoded under one hold of the shard's lock.
	decodeRun = 256
)

// session is one open ingest.stream: a channel whose payloads go into the batch and whose acks come back. Two goroutines
// serve it: intake decodes what arrives, acks answers as commits settle.
type session struct {
	p       *Pipeline
	in      *rsocket.Receiver
	out     *rsocket.Sender
	id      event.StreamID // empty name: a plain channel
	mime    event.MIME
	shard   *batch.Shard
	channel *lease.Channel // guarded by the admission's lock
	first   []byte         // opening payload of a plain channel that counts as its first

	mu          sync.Mutex // guards what follows; never held while blocking
	received    int64      // last sequence handed to the batch
	settled     int64      // last sequence settled
	acked       int64      // last sequence acknowledged to the producer
	records     int64      // accepted and settled
	version     int64      // of the table that holds them
	rejected    []protocol.Reject
	rejectBytes int
	stopped     bool              // this side has ended the intake
	ended       bool              // intake is over: no more will be received
	left        bool              // the channel is over; the claim ends once everything received is settled
	fatal       *protocol.Message // what was received will never be settled
	parting     *protocol.Message // the last word, once everything received is settled
	changed     chan struct{}     // has a token when acks should look again
}

// serveStream handles ingest.stream.
func (p *Pipeline) serveStream(ctx context.Context, r *rsocket.Request, in *rsocket.Receiver, out *rsocket.Sender) error {
	s := &session{p: p, in: in, out: out, shard: p.flusher.Shard(), changed: make(chan struct{}, 1)}
	defer s.leave()
	if err := s.open(ctx, r); err != nil {
		return s.refuse(ctx, err)
	}
	p.register(s)
	defer p.unregister(s)
	if err := p.closed(); err != nil { // a drain that began meanwhile did not see this session
		return s.refuse(ctx, err)
	}
	if err := p.admit.join(s); err != nil {
		return s.refuse(ctx, &protocol.Error{Code: protocol.CodeUnavailable, Message: err.Error()})
	}
	defer p.admit.leave(s)

	ctx, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- s.intake(ctx) }()
	err := s.acks(ctx)
	cancel()
	if in := <-done; err == nil {
		err = in
	}
	return err
}

// open reads the header, claims the stream and says so to the producer.
func (s *session) open(ctx context.Context, r *rsocket.Request) error {
	head, err := s.p.readOpening(r)
	if err != nil {
		return err
	}
	s.mime = head.mime
	if e := s.p.closed(); e != nil {
		return e
	}
	if head.stream == nil {
		if len(r.Data) > 0 {
			s.first = append([]byte(nil), r.Data...)
		}
		return nil
	}
	h := head.stream
	if len(r.Data) > 0 {
		return &protocol.Error{Code: protocol.CodeBadHeader, Message: "the opening frame of a stream with a header carries no data: send the first payload after \"opened\""}
	}
	id := event.StreamID{Name: h.Stream, Epoch: h.Epoch}
	opened, err := s.p.table.Open(ctx, commit.OpenRequest{Stream: id, Incarnation: h.Incarnation, Acked: h.Acked, Revoke: s.revoke})
	if err != nil {
		return err
	}
	s.id = id
	s.received, s.settled, s.acked = opened.ResumeFrom-1, opened.ResumeFrom-1, opened.ResumeFrom-1
	return s.tell(ctx, &protocol.Message{Type: protocol.TypeOpened, Epoch: opened.Epoch, ResumeFrom: opened.ResumeFrom})
}

// leave ends the claim, at once or when the last of what was received is settled: a later claim has to wait for that,
// or the producer would send again what is about to be committed.
func (s *session) leave() {
	s.mu.Lock()
	s.ended, s.left = true, true
	over := s.over()
	s.mu.Unlock()
	if over {
		s.endClaim()
	}
}

// over says, with mu held, that nothing more will be received or settled.
func (s *session) over() bool { return s.ended && (s.settled == s.received || s.fatal != nil) }

func (s *session) endClaim() {
	if s.id.Name != "" {
		s.p.table.Leave(s.id)
	}
}

// refuse ends the stream with the message that err stands for.
func (s *session) refuse(ctx context.Context, err error) error {
	m := refusal(err)
	if m == nil {
		return err
	}
	s.p.metrics.refused.WithLabelValues(string(m.Type)).Inc()
	return s.tell(ctx, m)
}

// refusal is the message for err, nil when it is none for the producer.
func refusal(err error) *protocol.Message {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return &protocol.Message{Type: protocol.TypeError, Code: e.Code, Message: e.Message}
	}
	if e, ok := errors.AsType[*commit.StaleEpochError](err); ok {
		return &protocol.Message{Type: protocol.TypeStaleEpoch, Highest: e.Highest}
	}
	if e, ok := errors.AsType[*commit.OutOfRangeError](err); ok {
		return &protocol.Message{Type: protocol.TypeOutOfRange, Expected: e.Expected}
	}
	if errors.Is(err, commit.ErrFenced) {
		return &protocol.Message{Type: protocol.TypeFenced}
	}
	return nil
}

// tell sends m once the producer has demand for it.
func (s *session) tell(ctx context.Context, m *protocol.Message) error {
	return s.out.Send(ctx, rsocket.Payload{Data: m.Append(nil)})
}

// intake takes payloads in until the producer completes, cancels or fails, and marks the end.
func (s *session) intake(ctx context.Context) error {
	err := s.receive(ctx)
	s.mu.Lock()
	s.ended = true
	clean := s.stopped || s.parting != nil || errors.Is(err, io.EOF)
	s.mu.Unlock()
	s.notify()
	if clean {
		s.p.flusher.Hasten() // nothing more comes: do not let the last records wait for company
		return nil
	}
	return err
}

func (s *session) receive(ctx context.Context) error {
	if s.first != nil {
		n := len(s.first)
		if !s.p.admit.pool.TryTake(n) {
			return &rsocket.Error{Code: rsocket.CodeRejected, Message: "the pipeline is out of memory for new payloads: try again later"}
		}
		if err := s.append(ctx, []rsocket.Payload{{Data: s.first}}); err != nil {
			s.p.admit.pool.Release(n)
			return err
		}
		s.p.admit.arrived(s, 1, int64(n))
		s.first = nil
	}
	var b rsocket.Batch
	for {
		if err := s.in.RecvBatch(ctx, &b); err != nil {
			return err
		}
		err := s.take(ctx, &b)
		if err != nil {
			return err
		}
		s.p.admit.next(s)
	}
}

// take decodes a received batch. The bytes stay charged to the pool until they are settled.
func (s *session) take(ctx context.Context, b *rsocket.Batch) error {
	size := payloadBytes(b.Payloads)
	s.p.admit.arrived(s, len(b.Payloads), size)
	for rest := b.Payloads; len(rest) > 0; {
		n := min(len(rest), decodeRun)
		if err := s.append(ctx, rest[:n]); err != nil {
			b.Release()
			s.p.admit.pool.Hold(size - payloadBytes(rest))
			return err
		}
		rest = rest[n:]
	}
	b.Detach()
	return nil
}

func payloadBytes(payloads []rsocket.Payload) int64 {
	n := 0
	for i := range payloads {
		n += len(payloads[i].Data) + len(payloads[i].Metadata)
	}
	return int64(n)
}

// append decodes payloads into the shard, in order.
func (s *session) append(ctx context.Context, payloads []rsocket.Payload) error {
	if err := s.fetchSchemas(ctx, payloads); err != nil {
		return err
	}
	now := time.Now()
	var suspended string
	taps := s.p.taps.all.Load()
	err := s.shard.Append(ctx, now, func(dec *transform.Decoder) batch.Part {
		part := batch.Part{Source: s, Stream: s.id}
		sys := decode.System{Stream: s.id.Name, Seq: s.received, ReceivedMicros: now.UnixMicro()}
		var rejects []decode.Reject
		for i := range payloads {
			if s.p.suspended.Load() != nil {
				break // by this stream or another: the rest is sent again when the pipeline is back
			}
			sys.Seq++
			var n int
			mime := payloadMIME(&payloads[i], s.mime)
			n, rejects = dec.Append(mime, payloads[i].Data, sys, rejects[:0])
			if taps != nil {
				taps.payload(tapped{now, doorStream, s.id.Name, sys.Seq, mime, payloads[i].Data}, rejects)
			}
			if len(rejects) > 0 && rejects[0].Suspend {
				suspended = rejects[0].Reason
				sys.Seq--
				break
			}
			part.Records += int64(n)
			if len(rejects) > 0 {
				s.reject(sys.Seq, rejects)
			}
		}
		part.Last = sys.Seq
		part.Bytes = payloadBytes(payloads)
		s.mu.Lock()
		s.received = part.Last
		s.mu.Unlock()
		s.p.metrics.received(doorStream, len(payloads), part.Bytes, part.Records)
		return part
	})
	if suspended != "" {
		s.p.suspend(&suspendedError{fmt.Sprintf("stream %q, payload %d: %s", s.id.Name, s.received+1, suspended)})
	}
	return err
}

// fetchSchemas fetches what payloads need before they are decoded. When the registry does not answer the intake ends; what
// was received before is settled and acknowledged first, or it would be sent again and stored twice.
func (s *session) fetchSchemas(ctx context.Context, payloads []rsocket.Payload) error {
	if a := s.p.set.Decode.Avro; a == nil || a.Fetch == nil {
		return nil
	}
	for i := range payloads {
		if err := s.p.set.Decode.FetchSchemas(ctx, payloadMIME(&payloads[i], s.mime), payloads[i].Data); err != nil {
			s.p.limited.Warn("a stream ends, since a schema cannot be fetched", "stream", s.id.Name, "error", err)
			s.mu.Lock()
			s.parting = &protocol.Message{Type: protocol.TypeError, Code: protocol.CodeUnavailable, Message: err.Error() + ": send what is not acknowledged again"}
			s.mu.Unlock()
			return err
		}
	}
	return nil
}

// reject notes rejects for the next ack. Beyond the bound only the first of a payload is named, without its reason: the
// producer gets no credit by then, so the list can only grow by what was on its way.
func (s *session) reject(seq int64, rejects []decode.Reject) {
	s.p.metrics.rejected(doorStream, len(rejects))
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, r := range rejects {
		named := protocol.Reject{Sequence: seq, Row: r.Row, Reason: r.Reason}
		if s.rejectBytes > maxRejectBytes {
			if i > 0 {
				break
			}
			named.Reason = "too many rejects at once to say why"
		}
		s.rejected = append(s.rejected, named)
		s.rejectBytes += named.Size()
	}
}

// mayGrant says whether the session may get credit: its intake goes on and its rejects are being read.
func (s *session) mayGrant() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.ended && s.fatal == nil && s.p.suspended.Load() == nil && s.rejectBytes <= maxRejectBytes
}

// Settle implements [batch.Source].
func (s *session) Settle(part batch.Part, version int64, err error) {
	s.p.admit.settled(s, part.Bytes)
	s.mu.Lock()
	if err == nil && s.fatal == nil { // after a failure nothing more is acknowledged: acks are cumulative
		s.settled = part.Last
		s.records += part.Records
		s.version = version
	} else if s.fatal == nil {
		s.fatal = failure(err)
	}
	over := s.left && s.over()
	s.mu.Unlock()
	if over {
		s.endClaim()
	}
	s.notify()
}

// fail ends the session: the pipeline cannot go on.
func (s *session) fail(err error) {
	s.mu.Lock()
	if s.fatal == nil {
		s.fatal = failure(err)
	}
	s.mu.Unlock()
	s.notify()
}

// failure is what a producer is told when its records cannot be committed any more.
func failure(err error) *protocol.Message {
	if errors.Is(err, context.Canceled) {
		return &protocol.Message{Type: protocol.TypeError, Code: protocol.CodeUnavailable, Message: "the pipeline was stopped before the records were committed: send what is not acknowledged again"}
	}
	if e, ok := errors.AsType[*suspendedError](err); ok {
		return &protocol.Message{Type: protocol.TypeError, Code: protocol.CodeUnavailable, Message: e.Error()}
	}
	return &protocol.Message{Type: protocol.TypeError, Code: protocol.CodeFailed, Message: "the pipeline has stopped: " + err.Error()}
}

func (s *session) notify() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// acks sends acknowledgements, coalesced to the producer's demand, until everything received is settled after the end
// of intake.
func (s *session) acks(ctx context.Context) error {
	for {
		m, last := s.nextMessage(false)
		if m != nil {
			if err := s.out.AwaitCredit(ctx); err != nil {
				return err
			}
			m, last = s.nextMessage(true) // what has come in while waiting goes into the same ack
			if err := s.tell(ctx, m); err != nil {
				return err
			}
			s.p.admit.next(s)
		}
		if last {
			return nil
		}
		if m != nil {
			continue // there may be another word: one token may stand for many changes
		}
		select {
		case <-s.changed:
		case <-s.out.Done():
			return rsocket.ErrCanceled
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// nextMessage returns the message that is due, and whether it is the last one. With take it counts as sent.
func (s *session) nextMessage(take bool) (m *protocol.Message, last bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	final := s.fatal
	last = final != nil || s.ended && s.settled == s.received
	if last && final == nil {
		final = s.parting
	}
	if s.settled == s.acked {
		return final, last
	}
	m = &protocol.Message{
		Type: protocol.TypeAck, Level: protocol.LevelCommitted,
		Sequence: s.settled, Records: s.records, Version: s.version,
	}
	due := 0
	for due < len(s.rejected) && s.rejected[due].Sequence <= s.settled {
		due++
	}
	m.Rejected = s.rejected[:due:due]
	if take {
		s.acked = s.settled
		for _, r := range m.Rejected {
			s.rejectBytes -= r.Size()
		}
		s.rejected = s.rejected[due:]
	}
	return m, last && final == nil
}

// stop ends the intake with a word to the producer, if it can have it at once: nobody who takes nothing may hold a drain up.
// What was received is still committed and acknowledged.
func (s *session) stop(m *protocol.Message) {
	if s.id.Name != "" && !s.out.TrySend(rsocket.Payload{Data: m.Append(nil)}) {
		s.p.log.Debug("a producer has no demand for the word that it is to stop", "stream", s.id.Name)
	}
	s.cancel()
}

// cancel ends the intake from this side.
func (s *session) cancel() {
	s.mu.Lock()
	s.stopped = true
	s.mu.Unlock()
	s.in.Cancel()
}

// revoke implements the end of a claim by a later one.
func (s *session) revoke(ctx context.Context) error {
	s.cancel()
	for {
		s.mu.Lock()
		over := s.over()
		s.mu.Unlock()
		if over {
			return nil
		}
		if err := s.p.flusher.Flush(ctx); err != nil {
			return err
		}
	}
}
