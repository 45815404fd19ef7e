package delta_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/delta/store"
)

func key(version int64) string { return fmt.Sprintf("_delta_log/%020d.json", version) }

func remove(path string) delta.Remove {
	return delta.Remove{Path: path, DataChange: true, Size: 10}
}

func TestCommitRebasesOverOthers(t *testing.T) {
	st := store.NewMemory()
	ours := create(t, st, delta.CreateOptions{})
	theirs := open(t, st, delta.Options{})
	commit(t, theirs, appending("a"))
	commit(t, theirs, appending("b"))

	var versions []int64
	res := commit(t, ours, func(ctx context.Context, s *delta.Snapshot) (*delta.Transaction, error) {
		versions = append(versions, s.Version())
		return appending("c")(ctx, s)
	})
	if res.Version != 3 || res.Attempts != 2 {
		t.Errorf("version %d after %d attempts, want 3 after 2", res.Version, res.Attempts)
	}
	if d := cmp.Diff([]int64{0, 2}, versions); d != "" {
		t.Errorf("build saw versions (-want +got):\n%s", d)
	}
	if d := cmp.Diff([]string{"a", "b", "c"}, paths(res.Snapshot)); d != "" {
		t.Errorf("files (-want +got):\n%s", d)
	}
}

func TestCommitGivesUp(t *testing.T) {
	st := store.NewMemory()
	create(t, st, delta.CreateOptions{})
	ours := open(t, st, delta.Options{MaxAttempts: 3})
	theirs := open(t, st, delta.Options{})
	n := 0
	_, err := ours.Commit(t.Context(), func(ctx context.Context, s *delta.Snapshot) (*delta.Transaction, error) {
		n++
		commit(t, theirs, appending(fmt.Sprint("theirs", n)))
		return appending("ours")(ctx, s)
	})
	c, ok := errors.AsType[*delta.ConflictError](err)
	if !ok || c.Kind != delta.ConflictAttempts || n != 3 || !delta.IsRetry(err) {
		t.Errorf("after %d attempts: %v", n, err)
	}
	if s, err := ours.Update(t.Context()); err != nil || s.Version() != 3 || s.Contains("ours") {
		t.Errorf("table at %v (%v)", s, err)
	}
}

