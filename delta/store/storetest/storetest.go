// Package storetest is the acceptance suite that every backend of package store passes.
package storetest

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta/store"
)

// Options say what a backend cannot do.
type Options struct {
	Directories bool // keys are files: none can be the beginning of another's path
}

// Run tests the backend that open makes: an empty store at each call, which open cleans up with the test.
func Run(t *testing.T, open func(t *testing.T) store.Store, o Options) {
	t.Helper()
	b := backend(open)
	t.Run("absent objects", b.absent)
	t.Run("put and get", b.putGet)
	t.Run("readers keep their bytes", b.readerKeeps)
	t.Run("readers never mix", b.readerNeverMixes)
	t.Run("put if absent", b.putIfAbsent)
	t.Run("put if absent races", b.putIfAbsentRaces)
	t.Run("streamed objects", b.streamed)
	t.Run("aborted objects", b.aborted)
	t.Run("large objects", b.large)
	t.Run("list", func(t *testing.T) { b.list(t, o) })
	t.Run("many keys", b.manyKeys)
	t.Run("list against a model", b.listModel)
	t.Run("delete", b.deletes)
	t.Run("keys", b.keys)
	t.Run("cancelled context", b.cancelled)
}

// backend opens an empty store.
type backend func(t *testing.T) store.Store

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t *testing.T, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("got error %v, want %v", err, target)
	}
}

func content(t *testing.T, s store.Store, key, data string) {
	t.Helper()
	got, err := s.Get(t.Context(), key)
	must(t, err)
	if string(got) != data {
		t.Fatalf("%s holds %q, want %q", key, got, data)
	}
}

func listed(ctx context.Context, s store.Store, prefix, after string) ([]string, error) {
	var names []string
	for info, err := range s.List(ctx, prefix, after) {
		if err != nil {
			return nil, err
		}
		names = append(names, info.Key)
	}
	return names, nil
}

func (open backend) absent(t *testing.T) {
	s := open(t)
	_, err := s.Get(t.Context(), "a/b")
	wantErr(t, err, store.ErrNotExist)
	_, err = s.Open(t.Context(), "a/b")
	wantErr(t, err, store.ErrNotExist)
	must(t, s.Delete(t.Context(), "a/b"))
	got, err := listed(t.Context(), s, "", "")
	must(t, err)
	if len(got) != 0 {
		t.Errorf("an empty store lists %q", got)
	}
	if s.String() == "" {
		t.Error("the store has no name")
	}
}

func (open backend) putGet(t *testing.T) {
	s := open(t)
	ctx := t.Context()
	must(t, s.Put(ctx, "dir/a", []byte("one")))
	content(t, s, "dir/a", "one")
	must(t, s.Put(ctx, "dir/a", []byte("three")))
	content(t, s, "dir/a", "three")
	must(t, s.Put(ctx, "empty", nil))
	content(t, s, "empty", "")

	r, err := s.Open(ctx, "dir/a")
	must(t, err)
	defer func() { must(t, r.Close()) }()
	if r.Size() != 5 {
		t.Errorf("size %d, want 5", r.Size())
	}
	buf := make([]byte, 3)
	if _, err := r.ReadAt(buf, 1); err != nil || string(buf) != "hre" {
		t.Errorf("range 1..4 is %q (%v)", buf, err)
	}
	if n, err := r.ReadAt(buf, 3); n != 2 || !errors.Is(err, io.EOF) {
		t.Errorf("a range over the end gives %d bytes and %v, want 2 and EOF", n, err)
	}
}

func (open backend) readerKeeps(t *testing.T) {
	s := open(t)
	ctx := t.Context()
	must(t, s.Put(ctx, "a", []byte("old")))
	r, err := s.Open(ctx, "a")
	must(t, err)
	defer func() { must(t, r.Close()) }()
	must(t, s.Put(ctx, "a", []byte("newer")))
	got, err := io.ReadAll(io.NewSectionReader(r, 0, r.Size()))
	must(t, err)
	if string(got) != "old" {
		t.Errorf("an open reader sees %q, want what was there when it was opened", got)
	}
}

