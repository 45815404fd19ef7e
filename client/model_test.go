package client

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// honest keeps the rules of docs/protocol.md for one stream: it commits in order, filters nothing, forgets what it received
// and did not commit, and grants, commits, acknowledges and fails when the test says so.
type honest struct {
	srv  *scripted
	busy sync.WaitGroup

	mu       sync.Mutex
	epoch    int64 // highest claimed
	table    []string
	rejected []string
	records  int64 // of the epoch
	received []string
	session  *peer
	cut      []protocol.Reject // rejects whose ack was not sent yet
}

func (h *honest) run() {
	h.busy.Go(func() {
		for p := range h.srv.claims {
			h.claim(p)
		}
	})
}

func (h *honest) watermark() int64 { return int64(len(h.table) + len(h.rejected)) }

func (h *honest) claim(p *peer) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case p.header.Epoch <= h.epoch:
		p.say(protocol.Message{Type: protocol.TypeStaleEpoch, Highest: h.epoch})
		p.end <- nil
		return
	case p.header.Acked > h.watermark():
		p.say(protocol.Message{Type: protocol.TypeOutOfRange, Expected: h.watermark() + 1})
		p.end <- nil
		return
	}
	if h.session != nil {
		h.leave(&rsocket.Error{Code: rsocket.CodeCanceled})
	}
	h.epoch, h.session, h.records, h.received, h.cut = p.header.Epoch, p, 0, nil, nil
	p.opened(h.watermark() + 1)
	h.busy.Go(func() { h.take(p) })
}

// leave ends the session; what it received and did not commit is lost.
func (h *honest) leave(with error) {
	h.session.end <- with
	h.session, h.received = nil, nil
}

func (h *honest) take(p *peer) {
	for {
		r, err := p.in.Recv(context.Background())
		h.mu.Lock()
		if h.session != p {
			h.mu.Unlock()
			return
		}
		if err != nil { // COMPLETE, or the connection is gone
			if completed(err) {
				h.commit(true, nil)
				h.leave(nil)
			} else {
				h.session, h.received = nil, nil
			}
			h.mu.Unlock()
			return
		}
		h.received = append(h.received, string(r.Data))
		h.mu.Unlock()
	}
}

// commit puts what was received into the table, except for the payloads that reject picks.
func (h *honest) commit(ack bool, reject func(payload string) bool) {
	for _, p := range h.received {
		if reject != nil && reject(p) {
			h.rejected = append(h.rejected, p)
			h.cut = append(h.cut, protocol.Reject{Sequence: h.watermark(), Reason: "picked"})
			continue
		}
		h.table = append(h.table, p)
		h.records++
	}
	h.received = nil
	if ack && h.session != nil && h.session.out.Credit() > 0 {
		h.session.ack(h.watermark(), h.records, h.cut...)
		h.cut = nil
	}
}

// producer is the test's side: what it sent, and what it was told.
type producer struct {
	s        *Stream
	sent     []string
	dropped  []string
	rejected []string
	refused  int
}

// withoutDeadline keeps rapid from asking for the deadline, which is in real time.
type withoutDeadline struct{ testing.TB }

// TestNothingIsLostOrDoubled drives a stream against an honest server whose connections and acks fail, and settles the
// books at the end: every payload is in the table once and in order, rejected, dropped, or returned by Close.
func TestNothingIsLostOrDoubled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(withoutDeadline{t}, func(rt *rapid.T) {
			policy := rapid.SampledFrom([]Overflow{Block, Fail, DropOldest, DropNewest}).Draw(rt, "policy")
			limits := Buffer{Records: rapid.IntRange(1, 20).Draw(rt, "records"), Bytes: int64(rapid.IntRange(20, 200).Draw(rt, "bytes"))}
			srv := newScripted(t)
			srv.start()
			h := &honest{srv: srv}
			h.run()
			c := srv.client(t, Options{})
			p := &producer{}
			s, err := c.OpenStream(t.Context(), StreamOptions{
				Buffer: limits, Overflow: policy,
				OnDrop:   func(d Drop) { p.dropped = append(p.dropped, string(d.Payload)) },
				OnReject: func(r Reject) { p.rejected = append(p.rejected, string(r.Payload)) },
			})
			if err != nil {
				rt.Fatal(err)
			}
			p.s = s
			rt.Repeat(actions(p, h))
			p.settle(rt, h)
			closeAll(t, c, srv)
			close(srv.claims)
			h.busy.Wait()
		})
	})
}

