package store

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Memory keeps objects in memory: for tests, and for tables that need not outlive the process.
type Memory struct {
	mu      sync.RWMutex // guards objects; contents are never changed in place
	objects map[string]memoryObject
}

type memoryObject struct {
	data     []byte
	modified time.Time
}

// NewMemory is an empty store.
func NewMemory() *Memory { return &Memory{objects: map[string]memoryObject{}} }

func (m *Memory) String() string { return "memory://" }

func (m *Memory) find(ctx context.Context, op, key string) (memoryObject, error) {
	if err := check(ctx, op, key); err != nil {
		return memoryObject{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	o, ok := m.objects[key]
	if !ok {
		return o, wrap(op, key, ErrNotExist)
	}
	return o, nil
}

// Get implements [Store].
func (m *Memory) Get(ctx context.Context, key string) ([]byte, error) {
	o, err := m.find(ctx, "get", key)
	return bytes.Clone(o.data), err
}

type memoryReader struct{ *bytes.Reader }

// Close implements [Reader].
func (memoryReader) Close() error { return nil }

// Open implements [Store].
func (m *Memory) Open(ctx context.Context, key string) (Reader, error) {
	o, err := m.find(ctx, "open", key)
	if err != nil {
		return nil, err
	}
	return memoryReader{bytes.NewReader(o.data)}, nil
}

// Put implements [Store].
func (m *Memory) Put(ctx context.Context, key string, data []byte) error {
	if err := check(ctx, "put", key); err != nil {
		return err
	}
	m.set(key, bytes.Clone(data))
	return nil
}

func (m *Memory) set(key string, data []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[key] = memoryObject{data, time.Now()}
}

// PutIfAbsent implements [Store].
func (m *Memory) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if err := check(ctx, "put if absent", key); err != nil {
		return errors.Join(err, ErrNotWritten)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.objects[key]; ok {
		return wrap("put if absent", key, ErrExist)
	}
	m.objects[key] = memoryObject{bytes.Clone(data), time.Now()}
	return nil
}

type memoryWriter struct {
	m    *Memory // nil when closed or aborted
	key  string
	data []byte
}

// Create implements [Store].
func (m *Memory) Create(ctx context.Context, key string) (Writer, error) {
	if err := check(ctx, "create", key); err != nil {
		return nil, err
	}
	return &memoryWriter{m: m, key: key}, nil
}

// Write implements [Writer].
func (w *memoryWriter) Write(p []byte) (int, error) {
	if w.m == nil {
		return 0, wrap("write", w.key, fs.ErrClosed)
	}
	w.data = append(w.data, p...)
	return len(p), nil
}

// Close implements [Writer].
func (w *memoryWriter) Close() error {
	if w.m != nil {
		w.m.set(w.key, w.data)
		w.m = nil
	}
	return nil
}

// Abort implements [Writer].
func (w *memoryWriter) Abort() error {
	w.m = nil
	return nil
}

// List implements [Store].
func (m *Memory) List(ctx context.Context, prefix, startAfter string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		for _, info := range m.matching(prefix, startAfter) {
			if err := ctx.Err(); err != nil {
				yield(Info{}, wrap("list", prefix, err))
				return
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

func (m *Memory) matching(prefix, startAfter string) []Info {
	m.mu.RLock()
	defer m.mu.RUnlock()
	var infos []Info
	for _, key := range slices.Sorted(maps.Keys(m.objects)) {
		if strings.HasPrefix(key, prefix) && key > startAfter {
			o := m.objects[key]
			infos = append(infos, Info{Key: key, Size: int64(len(o.data)), Modified: o.modified})
		}
	}
	return infos
}

// Delete implements [Store].
func (m *Memory) Delete(ctx context.Context, key string) error {
	if err := check(ctx, "delete", key); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	return nil
}
