package rsocket

import (
	"context"
	"errors"
)

// ChannelOptions are the less common choices of [Conn.RequestChannel].
type ChannelOptions struct {
	// Complete ends the requester's direction with the opening payload. The Sender is then closed from the start.
	Complete bool
}

// FireAndForget sends one payload without an answer. It waits for room in the write buffer. nil means that the payload was
// handed to the connection, not that it arrived. p may be reused afterwards.
func (c *Conn) FireAndForget(ctx context.Context, p Payload) error {
	_, err := c.request(ctx, FrameRequestFNF, 0, 0, p)
	return err
}

// RequestResponse sends one payload and waits for the answer, which belongs to the caller. An answer without payload is a
// zero Payload. When ctx ends first, the request is cancelled.
func (c *Conn) RequestResponse(ctx context.Context, p Payload) (Payload, error) {
	s, err := c.request(ctx, FrameRequestResponse, 0, 0, p)
	if err != nil {
		return Payload{}, err
	}
	return s.response(ctx)
}

// RequestStream opens a stream and grants the peer initialN payloads, at least one. ctx bounds the opening only; the stream
// lives until it ends or the Receiver is cancelled.
func (c *Conn) RequestStream(ctx context.Context, p Payload, initialN int) (*Receiver, error) {
	if initialN < 1 {
		return nil, ErrCredit
	}
	s, err := c.request(ctx, FrameRequestStream, initialN, 0, p)
	if err != nil {
		return nil, err
	}
	return &s.rx, nil
}

// RequestChannel opens a channel with its opening payload and grants the peer initialN payloads, at least one. The Sender
// has no credit until the peer grants some. ctx bounds the opening only.
func (c *Conn) RequestChannel(ctx context.Context, opening Payload, initialN int, o ChannelOptions) (*Sender, *Receiver, error) {
	if initialN < 1 {
		return nil, nil, ErrCredit
	}
	var flags Flags
	if o.Complete {
		flags = FlagComplete
	}
	s, err := c.request(ctx, FrameRequestChannel, initialN, flags, opening)
	if err != nil {
		return nil, nil, err
	}
	return &s.tx, &s.rx, nil
}

// MetadataPush sends metadata that belongs to the connection, at most one frame long.
func (c *Conn) MetadataPush(ctx context.Context, metadata []byte) error {
	if len(metadata) > maxFrameSize-headerSize {
		return ErrPayloadTooLarge
	}
	b := appendMetadataPush(nil, metadata)
	h := FrameHeader{Type: FrameMetadataPush, Flags: FlagMetadata}
	return c.untilRoom(ctx, func(wt *waiter) error { return c.w.control(b, h, wt) })
}

