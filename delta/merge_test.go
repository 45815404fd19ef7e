package delta_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/column/columntest"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

// changes is the schema of a source of changes: key, sequence, operation and two columns.
var changes = structOf(
	field("id", schema.Long), field("k", schema.String), field("seq", schema.Long), field("op", schema.String),
	field("p", schema.String), field("v", schema.Double),
)

// withMarks are the options of a table whose deleted rows are marked.
func withMarks(c delta.CreateOptions) delta.CreateOptions {
	c.Features = append(c.Features, "deletionVectors")
	c.Configuration = map[string]string{"delta.enableDeletionVectors": "true"}
	return c
}

var byIDAndK = delta.MergeOptions{
	Key: []string{"id", "k"}, Sequence: "seq", Op: "op", Deletes: []string{"d"},
	Matched: delta.MatchedUpdateIfNewer, Tombstones: time.Hour,
}

// mergeModel is what a table must hold: for each key the row or the delete of the highest sequence, of equal ones the last.
type mergeModel map[string]map[string]any

func (m mergeModel) apply(row map[string]any) {
	key := fmt.Sprint(row["id"], "/", row["k"])
	if old, ok := m[key]; ok && row["seq"].(int64) < old["seq"].(int64) {
		return
	}
	m[key] = row
}

func (m mergeModel) rows() []string {
	out := []string{}
	for _, row := range m {
		if row["op"] != "d" {
			row = maps.Clone(row)
			delete(row, "op")
			out = append(out, fmt.Sprint(row))
		}
	}
	slices.Sort(out)
	return out
}

// tableRows are the rows of a snapshot as text, sorted; fmt prints maps in the order of their keys.
func tableRows(t interface{ Fatal(...any) }, s *delta.Snapshot) []string {
	out := []string{}
	for b, err := range s.Read(context.Background(), nil) {
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range columntest.Rows(b) {
			out = append(out, fmt.Sprint(row))
		}
	}
	slices.Sort(out)
	return out
}

// drawChange draws a change out of few keys, so that they meet again.
func drawChange(t *rapid.T) map[string]any {
	return map[string]any{
		"id": rapid.Int64Range(0, 12).Draw(t, "id"), "k": rapid.SampledFrom([]string{"b c", "a", "aé"}).Draw(t, "k"),
		"seq": rapid.Int64Range(0, 20).Draw(t, "seq"), "op": rapid.SampledFrom([]string{"c", "u", "u", "d"}).Draw(t, "op"),
		"p": rapid.SampledFrom([]any{nil, "x", "y/ü"}).Draw(t, "p"), "v": rapid.Float64Range(-9, 9).Draw(t, "v"),
	}
}

// TestMergeModel merges random changes in random batches, with optimizes and reopening in between, and compares the table
// with a map after each.
func TestMergeModel(t *testing.T) {
	did := map[string]int64{}
	rapid.Check(t, func(t *rapid.T) {
		ctx := context.Background()
		st := store.NewMemory()
		c := delta.CreateOptions{Schema: withoutOp(changes)}
		if rapid.Bool().Draw(t, "partitioned") {
			c.PartitionColumns = []string{rapid.SampledFrom([]string{"p", "k"}).Draw(t, "by")}
		}
		if rapid.Bool().Draw(t, "marks") {
			c = withMarks(c)
		}
		table, err := delta.Create(ctx, st, c)
		if err != nil {
			t.Fatal(err)
		}
		model := mergeModel{}
		for range rapid.IntRange(1, 6).Draw(t, "merges") {
			var source []*column.Batch
			for range rapid.IntRange(0, 3).Draw(t, "batches") {
				var rows []map[string]any
				for range rapid.IntRange(0, 9).Draw(t, "rows") {
					row := drawChange(t)
					rows = append(rows, row)
					model.apply(row)
				}
				source = append(source, columntest.Build(changes, rows))
			}
			o := byIDAndK
			o.CopyOnWrite = rapid.IntRange(0, 3).Draw(t, "copy") == 0
			o.Filters = rapid.SampledFrom([]int64{-1, 0}).Draw(t, "filters")
			res, err := table.Merge(ctx, source, o)
			if err != nil {
				t.Fatal(err)
			}
			did["inserted"] += res.Inserted
			did["updated"] += res.Updated
			did["deleted"] += res.Deleted
			did["stale"] += res.Stale
			did["marked"] += int64(res.FilesMarked)
			switch rapid.IntRange(0, 5).Draw(t, "then") {
			case 0:
				if _, err := table.Optimize(ctx, delta.OptimizeOptions{}); err != nil {
					t.Fatal(err)
				}
			case 1:
				if table, err = delta.Open(ctx, st, delta.Options{}); err != nil {
					t.Fatal(err)
				}
			case 2: // the same again, as after an unknown outcome
				if _, err := table.Merge(ctx, source, o); err != nil {
					t.Fatal(err)
				}
			}
			if d := cmp.Diff(model.rows(), tableRows(t, table.Snapshot())); d != "" {
				t.Fatalf("version %d (-want +got):\n%s", table.Snapshot().Version(), d)
			}
			if n, ok := table.Snapshot().NumRecords(); !ok || n != int64(len(model.rows())) {
				t.Fatalf("the log counts %d rows (%v), want %d", n, ok, len(model.rows()))
			}
		}
		report, err := table.Verify(ctx, delta.VerifyOptions{Rows: true})
		if err != nil || len(report.Problems) > 0 {
			t.Fatalf("verify: %v %v", report.Problems, err)
		}
	})
	t.Logf("%v", did)
	for _, what := range []string{"inserted", "updated", "deleted", "stale", "marked"} {
		if did[what] == 0 {
			t.Errorf("no sequence has %s anything", what)
		}
	}
}

