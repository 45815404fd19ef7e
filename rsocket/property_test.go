package rsocket

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// A ring behaves like a slice.
func TestRingProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var r ring
		var model []int
		for i := range rapid.IntRange(1, 200).Draw(t, "steps") {
			if rapid.Bool().Draw(t, "push") || len(model) == 0 {
				r.push(item{charged: i})
				model = append(model, i)
				continue
			}
			if got := r.pop().charged; got != model[0] {
				t.Fatalf("popped %d, want %d", got, model[0])
			}
			model = model[1:]
		}
		if r.n != len(model) {
			t.Fatalf("%d left, want %d", r.n, len(model))
		}
	})
}

// Payloads stored in a slab keep their bytes until they are released, whatever is stored and released around them.
func TestSlabProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type kept struct {
			p    Payload
			c    *chunk
			want []byte
		}
		var s slab
		var live []kept
		for i := range rapid.IntRange(1, 40).Draw(t, "steps") {
			switch op := rapid.IntRange(0, 9).Draw(t, "op"); {
			case op < 6:
				n := rapid.OneOf(rapid.IntRange(0, 100), rapid.IntRange(0, 5000), rapid.Just(70_000)).Draw(t, "size")
				m := rapid.IntRange(0, n).Draw(t, "metadata")
				b := bytes.Repeat([]byte{byte(i)}, n)
				p, c := s.copy(Payload{Metadata: b[:m], Data: b[m:], HasMetadata: true})
				s.count()
				live = append(live, kept{p, c, b})
			case op < 9 && len(live) > 0:
				k := rapid.IntRange(0, len(live)-1).Draw(t, "which")
				if live[k].c != nil {
					live[k].c.release(1)
				}
				live = slices.Delete(live, k, k+1)
			default:
				s.detach()
			}
			for _, k := range live {
				if got := append(slices.Clone(k.p.Metadata), k.p.Data...); !bytes.Equal(got, k.want) {
					t.Fatalf("payload of %d bytes changed", len(k.want))
				}
			}
		}
		for _, k := range live {
			if k.c != nil {
				k.c.release(1)
			}
		}
		s.detach()
	})
}

// The frame store always holds exactly the frames from the confirmed position on.
func TestFrameStoreProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := frameStore{limit: 1000}
		var frames [][]byte
		var first, end uint64
		for i := range rapid.IntRange(1, 200).Draw(t, "steps") {
			if rapid.IntRange(0, 3).Draw(t, "op") > 0 {
				f := opened(FramePayload, 1, 0, FlagNext, Payload{Data: bytes.Repeat([]byte{byte(i)}, rapid.IntRange(0, 300).Draw(t, "size"))})
				s.append(f)
				frames = append(frames, f)
				end += uint64(len(f) - lengthSize)
			} else {
				k := rapid.IntRange(0, len(frames)).Draw(t, "confirm")
				at := first
				for _, f := range frames[:k] {
					at += uint64(len(f) - lengthSize)
				}
				if !s.trim(at) {
					t.Fatalf("position %d refused", at)
				}
				first, frames = at, frames[k:]
			}
			if s.first != first || s.end != end || !bytes.Equal(s.buf[s.head:], bytes.Join(frames, nil)) {
				t.Fatalf("store is %d..%d, want %d..%d", s.first, s.end, first, end)
			}
		}
		if s.trim(first-1) || s.trim(end+1) {
			t.Fatal("impossible position accepted")
		}
	})
}

