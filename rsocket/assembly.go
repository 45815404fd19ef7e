package rsocket

import (
	"slices"
	"time"
)

// assembly collects the fragments of one payload. It belongs to the connection's reader.
type assembly struct {
	opening bool      // of a request, not of a later payload
	typ     FrameType // of the first frame
	flags   Flags     // of the first frame
	n       uint32    // initial request n
	p       Payload
	charged int
	begun   time.Duration // since Conn.start
}

// Fragments may take a minute, and longer if they come at 64 KiB a second at least. Those that are slower would hold memory
// of the budget for as long as their sender likes.
const (
	assemblyGrace = time.Minute
	assemblyRate  = 64 << 10
)

// overdue reports whether the payload should have been complete by now.
func (a *assembly) overdue(now time.Duration) bool {
	size := float64(len(a.p.Data) + len(a.p.Metadata))
	return (now - a.begun - assemblyGrace).Seconds() > size/assemblyRate
}

// assemble adds a fragment, within the limits per payload and per connection and the budget.
func (c *Conn) assemble(a *assembly, f *frame) *Error {
	p := f.take()
	n := len(p.Data) + len(p.Metadata)
	size := n + len(a.p.Data) + len(a.p.Metadata)
	switch {
	case size > c.limits.MaxPayload:
		c.unreserve(p.charged)
		return c.tooLarge()
	case c.assembling+n > c.limits.MaxReassembly:
		c.unreserve(p.charged)
		return Errorf(CodeRejected, "fragments of more than %d bytes on the connection", c.limits.MaxReassembly)
	}
	if e := c.charge(&p); e != nil {
		return e
	}
	if c.unbuilt.Add(int64(n)) > int64(c.limits.MaxFragments) {
		c.unbuilt.Add(-int64(n))
		c.unreserve(p.charged)
		return Errorf(CodeRejected, "fragments of more than %d bytes on all connections: complete some payloads first", c.limits.MaxFragments)
	}
	a.charged += p.charged
	c.assembling += n
	a.p.Metadata = append(a.p.Metadata, p.Metadata...)
	a.p.Data = append(a.p.Data, p.Data...)
	a.p.HasMetadata = a.p.HasMetadata || p.HasMetadata
	return nil
}

// assembleFor starts the assembly of a payload of s.
func (c *Conn) assembleFor(s *stream, a *assembly) {
	a.begun = time.Duration(c.lastRecv.Load())
	s.frag = a
	c.frags = append(c.frags, s)
}

// assembled takes the payload of s out, whole or not.
func (c *Conn) assembled(s *stream) received {
	a := s.frag
	s.frag = nil
	for i, x := range c.frags {
		if x == s {
			c.frags = slices.Delete(c.frags, i, i+1)
			break
		}
	}
	n := len(a.p.Data) + len(a.p.Metadata)
	c.assembling -= n
	c.unbuilt.Add(-int64(n))
	return received{Payload: a.p, owned: true, charged: a.charged}
}

// dropAssembly forgets unfinished fragments of s.
func (c *Conn) dropAssembly(s *stream) {
	if s.frag == nil {
		return
	}
	p := c.assembled(s)
	c.unreserve(p.charged)
}

// sweepAssemblies forgets fragments of streams that ended meanwhile, or of all, and refuses what takes too long. A refusal
// that must wait for room ends the burst once more; that does not sweep again.
func (c *Conn) sweepAssemblies(all bool) {
	if c.sweeping {
		return
	}
	c.sweeping = true
	defer func() { c.sweeping = false }()
	now := time.Duration(c.lastRecv.Load())
	for _, s := range slices.Backward(c.frags) {
		a := s.frag
		switch {
		case all || s.gone.Load():
			c.dropAssembly(s)
		case a.overdue(now):
			c.dropAssembly(s)
			s.refuse(a, &Error{Code: CodeRejected, Message: "fragments arrive too slowly"})
		}
	}
}

// onFragment collects fragments and delivers the payload with the last one.
func (s *stream) onFragment(f *frame) {
	if s.frag == nil {
		if e := s.mayReceive(); e != nil {
			s.fail(e)
			return
		}
		s.c.assembleFor(s, &assembly{flags: f.Flags})
	}
	a := s.frag
	if e := s.c.assemble(a, f); e != nil {
		s.c.dropAssembly(s)
		s.refuse(a, e)
		return
	}
	if f.Flags&FlagFollows != 0 {
		return
	}
	p := s.c.assembled(s)
	flags := a.flags | f.Flags
	if a.opening {
		s.c.open(opening{id: s.id, typ: a.typ, flags: flags, n: addCredit(a.n, s.granted()), p: p, fragments: s})
		return
	}
	if e := s.accept(p); e != nil {
		s.fail(e)
		return
	}
	if flags&FlagComplete != 0 {
		s.onComplete()
	}
}

// refuse ends a stream whose fragments found no room. Fire-and-forget has no answer.
func (s *stream) refuse(a *assembly, e *Error) {
	if a.opening && a.typ == FrameRequestFNF {
		s.c.m.FNFDropped.Add(1)
		s.terminate(e, e, true)
		return
	}
	s.fail(e)
}
