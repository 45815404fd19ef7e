package ingestor

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/ingestor/batch"
	"github.com/weir-dev/weir/ingestor/commit"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/protocol"
)

// Pipeline is one pipeline of an ingestor: what stands behind its routes.
type Pipeline struct {
	set     Settings
	admit   *admission
	table   *commit.Local
	schema  *decode.Schema // of the table
	records *decode.Schema // of what is decoded: the same without steps
	flusher *batch.Flusher
	metrics *metrics
	log     *slog.Logger
	limited *slog.Logger // for what a peer can cause at any rate
	flow    flow
	taps    taps

	life context.Context //nolint:containedctx // ends with run; for work that outlives the connection it came from
	end  context.CancelFunc

	watching context.Context //nolint:containedctx // ends when the doors close, and with it what watchers are told
	unwatch  context.CancelFunc

	care  care
	peers *peers // set by Ingestor.Run

	stopping atomic.Bool // draining: nothing new is taken
	filled   atomic.Bool // it was logged that no more columns are made
	told     atomic.Bool // what the drain flushed was logged, be it nothing
	failed   atomic.Pointer[failedState]

	suspended atomic.Pointer[suspendedError] // nothing new is taken until the pipeline is started again

	answers  sync.WaitGroup // answers of requests that wait for room on their connection
	mu       sync.Mutex     // guards sessions
	sessions map[*session]struct{}
}

type failedState struct{ err error }

// newPipeline assembles the stages of a pipeline, innermost first: the table and its committer, the schema that decoding
// and table share, the batch between them; admission stands before all.
func newPipeline(ctx context.Context, set Settings, version string, admit *admission, m *metrics, log *slog.Logger) (*Pipeline, error) {
	if err := store.Probe(ctx, set.Store, "_weir"); err != nil {
		return nil, &openError{part: storagePart, err: fmt.Errorf("table: %w", err)} // it names the store
	}
	p := &Pipeline{
		set: set, admit: admit, metrics: m,
		log: log, limited: slog.New(newLimiter(log.Handler(), time.Second)),
		sessions: map[*session]struct{}{},
	}
	p.life, p.end = context.WithCancel(context.WithoutCancel(ctx))
	p.watching, p.unwatch = context.WithCancel(context.WithoutCancel(ctx))
	var err error
	p.table, err = commit.NewLocal(ctx, commit.Settings{
		Store: set.Store, PartitionBy: set.PartitionBy,
		Engine: "weir/" + version, Parquet: set.Parquet, Merge: set.Merge, ChangeFeed: set.ChangeFeed,
	})
	if err != nil {
		return nil, &openError{part: tablePart, err: err}
	}
	set.Decode.MaxInflated = int(set.Memory / inflatedShare)
	set.Decode.PartitionBy, set.Decode.NeedColumn, set.Decode.Widen = set.PartitionBy, true, true
	settings := set.batchSettings()
	if p.schema, settings.Records, err = set.schemas(p.table.Schema()); err != nil {
		return nil, &openError{part: tablePart, err: errors.Join(err, p.table.Close(ctx))}
	}
	p.records, settings.Transform = settings.Records, set.Transform
	settings.Tap = p.taps.decoded
	p.flusher = batch.New(settings, p.table, p.schema, admit.pool, p)
	m.pipeline(p)
	return p, nil
}

// run carries batches into the table until ctx is done, which is a hard stop. An error means that the pipeline cannot go
// on.
func (p *Pipeline) run(ctx context.Context) error {
	p.care.start(ctx, p)
	defer p.care.stop()
	err := p.flusher.Run(ctx)
	p.end()
	if err == nil {
		return nil
	}
	err = fmt.Errorf("pipeline %s: %w", p.set.Name, err)
	p.failed.Store(&failedState{err})
	p.stopping.Store(true)
	for _, s := range p.open() {
		s.fail(err)
	}
	p.log.Error("the pipeline has stopped", "pipeline", p.set.Name, "error", err)
	return err
}

