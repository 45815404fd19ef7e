package client

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-dev/weir/balancer"
)

// A stream goes over all pods, about evenly, and its acks are one.
func TestStreamOverPods(t *testing.T) {
	inCluster(t, []string{"a", "b", "c"}, func(t *testing.T, c *cluster) {
		var acks []int64
		cl, s := c.client(Options{}, StreamOptions{Name: "s", OnAck: func(a Ack) { acks = append(acks, a.Sequence) }})
		produce(t, s, 1, 20_000)
		st := c.finish(t, cl, s, 20_000)
		if got := shares(s); len(got) != 3 || spread(got) > 1.2 {
			t.Errorf("shares %v", got)
		}
		if st.Moved != 0 || st.Uncertain != 0 || st.Reopened != 0 || st.Records != 20_000 {
			t.Errorf("%+v", st)
		}
		if !slices.IsSorted(acks) || acks[len(acks)-1] != 20_000 {
			t.Errorf("acks end at %d, sorted: %v", acks[len(acks)-1], slices.IsSorted(acks))
		}
	})
}

// What a dead pod has not acknowledged goes to the others.
func TestPodDies(t *testing.T) {
	inCluster(t, []string{"a", "b", "c"}, func(t *testing.T, c *cluster) {
		cl, s := c.client(Options{}, StreamOptions{})
		produce(t, s, 1, 3000)
		c.mu.Lock()
		b := c.pods["b"]
		c.mu.Unlock()
		b.mu.Lock()
		b.mute = true // so that it has committed more than it said
		b.mu.Unlock()
		produce(t, s, 3001, 5500)
		b.kill()
		produce(t, s, 5501, 8000)
		c.announce(nil, "a", "c")
		produce(t, s, 8001, 12_000)
		st := c.finish(t, cl, s, 12_000)
		if st.Uncertain == 0 || st.Uncertain != st.Moved {
			t.Errorf("%+v", st)
		}
	})
}

