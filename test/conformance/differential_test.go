package conformance

import (
	"bufio"
	"bytes"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
)

// make differential runs the full numbers.
var (
	deltalakeSequences = flag.Int("deltalake", 25, "sequences of operations in turns with deltalake")
	sparkSequences     = flag.Int("spark", 2, "sequences of operations in turns with Spark")
	firstSeed          = flag.Uint64("seed", 1, "of the first sequence; those after it count on")
)

func TestDifferentialDeltaLake(t *testing.T) { differential(t, deltalake, *deltalakeSequences) }

func TestDifferentialSpark(t *testing.T) { differential(t, spark, *sparkSequences) }

// differential lets weir and a peer work on one table in turns, and at once. After each step both see the table that a
// model of it predicts. A seed makes a sequence; those that once found something stay in testdata/seeds.
func differential(t *testing.T, p *peer, sequences int) {
	t.Helper()
	p.require(t)
	began := time.Now()
	seeds := regressions(t, p)
	for i := range sequences {
		seeds = append(seeds, *firstSeed+uint64(i))
	}
	done, steps := map[string]int{}, 0
	for _, seed := range seeds {
		dir := filepath.Join(t.TempDir(), "table")
		q := &sequence{t: t, peer: p, dir: dir, r: rand.New(rand.NewPCG(seed, 0)), done: done}
		if err := q.run(); err != nil {
			t.Errorf("seed %d: %v\n%s", seed, err, strings.Join(q.steps, "\n"))
			if !errors.As(err, new(*disagreement)) {
				t.FailNow()
			}
		}
		steps += len(q.steps)
		must(t, os.RemoveAll(dir))
	}
	t.Logf("%d sequences with %s, %d steps, %.0f s: %v", len(seeds), p.name, steps, time.Since(began).Seconds(), done)
}

// regressions are the seeds of a peer in testdata/seeds: lines of peer, seed and what it found.
func regressions(t *testing.T, p *peer) (seeds []uint64) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "seeds"))
	must(t, err)
	for s := bufio.NewScanner(bytes.NewReader(data)); s.Scan(); {
		if words := strings.Fields(s.Text()); len(words) > 1 && words[0] == p.name {
			seed, err := strconv.ParseUint(words[1], 10, 64)
			must(t, err)
			seeds = append(seeds, seed)
		}
	}
	return seeds
}

// disagreement says that weir, the peer or the model differ.
type disagreement struct{ what string }

func (e *disagreement) Error() string { return e.what }

// sequence is some operations on one table.
type sequence struct {
	t    *testing.T
	peer *peer
	dir  string
	r    *rand.Rand

	table *delta.Table
	known map[int64]*model // by version; those between the commits of one step with several are unknown
	model *model

	partitionBy []string
	nextID      int64
	evolved     int            // columns added
	steps       []string       // what was done, for who has to find out
	done        map[string]int // operations, over all sequences
}

// maxSteps of a sequence, and at least one.
const maxSteps = 8

func (q *sequence) run() error {
	defer func() {
		if q.table != nil {
			must(q.t, q.table.Close(q.t.Context()))
		}
	}()
	if err := q.create(); err != nil {
		return err
	}
	for range 1 + q.r.IntN(maxSteps) {
		ops := q.operations()
		name := pick(q.r, slices.Sorted(maps.Keys(ops)))
		q.steps = append(q.steps, name)
		before := q.table.Snapshot().Version()
		a, err := ops[name]()
		if err == nil && a == nil { // weir's own
			a, err = q.peer.do(q.command("look"))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := q.compare(a); err != nil {
			return err
		}
		q.remember(before, strings.Contains(name, "together"))
		q.done[name]++
	}
	return nil
}

func pick[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func (q *sequence) step(format string, args ...any) {
	q.steps[len(q.steps)-1] += fmt.Sprintf(" "+format, args...)
}

func (q *sequence) command(op string) command { return command{"op": op, "path": q.dir} }

// remember keeps the model for the versions that a step has made.
func (q *sequence) remember(before int64, several bool) {
	after := q.table.Snapshot().Version()
	if several {
		before = max(before, after-1)
	}
	for v := before + 1; v <= after; v++ {
		q.known[v] = q.model
	}
}

// compare compares the model, weir's open table, the table opened anew and what the peer sees.
func (q *sequence) compare(a *answer) error {
	theirs, err := a.texts()
	if err != nil {
		return err
	}
	columns, err := a.columns()
	if err != nil {
		return err
	}
	want, err := q.model.texts()
	if err != nil {
		return err
	}
	if d := cmp.Diff(want, theirs); d != "" {
		return &disagreement{fmt.Sprintf("rows (-want +%s):\n%s", q.peer.name, d)}
	}
	fresh, err := delta.Open(q.t.Context(), q.table.Store(), delta.Options{})
	if err != nil {
		return err
	}
	ours, err := q.table.Update(q.t.Context())
	if err != nil {
		return err
	}
	for _, s := range []*delta.Snapshot{ours, fresh.Snapshot()} {
		if s.Version() != a.Version || s.Schema().String() != columns || !q.model.sameColumns(s.Schema()) {
			return &disagreement{fmt.Sprintf("version %d of %s, %s has %d of %s, want %s",
				s.Version(), s.Schema(), q.peer.name, a.Version, columns, q.model.schema)}
		}
		rows, err := textsOf(q.t.Context(), s)
		if err != nil {
			return err
		}
		if d := cmp.Diff(want, rows); d != "" {
			return &disagreement{fmt.Sprintf("rows (-want +weir):\n%s", d)}
		}
	}
	return nil
}
