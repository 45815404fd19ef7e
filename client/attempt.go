package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

const (
	ackDemand = 256 // messages that the server may send ahead
	runLength = 256 // payloads handed to the connection at once
	maxClaims = 16  // epochs tried in a row on one connection

	openTimeout  = time.Minute      // for the answer to an opening frame
	lastAcksWait = 30 * time.Second // for the end of the stream after the server has ended its intake
	completeWait = 5 * time.Second  // for the end of the stream after everything is acknowledged
)

// attempt is one claim of a stream on one connection: one epoch. It ends with the connection, with a word of the server, or
// with Close.
type attempt struct {
	s    *Stream
	conn *shared
	out  *rsocket.Sender
	in   *rsocket.Receiver

	records int64 // of the last ack
	retire  bool  // the server wants no streams: open this one on another connection
}

// open claims the stream on a connection, with epochs above all that were tried.
func (s *Stream) open(ctx context.Context) (*attempt, error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	conn, err := s.c.conns.acquire(ctx)
	if err != nil {
		return nil, err
	}
	for range maxClaims {
		var a *attempt
		if a, err = s.claim(ctx, conn); err == nil {
			return a, nil
		}
		stale, ok := errors.AsType[*staleEpochError](err)
		if !ok {
			break
		}
		s.epoch = max(s.epoch, stale.highest)
	}
	s.c.conns.release(conn, !final(err))
	return nil, err
}

// staleEpochError says that an epoch was tried that is not above all others.
type staleEpochError struct{ highest int64 }

func (e *staleEpochError) Error() string {
	return fmt.Sprintf("the stream was opened again elsewhere, as epoch %d", e.highest)
}

// claim opens the channel and waits for the server's word. The number counts as tried whatever becomes of it.
func (s *Stream) claim(ctx context.Context, conn *shared) (*attempt, error) {
	s.epoch++
	opening, err := s.opening()
	if err != nil {
		return nil, err
	}
	out, in, err := conn.RequestChannel(ctx, opening, ackDemand, rsocket.ChannelOptions{})
	if err != nil {
		return nil, err
	}
	a := &attempt{s: s, conn: conn, out: out, in: in}
	if err := a.await(ctx); err != nil {
		in.Cancel()
		return nil, err
	}
	return a, nil
}

// opening is the first frame: the route, the header and, for what is not the connection's, the type of the payloads.
func (s *Stream) opening() (rsocket.Payload, error) {
	h := protocol.Header{
		Producer: s.c.o.Producer, Incarnation: s.c.o.Incarnation, Stream: s.o.Name,
		Epoch: s.epoch, Ack: protocol.LevelCommitted, Acked: max(0, s.Acked()),
	}
	b, err := json.Marshal(h)
	if err != nil {
		return rsocket.Payload{}, fmt.Errorf("stream header: %w", err)
	}
	md := rsocket.AppendComposite(slices.Clone(s.c.routes.stream), protocol.MIMEStream, b)
	if s.o.MIME != s.c.o.MIME {
		md = rsocket.AppendComposite(md, rsocket.MIMEPerStreamData, rsocket.AppendStreamMIME(nil, s.o.MIME))
	}
	return rsocket.NewPayload(nil, md), nil
}

// await reads the answer to the opening frame.
func (a *attempt) await(ctx context.Context) error {
	for {
		p, err := a.in.Recv(ctx)
		if completed(err) {
			return fmt.Errorf("%w: it ended the stream without a word", ErrProtocol)
		}
		if err != nil {
			return err
		}
		m, err := protocol.ParseMessage(p.Data)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrProtocol, err)
		}
		if m.Type == protocol.TypeOpened {
			return a.opened(&m)
		}
		if err := refusal(&m); err != nil {
			return err
		}
	}
}

// completed tells the regular end of a stream from a connection that ended, whose cause may be io.EOF too.
func completed(err error) bool {
	return errors.Is(err, io.EOF) && !errors.Is(err, rsocket.ErrConnClosed)
}

// refusal is what a message says against the stream; nil if nothing.
func refusal(m *protocol.Message) error {
	switch m.Type {
	case protocol.TypeStaleEpoch:
		return &staleEpochError{m.Highest}
	case protocol.TypeOutOfRange:
		return &OutOfRangeError{m.Expected}
	case protocol.TypeFenced:
		return ErrFenced
	case protocol.TypeError:
		return &protocol.Error{Code: m.Code, Message: m.Message}
	case protocol.TypeOpened, protocol.TypeAck, protocol.TypeDrain:
	}
	return nil
}

// opened sets the buffer to where the server wants to go on.
func (a *attempt) opened(m *protocol.Message) error {
	s := a.s
	if m.Epoch != s.epoch || m.ResumeFrom < 1 {
		return fmt.Errorf("%w: opened with epoch %d from payload %d in answer to epoch %d", ErrProtocol, m.Epoch, m.ResumeFrom, s.epoch)
	}
	a.in.Grant(1) // for the message just taken
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stats.Epoch == 0 {
		s.buf = newBuffer(s.o.Buffer, m.ResumeFrom)
	} else {
		acked, again, err := s.buf.rewind(m.ResumeFrom)
		if err != nil {
			return err
		}
		s.released(acked)
		s.stats.Resent += int64(again)
		s.stats.Reopened++
	}
	s.stats.Epoch = s.epoch
	s.credit = a.out.Credit
	s.probe.seq = 0
	return nil
}

