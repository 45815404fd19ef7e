package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/store"
)

// merged is what a contestant says of its merge.
type merged struct {
	Updated, Inserted   int64
	FilesAdded, Removed int
	Bytes               int64 // written
	Rows                int64 // in the table afterwards
	Sum                 int64 // of their sequences
}

// mergeBench merges updates of random rows into a table, by weir in both ways and by delta-rs.
func mergeBench(ctx context.Context, args []string) error {
	var rows, updates int64
	var report string
	err := parse("merge", args, func(f *flag.FlagSet) {
		f.Int64Var(&rows, "rows", 10_000_000, "rows of the table")
		f.Int64Var(&updates, "updates", 100_000, "rows that change")
		f.StringVar(&report, "o", "", "file for the report too")
	})
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	w, done, err := out(report)
	if err != nil {
		return err
	}
	if err := mergeRounds(ctx, w, dir, rows, updates); err != nil {
		return err
	}
	return done()
}

func mergeRounds(ctx context.Context, w io.Writer, dir string, rows, updates int64) error {
	base := filepath.Join(dir, "base")
	st, err := store.NewLocal(base)
	if err != nil {
		return err
	}
	start := time.Now()
	t, err := makeTable(ctx, st, rows)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "table: %d rows, %s in %d files, made in %s\n\n", rows, mib(t.Snapshot().Bytes()), t.Snapshot().NumFiles(), time.Since(start).Round(time.Second))
	if err := t.Close(ctx); err != nil {
		return err
	}
	for _, r := range []struct {
		name  string
		first int64 // of the ids that may change
	}{
		{"over the whole table", 0},
		{"among the newest tenth", rows * 9 / 10},
	} {
		source := filepath.Join(dir, fmt.Sprintf("updates-%d.parquet", r.first))
		size, err := makeUpdates(source, r.first, rows, updates)
		if err != nil {
			return err
		}
		fmt.Fprintf(w, "%d updates %s (%s as a file):\n\n", updates, r.name, mib(size))
		if err := mergeRound(ctx, w, dir, base, source); err != nil {
			return err
		}
	}
	return nil
}

// makeUpdates writes updates of distinct rows, spread evenly over the ids from first to rows, in no order.
func makeUpdates(file string, first, rows, updates int64) (int64, error) {
	m := newMaker(2)
	b := column.NewBatch(rowSchema)
	updates = min(updates, rows-first)
	step := (rows - first) / updates
	for _, i := range m.rng.Perm(int(updates)) {
		m.append(b, first+int64(i)*step+m.rng.Int64N(step), 1)
	}
	b.Seal(int(updates))
	return writeSource(file, rowSchema, []*column.Batch{b})
}

func mergeRound(ctx context.Context, w io.Writer, dir, base, source string) error {
	py, err := python()
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(table, "| merge by \t| bytes written \t| files \t| CPU \t| wall \t| peak memory \t|")
	fmt.Fprintln(table, "|---\t|---\t|---\t|---\t|---\t|---\t|")
	var peer merged
	var peerUse usage
	var against []string
	for _, name := range []string{"delta-rs", "weir, copy-on-write", "weir, deletion vectors"} {
		to := filepath.Join(dir, "run")
		if err := cloneTable(base, to); err != nil {
			return err
		}
		var got merged
		cmd, err := self(ctx, "-merge-weir", to, source, name)
		if name == "delta-rs" {
			cmd.Path, cmd.Args = py, []string{py, "test/bench/delta/merge.py", to, source}
		}
		if err != nil {
			return err
		}
		use, err := run(cmd, &got)
		if err != nil {
			return err
		}
		fmt.Fprintf(table, "| %s \t| %s \t| +%d −%d \t| %.1f s \t| %.1f s \t| %s \t|\n",
			name, mib(got.Bytes), got.FilesAdded, got.Removed, use.CPU.Seconds(), use.Wall.Seconds(), mib(use.Peak))
		if name == "delta-rs" {
			peer, peerUse = got, use
		} else if got.Rows != peer.Rows || got.Sum != peer.Sum || got.Updated != peer.Updated {
			return fmt.Errorf("%s has %d rows of sum %d after %d updates, delta-rs %d of %d after %d", name, got.Rows, got.Sum, got.Updated, peer.Rows, peer.Sum, peer.Updated)
		}
		if name != "delta-rs" {
			against = append(against, fmt.Sprintf("%s %.3f of the bytes and %.2f of the CPU", strings.TrimPrefix(name, "weir, "),
				float64(got.Bytes)/float64(peer.Bytes), use.CPU.Seconds()/peerUse.CPU.Seconds()))
		}
		if err := os.RemoveAll(to); err != nil {
			return err
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nagainst delta-rs: %s; the tables hold the same rows\n\n", strings.Join(against, ", "))
	return nil
}

// mergeWeir is weir's part: -merge-weir TABLE SOURCE NAME.
func mergeWeir(ctx context.Context, args []string) error {
	local, err := store.NewLocal(args[0])
	if err != nil {
		return err
	}
	st := &counting{Store: local}
	t, err := delta.Open(ctx, st, delta.Options{})
	if err != nil {
		return err
	}
	if args[2] == "weir, deletion vectors" {
		if err := t.EnableDeletionVectors(ctx); err != nil {
			return err
		}
	}
	source, err := readSource(ctx, args[1], rowSchema)
	if err != nil {
		return err
	}
	res, err := t.Merge(ctx, source, delta.MergeOptions{Key: []string{"id"}, Sequence: "seq", Matched: delta.MatchedUpdateIfNewer})
	if err != nil {
		return err
	}
	got := merged{
		Updated: res.Updated, Inserted: res.Inserted, FilesAdded: res.FilesAdded, Removed: res.FilesRemoved, Bytes: st.soFar().all(),
	}
	if got.Rows, got.Sum, err = sumUp(ctx, t.Snapshot()); err != nil {
		return err
	}
	if err := t.Close(ctx); err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(got)
}

// sumUp counts the rows and adds up their sequences.
func sumUp(ctx context.Context, s *delta.Snapshot) (rows, sum int64, err error) {
	for b, err := range s.Scan(delta.ScanOptions{Columns: seqOnly}).Rows(ctx) {
		if err != nil {
			return 0, 0, err
		}
		rows += int64(b.Rows)
		for _, seq := range b.Columns[0].Int64s {
			sum += seq
		}
	}
	return rows, sum, nil
}
