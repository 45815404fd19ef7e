package fault

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/test/gen"
	"github.com/weir-dev/weir/test/harness"
)

const (
	memory    = 64 << 20        // the budget of the pipeline
	overhead  = 64 << 20        // what the process may take on top of it
	producers = 3               // one with rsocket-java, the others with weir's client
	events    = 250_000         // of each producer, 1 KiB each
	keepAlive = 2 * time.Second // between KEEPALIVE frames of every producer
)

// stallFor is how long the store does nothing: a minute, or WEIR_FAULT_STALL.
func stallFor(t *testing.T) time.Duration {
	t.Helper()
	text := os.Getenv("WEIR_FAULT_STALL")
	if text == "" {
		return time.Minute
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// TestStoreStalls stops the store under full load. weir must hold no more than its budget, the producers must stand still
// for want of REQUEST_N while their connections live, and everything must be in the table in the end, once.
func TestStoreStalls(t *testing.T) {
	p := harness.RequirePeers(t)
	w := startServer(t)
	done := startProducers(t, p, w.addr(t))
	w.until(t, "the flow has begun", func(s snapshot) bool {
		return s.Committed > 0 && len(s.Conns) == producers && allFlow(s)
	})

	w.tell(t, "stall")
	begin := w.until(t, "the stall has begun", func(s snapshot) bool { return s.Stalled })
	still := w.after(t, stallFor(t)/2)
	end := w.after(t, stallFor(t)/2)
	checkStill(t, still, end)
	if ready, took := producers*events-begin.taken(), end.taken()-begin.taken(); ready < 10*took {
		t.Errorf("the producers had %d events ready and weir took %d during the stall: not ten times as much", ready, took)
	}

	w.tell(t, "resume")
	for range producers {
		if err := <-done; err != nil {
			t.Fatalf("%v\nserver: %s", err, w.stderr.String())
		}
	}
	checkMemory(t, w.stop(t))
	w.showFrames(t)
	checkRows(t, w.table, producers*events)
}

func allFlow(s snapshot) bool {
	for _, f := range s.Conns {
		if f.Payloads == 0 {
			return false
		}
	}
	return true
}

// checkStill compares two snapshots during the stall: between them nothing was granted and nothing came, on any
// connection, but KEEPALIVE went both ways on each.
func checkStill(t *testing.T, from, to snapshot) {
	t.Helper()
	if from.Committed != to.Committed {
		t.Errorf("%d records were committed while the store stood still", to.Committed-from.Committed)
	}
	if len(to.Conns) != producers {
		t.Errorf("%d connections, want %d: one was lost", len(to.Conns), producers)
	}
	for id, after := range to.Conns {
		before := from.Conns[id]
		if after.RequestN != before.RequestN || after.Payloads != before.Payloads {
			t.Errorf("connection %d: %d REQUEST_N sent and %d payloads received while the store stood still",
				id, after.RequestN-before.RequestN, after.Payloads-before.Payloads)
		}
		if after.KeepAliveIn <= before.KeepAliveIn || after.KeepAliveOut <= before.KeepAliveOut {
			t.Errorf("connection %d: KEEPALIVE stopped during the stall", id)
		}
	}
}

func checkMemory(t *testing.T, peak int64) {
	t.Helper()
	t.Logf("RSS: at most %.1f MiB, allowed %d MiB", float64(peak)/(1<<20), (memory+overhead)>>20)
	if peak > memory+overhead {
		t.Errorf("the server took %d MiB, its budget of %d MiB allows %d", peak>>20, memory>>20, (memory+overhead)>>20)
	}
}

// checkRows reads the table: each of the first n events must be there, once.
func checkRows(t *testing.T, dir string, n int) {
	t.Helper()
	st, err := store.OpenURI(t.Context(), dir)
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
			seen[id-gen.IDBase]++
		}
	}
	lost, twice := 0, 0
	for _, n := range seen {
		lost += max(0, 1-n)
		twice += max(0, n-1)
	}
	if lost > 0 || twice > 0 {
		t.Errorf("%d of %d events are lost, %d are there twice", lost, len(seen), twice)
	}
}

// startProducers starts them and returns what becomes of each.
func startProducers(t *testing.T, p *harness.Peers, addr string) <-chan error {
	t.Helper()
	cmds := []*exec.Cmd{javaProducer(t, p, addr, events, "--mode", "channel", "--stream", "java")}
	for i := 1; i < producers; i++ {
		cmd, err := play(t.Context(), "producer", addr, fmt.Sprintf("go-%d", i), strconv.Itoa(i*events), strconv.Itoa(events))
		if err != nil {
			t.Fatal(err)
		}
		cmds = append(cmds, cmd)
	}
	done := make(chan error, len(cmds))
	for _, cmd := range cmds {
		go func() { done <- runProducer(cmd) }()
	}
	return done
}

// javaProducer sends the first n events with rsocket-java.
func javaProducer(t *testing.T, p *harness.Peers, addr string, n int64, args ...string) *exec.Cmd {
	t.Helper()
	_, port, _ := strings.Cut(addr, ":")
	cmd, err := p.Java(t.Context(), "Producer", append(args, "--port", port, "--file", eventFile(t, n),
		"--keepalive", strconv.Itoa(int(keepAlive/time.Millisecond)), "--lifetime", strconv.Itoa(int(4*keepAlive/time.Millisecond)))...)
	if err != nil {
		t.Fatal(err)
	}
	return cmd
}

func runProducer(cmd *exec.Cmd) error {
	out, err := harness.Output(cmd)
	if err != nil {
		return err
	}
	var got produced
	if err := harness.LastJSON(out, &got); err != nil {
		return err
	}
	if got.Payloads != events || got.Records != events {
		return fmt.Errorf("%d events sent and %d acknowledged, want %d", got.Payloads, got.Records, events)
	}
	return nil
}

// eventFile writes the first n events.
func eventFile(t *testing.T, n int64) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "events.ndjson")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	var line []byte
	for i := range n {
		line = append(gen.Events{Seed: 1}.Append(line[:0], i), '\n')
		if _, err := w.Write(line); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return path
}
