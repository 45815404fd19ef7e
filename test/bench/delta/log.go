package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/store"
)

// logBench measures what a long log costs: the commits, and those who open the table.
func logBench(ctx context.Context, args []string) error {
	var commits, files, rounds, runs int
	var file string
	err := parse("log", args, func(f *flag.FlagSet) {
		f.IntVar(&commits, "commits", 10_000, "commits of the long log")
		f.IntVar(&files, "files", 100_000, "files of the large table")
		f.IntVar(&rounds, "rounds", 10, "times that a hundred commits on a new table and on the old one take turns")
		f.IntVar(&runs, "runs", 3, "long logs that are made from the first commit to the last")
		f.StringVar(&file, "o", "", "file for the report too")
	})
	if err != nil {
		return err
	}
	return withReport(file, func(w io.Writer, dir string) error {
		if err := latencies(ctx, w, dir, commits, rounds, runs); err != nil {
			return err
		}
		return loads(ctx, w, dir, commits, files)
	})
}

// fakeFile is an action for a file that no one will read, with statistics as files of events have them.
func fakeFile(n int) delta.Add {
	stats := fmt.Sprintf(`{"numRecords":1000,"minValues":{"id":%d,"seq":0,"region":"ap-east","amount":0.01,"owner":"aaaa","note":"abcd"},`+
		`"maxValues":{"id":%d,"seq":9,"region":"us-west","amount":9999.99,"owner":"zzzz","note":"wxyz"},`+
		`"nullCount":{"id":0,"seq":0,"region":0,"amount":0,"at":0,"owner":0,"note":0}}`, n*1000, n*1000+999)
	return delta.Add{
		Path: fmt.Sprintf("part-%05d-%08x-0000-4000-8000-000000000000-c000.zstd.parquet", n%100_000, n), PartitionValues: delta.PartitionValues{},
		Size: 20_000, ModificationTime: 1_760_000_000_000 + int64(n), DataChange: true, Stats: stats,
	}
}

func commitFiles(ctx context.Context, t *delta.Table, first, n int) (time.Duration, error) {
	tx := delta.Transaction{Operation: "WRITE", BlindAppend: true}
	for i := range n {
		tx.Adds = append(tx.Adds, fakeFile(first+i))
	}
	start := time.Now()
	_, err := t.Commit(ctx, func(context.Context, *delta.Snapshot) (*delta.Transaction, error) { return &tx, nil })
	return time.Since(start), err
}

func newTable(ctx context.Context, dir string, o delta.Options) (*delta.Table, error) {
	st, err := store.NewLocal(dir)
	if err != nil {
		return nil, err
	}
	return delta.Create(ctx, st, delta.CreateOptions{Schema: rowSchema, Options: o})
}

// latencies compares the first hundred commits of a table with those after many. The p99 of a hundred is their slowest, and
// disks have moods: so there are several runs from the first commit to the last, and then a hundred commits on a new table
// and a hundred on the last old one take turns.
func latencies(ctx context.Context, w io.Writer, dir string, commits, rounds, runs int) error {
	fmt.Fprintf(w, "commits of one file each, fsynced on the local disk, a checkpoint every 100 beside them\n\n")
	table := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(table, "| commits \t| p50 \t| p99 \t| p99 against the first \t|\n|---\t|---\t|---\t|---\t|")
	row := func(what string, d, against []time.Duration) {
		fmt.Fprintf(table, "| %s \t| %s \t| %s \t| %.2f \t|\n", what, quantile(d, 50), quantile(d, 99), ratio(d, against))
	}
	var ratios []float64
	var old *delta.Table
	for i := range runs {
		if old != nil {
			if err := old.Close(ctx); err != nil {
				return err
			}
		}
		var took []time.Duration
		var err error
		if old, took, err = straight(ctx, filepath.Join(dir, "long"+strconv.Itoa(i)), commits); err != nil {
			return err
		}
		n := len(took)
		first, last, window := took[:min(100, n)], took[max(0, n-100):], took[n-max(min(100, n), n/10):]
		row(fmt.Sprintf("run %d: 1 to %d", i+1, len(first)), first, first)
		row(fmt.Sprintf("run %d: the last %d of %d", i+1, len(last), n), last, first)
		row(fmt.Sprintf("run %d: the last %d", i+1, len(window)), window, first)
		ratios = append(ratios, ratio(last, first))
	}
	young, aged, err := turns(ctx, dir, old, commits, rounds)
	if err != nil {
		return err
	}
	row(fmt.Sprintf("in turns: 1 to 100 of %d new tables", rounds), young, young)
	row(fmt.Sprintf("in turns: %d to %d", commits+1, commits+100*rounds), aged, young)
	slices.Sort(ratios)
	fmt.Fprintf(table, "\np99 of the last hundred against the first, median of %d runs: %.2f\n\n", runs, ratios[len(ratios)/2])
	return errors.Join(table.Flush(), old.Close(ctx))
}

func ratio(d, against []time.Duration) float64 {
	return float64(quantile(d, 99)) / float64(quantile(against, 99))
}

