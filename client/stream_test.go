package client

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// bubble runs a test in fake time with a scripted server and a client of it.
func bubble(t *testing.T, o Options, test func(t *testing.T, srv *scripted, c *Client)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		srv := newScripted(t)
		srv.start()
		c := srv.client(t, o)
		test(t, srv, c)
		closeAll(t, c, srv)
	})
}

func TestSendAckClose(t *testing.T) {
	bubble(t, Options{Producer: "test"}, func(t *testing.T, srv *scripted, c *Client) {
		var acks []Ack
		s, p := srv.open(t, c, StreamOptions{Name: "s", OnAck: func(a Ack) { acks = append(acks, a) }})
		want := protocol.Header{Producer: "test", Incarnation: c.Incarnation(), Stream: "s", Epoch: 1, Ack: "committed"}
		if diff := cmp.Diff(want, p.header); diff != "" {
			t.Error(diff)
		}
		data := []byte("1")
		seq, err := s.Send(t.Context(), data)
		if seq != 1 || err != nil {
			t.Fatalf("%d %v", seq, err)
		}
		data[0] = 'x' // the caller may reuse it
		if n, err := s.SendBatch(t.Context(), [][]byte{[]byte("2"), []byte("3")}); n != 2 || err != nil {
			t.Fatalf("%d %v", n, err)
		}
		if diff := cmp.Diff(numbers(1, 3), p.receive(3)); diff != "" {
			t.Error(diff)
		}
		p.ack(2, 2)
		synctest.Wait()
		if s.Acked() != 2 {
			t.Errorf("acked %d", s.Acked())
		}
		// Close ends the client's direction and waits for the last ack and COMPLETE.
		go func() {
			if _, err := p.in.Recv(t.Context()); !errors.Is(err, io.EOF) {
				t.Errorf("instead of COMPLETE: %v", err)
			}
			p.ack(3, 3)
			p.end <- nil
		}()
		if rest, err := s.Close(t.Context()); rest != nil || err != nil {
			t.Errorf("%v %v", rest, err)
		}
		if diff := cmp.Diff([]Ack{{Sequence: 2, Records: 2, Version: 2}, {Sequence: 3, Records: 3, Version: 3}}, acks); diff != "" {
			t.Error(diff)
		}
		if _, err := s.Send(t.Context(), data); !errors.Is(err, ErrClosed) {
			t.Errorf("send after close: %v", err)
		}
	})
}

// The wire is governed by the server's demand; what is beyond it stays in the buffer.
func TestNothingBeyondCredit(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
		s, p := srv.open(t, c, StreamOptions{})
		sendNumbers(t, s, 1, 10)
		p.in.Grant(4)
		synctest.Wait()
		st := s.Stats()
		if p.in.Queued() != 4 || st.Unsent != 6 || st.Buffered != 10 || st.Credit != 0 {
			t.Errorf("%d arrived, %+v", p.in.Queued(), st)
		}
		rest, err := s.Close(canceled())
		if len(rest) != 10 || rest[3].Sequence != 4 || rest[4].Sequence != 0 || !errors.Is(err, ErrUnacked) || !errors.Is(err, context.Canceled) {
			t.Errorf("%v %v", rest, err)
		}
		if again, _ := s.Close(canceled()); len(again) != 10 {
			t.Errorf("the second Close returned %d payloads", len(again))
		}
	})
}

func canceled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestRejectsAreReportedWithTheirPayload(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
		var got []string
		s, p := srv.open(t, c, StreamOptions{OnReject: func(r Reject) {
			got = append(got, string(r.Payload)+" "+r.Reason)
		}})
		sendNumbers(t, s, 1, 3)
		p.receive(3)
		p.ack(3, 2, protocol.Reject{Sequence: 2, Row: 0, Reason: "not an object"})
		if err := s.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"2 not an object"}, got); diff != "" {
			t.Error(diff)
		}
		if st := s.Stats(); st.Rejected != 1 || st.Records != 2 || st.Acked != 3 || st.Version != 3 {
			t.Errorf("%+v", st)
		}
	})
}

