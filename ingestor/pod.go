package ingestor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/weir-dev/weir/protocol"
)

// PodConfig is what [RunPod] takes.
type PodConfig struct {
	Name      string // of the pod
	Pipeline  string
	Version   string
	Configure func(context.Context) (Config, error)                 // called for every attempt to start; listeners are left out
	Doors     func(context.Context) (rs, h net.Listener, err error) // opened once the table is
	Admin     net.Listener
	Pause     time.Duration // before the second attempt to start, doubled for each further one up to 30 s; 0 means 1 s
	Log       *slog.Logger
}

// The time between two attempts to start.
const (
	firstPause = time.Second
	lastPause  = 30 * time.Second
)

// RunPod runs a pipeline where nobody sits at a terminal. The admin door is open from the first moment to the last: a store
// that cannot be reached, or a table that cannot be written to, is tried again and told on /status instead of ending the
// process, and so is a pipeline that cannot go on, which waits there for somebody to look at it. Producers' doors open once
// the table is, so that nobody is sent to a pod that takes nothing. When ctx is done it drains and returns as [Ingestor.Run]
// does.
func RunPod(ctx context.Context, conf PodConfig) error {
	p := &pod{conf: conf}
	p.starting(nil)
	p.metrics.Store(prometheus.NewRegistry())
	srv := newHTTPServer(adminDoor(func() prometheus.Gatherer { return p.metrics.Load() }, p.status, p.serveTap))
	served := make(chan error, 1)
	go func() { served <- srv.Serve(conf.Admin) }()
	err := p.run(ctx)
	if cerr := srv.Close(); cerr != nil {
		err = errors.Join(err, fmt.Errorf("close %s: %w", conf.Admin.Addr(), cerr))
	}
	if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, fmt.Errorf("serve %s: %w", conf.Admin.Addr(), serr))
	}
	return err
}

// pod is a process before, while and after it runs an ingestor.
type pod struct {
	conf    PodConfig
	metrics atomic.Pointer[prometheus.Registry]
	report  atomic.Pointer[func() protocol.PodStatus]
	tap     atomic.Pointer[http.HandlerFunc]
}

// serveTap answers once an ingestor is there.
func (p *pod) serveTap(w http.ResponseWriter, r *http.Request) {
	if tap := p.tap.Load(); tap != nil {
		(*tap)(w, r)
		return
	}
	fail(w, http.StatusServiceUnavailable, "the pipeline has not started yet: try again later, or look at /status")
}

func (p *pod) run(ctx context.Context) error {
	in := p.start(ctx)
	if in == nil {
		return nil
	}
	var err error
	if in.conf.RSocket, in.conf.HTTP, err = p.conf.Doors(ctx); err != nil {
		return errors.Join(err, in.close(ctx))
	}
	status := in.PodStatus
	p.report.Store(&status)
	tap := http.HandlerFunc(in.serveTap)
	p.tap.Store(&tap)
	err = in.Run(ctx)
	for _, s := range in.Status() {
		p.conf.Log.Info("stopped", "pipeline", s.Pipeline, "committed", s.Committed, "rejected", s.Rejected, "notCommitted", s.InFlight,
			"version", s.Version)
	}
	if err == nil || ctx.Err() != nil {
		return err
	}
	p.conf.Log.Error("stopped for good: look at the table, then start the pod again", "pipeline", p.conf.Pipeline, "error", err)
	<-ctx.Done()
	return err
}

// start tries until an ingestor is there, or ctx is done: then it returns nil.
func (p *pod) start(ctx context.Context) *Ingestor {
	told := ""
	for pause := cmp.Or(p.conf.Pause, firstPause); ; pause = min(2*pause, lastPause) {
		in, err := p.try(ctx)
		if err == nil {
			return in
		}
		p.starting(err)
		if why := plain(err); why != told && ctx.Err() == nil {
			p.conf.Log.Error("cannot start, trying again", "pipeline", p.conf.Pipeline, "error", err)
			told = why
		}
		select {
		case <-time.After(pause/2 + rand.N(pause/2)):
		case <-ctx.Done():
			return nil
		}
	}
}

func (p *pod) try(ctx context.Context) (*Ingestor, error) {
	conf, err := p.conf.Configure(ctx)
	if err != nil {
		return nil, &openError{part: storagePart, err: err}
	}
	in, err := New(ctx, conf)
	p.metrics.Store(conf.Registry)
	return in, err
}

// starting makes the status that of a pod whose last attempt to start failed with err; nil: it was not made yet.
func (p *pod) starting(err error) {
	s := protocol.PipelineStatus{Pipeline: p.conf.Pipeline, State: protocol.StateStarting, Version: -1}
	s.Storage, s.Table = checks(err, -1)
	message := "starting"
	if err == nil {
		s.Storage = protocol.Check{State: protocol.CheckUnknown}
		s.Table = s.Storage
	} else {
		s.Error = plain(err)
		message = "cannot start: " + s.Error
	}
	report := func() protocol.PodStatus {
		return protocol.PodStatus{Version: p.conf.Version, Message: message, Pipelines: []protocol.PipelineStatus{s}}
	}
	p.report.Store(&report)
}

func (p *pod) status() protocol.PodStatus {
	s := (*p.report.Load())()
	s.Pod = p.conf.Name
	return s
}