// closed is what a producer is told that comes while nothing is taken; nil while the pipeline is open.
func (p *Pipeline) closed() *protocol.Error {
	if f := p.failed.Load(); f != nil {
		return &protocol.Error{Code: protocol.CodeFailed, Message: "the pipeline has stopped: " + f.err.Error()}
	}
	if e := p.suspended.Load(); e != nil {
		return &protocol.Error{Code: protocol.CodeUnavailable, Message: e.Error()}
	}
	if p.stopping.Load() {
		return &protocol.Error{Code: protocol.CodeUnavailable, Message: "the pipeline is draining: send to another pod, or again when it is back"}
	}
	return nil
}

// drain ends every stream, commits what was taken and reports what that was. Streams get the word to move on first.
func (p *Pipeline) drain(ctx context.Context) error {
	if p.failed.Load() != nil {
		return nil
	}
	p.stopping.Store(true)
	p.care.end()
	for _, s := range p.open() {
		s.stop(&protocol.Message{Type: protocol.TypeDrain})
	}
	p.flusher.Eager()
	return p.flush(ctx)
}

// flush commits what is in the batch and reports what that was. Once the doors are closed it finds what came in behind the
// drain: requests that were waiting, and fire-and-forget of connections that had ended.
func (p *Pipeline) flush(ctx context.Context) error {
	if p.failed.Load() != nil {
		return nil
	}
	records, bytes := p.flusher.Pending()
	if err := p.flusher.Flush(ctx); err != nil {
		return fmt.Errorf("pipeline %s: flush: %w", p.set.Name, err)
	}
	if records > 0 || !p.told.Swap(true) {
		p.log.Info("flushed", "pipeline", p.set.Name, "records", records, "bytes", bytes, "version", p.table.Version())
	}
	return nil
}

// close waits for the table's background work. The doors are closed by then, so no answer is waiting any more.
func (p *Pipeline) close(ctx context.Context) error {
	p.answers.Wait()
	if p.peers != nil {
		if err := p.peers.close(ctx); err != nil {
			p.log.Warn("connections to the other pods", "pipeline", p.set.Name, "error", err)
		}
	}
	if err := p.table.Close(ctx); err != nil {
		return fmt.Errorf("pipeline %s: close table: %w", p.set.Name, err)
	}
	return nil
}

func (p *Pipeline) register(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sessions[s] = struct{}{}
}

func (p *Pipeline) unregister(s *session) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.sessions, s)
}

// open returns the sessions that are open now.
func (p *Pipeline) open() []*session {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := make([]*session, 0, len(p.sessions))
	for s := range p.sessions {
		all = append(all, s)
	}
	return all
}

// Committed implements [batch.Observer].
func (p *Pipeline) Committed(c batch.Commit) {
	p.flow.committed(c, time.Now())
	p.metrics.committed(c)
	p.log.Debug("committed", "pipeline", p.set.Name, "version", c.Version, "rows", c.Rows, "bytes", c.Bytes,
		"write", c.Write, "put", c.Put)
	if p.records.Full() && !p.filled.Swap(true) {
		p.log.Warn("the table has as many columns as schema.maxColumns allows: what other fields hold goes to _rescued; raise it, or declare a map or json column for keys that are data",
			"pipeline", p.set.Name, "columns", p.records.Stats().Columns)
	}
	for _, conflict := range c.Conflicts {
		p.log.Warn("another writer changed the schema", "pipeline", p.set.Name, "version", c.Version,
			"conflict", conflict.String(), "valuesRescued", c.Rescued)
	}
}

// Retrying implements [batch.Observer].
func (p *Pipeline) Retrying(err error) {
	p.flow.failed(err)
	p.metrics.retries.Inc()
	p.limited.Warn("commit failed, trying again", "pipeline", p.set.Name, "error", err)
}

// ready says whether the pipeline takes events; a slow store does not make it unready.
func (p *Pipeline) ready() error {
	if f := p.failed.Load(); f != nil {
		return f.err
	}
	if e := p.suspended.Load(); e != nil {
		return e
	}
	if p.stopping.Load() {
		return errors.New("pipeline " + p.set.Name + " is draining")
	}
	return nil
}