func TestOverflow(t *testing.T) {
	small := Buffer{Records: 3, Bytes: 100}
	for policy, want := range map[Overflow]struct {
		err     error
		dropped []string
		sent    []string
	}{
		Fail:       {err: ErrBufferFull, sent: []string{"1", "2", "3", "7"}},
		DropNewest: {dropped: []string{"4", "5", "6"}, sent: []string{"1", "2", "3", "7"}},
		DropOldest: {dropped: []string{"2", "3", "4"}, sent: []string{"1", "5", "6", "7"}},
	} {
		t.Run(policy.String(), func(t *testing.T) {
			bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
				var dropped []string
				s, p := srv.open(t, c, StreamOptions{Buffer: small, Overflow: policy, OnDrop: func(d Drop) {
					dropped = append(dropped, string(d.Payload))
				}})
				sendNumbers(t, s, 1, 1)
				sent := p.receive(1)
				sendNumbers(t, s, 2, 3)
				for _, n := range numbers(4, 6) {
					if _, err := s.Send(t.Context(), []byte(n)); !errors.Is(err, want.err) {
						t.Errorf("send %s: %v", n, err)
					}
				}
				p.ack(1, 1)
				synctest.Wait()
				sendNumbers(t, s, 7, 7)
				sent = append(sent, p.receive(3)...)
				p.ack(4, 4)
				if err := s.Flush(t.Context()); err != nil {
					t.Error(err)
				}
				if diff := cmp.Diff(want.sent, sent); diff != "" {
					t.Error(diff)
				}
				if diff := cmp.Diff(want.dropped, dropped); diff != "" {
					t.Error(diff)
				}
				if st := s.Stats(); st.Dropped != int64(len(want.dropped)) || st.Sent != st.Acked+st.Dropped+st.Buffered {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// What was sent has its sequence and must not be dropped: then the new payload is the one to go.
func TestDropOldestKeepsWhatWasSent(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
		dropped := ""
		s, p := srv.open(t, c, StreamOptions{Buffer: Buffer{Records: 2}, Overflow: DropOldest, OnDrop: func(d Drop) { dropped = string(d.Payload) }})
		sendNumbers(t, s, 1, 2)
		p.receive(2)
		sendNumbers(t, s, 3, 3)
		if dropped != "3" {
			t.Errorf("dropped %q", dropped)
		}
		p.ack(2, 2)
		synctest.Wait()
	})
}

func TestBlockWaitsForRoom(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
		s, p := srv.open(t, c, StreamOptions{Buffer: Buffer{Records: 2}})
		sendNumbers(t, s, 1, 2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if _, err := s.Send(ctx, []byte("late")); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("send into a full buffer: %v", err)
		}
		const waiting = 5
		results := make(chan error, waiting)
		for range waiting {
			go func() {
				_, err := s.Send(t.Context(), []byte("x"))
				results <- err
			}()
		}
		synctest.Wait()
		p.receive(2)
		p.ack(2, 2)
		synctest.Wait()
		if len(results) != 2 {
			t.Errorf("%d sends went on after two acks", len(results))
		}
		p.receive(2)
		p.ack(4, 4)
		synctest.Wait()
		if len(results) != 4 {
			t.Errorf("%d sends went on after four acks", len(results))
		}
		go func() {
			p.receive(2)
			p.ack(6, 6)
			p.end <- nil
		}()
		if _, err := s.Close(t.Context()); err != nil {
			t.Error(err)
		}
		for range waiting - 1 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if err := <-results; !errors.Is(err, ErrClosed) {
			t.Errorf("the send that still waited: %v", err)
		}
	})
}

func TestTooLargeForTheBuffer(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
		s, p := srv.open(t, c, StreamOptions{Buffer: Buffer{Bytes: 10}})
		if n, err := s.SendBatch(t.Context(), [][]byte{[]byte("ok"), make([]byte, 11)}); n != 1 || !errors.Is(err, ErrTooLarge) {
			t.Errorf("%d %v", n, err)
		}
		p.receive(1)
		p.ack(1, 1)
		synctest.Wait()
	})
}

