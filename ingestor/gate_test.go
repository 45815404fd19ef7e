package ingestor

import (
	"context"
	"strings"
	"sync"

	"github.com/weir-dev/weir/delta/store"
)

// gate stalls a store: while it is closed, nothing is written.
type gate struct {
	mu   sync.Mutex
	shut chan struct{} // nil while open
}

func newGate() *gate { return &gate{} }

func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shut = make(chan struct{})
}

func (g *gate) open() {
	g.mu.Lock()
	defer g.mu.Unlock()
	close(g.shut)
	g.shut = nil
}

func (g *gate) pass(ctx context.Context) error {
	g.mu.Lock()
	shut := g.shut
	g.mu.Unlock()
	if shut == nil {
		return nil
	}
	select {
	case <-shut:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (g *gate) wrap(s store.Store) store.Store { return &gated{s, g} }

// gated is a store behind a gate; probes pass.
type gated struct {
	store.Store
	gate *gate
}

func (s *gated) PutIfAbsent(ctx context.Context, key string, data []byte) error {
	if !strings.HasPrefix(key, "_weir/") {
		if err := s.gate.pass(ctx); err != nil {
			return err
		}
	}
	return s.Store.PutIfAbsent(ctx, key, data)
}

func (s *gated) Create(ctx context.Context, key string) (store.Writer, error) {
	if err := s.gate.pass(ctx); err != nil {
		return nil, err
	}
	return s.Store.Create(ctx, key)
}
