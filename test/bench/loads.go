package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/weir-dev/weir/client"
	"github.com/weir-dev/weir/test/harness"
)

// streams returns a worker that sends over one RSocket stream, as fast as it can, or rate events a second if that is not 0.
func streams(rate int) func(context.Context, *harness.Weir, int, *recorder, <-chan struct{}) error {
	return func(ctx context.Context, w *harness.Weir, _ int, r *recorder, stop <-chan struct{}) error {
		c, err := client.Dial(ctx, w.RSocket, client.Options{Producer: "bench"})
		if err != nil {
			return err
		}
		t := &tracker{recorder: r}
		s, err := c.OpenStream(ctx, client.StreamOptions{OnAck: t.ack, OnReject: t.reject})
		if err != nil {
			return err
		}
		if err := t.send(ctx, s, rate, stop); err != nil {
			return err
		}
		if unacked, err := s.Close(ctx); err != nil {
			return fmt.Errorf("%d events not acknowledged: %w", len(unacked), err)
		}
		if t.rejected != "" {
			return fmt.Errorf("rejected: %s", t.rejected)
		}
		return c.Close(ctx)
	}
}

// run is how many events a stream sends between two looks at the clock.
const run = 200

// send sends until stop is closed.
func (t *tracker) send(ctx context.Context, s *client.Stream, rate int, stop <-chan struct{}) error {
	var pace <-chan time.Time
	if rate > 0 {
		tick := time.NewTicker(run * time.Second / time.Duration(rate))
		defer tick.Stop()
		pace = tick.C
	} else {
		always := make(chan time.Time)
		close(always)
		pace = always
	}
	var event []byte
	for {
		select {
		case <-stop:
			return nil
		case <-pace:
		}
		for range run {
			var id int64
			event, id = t.event(event)
			t.sent(id)
			if _, err := s.Send(ctx, event); err != nil {
				return err
			}
		}
	}
}

// posts returns a worker that sends n events a POST, one POST at a time.
func posts(n int) func(context.Context, *harness.Weir, int, *recorder, <-chan struct{}) error {
	return func(ctx context.Context, w *harness.Weir, _ int, r *recorder, stop <-chan struct{}) error {
		var body, event []byte
		for {
			select {
			case <-stop:
				return nil
			default:
			}
			body = body[:0]
			ids := int64(0)
			for range n {
				var id int64
				event, id = r.event(event)
				body = append(append(body, event...), '\n')
				ids += id
			}
			begin := time.Now()
			if err := post(ctx, w, body, n); err != nil {
				return err
			}
			r.latency(time.Since(begin))
			r.ack(int64(n), ids)
		}
	}
}

// web keeps a connection for every worker.
var web = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1 << 16, DisableCompression: true}}

func post(ctx context.Context, w *harness.Weir, body []byte, n int) error {
	url := "http://" + w.HTTP + "/v1/pipelines/" + w.Name + "/events"
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
		if err != nil {
			return err
		}
		req.Header.Set("Content-Type", "application/json")
		if n > 1 {
			req.Header.Set("Content-Type", "application/x-ndjson")
		}
		res, err := web.Do(req)
		if err != nil {
			return err
		}
		answer, err := io.ReadAll(res.Body)
		res.Body.Close()
		switch {
		case err != nil:
			return err
		case res.StatusCode == http.StatusOK:
			return nil
		case res.StatusCode != http.StatusTooManyRequests:
			return fmt.Errorf("POST: %s: %s", res.Status, answer)
		}
		select { // it says "later" in whole seconds, which is long here
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
