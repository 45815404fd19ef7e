package remote

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/weir-dev/weir/delta/store"
)

// maxParts bounds the parts of an object, as S3 does.
const maxParts = 10_000

// abortFor bounds how long an upload that is given up is told so, after its context may have ended.
const abortFor = 10 * time.Second

// writer streams an object. What it holds is at most two parts: one that grows and one on its way; an object smaller than
// a part is sent at once when it is closed.
type writer struct {
	s     *Store
	ctx   context.Context //nolint:containedctx // Write has none of its own
	key   string
	token string

	buf    []byte
	spare  []byte // of the part before
	offset int64  // of buf in the object
	upload Upload // nil until a part is full
	sent   chan error
	err    error // the first one
	closed bool
}

// Create implements [store.Store].
func (s *Store) Create(ctx context.Context, key string) (store.Writer, error) {
	if err := s.begin(ctx, key); err != nil {
		return nil, s.wrap("create", key, err)
	}
	return &writer{s: s, ctx: ctx, key: key, token: newToken()}, nil
}

// Write implements [store.Writer].
func (w *writer) Write(p []byte) (int, error) {
	if w.closed {
		return 0, w.s.wrap("write", w.key, fs.ErrClosed)
	}
	n := 0
	for n < len(p) && w.err == nil {
		if len(w.buf) == w.s.opt.PartBytes { // and there is more
			w.err = w.part()
			continue
		}
		m := min(len(p)-n, w.s.opt.PartBytes-len(w.buf))
		w.buf = append(w.buf, p[n:n+m]...)
		n += m
	}
	return n, w.s.wrap("write", w.key, w.err)
}

// part sends the full buffer behind the part before it.
func (w *writer) part() error {
	if err := w.wait(); err != nil {
		return err
	}
	if w.offset/int64(w.s.opt.PartBytes) >= maxParts-1 {
		return fmt.Errorf("the object is larger than %d parts of %d bytes", maxParts, w.s.opt.PartBytes)
	}
	if err := w.start(); err != nil {
		return err
	}
	data, offset, sent := w.buf, w.offset, make(chan error, 1)
	w.sent = sent
	w.offset += int64(len(data))
	w.buf, w.spare = w.spare[:0], data
	go func() { // part, Close or Abort waits for it
		sent <- gone(w.s.retry(w.ctx, len(data), func(ctx context.Context) error { return w.upload.Part(ctx, offset, data) }))
	}()
	return nil
}

// start begins the upload unless it has begun.
func (w *writer) start() error {
	if w.upload != nil {
		return nil
	}
	return w.s.retry(w.ctx, 0, inBucket(func(ctx context.Context) (err error) {
		w.upload, err = w.s.service.Begin(ctx, w.s.prefix+w.key, w.token)
		return err
	}))
}

// wait waits for the part on its way.
func (w *writer) wait() error {
	if w.sent == nil {
		return nil
	}
	err := <-w.sent
	w.sent = nil
	return err
}

// Close implements [store.Writer].
func (w *writer) Close() error {
	if w.closed {
		return nil
	}
	w.closed = true
	if err := w.wait(); w.err == nil {
		w.err = err
	}
	if w.err == nil {
		w.err = w.finish()
	}
	if w.err != nil {
		_ = w.abort() // what failed matters more
	}
	w.buf, w.spare = nil, nil
	return w.s.wrap("close", w.key, w.err)
}

func (w *writer) finish() error {
	if w.upload == nil {
		return w.s.retry(w.ctx, len(w.buf), inBucket(func(ctx context.Context) error {
			return w.s.service.Put(ctx, w.s.prefix+w.key, w.buf, w.token, false)
		}))
	}
	doubt := false
	err := w.s.retry(w.ctx, len(w.buf), func(ctx context.Context) error {
		err := w.upload.Finish(ctx, w.offset, w.buf)
		if e, ok := errors.AsType[*Error](err); ok && e.Kind == Absent && doubt && w.landed(ctx) {
			return nil // an earlier attempt finished it, and its answer was lost
		}
		doubt = doubt || err != nil
		return err
	})
	return gone(err)
}

// gone says of a part what it means that it was sent to something that is not there.
func gone(err error) error {
	if !errors.Is(err, store.ErrNotExist) {
		return err
	}
	return &store.ServiceError{Class: store.Retry, Message: "the upload is gone", Hint: "something aborted it while it was written: a lifecycle rule, or a clean-up"}
}

// landed says whether the object is there as it was written.
func (w *writer) landed(ctx context.Context) bool {
	o, err := w.s.service.Tail(ctx, w.s.prefix+w.key, 0)
	if err != nil {
		return false
	}
	_ = o.Body.Close()
	return o.Size == w.offset+int64(len(w.buf)) && (o.Token == w.token || o.Token == "")
}

// Abort implements [store.Writer].
func (w *writer) Abort() error {
	if w.closed {
		return nil
	}
	w.closed = true
	_ = w.wait() // it does not matter any more
	w.buf, w.spare = nil, nil
	return w.s.wrap("abort", w.key, w.abort())
}

// abort tells the service to forget the parts, even if the context is done.
func (w *writer) abort() error {
	if w.upload == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), abortFor)
	defer cancel()
	err := w.s.retry(ctx, 0, w.upload.Abort)
	if errors.Is(err, store.ErrNotExist) {
		return nil
	}
	return err
}
