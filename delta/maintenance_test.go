package delta_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

func keys(t *testing.T, st store.Store) []string {
	t.Helper()
	out := []string{}
	for info, err := range st.List(t.Context(), "", "") {
		must(t, err)
		out = append(out, info.Key)
	}
	return out
}

// age sets the time of every file of a local table.
func age(t *testing.T, dir string, by time.Duration) {
	t.Helper()
	at := time.Now().Add(-by)
	root, err := os.OpenRoot(dir)
	must(t, err)
	must(t, fs.WalkDir(root.FS(), ".", func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, root.Chtimes(path, at, at))
	}))
	must(t, root.Close())
}

func TestOptimize(t *testing.T) {
	dir := t.TempDir()
	st := localStore(t, dir)
	s := structOf(field("id", schema.Long), field("p", schema.String))
	table := create(t, st, delta.CreateOptions{Schema: s, PartitionColumns: []string{"p"}, Configuration: map[string]string{"delta.appendOnly": "true"}})
	part := func(p string, ids ...int64) *column.Batch {
		b := column.NewBatch(s)
		for _, id := range ids {
			b.Columns[0].AppendInt64(id)
			if p != "" {
				b.Columns[1].AppendString(p)
			}
		}
		b.Seal(len(ids))
		return b
	}
	for i := range int64(5) {
		write(t, table, part("a/b", 10*i, 10*i+1), part("", 100+i))
	}
	write(t, table, part("alone", 1000))
	before := rows(t, table.Snapshot(), nil)
	other := open(t, st, delta.Options{})
	write(t, other, part("a/b", 7777)) // appends do not get in the way
	res, err := table.Optimize(t.Context(), delta.OptimizeOptions{})
	must(t, err)
	if res.Commits != 1 || res.FilesRemoved != 11 || res.FilesAdded != 2 {
		t.Errorf("result %+v", res)
	}
	after, err := other.Update(t.Context())
	must(t, err)
	want := append(before, "map[id:7777 p:a/b]")
	slices.Sort(want)
	if d := cmp.Diff(want, rows(t, after, nil)); d != "" {
		t.Errorf("rows (-before +after):\n%s", d)
	}
	if after.NumFiles() != 3 {
		t.Errorf("%d files", after.NumFiles())
	}
	data, err := st.Get(t.Context(), key(after.Version()))
	must(t, err)
	if strings.Contains(string(data), `"dataChange":true`) || !strings.Contains(string(data), `"isolationLevel":"SnapshotIsolation"`) {
		t.Errorf("entry %s", data)
	}
	if res, err = table.Optimize(t.Context(), delta.OptimizeOptions{}); err != nil || res != (delta.OptimizeResult{}) {
		t.Errorf("again: %+v, %v", res, err)
	}
	if os.Getenv("WEIR_PYTHON") != "" {
		if d := cmp.Diff(peerRows(t, after), sortedRows(t, peer(t, "rows", dir))); d != "" {
			t.Errorf("rows (-weir +deltalake):\n%s", d)
		}
	}
}

func TestOptimizeSizes(t *testing.T) {
	table := create(t, store.NewMemory(), delta.CreateOptions{Configuration: map[string]string{"delta.targetFileSize": "1kb"}})
	for i := range int64(20) {
		write(t, table, longs(i))
	}
	before := rows(t, table.Snapshot(), nil)
	size := table.Snapshot().Bytes() / 20
	res, err := table.Optimize(t.Context(), delta.OptimizeOptions{Where: func(a *delta.Add) bool { return a.Size > 1<<20 }})
	if err != nil || res.Commits != 0 {
		t.Errorf("with nothing to look at: %+v, %v", res, err)
	}
	res, err = table.Optimize(t.Context(), delta.OptimizeOptions{RoundBytes: 2000, Memory: 1}) // a row group for each batch
	must(t, err)
	if res.Commits < 2 {
		t.Errorf("rounds of 2000 bytes: %+v", res)
	}
	perFile := int(1024 / size)
	if want := (20 + perFile - 1) / perFile; res.FilesAdded > want || res.FilesAdded < want-1 {
		t.Errorf("%d files of about 1 KiB from 20 of %d bytes", res.FilesAdded, size)
	}
	if d := cmp.Diff(before, rows(t, table.Snapshot(), nil)); d != "" {
		t.Errorf("rows (-before +after):\n%s", d)
	}
}

