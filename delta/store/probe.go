package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
)

// UnsafeError refuses a store whose put-if-absent cannot be trusted: two writers of a table in it would lose commits.
type UnsafeError struct {
	Store  string
	Reason string
}

func (e *UnsafeError) Error() string {
	return fmt.Sprintf("%s cannot hold a Delta table that is written to: %s", e.Store, e.Reason)
}

// notImplemented says whether a service answered that it does not know conditional writes.
func notImplemented(err error) bool {
	e, ok := errors.AsType[*ServiceError](err)
	return ok && e.Status == http.StatusNotImplemented
}

// Probe finds out whether put-if-absent works in s, with a small object below dir whose name begins with a dot, and which
// it deletes. Errors: *UnsafeError, those of the store.
func Probe(ctx context.Context, s Store, dir string) (err error) {
	key := dir + "/.weir-probe-" + rand.Text()
	if dir == "" {
		key = key[1:]
	}
	first, second := []byte("first"), []byte("second")
	switch err := s.PutIfAbsent(ctx, key, first); {
	case notImplemented(err):
		return &UnsafeError{Store: s.String(), Reason: "it cannot write an object only if that is absent: " + err.Error()}
	case err != nil:
		return fmt.Errorf("probe %s: %w", s, err)
	}
	defer func() {
		if derr := s.Delete(context.WithoutCancel(ctx), key); derr != nil && err == nil {
			err = fmt.Errorf("probe %s: %w", s, derr)
		}
	}()
	switch again := s.PutIfAbsent(ctx, key, second); {
	case again == nil:
		return &UnsafeError{Store: s.String(), Reason: "it replaced an object that was to be written only if absent"}
	case !errors.Is(again, ErrExist):
		return fmt.Errorf("probe %s: %w", s, again)
	}
	data, err := s.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("probe %s: %w", s, err)
	}
	if !bytes.Equal(data, first) {
		return &UnsafeError{Store: s.String(), Reason: "an object that was to be written only if absent has changed"}
	}
	return nil
}
