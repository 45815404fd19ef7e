package fault

import (
	"context"
	"sync"

	"github.com/weir-dev/weir/delta/store"
)

// gate lets calls through unless it is closed.
type gate struct {
	mu   sync.Mutex    // guards open
	open chan struct{} // closed while the gate is open
}

func newGate() *gate {
	g := &gate{open: make(chan struct{})}
	close(g.open)
	return g
}

// stall closes the gate: calls wait from now on.
func (g *gate) stall() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.open = make(chan struct{})
}

// resume lets all calls through.
func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.open)
}

func (g *gate) stalled() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	select {
	case <-g.open:
		return false
	default:
		return true
	}
}

func (g *gate) pass(ctx context.Context) error {
	g.mu.Lock()
	open := g.open
	g.mu.Unlock()
	select {
	case <-open:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// stallingStore is a store whose writes hang while its gate is closed, as those of a disk or a bucket that has stopped
// answering.
type stallingStore struct {
	store.Store
	gate *gate
}

func (s stallingStore) Put(ctx context.Context, key string, data []byte) error {
	if err := s.gate.pass(ctx); err != nil {
		return err
	}
	return s.Store.Put(ctx, key, data)
}

func (s stallingStore) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if err := s.gate.pass(ctx); err != nil {
		return err
	}
	return s.Store.PutIfAbsent(ctx, key, data)
}

func (s stallingStore) Create(ctx context.Context, key string) (store.Writer, error) {
	w, err := s.Store.Create(ctx, key)
	return stallingWriter{w, ctx, s.gate}, err
}

type stallingWriter struct {
	store.Writer
	ctx  context.Context //nolint:containedctx // a Writer has no ctx of its own to wait with
	gate *gate
}

func (w stallingWriter) Write(b []byte) (int, error) {
	if err := w.gate.pass(w.ctx); err != nil {
		return 0, err
	}
	return w.Writer.Write(b)
}

func (w stallingWriter) Close() error {
	if err := w.gate.pass(w.ctx); err != nil {
		return err
	}
	return w.Writer.Close()
}
