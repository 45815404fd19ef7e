package stores

import (
	"fmt"
	"net/http"
	"sync"
	"testing"

	"github.com/weir-dev/weir/test/peers"
)

// TestKilledAtEveryStep kills a writer at each of its requests: before the server has it, and when the server has done it
// and the answer is on its way. Nothing that was acknowledged is lost, and the next writer goes on.
func TestKilledAtEveryStep(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			server.Setenv(t)
			proxy := peers.NewProxy(t, server)
			steps, acks, kept := 0, 0, int64(0)
			for done := false; !done; steps++ {
				for _, after := range []bool{false, true} {
					uri := fmt.Sprintf("s3://%s/steps-%d-%t", peers.Bucket, steps, after)
					direct := openStore(t, uri)
					createTable(t, direct)
					acked := map[int64]string{}
					done = killAt(t, proxy, uri, steps, after, acked)
					checkLog(t, direct, acked)
					w := startWriter(t, []string{"AWS_ENDPOINT_URL=" + proxy.URL}, uri, "last", 2)
					w.acked(t, acked, -1)
					must(t, w.cmd.Wait())
					s := checkLog(t, direct, acked)
					acks, kept = acks+len(acked), kept+s.Version()
				}
			}
			if steps < 8 {
				t.Errorf("a writer of 3 commits sends only %d requests", steps)
			}
			t.Logf("killed at %d steps, before and after each: %d commits acknowledged, %d in the logs", steps-1, acks, kept)
		})
	}
}

// killAt starts a writer and kills it at its request number step. done: it ended before it came so far.
func killAt(t *testing.T, proxy *peers.Proxy, uri string, step int, after bool, acked map[int64]string) (done bool) {
	t.Helper()
	var mu sync.Mutex
	n := map[bool]int{}
	reached, release := make(chan struct{}), make(chan struct{})
	hook := func(is bool) func() {
		return func() {
			mu.Lock()
			n[is]++
			here := is == after && n[is] == step+1
			mu.Unlock()
			if here {
				close(reached)
				<-release
			}
		}
	}
	before, behind := hook(false), hook(true)
	proxy.On(func(*http.Request) peers.Fault {
		before()
		select {
		case <-release:
			return peers.CutBefore // the writer is dead
		default:
			return peers.Pass
		}
	}, func(*http.Request) { behind() })
	defer proxy.On(nil, nil)
	w := startWriter(t, []string{"AWS_ENDPOINT_URL=" + proxy.URL}, uri, fmt.Sprintf("s%d-%t", step, after), 3)
	ended := make(chan error, 1)
	go func() {
		w.acked(t, acked, -1)
		ended <- w.cmd.Wait()
	}()
	select {
	case err := <-ended:
		must(t, err)
		close(release)
		return true
	case <-reached:
	}
	must(t, w.cmd.Process.Kill())
	if err := <-ended; err == nil {
		t.Errorf("the writer ended although it was killed")
	}
	close(release)
	return false
}
