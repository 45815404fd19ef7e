package delta

import (
	"context"
	"sync"
)

// checkpointer runs at most one checkpoint at a time, beside the commits.
type checkpointer struct {
	mu     sync.Mutex // guards the fields below
	last   int64      // version of the newest checkpoint known
	replay int64      // what the snapshot's replay was when that was made
	closed bool
	cancel context.CancelFunc // of the one that runs
	done   chan struct{}      // closed when it has ended; nil: none runs
	files  *encodedFiles      // of the newest one made here; nil: none yet, or someone works with it
}

// defaultCheckpointEvery is how many commits a reader has to replay at most.
const defaultCheckpointEvery = 100

// checkpointBytes is how many bytes of log a reader has to replay at most, but for one entry: commits of many files are few
// and large.
const checkpointBytes = 16 << 20

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
	if c.closed || c.done != nil || s.version <= c.last {
		return
	}
	if s.version-c.last < t.checkpointEvery(s) && s.replay-c.replay < checkpointBytes {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel, c.done = cancel, make(chan struct{})
	go func() {
		defer cancel()
		last, err := t.checkpointDue(ctx, s)
		if err != nil {
			t.opt.Logger.Warn("checkpoint failed", "table", t.store.String(), "version", s.version, "error", err)
			last = s.version - t.checkpointEvery(s)*9/10 // not at every commit
		}
		c.finish(last, s.replay)
	}()
}

func (c *checkpointer) finish(last, replay int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.replay = max(c.last, last), replay
	close(c.done)
	c.done = nil
}

// checkpointDue writes a checkpoint of s unless another writer has made one lately. It returns the version of the newest.
func (t *Table) checkpointDue(ctx context.Context, s *Snapshot) (int64, error) {
	hint, err := readLastCheckpoint(ctx, t.store)
	if err != nil {
		return 0, err
	}
	if hint > max(t.checkpoints.newest(), 0) && hint <= s.version && s.version-hint < t.checkpointEvery(s) {
		return hint, nil
	}
	return s.version, t.writeCheckpoint(ctx, s, false)
}

func (c *checkpointer) note(version int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last, version)
}

func (c *checkpointer) newest() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// reloaded notes that the snapshot was loaded anew, from the checkpoint of that version.
func (c *checkpointer) reloaded(version int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last, c.replay = max(c.last, version), 0
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

// takeFiles lends out what is kept of the last checkpoint; a second borrower has to encode all anew.
func (c *checkpointer) takeFiles() *encodedFiles {
	c.mu.Lock()
	defer c.mu.Unlock()
	files := c.files
	c.files = nil
	if files == nil {
		files = &encodedFiles{}
	}
	return files
}

func (c *checkpointer) keepFiles(files *encodedFiles) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.files = files
}
