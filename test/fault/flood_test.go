package fault

import (
	"testing"

	"github.com/weir-dev/weir/test/harness"
)

// TestFireAndForgetFlood stops the store while rsocket-java fires without end. Fire-and-forget has no demand, so weir must
// hold the connection back by not reading it, keep it alive meanwhile, stay within its memory, and lose nothing.
func TestFireAndForgetFlood(t *testing.T) {
	const (
		fired = 150_000
		stall = 6 * keepAlive // longer than the producer waits for a sign of life
	)
	p := harness.RequirePeers(t)
	w := startServer(t)
	java := javaProducer(t, p, w.addr(t), fired, "--mode", "fnf")
	done := make(chan error, 1)
	go func() {
		_, err := harness.Output(java)
		done <- err
	}()
	w.until(t, "the flow has begun", func(s snapshot) bool { return s.Committed > 0 })

	w.tell(t, "stall")
	w.until(t, "the stall has begun", func(s snapshot) bool { return s.Stalled })
	from := w.after(t, stall/2)
	to := w.after(t, stall)
	for id, after := range to.Conns {
		before := from.Conns[id]
		if after.Fired != before.Fired || after.Fired == fired {
			t.Errorf("%d of %d events were read before the second half of the stall and %d in it", before.Fired, fired, after.Fired-before.Fired)
		}
		if after.KeepAliveOut <= before.KeepAliveOut {
			t.Error("no KEEPALIVE was sent while the connection was not read")
		}
	}

	w.tell(t, "resume")
	if err := <-done; err != nil {
		t.Fatalf("%v\nserver: %s", err, w.stderr.String())
	}
	last := w.until(t, "everything is committed", func(s snapshot) bool { return s.Committed >= fired })
	if len(last.Conns) != 1 {
		t.Errorf("the producer needed %d connections", len(last.Conns))
	}
	checkMemory(t, w.stop(t))
	checkRows(t, w.table, fired)
	t.Logf("the connection was held back for %s with %d of %d events read", stall+stall/2, to.taken(), fired)
}