// TestOptimizeLoses removes a file while it is being packed.
// TestOptimizeDropsDeletedRows from files that are large enough to be left alone otherwise.
func TestOptimizeDropsDeletedRows(t *testing.T) {
	table := create(t, store.NewMemory(), delta.CreateOptions{})
	must(t, table.EnableDeletionVectors(t.Context()))
	ids := make([]int64, 100)
	for i := range ids {
		ids[i] = int64(i)
	}
	write(t, table, longs(ids...))
	remove := func(where string) {
		t.Helper()
		p, err := delta.ParsePredicate(where, oneColumn)
		must(t, err)
		_, err = table.Delete(t.Context(), delta.DeleteOptions{Where: p})
		must(t, err)
	}
	optimize := func(o delta.OptimizeOptions) int {
		t.Helper()
		o.TargetSize = 1 // so that no file is small
		done, err := table.Optimize(t.Context(), o)
		must(t, err)
		return done.FilesRemoved
	}
	for _, step := range []struct {
		where string
		files int
	}{
		{"id < 5", 0}, // a twentieth
		{"id = 5", 1}, // more
		{"id = 6", 0}, // of a new file
	} {
		remove(step.where)
		if n := optimize(delta.OptimizeOptions{DryRun: true}); n != step.files {
			t.Errorf("after %s: a dry run names %d files, want %d", step.where, n, step.files)
		}
		if n := optimize(delta.OptimizeOptions{}); n != step.files {
			t.Errorf("after %s: %d files were written anew, want %d", step.where, n, step.files)
		}
	}
	var vectors []int64
	for a := range table.Snapshot().Files() {
		if a.DeletionVector != nil {
			vectors = append(vectors, a.DeletionVector.Cardinality)
		}
	}
	if d := cmp.Diff([]int64{1}, vectors); d != "" {
		t.Errorf("deleted rows (-want +got):\n%s", d)
	}
	if n, ok := table.Snapshot().NumRecords(); !ok || n != 93 || len(rows(t, table.Snapshot(), nil)) != 93 {
		t.Errorf("%d rows, want 93", n)
	}
}

func TestOptimizeLoses(t *testing.T) {
	f := &faulty{Store: store.NewMemory()}
	table := create(t, f, delta.CreateOptions{})
	write(t, table, longs(1))
	gone := write(t, table, longs(2))[0]
	theirs := open(t, f.Store, delta.Options{})
	f.set(func(f *faulty) {
		f.put = func(string, []byte) (bool, error) {
			f.put = nil
			commit(t, theirs, fixed(delta.Transaction{Operation: "DELETE", Removes: []delta.Remove{{
				Path: gone.Path, DataChange: true, PartitionValues: gone.PartitionValues, Size: gone.Size,
			}}}))
			return true, nil
		}
	})
	before := len(keys(t, f))
	_, err := table.Optimize(t.Context(), delta.OptimizeOptions{})
	if c, ok := errors.AsType[*delta.ConflictError](err); !ok || c.Kind != delta.ConflictDeleteDelete {
		t.Errorf("got %v", err)
	}
	if after := len(keys(t, f)); after != before+1 { // the entry of the delete
		t.Errorf("%d objects, were %d: the packed file was left", after, before)
	}
	if d := cmp.Diff([]string{"map[id:1]"}, rows(t, table.Snapshot(), nil)); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
}

