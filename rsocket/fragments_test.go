package rsocket

import (
	"bytes"
	"strconv"
	"testing"
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