// A requester that obeys the last lease it has received is never refused, whatever is on its way.
func TestLeaseLedgerProperty(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var g leaseLedger
		type grant struct {
			seq     uint64
			n       int
			expires time.Duration
		}
		const ttl, delay = 100 * time.Millisecond, 20 * time.Millisecond // of a lease; on the way, each direction, at most
		var now time.Duration
		var toClient, toServer []grant // leases under way; echoes and requests under way, a request has seq 0
		var have grant
		for range rapid.IntRange(1, 300).Draw(t, "steps") {
			switch rapid.IntRange(0, 5).Draw(t, "op") {
			case 0:
				n := rapid.IntRange(0, 5).Draw(t, "n")
				seq, err := g.add(n, now, now+ttl+2*delay)
				if err != nil {
					t.Fatal(err)
				}
				toClient = append(toClient, grant{seq, n, now + delay + ttl})
			case 1: // a lease arrives and is echoed
				if len(toClient) > 0 {
					have, toClient = toClient[0], toClient[1:]
					toServer = append(toServer, grant{seq: have.seq})
				}
			case 2, 3: // the client requests if it may
				if have.n > 0 && now < have.expires {
					have.n--
					toServer = append(toServer, grant{expires: now + delay})
				}
			case 4: // something arrives at the server
				if len(toServer) > 0 {
					x := toServer[0]
					toServer = toServer[1:]
					if x.seq > 0 {
						g.confirm(x.seq)
					} else if !g.take(now) {
						t.Fatal("a request under a lease was refused")
					}
				}
			default: // time passes, but nothing is longer on its way than delay
				if len(toClient)+len(toServer) == 0 {
					now += time.Duration(rapid.IntRange(0, 50).Draw(t, "ms")) * time.Millisecond
				}
			}
		}
	})
}

// Random use of a channel from both sides: payloads arrive in order, none beyond what was granted, all that were sent before
// a regular end, and the budget is given back.
func TestChannelProperty(t *testing.T) {
	b := &limit{max: 64 << 20}
	type script struct {
		grants []int
		stop   int // cancel after so many payloads, or -1
	}
	scripts := make(chan script, 1)
	results := make(chan error, 1)
	h := Handlers{RequestChannel: func(ctx context.Context, _ *Request, in *Receiver, _ *Sender) error {
		s := <-scripts
		err := consume(ctx, in, s.grants, s.stop)
		results <- err
		return err
	}}
	_, addr := startServer(t, ServerOptions{Handlers: h, Budget: b})
	clients := map[int]*Conn{}
	for _, mtu := range []int{64, 4096} {
		clients[mtu] = dial(t, addr, ClientOptions{Limits: Limits{MTU: mtu, WriteBuffer: 4096}})
	}
	ctx := testContext(t)
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.IntRange(0, 60).Draw(rt, "payloads")
		s := script{grants: rapid.SliceOfN(rapid.IntRange(1, 20), 1, 30).Draw(rt, "grants"), stop: rapid.IntRange(-1, 40).Draw(rt, "stop")}
		sizes := rapid.SliceOfN(rapid.OneOf(rapid.IntRange(8, 40), rapid.IntRange(8, 3000)), n, n).Draw(rt, "sizes")
		scripts <- s
		c := clients[rapid.SampledFrom([]int{64, 4096}).Draw(rt, "mtu")]
		out, in, err := c.RequestChannel(ctx, Payload{}, 1, ChannelOptions{})
		if err != nil {
			rt.Fatal(err)
		}
		granted := 0
		for _, g := range s.grants {
			granted += g
		}
		canceled := false
		for i := range min(n, granted) {
			p := binary.BigEndian.AppendUint64(nil, uint64(i))
			if err := out.Send(ctx, Payload{Data: append(p, make([]byte, sizes[i]-8)...)}); err != nil {
				canceled = errors.Is(err, ErrCanceled)
				if !canceled {
					rt.Fatalf("send %d: %v", i, err)
				}
				break
			}
		}
		_ = out.Complete() // fails if the responder has cancelled
		if err := <-results; err != nil {
			rt.Fatal(err)
		}
		if canceled && s.stop < 0 {
			rt.Fatal("canceled though the consumer wanted all")
		}
		if _, err := in.Recv(ctx); !errors.Is(err, io.EOF) {
			rt.Fatalf("end: %v", err)
		}
	})
	for _, c := range clients {
		_ = c.Close()
	}
	eventually(t, func() bool { return b.held() == 0 }, "budget given back")
}

// consume takes payloads, granting as the script says, and checks their order.
func consume(ctx context.Context, in *Receiver, grants []int, stop int) error {
	granted := 0
	for _, g := range grants {
		in.Grant(g)
		granted += g
	}
	for next := 0; next != stop; next++ {
		p, err := in.Recv(ctx)
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case binary.BigEndian.Uint64(p.Data) != uint64(next):
			return Errorf(CodeApplicationError, "got %d, want %d", binary.BigEndian.Uint64(p.Data), next)
		case next >= granted:
			return Errorf(CodeApplicationError, "payload %d beyond the credit of %d", next, granted)
		}
	}
	return nil
}