// A pod that only loses its connections gets everything again itself, and nothing is stored twice.
func TestConnectionsAreCut(t *testing.T) {
	inCluster(t, []string{"a", "b", "c"}, func(t *testing.T, c *cluster) {
		cl, s := c.client(Options{}, StreamOptions{})
		for k := range 10 {
			produce(t, s, 1+500*k, 500*(k+1))
			c.mu.Lock()
			p := c.pods[[]string{"a", "b", "c"}[k%3]]
			c.mu.Unlock()
			p.cut()
		}
		st := c.finish(t, cl, s, 5000)
		if st.Uncertain != 0 || st.Reopened == 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A pod that drains acknowledges what it took, and the rest goes elsewhere: nothing is uncertain.
func TestPodDrains(t *testing.T) {
	inCluster(t, []string{"a", "b", "c"}, func(t *testing.T, c *cluster) {
		cl, s := c.client(Options{}, StreamOptions{})
		produce(t, s, 1, 3000)
		c.mu.Lock()
		a, b := c.pods["a"], c.pods["b"]
		c.mu.Unlock()
		c.announce(nil, "b", "c") // as Kubernetes does it: out of DNS, then SIGTERM
		a.drain()
		produce(t, s, 3001, 6000)
		b.drain() // and one of which DNS has not heard
		produce(t, s, 6001, 9000)
		c.announce(nil, "c")
		produce(t, s, 9001, 12_000)
		if st := c.finish(t, cl, s, 12_000); st.Uncertain != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// A pod that refuses streams for a while, as one whose schema registry does not answer, gets its share again afterwards.
func TestPodRefusesForAWhile(t *testing.T) {
	inCluster(t, []string{"a", "b"}, func(t *testing.T, c *cluster) {
		a, b := c.pods["a"], c.pods["b"]
		refuse := func(p *pod, on bool) {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.refus = on
		}
		refuse(b, true)
		cl, s := c.client(Options{}, StreamOptions{})
		produce(t, s, 1, 30_000)
		refuse(b, false)
		produce(t, s, 30_001, 60_000)
		if got := shares(s); len(got) != 2 || got[1] < 5000 {
			t.Errorf("shares %v", got)
		}
		a.kill()
		produce(t, s, 60_001, 70_000)
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := s.Flush(ctx); err != nil {
			t.Errorf("the pod that is left takes nothing: %v", err)
		}
		if rest, err := s.Close(ctx); err != nil {
			t.Errorf("%d payloads, %v", len(rest), err)
		}
		if err := cl.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

// New pods get their share within seconds.
func TestPodsJoin(t *testing.T) {
	inCluster(t, []string{"a"}, func(t *testing.T, c *cluster) {
		cl, s := c.client(Options{}, StreamOptions{})
		produce(t, s, 1, 3000)
		c.run("b")
		c.run("c")
		c.announce(nil, "a", "b", "c")
		produce(t, s, 3001, 15_000) // 6 s until it is known at the latest, and 5 s of slow start
		before := shares(s)
		produce(t, s, 15_001, 30_000)
		s.Pods()
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		after := shares(s)
		for i := range after {
			after[i] -= before[i]
		}
		if len(after) != 3 || spread(after) > 1.2 {
			t.Errorf("shares %v after %v", after, before)
		}
		c.finish(t, cl, s, 30_000)
	})
}

// Answers without pods, and failures to answer, cut nobody; a pod that is missing for a moment loses no connection.
func TestNameServerFails(t *testing.T) {
	inCluster(t, []string{"a", "b", "c"}, func(t *testing.T, c *cluster) {
		stats := new(balancer.Stats)
		cl, s := c.client(Options{PodStats: stats}, StreamOptions{})
		sent := 0
		more := func() {
			produce(t, s, sent+1, sent+10_000)
			sent += 10_000
		}
		more()
		c.announce(nil)
		more()
		c.announce(errors.New("server misbehaving"))
		more()
		c.announce(nil, "a", "b", "c")
		more()
		if n := stats.Losses.Load(); n != 0 || stats.Dials.Load() != 3 || stats.ResolveErrors.Load() == 0 {
			t.Errorf("%d connections lost, %d made", n, stats.Dials.Load())
		}
		st := c.finish(t, cl, s, sent)
		if got := shares(s); st.Moved+st.Reopened != 0 || spread(got) > 1.2 {
			t.Errorf("%+v, shares %v", st, got)
		}
	})
}

// Close returns what no pod has acknowledged.
func TestCloseReturnsTheRest(t *testing.T) {
	inCluster(t, []string{"a", "b"}, func(t *testing.T, c *cluster) {
		cl, s := c.client(Options{}, StreamOptions{})
		produce(t, s, 1, 3000)
		c.mu.Lock()
		pods := []*pod{c.pods["a"], c.pods["b"]}
		c.mu.Unlock()
		for _, p := range pods {
			p.kill()
		}
		produce(t, s, 3001, 4000)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		rest, err := s.Close(ctx)
		if !errors.Is(err, ErrUnacked) || len(rest) < 1000 {
			t.Errorf("%d payloads, %v", len(rest), err)
		}
		st := s.Stats()
		if int64(len(rest)) != st.Sent-st.Acked {
			t.Errorf("%d payloads returned, %+v", len(rest), st)
		}
		returned := map[string]bool{}
		for _, u := range rest {
			returned[string(u.Data)] = true
		}
		for i := 1; i <= 4000; i++ {
			if k := fmt.Sprint(i); c.table[k] == 0 && !returned[k] {
				t.Errorf("payload %d is lost", i)
			}
		}
		if err := cl.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// What was promised to a lane and dropped before the lane could take it does not count against the next payloads.
func TestDroppedPayloadsAreNotPromised(t *testing.T) {
	inCluster(t, []string{"a"}, func(t *testing.T, c *cluster) {
		cl, s := c.client(Options{}, StreamOptions{Overflow: DropOldest})
		synctest.Wait()
		s.mu.Lock()
		s.push([]byte("0"))
		s.offer() // wakes the lane, which waits for the lock
		if _, ok := s.buf.dropOldest(); !ok {
			t.Error("nothing to drop")
		}
		s.stats.Sent-- // as if it had never been
		s.mu.Unlock()
		synctest.Wait()
		if _, err := s.Send(t.Context(), []byte("1")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := s.Flush(ctx); err != nil {
			t.Errorf("the next payload stays in the buffer: %v", err)
		}
		if rest, err := s.Close(ctx); err != nil {
			t.Errorf("%d payloads, %v", len(rest), err)
		}
		if err := cl.Close(ctx); err != nil {
			t.Error(err)
		}
	})
}

// The buffer is one for all pods.
func TestBufferIsBoundedAcrossPods(t *testing.T) {
	inCluster(t, []string{"a", "b", "c"}, func(t *testing.T, c *cluster) {
		for _, p := range c.pods {
			p.mute = true
		}
		cl, s := c.client(Options{}, StreamOptions{Buffer: Buffer{Records: 100}, Overflow: Fail})
		taken := 0
		for ; ; taken++ {
			if _, err := s.Send(t.Context(), fmt.Append(nil, taken)); err != nil {
				if !errors.Is(err, ErrBufferFull) {
					t.Error(err)
				}
				break
			}
			synctest.Wait()
		}
		if st := s.Stats(); taken != 100 || st.Buffered != 100 {
			t.Errorf("%d taken, %+v", taken, st)
		}
		if rest, _ := s.Close(canceled()); len(rest) != 100 {
			t.Errorf("%d payloads returned", len(rest))
		}
		if err := cl.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// All pods gone for longer than GiveUpAfter end the stream.
func TestGiveUpOnAllPods(t *testing.T) {
	inCluster(t, []string{"a", "b"}, func(t *testing.T, c *cluster) {
		cl, s := c.client(Options{GiveUpAfter: time.Minute}, StreamOptions{})
		c.mu.Lock()
		pods := []*pod{c.pods["a"], c.pods["b"]}
		c.mu.Unlock()
		pods[0].kill()
		produce(t, s, 1, 120_300) // two minutes with one of them are no reason
		if err := s.Err(); err != nil {
			t.Fatal(err)
		}
		pods[1].kill()
		start := time.Now()
		rest, err := s.Close(t.Context())
		if d := time.Since(start); !errors.Is(err, ErrGaveUp) || len(rest) == 0 || d > 3*time.Minute {
			t.Errorf("%d payloads, %v after %v", len(rest), err, d)
		}
		if err := cl.Close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// Requests go through the picker; a pod that refuses is passed over.
func TestRequestsOverPods(t *testing.T) {
	inCluster(t, []string{"a", "b", "c"}, func(t *testing.T, c *cluster) {
		cl, s := c.client(Options{}, StreamOptions{})
		synctest.Wait() // until all are connected
		c.pods["b"].mu.Lock()
		c.pods["b"].refus = true
		c.pods["b"].mu.Unlock()
		for i := range 600 {
			if _, err := cl.Request(t.Context(), fmt.Append(nil, i)); err != nil {
				t.Fatal(err)
			}
			if err := cl.FireAndForget(t.Context(), fmt.Append(nil, 600+i)); err != nil {
				t.Fatal(err)
			}
		}
		if err := cl.Barrier(t.Context()); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		a, b, d := c.pods["a"].got, c.pods["b"].got, c.pods["c"].got
		if a+b+d != 1200 || a < 300 || d < 300 {
			t.Errorf("%d, %d and %d", a, b, d)
		}
		c.finish(t, cl, s, 0)
	})
}
