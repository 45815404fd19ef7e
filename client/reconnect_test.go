package client

import (
	"context"
	"errors"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// After a lost connection the stream is claimed with the next epoch and the last ack, and the rest goes out again.
func TestLostConnection(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
		var retries []error
		s, p := srv.open(t, c, StreamOptions{Name: "s", OnRetry: func(err error, _ time.Duration) { retries = append(retries, err) }})
		sendNumbers(t, s, 1, 6)
		p.receive(5)
		p.ack(2, 2)
		synctest.Wait()
		_ = p.conn.Close()
		p = <-srv.claims
		if p.header.Epoch != 2 || p.header.Acked != 2 || p.header.Stream != "s" || p.header.Incarnation != c.Incarnation() {
			t.Errorf("%+v", p.header)
		}
		p.opened(4) // the ack of 3 was lost
		if diff := cmp.Diff(numbers(4, 6), p.receive(3)); diff != "" {
			t.Error(diff)
		}
		if s.Acked() != 3 || len(retries) != 1 || !errors.Is(retries[0], rsocket.ErrConnClosed) {
			t.Errorf("acked %d, retries %v", s.Acked(), retries)
		}
		p.ack(6, 3)
		if err := s.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if st := s.Stats(); st.Reopened != 1 || st.Resent != 2 || st.Acked != 6 || st.Records != 5 || st.Epoch != 2 {
			t.Errorf("%+v", st)
		}
	})
}

func TestStaleEpoch(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
		go func() {
			p := <-srv.claims
			p.say(protocol.Message{Type: protocol.TypeStaleEpoch, Highest: 41})
			p.end <- nil
			p = <-srv.claims
			if p.header.Epoch != 42 {
				t.Errorf("epoch %d", p.header.Epoch)
			}
			p.opened(1001) // the stream goes on where an earlier one ended
			p.receive(1)
			p.ack(1001, 1)
		}()
		s, err := c.OpenStream(t.Context(), StreamOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if seq, err := s.Send(t.Context(), nil); seq != 1001 || err != nil {
			t.Errorf("%d %v", seq, err)
		}
		if err := s.Flush(t.Context()); err != nil || s.Acked() != 1001 {
			t.Errorf("acked %d, %v", s.Acked(), err)
		}
	})
}

// A draining server still acknowledges what it took; then the stream goes on over another connection.
func TestDrain(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
		s, p := srv.open(t, c, StreamOptions{})
		sendNumbers(t, s, 1, 5)
		p.receive(3)
		p.say(protocol.Message{Type: protocol.TypeDrain})
		p.in.Cancel()
		synctest.Wait()
		if len(srv.claims) > 0 || srv.dials != 1 {
			t.Error("the stream moved before the last ack")
		}
		p.ack(3, 3)
		p.end <- nil
		p = <-srv.claims
		if p.header.Epoch != 2 || p.header.Acked != 3 || srv.dials != 2 {
			t.Errorf("%+v after %d dials", p.header, srv.dials)
		}
		p.opened(4)
		if diff := cmp.Diff(numbers(4, 5), p.receive(2)); diff != "" {
			t.Error(diff)
		}
		p.ack(5, 2)
		synctest.Wait()
	})
}

// A stream that has nothing to send is not opened again before it has.
func TestIdleStreamStaysAway(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
		s, p := srv.open(t, c, StreamOptions{})
		p.say(protocol.Message{Type: protocol.TypeDrain})
		p.end <- nil
		time.Sleep(time.Hour) //nolint:forbidigo // fake time
		if srv.dials != 1 {
			t.Fatalf("%d dials", srv.dials)
		}
		sendNumbers(t, s, 1, 1)
		p = <-srv.claims
		p.opened(1)
		p.receive(1)
		p.ack(1, 1)
		p.end <- nil
		synctest.Wait()
		if rest, err := s.Close(t.Context()); len(rest) > 0 || err != nil { // while it stays away
			t.Error(rest, err)
		}
	})
}

// A server that ends its intake and never the stream is left after a while.
func TestNoLastAck(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
		s, p := srv.open(t, c, StreamOptions{})
		sendNumbers(t, s, 1, 1)
		p.receive(1)
		p.in.Cancel()
		start := time.Now()
		again := <-srv.claims
		if d := time.Since(start); d < lastAcksWait || d > lastAcksWait+time.Second {
			t.Errorf("after %v", d)
		}
		again.opened(1)
		again.receive(1)
		again.ack(1, 1)
		synctest.Wait()
	})
}

// Close does not wait long for a server that has acknowledged everything and does not complete.
func TestNoComplete(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
		s, p := srv.open(t, c, StreamOptions{})
		sendNumbers(t, s, 1, 1)
		p.receive(1)
		p.ack(1, 1)
		start := time.Now()
		rest, err := s.Close(t.Context())
		if d := time.Since(start); len(rest) > 0 || err != nil || d != completeWait {
			t.Errorf("%v %v after %v", rest, err, d)
		}
	})
}