// readerNeverMixes replaces an object that is too large to be read at once while it is open.
func (open backend) readerNeverMixes(t *testing.T) {
	s := open(t)
	ctx := t.Context()
	was, is := bytes.Repeat([]byte("old"), 1<<20), bytes.Repeat([]byte("new"), 1<<20)
	must(t, s.Put(ctx, "a", was))
	r, err := s.Open(ctx, "a")
	must(t, err)
	defer func() { must(t, r.Close()) }()
	must(t, s.Put(ctx, "a", is))
	got := make([]byte, len(was))
	if n, err := r.ReadAt(got, 0); err == nil && !bytes.Equal(got, was) {
		t.Errorf("an open reader sees what replaced its object in %d bytes, and no error", n)
	}
	content(t, s, "a", string(is))
}

func (open backend) large(t *testing.T) {
	s := open(t)
	ctx := t.Context()
	w, err := s.Create(ctx, "data/large")
	must(t, err)
	r := rand.New(rand.NewPCG(1, 2))
	want := make([]byte, 21<<20+12_345) // several parts of any backend, the last one short
	for i := 0; i < len(want); i += 8 {
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], r.Uint64())
		copy(want[i:], b[:])
	}
	for rest := want; len(rest) > 0; {
		n := min(len(rest), 1+r.IntN(3<<20))
		_, err := w.Write(rest[:n])
		must(t, err)
		rest = rest[n:]
	}
	must(t, w.Close())
	reader, err := s.Open(ctx, "data/large")
	must(t, err)
	defer func() { must(t, reader.Close()) }()
	if reader.Size() != int64(len(want)) {
		t.Fatalf("size %d, want %d", reader.Size(), len(want))
	}
	for range 20 {
		from := r.IntN(len(want))
		got := make([]byte, min(r.IntN(1<<20), len(want)-from))
		_, err := reader.ReadAt(got, int64(from))
		must(t, err)
		if !bytes.Equal(got, want[from:from+len(got)]) {
			t.Fatalf("bytes %d to %d are wrong", from, from+len(got))
		}
	}
	got, err := s.Get(ctx, "data/large")
	must(t, err)
	if !bytes.Equal(got, want) {
		t.Error("the object came back changed")
	}
	aborted, err := s.Create(ctx, "data/aborted")
	must(t, err)
	_, err = aborted.Write(want)
	must(t, err)
	must(t, aborted.Abort())
	_, err = s.Get(ctx, "data/aborted")
	wantErr(t, err, store.ErrNotExist)
}

// manyKeys lists more than a page of any service holds.
func (open backend) manyKeys(t *testing.T) {
	s := open(t)
	ctx := t.Context()
	const n = 1_234
	var group errgroup.Group
	group.SetLimit(8)
	for i := range n {
		group.Go(func() error { return s.Put(ctx, fmt.Sprintf("log/%06d", i), []byte("x")) })
	}
	must(t, group.Wait())
	got, err := listed(ctx, s, "log/", "log/000009")
	must(t, err)
	if len(got) != n-10 || got[0] != "log/000010" || got[len(got)-1] != fmt.Sprintf("log/%06d", n-1) {
		t.Errorf("%d keys from %v", len(got), got[:min(2, len(got))])
	}
}

func (open backend) putIfAbsent(t *testing.T) {
	s := open(t)
	ctx := t.Context()
	data := []byte("mine")
	must(t, s.PutIfAbsent(ctx, "log/0", data))
	data[0] = 'X' // the store keeps no reference
	wantErr(t, s.PutIfAbsent(ctx, "log/0", []byte("theirs")), store.ErrExist)
	content(t, s, "log/0", "mine")
	must(t, s.Put(ctx, "log/1", []byte("by put")))
	wantErr(t, s.PutIfAbsent(ctx, "log/1", []byte("late")), store.ErrExist)
	content(t, s, "log/1", "by put")
	must(t, s.Delete(ctx, "log/1"))
	must(t, s.PutIfAbsent(ctx, "log/1", []byte("again")))
	content(t, s, "log/1", "again")
	got, err := listed(ctx, s, "log/", "")
	must(t, err)
	if d := cmp.Diff([]string{"log/0", "log/1"}, got); d != "" {
		t.Errorf("lost puts left something behind (-want +got):\n%s", d)
	}
}