func TestFlushWaitsForItsOwnOnly(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
		s, p := srv.open(t, c, StreamOptions{})
		if err := s.Flush(t.Context()); err != nil {
			t.Errorf("flush of nothing: %v", err)
		}
		sendNumbers(t, s, 1, 2)
		flushed := make(chan error, 1)
		go func() { flushed <- s.Flush(t.Context()) }()
		synctest.Wait()
		sendNumbers(t, s, 3, 3)
		p.receive(3)
		p.ack(1, 1)
		synctest.Wait()
		if len(flushed) != 0 {
			t.Error("flushed too early")
		}
		p.ack(2, 2)
		if err := <-flushed; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := s.Flush(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("flush without an ack: %v", err)
		}
		p.ack(3, 3)
		synctest.Wait()
	})
}

// A long stream gets its demand for acks renewed.
func TestDemandForAcksIsRenewed(t *testing.T) {
	bubble(t, Options{}, func(t *testing.T, srv *scripted, c *Client) {
		const n = 3 * ackDemand
		s, p := srv.open(t, c, StreamOptions{})
		sendNumbers(t, s, 1, n)
		p.receive(n)
		for i := range int64(n) {
			p.ack(i+1, i+1)
		}
		if err := s.Flush(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if p.out.Credit() != ackDemand {
			t.Errorf("the server may send %d messages", p.out.Credit())
		}
	})
}

func TestRequestModels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		srv := newScripted(t)
		fired := make(chan string, 1)
		srv.mux.HandleRequest("p."+protocol.RouteRequest, func(_ context.Context, r *rsocket.Request, reply *rsocket.Reply) {
			if strings.HasPrefix(string(r.Data), "{") {
				_ = reply.Send(rsocket.Payload{Data: []byte(`{"type":"ack","level":"committed","sequence":1,"records":1,"version":7,"rejected":[{"sequence":1,"row":1,"reason":"bad"}]}`)})
				return
			}
			_ = reply.Error(&rsocket.Error{Code: rsocket.CodeInvalid, Message: "not an object"})
		})
		srv.mux.HandleFireAndForget("p."+protocol.RouteFireAndForget, func(_ context.Context, r *rsocket.Request) { fired <- string(r.Data) })
		srv.mux.HandleStream("p."+protocol.RouteStatus, func(ctx context.Context, _ *rsocket.Request, out *rsocket.Sender) error {
			for i := range 3 {
				if err := out.Send(ctx, rsocket.Payload{Data: []byte(`{"pipeline":"p","committed":` + string(rune('0'+i)) + `}`)}); err != nil {
					return err
				}
			}
			return nil
		})
		srv.start()
		c, err := Dial(t.Context(), "memory:7000/p", Options{DialContext: srv.dial})
		if err != nil {
			t.Fatal(err)
		}
		ack, err := c.Request(t.Context(), []byte("{}"))
		want := Ack{Sequence: 1, Records: 1, Version: 7, Rejected: []Reject{{Sequence: 1, Row: 1, Reason: "bad", Payload: []byte("{}")}}}
		if diff := cmp.Diff(want, ack); diff != "" || err != nil {
			t.Error(err, diff)
		}
		_, err = c.Request(t.Context(), []byte("x"))
		if e, ok := errors.AsType[*rsocket.Error](err); !ok || e.Code != rsocket.CodeInvalid || e.Message != "not an object" {
			t.Errorf("%v", err)
		}
		if err := errors.Join(c.FireAndForget(t.Context(), []byte("f")), c.Barrier(t.Context())); err != nil {
			t.Error(err)
		}
		select { // the barrier came behind it
		case f := <-fired:
			if f != "f" {
				t.Error(f)
			}
		default:
			t.Error("the barrier passed a fire-and-forget")
		}
		var seen int64
		for s, err := range c.Status(t.Context()) {
			if err != nil || s.Committed != seen {
				t.Errorf("%+v %v", s, err)
			}
			seen++
		}
		if seen != 3 {
			t.Errorf("%d statuses", seen)
		}
		closeAll(t, c, srv)
		if _, err := c.Request(t.Context(), nil); !errors.Is(err, ErrClosed) {
			t.Errorf("request after close: %v", err)
		}
	})
}
