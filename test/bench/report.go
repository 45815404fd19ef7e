package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// report is all of a run.
type report struct {
	GoVersion string   `json:"goVersion"`
	CPUs      int      `json:"cpus"`
	Window    float64  `json:"windowSeconds"`
	Rounds    int      `json:"rounds"`
	Results   []result `json:"results"` // the stream first, one event a POST last
}

// result is what was measured of one load.
type result struct {
	Name         string  `json:"name"`
	Events       int64   `json:"events"` // acknowledged within the window
	Rate         float64 `json:"eventsPerSecond"`
	Slowest      float64 `json:"slowestEventsPerSecond"` // of all rounds
	Fastest      float64 `json:"fastestEventsPerSecond"`
	Ratio        float64 `json:"timesOnePost"`
	CPURatio     float64 `json:"timesOnePostPerCPU"` // events per CPU second of both ends: the load of the machine does not change it
	ServerCPU    float64 `json:"serverMicrosPerEvent"`
	ClientCPU    float64 `json:"clientMicrosPerEvent"`
	ServerAllocs float64 `json:"serverAllocsPerEvent"`
	ClientAllocs float64 `json:"clientAllocsPerEvent"`
	RSS          int64   `json:"serverPeakRSSBytes"`
	P50          float64 `json:"ackP50Millis"`
	P99          float64 `json:"ackP99Millis"`
	Verified     int64   `json:"verifiedRows"` // in the table after the run, warm-up included
	Reader       string  `json:"reader"`       // that verified them
}

func newResult(name string, from, to point, latencies []time.Duration) result {
	events := to.acked - from.acked
	per := func(v float64) float64 { return v / float64(max(events, 1)) }
	slices.Sort(latencies)
	return result{
		Name: name, Events: events, Rate: float64(events) / to.at.Sub(from.at).Seconds(),
		ServerCPU: per(micros(to.serverCPU - from.serverCPU)), ClientCPU: per(micros(to.clientCPU - from.clientCPU)),
		ServerAllocs: per(to.serverMallocs - from.serverMallocs), ClientAllocs: per(to.clientMallocs - from.clientMallocs),
		RSS: to.serverRSS, P50: quantile(latencies, 50), P99: quantile(latencies, 99),
	}
}

// median returns the result with the median rate.
func median(rounds []result) result {
	slices.SortFunc(rounds, func(a, b result) int { return cmp.Compare(a.Rate, b.Rate) })
	m := rounds[len(rounds)/2]
	m.Slowest, m.Fastest = rounds[0].Rate, rounds[len(rounds)-1].Rate
	return m
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// quantile returns the percentile of sorted durations in milliseconds.
func quantile(sorted []time.Duration, percent int) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return micros(sorted[(len(sorted)-1)*percent/100]) / 1e3
}

// compare relates every result to the last one.
func (r *report) compare() {
	base := r.Results[len(r.Results)-1]
	for i := range r.Results {
		l := &r.Results[i]
		l.Ratio = l.Rate / base.Rate
		l.CPURatio = (base.ServerCPU + base.ClientCPU) / (l.ServerCPU + l.ClientCPU)
	}
}

func (r *report) print(to io.Writer) error {
	fmt.Fprintf(to, "1 KiB events into a committed local table, default Pipeline, both ends on %d CPUs, %s, median of %d × %.0f s\n\n", r.CPUs, r.GoVersion, r.Rounds, r.Window)
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "way in\tevents/s\tfrom\tto\tratio\tper CPU\tserver CPU µs\tclient CPU µs\tserver allocs\tclient allocs\tRSS MiB\tack p50 ms\tp99 ms\trows verified by\t\t")
	for _, l := range r.Results {
		fmt.Fprintf(w, "%s\t%.0f\t%.0f\t%.0f\t%.1f\t%.1f\t%.2f\t%.2f\t%.3f\t%.3f\t%d\t%.0f\t%.0f\t%d\t%s\t\n", l.Name, l.Rate, l.Slowest, l.Fastest, l.Ratio, l.CPURatio,
			l.ServerCPU, l.ClientCPU, l.ServerAllocs, l.ClientAllocs, l.RSS>>20, l.P50, l.P99, l.Verified, l.Reader)
	}
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		return fmt.Errorf("print: %w", err)
	}
	_, err := fmt.Fprintln(to, "CPU and allocations are per event; \"per CPU\" is the ratio of events per CPU second. Latencies are from handing an event over until its acknowledgement, under full load:\na stream keeps what its buffer holds in flight, a POST only itself.")
	return err
}

// check holds the stream to what is promised of it.
func (r *report) check() error {
	const rate, ratio = 100_000, 20
	if s := r.Results[0]; s.Rate < rate || s.Ratio < ratio {
		return fmt.Errorf("the stream does %.0f events/s, %.1f times the POSTs of one event; want %d and %d times", s.Rate, s.Ratio, rate, ratio)
	}
	return nil
}