func (open backend) putIfAbsentRaces(t *testing.T) {
	s := open(t)
	const rounds, racers = 30, 16
	for round := range rounds {
		key := fmt.Sprintf("log/%d", round)
		errs := make([]error, racers)
		var wg sync.WaitGroup
		for i := range racers {
			wg.Go(func() { errs[i] = s.PutIfAbsent(t.Context(), key, fmt.Appendf(nil, "racer %d", i)) })
		}
		wg.Wait()
		won := -1
		for i, err := range errs {
			if err == nil && won >= 0 {
				t.Fatalf("round %d: %d and %d both won", round, won, i)
			}
			if err == nil {
				won = i
			} else {
				wantErr(t, err, store.ErrExist)
			}
		}
		if won < 0 {
			t.Fatalf("round %d: nobody won", round)
		}
		content(t, s, key, fmt.Sprintf("racer %d", won))
	}
}

func (open backend) streamed(t *testing.T) {
	s := open(t)
	ctx := t.Context()
	w, err := s.Create(ctx, "data/x=1/f")
	must(t, err)
	chunk := bytes.Repeat([]byte("0123456789"), 10_000)
	for range 3 {
		n, err := w.Write(chunk)
		must(t, err)
		if n != len(chunk) {
			t.Fatalf("wrote %d of %d bytes", n, len(chunk))
		}
	}
	_, err = s.Get(ctx, "data/x=1/f")
	wantErr(t, err, store.ErrNotExist)
	got, err := listed(ctx, s, "", "")
	must(t, err)
	if len(got) != 0 {
		t.Errorf("an object being written is listed: %q", got)
	}
	must(t, w.Close())
	content(t, s, "data/x=1/f", strings.Repeat(string(chunk), 3))
	must(t, w.Close())
	must(t, w.Abort())
	content(t, s, "data/x=1/f", strings.Repeat(string(chunk), 3))
	if _, err := w.Write(chunk); err == nil {
		t.Error("a closed writer takes bytes")
	}
}

func (open backend) aborted(t *testing.T) {
	s := open(t)
	ctx := t.Context()
	w, err := s.Create(ctx, "f")
	must(t, err)
	_, err = w.Write([]byte("half"))
	must(t, err)
	must(t, w.Abort())
	must(t, w.Close())
	_, err = s.Get(ctx, "f")
	wantErr(t, err, store.ErrNotExist)
}

func (open backend) list(t *testing.T, o Options) {
	s := open(t)
	ctx := t.Context()
	keys := []string{"a", "a-b/c", "a/b", "a/b0", "a/c/d", "a0", "b", "é/ü%20 =:"}
	if o.Directories {
		keys = slices.Delete(keys, 0, 1) // a file cannot be a directory as well
	}
	for i, key := range keys {
		must(t, s.Put(ctx, key, make([]byte, i)))
	}
	all, err := listed(ctx, s, "", "")
	must(t, err)
	if d := cmp.Diff(slices.Sorted(slices.Values(keys)), all); d != "" {
		t.Errorf("all (-want +got):\n%s", d)
	}
	for _, c := range []struct {
		prefix, after string
		want          []string
	}{
		{"a/", "", []string{"a/b", "a/b0", "a/c/d"}},
		{"a/b", "", []string{"a/b", "a/b0"}},
		{"a/", "a/b", []string{"a/b0", "a/c/d"}},
		{"a/", "a/bz", []string{"a/c/d"}},
		{"a/", "a/c", []string{"a/c/d"}},
		{"a/", "b", nil},
		{"zz", "", nil},
		{"a/c/d", "", []string{"a/c/d"}},
		{"nowhere/at/all", "", nil},
	} {
		got, err := listed(ctx, s, c.prefix, c.after)
		must(t, err)
		if d := cmp.Diff(c.want, got); d != "" {
			t.Errorf("prefix %q after %q (-want +got):\n%s", c.prefix, c.after, d)
		}
	}
	for info, err := range s.List(ctx, "b", "") {
		must(t, err)
		if info.Modified.IsZero() || info.Size != int64(slices.Index(keys, "b")) {
			t.Errorf("info %+v", info)
		}
	}
	for _, err := range s.List(ctx, "", "") {
		must(t, err)
		break // an iteration may be left
	}
}

