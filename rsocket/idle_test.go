package rsocket

import (
	"net"
	"runtime"
	"testing"
	"time"
)

// An idle connection costs the server one goroutine and at most 10 KiB, stack included.
func TestIdleConnectionCost(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector changes sizes")
	}
	const n = 500
	s, addr := startServer(t, ServerOptions{Handlers: echoHandlers()})
	before := memory()
	goroutines := runtime.NumGoroutine()
	peers := make([]net.Conn, 0, n)
	for range n {
		nc, err := net.Dial("tcp", addr) //nolint:noctx // loopback
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = nc.Close() })
		if _, err := nc.Write(goodSetup()); err != nil {
			t.Fatal(err)
		}
		peers = append(peers, nc)
	}
	ping := append(goodPing(), opened(FrameRequestResponse, 1, 0, 0, data("x"))...)
	for _, nc := range peers { // some traffic, so that buffers were in use
		_ = nc.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := nc.Write(ping); err != nil {
			t.Fatal(err)
		}
		var b [23]byte
		if _, err := nc.Read(b[:]); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() bool { return runtime.NumGoroutine() <= goroutines+n }, "one goroutine per connection")
	per := (memory() - before) / n
	t.Logf("%d bytes per idle connection, %d connections", per, s.Conns())
	if per > 10<<10 {
		t.Errorf("%d bytes per idle connection", per)
	}
}

func goodPing() []byte { return appendKeepAlive(nil, true, 0, nil) }

// memory is the live heap and the stacks, after pools were emptied.
func memory() uint64 {
	for range 3 {
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc + m.StackInuse
}
