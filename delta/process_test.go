package delta_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/store"
)

// childEnv makes this test binary a writer: "directory name count".
const childEnv = "WEIR_DELTA_TEST_WRITER"

func TestMain(m *testing.M) {
	if job := os.Getenv(childEnv); job != "" {
		if err := writeAsChild(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if job := os.Getenv(stepsEnv); job != "" {
		if err := commitAsChild(job); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	goleak.VerifyTestMain(m)
}

// writeAsChild appends files to a table and prints each once its commit is acknowledged.
func writeAsChild(job string) error {
	words := strings.Fields(job)
	count, err := strconv.Atoi(words[2])
	if err != nil {
		return err
	}
	ctx := context.Background()
	st, err := store.NewLocal(words[0])
	if err != nil {
		return err
	}
	table, err := delta.Open(ctx, st, delta.Options{MaxAttempts: 10_000, CheckpointEvery: 10})
	if err != nil {
		return err
	}
	for i := range count {
		path := fmt.Sprintf("%s-%d", words[1], i)
		res, err := table.Commit(ctx, appending(path))
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, res.Version, path)
	}
	return table.Close(ctx)
}

// child is a writer process.
type child struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func startChild(t *testing.T, dir, name string, count int) *child {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%s %s %d", childEnv, dir, name, count))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	return &child{cmd, bufio.NewScanner(out)}
}

// acked reads acknowledgements into by version → path, at most n of them (all if negative).
func (c *child) acked(t *testing.T, into map[int64]string, n int) {
	t.Helper()
	for n != 0 && c.lines.Scan() {
		n--
		version, path, ok := strings.Cut(c.lines.Text(), " ")
		v, err := strconv.ParseInt(version, 10, 64)
		if !ok || err != nil { // the last line of a killed process may be torn
			return
		}
		if other, taken := into[v]; taken {
			t.Errorf("version %d was acknowledged for %s and %s", v, other, path)
		}
		into[v] = path
	}
}

// checkAcked compares acknowledgements with the log.
func checkAcked(t *testing.T, st store.Store, acked map[int64]string) *delta.Snapshot {
	t.Helper()
	s := open(t, st, delta.Options{}).Snapshot()
	for v, path := range acked {
		data, err := st.Get(t.Context(), key(v))
		must(t, err)
		if !strings.Contains(string(data), `"path":"`+path+`"`) {
			t.Errorf("version %d is not the acknowledged commit of %s", v, path)
		}
		if !s.Contains(path) {
			t.Errorf("acknowledged %s is not in the table", path)
		}
	}
	return s
}

func TestProcessesAppend(t *testing.T) {
	for name, c := range map[string]struct{ writers, each int }{"2 writers": {2, 500}, "16 writers": {16, 200}} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			st := localStore(t, dir)
			create(t, st, delta.CreateOptions{})
			children := make([]*child, c.writers)
			for i := range children {
				children[i] = startChild(t, dir, fmt.Sprintf("w%d", i), c.each)
			}
			acked := map[int64]string{}
			for _, child := range children {
				child.acked(t, acked, -1)
				must(t, child.cmd.Wait())
			}
			s := checkAcked(t, st, acked)
			if want := c.writers * c.each; len(acked) != want || s.Version() != int64(want) || s.NumFiles() != want {
				t.Errorf("%d acknowledged, version %d, %d files, want %d of each", len(acked), s.Version(), s.NumFiles(), want)
			}
			for v := range s.Version() + 1 { // each version once, whole
				if _, err := st.Get(t.Context(), key(v)); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func TestKilledWriters(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	dir := t.TempDir()
	st := localStore(t, dir)
	create(t, st, delta.CreateOptions{Options: delta.Options{}})
	acked := map[int64]string{}
	for round := range rounds {
		victim := startChild(t, dir, fmt.Sprintf("v%d", round), 1000)
		other := startChild(t, dir, fmt.Sprintf("o%d", round), 20)
		victim.acked(t, acked, 1+rand.IntN(30))
		must(t, victim.cmd.Process.Kill())
		victim.acked(t, acked, -1)
		other.acked(t, acked, -1)
		must(t, other.cmd.Wait())
		if err := victim.cmd.Wait(); err == nil || !errors.As(err, new(*exec.ExitError)) {
			t.Fatalf("the victim was not killed: %v", err)
		}
		checkAcked(t, st, acked)
	}
	res := commit(t, open(t, st, delta.Options{}), appending("after"))
	t.Logf("%d commits acknowledged, %d in the log", len(acked), res.Version)
}
