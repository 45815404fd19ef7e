package delta_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// keyed is a batch of rows (id, v, p) of a table partitioned by p.
func keyed(s *schema.Type, rows ...[3]string) *column.Batch {
	b := column.NewBatch(s)
	for _, r := range rows {
		for i, v := range r {
			b.Columns[i].AppendString(v)
		}
	}
	b.Seal(len(rows))
	return b
}

// changesOf are the rows of the feed, sorted, without their time.
func changesOf(t *testing.T, table *delta.Table, from, to int64) []string {
	t.Helper()
	out := []string{}
	for b, err := range table.Changes(t.Context(), from, to) {
		must(t, err)
		for i := range b.Rows {
			row := b.Row(i)
			if at, ok := row[delta.CommitTimestampColumn]; !ok || at == nil {
				t.Fatalf("no time: %v", row)
			}
			out = append(out, fmt.Sprintf("%d %s %s=%s in %s", row[delta.CommitVersionColumn], row[delta.ChangeTypeColumn], row["id"], row["v"], row["p"]))
		}
	}
	slices.Sort(out)
	return out
}

func TestChangeFeed(t *testing.T) {
	for _, vectors := range []bool{false, true} {
		t.Run(fmt.Sprintf("deletionVectors=%t", vectors), func(t *testing.T) {
			dir := t.TempDir()
			s := structOf(field("id", schema.String), field("v", schema.String), field("p", schema.String))
			table := create(t, localStore(t, dir), delta.CreateOptions{Schema: s, PartitionColumns: []string{"p"}})
			write(t, table, keyed(s, [3]string{"a", "1", "x"}, [3]string{"b", "1", "x"}, [3]string{"c", "1", "y"}, [3]string{"d", "1", "x"}))
			if vectors {
				must(t, table.EnableDeletionVectors(t.Context()))
			}
			must(t, table.EnableChangeFeed(t.Context()))
			must(t, table.EnableChangeFeed(t.Context()))
			first := table.Snapshot().Version() + 1
			write(t, table, keyed(s, [3]string{"e", "2", "y"}))
			_, err := table.Merge(t.Context(), []*column.Batch{keyed(s, [3]string{"a", "3", "x"}, [3]string{"c", "3", "x"}, [3]string{"n", "3", "z"})}, delta.MergeOptions{Key: []string{"id"}})
			must(t, err)
			where, err := delta.ParsePredicate("id = 'b'", s)
			must(t, err)
			_, err = table.Delete(t.Context(), delta.DeleteOptions{Where: where})
			must(t, err)
			_, err = table.Optimize(t.Context(), delta.OptimizeOptions{})
			must(t, err)
			v := func(n int64) string { return fmt.Sprint(first + n) }
			want := []string{
				v(0) + " insert e=2 in y",
				v(1) + " insert n=3 in z",
				v(1) + " update_postimage a=3 in x", v(1) + " update_postimage c=3 in x",
				v(1) + " update_preimage a=1 in x", v(1) + " update_preimage c=1 in y",
				v(2) + " delete b=1 in x",
			}
			if d := cmp.Diff(want, changesOf(t, table, first, -1)); d != "" {
				t.Errorf("changes (-want +got):\n%s", d)
			}
			if d := cmp.Diff(want[1:6], changesOf(t, table, first+1, first+1)); d != "" {
				t.Errorf("of one version (-want +got):\n%s", d)
			}
			r, err := table.Verify(t.Context(), delta.VerifyOptions{Rows: true})
			if err != nil || len(r.Problems) > 0 {
				t.Errorf("%v, %v", r.Problems, err)
			}
			if os.Getenv("WEIR_PYTHON") != "" {
				var ours []string
				for b, err := range table.Changes(t.Context(), first, -1) {
					must(t, err)
					n := len(b.Columns) - 1
					without := &column.Batch{Schema: structOf(b.Schema.Fields[:n]...), Columns: b.Columns[:n], Rows: b.Rows}
					ours = append(ours, printed(t, without)...)
				}
				slices.Sort(ours)
				theirs := sortedRows(t, peer(t, "changes", dir, fmt.Sprint(first)))
				if d := cmp.Diff(ours, theirs); d != "" {
					t.Errorf("changes (-weir +deltalake):\n%s", d)
				}
			}
		})
	}
}

