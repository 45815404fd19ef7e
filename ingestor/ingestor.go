// Package ingestor is a pod: doors that take events in, and the pipelines that carry them into tables.
//
// The way of an event: a door receives a payload (session.go, requests.go, http.go) within what admission allows
// (admit.go); it is decoded into the columns of a shard (batch.Shard); the flusher writes the columns out and submits
// them to the committer (batch.Flusher, commit.Local); the outcome goes back to the door as an ack. pipeline.go assembles
// these stages.
package ingestor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// Ingestor runs pipelines behind its doors.
type Ingestor struct {
	conf       Config
	admit      *admission
	pipelines  map[string]*Pipeline
	maxPayload int64
	serving    atomic.Bool
}

// New opens the tables and assembles the pipelines. On an error nothing is left running.
func New(ctx context.Context, conf Config) (*Ingestor, error) {
	if err := conf.check(); err != nil {
		return nil, err
	}
	if conf.Grace == 0 {
		conf.Grace = defaultGrace
	}
	capacity, reserve, payload := conf.poolSize()
	i := &Ingestor{conf: conf, admit: newAdmission(capacity, reserve, payload), pipelines: map[string]*Pipeline{}, maxPayload: payload}
	registerPool(conf.Registry, i.admit)
	for _, set := range conf.Pipelines {
		p, err := newPipeline(ctx, set, conf.Version, i.admit, newMetrics(conf.Registry, set.Name), conf.Log)
		if err != nil {
			return nil, errors.Join(fmt.Errorf("pipeline %s: %w", set.Name, err), i.close(ctx))
		}
		i.pipelines[set.Name] = p
	}
	return i, nil
}

// Run serves until ctx is done, then drains within the grace period: readiness off, streams told, everything taken in
// committed and acknowledged. It returns nil after a clean stop, and what stopped it otherwise.
func (i *Ingestor) Run(ctx context.Context) error {
	work, hardStop := context.WithCancelCause(context.WithoutCancel(ctx))
	defer hardStop(nil)
	i.meet()
	doors, closeDoors := i.openDoors(work)
	var stages, serving sync.WaitGroup
	broken, stopped := make(chan error, len(doors)), make(chan error, len(i.pipelines))
	stages.Go(func() { i.admit.run(work, i.hasten) })
	for _, p := range i.pipelines {
		stages.Go(func() { report(stopped, p.run(work)) })
	}
	for _, serve := range doors {
		serving.Go(func() { report(broken, serve()) })
	}
	i.serving.Store(true)
	err := i.wait(ctx, broken, stopped)
	i.serving.Store(false)
	before := i.failure()
	grace, cancel := context.WithTimeout(work, i.conf.Grace)
	defer cancel()
	if err == nil {
		err = i.each(func(p *Pipeline) error { return p.drain(grace) })
	}
	err = errors.Join(err, i.leave(grace, closeDoors), i.each(func(p *Pipeline) error { return p.flush(grace) }))
	hardStop(err)
	serving.Wait()
	stages.Wait()
	if err == nil && before == nil { // one of before was reported when it failed
		err = i.failure()
	}
	return errors.Join(err, i.close(context.WithoutCancel(ctx)))
}

// flushShare is the part of the grace period, 1/flushShare, that is kept for what came in behind the drain.
const flushShare = 10

// leave closes the doors, with a part of the grace period left: peers that take no answer must not use it up.
func (i *Ingestor) leave(grace context.Context, closeDoors func(context.Context) error) error {
	for _, p := range i.pipelines {
		p.unwatch()
	}
	if end, ok := grace.Deadline(); ok {
		var cancel context.CancelFunc
		grace, cancel = context.WithDeadline(grace, end.Add(-i.conf.Grace/flushShare))
		defer cancel()
	}
	return closeDoors(grace)
}

// failure is why pipelines have stopped by themselves, nil if none has.
func (i *Ingestor) failure() error {
	var errs []error
	for _, p := range i.pipelines {
		if f := p.failed.Load(); f != nil {
			errs = append(errs, f.err)
		}
	}
	return errors.Join(errs...)
}