func TestVacuum(t *testing.T) {
	dir := t.TempDir()
	st := localStore(t, dir)
	s := structOf(field("id", schema.Long), field("_p", schema.String))
	now := time.Now()
	clock := func() time.Time { return now }
	table := create(t, st, delta.CreateOptions{Schema: s, PartitionColumns: []string{"_p"}, Options: delta.Options{Now: clock}})
	b := column.NewBatch(s)
	b.Columns[0].AppendInt64(1)
	b.Columns[1].AppendString("é x/y")
	b.Seal(1)
	var adds []delta.Add
	for range 3 {
		adds = append(adds, write(t, table, b)...)
	}
	drop := func(a delta.Add) {
		commit(t, table, fixed(delta.Transaction{Operation: "DELETE", Removes: []delta.Remove{{
			Path: a.Path, DataChange: true, PartitionValues: a.PartitionValues, Size: a.Size,
		}}}))
	}
	drop(adds[0])
	for _, key := range []string{"orphan.parquet", "_p=x/orphan.parquet", "_weir/state/1", ".hidden/x", "_other=1/x", "deletion_vector_x.bin"} {
		must(t, st.Put(t.Context(), key, []byte("x")))
	}
	if _, err := st.Create(t.Context(), "part-crashed.parquet"); err != nil { // never closed: a writer that died
		t.Fatal(err)
	}
	age(t, dir, time.Hour)
	now = now.Add(8 * 24 * time.Hour)
	drop(adds[1])                                                                         // just now
	must(t, st.Put(t.Context(), "young.parquet", []byte("x")))                            // not yet committed
	must(t, os.Chtimes(filepath.Join(dir, "young.parquet"), now, now.Add(-24*time.Hour))) // in the table's time
	key0, err := delta.DataKey(adds[0].Path)
	must(t, err)
	want := []string{key0, "_p=x/orphan.parquet", "deletion_vector_x.bin", "orphan.parquet"}
	slices.Sort(want)

	all := keys(t, st)
	dry, err := table.Vacuum(t.Context(), delta.VacuumOptions{DryRun: true})
	must(t, err)
	slices.Sort(dry.Files)
	if d := cmp.Diff(want, dry.Files); d != "" || dry.Bytes != adds[0].Size+3 {
		t.Errorf("dry run, %d bytes (-want +got):\n%s", dry.Bytes, d)
	}
	if d := cmp.Diff(all, keys(t, st)); d != "" {
		t.Errorf("the dry run changed something:\n%s", d)
	}
	res, err := table.Vacuum(t.Context(), delta.VacuumOptions{})
	must(t, err)
	slices.Sort(res.Files)
	if d := cmp.Diff(want, res.Files); d != "" {
		t.Errorf("deleted (-want +got):\n%s", d)
	}
	left := slices.DeleteFunc(all, func(k string) bool { return slices.Contains(want, k) })
	if d := cmp.Diff(left, keys(t, st)); d != "" {
		t.Errorf("left (-want +got):\n%s", d)
	}
	if temps, err := filepath.Glob(filepath.Join(dir, ".weir-*")); err != nil || len(temps) != 0 {
		t.Errorf("temporary files are left: %v (%v)", temps, err)
	}
	if got := rows(t, table.Snapshot(), nil); len(got) != 1 {
		t.Errorf("rows %q", got)
	}
}

// TestForcedVacuumLeavesWritersAlone: what another process is writing just now, such as a log entry, stays.
func TestForcedVacuumLeavesWritersAlone(t *testing.T) {
	dir := t.TempDir()
	st := localStore(t, dir)
	table := create(t, st, delta.CreateOptions{})
	w, err := st.Create(t.Context(), "_delta_log/busy")
	must(t, err)
	_, err = table.Vacuum(t.Context(), delta.VacuumOptions{Force: true})
	must(t, err)
	if err := w.Close(); err != nil {
		t.Errorf("the writer lost its file: %v", err)
	}
}

func TestVacuumRetention(t *testing.T) {
	st := store.NewMemory()
	now := time.Now()
	table := create(t, st, delta.CreateOptions{
		Configuration: map[string]string{"delta.deletedFileRetentionDuration": "interval 2 days"},
		Options:       delta.Options{Now: func() time.Time { return now }},
	})
	must(t, st.Put(t.Context(), "orphan", nil))
	now = now.Add(time.Hour)
	for _, o := range []delta.VacuumOptions{{Retention: time.Minute}, {Retention: 49 * time.Hour}, {Retention: 49 * time.Hour, Force: true}, {Retention: -1, Force: true}} {
		if _, err := table.Vacuum(t.Context(), o); err == nil || !errors.As(err, new(*delta.RetentionError)) {
			t.Errorf("%+v: %v", o, err)
		}
	}
	res, err := table.Vacuum(t.Context(), delta.VacuumOptions{Force: true, Retention: 2 * time.Hour})
	if err != nil || len(res.Files) != 0 {
		t.Errorf("two hours: %+v, %v", res, err)
	}
	res, err = table.Vacuum(t.Context(), delta.VacuumOptions{Force: true})
	if err != nil || len(res.Files) != 1 {
		t.Errorf("nothing retained: %+v, %v", res, err)
	}
}

