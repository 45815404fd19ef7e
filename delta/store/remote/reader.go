package remote

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/weir-dev/weir/delta/store"
)

// reader reads one version of an object. Its end came with opening it: that is the whole of a log entry, and the footer of
// a Parquet file.
type reader struct {
	s       *Store
	ctx     context.Context //nolint:containedctx // ReadAt has none of its own
	key     string
	size    int64
	version string
	token   string
	tail    []byte // the last bytes of the object
}

// Open implements [store.Store].
func (s *Store) Open(ctx context.Context, key string) (store.Reader, error) {
	r, err := s.open(ctx, key)
	if err != nil {
		return nil, s.wrap("open", key, err)
	}
	return r, nil
}

func (s *Store) open(ctx context.Context, key string) (*reader, error) {
	if err := s.begin(ctx, key); err != nil {
		return nil, err
	}
	r := &reader{s: s, ctx: ctx, key: key}
	err := s.retry(ctx, int(s.opt.TailBytes), func(ctx context.Context) error {
		o, err := s.service.Tail(ctx, s.prefix+key, s.opt.TailBytes)
		if err != nil {
			return err
		}
		r.size, r.version, r.token = o.Size, o.Version, o.Token
		if o.Offset < 0 || o.Size-o.Offset > s.opt.TailBytes {
			return errors.Join(&store.ServiceError{Class: store.Fatal, Message: "it sent more than the end of the object that was asked for"}, o.Body.Close())
		}
		r.tail = make([]byte, o.Size-o.Offset)
		return drain(o.Body, r.tail)
	})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Size implements [store.Reader].
func (r *reader) Size() int64 { return r.size }

// Close implements [store.Reader].
func (r *reader) Close() error { return nil }

// ReadAt implements [io.ReaderAt].
func (r *reader) ReadAt(p []byte, offset int64) (int, error) {
	if offset < 0 {
		return 0, r.s.wrap("read", r.key, errors.New("negative offset"))
	}
	if len(p) == 0 {
		return 0, nil
	}
	want := p[:max(0, min(int64(len(p)), r.size-offset))]
	start := r.size - int64(len(r.tail))
	if body := want[:max(0, min(int64(len(want)), start-offset))]; len(body) > 0 {
		if n, err := r.fetch(body, offset); err != nil {
			return n, r.s.wrap("read", r.key, err)
		}
		if len(body) < len(want) {
			copy(want[len(body):], r.tail)
		}
	} else if len(want) > 0 {
		copy(want, r.tail[offset-start:])
	}
	if len(want) < len(p) {
		return len(want), io.EOF
	}
	return len(p), nil
}

// fetch reads bytes of the object. An attempt goes on where the one before was cut off.
func (r *reader) fetch(p []byte, offset int64) (int, error) {
	n := 0
	err := r.s.retry(r.ctx, len(p), func(ctx context.Context) error {
		o, err := r.s.service.Read(ctx, r.s.prefix+r.key, offset+int64(n), int64(len(p)-n), r.version)
		if err != nil {
			return err
		}
		if o.Version != r.version { // a service that does not check it
			return errors.Join(errGone, o.Body.Close())
		}
		if o.Offset != offset+int64(n) || o.Size != r.size {
			return errors.Join(&store.ServiceError{Class: store.Fatal, Message: fmt.Sprintf("it sent bytes from %d of %d, not from %d of %d", o.Offset, o.Size, offset+int64(n), r.size)}, o.Body.Close())
		}
		m, err := io.ReadFull(o.Body, p[n:])
		n += m
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return errors.Join(err, o.Body.Close())
	})
	if errors.Is(err, store.ErrExist) || errors.Is(err, store.ErrNotExist) || errors.Is(err, errGone) {
		err = errGone
	}
	return n, err
}
