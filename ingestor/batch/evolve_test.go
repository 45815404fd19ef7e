package batch

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/ingestor/commit"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
	"github.com/weir-dev/weir/ingestor/transform"
)

// TestSubmittersThatEvolveAtOnce: several pods with schemas of their own submit to one committer. Each brings fields of its
// own, and all disagree about one. They end in one schema, and every value is in its column or in _rescued.
func TestSubmittersThatEvolveAtOnce(t *testing.T) {
	const pods, records = 4, 30
	values := []string{`1`, `1.5`, `"x"`, `true`}
	ctx := t.Context()
	st := store.NewMemory()
	table, err := commit.NewLocal(ctx, commit.Settings{Store: st, Engine: "test"})
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for pod := range pods {
		all.Go(func() {
			if err := submit(ctx, table, pod, values[pod], records); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if err := table.Close(ctx); err != nil {
		t.Fatal(err)
	}
	batches := readAll(t, st)
	rows, own, shared, rescued := 0, 0, 0, 0
	for _, b := range batches {
		for i := range b.Rows {
			row := b.Row(i)
			rows++
			for pod := range pods {
				if row[fmt.Sprint("own", pod)] != nil {
					own++
				}
			}
			switch {
			case row["shared"] != nil:
				shared++
			case row["_rescued"] != nil:
				rescued++
			}
		}
	}
	if rows != pods*records || own != rows || shared+rescued != rows || shared == 0 || rescued == 0 {
		t.Fatalf("%d rows, %d with a field of their own, %d with the shared one, %d rescued; schema %s", rows, own, shared, rescued, table.Schema())
	}
}

// submit is a pod: a schema and a flusher of its own over the table.
func submit(ctx context.Context, table *commit.Local, pod int, value string, records int) error {
	src := &source{}
	f := New(Settings{MaxRecords: 5, MaxAge: time.Millisecond, MaxBytes: 1 << 20, Shards: 2}, table,
		decode.NewSchema(table.Schema(), decode.Options{Widen: true}), &accounts{}, &observer{})
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	for n := range records {
		e := fmt.Appendf(nil, `{"shared":%s,"own%d":%d,"o":{"at%d":1}}`, value, pod, n, pod)
		err := f.Shard().Append(ctx, time.Now(), func(dec *transform.Decoder) Part {
			ok, _ := dec.Append(event.JSON, e, decode.System{}, nil)
			return Part{Source: src, Last: int64(n + 1), Records: int64(ok)}
		})
		if err != nil {
			return err
		}
	}
	if err := f.Flush(ctx); err != nil {
		return fmt.Errorf("pod %d: %w", pod, err)
	}
	cancel()
	return <-done
}

func readAll(t *testing.T, st store.Store) []*column.Batch {
	t.Helper()
	table, err := delta.Open(t.Context(), st, delta.Options{})
	if err != nil {
		t.Fatal(err)
	}
	var all []*column.Batch
	for b, err := range table.Snapshot().Read(t.Context(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, b)
	}
	return all
}
