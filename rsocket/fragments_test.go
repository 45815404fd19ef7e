package rsocket

import (
	"bytes"
	"context"
	"strconv"
	"testing"
	"testing/synctest"
	"time"
)

func TestLargePayloadsInFragments(t *testing.T) {
	_, addr := startServer(t, ServerOptions{Handlers: echoHandlers()})
	ctx := testContext(t)
	largest := 40 << 20
	if raceEnabled {
		largest = 4 << 20
	}
	for _, mtu := range []int{64, 1000, 60 << 10, 1 << 20, maxFrameSize} {
		for _, size := range []int{100, 60 << 10, 300 << 10, largest} {
			if size/mtu > 10_000 {
				continue
			}
			c := dial(t, addr, ClientOptions{Limits: Limits{MTU: mtu}})
			p := Payload{Data: bytes.Repeat([]byte("0123456789"), size/10), Metadata: bytes.Repeat([]byte("m"), size/3), HasMetadata: true}
			got, err := c.RequestResponse(ctx, p)
			if err != nil || !bytes.Equal(got.Data, p.Data) || !bytes.Equal(got.Metadata, p.Metadata) {
				t.Fatalf("mtu %d, size %d: %d and %d bytes back: %v", mtu, size, len(got.Data), len(got.Metadata), err)
			}
			out, in, err := c.RequestChannel(ctx, p, 2, ChannelOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if err := out.Send(ctx, p); err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if got, err := in.Recv(ctx); err != nil || !bytes.Equal(got.Data, p.Data) || !bytes.Equal(got.Metadata, p.Metadata) {
					t.Fatalf("channel, mtu %d, size %d: %d bytes back: %v", mtu, size, len(got.Data), err)
				}
			}
			_ = c.Close()
		}
	}
}

// REQUEST_N between the fragments of the opening counts; CANCEL there ends the request before it began.
func TestFramesBetweenFragmentsOfAnOpening(t *testing.T) {
	_, addr := startServer(t, ServerOptions{Handlers: echoHandlers()})
	p := rawClient(t, addr)
	p.send(opened(FrameRequestStream, 1, 1, FlagFollows, data("a")), appendRequestN(nil, 1, 2), opened(FramePayload, 1, 0, FlagNext, data("b")))
	for i := range 3 {
		if f := p.expect(FramePayload); string(f.data) != "ab-"+strconv.Itoa(i) {
			t.Errorf("got %q", f.data)
		}
	}
	p.send(opened(FrameRequestResponse, 3, 0, FlagFollows, data("a")), appendCancel(nil, 3), opened(FramePayload, 3, 0, FlagNext, data("b")))
	p.alive()
}

// Fragments that are too slow are refused one by one also if the refusals must wait for room.
func TestSlowFragmentsOfAPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := new(Metrics)
		conns := make(chan *Conn, 1)
		l, stop := memoryServer(t, ServerOptions{Metrics: m, Handlers: Handlers{
			RequestResponse: echoHandlers().RequestResponse,
			RequestStream: func(ctx context.Context, r *Request, out *Sender) error {
				conns <- r.Conn
				for range 300 {
					if err := out.Send(ctx, Payload{Data: make([]byte, 1000)}); err != nil {
						return err
					}
				}
				return nil
			},
		}})
		defer stop()
		nc, err := l.Dial(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		p := newRawPeer(t, nc)
		_ = nc.SetDeadline(time.Time{})
		p.send(encodeSetup(0, &setupFields{major: 1, keepAlive: 1000000, maxLifetime: 100000000, metadataMIME: []byte("m"), dataMIME: []byte("d")}, &Payload{}))
		for id := uint32(1); id < 9; id += 2 {
			p.send(opened(FrameRequestResponse, id, 0, FlagFollows, data("a")))
		}
		p.send(opened(FrameRequestStream, 101, maxCredit, 0, data("s")))
		c := <-conns
		synctest.Wait() // the stream has filled the buffer
		fillWriteBuffer(p, c)
		time.Sleep(2 * time.Minute) //nolint:forbidigo // fake time
		p.send(appendKeepAlive(nil, false, 0, nil))
		synctest.Wait()
		for range 4 {
			for {
				f, err := p.frame()
				if err != nil {
					t.Fatal(err)
				}
				if f.Type == FrameError {
					break
				}
			}
		}
		if n := m.Panics.Load(); n > 0 {
			t.Errorf("%d panics", n)
		}
		_ = nc.Close()
	})
}

// fillWriteBuffer has p ask for answers, which it does not read, until the write buffer of c takes nothing more.
func fillWriteBuffer(p *rawPeer, c *Conn) {
	full := func() bool {
		c.w.mu.Lock()
		defer c.w.mu.Unlock()
		return len(c.w.buf) >= c.w.limit+controlReserve
	}
	for !full() {
		p.send(appendKeepAlive(nil, true, 0, make([]byte, 4000)))
		synctest.Wait()
	}
}