// TestChangeFeedOfBareRemove: a remove action need not say the partition values of its file; rows that would come without
// theirs are refused.
func TestChangeFeedOfBareRemove(t *testing.T) {
	st := store.NewMemory()
	s := structOf(field("id", schema.String), field("v", schema.String), field("p", schema.String))
	table := create(t, st, delta.CreateOptions{Schema: s, PartitionColumns: []string{"p"}})
	must(t, table.EnableChangeFeed(t.Context()))
	add := write(t, table, keyed(s, [3]string{"a", "1", "x"}))[0]
	v := table.Snapshot().Version() + 1
	remove := fmt.Sprintf(`{"remove":{"path":%q,"deletionTimestamp":1,"dataChange":true}}`, add.Path)
	must(t, st.PutIfAbsent(t.Context(), key(v), []byte(remove+"\n")))
	for b, err := range table.Changes(t.Context(), v, v) {
		if e, ok := errors.AsType[*delta.ChangeFeedError](err); !ok || e.Version != v {
			t.Fatalf("%v, %v", b, err)
		}
	}
}

func TestChangeFeedRefuses(t *testing.T) {
	table := create(t, store.NewMemory(), delta.CreateOptions{})
	write(t, table, longs(1))
	must(t, table.EnableChangeFeed(t.Context()))
	read := func(from, to int64) (err error) {
		for _, err = range table.Changes(t.Context(), from, to) {
			if err != nil {
				return err
			}
		}
		return err
	}
	if e, ok := errors.AsType[*delta.ChangeFeedError](read(1, -1)); !ok || e.Version != 1 {
		t.Error("changes of a version without the feed")
	}
	must(t, read(2, -1))
	if _, ok := errors.AsType[*delta.VersionError](read(7, -1)); !ok {
		t.Error("changes of a version that is not there")
	}
	if p := table.Snapshot().Protocol(); p.MinWriterVersion != 4 || p.MinReaderVersion != 1 {
		t.Errorf("protocol %+v", p)
	}
	named := create(t, store.NewMemory(), delta.CreateOptions{Schema: structOf(field("_change_type", schema.String))})
	if _, ok := errors.AsType[*delta.InvalidTransactionError](named.EnableChangeFeed(t.Context())); !ok {
		t.Error("a column of the feed's name")
	}
	adds := write(t, table, longs(2))
	_, err := table.Commit(t.Context(), fixed(delta.Transaction{
		Operation: "UPDATE", Adds: []delta.Add{file("x")}, Removes: []delta.Remove{{Path: adds[0].Path, DataChange: true}},
	}))
	if _, ok := errors.AsType[*delta.InvalidTransactionError](err); !ok {
		t.Errorf("an update that does not say what it changes: %v", err)
	}
}

// TestChangesFromDeletionVectors: Spark writes no change files for what it deletes by deletion vectors; the changes are what
// these say besides those before.
func TestChangesFromDeletionVectors(t *testing.T) {
	dir := t.TempDir()
	s := structOf(field("id", schema.String), field("v", schema.String), field("p", schema.String))
	table := create(t, localStore(t, dir), delta.CreateOptions{Schema: s})
	must(t, table.EnableDeletionVectors(t.Context()))
	must(t, table.EnableChangeFeed(t.Context()))
	first := table.Snapshot().Version() + 1
	write(t, table, keyed(s, [3]string{"a", "1", "x"}, [3]string{"b", "1", "x"}, [3]string{"c", "1", "y"}, [3]string{"d", "1", "x"}, [3]string{"e", "1", "x"}, [3]string{"f", "1", "x"}))
	for _, id := range []string{"b", "e"} {
		where, err := delta.ParsePredicate("id = '"+id+"'", s)
		must(t, err)
		_, err = table.Delete(t.Context(), delta.DeleteOptions{Where: where})
		must(t, err)
	}
	_, err := table.Restore(t.Context(), first+1) // e comes back
	must(t, err)
	want := changesOf(t, table, first, first+2)
	cut := 0
	for v := first; v <= table.Snapshot().Version(); v++ {
		name := filepath.Join(dir, "_delta_log", fmt.Sprintf("%020d.json", v))
		entry, err := os.ReadFile(name)
		must(t, err)
		var kept []byte
		for line := range bytes.Lines(entry) {
			if bytes.HasPrefix(line, []byte(`{"cdc":`)) {
				cut++
				continue
			}
			kept = append(kept, line...)
		}
		must(t, os.WriteFile(name, kept, 0o600))
	}
	if cut < 2 {
		t.Fatalf("%d change files are taken out of the log", cut)
	}
	if d := cmp.Diff(want, changesOf(t, table, first, first+2)); d != "" {
		t.Errorf("changes (-by change files +by deletion vectors):\n%s", d)
	}
	if d := cmp.Diff([]string{fmt.Sprint(first+3) + " insert e=1 in x"}, changesOf(t, table, first+3, first+3)); d != "" {
		t.Errorf("restoring (-want +got):\n%s", d)
	}
}