// TestConflicts runs the protocol's rules: theirs is committed between the read and the commit of ours.
func TestConflicts(t *testing.T) {
	whole := delta.ReadSet{Whole: true}
	sees := func(path string) delta.ReadSet {
		return delta.ReadSet{Match: func(a *delta.Add) bool { return a.Path == path }}
	}
	read := func(paths ...string) delta.ReadSet {
		r := delta.ReadSet{Files: map[string]struct{}{}}
		for _, p := range paths {
			r.Files[p] = struct{}{}
		}
		return r
	}
	add := []delta.Add{file("new")}
	blind := delta.Transaction{Operation: "WRITE", BlindAppend: true, Adds: []delta.Add{file("theirs")}}
	informed := delta.Transaction{Operation: "WRITE", Adds: []delta.Add{file("theirs")}}
	deletes := delta.Transaction{Operation: "DELETE", Removes: []delta.Remove{remove("x")}}
	txn := delta.Transaction{Operation: "WRITE", BlindAppend: true, Txns: []delta.Txn{{AppID: "app", Version: 2}}}
	domain := delta.Transaction{Operation: "SET", Domains: []delta.DomainMetadata{{Domain: "d"}}}
	protocol := delta.Transaction{Operation: "UPGRADE", Protocol: &delta.Protocol{MinReaderVersion: 1, MinWriterVersion: 3}}
	for name, c := range map[string]struct {
		theirs, ours delta.Transaction
		want         delta.ConflictKind // empty: none
	}{
		"blind append after append":     {blind, delta.Transaction{BlindAppend: true, Adds: add}, ""},
		"blind append after delete":     {deletes, delta.Transaction{BlindAppend: true, Adds: add}, ""},
		"blind append after protocol":   {protocol, delta.Transaction{BlindAppend: true, Adds: add}, delta.ConflictProtocol},
		"whole table read, append":      {blind, delta.Transaction{Adds: add, Reads: whole}, delta.ConflictAppend},
		"whole table read, level lower": {blind, delta.Transaction{Adds: add, Reads: whole, Isolation: delta.WriteSerializable}, ""},
		"level lower, append not blind": {informed, delta.Transaction{Adds: add, Reads: whole, Isolation: delta.WriteSerializable}, delta.ConflictAppend},
		"snapshot isolation":            {informed, delta.Transaction{Adds: add, Reads: whole, Isolation: delta.SnapshotIsolation}, ""},
		"part read, append elsewhere":   {blind, delta.Transaction{Adds: add, Reads: sees("y")}, ""},
		"part read, append there":       {blind, delta.Transaction{Adds: add, Reads: sees("theirs")}, delta.ConflictAppend},
		"file read, removed":            {deletes, delta.Transaction{Adds: add, Reads: read("x")}, delta.ConflictDeleteRead},
		"other file read":               {deletes, delta.Transaction{Adds: add, Reads: read("y")}, ""},
		"removed by both":               {deletes, delta.Transaction{Removes: []delta.Remove{remove("x")}}, delta.ConflictDeleteDelete},
		"another removed":               {deletes, delta.Transaction{Removes: []delta.Remove{remove("y")}}, ""},
		"txn read":                      {txn, delta.Transaction{Adds: add, ReadTxns: []string{"app"}}, delta.ConflictTxn},
		"txn written by both":           {txn, delta.Transaction{Txns: []delta.Txn{{AppID: "app", Version: 3}}}, delta.ConflictTxn},
		"other txn":                     {txn, delta.Transaction{Adds: add, ReadTxns: []string{"other"}}, ""},
		"domain written by both":        {domain, delta.Transaction{Domains: []delta.DomainMetadata{{Domain: "d"}}}, delta.ConflictDomain},
		"other domain":                  {domain, delta.Transaction{Domains: []delta.DomainMetadata{{Domain: "e"}}}, ""},
		"metadata":                      {delta.Transaction{Operation: "ALTER", Metadata: &delta.Metadata{}}, delta.Transaction{BlindAppend: true, Adds: add}, delta.ConflictMetadata},
	} {
		t.Run(name, func(t *testing.T) {
			st := store.NewMemory()
			ours := create(t, st, delta.CreateOptions{})
			commit(t, ours, appending("x", "y"))
			c.ours.Operation, c.ours.Base = "WRITE", ours.Snapshot()
			if c.theirs.Metadata != nil {
				md := ours.Snapshot().Metadata()
				md.Description = "changed"
				c.theirs.Metadata = &md
			}
			commit(t, open(t, st, delta.Options{}), fixed(c.theirs))
			res, err := ours.Commit(t.Context(), fixed(c.ours))
			if c.want == "" {
				if err != nil || res.Version != 3 {
					t.Errorf("version %d, %v, want 3", res.Version, err)
				}
				return
			}
			conflict, ok := errors.AsType[*delta.ConflictError](err)
			if !ok || conflict.Kind != c.want || conflict.Version != 2 || !delta.IsRetry(err) {
				t.Errorf("got %v, want conflict %q with version 2", err, c.want)
			}
		})
	}
}

