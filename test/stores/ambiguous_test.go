package stores

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/test/peers"
)

// ambiguities are the faults after which nobody knows whether an object was written.
var ambiguities = map[string]peers.Fault{
	"lost answer": peers.LostAnswer, "late error": peers.LateError, "cut before": peers.CutBefore, "cut in the middle": peers.HalfRequest, "busy": peers.Busy,
}

// writes says whether a request writes an object whole.
func writes(r *http.Request) bool {
	return r.Method == http.MethodPut || r.Method == http.MethodPost && strings.HasPrefix(r.URL.Path, "/upload/")
}

// atFirst does fault to the first request that chosen says, after calling before.
func atFirst(chosen func(*http.Request) bool, before func(), fault peers.Fault) func(*http.Request) peers.Fault {
	var done atomic.Bool
	return func(r *http.Request) peers.Fault {
		if !chosen(r) || done.Swap(true) {
			return peers.Pass
		}
		before()
		return fault
	}
}

// ambiguousPut: the object is written and the answer lost, cut or late, or the request itself; and meanwhile another writes
// the same key. The put is settled by reading back: it succeeds, once; and when another was first, it says so.
func (f *front) ambiguousPut(t *testing.T) {
	direct, st := openStore(t, f.uri("ambiguous")), f.open(t, f.uri("ambiguous"), hasty)
	mine := []byte(`{"add":{"path":"mine"}}`)
	for name, fault := range ambiguities {
		for other, theirs := range map[string][]byte{"nobody else": nil, "another": []byte("theirs"), "another with the same bytes": mine} {
			t.Run(name+", "+other, func(t *testing.T) {
				key := name + "/" + other
				f.on(t, atFirst(writes, func() {
					if theirs != nil {
						must(t, direct.PutIfAbsent(t.Context(), key, theirs))
					}
				}, fault), nil)
				err, want := st.PutIfAbsent(t.Context(), key, mine), mine
				switch {
				case theirs == nil && err != nil:
					t.Error(err)
				case theirs != nil:
					want = theirs
					if !errors.Is(err, store.ErrExist) {
						t.Errorf("another was first: %v", err)
					}
				}
				if got, err := direct.Get(t.Context(), key); err != nil || !bytes.Equal(got, want) {
					t.Errorf("there is %q, %v; want %q", got, err, want)
				}
			})
		}
	}
}

// ambiguousCommit: the same for a commit: it is in the log once, as the version it is told; and if another's commit took its
// version, as the next one.
func (f *front) ambiguousCommit(t *testing.T) {
	uri := f.uri("commits")
	direct := openStore(t, uri)
	createTable(t, direct)
	open := func(st store.Store) *delta.Table {
		table, err := delta.Open(t.Context(), st, delta.Options{})
		must(t, err)
		t.Cleanup(func() { must(t, table.Close(context.WithoutCancel(t.Context()))) })
		return table
	}
	table, other, acked, want := open(f.open(t, uri, hasty)), open(direct), map[int64]string{}, int64(0)
	commit := func(table *delta.Table, path string) {
		res, err := table.Commit(t.Context(), appending(path))
		if err != nil {
			t.Errorf("%s: %v", path, err)
			return
		}
		acked[res.Version] = path
	}
	for name, fault := range ambiguities {
		for _, contended := range []bool{false, true} {
			path := strings.ReplaceAll(name, " ", "-")
			want++
			f.on(t, atFirst(writes, func() {
				if contended {
					want++
					path += "-contended"
					commit(other, path+"-theirs")
				}
			}, fault), nil)
			commit(table, path+map[bool]string{true: "-late", false: ""}[contended])
		}
	}
	f.on(t, nil, nil)
	if s := checkLog(t, direct, acked); s.Version() != want || len(acked) != int(want) {
		t.Errorf("version %d, %d acknowledged; want %d", s.Version(), len(acked), want)
	}
}

// slowPut: a put that takes longer than it may is sent again; what the slow one does later changes nothing.
func (f *front) slowPut(t *testing.T) {
	o := hasty
	o.Timeout = 300 * time.Millisecond
	direct, st := openStore(t, f.uri("slow")), f.open(t, f.uri("slow"), o)
	t.Run("its answer comes late", func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		var done atomic.Bool
		f.on(t, nil, func(r *http.Request) {
			if writes(r) && !done.Swap(true) {
				<-release
			}
		})
		must(t, st.PutIfAbsent(t.Context(), "answer", []byte("x")))
	})
	t.Run("it comes late", func(t *testing.T) {
		release, arrived := make(chan struct{}), make(chan struct{}, 2)
		f.on(t, atFirst(writes, func() { <-release }, peers.Pass), func(r *http.Request) {
			if writes(r) {
				arrived <- struct{}{}
			}
		})
		err := st.PutIfAbsent(t.Context(), "request", []byte("x"))
		close(release)
		must(t, err)
		<-arrived
		<-arrived
		if got, err := direct.Get(t.Context(), "request"); err != nil || string(got) != "x" {
			t.Errorf("%q, %v", got, err)
		}
	})
	t.Run("it comes when nobody waits any more", func(t *testing.T) {
		o.Attempts = 2
		st, release, arrived := f.open(t, f.uri("slow"), o), make(chan struct{}), make(chan struct{}, 2)
		f.on(t, func(r *http.Request) peers.Fault {
			if writes(r) {
				<-release
			}
			return peers.Pass
		}, func(r *http.Request) {
			if writes(r) {
				arrived <- struct{}{}
			}
		})
		err := st.PutIfAbsent(t.Context(), "never", []byte("x"))
		if err == nil || errors.Is(err, store.ErrNotWritten) || errors.Is(err, store.ErrExist) || store.ClassOf(err) != store.Retry || !strings.Contains(err.Error(), "no answer in time") {
			t.Errorf("its outcome is unknown: %v", err)
		}
		close(release)
		<-arrived
		<-arrived
		if got, err := direct.Get(t.Context(), "never"); err != nil || string(got) != "x" {
			t.Errorf("%q, %v", got, err)
		}
	})
}