// What the server says decides whether the stream ends for good.
func TestRefusals(t *testing.T) {
	protocolError := func(code string) func(*peer) {
		return func(p *peer) {
			p.say(protocol.Message{Type: protocol.TypeError, Code: code, Message: "m"})
			p.end <- nil
		}
	}
	for name, tc := range map[string]struct {
		say   func(p *peer)
		final func(err error) bool // nil: tried again
	}{
		"fenced": {
			func(p *peer) { p.say(protocol.Message{Type: protocol.TypeFenced}) },
			func(err error) bool { return errors.Is(err, ErrFenced) },
		},
		"out of range": {
			func(p *peer) { p.say(protocol.Message{Type: protocol.TypeOutOfRange, Expected: 9}) },
			func(err error) bool {
				e, ok := errors.AsType[*OutOfRangeError](err)
				return ok && e.Expected == 9
			},
		},
		"unsupported MIME": {
			protocolError(protocol.CodeUnsupportedMIME),
			func(err error) bool {
				e, ok := errors.AsType[*protocol.Error](err)
				return ok && e.Code == protocol.CodeUnsupportedMIME
			},
		},
		"resumes at what was acknowledged": {
			func(p *peer) { p.opened(1) },
			func(err error) bool {
				e, ok := errors.AsType[*OutOfRangeError](err)
				return ok && e.Expected == 1
			},
		},
		"resumes beyond what was sent": {
			func(p *peer) { p.opened(4) },
			func(err error) bool { return errors.Is(err, ErrProtocol) },
		},
		"acknowledges what was not sent": {
			func(p *peer) { p.opened(2); p.ack(3, 3) },
			func(err error) bool { return errors.Is(err, ErrProtocol) },
		},
		"no message": {
			func(p *peer) { _ = p.out.Send(context.Background(), rsocket.Payload{Data: []byte("hello")}) },
			func(err error) bool { return errors.Is(err, ErrProtocol) },
		},
		"invalid": {
			func(p *peer) { p.end <- &rsocket.Error{Code: rsocket.CodeInvalid, Message: "payload too large"} },
			func(err error) bool {
				e, ok := errors.AsType[*rsocket.Error](err)
				return ok && e.Code == rsocket.CodeInvalid
			},
		},
		"unavailable": {protocolError(protocol.CodeUnavailable), nil},
		"failed":      {protocolError(protocol.CodeFailed), nil},
		"rejected":    {func(p *peer) { p.end <- &rsocket.Error{Code: rsocket.CodeRejected} }, nil},
		"handler":     {func(p *peer) { p.end <- io.ErrUnexpectedEOF }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
				s, p := srv.open(t, c, StreamOptions{})
				sendNumbers(t, s, 1, 2)
				p.receive(2)
				p.ack(1, 1)
				synctest.Wait()
				_ = p.conn.Close()
				tc.say(<-srv.claims)
				if tc.final == nil {
					p = <-srv.claims
					if p.header.Epoch != 3 {
						t.Errorf("%+v", p.header)
					}
					p.opened(2)
					p.receive(1)
					p.ack(2, 1)
					synctest.Wait()
					return
				}
				if err := s.Flush(t.Context()); !tc.final(err) {
					t.Errorf("flush: %v", err)
				}
				if _, err := s.Send(t.Context(), nil); !tc.final(err) {
					t.Errorf("send: %v", err)
				}
				rest, err := s.Close(t.Context())
				if len(rest) != 1 || rest[0].Sequence != 2 || string(rest[0].Data) != "2" || !errors.Is(err, ErrUnacked) || !tc.final(err) {
					t.Errorf("close: %v %v", rest, err)
				}
			})
		})
	}
}

// OpenStream returns the first failure.
func TestOpenStreamFails(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
		go func() {
			p := <-srv.claims
			p.say(protocol.Message{Type: protocol.TypeError, Code: protocol.CodeUnavailable, Message: "draining"})
			p.end <- nil
		}()
		_, err := c.OpenStream(t.Context(), StreamOptions{Name: "s"})
		if e, ok := errors.AsType[*protocol.Error](err); !ok || e.Message != "draining" {
			t.Errorf("%v", err)
		}
		s, p := srv.open(t, c, StreamOptions{Name: "s"})
		if _, err := c.OpenStream(t.Context(), StreamOptions{Name: "s"}); !errors.Is(err, ErrStreamOpen) {
			t.Errorf("the same name again: %v", err)
		}
		p.end <- nil
		if _, err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := c.OpenStream(ctx, StreamOptions{Name: "s"}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a server that does not answer: %v", err)
		}
	})
}

