package delta

import (
	"context"
	"sync"
)

// checkpointer runs at most one checkpoint at a time, beside the commits.
type checkpointer struct {
	mu     sync.Mutex // guards the fields below
	last   int64      // version of the newest checkpoint known
	closed bool
	cancel context.CancelFunc // of the one that runs
	done   chan struct{}      // closed when it has ended; nil: none runs
}

// defaultCheckpointEvery is how many commits a reader has to replay at most.
const defaultCheckpointEvery = 100

// every is the number of commits between checkpoints.
func (t *Table) checkpointEvery(s *Snapshot) int64 {
	n := int64(t.opt.CheckpointEvery)
	if n <= 0 {
		n = defaultCheckpointEvery
		if own, ok := s.intProperty("delta.checkpointInterval"); ok && own > 0 && own < n {
			n = own
		}
	}
	return n
}

// maybeCheckpoint starts a checkpoint of s in the background if one is due and none runs.
func (t *Table) maybeCheckpoint(s *Snapshot) {
	c := &t.checkpoints
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.done != nil || s.version-c.last < t.checkpointEvery(s) {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel, c.done = cancel, make(chan struct{})
	go func() {
		defer cancel()
		last := s.version
		if err := t.checkpointDue(ctx, s); err != nil {
			t.opt.Logger.Warn("checkpoint failed", "table", t.store.String(), "version", s.version, "error", err)
			last -= t.checkpointEvery(s) * 9 / 10 // not at every commit
		}
		c.finish(last)
	}()
}

func (c *checkpointer) finish(last int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last, last)
	close(c.done)
	c.done = nil
}

// checkpointDue writes a checkpoint of s unless another writer has made one lately.
func (t *Table) checkpointDue(ctx context.Context, s *Snapshot) error {
	hint, err := readLastCheckpoint(ctx, t.store)
	if err != nil {
		return err
	}
	if hint > 0 && hint <= s.version && s.version-hint < t.checkpointEvery(s) {
		t.checkpoints.note(hint)
		return nil
	}
	return writeCheckpoint(ctx, t.store, s, t.opt.Now(), false)
}

func (c *checkpointer) note(version int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last, version)
}

func (c *checkpointer) isClosed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed
}

// close waits for the checkpoint that runs; when ctx is done first, it is cancelled and awaited.
func (c *checkpointer) close(ctx context.Context) error {
	c.mu.Lock()
	c.closed = true
	done, cancel := c.done, c.cancel
	c.mu.Unlock()
	if done == nil {
		return nil
	}
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		cancel()
		<-done
		return ctx.Err()
	}
}
