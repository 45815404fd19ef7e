package commit

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/weir-dev/weir/ingestor/event"
)

func newStreams() *streams { return &streams{byName: map[string]*stream{}} }

func request(epoch, acked int64) OpenRequest {
	return OpenRequest{Stream: event.StreamID{Name: "s", Epoch: epoch}, Incarnation: "i", Acked: acked}
}

func TestClaims(t *testing.T) {
	s, ctx := newStreams(), t.Context()
	if o, err := s.open(ctx, request(1, 0)); err != nil || o != (Opened{1, 1}) {
		t.Fatalf("first claim: %+v, %v", o, err)
	}
	s.advance([]Range{{event.StreamID{Name: "s", Epoch: 1}, 40}})

	if _, err := s.open(ctx, request(1, 0)); !isStale(err, 1) {
		t.Fatalf("the same epoch again: %v", err)
	}
	other := request(2, 0)
	other.Incarnation = "j"
	if _, err := s.open(ctx, other); !errors.Is(err, ErrFenced) {
		t.Fatalf("another incarnation: %v", err)
	}
	if o, err := s.open(ctx, request(5, 30)); err != nil || o != (Opened{5, 41}) {
		t.Fatalf("a later epoch goes on after what is settled: %+v, %v", o, err)
	}
	s.advance([]Range{{event.StreamID{Name: "s", Epoch: 1}, 90}}) // what a superseded claim left behind counts no more
	if o, err := s.open(ctx, request(6, 40)); err != nil || o.ResumeFrom != 41 {
		t.Fatalf("%+v, %v", o, err)
	}
	_, err := s.open(ctx, request(7, 41))
	if e, ok := errors.AsType[*OutOfRangeError](err); !ok || e.Expected != 41 {
		t.Fatalf("a claim that knows of more than was settled: %v", err)
	}
	if _, err := s.open(ctx, request(7, 40)); !isStale(err, 7) {
		t.Fatalf("an epoch that was tried counts: %v", err)
	}
}

func isStale(err error, highest int64) bool {
	e, ok := errors.AsType[*StaleEpochError](err)
	return ok && e.Highest == highest
}

// TestUnknownStreamGoesOnWhereItsProducerSays is the second start of a pod whose memory is gone.
func TestUnknownStreamGoesOnWhereItsProducerSays(t *testing.T) {
	if o, err := newStreams().open(t.Context(), request(4, 99)); err != nil || o != (Opened{4, 100}) {
		t.Fatalf("%+v, %v", o, err)
	}
}

// TestALaterClaimWaitsForTheEarlier lets a later claim wait until what the earlier one took in is settled.
func TestALaterClaimWaitsForTheEarlier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStreams()
		settled := make(chan struct{})
		first := request(1, 0)
		first.Revoke = func(ctx context.Context) error {
			select {
			case <-settled:
				s.advance([]Range{{first.Stream, 7}})
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		if _, err := s.open(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		short, cancel := context.WithCancel(t.Context())
		results := make(chan error, 2)
		go func() { _, err := s.open(short, request(2, 0)); results <- err }()
		synctest.Wait()
		go func() {
			o, err := s.open(t.Context(), request(3, 0))
			if err == nil && o.ResumeFrom != 8 {
				err = errors.New("went on before the earlier claim was settled")
			}
			results <- err
		}()
		synctest.Wait()
		cancel()
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Fatalf("a claim whose caller has gone: %v", err)
		}
		synctest.Wait()
		close(settled)
		if err := <-results; err != nil {
			t.Fatal(err)
		}
	})
}

func TestIdleStreamsAreBounded(t *testing.T) {
	s := newStreams()
	for i := range maxIdleStreams + 1000 {
		id := event.StreamID{Name: strconv.Itoa(i), Epoch: 1}
		if _, err := s.open(t.Context(), OpenRequest{Stream: id, Incarnation: "i"}); err != nil {
			t.Fatal(err)
		}
		s.leave(id)
	}
	if len(s.byName) > maxIdleStreams || s.idle != len(s.byName) {
		t.Fatalf("%d streams are remembered, %d counted idle", len(s.byName), s.idle)
	}
	open := event.StreamID{Name: "open", Epoch: 1}
	if _, err := s.open(t.Context(), OpenRequest{Stream: open, Incarnation: "i"}); err != nil {
		t.Fatal(err)
	}
	s.forget()
	if s.byName["open"] == nil {
		t.Fatal("an open stream was forgotten")
	}
}

// TestAClaimIsLeftWhileALaterOneComes races the end of sessions with the claims that follow them.
func TestAClaimIsLeftWhileALaterOneComes(t *testing.T) {
	const claims = 5000
	s, last := newStreams(), new(atomic.Int64)
	var leaving sync.WaitGroup
	leaving.Go(func() {
		for epoch := int64(0); epoch < claims; epoch = last.Load() {
			s.leave(event.StreamID{Name: "s", Epoch: epoch})
		}
	})
	for epoch := int64(1); epoch <= claims; epoch++ {
		r := request(epoch, 0)
		r.Revoke = func(context.Context) error { return nil }
		if _, err := s.open(t.Context(), r); err != nil {
			t.Error(err)
		}
		last.Store(epoch)
	}
	leaving.Wait()
}

// TestARefusedClaimLeavesTheStreamIdle: a claim out of range ends the one before, whose owner leaves after it. Neither keeps
// the stream in memory for ever.
func TestARefusedClaimLeavesTheStreamIdle(t *testing.T) {
	s, ctx := newStreams(), t.Context()
	first := request(1, 0)
	first.Revoke = func(context.Context) error { return nil }
	if _, err := s.open(ctx, first); err != nil {
		t.Fatal(err)
	}
	if _, err := s.open(ctx, request(2, 99)); err == nil {
		t.Fatal("a claim that knows of more than was settled")
	}
	s.leave(first.Stream)
	if s.idle != 1 || s.byName["s"].left.IsZero() || s.byName["s"].revoke != nil {
		t.Fatalf("%d idle, %+v", s.idle, s.byName["s"])
	}
}