// serve sends and reads until the attempt ends, and says why.
func (a *attempt) serve(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := context.WithCancelCause(ctx)
	sending := make(chan struct{})
	go func() {
		defer close(sending)
		err := a.send(ctx)
		switch {
		case errors.Is(err, rsocket.ErrCanceled):
			expire(ctx, cancel, lastAcksWait)
		case err == nil && a.s.Flush(ctx) == nil:
			expire(ctx, cancel, completeWait)
		}
	}()
	err := a.receive(ctx)
	cancel(nil)
	<-sending
	a.s.mu.Lock()
	a.s.credit = nil
	a.s.mu.Unlock()
	if time.Since(began) > a.s.c.o.MaxBackoff {
		a.s.retry.progress()
	}
	a.in.Cancel()
	a.s.c.conns.release(a.conn, a.retire)
	return err
}

var errNoEnd = errors.New("the server did not end the stream in time")

// expire bounds the wait for the end of the stream.
func expire(ctx context.Context, cancel context.CancelCauseFunc, wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-t.C:
		cancel(errNoEnd)
	case <-ctx.Done():
	}
}

// send hands payloads to the connection as far as the server's credit reaches. What is beyond it stays unsent, where the
// overflow policy can reach it. Once the stream is closing and everything is sent, it ends its direction.
func (a *attempt) send(ctx context.Context) error {
	run := make([]rsocket.Payload, 0, runLength)
	for {
		more, err := a.s.awaitWork(ctx, a.out.Done())
		if err != nil {
			return err
		}
		if !more {
			return a.out.Complete()
		}
		if err := a.out.AwaitCredit(ctx); err != nil {
			return err
		}
		run = a.s.take(run[:0], min(a.out.Credit(), runLength))
		if _, err := a.out.SendBatch(ctx, run); err != nil {
			return err
		}
	}
}

// awaitWork waits for something to send, or for stopped. It returns false once the stream is closing and nothing is left.
func (s *Stream) awaitWork(ctx context.Context, stopped <-chan struct{}) (bool, error) {
	for {
		s.mu.Lock()
		if s.buf.toSend() > 0 || s.closing {
			defer s.mu.Unlock()
			return s.buf.toSend() > 0, nil
		}
		s.idle = true
		s.mu.Unlock()
		select {
		case <-s.work:
		case <-stopped:
			return true, nil // sending says why
		case <-ctx.Done():
			return false, context.Cause(ctx)
		}
	}
}

func (s *Stream) take(run []rsocket.Payload, limit int) []rsocket.Payload {
	s.mu.Lock()
	defer s.mu.Unlock()
	run = s.buf.take(run, limit)
	if s.probe.seq == 0 && len(run) > 0 {
		s.probe = probe{seq: s.buf.next - 1, at: time.Now()}
	}
	return run
}

var errEnded = errors.New("the server ended the stream")

// receive reads what the server says until the stream ends.
func (a *attempt) receive(ctx context.Context) error {
	var b rsocket.Batch
	defer b.Release()
	for {
		err := a.in.RecvBatch(ctx, &b)
		if completed(err) {
			return errEnded
		}
		if err != nil {
			return err
		}
		for _, p := range b.Payloads {
			if err := a.message(p.Data); err != nil {
				return err
			}
		}
		a.in.Grant(len(b.Payloads))
	}
}

// message acts on one message. Types that it does not know are of later versions and not for this client.
func (a *attempt) message(data []byte) error {
	m, err := protocol.ParseMessage(data)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	switch m.Type {
	case protocol.TypeAck:
		return a.ack(&m)
	case protocol.TypeDrain, protocol.TypeError:
		a.retire = true
	case protocol.TypeOpened, protocol.TypeStaleEpoch, protocol.TypeOutOfRange, protocol.TypeFenced:
	}
	return refusal(&m)
}

// ack reports rejects while their payloads are still in the buffer, then frees what is acknowledged.
func (a *attempt) ack(m *protocol.Message) error {
	s := a.s
	s.mu.Lock()
	if err := s.buf.checkAck(m.Sequence); err != nil {
		s.mu.Unlock()
		return err
	}
	rejects := s.rejects(m.Rejected)
	s.mu.Unlock()
	for _, r := range rejects {
		s.o.OnReject(r)
	}
	s.mu.Lock()
	n := s.buf.ack(m.Sequence)
	s.stats.Rejected += int64(len(m.Rejected))
	s.stats.Records += max(0, m.Records-a.records)
	s.stats.Version = max(s.stats.Version, m.Version)
	s.released(n)
	s.mu.Unlock()
	a.records = max(a.records, m.Records)
	if n > 0 {
		s.retry.progress()
	}
	if s.o.OnAck != nil {
		s.o.OnAck(Ack{Sequence: m.Sequence, Records: m.Records, Version: m.Version})
	}
	return nil
}

// rejects prepares the calls of OnReject, with mu held. Only ack frees payloads, so they stay valid until it does.
func (s *Stream) rejects(named []protocol.Reject) []Reject {
	if s.o.OnReject == nil {
		return nil
	}
	out := make([]Reject, len(named))
	for i, r := range named {
		out[i] = Reject{Sequence: r.Sequence, Row: r.Row, Reason: r.Reason}
		if s.buf.has(r.Sequence) {
			out[i].Payload = s.buf.at(r.Sequence)
		}
	}
	return out
}