func TestRestore(t *testing.T) {
	dir := t.TempDir()
	st := localStore(t, dir)
	table := create(t, st, delta.CreateOptions{})
	old := write(t, table, longs(1, 2))[0]
	write(t, table, longs(3))
	want := rows(t, table.Snapshot(), nil)
	narrow := table.Snapshot().Schema()
	md := table.Snapshot().Metadata()
	md.SetSchema(structOf(field("id", schema.Long), field("new", schema.String)))
	wide := column.NewBatch(structOf(field("id", schema.Long), field("new", schema.String)))
	wide.Columns[1].AppendString("x")
	wide.Seal(1)
	commit(t, table, fixed(delta.Transaction{Operation: "ALTER", Metadata: &md}))
	write(t, table, wide)
	commit(t, table, fixed(delta.Transaction{
		Operation: "DELETE", Removes: []delta.Remove{{Path: old.Path, DataChange: true, Size: old.Size}},
		Txns: []delta.Txn{{AppID: "app", Version: 9}},
	}))
	res, err := table.Restore(t.Context(), 2)
	must(t, err)
	if res.Version != 6 || !res.Snapshot.Schema().Equal(narrow) || !res.Snapshot.Contains(old.Path) {
		t.Errorf("version %d, schema %s", res.Version, res.Snapshot.Schema())
	}
	if d := cmp.Diff(want, rows(t, res.Snapshot, nil)); d != "" {
		t.Errorf("rows (-want +got):\n%s", d)
	}
	if v, _ := res.Snapshot.Txn("app"); v != 9 {
		t.Errorf("the application is set back to %d", v)
	}
	if os.Getenv("WEIR_PYTHON") != "" {
		if d := cmp.Diff(peerRows(t, res.Snapshot), sortedRows(t, peer(t, "rows", dir))); d != "" {
			t.Errorf("rows (-weir +deltalake):\n%s", d)
		}
	}
	key, err := delta.DataKey(old.Path)
	must(t, err)
	_, err = table.Restore(t.Context(), 0)
	must(t, err)
	must(t, st.Delete(t.Context(), key))
	_, err = table.Restore(t.Context(), 2)
	if missing, ok := errors.AsType[*delta.MissingFileError](err); !ok || missing.Path != old.Path {
		t.Errorf("a vacuumed file: %v", err)
	}
	if v := table.Snapshot().Version(); v != 7 {
		t.Errorf("the failed restore made version %d", v)
	}
	if _, err := table.Restore(t.Context(), 70); err == nil || !errors.As(err, new(*delta.VersionError)) {
		t.Errorf("a version that never was: %v", err)
	}
}

func TestCleanLogAndTimeTravel(t *testing.T) {
	dir := t.TempDir()
	st := localStore(t, dir)
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := start
	clock := func() time.Time { return now }
	table := create(t, st, delta.CreateOptions{
		Configuration: map[string]string{"delta.logRetentionDuration": "interval 10 days", "delta.checkpointInterval": "1000"},
		Options:       delta.Options{Now: clock},
	})
	stamp := func(key string) {
		must(t, os.Chtimes(filepath.Join(dir, filepath.FromSlash(key)), now, now))
	}
	stamp(key(0))
	for day := 1; day <= 20; day++ { // version d is of day d, noon
		now = start.AddDate(0, 0, day)
		commit(t, table, appending(strconv.Itoa(day)))
		stamp(key(int64(day)))
		if day%4 == 0 {
			must(t, table.Checkpoint(t.Context()))
			stamp(checkpointFile(int64(day)))
			must(t, st.Put(t.Context(), strings.TrimSuffix(key(int64(day)), "json")+"crc", nil))
		}
	}
	at := func(when time.Time) (int64, error) {
		s, err := delta.OpenAtTime(t.Context(), st, when)
		if err != nil {
			return -1, err
		}
		if s.NumFiles() != int(s.Version()) {
			t.Errorf("version %d has %d files", s.Version(), s.NumFiles())
		}
		return s.Version(), nil
	}
	travel := func(first int64) {
		t.Helper()
		for day := first; day <= 20; day++ {
			noon := start.AddDate(0, 0, int(day))
			if v, err := at(noon); v != day {
				t.Errorf("day %d, noon: version %d (%v)", day, v, err)
			}
			if v, err := at(noon.Add(24*time.Hour - 1)); v != day {
				t.Errorf("day %d, next morning: version %d (%v)", day, v, err)
			}
		}
		_, err := at(start.AddDate(0, 0, int(first)).Add(-1))
		if e, ok := errors.AsType[*delta.TimestampError](err); !ok || !e.Earliest.Equal(start.AddDate(0, 0, int(first))) {
			t.Errorf("before all: %v", err)
		}
		if _, err := delta.OpenAt(t.Context(), st, first-1); err == nil || !errors.As(err, new(*delta.VersionError)) {
			t.Errorf("version %d: %v", first-1, err)
		}
	}
	travel(0)
	// Ten days before day 20, cut to its midnight: version 9 is the newest not younger, checkpoint 8 the one to keep.
	n, err := table.CleanLog(t.Context())
	must(t, err)
	if n != 8+1+1 {
		t.Errorf("%d files deleted, want versions 0 to 7, a checkpoint and a checksum", n)
	}
	travel(8)
	wantSame(t, table.Snapshot(), open(t, st, delta.Options{}).Snapshot())
	if n, err := table.CleanLog(t.Context()); n != 0 || err != nil {
		t.Errorf("again: %d, %v", n, err)
	}
	history, err := table.History(t.Context(), 0)
	if err != nil || len(history) != 13 {
		t.Errorf("history has %d versions (%v)", len(history), err)
	}
	md := table.Snapshot().Metadata()
	md.Configuration["delta.enableExpiredLogCleanup"] = "false"
	commit(t, table, fixed(delta.Transaction{Operation: "SET", Metadata: &md}))
	must(t, table.Checkpoint(t.Context()))
	now = now.AddDate(1, 0, 0)
	if n, err := table.CleanLog(t.Context()); n != 0 || err != nil {
		t.Errorf("against the table's will: %d, %v", n, err)
	}
}