// withoutOp are the columns of a table that is merged from batches with the columns of s.
func withoutOp(s *schema.Type) *schema.Type {
	out := *s
	out.Fields = slices.DeleteFunc(slices.Clone(s.Fields), func(f schema.Field) bool { return f.Name == "op" })
	return &out
}

func longChange(id, seq int64, op string, v float64) map[string]any {
	return map[string]any{"id": id, "k": "", "seq": seq, "op": op, "p": nil, "v": v}
}

func mergeRows(t *testing.T, table *delta.Table, o delta.MergeOptions, rows ...map[string]any) delta.MergeResult {
	t.Helper()
	res, err := table.Merge(t.Context(), []*column.Batch{columntest.Build(changes, rows)}, o)
	must(t, err)
	return res
}

// TestTombstonesExpire shows what a tombstone is for, and that it is gone after its time.
func TestTombstonesExpire(t *testing.T) {
	now := time.Now()
	st := store.NewMemory()
	table := create(t, st, delta.CreateOptions{
		Schema: withoutOp(changes), Options: delta.Options{Now: func() time.Time { return now }},
	})
	mergeRows(t, table, byIDAndK, longChange(1, 5, "c", 1))
	mergeRows(t, table, byIDAndK, longChange(1, 7, "d", 0))
	if res := mergeRows(t, table, byIDAndK, longChange(1, 6, "u", 2)); res.Stale != 1 || res.Inserted != 0 {
		t.Errorf("a late update of a deleted row: %+v, want it stale", res)
	}
	mergeRows(t, table, byIDAndK, longChange(2, 9, "d", 0)) // before its insert
	if res := mergeRows(t, table, byIDAndK, longChange(2, 8, "c", 2)); res.Stale != 1 {
		t.Errorf("an insert after its delete: %+v, want it stale", res)
	}
	if res := mergeRows(t, table, byIDAndK, longChange(1, 8, "u", 3)); res.Inserted != 1 {
		t.Errorf("a newer update of a deleted row: %+v, want it inserted", res)
	}
	now = now.Add(2 * time.Hour)
	if res := mergeRows(t, table, byIDAndK, longChange(2, 8, "c", 2)); res.Inserted != 1 {
		t.Errorf("after the tombstone's time: %+v, want it inserted", res)
	}
	now = now.Add(2 * time.Hour)
	mergeRows(t, table, byIDAndK, longChange(3, 1, "d", 0))
	n := 0
	for info, err := range st.List(t.Context(), "_weir/tombstones/", "") {
		must(t, err)
		n++
		t.Log(info.Key)
	}
	if n > 4 { // a list and a file, and those that the merge before replaced
		t.Errorf("%d files of tombstones are left", n)
	}
}

