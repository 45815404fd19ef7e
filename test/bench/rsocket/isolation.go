package main

import (
	"context"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/weir-dev/weir/rsocket"
)

// isolationBar is the least part of its rate that a stream keeps beside slow ones of the same connection.
const isolationBar = 0.95

// slowStreams is how many streams of the connection have a consumer that takes nothing: each holds all its credit.
const slowStreams = 8

// isolate measures a channel alone on its connection and beside channels whose consumers have stopped, turn by turn.
func isolate(ctx context.Context, seconds float64, rounds int, w io.Writer) error {
	srv, err := startServer(ctx, besiegedStack, false)
	if err != nil {
		return err
	}
	defer srv.stop()
	alone, err := weirDial(ctx, srv.addr)
	if err != nil {
		return err
	}
	defer alone.Close()
	shared, err := weirDial(ctx, srv.addr)
	if err != nil {
		return err
	}
	defer shared.Close()
	if err := stallStreams(ctx, shared.(weirClient).Conn); err != nil { //nolint:forcetypeassert // weirDial returns nothing else
		return err
	}
	payload := make([]byte, sizes[0])
	n, err := calibrate(func(n int) error { return alone.up(ctx, n, payload) }, seconds)
	if err != nil {
		return err
	}
	rate := func(c client) (float64, error) {
		start := time.Now()
		err := c.up(ctx, n, payload)
		return float64(n) / time.Since(start).Seconds(), err
	}
	var ratios []float64
	for i := range 2*rounds + 1 {
		before, err := rate(alone)
		if err != nil {
			return err
		}
		beside, err := rate(shared)
		if err != nil {
			return err
		}
		after, err := rate(alone)
		if err != nil {
			return err
		}
		ratios = append(ratios, beside/((before+after)/2))
		fmt.Fprintf(w, "turn %d: alone %.0f/s, beside %d streams whose consumers stopped %.0f/s, alone %.0f/s: %.2f\n", i+1, before, slowStreams, beside, after, ratios[i])
	}
	slices.Sort(ratios)
	median := ratios[len(ratios)/2]
	fmt.Fprintf(w, "median %.3f of the rate alone (bar %.2f)\n", median, isolationBar)
	if median < isolationBar {
		return fmt.Errorf("a slow stream costs its neighbour %.0f %% of its rate", 100*(1-median))
	}
	return nil
}

// stallStreams opens channels that nobody reads at the other end and sends all that their credit allows.
func stallStreams(ctx context.Context, c *rsocket.Conn) error {
	p := rsocket.Payload{Data: make([]byte, 1024)}
	for range slowStreams {
		out, _, err := c.RequestChannel(ctx, rsocket.Payload{Data: []byte("stall")}, 1, rsocket.ChannelOptions{})
		if err != nil {
			return err
		}
		for range credit {
			if err := out.Send(ctx, p); err != nil {
				return err
			}
		}
	}
	return nil
}
