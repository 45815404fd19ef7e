package delta_test

import (
	"context"
	"errors"
	"strings"
	"sync"

	"github.com/weir-dev/weir/delta/store"
)

// faulty is a store whose calls a test may fail.
type faulty struct {
	store.Store

	mu sync.Mutex
	// put is asked before PutIfAbsent of a log entry: write says whether the object is written, err what the caller is told.
	put func(key string, data []byte) (write bool, err error)
	// open is asked before Open.
	open func(key string) error
	puts []string // keys of log entries put, in order
}

var errStore = errors.New("connection reset")

func (f *faulty) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	f.mu.Lock()
	put := f.put
	f.puts = append(f.puts, key)
	f.mu.Unlock()
	if put == nil || !strings.HasPrefix(key, "_delta_log/") {
		return f.Store.PutIfAbsent(ctx, key, data)
	}
	write, told := put(key, data)
	if write {
		if err := f.Store.PutIfAbsent(ctx, key, data); err != nil {
			return err
		}
	}
	return told
}

func (f *faulty) Open(ctx context.Context, key string) (store.Reader, error) {
	f.mu.Lock()
	open := f.open
	f.mu.Unlock()
	if open != nil {
		if err := open(key); err != nil {
			return nil, err
		}
	}
	return f.Store.Open(ctx, key)
}

// set changes what fails.
func (f *faulty) set(change func(f *faulty)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}
