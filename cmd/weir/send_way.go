package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/weir-dev/weir/client"
	"github.com/weir-dev/weir/rsocket"
)

// The modes of weir send.
const (
	modeChannel       = "channel"
	modeRequest       = "request"
	modeFireAndForget = "fnf"
)

// way is how payloads travel.
type way interface {
	// send takes one payload of some records; data may be used again when it returns.
	send(ctx context.Context, data []byte, records int) error
	// finish waits until everything sent is settled, or ctx ends.
	finish(ctx context.Context) error
	totals() sendTotals
}

// sendTotals are the figures of a way so far.
type sendTotals struct {
	Payloads  int64 // sent
	Records   int64 // in them
	Bytes     int64 // sent
	Acked     int64 // payloads
	Accepted  int64 // records that acks named
	Rejected  int64 // records
	Dropped   int64 // payloads, by the overflow policy
	Unacked   int64 // payloads
	Version   int64 // of the table
	Credit    int
	AckDelay  time.Duration
	Unsettled bool // nothing is acknowledged in this mode
	Moved     int64
	Uncertain int64
	Pods      []podShare // nil: there is one server
}

func newWay(ctx context.Context, c *client.Client, o *sendOptions, rep *sendReport) (way, error) {
	switch o.mode {
	case modeRequest:
		w := &requests{c: c, o: o, rep: rep, slots: make(chan struct{}, o.inFlight)}
		w.ctx, w.stop = context.WithCancel(context.WithoutCancel(ctx))
		return w, nil
	case modeFireAndForget:
		return &fires{c: c}, nil
	default:
		return openChannel(ctx, c, o, rep)
	}
}

// channel sends on a stream.
type channel struct {
	s     *client.Stream
	mu    sync.Mutex
	index recordIndex // guarded by mu
	bytes int64       // guarded by mu
	rest  int64       // guarded by mu: what Close returned
}

// recordIndex says which record is the first of a payload. Payloads of one size after another take one entry.
type recordIndex struct {
	runs     []payloadRun
	payloads int64
	records  int64
}

// payloadRun is payloads of one size: the first of them, its first record, and how many records each has.
type payloadRun struct{ payload, record, size int64 }

func (x *recordIndex) add(records int) {
	if n := len(x.runs); n == 0 || x.runs[n-1].size != int64(records) {
		x.runs = append(x.runs, payloadRun{x.payloads, x.records, int64(records)})
	}
	x.payloads++
	x.records += int64(records)
}

// before is how many records are in the first n payloads.
func (x *recordIndex) before(n int64) int64 {
	if n >= x.payloads {
		return x.records
	}
	i, found := slices.BinarySearchFunc(x.runs, n, func(r payloadRun, n int64) int { return cmp.Compare(r.payload, n) })
	if !found {
		i--
	}
	return x.runs[i].record + (n-x.runs[i].payload)*x.runs[i].size
}

func openChannel(ctx context.Context, c *client.Client, o *sendOptions, rep *sendReport) (way, error) {
	policy, err := client.ParseOverflow(o.overflow)
	if err != nil {
		return nil, err
	}
	w := &channel{}
	first := int64(1)
	w.s, err = c.OpenStream(ctx, client.StreamOptions{
		Name: o.stream, Buffer: client.Buffer{Records: o.buffer}, Overflow: policy,
		OnRetry: func(err error, wait time.Duration) {
			rep.say("%v; trying again in %s", err, wait.Round(time.Millisecond))
		},
		OnReject: func(r client.Reject) {
			record := int64(0) // unknown once records were dropped
			if policy == client.Block || policy == client.Fail {
				record = w.before(r.Sequence-first) + int64(r.Row) + 1
			}
			rep.rejected(record, r.Reason)
		},
	})
	if err != nil {
		return nil, err
	}
	first = w.s.Acked() + 1
	return w, nil
}

// before is how many records are in the first n payloads.
func (w *channel) before(n int64) int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.index.before(n)
}

func (w *channel) send(ctx context.Context, data []byte, records int) error {
	w.mu.Lock()
	w.index.add(records) // before anybody can refuse one of them
	w.mu.Unlock()
	_, err := w.s.Send(ctx, data)
	if err == nil {
		w.mu.Lock()
		w.bytes += int64(len(data))
		w.mu.Unlock()
	}
	return err
}

func (w *channel) finish(ctx context.Context) error {
	rest, err := w.s.Close(ctx)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rest = int64(len(rest))
	if len(rest) > 0 {
		return fmt.Errorf("%w: %w", errUnfinished, err)
	}
	return err
}

