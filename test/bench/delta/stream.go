package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/store"
)

// The ways to keep a table under a stream of changes.
const (
	rewritten  = "copy-on-write"
	marked     = "deletion vectors"
	maintained = "deletion vectors, maintained"
)

var strategies = []string{rewritten, marked, maintained}

const batchEach = 5 * time.Second

// looksEach are the batches between two looks of the maintainer: it looks every minute, and a minute has twelve batches.
const looksEach = 12

// measured are the numbers of batches after which a run says how far it is.
var measured = []int{1, 2, 5, 10, 20, 50, 100, 200, 360, 720, 1440, 2160, 2880, 3600, 4320}

// streamed is what a run says.
type streamed struct {
	Points []point
	Done   bool // all batches, not only those that the time allowed
	Rows   int64
	Files  int
	Slow   time.Duration // the longest batch
}

// point is how far a run was after some batches.
type point struct {
	Batches int
	Changes int64   // bytes of the changes, each batch written once as a file
	Written written // bytes that the table's store took
	Table   int64   // bytes of the table
}

func (p point) amplification() float64 { return float64(p.Written.all()) / float64(p.Changes) }

// since is what came after another point.
func (p point) since(o point) point {
	p.Batches -= o.Batches
	p.Changes -= o.Changes
	for i := range p.Written {
		p.Written[i] -= o.Written[i]
	}
	return p
}

// streamBench sends an hour of changes, a batch each five seconds, through a table as fast as it goes, and shows how many
// bytes were written for each byte that changed.
func streamBench(ctx context.Context, args []string) error {
	var rows, changes int64
	var batches, inserts, deletes int
	var limit time.Duration
	var file, only string
	err := parse("stream", args, func(f *flag.FlagSet) {
		f.Int64Var(&rows, "rows", 1_000_000, "rows of the table at the start")
		f.IntVar(&batches, "batches", 720, "batches of changes: an hour has 720 of five seconds")
		f.Int64Var(&changes, "changes", 1000, "changes in a batch")
		f.IntVar(&inserts, "inserts", 3, "of ten changes; as many as deletes, and the table does not grow")
		f.IntVar(&deletes, "deletes", 1, "of ten changes; what is left are updates")
		f.DurationVar(&limit, "limit", 4*time.Minute, "time after which a strategy is cut short")
		f.StringVar(&only, "only", "", "one strategy: "+strings.Join(strategies, "; "))
		f.StringVar(&file, "o", "", "file for the report too")
	})
	if err != nil {
		return err
	}
	if inserts < 0 || deletes < 0 || inserts+deletes > 10 {
		return fmt.Errorf("-inserts %d and -deletes %d are not parts of ten", inserts, deletes)
	}
	if only != "" && !slices.Contains(strategies, only) {
		return fmt.Errorf("-only %q: there are %s", only, strings.Join(strategies, "; "))
	}
	w, done, err := out(file)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "weir-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	st, err := store.NewLocal(filepath.Join(dir, "base"))
	if err != nil {
		return err
	}
	t, err := makeTable(ctx, st, rows)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "%d batches of %d changes (of 10, %d insert, %d delete, the others update; half of them among the newest tenth) into %d rows, %s\n\n",
		batches, changes, inserts, deletes, rows, mib(t.Snapshot().Bytes()))
	results := make([]streamed, len(strategies))
	table := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
	fmt.Fprintln(table, "| strategy \t| batches \t| changes \t| written \t| amplification \t| files \t| longest batch \t| CPU \t| peak memory \t|")
	fmt.Fprintln(table, "|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|---\t|")
	for i, name := range strategies {
		if only != "" && only != name {
			continue
		}
		to := filepath.Join(dir, strconv.Itoa(i))
		if err := cloneTable(filepath.Join(dir, "base"), to); err != nil {
			return err
		}
		cmd, err := self(ctx, "-stream", to, name, fmt.Sprint(rows), fmt.Sprint(batches), fmt.Sprint(changes), limit.String(), fmt.Sprint(inserts), fmt.Sprint(deletes))
		if err != nil {
			return err
		}
		use, err := run(cmd, &results[i])
		if err != nil {
			return err
		}
		last := results[i].Points[len(results[i].Points)-1]
		fmt.Fprintf(table, "| %s \t| %d \t| %s \t| %s \t| %.1f \t| %d \t| %.2f s \t| %.1f s \t| %s \t|\n", name, last.Batches, mib(last.Changes),
			mib(last.Written.all()), last.amplification(), results[i].Files, results[i].Slow.Seconds(), use.CPU.Seconds(), mib(use.Peak))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	plot(w, results)
	if err := stretches(w, results); err != nil {
		return err
	}
	return done()
}

