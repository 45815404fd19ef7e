package delta_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

func checkpointFile(version int64) string {
	return fmt.Sprintf("_delta_log/%020d.checkpoint.parquet", version)
}

// TestCheckpointOfAnotherWriterStays: deltalake fails with "could not parse parquet metadata" when the checkpoint that it
// has just listed is replaced.
func TestCheckpointOfAnotherWriterStays(t *testing.T) {
	st := localStore(t, t.TempDir())
	table := create(t, st, delta.CreateOptions{Options: delta.Options{CheckpointEvery: 1}})
	const theirs = "a checkpoint that another writer is faster with"
	must(t, st.Put(t.Context(), checkpointFile(1), []byte(theirs)))
	commit(t, table, appending("a"))
	must(t, table.Close(t.Context()))
	if got, err := st.Get(t.Context(), checkpointFile(1)); err != nil || string(got) != theirs {
		t.Errorf("the checkpoint is now %.20q (%v)", got, err)
	}
	must(t, table.Checkpoint(t.Context())) // but who asks for one gets it
	if got, err := st.Get(t.Context(), checkpointFile(1)); err != nil || string(got) == theirs {
		t.Errorf("a checkpoint that was asked for was not written (%v)", err)
	}
}

// TestCheckpointHoldsEverything loads a snapshot from the checkpoint alone.
func TestCheckpointHoldsEverything(t *testing.T) {
	st := localStore(t, t.TempDir())
	table := create(t, st, delta.CreateOptions{
		Schema:           structOf(field("id", schema.Long), field("p", schema.String)),
		PartitionColumns: []string{"p"}, Name: "name", Description: "de\"scription\n",
		Configuration: map[string]string{"a": "", "b": "é"},
	})
	offset, row := int32(7), int64(99)
	full := delta.Add{
		Path: "p=x%2520y/%C3%BC", PartitionValues: delta.PartitionValues{"p": "x y"}, Size: 1 << 40, ModificationTime: -5, DataChange: true,
		Stats: `{"numRecords":3,"minValues":{"id":1}}`, Tags: map[string]string{"t": "", "u": "v"},
		DeletionVector: &delta.DeletionVector{StorageType: "u", PathOrInlineDV: "ab^-aqEH.-t@S}K{vb[*k^", Offset: &offset, SizeInBytes: 4, Cardinality: 2},
		BaseRowID:      &row, DefaultRowCommitVersion: &row, ClusteringProvider: "liquid",
	}
	null := file("p=__HIVE_DEFAULT_PARTITION__/n")
	null.PartitionValues = delta.PartitionValues{"p": ""}
	commit(t, table, fixed(delta.Transaction{
		Operation: "WRITE", Adds: []delta.Add{full, null}, Txns: []delta.Txn{{AppID: "app", Version: 3}},
		Domains: []delta.DomainMetadata{{Domain: "d", Configuration: "{}"}},
	}))
	commit(t, table, fixed(delta.Transaction{Operation: "DELETE", Removes: []delta.Remove{{
		Path: null.Path, DataChange: true, PartitionValues: null.PartitionValues, Size: null.Size,
	}}}))
	must(t, table.Checkpoint(t.Context()))
	for v := range int64(2) { // the newest entry stays, as log cleanup leaves it
		must(t, st.Delete(t.Context(), key(v)))
	}
	again := open(t, st, delta.Options{})
	wantSame(t, table.Snapshot(), again.Snapshot())
	if v, ok := again.Snapshot().Txn("app"); !ok || v != 3 {
		t.Errorf("txn %d %v", v, ok)
	}
	if c, ok := again.Snapshot().Domain("d"); !ok || c != "{}" {
		t.Errorf("domain %q %v", c, ok)
	}
	var hint map[string]any
	data, err := st.Get(t.Context(), "_delta_log/_last_checkpoint")
	must(t, err)
	must(t, json.Unmarshal(data, &hint))
	delete(hint, "sizeInBytes")
	// protocol, metadata, txn, domain, tombstone, file
	if d := cmp.Diff(map[string]any{"version": 2.0, "size": 6.0, "numOfAddFiles": 1.0}, hint); d != "" {
		t.Errorf("_last_checkpoint (-want +got):\n%s", d)
	}
	must(t, again.Checkpoint(t.Context())) // tombstones survive being read and written
	must(t, st.Delete(t.Context(), key(2)))
	data, err = st.Get(t.Context(), "_delta_log/_last_checkpoint")
	must(t, err)
	if !strings.Contains(string(data), `"size":6`) {
		t.Errorf("second checkpoint: %s", data)
	}
	third := open(t, st, delta.Options{})
	commit(t, third, fixed(delta.Transaction{Operation: "OPTIMIZE", Removes: []delta.Remove{{
		Path: full.Path, PartitionValues: full.PartitionValues, DeletionVector: full.DeletionVector,
	}}}))
	if n := third.Snapshot().NumFiles(); n != 0 {
		t.Errorf("%d files left", n)
	}
}

