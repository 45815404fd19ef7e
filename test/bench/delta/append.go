package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/store"
)

// appended is what a contestant says of its appends. CPU and Wall are of the appends alone, not of starting and of reading
// the source.
type appended struct {
	Rows  int64
	Bytes int64 // of the files
	CPU   float64
	Wall  float64 // seconds
}

// appenders are the contestants; the last ones write a Parquet file each time, and no table.
var appenders = []string{"delta-rs", "weir", "pyarrow", "duckdb"}

// appendBench appends the same rows again and again: rows per second of CPU.
func appendBench(ctx context.Context, args []string) error {
	var rows, commits int
	var file string
	err := parse("append", args, func(f *flag.FlagSet) {
		f.IntVar(&rows, "rows", 200_000, "rows of an append")
		f.IntVar(&commits, "commits", 10, "appends that are measured")
		f.StringVar(&file, "o", "", "file for the report too")
	})
	if err != nil {
		return err
	}
	return withReport(file, func(w io.Writer, dir string) error {
		source := filepath.Join(dir, "source.parquet")
		batches := makeEvents(1, 0, rows)
		held := int64(0)
		for _, b := range batches {
			held += b.Bytes()
		}
		if _, err := writeSource(source, eventSchema, batches); err != nil {
			return err
		}
		fmt.Fprintf(w, "%d appends of %d events of %d bytes in memory, after one that does not count\n\n", commits, rows, held/int64(rows))
		for _, codec := range []string{"snappy", "zstd"} {
			if err := appendRound(ctx, w, dir, source, codec, commits); err != nil {
				return err
			}
		}
		return nil
	})
}

func appendRound(ctx context.Context, w io.Writer, dir, source, codec string, commits int) error {
	table := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintf(table, "| %s \t| rows/CPU-second \t| against delta-rs \t| rows/second \t| bytes/row \t| peak memory \t|\n", codec)
	fmt.Fprintln(table, "|---\t|---\t|---\t|---\t|---\t|---\t|")
	peer := 0.0
	for _, name := range appenders {
		to := filepath.Join(dir, "append-"+codec+"-"+name)
		var got appended
		cmd, err := contestant(ctx, name, "append", to, source, codec, strconv.Itoa(commits), name)
		if err != nil {
			return err
		}
		use, err := run(cmd, &got)
		if err != nil {
			return err
		}
		rate := float64(got.Rows) / got.CPU
		if name == "delta-rs" {
			peer = rate
		}
		fmt.Fprintf(table, "| %s \t| %.0f \t| %.2f \t| %.0f \t| %.1f \t| %s \t|\n",
			name, rate, rate/peer, float64(got.Rows)/got.Wall, float64(got.Bytes)/float64(got.Rows), mib(use.Peak))
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	fmt.Fprintln(table)
	return table.Flush()
}

// appendWeir is weir's part: -append TABLE SOURCE CODEC COMMITS.
func appendWeir(ctx context.Context, args []string) error {
	codec := map[string]parquet.Codec{"snappy": parquet.Snappy, "zstd": parquet.Zstd}[args[2]]
	commits, err := strconv.Atoi(args[3])
	if err != nil {
		return err
	}
	st, err := store.NewLocal(args[0])
	if err != nil {
		return err
	}
	source, err := readSource(ctx, args[1], eventSchema)
	if err != nil {
		return err
	}
	t, err := delta.Create(ctx, st, delta.CreateOptions{Schema: eventSchema})
	if err != nil {
		return err
	}
	var got appended
	var cpu time.Duration
	var start time.Time
	for i := range commits + 1 {
		if i == 1 {
			cpu, start = cpuTime(), time.Now()
		}
		adds, err := t.WriteData(ctx, eventSchema, nil, source, parquet.WriterOptions{Codec: codec})
		if err != nil {
			return err
		}
		_, err = t.Commit(ctx, func(context.Context, *delta.Snapshot) (*delta.Transaction, error) {
			return &delta.Transaction{Operation: "WRITE", BlindAppend: true, Adds: adds}, nil
		})
		if err != nil {
			return err
		}
		if i > 0 {
			n, _ := adds[0].NumRecords()
			got.Rows += n
			got.Bytes += adds[0].Size
		}
	}
	got.CPU, got.Wall = (cpuTime() - cpu).Seconds(), time.Since(start).Seconds()
	if err := t.Close(ctx); err != nil {
		return err
	}
	return report(got)
}

// cpuTime is what this process has used, all its threads together.
func cpuTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		panic(err) // it has no other error than a bad argument
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