// TestTombstonesArePacked: many small merges leave few files, and none of the deletes is forgotten.
func TestTombstonesArePacked(t *testing.T) {
	st := store.NewMemory()
	table := create(t, st, delta.CreateOptions{Schema: withoutOp(changes)})
	for i := range int64(40) {
		mergeRows(t, table, byIDAndK, longChange(i, 10, "c", 1), longChange(i+100, 10, "d", 1))
		mergeRows(t, table, byIDAndK, longChange(i, 11, "d", 1))
	}
	var late []map[string]any
	for i := range int64(40) {
		late = append(late, longChange(i, 5, "u", 1), longChange(i+100, 5, "u", 1))
	}
	if res := mergeRows(t, table, byIDAndK, late...); res.Stale != 80 || res.Inserted != 0 {
		t.Errorf("%+v, want 80 stale changes", res)
	}
}

// TestTombstoneListsStaySmall: an hour of lists and files that are no longer in use is not repeated by each list, and all of them
// are deleted in the end, also when some deletes fail.
func TestTombstoneListsStaySmall(t *testing.T) {
	start, passed := time.Now(), atomic.Int64{} // checkpoints ask for the time as well
	now := func() time.Time { return start.Add(time.Duration(passed.Load())) }
	st := &flakyDeletes{Store: store.NewMemory()}
	table := create(t, st, delta.CreateOptions{
		Schema: withoutOp(changes), Options: delta.Options{Now: now},
	})
	options := byIDAndK
	options.Tombstones = 24 * time.Hour
	count := func() (files int, largest int64) {
		for info, err := range st.List(t.Context(), "_weir/tombstones/", "") {
			must(t, err)
			files++
			if strings.HasSuffix(info.Key, ".json") {
				largest = max(largest, info.Size)
			}
		}
		return files, largest
	}
	most := 0
	for i := range int64(1500) { // two hours, a merge every five seconds
		mergeRows(t, table, options, longChange(i, 10, "d", 0))
		passed.Add(int64(5 * time.Second))
		if i%100 == 0 {
			files, largest := count()
			if most = max(most, files); largest > 24<<10 {
				t.Fatalf("after %d merges a list has %d bytes", i+1, largest)
			}
		}
	}
	if most < 720 || most > 2200 {
		t.Errorf("at most %d files, want those of an hour", most)
	}
	passed.Add(int64(2 * time.Hour))
	for range 200 { // each deletes some
		mergeRows(t, table, options, longChange(1, 10, "d", 0))
		passed.Add(int64(time.Second))
	}
	if files, _ := count(); files > 600 { // those of 200 merges, two or three each, and what still counts
		t.Errorf("%d files are left, of more than %d", files, most)
	}
	var late []map[string]any
	for i := range int64(1500) {
		late = append(late, longChange(i, 9, "u", 0))
	}
	if res := mergeRows(t, table, options, late...); res.Stale != 1500 {
		t.Errorf("%+v, want 1500 stale changes", res)
	}
}

// flakyDeletes refuses every third delete.
type flakyDeletes struct {
	store.Store
	n int
}

func (f *flakyDeletes) Delete(ctx context.Context, key string) error {
	if f.n++; f.n%3 == 0 {
		return errors.New("503 Slow Down")
	}
	return f.Store.Delete(ctx, key)
}

// TestMergePrunes: a merge opens only the files that can hold its keys.
func TestMergePrunes(t *testing.T) {
	table := create(t, store.NewMemory(), delta.CreateOptions{Schema: withoutOp(changes)})
	for i := range int64(10) { // keys of one file are spread over the range of all
		var rows []map[string]any
		for j := range int64(100) {
			rows = append(rows, longChange(i+10*j, 1, "c", 0))
		}
		mergeRows(t, table, byIDAndK, rows...)
	}
	n := table.Snapshot().NumFiles()
	res := mergeRows(t, table, byIDAndK, longChange(507, 2, "u", 1), longChange(5000, 2, "u", 1))
	if res.Files != n || res.FilesRead != n { // no filter has been made of what was never read
		t.Logf("first merge: %+v", res)
	}
	if res = mergeRows(t, table, byIDAndK, longChange(507, 3, "u", 2)); res.FilesRead > 2 || res.FilesRemoved != 1 {
		t.Errorf("second merge: %+v, want few of the %d files read", res, n)
	}
	if res = mergeRows(t, table, byIDAndK, longChange(-1, 3, "u", 2)); res.FilesRead != 0 {
		t.Errorf("a key below all others: %+v, want no file read", res)
	}
}