func TestCheckpointLeavesOutExpiredTombstones(t *testing.T) {
	st := store.NewMemory()
	now := time.Now()
	table := create(t, st, delta.CreateOptions{
		Configuration: map[string]string{"delta.deletedFileRetentionDuration": "interval 2 hours"},
		Options:       delta.Options{Now: func() time.Time { return now }},
	})
	size := func() string {
		must(t, table.Checkpoint(t.Context()))
		data, err := st.Get(t.Context(), "_delta_log/_last_checkpoint")
		must(t, err)
		_, rest, _ := strings.Cut(string(data), `"size":`)
		return rest[:1]
	}
	commit(t, table, appending("a"))
	commit(t, table, fixed(delta.Transaction{Operation: "DELETE", Removes: []delta.Remove{remove("a")}}))
	if got := size(); got != "3" {
		t.Errorf("%s actions, want protocol, metadata and tombstone", got)
	}
	now = now.Add(2 * time.Hour)
	if got := size(); got != "2" {
		t.Errorf("%s actions, want protocol and metadata", got)
	}
}

func TestCheckpointsComeByThemselves(t *testing.T) {
	st := store.NewMemory()
	table := create(t, st, delta.CreateOptions{})
	for i := range 100 {
		commit(t, table, appending(strconv.Itoa(i)))
	}
	must(t, table.Close(t.Context()))
	if _, err := st.Get(t.Context(), checkpointFile(99)); err != nil { // version 0 counts
		t.Error(err)
	}
	wantSame(t, table.Snapshot(), open(t, st, delta.Options{}).Snapshot())
}

func TestCheckpointIntervalOfTheTable(t *testing.T) {
	st := store.NewMemory()
	table := create(t, st, delta.CreateOptions{Configuration: map[string]string{"delta.checkpointInterval": "5"}})
	other := open(t, st, delta.Options{})
	for i := range 5 {
		commit(t, table, appending(strconv.Itoa(i)))
	}
	must(t, table.Close(t.Context()))
	commit(t, other, appending("other")) // has seen six commits, but a checkpoint was made meanwhile
	must(t, other.Close(t.Context()))
	for v := range int64(7) {
		_, err := st.Get(t.Context(), checkpointFile(v))
		if made := err == nil; made != (v == 4) {
			t.Errorf("checkpoint of version %d: %v", v, made)
		}
	}
}

func TestFailedCheckpointHarmsNothing(t *testing.T) {
	var log strings.Builder
	f := &failingCreate{store.NewMemory()}
	table := create(t, f, delta.CreateOptions{Options: delta.Options{
		CheckpointEvery: 2, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	}})
	for i := range 4 {
		commit(t, table, appending(strconv.Itoa(i)))
	}
	must(t, table.Close(t.Context()))
	if !strings.Contains(log.String(), "disk full") {
		t.Errorf("nothing is said: %q", log.String())
	}
	wantSame(t, table.Snapshot(), open(t, f, delta.Options{}).Snapshot())
}