// listModel compares listings with a sorted slice.
func (open backend) listModel(t *testing.T) {
	s := open(t)
	ctx := t.Context()
	have := map[string]bool{}
	dirs := rapid.SliceOfN(rapid.StringMatching(`[a0_.%-]{1,2}d/`), 0, 2) // directories end in d, files in x:
	name := rapid.StringMatching(`[a0_.%-]{1,2}x`)                        // none is both
	key := rapid.Custom(func(t *rapid.T) string {
		return "r/" + strings.Join(dirs.Draw(t, "dirs"), "") + name.Draw(t, "name")
	})
	rapid.Check(t, func(t *rapid.T) {
		k := key.Draw(t, "key")
		if err := s.Put(ctx, k, nil); err != nil {
			t.Fatal(err)
		}
		have[k] = true
		prefix := k[:rapid.IntRange(0, len(k)).Draw(t, "prefix")]
		after := rapid.OneOf(key, rapid.Just("")).Draw(t, "after")
		var expect []string
		for k := range have {
			if strings.HasPrefix(k, prefix) && k > after {
				expect = append(expect, k)
			}
		}
		slices.Sort(expect)
		got, err := listed(ctx, s, prefix, after)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(expect, got); d != "" {
			t.Fatalf("prefix %q after %q (-want +got):\n%s", prefix, after, d)
		}
	})
}

func (open backend) deletes(t *testing.T) {
	s := open(t)
	ctx := t.Context()
	must(t, s.Put(ctx, "d/a", []byte("x")))
	must(t, s.Put(ctx, "d/b", []byte("y")))
	must(t, s.Delete(ctx, "d/a"))
	must(t, s.Delete(ctx, "d/a"))
	_, err := s.Get(ctx, "d/a")
	wantErr(t, err, store.ErrNotExist)
	content(t, s, "d/b", "y")
}

func (open backend) keys(t *testing.T) {
	s := open(t)
	ctx := t.Context()
	for _, key := range []string{"", "/a", "a//b", "../a", "a/../../b", "a/.", "a/", "a\x00b", "\xff", strings.Repeat("k", 2000)} {
		_, err := s.Get(ctx, key)
		wantErr(t, err, store.ErrKey)
		wantErr(t, s.Put(ctx, key, nil), store.ErrKey)
		wantErr(t, s.PutIfAbsent(ctx, key, nil), store.ErrKey)
		wantErr(t, s.Delete(ctx, key), store.ErrKey)
		_, err = s.Create(ctx, key)
		wantErr(t, err, store.ErrKey)
		_, err = s.Open(ctx, key)
		wantErr(t, err, store.ErrKey)
	}
	for _, key := range []string{"a b", "p=a%2Fb/f", "日本/ü", "c:d", "#?&"} {
		must(t, s.Put(ctx, key, []byte(key)))
		content(t, s, key, key)
	}
}

func (open backend) cancelled(t *testing.T) {
	s := open(t)
	must(t, s.Put(t.Context(), "a", []byte("x")))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(ctx, "a")
	wantErr(t, err, context.Canceled)
	wantErr(t, s.Put(ctx, "b", nil), context.Canceled)
	err = s.PutIfAbsent(ctx, "b", nil)
	wantErr(t, err, context.Canceled)
	wantErr(t, err, store.ErrNotWritten)
	wantErr(t, s.Delete(ctx, "a"), context.Canceled)
	_, err = listed(ctx, s, "", "")
	wantErr(t, err, context.Canceled)
	content(t, s, "a", "x")
}
