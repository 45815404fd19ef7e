package rsocket

import (
	"bytes"
	"context"
	"runtime"
	"sync"
	"testing"
)

// Many hostile peers at once: memory stays bounded, and another connection is served all the time.
func TestSiege(t *testing.T) {
	if raceEnabled {
		t.Skip("measures memory, which the race detector changes")
	}
	release := make(chan struct{})
	h := echoHandlers()
	h.FireAndForget = func(context.Context, *Request) { <-release }
	h.RequestStream = func(ctx context.Context, _ *Request, out *Sender) error { return out.AwaitCredit(ctx) }
	b := &limit{max: 32 << 20}
	m := new(Metrics)
	_, addr := startServer(t, ServerOptions{Handlers: h, Budget: b, Metrics: m, MaxStreamsPerConn: 1000})
	attacks := map[string]func(send func([]byte) bool){
		"payloads without credit": func(send func([]byte) bool) {
			send(opened(FrameRequestChannel, 1, 1, 0, data("a")))
			x := bytes.Repeat(opened(FramePayload, 1, 0, FlagNext, Payload{Data: make([]byte, 1000)}), 100)
			for range 1000 {
				if !send(x) {
					return
				}
			}
		},
		"unfinished fragments": func(send func([]byte) bool) {
			for id := range uint32(20_000) {
				if !send(opened(FrameRequestResponse, 2*id+1, 0, FlagFollows, Payload{Data: make([]byte, 10_000)})) {
					return
				}
			}
		},
		"100,000 streams": func(send func([]byte) bool) {
			for id := range uint32(100_000) {
				if !send(opened(FrameRequestStream, 2*id+1, 1, 0, data("a"))) {
					return
				}
			}
		},
		"fire-and-forget to a blocked handler": func(send func([]byte) bool) {
			x := bytes.Repeat(opened(FrameRequestFNF, 1, 0, 0, Payload{Data: make([]byte, 1000)}), 100)
			for send(x) { // until the server is gone
			}
		},
		"pings without reading": func(send func([]byte) bool) {
			x := bytes.Repeat(appendKeepAlive(nil, true, 0, make([]byte, 4096)), 16)
			for send(x) { // as above
			}
		},
		"large frames that never end": func(send func([]byte) bool) { send(appendUint24(nil, maxFrameSize)) },
	}
	runtime.GC()
	before := memory()
	var wg sync.WaitGroup
	var peers []*rawPeer
	for range 3 {
		for name, attack := range attacks {
			p := rawClient(t, addr)
			peers = append(peers, p)
			if name != "pings without reading" {
				wg.Go(func() { drainPeer(p) })
			}
			wg.Go(func() {
				attack(func(b []byte) bool {
					_, err := p.nc.Write(b)
					return err == nil
				})
			})
		}
	}
	c := dial(t, addr, ClientOptions{})
	for range 5000 {
		if _, err := c.RequestResponse(testContext(t), data("x")); err != nil {
			t.Fatal(err)
		}
	}
	grown := int64(memory()) - int64(before)
	t.Logf("memory grew by %d KiB; %d bytes of the budget held at most", grown>>10, b.most())
	if grown > 96<<20 {
		t.Errorf("memory grew by %d MiB", grown>>20)
	}
	if m.ReaderPauses.Load() == 0 || m.Panics.Load() > 0 {
		t.Errorf("%d pauses, %d panics", m.ReaderPauses.Load(), m.Panics.Load())
	}
	for _, p := range peers {
		_ = p.nc.Close()
	}
	close(release)
	wg.Wait()
	eventually(t, func() bool { return b.held() == 0 }, "budget given back")
}

func drainPeer(p *rawPeer) {
	for {
		if _, err := p.frame(); err != nil {
			return
		}
	}
}