func TestMergeClauses(t *testing.T) {
	table := create(t, store.NewMemory(), delta.CreateOptions{Schema: withoutOp(changes)})
	plain := delta.MergeOptions{Key: []string{"id"}, Op: "op"}
	mergeRows(t, table, plain, longChange(1, 9, "c", 1), longChange(2, 9, "c", 1), longChange(3, 9, "c", 1))
	res := mergeRows(t, table, plain, longChange(1, 1, "c", 2)) // without a sequence the last to arrive wins
	if res.Updated != 1 {
		t.Errorf("update: %+v", res)
	}
	ignoring := plain
	ignoring.Matched, ignoring.NotMatched = delta.MatchedIgnore, delta.NotMatchedInsert
	if res = mergeRows(t, table, ignoring, longChange(1, 1, "c", 3), longChange(4, 1, "c", 3)); res.Updated != 0 || res.Inserted != 1 {
		t.Errorf("insert only: %+v", res)
	}
	deleting := plain
	deleting.Matched, deleting.NotMatched = delta.MatchedDelete, delta.NotMatchedIgnore
	if res = mergeRows(t, table, deleting, longChange(2, 1, "c", 3), longChange(5, 1, "c", 3)); res.Deleted != 1 || res.Inserted != 0 {
		t.Errorf("delete: %+v", res)
	}
	want := []string{"map[id:1 k: p:<nil> seq:1 v:2]", "map[id:3 k: p:<nil> seq:9 v:1]", "map[id:4 k: p:<nil> seq:1 v:3]"}
	if d := cmp.Diff(want, tableRows(t, table.Snapshot())); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	before := table.Snapshot().Version()
	if res = mergeRows(t, table, deleting, longChange(99, 1, "c", 3)); res.Version != before || table.Snapshot().Version() != before {
		t.Errorf("a merge that changes nothing made version %d after %d", res.Version, before)
	}
}

func TestMergeRefuses(t *testing.T) {
	table := create(t, store.NewMemory(), delta.CreateOptions{Schema: withoutOp(changes), PartitionColumns: []string{"k"}})
	row := longChange(1, 1, "c", 1)
	nullKey := maps.Clone(row)
	nullKey["k"] = nil
	nullSeq := maps.Clone(row)
	nullSeq["seq"] = nil
	for name, c := range map[string]struct {
		o   delta.MergeOptions
		row map[string]any
	}{
		"null key":             {byIDAndK, nullKey},
		"null sequence":        {byIDAndK, nullSeq},
		"no such key":          {delta.MergeOptions{Key: []string{"nope"}}, row},
		"no key":               {delta.MergeOptions{}, row},
		"key of floats":        {delta.MergeOptions{Key: []string{"v"}}, row},
		"newer without a seq":  {delta.MergeOptions{Key: []string{"id"}, Matched: delta.MatchedUpdateIfNewer}, row},
		"empty partition":      {delta.MergeOptions{Key: []string{"id", "k"}, Op: "op"}, row},
		"column that is new":   {delta.MergeOptions{Key: []string{"id"}}, row}, // op, which is not named
		"tombstones but older": {delta.MergeOptions{Key: []string{"id"}, Sequence: "seq", Tombstones: 1}, row},
	} {
		_, err := table.Merge(t.Context(), []*column.Batch{columntest.Build(changes, []map[string]any{c.row})}, c.o)
		if err == nil {
			t.Errorf("%s: it was merged", name)
			continue
		}
		t.Logf("%s: %v", name, err)
	}
	if v := table.Snapshot().Version(); v != 0 {
		t.Errorf("version %d, want 0", v)
	}
}

// TestMergeEvolves: columns that the source brings become columns of the table in the same commit.
func TestMergeEvolves(t *testing.T) {
	for _, marks := range []bool{false, true} {
		c := delta.CreateOptions{Schema: structOf(field("id", schema.Long))}
		if marks {
			c = withMarks(c)
		}
		table := create(t, store.NewMemory(), c)
		write(t, table, longs(1, 2, 3))
		o := delta.MergeOptions{Key: []string{"id"}, Evolve: true, Op: "op", Deletes: []string{"d"}}
		res := mergeRows(t, table, o, longChange(2, 4, "u", 5))
		if v := table.Snapshot().Version(); v != 2 || res.Version != 2 {
			t.Errorf("version %d, result %+v, want one commit", v, res)
		}
		want := []string{
			"map[id:1 k:<nil> p:<nil> seq:<nil> v:<nil>]", "map[id:2 k: p:<nil> seq:4 v:5]", "map[id:3 k:<nil> p:<nil> seq:<nil> v:<nil>]",
		}
		if d := cmp.Diff(want, tableRows(t, table.Snapshot())); d != "" {
			t.Errorf("marks %v (-want +got):\n%s", marks, d)
		}
	}
}