// TestCleanLogWithSkewedClocks: a version is not older than one before it, whatever its file says, so what a slow clock wrote
// last does not age what a right one wrote before.
func TestCleanLogWithSkewedClocks(t *testing.T) {
	dir := t.TempDir()
	st := localStore(t, dir)
	now := time.Date(2026, 3, 20, 12, 0, 0, 0, time.UTC)
	table := create(t, st, delta.CreateOptions{
		Configuration: map[string]string{"delta.logRetentionDuration": "interval 10 days", "delta.checkpointInterval": "1000"},
		Options:       delta.Options{Now: func() time.Time { return now }},
	})
	for v := 1; v <= 6; v++ {
		commit(t, table, appending(strconv.Itoa(v)))
		if v%2 == 0 {
			must(t, table.Checkpoint(t.Context()))
		}
	}
	for v, age := range []int{15, 14, 13, 5, 4, 20, 20} { // days
		when := now.AddDate(0, 0, -age)
		must(t, os.Chtimes(filepath.Join(dir, filepath.FromSlash(key(int64(v)))), when, when))
	}
	_, err := table.CleanLog(t.Context())
	must(t, err)
	for v := int64(2); v <= 6; v++ {
		if _, err := delta.OpenAt(t.Context(), st, v); err != nil {
			t.Errorf("version %d is of the last ten days: %v", v, err)
		}
	}
	if _, err := delta.OpenAt(t.Context(), st, 1); err == nil {
		t.Error("version 1 is still there")
	}
}

// TestTimeTravelBeforeInCommitTimestamps: a table that has in-commit timestamps since some version and was copied later. Its older
// versions have the time of the copy, which says nothing of the newer ones.
func TestTimeTravelBeforeInCommitTimestamps(t *testing.T) {
	dir := t.TempDir()
	st := localStore(t, dir)
	table := create(t, st, delta.CreateOptions{Features: []string{"inCommitTimestamp"}})
	for v := 1; v <= 5; v++ {
		commit(t, table, appending(strconv.Itoa(v)))
	}
	enabled := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	md := table.Snapshot().Metadata()
	md.Configuration["delta.enableInCommitTimestamps"] = "true"
	md.Configuration["delta.inCommitTimestampEnablementVersion"] = "6"
	md.Configuration["delta.inCommitTimestampEnablementTimestamp"] = strconv.FormatInt(enabled.UnixMilli(), 10)
	text, err := json.Marshal(map[string]any{"metaData": md})
	must(t, err)
	for v := range int64(4) { // as Spark does; a day each
		entry := fmt.Sprintf(`{"commitInfo":{"inCommitTimestamp":%d,"operation":"SET"}}`, enabled.AddDate(0, 0, int(v)).UnixMilli())
		if v == 0 {
			entry += "\n" + string(text)
		}
		must(t, st.PutIfAbsent(t.Context(), key(6+v), []byte(entry+"\n")))
	}
	stamp := func(first time.Time) {
		for v := range int64(6) {
			when := first.Add(time.Duration(v) * time.Hour)
			must(t, os.Chtimes(filepath.Join(dir, filepath.FromSlash(key(v))), when, when))
		}
	}
	want := func(at time.Time, version int64) {
		t.Helper()
		s, err := delta.OpenAtTime(t.Context(), st, at)
		if err != nil || s.Version() != version {
			t.Errorf("at %s: %v, want version %d", at, err, version)
		}
	}
	for _, first := range []time.Time{enabled.AddDate(0, 0, -1), enabled.AddDate(0, 1, 0)} { // where it was made, and copied
		stamp(first)
		want(enabled, 6)
		want(enabled.Add(25*time.Hour), 7)
		want(enabled.AddDate(1, 0, 0), 9)
	}
	stamp(enabled.AddDate(0, 0, -1))
	want(enabled.Add(-time.Minute), 5)
	want(enabled.AddDate(0, 0, -1).Add(90*time.Minute), 1)
}

