package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/store"
)

// packed is what a contestant says of an optimize.
type packed struct {
	FilesAdded, Removed int
	Bytes               int64 // written
	CPU, Wall           float64
	Rows, Sum           int64 // of the table afterwards
}

// zOrderBy are the columns of the Z-order: one that time follows, one that it does not.
const zOrderBy = "ts,user"

// optimizeBench packs a table of small files and sorts it, beside delta-rs.
func optimizeBench(ctx context.Context, args []string) error {
	var files, rows int
	var target int64
	var file string
	err := parse("optimize", args, func(f *flag.FlagSet) {
		f.IntVar(&files, "files", 200, "small files")
		f.IntVar(&rows, "rows", 10_000, "rows of each")
		f.Int64Var(&target, "target", 32<<20, "bytes of a file afterwards")
		f.StringVar(&file, "o", "", "file for the report too")
	})
	if err != nil {
		return err
	}
	return withReport(file, func(w io.Writer, dir string) error {
		base := filepath.Join(dir, "base")
		if err := makeSmallFiles(ctx, w, base, files, rows); err != nil {
			return err
		}
		for _, how := range []string{"compact", "zorder"} {
			if err := optimizeRound(ctx, w, dir, base, how, target); err != nil {
				return err
			}
		}
		return nil
	})
}

func makeSmallFiles(ctx context.Context, w io.Writer, dir string, files, rows int) error {
	st, err := store.NewLocal(dir)
	if err != nil {
		return err
	}
	t, err := delta.Create(ctx, st, delta.CreateOptions{Schema: eventSchema})
	if err != nil {
		return err
	}
	for i := range files {
		adds, err := t.WriteData(ctx, eventSchema, nil, makeEvents(7, i*rows, rows), parquet.WriterOptions{})
		if err != nil {
			return err
		}
		_, err = t.Commit(ctx, func(context.Context, *delta.Snapshot) (*delta.Transaction, error) {
			return &delta.Transaction{Operation: "WRITE", BlindAppend: true, Adds: adds}, nil
		})
		if err != nil {
			return err
		}
	}
	fmt.Fprintf(w, "%d files of %d events, %s\n\n", files, rows, mib(t.Snapshot().Bytes()))
	return t.Close(ctx)
}

func optimizeRound(ctx context.Context, w io.Writer, dir, base, how string, target int64) error {
	table := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintf(table, "| %s by \t| files \t| written \t| CPU \t| wall \t| peak memory \t| files that a query reads: 1 of 100 of ts, 1 user \t|\n", how)
	fmt.Fprintln(table, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	var peer packed
	for _, name := range []string{"delta-rs", "weir"} {
		to := filepath.Join(dir, "run")
		if err := cloneTable(base, to); err != nil {
			return err
		}
		var got packed
		cmd, err := contestant(ctx, name, "optimize", to, how, fmt.Sprint(target), zOrderBy)
		if err != nil {
			return err
		}
		use, err := run(cmd, &got)
		if err != nil {
			return err
		}
		if name == "delta-rs" {
			peer = got
		} else if got.Rows != peer.Rows || got.Sum != peer.Sum {
			return fmt.Errorf("%s: weir's table has %d rows of sum %d, delta-rs' %d of %d", how, got.Rows, got.Sum, peer.Rows, peer.Sum)
		}
		byTime, byUser, err := skipping(ctx, to)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "| %s \t| +%d −%d \t| %s \t| %.1f s \t| %.1f s \t| %s \t| %d, %d \t|\n",
			name, got.FilesAdded, got.Removed, mib(got.Bytes), got.CPU, got.Wall, mib(use.Peak), byTime, byUser)
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	fmt.Fprintln(table)
	return table.Flush()
}

// skipping is how many files a query of a short time and one of a user would open.
func skipping(ctx context.Context, dir string) (byTime, byUser int, err error) {
	st, err := store.NewLocal(dir)
	if err != nil {
		return 0, 0, err
	}
	t, err := delta.Open(ctx, st, delta.Options{})
	if err != nil {
		return 0, 0, err
	}
	s := t.Snapshot()
	rows, _ := s.NumRecords()
	at := time.UnixMicro(1_760_000_000_000_000).UTC()
	span := time.Duration(rows) * 1371 * time.Microsecond
	const layout = "2006-01-02 15:04:05"
	for i, text := range []string{
		fmt.Sprintf("ts >= TIMESTAMP '%s' AND ts < TIMESTAMP '%s'", at.Add(span/2).Format(layout), at.Add(span/2+span/100).Format(layout)),
		"user = 'user-010000'",
	} {
		p, err := delta.ParsePredicate(text, s.Schema())
		if err != nil {
			return 0, 0, err
		}
		n := s.Scan(delta.ScanOptions{Where: p}).NumFiles()
		if i == 0 {
			byTime = n
		} else {
			byUser = n
		}
	}
	return byTime, byUser, t.Close(ctx)
}

// optimizeWeir is weir's part: -optimize TABLE compact|zorder TARGET COLUMNS.
func optimizeWeir(ctx context.Context, args []string) error {
	st, err := store.NewLocal(args[0])
	if err != nil {
		return err
	}
	t, err := delta.Open(ctx, st, delta.Options{})
	if err != nil {
		return err
	}
	var o delta.OptimizeOptions
	if _, err := fmt.Sscan(args[2], &o.TargetSize); err != nil {
		return err
	}
	if args[1] == "zorder" {
		o.ZOrder = strings.Split(args[3], ",")
	}
	cpu, start := cpuTime(), time.Now()
	res, err := t.Optimize(ctx, o)
	if err != nil {
		return err
	}
	got := packed{FilesAdded: res.FilesAdded, Removed: res.FilesRemoved, Bytes: res.BytesAdded, CPU: (cpuTime() - cpu).Seconds(), Wall: time.Since(start).Seconds()}
	if got.Rows, got.Sum, err = sumUp(ctx, t.Snapshot()); err != nil {
		return err
	}
	if err := t.Close(ctx); err != nil {
		return err
	}
	return report(got)
}
