package stores

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/test/harness"
	"github.com/weir-dev/weir/test/peers"
)

// deltalake runs peer.py, which is pointed at a server.
func deltalake(t *testing.T, p *harness.Peers, s *peers.Server, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), filepath.Join(p.Cache(), "venv", "bin", "python"), append([]string{"peer.py"}, args...)...)
	cmd.Env = append(os.Environ(), s.Env()...)
	return cmd
}

// read is what deltalake reads.
type read struct {
	Version int64   `json:"version"`
	Values  []int64 `json:"values"`
}

func rowsOf(t *testing.T, p *harness.Peers, s *peers.Server, uri, column string) read {
	t.Helper()
	out, err := harness.Output(deltalake(t, p, s, "rows", uri, column))
	must(t, err)
	var r read
	must(t, harness.LastJSON(out, &r))
	return r
}

// TestBesideDeltalake: weir and deltalake append to one table in S3 at once, each with conditional puts; every row is there
// once, as both read it.
func TestBesideDeltalake(t *testing.T) {
	p := harness.RequirePeers(t)
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			server.Setenv(t)
			uri := "s3://" + peers.Bucket + "/beside"
			st := openStore(t, uri)
			createTable(t, st)
			const each = 25
			var wg sync.WaitGroup
			errs := make([]error, 4)
			for i := range 2 {
				wg.Go(func() {
					_, errs[i] = harness.Output(deltalake(t, p, server, "append", uri, fmt.Sprint(1000*i), fmt.Sprint(each)))
				})
			}
			for i := range 2 {
				wg.Go(func() { errs[2+i] = appendRows(t, uri, int64(1000*(2+i)), each) })
			}
			wg.Wait()
			var want []int64
			for i, err := range errs {
				must(t, err)
				for n := range each {
					want = append(want, int64(1000*i+n))
				}
			}
			got := rowsOf(t, p, server, uri, "n")
			if !slices.Equal(got.Values, want) || got.Version != int64(len(want)) {
				t.Errorf("deltalake reads %d rows at version %d; want %d of each", len(got.Values), got.Version, len(want))
			}
			table, err := delta.Open(t.Context(), st, delta.Options{})
			must(t, err)
			defer func() { must(t, table.Close(t.Context())) }()
			s := table.Snapshot()
			if rows, ok := s.NumRecords(); s.Version() != got.Version || !ok || rows != int64(len(want)) {
				t.Errorf("weir sees %d rows at version %d", rows, s.Version())
			}
			t.Logf("2 writers of deltalake and 2 of weir, %d commits each: %d rows, version %d, none lost, none twice", each, len(got.Values), got.Version)
		})
	}
}

// appendRows appends a row in each of count commits.
func appendRows(t *testing.T, uri string, first int64, count int) error {
	t.Helper()
	table, err := delta.Open(t.Context(), openStore(t, uri), delta.Options{MaxAttempts: 1000})
	if err != nil {
		return err
	}
	for n := first; n < first+int64(count); n++ {
		b := column.NewBatch(table.Snapshot().Schema())
		b.Columns[0].AppendInt64(n)
		b.Rows++
		adds, err := table.WriteData(t.Context(), table.Snapshot().Schema(), nil, []*column.Batch{b}, parquet.WriterOptions{})
		if err != nil {
			return err
		}
		if _, err := table.Commit(t.Context(), adding(adds)); err != nil {
			return err
		}
	}
	return table.Close(t.Context())
}

func adding(adds []delta.Add) func(context.Context, *delta.Snapshot) (*delta.Transaction, error) {
	return func(context.Context, *delta.Snapshot) (*delta.Transaction, error) {
		return &delta.Transaction{Operation: "WRITE", BlindAppend: true, Adds: adds}, nil
	}
}