func TestCommitRefuses(t *testing.T) {
	md := func(change func(*delta.Metadata)) func(*delta.Snapshot) *delta.Transaction {
		return func(s *delta.Snapshot) *delta.Transaction {
			m := s.Metadata()
			change(&m)
			return &delta.Transaction{Operation: "ALTER", Metadata: &m}
		}
	}
	just := func(tx delta.Transaction) func(*delta.Snapshot) *delta.Transaction {
		return func(*delta.Snapshot) *delta.Transaction { return &tx }
	}
	two := []delta.Txn{{AppID: "a", Version: 1}, {AppID: "a", Version: 2}}
	for name, c := range map[string]struct {
		tx   func(*delta.Snapshot) *delta.Transaction
		want string
	}{
		"no operation":       {just(delta.Transaction{Adds: []delta.Add{file("a")}}), "no operation"},
		"two txns":           {just(delta.Transaction{Operation: "W", Txns: two}), "two versions"},
		"file twice":         {just(delta.Transaction{Operation: "W", Adds: []delta.Add{file("a"), file("a")}}), "touched twice"},
		"file twice encoded": {just(delta.Transaction{Operation: "W", Adds: []delta.Add{file("a b"), file("a%20b")}}), "touched twice"},
		"absolute path":      {just(delta.Transaction{Operation: "W", Adds: []delta.Add{file("s3://b/a")}}), "not the path of a file of the table"},
		"path upwards":       {just(delta.Transaction{Operation: "W", Adds: []delta.Add{file("../a")}}), "not the path of a file of the table"},
		"partition value":    {just(delta.Transaction{Operation: "W", Adds: []delta.Add{{Path: "a", PartitionValues: delta.PartitionValues{"x": "1"}}}}), "1 partition values for 0 columns"},
		"blind delete":       {just(delta.Transaction{Operation: "W", BlindAppend: true, Removes: []delta.Remove{remove("x")}}), "blind append"},
		"reserved info":      {just(delta.Transaction{Operation: "W", Info: map[string]any{"txnId": "x"}}), "commitInfo.txnId"},
		"info no json":       {just(delta.Transaction{Operation: "W", Info: map[string]any{"f": func() {}}}), "commitInfo.f"},
		"other id":           {md(func(m *delta.Metadata) { m.ID = "other" }), "id cannot change"},
		"partitioning":       {md(func(m *delta.Metadata) { m.PartitionColumns = []string{"id"} }), "partition columns cannot change"},
		"bad schema":         {md(func(m *delta.Metadata) { m.SchemaString = "{" }), "unexpected EOF"},
		"bad column":         {md(func(m *delta.Metadata) { m.SetSchema(structOf(field("x;", schema.Long))) }), "contains ';'"},
		"unknown type":       {md(func(m *delta.Metadata) { m.SchemaString = strings.Replace(m.SchemaString, "long", "variant", 1) }), "type variant"},
		"invariant": {md(func(m *delta.Metadata) {
			m.SchemaString = strings.Replace(m.SchemaString, `"metadata":{}`, `"metadata":{"delta.invariants":"x"}`, 1)
		}), "column invariant id"},
		"lower protocol": {just(delta.Transaction{Operation: "W", Protocol: &delta.Protocol{MinReaderVersion: 1, MinWriterVersion: 1}}), "cannot be lowered"},
		"unknown feature": {just(delta.Transaction{Operation: "W", Protocol: &delta.Protocol{
			MinReaderVersion: 1, MinWriterVersion: 7, WriterFeatures: []string{"rowTracking"},
		}}), "it uses rowTracking"},
	} {
		t.Run(name, func(t *testing.T) {
			table := create(t, store.NewMemory(), delta.CreateOptions{})
			commit(t, table, appending("x"))
			_, err := table.Commit(t.Context(), func(_ context.Context, s *delta.Snapshot) (*delta.Transaction, error) {
				return c.tx(s), nil
			})
			if !delta.IsReject(err) || delta.IsRetry(err) || delta.IsFatal(err) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want a refusal with %q", err, c.want)
			}
			if s, err := table.Update(t.Context()); err != nil || s.Version() != 1 {
				t.Errorf("the table moved: %v", err)
			}
		})
	}
}

func TestAppendOnly(t *testing.T) {
	table := create(t, store.NewMemory(), delta.CreateOptions{Configuration: map[string]string{"delta.appendOnly": "true"}})
	commit(t, table, appending("x"))
	gone := remove("x")
	if _, err := table.Commit(t.Context(), fixed(delta.Transaction{Operation: "DELETE", Removes: []delta.Remove{gone}})); !errors.Is(err, delta.ErrAppendOnly) {
		t.Errorf("delete: %v", err)
	}
	gone.DataChange = false
	moved := file("y")
	moved.DataChange = false
	commit(t, table, fixed(delta.Transaction{Operation: "OPTIMIZE", Removes: []delta.Remove{gone}, Adds: []delta.Add{moved}}))
}

