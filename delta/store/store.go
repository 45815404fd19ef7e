// Package store is where a table lives: an object store that can put an object only if it is absent.
//
// A key is a slash-separated path below the root of the store, such as _delta_log/00000000000000000000.json. Every
// backend passes the acceptance suite of the package storetest.
package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"path/filepath"
	"strings"
	"time"
	"unicode/utf8"
)

// Store holds the objects of one table. Its methods may be called concurrently.
//
// Unless said otherwise an error leaves it open whether the operation took place.
type Store interface {
	// Get returns the whole object. Error: ErrNotExist.
	Get(ctx context.Context, key string) ([]byte, error)
	// Open opens an object for ranged reads. Error: ErrNotExist.
	Open(ctx context.Context, key string) (Reader, error)
	// Put writes an object durably, replacing an earlier one; a reader sees the old or the new one whole.
	Put(ctx context.Context, key string, data []byte) error
	// PutIfAbsent writes an object durably unless the key is taken, by whomever; of concurrent callers, in any process,
	// one succeeds. ErrExist: the key was taken, by an object that is there to stay, and nothing was written. ErrNotWritten: nothing was written for another
	// reason. Any other error may come after the object was written.
	PutIfAbsent(ctx context.Context, key string, data []byte) error
	// Create begins a streamed object, which replaces an earlier one when it is closed.
	Create(ctx context.Context, key string) (Writer, error)
	// List yields the objects whose key begins with prefix and sorts after startAfter, in the order of the keys' bytes.
	// Objects that come or go meanwhile may be missed. Iteration ends after the first error.
	List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error]
	// Delete removes an object; that it is absent is no error.
	Delete(ctx context.Context, key string) error
	// String names the store in messages, as a URI without credentials.
	String() string
}

// Reader reads an object as it was when opened. If that is replaced or deleted meanwhile, reading goes on as if it were
// not, or fails; what is read is never of two objects.
type Reader interface {
	io.ReaderAt
	io.Closer
	Size() int64 // in bytes
}

// Writer writes a streamed object. One of Close and Abort must be called; after either, both do nothing.
type Writer interface {
	io.Writer
	// Close makes the object durable and visible. On an error the object may be visible, but is not known to be durable.
	Close() error
	// Abort drops what was written.
	Abort() error
}

// Info describes a listed object.
type Info struct {
	Key      string
	Size     int64 // bytes
	Modified time.Time
}

var (
	// ErrNotExist says that there is no object of that key.
	ErrNotExist = errors.New("object does not exist")
	// ErrExist says that the key is taken.
	ErrExist = errors.New("object exists")
	// ErrNotWritten is wrapped by errors of PutIfAbsent after which the object certainly was not and will not be written
	// by that call.
	ErrNotWritten = errors.New("not written")
	// ErrKey refuses a key that is not a clean relative path.
	ErrKey = errors.New("invalid object key")
)

// KeyError says which operation on which key failed.
type KeyError struct {
	Op  string
	Key string
	Err error
}

func (e *KeyError) Error() string { return fmt.Sprintf("%s %s: %v", e.Op, e.Key, e.Err) }
func (e *KeyError) Unwrap() error { return e.Err }

// maxKey bounds a key's length in bytes, as S3 does.
const maxKey = 1024

// CheckKey refuses keys that could leave the root or that some backend cannot hold. Errors wrap ErrKey.
func CheckKey(key string) error {
	switch {
	case key == "":
		return fmt.Errorf("%w: empty", ErrKey)
	case len(key) > maxKey:
		return fmt.Errorf("%w: longer than %d bytes", ErrKey, maxKey)
	case !utf8.ValidString(key) || strings.ContainsRune(key, 0):
		return fmt.Errorf("%w: %q is not clean UTF-8", ErrKey, key)
	}
	for part := range strings.SplitSeq(key, "/") {
		if part == "" || part == "." || part == ".." {
			return fmt.Errorf("%w: %q has an empty, . or .. part", ErrKey, key)
		}
	}
	return nil
}

// UnsupportedSchemeError refuses a URI that no backend serves.
type UnsupportedSchemeError struct{ Scheme string }

func (e *UnsupportedSchemeError) Error() string {
	return fmt.Sprintf("no store for %s:// URIs: use a path, file:///path, s3://, gs://, az:// or abfss://", e.Scheme)
}

// OpenURI opens the store at uri: file:///path, or a path of the local file system. The root need not exist. The package
// backends opens URIs of all kinds.
//
// Error: *UnsupportedSchemeError.
func OpenURI(_ context.Context, uri string) (Store, error) {
	scheme, rest, ok := strings.Cut(uri, "://")
	switch {
	case uri == "":
		return nil, errors.New("open store: empty URI")
	case !ok:
		return NewLocal(filepath.FromSlash(uri))
	case scheme != "file":
		return nil, &UnsupportedSchemeError{Scheme: scheme}
	case !strings.HasPrefix(rest, "/"):
		return nil, fmt.Errorf("open store %s: a file URI has three slashes: file:///path", uri)
	}
	path, err := url.PathUnescape(rest)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", uri, err)
	}
	return NewLocal(filepath.FromSlash(path))
}
