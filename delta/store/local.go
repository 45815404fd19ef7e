package store

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// tempPrefix and tempSuffix mark files that are being written. Listings skip them; readers of Delta tables do too, since
// their names begin with a dot.
const (
	tempPrefix = ".weir-"
	tempSuffix = ".tmp"
)

// Local is a directory of the local file system.
//
// Every object is written to a temporary file in its directory, synced, and given its name by link(2), which fails when
// the name is taken, or by rename(2) where replacing is allowed; then the directory is synced. So a crash leaves at worst
// a temporary file, which [Local.Sweep] removes.
type Local struct {
	root string // absolute
}

// NewLocal is the store below the directory root, which is made by the first write.
func NewLocal(root string) (*Local, error) {
	abs, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", root, err)
	}
	return &Local{root: abs}, nil
}

func (l *Local) String() string {
	return (&url.URL{Scheme: "file", Path: filepath.ToSlash(l.root)}).String()
}

func (l *Local) path(key string) string { return filepath.Join(l.root, filepath.FromSlash(key)) }

// check is the beginning of every operation on a key.
func check(ctx context.Context, op, key string) error {
	err := ctx.Err()
	if err == nil {
		err = CheckKey(key)
	}
	return wrap(op, key, err)
}

func wrap(op, key string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		err = ErrNotExist
	case errors.Is(err, fs.ErrExist):
		err = ErrExist
	}
	return &KeyError{Op: op, Key: key, Err: err}
}

// Get implements [Store].
func (l *Local) Get(ctx context.Context, key string) ([]byte, error) {
	if err := check(ctx, "get", key); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(l.path(key))
	if err != nil {
		return nil, wrap("get", key, err)
	}
	return data, nil
}

type localReader struct {
	*os.File
	size int64
}

// Size implements [Reader].
func (r localReader) Size() int64 { return r.size }

// Open implements [Store].
func (l *Local) Open(ctx context.Context, key string) (Reader, error) {
	if err := check(ctx, "open", key); err != nil {
		return nil, err
	}
	f, err := os.Open(l.path(key))
	if err != nil {
		return nil, wrap("open", key, err)
	}
	st, err := f.Stat()
	if err == nil && !st.Mode().IsRegular() {
		err = errors.New("not a regular file")
	}
	if err != nil {
		return nil, wrap("open", key, errors.Join(err, f.Close()))
	}
	return localReader{f, st.Size()}, nil
}

// Put implements [Store].
func (l *Local) Put(ctx context.Context, key string, data []byte) error {
	return l.write(ctx, "put", key, data, os.Rename)
}

// PutIfAbsent implements [Store]. When it returns ErrExist the entry that has the name is durable as well, so that
// nothing is built on an object that a power cut could take back.
func (l *Local) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	published := false
	err := l.write(ctx, "put if absent", key, data, func(temp, path string) error {
		err := linkAndUnlink(temp, path)
		published = err == nil || errors.Is(err, fs.ErrExist)
		return err
	})
	switch {
	case err == nil:
		return nil
	case !published:
		return errors.Join(err, ErrNotWritten)
	case errors.Is(err, ErrExist):
		if serr := syncDir(filepath.Dir(l.path(key))); serr != nil {
			return wrap("put if absent", key, serr)
		}
	}
	return err
}

// write writes a small object whole; publish gives the temporary file its name.
func (l *Local) write(ctx context.Context, op, key string, data []byte, publish func(temp, path string) error) error {
	if err := check(ctx, op, key); err != nil {
		return err
	}
	w, err := l.begin(key, publish)
	if err != nil {
		return wrap(op, key, err)
	}
	if _, err := w.f.Write(data); err != nil {
		return wrap(op, key, errors.Join(err, w.Abort()))
	}
	return wrap(op, key, w.finish())
}

// linkAndUnlink gives the file temp the name path unless that is taken. Once it has the name, that temp cannot be removed
// is no failure.
func linkAndUnlink(temp, path string) error {
	if err := os.Link(temp, path); err != nil {
		return err
	}
	_ = os.Remove(temp)
	return nil
}

// Create implements [Store].
func (l *Local) Create(ctx context.Context, key string) (Writer, error) {
	if err := check(ctx, "create", key); err != nil {
		return nil, err
	}
	w, err := l.begin(key, os.Rename)
	if err != nil {
		return nil, wrap("create", key, err)
	}
	return w, nil
}

type localWriter struct {
	f       *os.File // nil when closed or aborted
	key     string
	path    string // final
	publish func(temp, path string) error
}

// createFile makes a file that the table's other users may read, as far as the umask lets them.
func createFile(path string) (*os.File, error) {
	return os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o644)
}

// begin makes the temporary file of key, and its directories.
func (l *Local) begin(key string, publish func(temp, path string) error) (*localWriter, error) {
	path := l.path(key)
	temp := filepath.Join(filepath.Dir(path), tempPrefix+rand.Text()+tempSuffix)
	f, err := createFile(temp)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeDirs(filepath.Dir(path)); err != nil {
			return nil, err
		}
		f, err = createFile(temp)
	}
	if err != nil {
		return nil, err
	}
	return &localWriter{f: f, key: key, path: path, publish: publish}, nil
}