func (w *channel) totals() sendTotals {
	st := w.s.Stats()
	w.mu.Lock()
	defer w.mu.Unlock()
	return sendTotals{
		Payloads: st.Sent, Records: w.index.before(st.Sent), Bytes: w.bytes, Acked: st.Acked, Accepted: st.Records, Rejected: st.Rejected, Dropped: st.Dropped,
		Unacked: w.rest, Version: st.Version, Credit: st.Credit, AckDelay: st.AckLatency,
		Moved: st.Moved, Uncertain: st.Uncertain, Pods: podShares(w.s.Pods()),
	}
}

// podShare is what one pod got.
type podShare struct {
	Pod      string `json:"pod"`
	State    string `json:"state"`
	Sent     int64  `json:"sent"`     // payloads, repeated ones included
	Acked    int64  `json:"acked"`    // payloads it acknowledged
	InFlight int64  `json:"inFlight"` // payloads it did not
}

func podShares(pods []client.PodStats) []podShare {
	var all []podShare
	for _, p := range pods {
		all = append(all, podShare{p.Pod, p.State, p.Sent, p.Acked, p.InFlight})
	}
	return all
}

// requests sends every payload as a request, some at once.
type requests struct {
	c     *client.Client
	o     *sendOptions
	rep   *sendReport
	slots chan struct{} // one taken by every request under way
	busy  sync.WaitGroup
	ctx   context.Context //nolint:containedctx // of the requests, which outlive an interrupt; ended by finish
	stop  context.CancelFunc

	mu     sync.Mutex
	t      sendTotals // guarded by mu
	failed error      // guarded by mu: the first failure
}

func (w *requests) send(ctx context.Context, data []byte, records int) error {
	select {
	case w.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		<-w.slots
		return nil // finish returns it
	}
	w.t.Payloads++
	w.t.Bytes += int64(len(data))
	first := w.t.Records + 1
	w.t.Records += int64(records)
	own := append([]byte(nil), data...)
	w.busy.Go(func() {
		defer func() { <-w.slots }()
		w.request(w.ctx, own, first, int64(records))
	})
	return nil
}

// request sends one payload until it is answered. Only a refusal that says that nothing was done is tried again.
func (w *requests) request(ctx context.Context, data []byte, first, records int64) {
	began := time.Now()
	for wait := 50 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		ack, err := w.c.Request(ctx, data)
		refused, ok := errors.AsType[*rsocket.Error](err)
		if ok && refused.Code == rsocket.CodeRejected && (w.o.giveUp == 0 || time.Since(began) < w.o.giveUp) {
			if sleep(ctx, rand.N(wait)) == nil {
				continue
			}
		}
		w.settle(ack, err, first, records, time.Since(began))
		return
	}
}

func (w *requests) settle(ack client.Ack, err error, first, records int64, took time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if refused, ok := errors.AsType[*rsocket.Error](err); ok && refused.Code == rsocket.CodeInvalid {
		w.t.Acked++
		w.t.Rejected += records
		w.rep.rejected(first, refused.Message)
		return
	}
	if err != nil {
		w.t.Unacked++
		if w.failed == nil {
			w.failed = err
		}
		return
	}
	w.t.Acked++
	w.t.Accepted += ack.Records
	w.t.Rejected += int64(len(ack.Rejected))
	w.t.Version = max(w.t.Version, ack.Version)
	w.t.AckDelay = took
	for _, r := range ack.Rejected {
		w.rep.rejected(first+int64(r.Row), r.Reason)
	}
}

func (w *requests) finish(ctx context.Context) error {
	stop := context.AfterFunc(ctx, w.stop)
	defer stop()
	defer w.stop()
	w.busy.Wait()
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.failed != nil {
		return fmt.Errorf("%w: %w", errUnfinished, w.failed)
	}
	return nil
}

func (w *requests) totals() sendTotals {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.t
}

// fires sends every payload without an answer.
type fires struct {
	c  *client.Client
	mu sync.Mutex
	t  sendTotals // guarded by mu
}

func (w *fires) send(ctx context.Context, data []byte, records int) error {
	if err := w.c.FireAndForget(ctx, data); err != nil {
		return err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.t.Payloads++
	w.t.Records += int64(records)
	w.t.Bytes += int64(len(data))
	return nil
}

// finish waits until the server has taken everything in; closing the connection earlier could cut off what the server had
// no room for yet.
func (w *fires) finish(ctx context.Context) error { return w.c.Barrier(ctx) }

func (w *fires) totals() sendTotals {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.t
	t.Unsettled = true
	return t
}
