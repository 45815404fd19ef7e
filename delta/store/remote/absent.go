package remote

import (
	"bytes"
	"context"
	"errors"

	"github.com/weir-dev/weir/delta/store"
)

// PutIfAbsent implements [store.Store].
//
// The difficulty: an attempt that fails without an answer, or with one that leaves it open, may have written the object.
// Then a later attempt finds the key taken, by itself. So every write carries a token as metadata, and from the first
// doubtful attempt on "the key is taken" is settled by reading the object back: it is ours if it has our token, or our
// bytes where a service keeps no metadata.
func (s *Store) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if err := s.begin(ctx, key); err != nil {
		return errors.Join(s.wrap("put if absent", key, err), store.ErrNotWritten)
	}
	err, doubt := s.putIfAbsent(ctx, key, data)
	switch {
	case err == nil || errors.Is(err, store.ErrExist):
		return s.wrap("put if absent", key, err)
	case !doubt:
		return errors.Join(s.wrap("put if absent", key, err), store.ErrNotWritten)
	}
	return s.wrap("put if absent", key, err)
}

// putIfAbsent puts until that is settled or has been tried often enough. doubt: the object may be there, or come yet.
func (s *Store) putIfAbsent(ctx context.Context, key string, data []byte) (err error, doubt bool) { //nolint:revive // doubt explains err
	token := newToken()
	for a := new(attempts); ; {
		v := s.once(ctx, len(data), inBucket(func(ctx context.Context) error {
			return s.service.Put(ctx, s.prefix+key, data, token, true)
		}))
		doubt = doubt || v.applied
		switch {
		case v.err == nil:
			return nil, false
		case errors.Is(v.err, store.ErrExist) && doubt:
			return s.settle(ctx, key, data, token)
		case s.more(a, v):
			if err := s.pause(ctx, a, v); err != nil {
				return errors.Join(err, v.err), doubt
			}
		case v.again && doubt:
			if err, open := s.settle(ctx, key, data, token); !open {
				return err, false
			}
			return a.exhausted(v), true
		default:
			return a.exhausted(v), doubt
		}
	}
}

// settle reads back who has the key. open: nobody has it yet, or that cannot be read.
func (s *Store) settle(ctx context.Context, key string, data []byte, token string) (err error, open bool) { //nolint:revive // as above
	there, has, err := s.get(ctx, key)
	if err == nil && has == "" { // some services tell it only when asked for the object's description
		var o *Object
		err = s.retry(ctx, 0, func(ctx context.Context) (err error) {
			o, err = s.service.Tail(ctx, s.prefix+key, 0)
			return err
		})
		if err == nil {
			has, err = o.Token, o.Body.Close()
		}
	}
	switch {
	case err != nil:
		return err, true
	case has == token, has == "" && bytes.Equal(there, data):
		return nil, false
	}
	return store.ErrExist, false
}