func TestRemoveOfWhatIsGone(t *testing.T) {
	table := create(t, store.NewMemory(), delta.CreateOptions{})
	_, err := table.Commit(t.Context(), fixed(delta.Transaction{Operation: "DELETE", Removes: []delta.Remove{remove("never")}}))
	if c, ok := errors.AsType[*delta.ConflictError](err); !ok || c.Kind != delta.ConflictDeleteDelete || c.Subject != "never" {
		t.Errorf("got %v", err)
	}
}

func TestBuildErrorEndsCommit(t *testing.T) {
	table := create(t, store.NewMemory(), delta.CreateOptions{})
	mine := errors.New("mine")
	_, err := table.Commit(t.Context(), func(context.Context, *delta.Snapshot) (*delta.Transaction, error) { return nil, mine })
	if !errors.Is(err, mine) || table.Snapshot().Version() != 0 {
		t.Errorf("got %v at version %d", err, table.Snapshot().Version())
	}
}

// TestAmbiguousPut fails puts without saying whether they took place.
func TestAmbiguousPut(t *testing.T) {
	for name, c := range map[string]struct {
		put      func(n int) (write bool, err error)
		version  int64 // 0: unknown outcome
		attempts int
		puts     int
	}{
		"written, answer lost":              {func(int) (bool, error) { return true, errStore }, 1, 1, 2},
		"not written, then written":         {func(n int) (bool, error) { return n == 2, pick(n == 2, nil, errStore) }, 1, 1, 2},
		"not written, then answer lost":     {func(n int) (bool, error) { return n >= 2, errStore }, 1, 1, 3},
		"written, told it exists":           {func(int) (bool, error) { return true, store.ErrExist }, 1, 1, 1},
		"never written":                     {func(int) (bool, error) { return false, errStore }, 0, 0, 5},
		"certainly not written after doubt": {func(n int) (bool, error) { return false, pick(n == 1, errStore, store.ErrNotWritten) }, 0, 0, 5},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &faulty{Store: store.NewMemory()}
				table := create(t, f, delta.CreateOptions{})
				n := 0
				f.set(func(f *faulty) {
					f.puts = nil
					f.put = func(string, []byte) (bool, error) { n++; return c.put(n) }
				})
				res, err := table.Commit(t.Context(), appending("a"))
				if c.version > 0 {
					must(t, err)
					if res.Version != c.version || res.Attempts != c.attempts {
						t.Errorf("version %d after %d attempts", res.Version, res.Attempts)
					}
				} else {
					unknown, ok := errors.AsType[*delta.UnknownOutcomeError](err)
					if !ok || unknown.Version != 1 || unknown.TxnID == "" || !errors.Is(err, errStore) {
						t.Errorf("got %v, want an unknown outcome", err)
					}
				}
				if len(f.puts) != c.puts {
					t.Errorf("puts %q, want %d", f.puts, c.puts)
				}
				f.set(func(f *faulty) { f.put = nil })
				s, err := table.Update(t.Context())
				must(t, err)
				if want := c.version > 0; s.Contains("a") != want {
					t.Errorf("file there: %v", !want)
				}
			})
		})
	}
}

func pick(cond bool, yes, no error) error {
	if cond {
		return yes
	}
	return no
}

// TestVisibleIsNotDurable: an entry can be read, but the store never says that it will stay.
func TestVisibleIsNotDurable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &faulty{Store: store.NewMemory()}
		table := create(t, f, delta.CreateOptions{})
		n := 0
		f.set(func(f *faulty) {
			f.put = func(string, []byte) (bool, error) { n++; return n == 1, errStore }
		})
		_, err := table.Commit(t.Context(), appending("a"))
		if unknown, ok := errors.AsType[*delta.UnknownOutcomeError](err); !ok || unknown.Version != 1 {
			t.Errorf("got %v, want an unknown outcome", err)
		}
		f.set(func(f *faulty) { f.put = nil })
		if res := commit(t, table, appending("b")); res.Version != 2 || !res.Snapshot.Contains("a") {
			t.Errorf("the next commit is version %d and does not follow the entry that is there", res.Version)
		}
	})
}