// untilRoom repeats try while the write buffer is full.
func (c *Conn) untilRoom(ctx context.Context, try func(wt *waiter) error) error {
	if err := try(nil); !errors.Is(err, errFull) {
		return err
	}
	wt := c.w.borrow()
	defer c.w.giveBack(wt)
	for {
		err := try(wt)
		if !errors.Is(err, errFull) {
			return err
		}
		select {
		case <-wt.ch:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// request sends the frame, or frames, that open a stream. The stream is nil for fire-and-forget.
func (c *Conn) request(ctx context.Context, typ FrameType, initialN int, flags Flags, p Payload) (*stream, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if c.leased != nil {
		if err := c.leased.acquire(ctx, c); err != nil {
			return nil, err
		}
	}
	p, end := c.observed(ctx, typ, p)
	f := fragmenter{typ: typ, n: uint32(min(initialN, maxCredit)), flags: flags, p: p, mtu: c.mtu, observed: end}
	s, err := c.send(ctx, &f)
	if end != nil && (err != nil || s == nil) {
		end(err)
	}
	return s, err
}

// send sends the frames of f. The stream is nil for fire-and-forget.
func (c *Conn) send(ctx context.Context, f *fragmenter) (*stream, error) {
	s, last, err := c.begin(f, nil)
	c.w.help(dueOf(f.typ))
	if errors.Is(err, errFull) {
		s, last, err = c.beginSlow(ctx, f)
	}
	if err != nil || last {
		return s, err
	}
	if err := c.restOfOpening(ctx, f, s); err != nil {
		return nil, err
	}
	return s, nil
}

// dueOf says when to help with requests of a type: early if someone waits for the answer.
func dueOf(t FrameType) due {
	if t == FrameRequestFNF {
		return dueFull
	}
	return dueEarly
}

func (c *Conn) beginSlow(ctx context.Context, f *fragmenter) (s *stream, last bool, err error) {
	wt := c.w.borrow()
	defer c.w.giveBack(wt)
	for {
		s, last, err = c.begin(f, wt)
		if !errors.Is(err, errFull) {
			return s, last, err
		}
		select {
		case <-wt.ch:
		case <-ctx.Done():
			return nil, false, context.Cause(ctx)
		}
	}
}

// begin takes an id, registers the stream and appends the first frame, all at once, so that ids go out in order.
func (c *Conn) begin(f *fragmenter, wt *waiter) (s *stream, last bool, err error) {
	w := &c.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.ready(w.limit, true, wt); err != nil {
		return nil, false, err
	}
	if s, err = c.register(f); err != nil {
		return nil, false, err
	}
	last, err = w.nextLocked(f, nil)
	w.kick()
	if s != nil && f.typ == FramePayload && !last {
		s.txBusy = true // nobody else knows the stream yet
	}
	return s, last, err
}

// register takes the next stream id for f and, unless it is fire-and-forget, enters the stream into the table.
func (c *Conn) register(f *fragmenter) (*stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.closed:
		return nil, &closedError{cause: c.err}
	case c.draining:
		return nil, ErrConnDraining
	}
	id, err := c.newID()
	if err != nil {
		return nil, err
	}
	f.id = id
	if f.typ == FrameRequestFNF {
		return nil, nil //nolint:nilnil // fire-and-forget has no stream
	}
	s := c.newStream(id, f.typ, true)
	s.rxCredit = max(f.n, 1)
	s.observed = f.observed
	if f.flags&FlagComplete != 0 {
		s.endTx(ErrCompleted)
	}
	c.add(s)
	return s, nil
}

// restOfOpening sends the further fragments of a request.
func (c *Conn) restOfOpening(ctx context.Context, f *fragmenter, s *stream) error {
	wt := c.w.borrow()
	defer c.w.giveBack(wt)
	for {
		last, err := c.w.next(f, wt)
		switch {
		case err == nil && last:
			if s != nil {
				s.openingSent()
			}
			return nil
		case err == nil:
			continue
		case !errors.Is(err, errFull):
			return err
		}
		select {
		case <-wt.ch:
		case <-ctx.Done():
			c.cancelOpening(f.id, s)
			return context.Cause(ctx)
		}
	}
}

func (s *stream) openingSent() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.txBusy = false
}

// cancelOpening takes back a request that was sent in part.
func (c *Conn) cancelOpening(id uint32, s *stream) {
	if s != nil {
		s.mu.Lock()
		s.observed = nil // told of the error by who sent the opening
		s.mu.Unlock()
		s.rx.Cancel()
		return
	}
	_ = c.sendControl(appendCancel(nil, id), FrameHeader{Type: FrameCancel, StreamID: id}) // fails only if the connection ended
}

// response waits for the payload of a request-response.
func (s *stream) response(ctx context.Context) (Payload, error) {
	err := s.awaitItem(ctx)
	switch {
	case err == nil:
		it, handed := s.queue.pop(), s.handed
		s.mu.Unlock()
		it.release(s.c.budget)
		s.tellEnd(nil)
		if handed {
			s.c.calls.Put(s)
		}
		return it.payload, nil
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		s.rx.Cancel()
		return Payload{}, err
	case s.completedEmpty():
		return Payload{}, nil
	default:
		return Payload{}, err
	}
}
