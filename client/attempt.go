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

// attempt is one claim of a lane on one connection: one epoch. It ends with the connection, with a word of the server, or
// with Close.
type attempt struct {
	l    *lane
	conn link
	out  *rsocket.Sender
	in   *rsocket.Receiver

	// credit ends when there is nothing to wait for credit for. dry ends it.
	credit context.Context //nolint:containedctx // the lifetime of a wait
	dry    context.CancelFunc

	records int64 // of the last ack
	retire  bool  // the server wants no streams: open this one on another connection
}

// open claims the lane's stream on a connection, with epochs above all that were tried.
func (l *lane) open() (*attempt, error) {
	ctx, cancel := context.WithTimeout(l.ctx, l.openWait())
	defer cancel()
	conn, err := l.pod.acquire(ctx)
	if err != nil {
		return nil, err
	}
	for range maxClaims {
		var a *attempt
		if a, err = l.claim(ctx, conn); err == nil {
			return a, nil
		}
		stale, ok := errors.AsType[*staleEpochError](err)
		if !ok {
			break
		}
		l.epoch = max(l.epoch, stale.highest)
	}
	conn.release(!final(err))
	return nil, err
}

// staleEpochError says that an epoch was tried that is not above all others.
type staleEpochError struct{ highest int64 }

func (e *staleEpochError) Error() string {
	return fmt.Sprintf("the stream was opened again elsewhere, as epoch %d", e.highest)
}

// claim opens the channel and waits for the server's word. The number counts as tried whatever becomes of it.
func (l *lane) claim(ctx context.Context, conn link) (*attempt, error) {
	l.epoch++
	opening, err := l.opening()
	if err != nil {
		return nil, err
	}
	out, in, err := conn.RequestChannel(ctx, opening, ackDemand, rsocket.ChannelOptions{})
	if err != nil {
		return nil, err
	}
	a := &attempt{l: l, conn: conn, out: out, in: in}
	a.credit, a.dry = context.WithCancel(l.ctx)
	if err := a.await(ctx); err != nil {
		a.dry()
		in.Cancel()
		return nil, err
	}
	return a, nil
}

// opening is the first frame: the route, the header and, for what is not the connection's, the type of the payloads.
func (l *lane) opening() (rsocket.Payload, error) {
	c, o := l.s.c, &l.s.o
	h := protocol.Header{
		Producer: c.o.Producer, Incarnation: c.o.Incarnation, Stream: l.name,
		Epoch: l.epoch, Ack: protocol.LevelCommitted, Acked: l.acked(),
	}
	b, err := json.Marshal(h)
	if err != nil {
		return rsocket.Payload{}, fmt.Errorf("stream header: %w", err)
	}
	md := rsocket.AppendComposite(slices.Clone(c.routes.stream), protocol.MIMEStream, b)
	if o.MIME != c.o.MIME {
		md = rsocket.AppendComposite(md, rsocket.MIMEPerStreamData, rsocket.AppendStreamMIME(nil, o.MIME))
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

// opened sets the lane to where the server wants to go on.
func (a *attempt) opened(m *protocol.Message) error {
	l := a.l
	if m.Epoch != l.epoch || m.ResumeFrom < 1 {
		return fmt.Errorf("%w: opened with epoch %d from payload %d in answer to epoch %d", ErrProtocol, m.Epoch, m.ResumeFrom, l.epoch)
	}
	a.in.Grant(1) // for the message just taken
	s := l.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := l.resume(m.ResumeFrom); err != nil {
		return err
	}
	s.stats.Epoch = l.epoch
	l.welcome(a.conn)
	l.attach(a)
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
		case err == nil && a.l.flushed(ctx) == nil:
			expire(ctx, cancel, completeWait)
		}
	}()
	err := a.receive(ctx)
	cancel(nil)
	a.dry()
	a.in.Cancel() // also for sending, whose last frame waits for room and for no context
	<-sending
	a.l.detach()
	if time.Since(began) > a.l.s.c.o.MaxBackoff {
		a.l.retry.progress()
	}
	a.conn.release(a.retire)
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
// overflow policy and other lanes can reach it. Once there is nothing left for this lane, it ends its direction.
func (a *attempt) send(ctx context.Context) error {
	run := make([]rsocket.Payload, 0, runLength)
	for {
		if err := a.out.AwaitCredit(a.credit); err != nil && a.credit.Err() == nil {
			return err
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		var err error
		if run, err = a.l.take(ctx, a.out, run[:0]); err != nil {
			return err
		}
		if len(run) == 0 {
			return a.out.Complete()
		}
		if _, err := a.out.SendBatch(ctx, run); err != nil {
			return err
		}
	}
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
	l, s := a.l, a.l.s
	s.mu.Lock()
	if err := l.win.checkAck(m.Sequence); err != nil {
		s.mu.Unlock()
		return err
	}
	rejects := l.rejects(m.Rejected)
	s.mu.Unlock()
	s.calls.Lock()
	defer s.calls.Unlock()
	for _, r := range rejects {
		s.o.OnReject(r)
	}
	s.mu.Lock()
	n := s.buf.ack(&l.win, m.Sequence)
	s.stats.Rejected += int64(len(m.Rejected))
	s.stats.Records += max(0, m.Records-a.records)
	s.stats.Version = max(s.stats.Version, m.Version)
	l.released(n)
	told := Ack{Sequence: m.Sequence, Records: m.Records, Version: m.Version}
	if s.pool != nil {
		told = Ack{Sequence: s.buf.head - 1, Records: s.stats.Records, Version: s.stats.Version}
	}
	s.mu.Unlock()
	a.records = max(a.records, m.Records)
	if n > 0 {
		l.retry.progress()
	}
	if s.o.OnAck != nil {
		s.o.OnAck(told)
	}
	return nil
}
