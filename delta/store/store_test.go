package store_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/storetest"
)

func openLocal(t *testing.T, dir string) *store.Local {
	t.Helper()
	s, err := store.NewLocal(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestAcceptance(t *testing.T) {
	t.Run("local", func(t *testing.T) {
		storetest.Run(t, func(t *testing.T) store.Store {
			t.Helper()
			return openLocal(t, filepath.Join(t.TempDir(), "not", "there yet"))
		}, storetest.Options{Directories: true})
	})
	t.Run("memory", func(t *testing.T) {
		storetest.Run(t, func(*testing.T) store.Store { return store.NewMemory() }, storetest.Options{})
	})
}

func TestOpenURI(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for uri, want := range map[string]string{
		"file:///data/a%20b": "file:///data/a%20b",
		"/data/a b":          "file:///data/a%20b",
		"rel/x":              "file://" + filepath.ToSlash(dir) + "/rel/x",
	} {
		s, err := store.OpenURI(t.Context(), uri)
		if err != nil {
			t.Fatal(err)
		}
		if s.String() != want {
			t.Errorf("%s opens %s, want %s", uri, s, want)
		}
	}
	_, err := store.OpenURI(t.Context(), "s3://bucket/x")
	if e, ok := errors.AsType[*store.UnsupportedSchemeError](err); !ok || e.Scheme != "s3" {
		t.Errorf("s3: %v", err)
	}
	for _, uri := range []string{"", "file://host/x", "file:///%zz"} {
		if _, err := store.OpenURI(t.Context(), uri); err == nil {
			t.Errorf("%q is accepted", uri)
		}
	}
}

func TestLocalLeavesNoTemporaryFiles(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir)
	for range 2 { // the second one loses
		_ = s.PutIfAbsent(t.Context(), "log/0", []byte("x"))
	}
	w, err := s.Create(t.Context(), "log/f")
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Abort(); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 || entries[0].Name() != "0" {
		t.Errorf("directory holds %v", entries)
	}
}

func TestSweepRemovesWhatCrashesLeft(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir)
	if n, err := openLocal(t, filepath.Join(dir, "none")).Sweep(t.Context(), time.Now()); n != 0 || err != nil {
		t.Errorf("an absent root: %d, %v", n, err)
	}
	if err := s.Put(t.Context(), "log/0", nil); err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"log/1", "a/2"} { // writers that never come back
		if _, err := s.Create(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	old, err := filepath.Glob(filepath.Join(dir, "log", ".weir-*.tmp"))
	if err != nil || len(old) != 1 {
		t.Fatal(old, err)
	}
	past := time.Now().Add(-time.Hour)
	if err := os.Chtimes(old[0], past, past); err != nil {
		t.Fatal(err)
	}
	if n, err := s.Sweep(t.Context(), past.Add(time.Minute)); n != 1 || err != nil {
		t.Errorf("swept %d, %v, want only the old one", n, err)
	}
	if n, err := s.Sweep(t.Context(), time.Now().Add(time.Minute)); n != 1 || err != nil {
		t.Errorf("swept %d, %v, want the other one", n, err)
	}
	if _, err := s.Get(t.Context(), "log/0"); err != nil {
		t.Error(err)
	}
}

func TestLocalErrorsNameTheKey(t *testing.T) {
	dir := t.TempDir()
	s := openLocal(t, dir)
	if err := s.Put(t.Context(), "file", nil); err != nil {
		t.Fatal(err)
	}
	err := s.PutIfAbsent(t.Context(), "file/below", nil)
	if e, ok := errors.AsType[*store.KeyError](err); !ok || e.Key != "file/below" || errors.Is(err, store.ErrExist) {
		t.Errorf("a file as directory: %v", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Open(t.Context(), "d"); err == nil {
		t.Error("a directory opens as an object")
	}
}

// careless replaces objects that it should not.
type careless struct {
	store.Store
	told error
}

func (c careless) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	_, err := c.Get(ctx, key)
	taken := err == nil
	if err := c.Put(ctx, key, data); err != nil {
		return err
	}
	if taken {
		return c.told
	}
	return nil
}

func TestProbe(t *testing.T) {
	dir := t.TempDir()
	broken := errors.New("broken")
	for name, c := range map[string]struct {
		s      store.Store
		unsafe bool
		want   error
	}{
		"memory":              {store.NewMemory(), false, nil},
		"local":               {openLocal(t, dir), false, nil},
		"replaces":            {careless{store.NewMemory(), nil}, true, nil},
		"replaces and denies": {careless{store.NewMemory(), store.ErrExist}, true, nil},
		"fails":               {careless{store.NewMemory(), broken}, false, broken},
	} {
		t.Run(name, func(t *testing.T) {
			for _, below := range []string{"", "_delta_log"} {
				err := store.Probe(t.Context(), c.s, below)
				if _, unsafe := errors.AsType[*store.UnsafeError](err); unsafe != c.unsafe || !c.unsafe && !errors.Is(err, c.want) {
					t.Errorf("got %v", err)
				}
			}
			for info, err := range c.s.List(t.Context(), "", "") {
				t.Errorf("%s is left (%v)", info.Key, err)
			}
		})
	}
}