// plot draws the amplification of each strategy over the batches, on a logarithmic axis.
func plot(w io.Writer, results []streamed) {
	const marks = "CDM"
	top := 1.0
	for _, r := range results {
		for _, p := range r.Points {
			top = max(top, p.amplification())
		}
	}
	fmt.Fprintf(w, "\nbytes written for each byte of changes, so far (C %s, D %s, M %s)\n\n```\n", strategies[0], strategies[1], strategies[2])
	for level := 1.0; ; level *= 2 {
		if level >= top {
			top = level
			break
		}
	}
	for level := top; level >= 0.5; level /= 2 {
		var line strings.Builder
		fmt.Fprintf(&line, "%7.4g |", level)
		for _, n := range plotted(results) {
			mark := "      "
			for i, r := range results {
				at := slices.IndexFunc(r.Points, func(p point) bool { return p.Batches == n })
				if at >= 0 && r.Points[at].amplification() >= level && r.Points[at].amplification() < 2*level {
					mark = strings.Replace(mark, "  ", " "+marks[i:i+1], 1)
				}
			}
			line.WriteString(mark)
		}
		fmt.Fprintln(w, line.String())
	}
	fmt.Fprint(w, "batches  ")
	for _, n := range plotted(results) {
		fmt.Fprintf(w, "%-6d", n)
	}
	fmt.Fprint(w, "\n```\n")
}

