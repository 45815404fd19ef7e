package delta_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/store"
)

// held are puts that were given up by their caller and have not been carried out, yet.
type held struct {
	f    *faulty
	puts []struct {
		key  string
		data []byte
	}
}

// hold makes puts fail without an answer, and keeps them.
func (h *held) hold(key string, data []byte) (bool, error) {
	h.puts = append(h.puts, struct {
		key  string
		data []byte
	}{key, data})
	return false, errStore
}

// land carries out the nth put that is held. Whether it is too late is the store's affair.
func (h *held) land(t *testing.T, n int) {
	t.Helper()
	if err := h.f.Store.PutIfAbsent(t.Context(), h.puts[n].key, h.puts[n].data); err != nil && !errors.Is(err, store.ErrExist) {
		t.Fatal(err)
	}
}

// pack replaces all files of the table by one, as OPTIMIZE does.
func pack(t *testing.T, st store.Store, to string) {
	t.Helper()
	table := open(t, st, delta.Options{})
	s := table.Snapshot()
	rows, _ := s.NumRecords()
	tx := delta.Transaction{Operation: "OPTIMIZE", Base: s, Isolation: delta.SnapshotIsolation}
	for _, p := range paths(s) {
		tx.Removes = append(tx.Removes, delta.Remove{Path: p})
	}
	add := file(to)
	add.DataChange, add.Stats = false, fmt.Sprintf(`{"numRecords":%d}`, rows)
	tx.Adds = []delta.Add{add}
	commit(t, table, fixed(tx))
}

// TestCommitOnce: the first call's put is given up. What becomes of it before and while the work is tried again must not
// matter, also when the file has left the table by then.
func TestCommitOnce(t *testing.T) {
	for name, c := range map[string]struct {
		before func(t *testing.T, h *held) // the second call
		during func(t *testing.T, h *held) // its first put
		calls  int                         // that fail; 0: one
		landed bool                        // the last call only finds an entry that is there
	}{
		"it is never carried out":             {},
		"it lands before the work is retried": {before: func(t *testing.T, h *held) { t.Helper(); h.land(t, 0) }, landed: true},
		"it lands and is packed": {before: func(t *testing.T, h *held) {
			t.Helper()
			h.land(t, 0)
			pack(t, h.f.Store, "packed")
		}, landed: true},
		"it lands between the retry's look and its put": {during: func(t *testing.T, h *held) { t.Helper(); h.land(t, 0) }, landed: true},
		"it lands and is packed between the retry's look and its put": {during: func(t *testing.T, h *held) {
			t.Helper()
			h.land(t, 0)
			pack(t, h.f.Store, "packed")
		}, landed: true},
		"the second of three lands and is packed": {calls: 3, before: func(t *testing.T, h *held) {
			t.Helper()
			h.land(t, len(h.puts)/2)
			pack(t, h.f.Store, "packed")
		}, landed: true},
		"another writer is first": {before: func(t *testing.T, h *held) {
			t.Helper()
			commit(t, open(t, h.f.Store, delta.Options{}), appending("theirs"))
			h.land(t, 0)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := &faulty{Store: store.NewMemory()}
				h := &held{f: f}
				table := create(t, f, delta.CreateOptions{})
				f.set(func(f *faulty) { f.put = h.hold })
				var work delta.Attempts
				for range max(c.calls, 1) {
					_, err := table.CommitOnce(t.Context(), &work, appending("a"))
					if _, ok := errors.AsType[*delta.UnknownOutcomeError](err); !ok || !work.Open() {
						t.Fatalf("got %v, want an unknown outcome", err)
					}
				}
				if c.before != nil {
					c.before(t, h)
				}
				h.beforeNextPut(t, c.during)
				res, err := table.CommitOnce(t.Context(), &work, appending("a"))
				must(t, err)
				if c.landed != (res.Attempts == 0) {
					t.Errorf("built %d times", res.Attempts)
				}
				if n := countAdds(t, f, "a"); n != 1 {
					t.Errorf("the log adds the file %d times", n)
				}
				s, err := table.Update(t.Context())
				must(t, err)
				if s.Contains("a") == s.Contains("packed") {
					t.Errorf("files %q", paths(s))
				}
			})
		})
	}
}