func TestBackoff(t *testing.T) {
	var r retry
	longest := func(d time.Duration) time.Duration { return d - 1 }
	var waits []time.Duration
	for range 10 {
		waits = append(waits, r.next(time.Time{}, 100*time.Millisecond, 10*time.Second, longest))
	}
	var want []time.Duration
	for _, ms := range []int{100, 200, 400, 800, 1600, 3200, 6400, 10000, 10000, 10000} {
		want = append(want, time.Duration(ms)*time.Millisecond)
	}
	if diff := cmp.Diff(want, waits); diff != "" {
		t.Error(diff)
	}
	r.progress()
	if d := r.next(time.Time{}, 100*time.Millisecond, 10*time.Second, longest); d != 100*time.Millisecond {
		t.Errorf("%v after progress", d)
	}
	r.attempts = 1 << 40
	if d := r.next(time.Time{}, 100*time.Millisecond, 10*time.Second, longest); d != 10*time.Second {
		t.Errorf("%v after very many attempts", d)
	}
}

func TestGiveUp(t *testing.T) {
	refused := errors.New("connection refused")
	bubble(t, Options{GiveUpAfter: time.Minute}, func(t *testing.T, srv *scripted, c *Client) {
		s, p := srv.open(t, c, StreamOptions{})
		sendNumbers(t, s, 1, 1)
		srv.refuse = refused
		start := time.Now()
		_ = p.conn.Close()
		rest, err := s.Close(t.Context())
		if len(rest) != 1 || !errors.Is(err, ErrGaveUp) || !errors.Is(err, refused) {
			t.Errorf("%v %v", rest, err)
		}
		if d := time.Since(start); d > time.Minute {
			t.Errorf("gave up after %v", d)
		}
		if srv.dials < 6 || srv.dials > 60 {
			t.Errorf("%d dials in a minute", srv.dials)
		}
	})
}

// A stream that was open and idle for long has not failed all that time.
func TestGiveUpCountsFromTheLastProgress(t *testing.T) {
	bubble(t, Options{GiveUpAfter: time.Minute}, func(t *testing.T, srv *scripted, c *Client) {
		s, p := srv.open(t, c, StreamOptions{})
		for range 3 {
			_ = p.conn.Close()
			p = <-srv.claims
			p.opened(1)
			time.Sleep(time.Hour) //nolint:forbidigo // fake time
		}
		if err := s.Err(); err != nil {
			t.Error(err)
		}
	})
}

// A server that opens the stream and fails it at once is asked less and less often.
func TestFailingAtOnceIsNoProgress(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
		_, p := srv.open(t, c, StreamOptions{})
		start, claims := time.Now(), 0
		for ; time.Since(start) < 10*time.Minute; claims++ {
			p.end <- io.ErrUnexpectedEOF
			p = <-srv.claims
			p.opened(1)
		}
		if claims > 240 { // 120 are expected: one in 5 s, the mean of the longest wait
			t.Errorf("%d claims in ten minutes", claims)
		}
	})
}

// Streams of one client share a connection, and leave it one by one.
func TestStreamsShareAConnection(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
		a, pa := srv.open(t, c, StreamOptions{MIME: NDJSON})
		b, pb := srv.open(t, c, StreamOptions{})
		if srv.dials != 1 || pa.conn != pb.conn || pa.mime != NDJSON || pb.mime != "" || pa.conn.Info().DataMIME != JSON {
			t.Errorf("%d dials, types %q and %q", srv.dials, pa.mime, pb.mime)
		}
		sendNumbers(t, a, 1, 1)
		pa.say(protocol.Message{Type: protocol.TypeDrain})
		pa.end <- nil
		moved := <-srv.claims
		if srv.dials != 2 || moved.conn == pa.conn {
			t.Error("the stream stayed")
		}
		moved.opened(1)
		moved.receive(1)
		moved.ack(1, 1)
		sendNumbers(t, b, 1, 1) // still on the first connection
		pb.receive(1)
		pb.ack(1, 1)
		pb.end <- nil
		if _, err := b.Close(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		select {
		case <-pb.conn.Done():
		default:
			t.Error("the connection without users is still open")
		}
	})
}

// TestIdleTimeIsNoFailure: a lane whose stream was ended by the server, and then had nothing to send for longer than GiveUpAfter,
// has not tried in vain for so long.
func TestIdleTimeIsNoFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o, err := Options{GiveUpAfter: time.Minute}.withDefaults(randomID)
		if err != nil {
			t.Fatal(err)
		}
		s := newStream(&Client{o: o}, StreamOptions{Buffer: Buffer{Records: 1, Bytes: 100}})
		l := newLane(s, nil, "s")
		s.lanes = []*lane{l}
		if err := l.rest(errors.New("refused")); err != nil { // a first failure
			t.Fatal(err)
		}
		go func() {
			time.Sleep(time.Hour) //nolint:forbidigo // fake time
			if _, err := s.Send(t.Context(), []byte("x")); err != nil {
				t.Error(err)
			}
		}()
		if err := l.rest(errEnded); err != nil {
			t.Error(err)
		}
	})
}
