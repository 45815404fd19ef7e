package ingestor

import (
	"context"
	"sync"
	"time"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/protocol"
)

// care is the maintenance of a pipeline's table: it ends when the pipeline drains, and before it is closed.
type care struct {
	running sync.WaitGroup

	mu     sync.Mutex // guards what follows
	cancel context.CancelFunc
	last   *protocol.Maintenance // what was done last; nil for nothing
}

// start begins the maintenance that p's settings ask for.
func (c *care) start(ctx context.Context, p *Pipeline) {
	if p.set.Maintenance == nil {
		return
	}
	policy := *p.set.Maintenance
	policy.Report = p.maintained
	ctx, cancel := context.WithCancel(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cancel = cancel
	c.running.Go(func() { p.table.Maintain(ctx, policy) })
}

// end tells the maintenance to stop.
func (c *care) end() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cancel != nil {
		c.cancel()
	}
}

// stop ends the maintenance and waits for it.
func (c *care) stop() {
	c.end()
	c.running.Wait()
}

func (c *care) newest() *protocol.Maintenance {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.last
}

// maintained books a piece of maintenance.
func (p *Pipeline) maintained(r delta.MaintenanceReport) {
	m := &protocol.Maintenance{Task: string(r.Task), At: time.Now().UTC(), Took: r.Took.Milliseconds(), Files: r.Files, Bytes: r.Bytes}
	if r.Err != nil {
		m.Error = r.Err.Error()
	}
	p.care.mu.Lock()
	p.care.last = m
	p.care.mu.Unlock()
	p.metrics.maintained(r)
	if r.Err != nil {
		p.limited.Warn("maintenance failed, the table is as it was", "pipeline", p.set.Name, "task", r.Task, "error", r.Err)
		return
	}
	p.log.Info("maintained the table", "pipeline", p.set.Name, "task", r.Task, "files", r.Files, "bytes", r.Bytes,
		"written", r.BytesWritten, "took", r.Took.Round(time.Millisecond))
}