type failingCreate struct{ store.Store }

type failingWriter struct{ store.Writer }

func (f *failingCreate) Create(ctx context.Context, key string) (store.Writer, error) {
	w, err := f.Store.Create(ctx, key)
	return failingWriter{w}, err
}

func (failingWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestWrongHintIsNoHarm(t *testing.T) {
	for name, hint := range map[string]string{
		"garbled": `{"vers`, "negative": `{"version":-7}`, "too new": `{"version":70}`, "no checkpoint there": `{"version":2}`,
		"not json": "\x00\x01", "other form": `[]`,
	} {
		t.Run(name, func(t *testing.T) {
			st := store.NewMemory()
			table := create(t, st, delta.CreateOptions{})
			for i := range 3 {
				commit(t, table, appending(strconv.Itoa(i)))
			}
			must(t, st.Put(t.Context(), "_delta_log/_last_checkpoint", []byte(hint)))
			wantSame(t, table.Snapshot(), open(t, st, delta.Options{}).Snapshot())
		})
	}
}

func TestBrokenCheckpoint(t *testing.T) {
	st := store.NewMemory()
	table := create(t, st, delta.CreateOptions{})
	commit(t, table, appending("a"))
	must(t, table.Checkpoint(t.Context()))
	data, err := st.Get(t.Context(), checkpointFile(1))
	must(t, err)
	for name, broken := range map[string][]byte{"empty": {}, "cut": data[:len(data)/2], "no parquet": []byte("PAR1 and nothing else PAR1")} {
		must(t, st.Put(t.Context(), checkpointFile(1), broken))
		if _, err := delta.Open(t.Context(), st, delta.Options{}); !delta.IsFatal(err) || !strings.Contains(err.Error(), "checkpoint") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestGapsInTheLog(t *testing.T) {
	st := store.NewMemory()
	table := create(t, st, delta.CreateOptions{})
	for i := range 5 {
		commit(t, table, appending(strconv.Itoa(i)))
	}
	entry, err := st.Get(t.Context(), key(3))
	must(t, err)
	must(t, st.Delete(t.Context(), key(3)))
	if _, err := delta.Open(t.Context(), st, delta.Options{}); !delta.IsFatal(err) || !strings.Contains(err.Error(), "2 is followed by 4") {
		t.Errorf("a gap: %v", err)
	}
	if s, err := delta.OpenAt(t.Context(), st, 2); err != nil || s.NumFiles() != 2 {
		t.Errorf("before the gap: %v", err)
	}
	must(t, st.Put(t.Context(), key(3), entry))
	must(t, st.Delete(t.Context(), key(0)))
	if _, err := delta.Open(t.Context(), st, delta.Options{}); !delta.IsFatal(err) {
		t.Errorf("the beginning is missing: %v", err)
	}
}

// TestCheckpointByBytes: a few commits of many files make a checkpoint due as many small ones do.
func TestCheckpointByBytes(t *testing.T) {
	st := store.NewMemory()
	table := create(t, st, delta.CreateOptions{})
	stats := `{"numRecords":1,"minValues":{"id":"` + strings.Repeat("x", 1<<20) + `"}}`
	for i := range 20 {
		a := file("f" + strconv.Itoa(i))
		a.Stats = stats
		commit(t, table, fixed(delta.Transaction{Operation: "WRITE", BlindAppend: true, Adds: []delta.Add{a}}))
	}
	must(t, table.Close(t.Context()))
	data, err := st.Get(t.Context(), "_delta_log/_last_checkpoint")
	must(t, err)
	if !strings.Contains(string(data), `"version":1`) { // 16 or so
		t.Errorf("%s", data)
	}
	again := open(t, st, delta.Options{})
	commit(t, again, appending("last"))
	must(t, again.Close(t.Context()))
	now, err := st.Get(t.Context(), "_delta_log/_last_checkpoint")
	must(t, err)
	if string(now) != string(data) {
		t.Errorf("a checkpoint for 4 MiB: %s", now)
	}
}
