// Package remote makes a store of a service that is reached over a network.
//
// A backend implements [Service]: single requests, without retries. [Store] adds what is the same for all of them: keys
// below a prefix; timeouts; retries with backoff and jitter, by class of error; put-if-absent whose lost answer is settled
// by reading back; reads of one version of an object; listings that go on behind a failed page; streamed objects in
// bounded memory.
package remote

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"strings"
	"time"

	"github.com/weir-dev/weir/delta/store"
)

// Service sends single requests to an object store. Keys are whole: below the bucket. Errors are *Error or
// *store.ServiceError for answers, and anything else for requests without one. Methods may be called concurrently.
type Service interface {
	// Read reads length bytes of an object from offset on; of the given version, unless that is empty.
	Read(ctx context.Context, key string, offset, length int64, version string) (*Object, error)
	// Tail reads the last n bytes of an object, or fewer: Body begins at Offset.
	Tail(ctx context.Context, key string, n int64) (*Object, error)
	// Put writes an object whole. With ifAbsent it fails with an [Error] of Exists if there is one.
	Put(ctx context.Context, key string, data []byte, token string, ifAbsent bool) error
	// Begin begins an object that is sent in parts.
	Begin(ctx context.Context, key, token string) (Upload, error)
	// List lists a page of objects, in any order within what page says; next is empty behind the last page.
	List(ctx context.Context, page Page) (infos []store.Info, next string, err error)
	Delete(ctx context.Context, key string) error
	// Close frees idle connections.
	Close()
}

// Object is an object, or a part of it.
type Object struct {
	Body    io.ReadCloser
	Offset  int64  // of Body in the object
	Size    int64  // bytes of the whole object
	Version string // changes with the content
	Token   string // that it was put with; empty if the service forgot
}

// Upload sends an object in parts, one after the other. A call may be repeated with the same arguments.
type Upload interface {
	// Part sends bytes at offset; all parts but the last have the same length, which is a multiple of 256 KiB.
	Part(ctx context.Context, offset int64, data []byte) error
	// Finish sends the last part and makes the object visible.
	Finish(ctx context.Context, offset int64, data []byte) error
	Abort(ctx context.Context) error
}

// Page is what is asked of List: keys that begin with Prefix and sort after After, from the page named Next on.
type Page struct{ Prefix, After, Next string }

// Options of a store. The zero value is useful.
type Options struct {
	Attempts   int           // of a request; 0: 8
	Delay      time.Duration // before the second attempt, doubled for each further one; 0: 50 ms
	MaxDelay   time.Duration // 0: 3 s
	Patience   time.Duration // a service may have one request wait so long in all, by Retry-After; 0: 30 s
	Timeout    time.Duration // of a request, besides what its bytes take; 0: 15 s
	BytesASec  int64         // the slowest transfer that is waited for; 0: 128 KiB
	PartBytes  int           // of streamed objects; 0: 8 MiB
	TailBytes  int64         // that opening an object reads; 0: 64 KiB
	SortListed bool          // the service does not list in the order of the keys' bytes
}

func (o Options) withDefaults() Options {
	o.Attempts = cmp.Or(o.Attempts, 8)
	o.Delay = cmp.Or(o.Delay, 50*time.Millisecond)
	o.MaxDelay = cmp.Or(o.MaxDelay, 3*time.Second)
	o.Patience = cmp.Or(o.Patience, 30*time.Second)
	o.Timeout = cmp.Or(o.Timeout, 15*time.Second)
	o.BytesASec = cmp.Or(o.BytesASec, 128<<10)
	o.PartBytes = cmp.Or(o.PartBytes, 8<<20)
	o.TailBytes = cmp.Or(o.TailBytes, 64<<10)
	return o
}

// Store is a [store.Store] of a service.
type Store struct {
	service Service
	name    string // URI
	prefix  string // of all keys; empty or ending in a slash
	opt     Options
}

var _ store.Store = (*Store)(nil)

// New is the store of the objects below prefix, which has no slash at its ends. name is its URI.
func New(s Service, name, prefix string, o Options) *Store {
	if prefix != "" {
		prefix += "/"
	}
	return &Store{service: s, name: name, prefix: prefix, opt: o.withDefaults()}
}

func (s *Store) String() string { return s.name }