// wait returns when ctx is done, when a door breaks, or when the last pipeline has stopped: one that cannot go on does not
// take the others along.
func (i *Ingestor) wait(ctx context.Context, broken, stopped <-chan error) error {
	var errs []error
	for len(errs) < len(i.pipelines) {
		select {
		case <-ctx.Done():
			return nil
		case err := <-broken:
			return err
		case err := <-stopped:
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

func report(to chan<- error, err error) {
	if err != nil {
		to <- err
	}
}

// fragmentShare is the part of the memory that payloads may take which their producers have not finished sending.
const fragmentShare = 4

// openDoors returns a serve function for every door, and one that closes them all: first no new connections, then
// those that are open once their answers are out.
func (i *Ingestor) openDoors(ctx context.Context) (serve []func() error, closeAll func(context.Context) error) {
	capacity, _, _ := i.conf.poolSize()
	rs := rsocket.NewServer(rsocket.ServerOptions{
		Handlers: i.routes(), Budget: i.admit.pool, MaxPayload: int(i.maxPayload),
		Limits:   rsocket.Limits{MaxFragments: int(max(capacity/fragmentShare, 2*i.maxPayload))},
		MaxConns: i.conf.MaxConnections, Logger: i.conf.Log, Tap: i.conf.Tap,
	})
	serve = append(serve, func() error { return rs.Serve(ctx, i.conf.RSocket) })
	closers := []func(context.Context) error{rs.Shutdown}
	for _, d := range []struct {
		ln net.Listener
		h  http.Handler
	}{{bounded(i.conf.HTTP, i.conf.MaxConnections), i.httpDoor()}, {i.conf.Admin, adminDoor(func() prometheus.Gatherer { return i.conf.Registry }, i.PodStatus, i.serveTap)}} {
		if d.ln == nil {
			continue
		}
		srv := newHTTPServer(d.h)
		srv.RegisterOnShutdown(i.closeTaps)
		serve = append(serve, func() error {
			if err := srv.Serve(d.ln); !errors.Is(err, http.ErrServerClosed) {
				return fmt.Errorf("serve %s: %w", d.ln.Addr(), err)
			}
			return nil
		})
		closers = append(closers, func(ctx context.Context) error {
			if err := srv.Shutdown(ctx); err != nil {
				return errors.Join(fmt.Errorf("close %s: %w", d.ln.Addr(), err), srv.Close())
			}
			return nil
		})
	}
	return serve, func(ctx context.Context) error {
		var errs []error
		for _, c := range closers {
			errs = append(errs, c(ctx))
		}
		return errors.Join(errs...)
	}
}

// meet tells every pipeline who else runs it.
func (i *Ingestor) meet() {
	conf := i.conf.Cluster
	conf.Advertise = cmp.Or(conf.Advertise, i.conf.RSocket.Addr().String())
	for _, p := range i.pipelines {
		p.peers = &peers{p: p, conf: conf}
	}
}

// routes binds the routes of every pipeline: "<pipeline>.<route>", and the bare ones when there is only one pipeline.
func (i *Ingestor) routes() rsocket.Handlers {
	mux := &rsocket.Mux{Logger: i.conf.Log}
	bind := func(prefix string, p *Pipeline) {
		mux.HandleChannel(prefix+protocol.RouteStream, p.serveStream)
		mux.HandleRequest(prefix+protocol.RouteRequest, p.serveRequest)
		mux.HandleFireAndForget(prefix+protocol.RouteFireAndForget, p.serveFireAndForget)
		mux.HandleStream(prefix+protocol.RouteStatus, p.serveStatus)
		mux.HandleStream(prefix+protocol.RouteCluster, p.serveCluster)
		mux.HandleRequest(prefix+protocol.RouteSelf, p.serveSelf)
	}
	for name, p := range i.pipelines {
		bind(name+".", p)
		if len(i.pipelines) == 1 {
			bind("", p)
		}
	}
	return mux.Handlers()
}

// hasten makes every batch eligible, because memory is short.
func (i *Ingestor) hasten() {
	for _, p := range i.pipelines {
		p.flusher.Hasten()
	}
}

// each does something for all pipelines at once.
func (i *Ingestor) each(do func(*Pipeline) error) error {
	errs := make(chan error, len(i.pipelines))
	for _, p := range i.pipelines {
		go func() { errs <- do(p) }()
	}
	var all []error
	for range i.pipelines {
		all = append(all, <-errs)
	}
	return errors.Join(all...)
}

func (i *Ingestor) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	var errs []error
	for _, p := range i.pipelines {
		errs = append(errs, p.close(ctx))
	}
	return errors.Join(errs...)
}

// ready says whether every pipeline takes events.
func (i *Ingestor) ready() error {
	if !i.serving.Load() {
		return errors.New("not serving")
	}
	for _, p := range i.pipelines {
		if err := p.ready(); err != nil {
			return err
		}
	}
	return nil
}

// Status returns the figures of every pipeline, by name.
func (i *Ingestor) Status() []Status {
	all := make([]Status, 0, len(i.pipelines))
	for _, p := range i.pipelines {
		all = append(all, p.Status())
	}
	slices.SortFunc(all, func(a, b Status) int { return strings.Compare(a.Pipeline, b.Pipeline) })
	return all
}

func (i *Ingestor) names() string {
	var names []string
	for name := range i.pipelines {
		names = append(names, name)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}