// stretches shows what a byte of changes cost between two points, and for what: a cost that is bounded stops growing.
func stretches(w io.Writer, results []streamed) error {
	for i, r := range results {
		if len(r.Points) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s: bytes written for each byte of changes since the line before\n\n", strategies[i])
		table := tabwriter.NewWriter(w, 0, 0, 1, ' ', 0)
		fmt.Fprintf(table, "| batches \t| in all \t| %s \t| table \t|\n", strings.Join(kindNames[:], " \t| "))
		fmt.Fprint(table, strings.Repeat("|---\t", kinds+3)+"|\n")
		var before point
		for _, p := range r.Points {
			since := p.since(before)
			fmt.Fprintf(table, "| to %d \t| %.1f \t", p.Batches, since.amplification())
			for _, bytes := range since.Written {
				fmt.Fprintf(table, "| %.1f \t", float64(bytes)/float64(since.Changes))
			}
			fmt.Fprintf(table, "| %s \t|\n", mib(p.Table))
			before = p
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	return nil
}

// plotted are the numbers of batches that have points.
func plotted(results []streamed) []int {
	var all []int
	for _, r := range results {
		for _, p := range r.Points {
			all = append(all, p.Batches)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// streamWeir is one strategy: -stream TABLE STRATEGY ROWS BATCHES CHANGES LIMIT INSERTS DELETES.
func streamWeir(ctx context.Context, args []string) error {
	local, err := store.NewLocal(args[0])
	if err != nil {
		return err
	}
	rows, rerr := strconv.ParseInt(args[2], 10, 64)
	batches, berr := strconv.Atoi(args[3])
	changes, cerr := strconv.Atoi(args[4])
	limit, lerr := time.ParseDuration(args[5])
	inserts, ierr := strconv.Atoi(args[6])
	deletes, derr := strconv.Atoi(args[7])
	if err := errors.Join(rerr, berr, cerr, lerr, ierr, derr); err != nil {
		return err
	}
	var sinceStart atomic.Int64 // as if each batch came five seconds after the one before
	start := time.Now()
	clock := func() time.Time { return start.Add(time.Duration(sinceStart.Load())) }
	s := &streamRun{inserts: inserts, deletes: deletes, tick: func() { sinceStart.Add(int64(batchEach)) }, st: &counting{Store: local}, maker: newMaker(3), strategy: args[1], next: rows, live: map[int64]int64{}, gone: map[int64]bool{}, first: rows}
	if s.table, err = delta.Open(ctx, s.st, delta.Options{Now: clock}); err != nil {
		return err
	}
	if s.strategy != rewritten {
		if err := s.table.EnableDeletionVectors(ctx); err != nil {
			return err
		}
	}
	s.maintainer = delta.NewMaintainer(s.table, delta.MaintenancePolicy{Compact: true, Share: 1, Report: func(r delta.MaintenanceReport) {
		s.failed = errors.Join(s.failed, r.Err)
	}})
	if err := s.run(ctx, batches, changes, limit); err != nil {
		return err
	}
	if err := s.check(ctx); err != nil {
		return err
	}
	if err := s.table.Close(ctx); err != nil {
		return err
	}
	return report(s.result)
}

// streamRun is a run of one strategy.
type streamRun struct {
	st       *counting
	table    *delta.Table
	maker    *maker
	strategy string
	first    int64           // rows at the start
	next     int64           // id of the next insert
	live     map[int64]int64 // sequences of the rows that have changed
	gone     map[int64]bool  // ids that were deleted
	changes  int64           // bytes
	result   streamed

	inserts, deletes int // of ten changes

	tick       func() // lets the time of a batch pass for the table
	maintainer *delta.Maintainer
	failed     error // of the maintainer
}

func (s *streamRun) run(ctx context.Context, batches, changes int, limit time.Duration) error {
	begun := time.Now()
	for n := 1; n <= batches; n++ {
		b := s.batch(int64(n), changes)
		var file bytes.Buffer
		if _, err := parquet.Write(&file, changeSchema, []*column.Batch{b}, parquet.WriterOptions{}); err != nil {
			return err
		}
		s.changes += int64(file.Len())
		start := time.Now()
		_, err := s.table.Merge(ctx, []*column.Batch{b}, delta.MergeOptions{
			Key: []string{"id"}, Sequence: "seq", Op: "op", Deletes: []string{"d"}, Matched: delta.MatchedUpdateIfNewer, Tombstones: time.Hour,
		})
		if err == nil && s.strategy == maintained && n%looksEach == 0 {
			s.maintainer.Look(ctx)
			err = s.failed
		}
		if err != nil {
			return err
		}
		s.tick()
		s.result.Slow = max(s.result.Slow, time.Since(start))
		late := time.Since(begun) > limit
		if s.result.Done = n == batches; s.result.Done || late || slices.Contains(measured, n) {
			s.result.Points = append(s.result.Points, point{n, s.changes, s.st.soFar(), s.table.Snapshot().Bytes()})
		}
		if late {
			return nil
		}
	}
	return nil
}

// batch makes changes: updates and deletes of old rows, half of them among the newest tenth, and new rows.
func (s *streamRun) batch(seq int64, changes int) *column.Batch {
	b := column.NewBatch(changeSchema)
	for range changes {
		id, op := s.pick(), "u"
		switch kind := s.maker.rng.IntN(10); {
		case kind < s.inserts:
			id, op = s.next, "c"
			s.next++
		case kind < s.inserts+s.deletes:
			op = "d"
		}
		s.maker.append(b, id, seq)
		b.Columns[len(b.Columns)-1].AppendString(op)
		if s.gone[id] = op == "d"; s.gone[id] {
			delete(s.live, id)
		} else {
			s.live[id] = seq
		}
	}
	b.Seal(changes)
	return b
}

func (s *streamRun) pick() int64 {
	if s.maker.rng.IntN(2) == 0 {
		return s.maker.rng.Int64N(s.next)
	}
	return s.next - 1 - s.maker.rng.Int64N(s.next/10+1)
}

// check fails unless the table holds the rows that the changes leave.
func (s *streamRun) check(ctx context.Context) error {
	rows, sum := s.first, int64(0)
	for id, gone := range s.gone {
		if gone && id < s.first {
			rows--
		}
	}
	for id, seq := range s.live {
		sum += seq
		if id >= s.first {
			rows++
		}
	}
	gotRows, gotSum, err := sumUp(ctx, s.table.Snapshot())
	if err != nil {
		return err
	}
	if gotRows != rows || gotSum != sum {
		return fmt.Errorf("%s: the table has %d rows of sum %d, want %d of %d", s.strategy, gotRows, gotSum, rows, sum)
	}
	s.result.Rows, s.result.Files = rows, s.table.Snapshot().NumFiles()
	return nil
}