// TestLateLoser is an answer lost while another writer takes the version.
func TestLateLoser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &faulty{Store: store.NewMemory()}
		ours := create(t, f, delta.CreateOptions{})
		theirs := open(t, f.Store, delta.Options{})
		f.set(func(f *faulty) {
			f.put = func(k string, _ []byte) (bool, error) {
				if k == key(1) {
					commit(t, theirs, appending("theirs"))
					return false, errStore
				}
				return true, nil
			}
		})
		res := commit(t, ours, appending("ours"))
		if res.Version != 2 || res.Attempts != 2 {
			t.Errorf("version %d after %d attempts", res.Version, res.Attempts)
		}
		if d := cmp.Diff([]string{"ours", "theirs"}, paths(res.Snapshot)); d != "" {
			t.Errorf("files (-want +got):\n%s", d)
		}
	})
}

func TestStoreRefusesPlainly(t *testing.T) {
	f := &faulty{Store: store.NewMemory()}
	table := create(t, f, delta.CreateOptions{})
	refused := errors.Join(errors.New("permission denied"), store.ErrNotWritten)
	f.set(func(f *faulty) { f.put = func(string, []byte) (bool, error) { return false, refused } })
	_, err := table.Commit(t.Context(), appending("a"))
	if _, unknown := errors.AsType[*delta.UnknownOutcomeError](err); unknown || !errors.Is(err, store.ErrNotWritten) || !delta.IsRetry(err) {
		t.Errorf("got %v, want the store's error", err)
	}
	f.set(func(f *faulty) { f.put = nil })
	commit(t, table, appending("a"))
}

// TestRecreatedTable replaces the log behind an open table.
func TestRecreatedTable(t *testing.T) {
	now := time.Now()
	clock := func() time.Time { return now }
	wipe := func(t *testing.T, st store.Store) {
		t.Helper()
		for info, err := range st.List(t.Context(), "", "") {
			must(t, err)
			must(t, st.Delete(t.Context(), info.Key))
		}
	}
	for name, c := range map[string]struct {
		then func(t *testing.T, st store.Store)
		want error // nil: the commit goes through
	}{
		"unchanged": {func(*testing.T, store.Store) {}, nil},
		"deleted":   {wipe, delta.ErrTableRecreated},
		"recreated": {func(t *testing.T, st store.Store) {
			t.Helper()
			wipe(t, st)
			create(t, st, delta.CreateOptions{})
		}, delta.ErrTableRecreated},
		"recreated and longer": {func(t *testing.T, st store.Store) {
			t.Helper()
			wipe(t, st)
			table := create(t, st, delta.CreateOptions{})
			for i := range 5 {
				commit(t, table, appending(strconv.Itoa(i)))
			}
		}, delta.ErrTableRecreated},
		"rolled back": {func(t *testing.T, st store.Store) {
			t.Helper()
			must(t, st.Delete(t.Context(), key(2)))
		}, delta.ErrTableRecreated},
		"cleaned up": {func(t *testing.T, st store.Store) {
			t.Helper()
			table := open(t, st, delta.Options{})
			commit(t, table, appending("later"))
			must(t, table.Checkpoint(t.Context()))
			for v := range int64(3) {
				must(t, st.Delete(t.Context(), key(v)))
			}
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			st := store.NewMemory()
			table := create(t, st, delta.CreateOptions{Options: delta.Options{Now: clock}})
			commit(t, table, appending("a"))
			commit(t, table, appending("b"))
			c.then(t, st)
			now = now.Add(61 * time.Second)
			before := []string{}
			for info, err := range st.List(t.Context(), "", "") {
				must(t, err)
				before = append(before, info.Key)
			}
			_, err := table.Commit(t.Context(), appending("c"))
			if c.want == nil {
				must(t, err)
				s, err := table.Update(t.Context())
				must(t, err)
				if !s.Contains("a") || !s.Contains("c") {
					t.Errorf("files %q", paths(s))
				}
				return
			}
			if !errors.Is(err, c.want) || !delta.IsFatal(err) || delta.IsRetry(err) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			after := []string{}
			for info, err := range st.List(t.Context(), "", "") {
				must(t, err)
				after = append(after, info.Key)
			}
			if d := cmp.Diff(before, after); d != "" {
				t.Errorf("something was written (-before +after):\n%s", d)
			}
			if _, err := table.Update(t.Context()); !errors.Is(err, c.want) {
				t.Errorf("update: %v", err)
			}
		})
	}
}

