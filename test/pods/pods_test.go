// Package pods runs several weir processes on loopback addresses, behind a name server, and a producer that spreads over
// them while they come and go.
package pods

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/weir-dev/weir/balancer"
	"github.com/weir-dev/weir/client"
	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/test/harness"
)

// town is a table, and processes that write to it.
type town struct {
	bin, table, port string
	pods             map[string]*harness.Weir // by address
}

func newTown(t *testing.T) *town {
	t.Helper()
	bin, err := harness.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	tw := &town{bin: bin, table: filepath.Join(t.TempDir(), "events"), port: port, pods: map[string]*harness.Weir{}}
	t.Cleanup(func() {
		for _, w := range tw.pods {
			w.Kill()
		}
	})
	return tw
}

func (tw *town) start(t *testing.T, addr string, args ...string) {
	t.Helper()
	file := fmt.Sprintf(`apiVersion: weir.dev/v1alpha1
kind: Pipeline
metadata: {name: events}
spec:
  ingress:
    rsocket: {port: %s}
    http: {port: 0}
  observability: {metricsPort: 0}
  flow: {memory: 64Mi}
  sink: {delta: {uri: %q, batch: {maxAge: 1s, maxRecords: 20000}}}
`, tw.port, tw.table)
	w, err := harness.Run(t.Context(), tw.bin, t.TempDir(), harness.Pipeline{Table: tw.table, File: file, Args: append([]string{"--listen", addr}, args...)})
	if err != nil {
		t.Fatal(err)
	}
	tw.pods[addr] = w
}