// TestTimeTravelByInCommitTimestamps: file times say nothing, the commits do.
func TestTimeTravelByInCommitTimestamps(t *testing.T) {
	st := store.NewMemory()
	now := time.UnixMilli(1_000_000)
	table := create(t, st, delta.CreateOptions{
		Configuration: map[string]string{"delta.enableInCommitTimestamps": "true"}, Features: []string{"inCommitTimestamp"},
		Options: delta.Options{Now: func() time.Time { return now }},
	})
	first, err := st.Get(t.Context(), key(0))
	must(t, err)
	if !strings.HasPrefix(string(first), `{"commitInfo":{"inCommitTimestamp":1000000,`) {
		t.Errorf("entry 0: %s", first)
	}
	for i := range 4 { // the clock goes backwards; commits do not
		now = now.Add(-time.Second)
		commit(t, table, appending(strconv.Itoa(i)))
	}
	for v, when := range map[int64]int64{0: 1_000_000, 2: 1_000_002, 4: 5_000_000} {
		s, err := delta.OpenAtTime(t.Context(), st, time.UnixMilli(when))
		must(t, err)
		if s.Version() != v {
			t.Errorf("at %d: version %d, want %d", when, s.Version(), v)
		}
	}
	if _, err := delta.OpenAtTime(t.Context(), st, time.UnixMilli(999_999)); err == nil {
		t.Error("before the first commit there is a table")
	}
}

func TestOptimizeKeepsDeletedRowsDeleted(t *testing.T) {
	golden, _ := goldenTables(t)
	dir := t.TempDir()
	must(t, os.CopyFS(dir, os.DirFS(filepath.Join(golden, "dv-partitioned-with-checkpoint"))))
	table := open(t, localStore(t, dir), delta.Options{})
	before := rows(t, table.Snapshot(), nil)
	res, err := table.Optimize(t.Context(), delta.OptimizeOptions{})
	must(t, err)
	if res.FilesRemoved == 0 || table.Snapshot().NumFiles() != 10 {
		t.Errorf("%+v, %d files", res, table.Snapshot().NumFiles())
	}
	if d := cmp.Diff(before, rows(t, open(t, localStore(t, dir), delta.Options{}).Snapshot(), nil)); d != "" {
		t.Errorf("rows (-before +after):\n%s", d)
	}
	for a := range table.Snapshot().Files() {
		if n, ok := a.NumRecords(); !ok || n == 0 {
			t.Errorf("file %s has %d rows", a.Path, n)
		}
	}
	_, err = table.Restore(t.Context(), 10)
	must(t, err)
	old, err := delta.OpenAt(t.Context(), table.Store(), 10)
	must(t, err)
	if d := cmp.Diff(rows(t, old, nil), rows(t, table.Snapshot(), nil)); d != "" {
		t.Errorf("restored rows (-want +got):\n%s", d)
	}
	if os.Getenv("WEIR_PYTHON") != "" {
		if d := cmp.Diff(peerRows(t, table.Snapshot()), sortedRows(t, peer(t, "rows", dir))); d != "" {
			t.Errorf("rows (-weir +deltalake):\n%s", d)
		}
	}
}