// countAdds counts the actions of the log that add a file.
func countAdds(t *testing.T, st store.Store, path string) int {
	t.Helper()
	n := 0
	for info, err := range st.List(t.Context(), "_delta_log/", "") {
		must(t, err)
		if strings.HasSuffix(info.Key, ".json") {
			data, err := st.Get(t.Context(), info.Key)
			must(t, err)
			n += strings.Count(string(data), fmt.Sprintf(`{"add":{"path":%q`, path))
		}
	}
	return n
}

// TestCommitOnceCannotTell: what the log does not show is not guessed.
func TestCommitOnceCannotTell(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, h *held){
		"the entry was cleaned up": func(t *testing.T, h *held) {
			t.Helper()
			h.land(t, 0)
			table := open(t, h.f.Store, delta.Options{})
			commit(t, table, appending("theirs"))
			must(t, table.Checkpoint(t.Context()))
			must(t, h.f.Store.Delete(t.Context(), key(0)))
			must(t, h.f.Store.Delete(t.Context(), key(1)))
		},
		"the entry can be read, but will not stay": func(t *testing.T, h *held) {
			t.Helper()
			h.land(t, 0)
			h.f.set(func(f *faulty) { f.put = func(string, []byte) (bool, error) { return false, errStore } })
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := &faulty{Store: store.NewMemory()}
			h := &held{f: f}
			table := create(t, f, delta.CreateOptions{})
			f.set(func(f *faulty) { f.put = h.hold })
			var work delta.Attempts
			_, err := table.CommitOnce(t.Context(), &work, appending("a"))
			if !work.Open() {
				t.Fatal(err)
			}
			f.set(func(f *faulty) { f.put = nil })
			spoil(t, h)
			_, err = table.CommitOnce(t.Context(), &work, appending("a"))
			if unknown, ok := errors.AsType[*delta.UnknownOutcomeError](err); !ok || unknown.Version != 1 || !work.Open() {
				t.Errorf("got %v, want an unknown outcome", err)
			}
			if n := countAdds(t, f, "a"); n > 1 {
				t.Errorf("the log adds the file %d times", n)
			}
		})
	}
}

// TestCommitOnceAmongFaults commits work after work through a store that loses puts and answers and carries some out late,
// beside a writer that packs whatever there is. Each row is there once in the end.
func TestCommitOnceAmongFaults(t *testing.T) {
	for seed := range uint64(40) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 5))
				f := &faulty{Store: store.NewMemory()}
				h := &held{f: f}
				table := create(t, f, delta.CreateOptions{Options: delta.Options{CheckpointEvery: 1 << 30}})
				packs, found := 0, 0
				mischief := func() {
					if len(h.puts) > 0 && r.IntN(2) == 0 {
						h.land(t, r.IntN(len(h.puts)))
					}
					if r.IntN(2) == 0 {
						packs++
						pack(t, f.Store, fmt.Sprintf("packed-%d", packs))
					}
				}
				f.put = func(key string, data []byte) (bool, error) {
					switch r.IntN(6) {
					case 0, 1, 2:
						return h.hold(key, data)
					case 3:
						return true, errStore
					case 4:
						mischief()
					}
					return true, nil
				}
				const works = 12
				for n := range works {
					var work delta.Attempts
					for {
						res, err := table.CommitOnce(t.Context(), &work, appending(fmt.Sprintf("file-%d", n)))
						if err == nil {
							if res.Attempts == 0 {
								found++
							}
							break
						}
						if !delta.IsRetry(err) {
							t.Fatal(err)
						}
						mischief()
					}
				}
				f.set(func(f *faulty) { f.put = nil })
				s, err := table.Update(t.Context())
				must(t, err)
				if rows, _ := s.NumRecords(); rows != works {
					t.Errorf("%d rows of %d works in %q", rows, works, paths(s))
				}
				t.Logf("version %d: %d puts held, %d times packed, %d works found in the log", s.Version(), len(h.puts), packs, found)
			})
		})
	}
}

// beforeNextPut calls what, which may be nil, before the next put is done.
func (h *held) beforeNextPut(t *testing.T, what func(*testing.T, *held)) {
	t.Helper()
	h.f.set(func(f *faulty) {
		f.put = func(string, []byte) (bool, error) {
			f.set(func(f *faulty) { f.put = nil })
			if what != nil {
				what(t, h)
			}
			return true, nil
		}
	})
}