// TestSlowPut is a process that stands still in the middle of a put, while the table is recreated.
func TestSlowPut(t *testing.T) {
	now := time.Now()
	f := &faulty{Store: store.NewMemory()}
	table := create(t, f, delta.CreateOptions{Options: delta.Options{Now: func() time.Time { return now }}})
	commit(t, table, appending("a"))
	f.set(func(f *faulty) {
		f.put = func(string, []byte) (bool, error) {
			now = now.Add(time.Hour)
			must(t, f.Delete(t.Context(), key(1)))
			return true, nil
		}
	})
	if _, err := table.Commit(t.Context(), appending("b")); !errors.Is(err, delta.ErrTableRecreated) {
		t.Errorf("got %v", err)
	}
}

// TestUpdateErrorIsNotTheEnd: what cannot be read is an error, not the end of the log.
func TestUpdateErrorIsNotTheEnd(t *testing.T) {
	for name, c := range map[string]struct {
		entry string
		want  string
	}{
		"torn":             {`{"add":{"path":"x","pa`, "line 1"},
		"not an object":    {"{\"txn\":{\"appId\":\"a\",\"version\":1}}\nnull\n", "line 2"},
		"add without path": {`{"add":{"size":1}}`, "add without a path"},
		"bad schema":       {`{"metaData":{"id":"x","schemaString":"{"}}`, "schema"},
		"new feature":      {`{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":["warp"],"writerFeatures":["warp"]}}`, "uses warp"},
	} {
		t.Run(name, func(t *testing.T) {
			st := store.NewMemory()
			table := create(t, st, delta.CreateOptions{})
			must(t, st.Put(t.Context(), key(1), []byte(c.entry)))
			if _, err := table.Update(t.Context()); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("update: %v, want an error with %q", err, c.want)
			}
			if _, err := table.Commit(t.Context(), appending("a")); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("commit: %v, want an error with %q", err, c.want)
			}
			if _, err := delta.Open(t.Context(), st, delta.Options{}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("open: %v, want an error with %q", err, c.want)
			}
			if table.Snapshot().Version() != 0 {
				t.Error("the snapshot moved")
			}
		})
	}
}

func TestStoreErrorIsNotTheEnd(t *testing.T) {
	f := &faulty{Store: store.NewMemory()}
	table := create(t, f, delta.CreateOptions{})
	f.set(func(f *faulty) { f.open = func(string) error { return errStore } })
	if _, err := table.Update(t.Context()); !errors.Is(err, errStore) || !delta.IsRetry(err) {
		t.Errorf("update: %v", err)
	}
	if _, err := delta.Open(t.Context(), f, delta.Options{}); !errors.Is(err, errStore) {
		t.Errorf("open: %v", err)
	}
}

// TestManyWritersInOneProcess: half of them share a Table, half have their own.
func TestManyWritersInOneProcess(t *testing.T) {
	for name, st := range map[string]store.Store{"memory": store.NewMemory(), "local": localStore(t, t.TempDir())} {
		t.Run(name, func(t *testing.T) {
			const writers, each = 16, 25
			shared := create(t, st, delta.CreateOptions{})
			var wg sync.WaitGroup
			var got sync.Map // version → path
			for w := range writers {
				table := shared
				if w%2 == 0 {
					table = open(t, st, delta.Options{MaxAttempts: 10_000})
				}
				wg.Go(func() {
					for i := range each {
						path := fmt.Sprintf("w%d-%d", w, i)
						res, err := table.Commit(t.Context(), appending(path))
						if err != nil {
							t.Error(err)
							return
						}
						if other, taken := got.LoadOrStore(res.Version, path); taken {
							t.Errorf("version %d is %s and %v", res.Version, path, other)
						}
						if !res.Snapshot.Contains(path) {
							t.Errorf("%s is not in the snapshot of its commit", path)
						}
					}
				})
			}
			wg.Wait()
			s := open(t, st, delta.Options{}).Snapshot()
			if s.Version() != writers*each || s.NumFiles() != writers*each {
				t.Errorf("version %d with %d files, want %d of both", s.Version(), s.NumFiles(), writers*each)
			}
		})
	}
}