// counts reads how often each of the n events is in the table.
func (tw *town) counts(t *testing.T, n int) (lost, twice int) {
	t.Helper()
	st, err := store.OpenURI(t.Context(), tw.table)
	if err != nil {
		t.Fatal(err)
	}
	table, err := delta.Open(t.Context(), st, delta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	want := &schema.Type{Kind: schema.Struct, Fields: []schema.Field{{Name: "id", Type: &schema.Type{Kind: schema.Long}, Nullable: true}}}
	seen := make([]int, n)
	for batch, err := range table.Snapshot().Read(t.Context(), want) {
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range batch.Columns[0].Int64s {
			seen[id]++
		}
	}
	for _, k := range seen {
		lost += max(0, 1-k)
		twice += max(0, k-1)
	}
	return lost, twice
}

// sender sends numbered events at a steady rate until it is told to stop.
type sender struct {
	s    *client.Stream
	next int
}

// for sends for about d, 25 events every 5 ms.
func (p *sender) sendFor(t *testing.T, d time.Duration) {
	t.Helper()
	const perTick = 25
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for range int(d / (5 * time.Millisecond)) {
		<-tick.C
		for range perTick {
			if _, err := p.s.Send(t.Context(), fmt.Appendf(nil, `{"id":%d,"text":"event number %d of a steady stream"}`, p.next, p.next)); err != nil {
				t.Fatal(err)
			}
			p.next++
		}
	}
}

func acked(s *client.Stream) map[string]int64 {
	all := map[string]int64{}
	for _, p := range s.Pods() {
		all[p.Pod] = p.Acked
	}
	return all
}

// since returns what the pods got after before was taken, and the ratio of the largest share to the smallest.
func since(before, now map[string]int64, pods ...string) (shares []int64, ratio float64) {
	for _, p := range pods {
		shares = append(shares, now[p]-before[p])
	}
	return shares, float64(slices.Max(shares)) / float64(max(1, slices.Min(shares)))
}

// TestPodsComeAndGo sends 5,000 events a second to three processes; one is killed, the name server fails, one is replaced,
// one stops in order. Every acknowledged event is in the table; those that are there twice were announced.
func TestPodsComeAndGo(t *testing.T) {
	tw := newTown(t)
	dns, err := harness.NewNameServer(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer dns.Close()
	pod := func(i int) string { return fmt.Sprintf("127.0.0.%d:%s", i, tw.port) }
	for i := 1; i <= 3; i++ {
		tw.start(t, fmt.Sprintf("127.0.0.%d", i))
	}
	dns.Answer("127.0.0.1", "127.0.0.2", "127.0.0.3")
	target, err := balancer.ParseTarget("weir://events-headless:" + tw.port + "/events?refresh=1s")
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.Dial(t.Context(), "weir://events-headless:"+tw.port+"/events?refresh=1s",
		client.Options{Resolver: balancer.NewDNS(&target, dns.Resolver())})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.OpenStream(t.Context(), client.StreamOptions{Name: "steady"})
	if err != nil {
		t.Fatal(err)
	}
	p := &sender{s: s}

	p.sendFor(t, 4*time.Second)
	flush(t, s)
	shares, ratio := since(nil, acked(s), pod(1), pod(2), pod(3))
	t.Logf("three equal pods: %v, max/min %.3f", shares, ratio)
	if ratio > 1.2 {
		t.Errorf("shares %v of three equal pods", shares)
	}

	go func() {
		time.Sleep(500 * time.Millisecond) //nolint:forbidigo // in the middle of the load
		tw.pods["127.0.0.2"].Kill()
		dns.Fail()
	}()
	p.sendFor(t, 2*time.Second)
	dns.Answer("127.0.0.1", "127.0.0.3")
	tw.start(t, "127.0.0.4")
	dns.Answer("127.0.0.1", "127.0.0.3", "127.0.0.4")
	p.sendFor(t, 7*time.Second) // until the new one is known, and its slow start
	flush(t, s)
	for range 6 { // slow start is over when it is over: how soon depends on the machine
		before := acked(s)
		p.sendFor(t, 3*time.Second)
		flush(t, s)
		if shares, ratio = since(before, acked(s), pod(1), pod(3), pod(4)); ratio <= 1.2 {
			break
		}
	}
	t.Logf("with a new pod in place of the killed one: %v, max/min %.3f", shares, ratio)
	if ratio > 1.2 {
		t.Errorf("shares %v with a new pod", shares)
	}
	if st := s.Stats(); st.Moved == 0 {
		t.Errorf("nothing was in flight when a pod was killed: %+v", st)
	}
	killed := s.Stats()

	dns.Answer("127.0.0.3", "127.0.0.4")
	stopped := make(chan error, 1)
	go func() { stopped <- tw.pods["127.0.0.1"].Stop() }()
	p.sendFor(t, 3*time.Second)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
	rest, err := s.Close(t.Context())
	if len(rest) > 0 || err != nil {
		t.Errorf("%d events unacknowledged: %v", len(rest), err)
	}
	st := s.Stats()
	if st.Uncertain != killed.Uncertain {
		t.Errorf("the stop of a pod made %d events uncertain", st.Uncertain-killed.Uncertain)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	lost, twice := tw.counts(t, p.next)
	t.Logf("%d events sent, %d moved, %d of them uncertain, %d twice in the table, %d lost", p.next, st.Moved, st.Uncertain, twice, lost)
	if lost > 0 || int64(twice) > st.Uncertain {
		t.Errorf("%d events lost, %d twice", lost, twice)
	}
}

func flush(t *testing.T, s *client.Stream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := s.Flush(ctx); err != nil {
		t.Fatal(err)
	}
}

// TestSendToSeveral has weir send ask one of three processes for the others, go over all of them and say what each got.
func TestSendToSeveral(t *testing.T) {
	tw := newTown(t)
	peers := fmt.Sprintf("127.0.0.1:%[1]s,127.0.0.2:%[1]s,127.0.0.3:%[1]s", tw.port)
	for i := 1; i <= 3; i++ {
		tw.start(t, fmt.Sprintf("127.0.0.%d", i), "--pod", fmt.Sprintf("events-%d", i), "--peers", peers)
	}
	var lines bytes.Buffer
	const n = 60_000
	for i := range n {
		fmt.Fprintf(&lines, "{\"id\":%d}\n", i)
	}
	file := filepath.Join(t.TempDir(), "events.ndjson")
	if err := os.WriteFile(file, lines.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := harness.Output(exec.CommandContext(t.Context(), tw.bin, "send", file, "--to", "weir://127.0.0.2:"+tw.port+"/events?discover=watch", "-o", "json"))
	if err != nil {
		t.Fatal(err)
	}
	var summary struct {
		Accepted int64
		Pods     []struct {
			Pod   string
			Acked int64
		}
	}
	if err := json.Unmarshal(out, &summary); err != nil {
		t.Fatal(err)
	}
	var shares []int64
	for _, p := range summary.Pods {
		shares = append(shares, p.Acked)
	}
	if summary.Accepted != n || len(shares) != 3 || slices.Min(shares) == 0 {
		t.Errorf("%s", out)
	}
	if lost, twice := tw.counts(t, n); lost > 0 || twice > 0 {
		t.Errorf("%d events lost, %d twice", lost, twice)
	}
	t.Logf("%d events: %v", n, shares)
}
