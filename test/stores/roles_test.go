// Package stores runs tables in object stores: many writer processes, killed writers, foreign writers, and stores that
// misbehave.
package stores

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/backends"
	"github.com/weir-dev/weir/test/harness"
	"github.com/weir-dev/weir/test/peers"
)

// writerEnv makes this test binary a writer: "URI name count".
const writerEnv = "WEIR_STORES_TEST_WRITER"

func TestMain(m *testing.M) {
	if job := os.Getenv(writerEnv); job != "" {
		if err := write(context.Background(), strings.Fields(job)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	minio.DefaultRetryUnit = time.Millisecond // that the client of S3 waits even after the only attempt it has
	code := m.Run()
	peers.RemoveBuilt()
	if built != "" {
		_ = os.RemoveAll(built) // a leftover in the temporary directory
	}
	os.Exit(code)
}

// built is where weir was built; empty: it was not.
var built string

// weir builds the program, once for all tests here.
var weir = sync.OnceValues(func() (string, error) {
	var err error
	if built, err = os.MkdirTemp("", "weir-stores-"); err != nil {
		return "", err
	}
	return harness.Build(context.Background(), built)
})

// write appends files to a table and prints each once its commit is acknowledged.
func write(ctx context.Context, job []string) error {
	count, err := strconv.Atoi(job[2])
	if err != nil {
		return err
	}
	st, err := backends.Open(ctx, job[0], backends.Settings{})
	if err != nil {
		return err
	}
	table, err := delta.Open(ctx, st, delta.Options{MaxAttempts: 10_000, CheckpointEvery: 50})
	if err != nil {
		return err
	}
	for i := range count {
		path := fmt.Sprintf("%s-%d", job[1], i)
		res, err := table.Commit(ctx, appending(path))
		if err != nil {
			return err
		}
		fmt.Fprintln(os.Stdout, res.Version, path)
	}
	return table.Close(ctx)
}

func appending(path string) func(context.Context, *delta.Snapshot) (*delta.Transaction, error) {
	return func(context.Context, *delta.Snapshot) (*delta.Transaction, error) {
		return &delta.Transaction{
			Operation: "WRITE", BlindAppend: true,
			Adds: []delta.Add{{Path: path, Size: 1, DataChange: true, PartitionValues: delta.PartitionValues{}, Stats: `{"numRecords":1}`}},
		}, nil
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openStore(t *testing.T, uri string) store.Store {
	t.Helper()
	st, err := backends.Open(t.Context(), uri, backends.Settings{})
	must(t, err)
	return st
}

// createTable makes a table with one long column.
func createTable(t *testing.T, st store.Store) {
	t.Helper()
	table, err := delta.Create(t.Context(), st, delta.CreateOptions{Schema: &schema.Type{
		Kind: schema.Struct, Fields: []schema.Field{{Name: "n", Type: &schema.Type{Kind: schema.Long}, Nullable: true}},
	}})
	must(t, err)
	must(t, table.Close(t.Context()))
}

// writer is a process that writes.
type writer struct {
	cmd   *exec.Cmd
	lines *bufio.Scanner
}

func startWriter(t *testing.T, env []string, uri, name string, count int) *writer {
	t.Helper()
	exe, err := os.Executable()
	must(t, err)
	cmd := exec.CommandContext(t.Context(), exe)
	cmd.Env = append(append(os.Environ(), env...), fmt.Sprintf("%s=%s %s %d", writerEnv, uri, name, count))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	return &writer{cmd, bufio.NewScanner(out)}
}

// acked reads acknowledgements into by version → path, at most n of them (all if negative).
func (w *writer) acked(t *testing.T, into map[int64]string, n int) {
	t.Helper()
	for n != 0 && w.lines.Scan() {
		n--
		version, path, ok := strings.Cut(w.lines.Text(), " ")
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

// checkLog compares acknowledgements with the log: each is the commit of its version, and no file was added twice.
func checkLog(t *testing.T, st store.Store, acked map[int64]string) *delta.Snapshot {
	t.Helper()
	table, err := delta.Open(t.Context(), st, delta.Options{})
	must(t, err)
	defer func() { must(t, table.Close(t.Context())) }()
	s := table.Snapshot()
	added := map[string]int64{}
	for v := int64(1); v <= s.Version(); v++ {
		data, err := st.Get(t.Context(), fmt.Sprintf("_delta_log/%020d.json", v))
		must(t, err)
		for line := range strings.Lines(string(data)) {
			_, rest, ok := strings.Cut(line, `"add":{"path":"`)
			if !ok {
				continue
			}
			path := rest[:strings.IndexByte(rest, '"')]
			if first, twice := added[path]; twice {
				t.Errorf("%s was added by versions %d and %d", path, first, v)
			}
			added[path] = v
		}
	}
	for v, path := range acked {
		if added[path] != v || !s.Contains(path) {
			t.Errorf("acknowledged %s of version %d was added by version %d", path, v, added[path])
		}
	}
	return s
}
