package client

import (
	"context"
	"io"
	"net"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// through dials s over a relay that takes nothing from the client any more once stuck is set, and ends when over is closed.
func (s *scripted) through(stuck *atomic.Bool, over <-chan struct{}) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		far, err := s.listener.Dial(ctx)
		if err != nil {
			return nil, err
		}
		ours, near := net.Pipe()
		closed := func() { _ = near.Close(); _ = far.Close() }
		go func() {
			defer closed()
			for b := make([]byte, 4096); !stuck.Load(); {
				n, err := near.Read(b)
				if err != nil {
					return
				}
				if _, err := far.Write(b[:n]); err != nil {
					return
				}
			}
			<-over
		}()
		go func() {
			defer closed()
			_, _ = io.Copy(near, far) // until either end is closed
		}()
		return ours, nil
	}
}

// TestCloseOfAStreamWhoseServerDoesNotRead ends with its context, however much is in the write buffer.
func TestCloseOfAStreamWhoseServerDoesNotRead(t *testing.T) {
	const payload = 16 << 10
	for _, n := range []int{1, 31, 32, 33} { // 32 fill the write buffer
		synctest.Test(t, func(t *testing.T) {
			srv, stuck, over := newScripted(t), new(atomic.Bool), make(chan struct{})
			srv.start()
			c, err := Dial(t.Context(), "memory:1", Options{DialContext: srv.through(stuck, over)})
			if err != nil {
				t.Fatal(err)
			}
			s, p := srv.open(t, c, StreamOptions{})
			p.in.Grant(1000)
			synctest.Wait()
			stuck.Store(true)
			for range n {
				if _, err := s.Send(t.Context(), make([]byte, payload)); err != nil {
					t.Fatal(err)
				}
			}
			synctest.Wait()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			began := time.Now()
			rest, err := s.Close(ctx)
			if took := time.Since(began); len(rest) != n || err == nil || took > 10*time.Second {
				t.Errorf("%d of %d payloads, %v after %v", len(rest), n, err, took)
			}
			_ = c.Close(canceled())
			close(over)
			srv.stop(t)
		})
	}
}