// Close frees idle connections.
func (s *Store) Close() { s.service.Close() }

// begin is the beginning of every operation on a key.
func (s *Store) begin(ctx context.Context, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return store.CheckKey(key)
}

func (s *Store) wrap(op, key string, err error) error {
	if err == nil {
		return nil
	}
	return &store.KeyError{Op: op, Key: key, Err: err}
}

// Get implements [store.Store].
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	data, _, err := s.get(ctx, key)
	return data, s.wrap("get", key, err)
}

func (s *Store) get(ctx context.Context, key string) (data []byte, token string, err error) {
	r, err := s.open(ctx, key)
	if err != nil {
		return nil, "", err
	}
	data = make([]byte, r.size)
	if n, err := r.ReadAt(data, 0); n < len(data) {
		return nil, "", err
	}
	return data, r.token, nil
}

// Put implements [store.Store].
func (s *Store) Put(ctx context.Context, key string, data []byte) error {
	err := s.begin(ctx, key)
	if err == nil {
		err = s.retry(ctx, len(data), inBucket(func(ctx context.Context) error {
			return s.service.Put(ctx, s.prefix+key, data, newToken(), false)
		}))
	}
	return s.wrap("put", key, err)
}

// Delete implements [store.Store].
func (s *Store) Delete(ctx context.Context, key string) error {
	err := s.begin(ctx, key)
	if err == nil {
		err = s.retry(ctx, 0, func(ctx context.Context) error { return s.service.Delete(ctx, s.prefix+key) })
	}
	if errors.Is(err, store.ErrNotExist) {
		err = nil
	}
	return s.wrap("delete", key, err)
}

// List implements [store.Store].
func (s *Store) List(ctx context.Context, prefix, startAfter string) iter.Seq2[store.Info, error] {
	return func(yield func(store.Info, error) bool) {
		last, err := startAfter, ctx.Err()
		if err == nil {
			var stopped bool
			stopped, err = s.list(ctx, prefix, &last, yield)
			if stopped {
				return
			}
		}
		if err != nil {
			yield(store.Info{}, s.wrap("list", prefix, err))
		}
	}
}

// list yields the objects behind last, which it moves along.
func (s *Store) list(ctx context.Context, prefix string, last *string, yield func(store.Info, error) bool) (stopped bool, err error) {
	page := Page{Prefix: s.prefix + prefix}
	if *last != "" {
		page.After = s.prefix + *last
	}
	var all []store.Info // if they are to be sorted
	for {
		var infos []store.Info
		err := s.retry(ctx, 0, inBucket(func(ctx context.Context) (err error) {
			infos, page.Next, err = s.service.List(ctx, page)
			return err
		}))
		if err != nil {
			return false, err
		}
		infos = slices.DeleteFunc(infos, func(i store.Info) bool { return !s.visible(&i, page) })
		if s.opt.SortListed {
			all = append(all, infos...)
			infos = nil
		}
		if page.Next == "" && s.opt.SortListed {
			slices.SortFunc(all, func(a, b store.Info) int { return strings.Compare(a.Key, b.Key) })
			infos = all
		}
		if stopped, err := s.yieldAll(infos, last, yield); stopped || err != nil {
			return stopped, err
		}
		if page.Next == "" {
			return false, nil
		}
		if !s.opt.SortListed && *last != "" {
			page.After = s.prefix + *last
		}
	}
}

// visible says whether a listed object is one of the store's that was asked for.
func (s *Store) visible(i *store.Info, page Page) bool {
	return strings.HasPrefix(i.Key, page.Prefix) && i.Key > page.After && store.CheckKey(strings.TrimPrefix(i.Key, s.prefix)) == nil
}

func (s *Store) yieldAll(infos []store.Info, last *string, yield func(store.Info, error) bool) (stopped bool, err error) {
	for _, i := range infos {
		i.Key = strings.TrimPrefix(i.Key, s.prefix)
		if i.Key <= *last {
			return false, &store.ServiceError{
				Class: store.Fatal, Message: fmt.Sprintf("it lists %q after %q", i.Key, *last),
				Hint: "a Delta log needs a service that lists in the order of names, which buckets of type directory do not",
			}
		}
		*last = i.Key
		if !yield(i, nil) {
			return true, nil
		}
	}
	return false, nil
}
