package ingestor

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// limiter is a log handler that lets each message through once a period, so that a peer cannot flood the log. What it
// held back is counted in the next one of the same message.
type limiter struct {
	next   slog.Handler
	period time.Duration
	state  *limiterState
}

type limiterState struct {
	mu   sync.Mutex // guards seen
	seen map[string]*limited
}

type limited struct {
	at   time.Time
	held int
}

func newLimiter(next slog.Handler, period time.Duration) *limiter {
	return &limiter{next: next, period: period, state: &limiterState{seen: map[string]*limited{}}}
}

// Enabled implements [slog.Handler].
func (l *limiter) Enabled(ctx context.Context, level slog.Level) bool {
	return l.next.Enabled(ctx, level)
}

// Handle implements [slog.Handler]. Messages are constants of this package, so the map does not grow.
func (l *limiter) Handle(ctx context.Context, r slog.Record) error {
	l.state.mu.Lock()
	m := l.state.seen[r.Message]
	if m == nil {
		m = &limited{}
		l.state.seen[r.Message] = m
	}
	if r.Time.Sub(m.at) < l.period {
		m.held++
		l.state.mu.Unlock()
		return nil
	}
	held := m.held
	m.at, m.held = r.Time, 0
	l.state.mu.Unlock()
	if held > 0 {
		r.AddAttrs(slog.Int("similar", held))
	}
	return l.next.Handle(ctx, r)
}

// WithAttrs implements [slog.Handler].
func (l *limiter) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &limiter{l.next.WithAttrs(attrs), l.period, l.state}
}

// WithGroup implements [slog.Handler].
func (l *limiter) WithGroup(name string) slog.Handler {
	return &limiter{l.next.WithGroup(name), l.period, l.state}
}