// straight makes a table of so many commits. The table is the caller's to close.
func straight(ctx context.Context, dir string, commits int) (*delta.Table, []time.Duration, error) {
	t, err := newTable(ctx, dir, delta.Options{})
	if err != nil {
		return nil, nil, err
	}
	took := make([]time.Duration, commits)
	for i := range took {
		if took[i], err = commitFiles(ctx, t, i, 1); err != nil {
			return nil, nil, err
		}
	}
	return t, took, nil
}

// turns lets new tables and an old one take turns.
func turns(ctx context.Context, dir string, old *delta.Table, commits, rounds int) (young, aged []time.Duration, err error) {
	for r := range rounds {
		t, err := newTable(ctx, filepath.Join(dir, "young"+strconv.Itoa(r)), delta.Options{})
		if err != nil {
			return nil, nil, err
		}
		for i := range 100 {
			a, err := commitFiles(ctx, t, i, 1)
			if err != nil {
				return nil, nil, err
			}
			b, err := commitFiles(ctx, old, commits+r*100+i, 1)
			if err != nil {
				return nil, nil, err
			}
			young, aged = append(young, a), append(aged, b)
		}
		if err := t.Close(ctx); err != nil {
			return nil, nil, err
		}
	}
	return young, aged, nil
}

func quantile(d []time.Duration, percent int) time.Duration {
	s := slices.Sorted(slices.Values(d))
	return s[min(len(s)-1, len(s)*percent/100)].Round(time.Microsecond)
}

// loaded is what a contestant says of opening a table and of listing its files.
type loaded struct {
	Files   int
	Version int64
	Open    float64 // seconds
	List    float64 // seconds, from the beginning: opened and listed
	CPU     float64 // of both
}

// loads opens tables beside delta-rs.
func loads(ctx context.Context, w io.Writer, dir string, commits, files int) error {
	tables := []struct {
		name          string
		commits, each int
		checkpoint    bool
	}{
		{fmt.Sprintf("%d commits, no checkpoint", commits), commits, 1, false},
		{fmt.Sprintf("%d commits, checkpoint", commits), commits, 1, true},
		{fmt.Sprintf("%d files in %d commits, no checkpoint", files, max(1, files/1000)), max(1, files/1000), 1000, false},
		{fmt.Sprintf("%d files, checkpoint", files), max(1, files/1000), 1000, true},
	}
	table := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(table, "| table \t| loaded by \t| open \t| and list the files \t| CPU \t| peak memory \t| delta-rs takes \t|\n|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for i, tb := range tables {
		path := filepath.Join(dir, "load"+strconv.Itoa(i))
		t, err := newTable(ctx, path, delta.Options{CheckpointEvery: 1 << 30})
		if err != nil {
			return err
		}
		for c := range tb.commits {
			if _, err := commitFiles(ctx, t, c*tb.each, tb.each); err != nil {
				return err
			}
		}
		if tb.checkpoint {
			if err := t.Checkpoint(ctx); err != nil {
				return err
			}
		}
		if err := t.Close(ctx); err != nil {
			return err
		}
		if err := loadRound(ctx, table, path, tb.name); err != nil {
			return err
		}
	}
	return table.Flush()
}

func loadRound(ctx context.Context, table io.Writer, path, name string) error {
	const times = 5
	best := map[string]loaded{}
	peak := map[string]int64{}
	for range times {
		for _, who := range []string{"weir", "delta-rs"} {
			cmd, err := contestant(ctx, who, "load", path)
			if err != nil {
				return err
			}
			var got loaded
			use, err := run(cmd, &got)
			if err != nil {
				return err
			}
			if b, ok := best[who]; !ok || got.List < b.List {
				best[who], peak[who] = got, use.Peak
			}
		}
	}
	if a, b := best["weir"], best["delta-rs"]; a.Files != b.Files || a.Version != b.Version {
		return fmt.Errorf("%s: weir has %d files in version %d, delta-rs %d in %d", name, a.Files, a.Version, b.Files, b.Version)
	}
	for _, who := range []string{"weir", "delta-rs"} {
		b := best[who]
		fmt.Fprintf(table, "| %s \t| %s \t| %.0f ms \t| %.0f ms \t| %.0f ms \t| %s \t| %.2f times \t|\n",
			name, who, b.Open*1000, b.List*1000, b.CPU*1000, mib(peak[who]), best["delta-rs"].List/b.List)
	}
	return nil
}

// loadWeir is weir's part: -load TABLE.
func loadWeir(ctx context.Context, args []string) error {
	st, err := store.NewLocal(args[0])
	if err != nil {
		return err
	}
	var got loaded
	cpu, start := cpuTime(), time.Now()
	t, err := delta.Open(ctx, st, delta.Options{})
	if err != nil {
		return err
	}
	got.Open = time.Since(start).Seconds()
	rows := int64(0)
	for a := range t.Snapshot().Files() {
		n, _ := a.NumRecords()
		rows += n
		got.Files++
	}
	got.List, got.CPU = time.Since(start).Seconds(), (cpuTime() - cpu).Seconds()
	got.Version = t.Snapshot().Version()
	if rows != int64(got.Files)*1000 {
		return fmt.Errorf("%d rows in %d files", rows, got.Files)
	}
	if err := t.Close(ctx); err != nil {
		return err
	}
	return report(got)
}
