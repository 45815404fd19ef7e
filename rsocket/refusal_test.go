package rsocket

import (
	"sync"
	"testing"
	"time"
)

// All connections together hold no more unfinished fragments than the server allows, so that they leave others room.
func TestUnfinishedFragmentsOfAllConnectionsAreBounded(t *testing.T) {
	b := &limit{max: 64 << 20}
	addr, check := hostileServer(t, ServerOptions{Handlers: echoHandlers(), Limits: Limits{MaxReassembly: 2 << 20, MaxFragments: 3 << 20}, Budget: b})
	part := make([]byte, 60<<10)
	var peers []*rawPeer
	refused := uint32(0)
	for range 2 {
		p := rawClient(t, addr)
		peers = append(peers, p)
		for i := range uint32(30) {
			p.send(opened(FrameRequestResponse, 2*i+1, 0, FlagFollows, Payload{Data: part}))
		}
		if len(peers) == 2 {
			refused = p.expect(FrameError).StreamID
		} else {
			p.alive() // all of its fragments are held
		}
	}
	if refused < 2*20 {
		t.Errorf("stream %d was refused, want one after both have sent 3 MiB", refused)
	}
	if b.most() > 4<<20 {
		t.Errorf("%d bytes held", b.most())
	}
	_ = peers[0].nc.Close()
	eventually(t, func() bool { return b.held() < 2<<20 }, "fragments of the first connection forgotten")
	third := rawClient(t, addr)
	third.send(opened(FrameRequestResponse, 1, 0, FlagFollows, Payload{Data: part}))
	third.alive()
	_, _ = third.nc.Close(), peers[1].nc.Close()
	check()
	eventually(t, func() bool { return b.held() == 0 }, "budget given back")
}

// A peer whose requests are refused again and again is answered, however many there are.
func TestEveryRefusalIsAnswered(t *testing.T) {
	addr, check := hostileServer(t, ServerOptions{Handlers: echoHandlers()})
	p := rawClient(t, addr)
	const n = refusalBurst + 2000
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range uint32(n) {
			if _, err := p.nc.Write(opened(FrameRequestStream, 2*i+1, 0, 0, data("x"))); err != nil { // n = 0 is refused
				return // the test has failed
			}
		}
	})
	for range n {
		p.expect(FrameError)
	}
	wg.Wait()
	p.alive()
	_ = p.nc.Close()
	check()
}

func TestRefusalsCostTime(t *testing.T) {
	var r refusals
	for range refusalBurst {
		if d := r.take(time.Second); d != 0 {
			t.Fatal("slowed down within the burst")
		}
	}
	if r.take(time.Second) == 0 {
		t.Error("not slowed down after the burst")
	}
	now := time.Second + refusalPause
	paid := 0
	for r.take(now) == 0 {
		paid++
	}
	if paid < 300 || paid > 500 {
		t.Errorf("%d refusals after a pause, want about %d a second", paid, refusalRate)
	}
	if r.take(time.Hour) != 0 {
		t.Error("still slowed down after an hour")
	}
}
