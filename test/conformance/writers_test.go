package conformance

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// make conformance runs the full numbers.
var long = flag.Bool("long", false, "as many commits and kills as the project promises to stand")

// writerEnv makes this test binary a writer: "directory first-id count".
const writerEnv = "WEIR_CONFORMANCE_WRITER"

var oneColumn = structOf(field("id", schema.Long))

// writeAsChild appends count rows, one a commit, and prints the version and id of each that was acknowledged.
func writeAsChild(job string) error {
	var dir string
	var first, count int64
	if _, err := fmt.Sscan(job, &dir, &first, &count); err != nil {
		return err
	}
	ctx := context.Background()
	st, err := store.NewLocal(dir)
	if err != nil {
		return err
	}
	table, err := delta.Open(ctx, st, delta.Options{MaxAttempts: 10_000, CheckpointEvery: 25})
	if err != nil {
		return err
	}
	for id := first; id < first+count; id++ {
		b := column.NewBatch(oneColumn)
		b.Columns[0].AppendInt64(id)
		b.Seal(1)
		adds, err := table.WriteData(ctx, oneColumn, nil, []*column.Batch{b}, parquet.WriterOptions{})
		if err != nil {
			return err
		}
		res, err := table.Commit(ctx, func(context.Context, *delta.Snapshot) (*delta.Transaction, error) {
			return &delta.Transaction{Operation: "WRITE", BlindAppend: true, Adds: adds}, nil
		})
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, res.Version, id)
	}
	return table.Close(ctx)
}

// writers are processes of weir that append to one table.
type writers struct {
	mu       sync.Mutex      // guards what follows
	versions map[int64]int64 // acknowledged, by version the id
	errs     []error
	wg       sync.WaitGroup
}

func (w *writers) start(t *testing.T, dir string, first, count int64) {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %d %d", writerEnv, dir, first, count))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	w.wg.Go(func() {
		for s := bufio.NewScanner(out); s.Scan(); {
			version, id, _ := strings.Cut(s.Text(), " ")
			w.acknowledged(version, id)
		}
		if err := cmd.Wait(); err != nil {
			w.failed(err)
		}
	})
}

func (w *writers) acknowledged(version, id string) {
	v, err := strconv.ParseInt(version, 10, 64)
	n, err2 := strconv.ParseInt(id, 10, 64)
	if err != nil || err2 != nil {
		w.failed(fmt.Errorf("a writer said %q %q", version, id))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if other, taken := w.versions[v]; taken {
		w.errs = append(w.errs, fmt.Errorf("version %d was acknowledged for rows %d and %d", v, other, n))
	}
	w.versions[v] = n
}

func (w *writers) failed(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.errs = append(w.errs, err)
}

// wait waits for all writers, and returns how many commits were acknowledged.
func (w *writers) wait(t *testing.T) int {
	t.Helper()
	w.wg.Wait()
	for _, err := range w.errs {
		t.Error(err)
	}
	return len(w.versions)
}

// everyoneFinds fails unless each reader finds the rows 0 to n-1, each once, in version n of the table.
func everyoneFinds(t *testing.T, dir string, n int) {
	t.Helper()
	want := make([]string, n)
	for i := range want {
		want[i] = fmt.Sprintf(`{"id":%d}`, i)
	}
	slices.Sort(want)
	table, err := delta.Open(t.Context(), localStore(t, dir), delta.Options{})
	must(t, err)
	defer table.Close(context.WithoutCancel(t.Context()))
	got, err := textsOf(t.Context(), table.Snapshot())
	must(t, err)
	if d := cmp.Diff(want, got); d != "" || table.Snapshot().Version() != int64(n) {
		t.Errorf("version %d, want %d; rows (-want +weir):\n%s", table.Snapshot().Version(), n, d)
	}
	for _, p := range peers {
		a := p.must(t, command{"op": "look", "path": dir})
		got, err := a.texts()
		must(t, err)
		if d := cmp.Diff(want, got); d != "" || a.Version != int64(n) {
			t.Errorf("version %d, want %d; rows (-want +%s):\n%s", a.Version, n, p.name, d)
		}
	}
	report, err := table.Verify(t.Context(), delta.VerifyOptions{Rows: true})
	must(t, err)
	if len(report.Problems) > 0 {
		t.Errorf("verify finds %+v", report.Problems)
	}
}

func newTable(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "table")
	table, err := delta.Create(t.Context(), localStore(t, dir), delta.CreateOptions{Schema: oneColumn})
	must(t, err)
	must(t, table.Close(t.Context()))
	return dir
}

// TestSixteenWriters: sixteen processes commit to one table without a pause. Each commit is in it, and none twice.
func TestSixteenWriters(t *testing.T) {
	for _, p := range peers {
		p.require(t)
	}
	each := 25
	if *long {
		each = 200
	}
	began, dir, w := time.Now(), newTable(t), &writers{versions: map[int64]int64{}}
	for i := range 16 {
		w.start(t, dir, int64(i*each), int64(each))
	}
	if n := w.wait(t); n != 16*each {
		t.Errorf("%d commits were acknowledged, want %d", n, 16*each)
	}
	t.Logf("16 processes × %d commits in %.1f s", each, time.Since(began).Seconds())
	everyoneFinds(t, dir, 16*each)
}

// TestThreeKindsOfWriters: weir, deltalake and Spark append to one table at once.
func TestThreeKindsOfWriters(t *testing.T) {
	for _, p := range peers {
		p.require(t)
	}
	ours, theirs := 40, map[*peer]int{deltalake: 20, spark: 5}
	if *long {
		ours, theirs = 200, map[*peer]int{deltalake: 100, spark: 40}
	}
	dir, w := newTable(t), &writers{versions: map[int64]int64{}}
	next := 0
	for range 2 {
		w.start(t, dir, int64(next), int64(ours))
		next += ours
	}
	for _, p := range peers {
		first := next
		next += theirs[p]
		w.wg.Go(func() {
			for id := first; id < first+theirs[p]; id++ {
				c := command{"op": "append", "path": dir, "schema": oneColumn.JSON(), "rows": []any{map[string]any{"id": id}}}
				if _, err := p.do(c); err != nil {
					w.failed(err)
					return
				}
			}
		})
	}
	if n := w.wait(t); n != 2*ours {
		t.Errorf("%d commits were acknowledged to weir, want %d", n, 2*ours)
	}
	everyoneFinds(t, dir, next)
}