func actions(p *producer, h *honest) map[string]func(*rapid.T) {
	with := func(do func(t *rapid.T, s *peer)) func(*rapid.T) {
		return func(t *rapid.T) {
			h.mu.Lock()
			defer h.mu.Unlock()
			if h.session != nil {
				do(t, h.session)
			}
		}
	}
	return map[string]func(*rapid.T){
		"send":  p.send,
		"grant": with(func(t *rapid.T, s *peer) { s.in.Grant(rapid.IntRange(1, 8).Draw(t, "n")) }),
		"commit": with(func(t *rapid.T, _ *peer) {
			odd := rapid.IntRange(2, 9).Draw(t, "odd")
			h.commit(rapid.Bool().Draw(t, "ack"), func(p string) bool {
				n, _ := strconv.Atoi(p[:6])
				return n%odd == 1
			})
		}),
		"cut":   with(func(_ *rapid.T, s *peer) { _ = s.conn.Close() }),
		"fail":  with(func(*rapid.T, *peer) { h.leave(errors.New("failed")) }),
		"bump":  with(func(*rapid.T, *peer) { h.epoch++ }),  // an open of ours that arrived and whose answer did not
		"sleep": func(*rapid.T) { time.Sleep(time.Minute) }, //nolint:forbidigo // fake time
		"drain": with(func(_ *rapid.T, s *peer) {
			s.say(protocol.Message{Type: protocol.TypeDrain})
			h.commit(true, nil)
			h.leave(nil)
		}),
		"": func(t *rapid.T) {
			synctest.Wait()
			st := p.s.Stats()
			if st.Sent != st.Acked+st.Dropped+st.Buffered || st.Sent != int64(len(p.sent)) || st.Dropped != int64(len(p.dropped)) {
				t.Fatalf("%d sent, %d dropped: %+v", len(p.sent), len(p.dropped), st)
			}
			if err := p.s.Err(); err != nil {
				t.Fatal(err)
			}
		},
	}
}

func (p *producer) send(t *rapid.T) {
	for range rapid.IntRange(1, 8).Draw(t, "n") {
		data := []byte(strconv.Itoa(100_000 + len(p.sent) + p.refused))
		data = append(data, make([]byte, rapid.IntRange(0, 14).Draw(t, "pad"))...)
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond) // a full buffer may stay full
		_, err := p.s.Send(ctx, data)
		cancel()
		switch {
		case err == nil:
			p.sent = append(p.sent, string(data))
		case errors.Is(err, ErrBufferFull) || errors.Is(err, context.DeadlineExceeded):
			p.refused++
		default:
			t.Fatal(err)
		}
	}
}

// settle closes the stream, with or without time for the last acks, and compares.
func (p *producer) settle(t *rapid.T, h *honest) {
	wait := rapid.SampledFrom([]time.Duration{0, time.Hour}).Draw(t, "wait")
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	stop := make(chan struct{})
	var granting sync.WaitGroup
	granting.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				h.mu.Lock()
				if h.session != nil {
					h.session.in.Grant(5)
				}
				h.mu.Unlock()
			case <-stop:
				return
			}
		}
	})
	rest, err := p.s.Close(ctx)
	close(stop)
	granting.Wait()
	synctest.Wait()
	if (len(rest) > 0) != errors.Is(err, ErrUnacked) || wait > 0 && err != nil {
		t.Fatalf("%d payloads unacknowledged, %v", len(rest), err)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	p.compare(t, h, rest)
}

func (p *producer) compare(t *rapid.T, h *honest, rest []Unacked) {
	if !slices.IsSorted(h.table) || len(slices.Compact(slices.Clone(h.table))) != len(h.table) {
		t.Fatalf("out of order or twice in the table: %q", h.table)
	}
	acked := p.s.Stats().Acked
	var returned []string
	for i, u := range rest {
		returned = append(returned, string(u.Data))
		if u.Sequence != 0 && u.Sequence != acked+int64(i)+1 {
			t.Fatalf("payload %d of %d returned has sequence %d after %d", i, len(rest), u.Sequence, acked)
		}
	}
	for i, payload := range p.sent {
		stored := slices.Contains(h.table, payload) || slices.Contains(h.rejected, payload)
		dropped := slices.Contains(p.dropped, payload)
		at := slices.Index(returned, payload)
		switch {
		case dropped && (stored || at >= 0):
			t.Fatalf("payload %d was dropped and is elsewhere too", i)
		case !dropped && !stored && at < 0:
			t.Fatalf("payload %d is lost", i)
		case stored && at >= 0 && rest[at].Sequence == 0:
			t.Fatalf("payload %d was returned as never sent and is stored", i)
		}
	}
	if n := int64(len(p.sent) - len(p.dropped) - len(rest)); n != acked {
		t.Fatalf("%d acknowledged, the books say %d", acked, n)
	}
	for _, payload := range p.rejected {
		if !slices.Contains(h.rejected, payload) {
			t.Fatalf("%q was reported as rejected and is not", payload)
		}
	}
}
