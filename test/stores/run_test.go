package stores

import (
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-dev/weir/client"
	"github.com/weir-dev/weir/test/harness"
	"github.com/weir-dev/weir/test/peers"
)

// TestRun: a producer sends to weir run, whose table is in an S3 server that fails in every way, and for a while wholly.
// deltalake reads exactly the rows that were acknowledged.
func TestRun(t *testing.T) {
	p := harness.RequirePeers(t)
	server := peers.S3(t)
	server.Setenv(t)
	proxy := peers.NewProxy(t, server)
	t.Setenv("AWS_ENDPOINT_URL", proxy.URL)
	bin, err := weir()
	must(t, err)
	uri := "s3://" + peers.Bucket + "/run"
	w, err := harness.Run(t.Context(), bin, t.TempDir(), harness.Pipeline{Table: uri, Sink: "      batch: {maxRecords: 200, maxAge: 200ms}\n"})
	must(t, err)
	t.Cleanup(w.Kill)
	storm := stormy(3, 0.3)
	var down atomic.Bool
	var failed atomic.Int64
	proxy.On(func(r *http.Request) peers.Fault {
		f := storm(r)
		if down.Load() {
			f = peers.Busy
		}
		if f != peers.Pass {
			failed.Add(1)
		}
		return f
	}, nil)
	const count = 4000
	acked := send(t, w.RSocket, count, func(i int) {
		if i == count/2 {
			down.Store(true)
			time.AfterFunc(3*time.Second, func() { down.Store(false) })
		}
	})
	proxy.On(nil, nil)
	must(t, w.Stop())
	got := rowsOf(t, p, server, uri, "n")
	want := make([]int64, count)
	for i := range want {
		want[i] = int64(i)
	}
	if acked != count || !slices.Equal(got.Values, want) {
		t.Errorf("%d of %d events were acknowledged; deltalake reads %d rows", acked, count, len(got.Values))
	}
	t.Logf("%d requests failed: %d events acknowledged, deltalake reads exactly them at version %d", failed.Load(), acked, got.Version)
}

// send sends count events over one stream and returns how many were acknowledged.
func send(t *testing.T, addr string, count int, before func(i int)) (acked int64) {
	t.Helper()
	c, err := client.Dial(t.Context(), addr, client.Options{})
	must(t, err)
	s, err := c.OpenStream(t.Context(), client.StreamOptions{Name: "numbers", OnAck: func(a client.Ack) { acked = a.Records }})
	must(t, err)
	for i := range count {
		before(i)
		_, err := s.Send(t.Context(), fmt.Appendf(nil, `{"n":%d}`, i))
		must(t, err)
	}
	unacked, err := s.Close(t.Context())
	must(t, err)
	if len(unacked) > 0 {
		t.Errorf("%d events were not acknowledged", len(unacked))
	}
	must(t, c.Close(t.Context()))
	return acked
}