// Write implements [Writer].
func (w *localWriter) Write(p []byte) (int, error) {
	if w.f == nil {
		return 0, wrap("write", w.key, fs.ErrClosed)
	}
	n, err := w.f.Write(p)
	return n, wrap("write", w.key, err)
}

// Close implements [Writer].
func (w *localWriter) Close() error {
	if w.f == nil {
		return nil
	}
	return wrap("close", w.key, w.finish())
}

// finish syncs, publishes and syncs the directory.
func (w *localWriter) finish() error {
	f := w.f
	w.f = nil
	err := f.Sync()
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = w.publish(f.Name(), w.path)
	}
	if err != nil {
		_ = os.Remove(f.Name()) // a leftover is swept later
		return err
	}
	return syncDir(filepath.Dir(w.path))
}

// Abort implements [Writer].
func (w *localWriter) Abort() error {
	if w.f == nil {
		return nil
	}
	f := w.f
	w.f = nil
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// makeDirs makes dir and the missing directories above it, each durable in its parent.
func makeDirs(dir string) error {
	st, err := os.Stat(dir)
	switch {
	case err == nil && st.IsDir():
		return nil
	case err == nil:
		return fmt.Errorf("%s is not a directory", dir)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	parent := filepath.Dir(dir)
	if parent == dir {
		return err
	}
	if err := makeDirs(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(parent)
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return err
}

// List implements [Store].
func (l *Local) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		w := walk{ctx: ctx, root: l.root, prefix: prefix, startAfter: startAfter, yield: yield}
		dir := ""
		if i := strings.LastIndexByte(prefix, '/'); i >= 0 {
			dir = prefix[:i+1]
		}
		w.dir(dir)
	}
}

// walk visits a directory tree in the order of keys. In that order the directory a stands where its files do: as "a/",
// after a file "a-b".
type walk struct {
	ctx                context.Context
	root               string
	prefix, startAfter string
	yield              func(Info, error) bool
}

// dir visits the directory of keys that begin with dir, which is empty or ends in a slash. False ends the walk.
func (w *walk) dir(dir string) bool {
	if err := w.ctx.Err(); err != nil {
		return w.fail(dir, err)
	}
	entries, err := os.ReadDir(filepath.Join(w.root, filepath.FromSlash(dir)))
	if errors.Is(err, fs.ErrNotExist) {
		return true
	}
	if err != nil {
		return w.fail(dir, err)
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(sortName(a), sortName(b)) })
	for _, e := range entries {
		if !w.entry(dir, e) {
			return false
		}
	}
	return true
}

func sortName(e fs.DirEntry) string {
	if e.IsDir() {
		return e.Name() + "/"
	}
	return e.Name()
}

func (w *walk) entry(dir string, e fs.DirEntry) bool {
	key := dir + sortName(e)
	if e.IsDir() {
		within := strings.HasPrefix(key, w.prefix) || strings.HasPrefix(w.prefix, key)
		past := key <= w.startAfter && !strings.HasPrefix(w.startAfter, key)
		return !within || past || w.dir(key)
	}
	if !strings.HasPrefix(key, w.prefix) || key <= w.startAfter || isTemp(e.Name()) {
		return true
	}
	st, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return true // gone since the directory was read
	}
	if err != nil {
		return w.fail(key, err)
	}
	if !st.Mode().IsRegular() {
		return true
	}
	return w.yield(Info{Key: key, Size: st.Size(), Modified: st.ModTime()}, nil)
}

func (w *walk) fail(key string, err error) bool {
	w.yield(Info{}, wrap("list", key, err))
	return false
}

func isTemp(name string) bool {
	return strings.HasPrefix(name, tempPrefix) && strings.HasSuffix(name, tempSuffix)
}

// Delete implements [Store].
func (l *Local) Delete(ctx context.Context, key string) error {
	if err := check(ctx, "delete", key); err != nil {
		return err
	}
	if err := os.Remove(l.path(key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return wrap("delete", key, err)
	}
	return nil
}

// Sweep removes temporary files last written before the given time, which crashed writers left. It returns how many.
func (l *Local) Sweep(ctx context.Context, before time.Time) (int, error) {
	root, err := os.OpenRoot(l.root)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("sweep %s: %w", l, err)
	}
	swept := 0
	err = fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return cmp.Or(ctx.Err(), err)
		}
		if d.IsDir() || !isTemp(d.Name()) {
			return nil
		}
		st, err := d.Info()
		if err != nil || !st.ModTime().Before(before) {
			return nil //nolint:nilerr // gone meanwhile, or still being written
		}
		swept++
		return root.Remove(path)
	})
	if err = errors.Join(err, root.Close()); err != nil {
		return swept, fmt.Errorf("sweep %s: %w", l, err)
	}
	return swept, nil
}
