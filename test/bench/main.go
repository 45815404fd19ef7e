// Command bench measures what weir is for: events from a producer into committed versions of a local Delta table.
//
//	go run ./test/bench            # or: make bench
//
// It runs `weir run` with its default Pipeline as a process of its own for each way in, in turn, and drives it from this
// process with the same 1 KiB events (package test/gen): streams over RSocket as fast as they go, one that is paced, HTTP
// with 1,000 lines of NDJSON a POST, and HTTP with one event a POST. All go through the same decoder, batches and committer. Rates are those of
// acknowledged, so committed, events within a window after a warm-up. Afterwards the table is read: the number of
// rows and the sum of ids must be those of what was acknowledged.
//
// Both ends share the machine. Compare the ratios and the CPU per event within one run, not rates between machines.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"

	"github.com/weir-dev/weir/test/harness"
)

// options are the flags.
type options struct {
	rounds         int
	warmup, window time.Duration
	streams        int
	paced          int
	posts          int
	bulkPosts      int
	output         string
	check          bool
}

func main() {
	var o options
	flag.IntVar(&o.rounds, "rounds", 3, "how often each way is measured, in turn; the median by rate is reported")
	flag.DurationVar(&o.warmup, "warmup", 2*time.Second, "time before the window")
	flag.DurationVar(&o.window, "window", 8*time.Second, "time in which events are counted")
	flag.IntVar(&o.streams, "streams", 2, "streams of the RSocket way, each on a connection of its own")
	flag.IntVar(&o.paced, "paced", 20_000, "events/s of the paced stream, which shows the latency without a full buffer")
	flag.IntVar(&o.posts, "posts", 2000, "POSTs under way at once, one event each; a POST waits for its commit, so few would measure that")
	flag.IntVar(&o.bulkPosts, "bulk-posts", 96, "POSTs under way at once, 1,000 events each")
	flag.StringVar(&o.output, "o", "", "json: print the results as JSON")
	flag.BoolVar(&o.check, "check", false, "fail unless the stream does 100,000 events/s and 20 times the POSTs of one event")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := bench(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func bench(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	bin, err := harness.Build(ctx, dir)
	if err != nil {
		return err
	}
	loads := []load{
		{name: "RSocket stream", drive: streams(0), workers: o.streams},
		{name: fmt.Sprintf("RSocket stream, %d events/s", o.paced), drive: streams(o.paced), workers: 1},
		{name: "HTTP, 1,000 events a POST", drive: posts(1000), workers: o.bulkPosts},
		{name: "HTTP, one event a POST", drive: posts(1), workers: o.posts},
	}
	rounds := make([][]result, len(loads))
	for round := range o.rounds {
		for i, l := range loads {
			r, err := measure(ctx, bin, dir, l, o)
			if err != nil {
				return fmt.Errorf("%s: %w", l.name, err)
			}
			fmt.Fprintf(os.Stderr, "bench: round %d of %d: %s: %.0f events/s\n", round+1, o.rounds, l.name, r.Rate)
			rounds[i] = append(rounds[i], r)
		}
	}
	report := report{GoVersion: runtime.Version(), CPUs: runtime.NumCPU(), Window: o.window.Seconds(), Rounds: o.rounds}
	for _, results := range rounds {
		report.Results = append(report.Results, median(results))
	}
	report.compare()
	if o.output == "json" {
		enc := json.NewEncoder(os.Stdout)
		enc.SetIndent("", "  ")
		err = enc.Encode(report)
	} else {
		err = report.print(os.Stdout)
	}
	if o.check {
		err = errors.Join(err, report.check())
	}
	return err
}