// TestMergesAtOnce: merges of several writers and appends beside them are as if they had run one after another.
func TestMergesAtOnce(t *testing.T) {
	const writers, each = 4, 12
	for _, marks := range []bool{false, true} {
		st := store.NewMemory()
		c := delta.CreateOptions{Schema: withoutOp(changes)}
		if marks {
			c = withMarks(c)
		}
		create(t, st, c)
		var wg sync.WaitGroup
		var mu sync.Mutex // guards what follows
		model, redone := mergeModel{}, 0
		for w := range writers {
			table := open(t, st, delta.Options{})
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(7, uint64(w)))
				for i := range each {
					var rows []map[string]any
					for range 5 { // a sequence is of one writer, so that the order of the writers does not matter
						op := "u"
						if rng.IntN(4) == 0 {
							op = "d"
						}
						rows = append(rows, longChange(rng.Int64N(30), int64(rng.IntN(100)*writers+w), op, float64(w*each+i)))
					}
					source := []*column.Batch{columntest.Build(changes, rows)}
					res, err := table.Merge(context.Background(), source, byIDAndK)
					mu.Lock()
					if err != nil {
						t.Error(err)
					}
					redone += res.Attempts - 1
					for _, row := range rows {
						model.apply(row)
					}
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		t.Logf("marks %v: %d merges were redone", marks, redone)
		if d := cmp.Diff(model.rows(), tableRows(t, open(t, st, delta.Options{}).Snapshot())); d != "" {
			t.Errorf("marks %v (-want +got):\n%s", marks, d)
		}
	}
}

// TestMergeOnBadStore: whatever write fails, the table is as before or as after, and the next merge succeeds.
func TestMergeOnBadStore(t *testing.T) {
	for fail := range 12 {
		st := &failingStore{Store: store.NewMemory(), at: -1}
		table := create(t, st, withMarks(delta.CreateOptions{Schema: withoutOp(changes)}))
		var first []map[string]any
		for i := range int64(300) {
			first = append(first, longChange(i, 1, "c", 0))
		}
		mergeRows(t, table, byIDAndK, first...)
		before := tableRows(t, table.Snapshot())
		var next []map[string]any
		for i := range int64(140) {
			next = append(next, longChange(2*i, 2, []string{"u", "d"}[i%2], 1))
		}
		st.arm(fail)
		_, err := table.Merge(t.Context(), []*column.Batch{columntest.Build(changes, next)}, byIDAndK)
		failed := st.disarm()
		if failed && err == nil {
			continue // the commit was read back, or what failed was only clean-up
		}
		s, uerr := open(t, st, delta.Options{}).Update(t.Context())
		must(t, uerr)
		if got := tableRows(t, s); failed && !slices.Equal(got, before) {
			if _, unknown := errors.AsType[*delta.UnknownOutcomeError](err); !unknown {
				t.Errorf("write %d failed with %v and the table has changed", fail, err)
			}
		}
		mergeRows(t, table, byIDAndK, next...)
		if n := len(tableRows(t, table.Snapshot())); n != 300-70 {
			t.Errorf("write %d: %d rows at the end, want 230", fail, n)
		}
	}
}

// failingStore fails one write.
type failingStore struct {
	store.Store
	mu     sync.Mutex // guards what follows
	at     int
	failed bool
}

var errBroken = errors.New("the disk is broken")

func (s *failingStore) arm(at int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = at
}

func (s *failingStore) disarm() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at = -1
	return s.failed
}

func (s *failingStore) fails() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.at--; s.at == -1 {
		s.failed = true
		return true
	}
	if s.at < -1 {
		s.at = -1
	}
	return false
}

func (s *failingStore) Put(ctx context.Context, key string, data []byte) error {
	if s.fails() {
		return errBroken
	}
	return s.Store.Put(ctx, key, data)
}

func (s *failingStore) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if s.fails() {
		return fmt.Errorf("%w: %w", store.ErrNotWritten, errBroken)
	}
	return s.Store.PutIfAbsent(ctx, key, data)
}

func (s *failingStore) Create(ctx context.Context, key string) (store.Writer, error) {
	if s.fails() {
		return nil, errBroken
	}
	return s.Store.Create(ctx, key)
}
