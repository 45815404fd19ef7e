package delta_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/store"
)

// benchStats is a typical statistics string, of a dozen columns.
var benchStats = func() string {
	s := `{"numRecords":1000`
	for _, group := range []string{"minValues", "maxValues", "nullCount"} {
		s += `,"` + group + `":{`
		for i := range 12 {
			s += fmt.Sprintf(`"column%d":%d,`, i, i*1000)
		}
		s = s[:len(s)-1] + "}"
	}
	return s + "}"
}()

func benchTable(b *testing.B, st store.Store, commits, filesEach int) *delta.Table {
	b.Helper()
	table, err := delta.Create(b.Context(), st, delta.CreateOptions{Schema: oneColumn, Options: delta.Options{CheckpointEvery: 1 << 30}})
	if err != nil {
		b.Fatal(err)
	}
	for i := range commits {
		appendBench(b, table, strconv.Itoa(i), filesEach)
	}
	return table
}

func appendBench(b *testing.B, table *delta.Table, name string, files int) {
	b.Helper()
	tx := delta.Transaction{Operation: "WRITE", BlindAppend: true}
	for j := range files {
		a := file(name + "-" + strconv.Itoa(j))
		a.Stats = benchStats
		tx.Adds = append(tx.Adds, a)
	}
	if _, err := table.Commit(b.Context(), fixed(tx)); err != nil {
		b.Fatal(err)
	}
}

// BenchmarkCommit commits to tables of different ages: the cost must not depend on it.
func BenchmarkCommit(b *testing.B) {
	for _, old := range []int{0, 10_000, 100_000} {
		b.Run(fmt.Sprintf("files=%d", old), func(b *testing.B) {
			table := benchTable(b, store.NewMemory(), old/100, 100)
			var took []time.Duration
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				start := time.Now()
				appendBench(b, table, "new"+strconv.Itoa(i), 1)
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
		})
	}
}

// BenchmarkOpen loads snapshots, with and without a checkpoint.
func BenchmarkOpen(b *testing.B) {
	for _, c := range []struct {
		commits, files int
		checkpoint     bool
	}{{10_000, 1, false}, {10_000, 1, true}, {100, 1000, true}} {
		b.Run(fmt.Sprintf("commits=%d/files=%d/checkpoint=%t", c.commits, c.commits*c.files, c.checkpoint), func(b *testing.B) {
			dir := b.TempDir()
			mem := store.NewMemory()
			table := benchTable(b, mem, c.commits, c.files)
			if c.checkpoint {
				if err := table.Checkpoint(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
			for info, err := range mem.List(b.Context(), "", "") {
				data, gerr := mem.Get(b.Context(), info.Key)
				if err != nil || gerr != nil {
					b.Fatal(err, gerr)
				}
				path := filepath.Join(dir, filepath.FromSlash(info.Key)) // without the fsync of a store
				if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, data, 0o600)); err != nil {
					b.Fatal(err)
				}
			}
			st, err := store.NewLocal(dir)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := delta.Open(b.Context(), st, delta.Options{}); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkCheckpoint writes checkpoints of a table of 100,000 files.
func BenchmarkCheckpoint(b *testing.B) {
	table := benchTable(b, store.NewMemory(), 100, 1000)
	b.ReportAllocs()
	for b.Loop() {
		if err := table.Checkpoint(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
}
