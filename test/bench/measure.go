package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weir-dev/weir/test/gen"
	"github.com/weir-dev/weir/test/harness"
)

// load is one way into weir.
type load struct {
	name    string
	workers int
	// drive sends events with one worker until stop is closed, and returns when all it sent is acknowledged.
	drive func(ctx context.Context, w *harness.Weir, worker int, r *recorder, stop <-chan struct{}) error
}

// pool holds ready events; a sender copies one and writes its id. It has more of them than a data file has rows, so that
// none is in a file twice, which would make compression look better than it is.
var pool = sync.OnceValue(func() [][]byte {
	const distinct = 1 << 17
	events := make([][]byte, distinct)
	for i := range events {
		events[i] = gen.Events{Seed: 1}.Append(nil, int64(i))
	}
	return events
})

// recorder counts what the workers of a load do.
type recorder struct {
	next  atomic.Int64 // index of the next event
	acked atomic.Int64
	ids   atomic.Int64 // sum of the ids of acknowledged events

	mu        sync.Mutex // guards latencies
	latencies []time.Duration
	counting  atomic.Bool // whether latencies are kept
}

// event copies the next event to dst and returns it with its id.
func (r *recorder) event(dst []byte) ([]byte, int64) {
	i := r.next.Add(1) - 1
	events := pool()
	dst = append(dst[:0], events[i%int64(len(events))]...)
	id := gen.IDBase + i
	digits := dst[gen.IDOffset : gen.IDOffset+10]
	for v, k := id, 9; k >= 0; k-- {
		digits[k] = byte('0' + v%10)
		v /= 10
	}
	return dst, id
}

func (r *recorder) ack(events, ids int64) {
	r.acked.Add(events)
	r.ids.Add(ids)
}

func (r *recorder) latency(d time.Duration) {
	if !r.counting.Load() {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.latencies = append(r.latencies, d)
}

// point is the state of both processes at one moment.
type point struct {
	at                           time.Time
	acked                        int64
	serverCPU, clientCPU         time.Duration
	serverMallocs, clientMallocs float64
	serverRSS                    int64
}

func look(ctx context.Context, w *harness.Weir, r *recorder) (point, error) {
	server, err := harness.ReadUsage(w.PID())
	if err != nil {
		return point{}, err
	}
	mallocs, err := w.Metric(ctx, "go_memstats_mallocs_total")
	if err != nil {
		return point{}, err
	}
	var self syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &self); err != nil {
		return point{}, fmt.Errorf("getrusage: %w", err)
	}
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	return point{
		at: time.Now(), acked: r.acked.Load(), serverCPU: server.CPU, serverMallocs: mallocs, serverRSS: server.Peak,
		clientCPU:     time.Duration(self.Utime.Nano() + self.Stime.Nano()),
		clientMallocs: float64(mem.Mallocs),
	}, nil
}

// measure runs weir for one load, and checks the table after it.
func measure(ctx context.Context, bin, dir string, l load, o options) (result, error) {
	dir, err := os.MkdirTemp(dir, "")
	if err != nil {
		return result{}, err
	}
	w, err := harness.Run(ctx, bin, dir, harness.Pipeline{Table: filepath.Join(dir, "table")})
	if err != nil {
		return result{}, err
	}
	defer w.Kill()
	r := &recorder{}
	from, to, err := window(ctx, w, l, r, o)
	if err != nil {
		return result{}, fmt.Errorf("%w\n%s", err, w.Log())
	}
	if err := w.Stop(); err != nil {
		return result{}, err
	}
	res := newResult(l.name, from, to, r.latencies)
	res.Verified = r.acked.Load()
	if res.Reader, err = verify(ctx, w.Table, sums{r.acked.Load(), r.ids.Load()}); err != nil {
		return res, err
	}
	return res, os.RemoveAll(dir)
}

// window drives the load and returns the states at both ends of the window.
func window(ctx context.Context, w *harness.Weir, l load, r *recorder, o options) (from, to point, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := make(chan struct{})
	failed := make(chan error, l.workers)
	pool()
	for i := range l.workers {
		go func() { failed <- l.drive(ctx, w, i, r, stop) }()
	}
	pause := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case err := <-failed:
			return fmt.Errorf("a worker ended early: %w", errors.Join(err, ctx.Err()))
		}
	}
	if err := pause(o.warmup); err != nil {
		return from, to, err
	}
	if from, err = look(ctx, w, r); err != nil {
		return from, to, err
	}
	r.counting.Store(true)
	if err := pause(o.window); err != nil {
		return from, to, err
	}
	if to, err = look(ctx, w, r); err != nil {
		return from, to, err
	}
	r.counting.Store(false)
	close(stop)
	var errs []error
	for range l.workers {
		errs = append(errs, <-failed)
	}
	return from, to, errors.Join(errs...)
}
