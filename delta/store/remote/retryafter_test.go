package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-dev/weir/delta/store"
)

// web is a service whose puts are requests over a connection in memory, so that they pass the transport.
type web struct {
	played
	client *http.Client
	put    []time.Time // when they came
}

func (w *web) Put(ctx context.Context, _ string, data []byte, _ string, _ bool) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "http://service/", bytes.NewReader(data))
	if err != nil {
		return err
	}
	res, err := w.client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return &Error{Status: res.StatusCode, Code: "SlowDown"}
	}
	return nil
}

// pipes is a listener whose connections are in memory.
type pipes struct {
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		return here, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.done) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// serve runs test in a bubble of time with a store whose service answers its nth put by answer(n), and 200 when that writes nothing.
func serve(t *testing.T, answer func(n int, w http.ResponseWriter), test func(t *testing.T, w *web, s *Store)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		line := &pipes{conns: make(chan net.Conn), done: make(chan struct{})}
		transport, err := NewTransport()
		if err != nil {
			t.Fatal(err)
		}
		transport.DialContext = line.dial
		w := &web{played: played{objects: map[string]object{}}, client: &http.Client{Transport: transport}}
		server := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
			w.put = append(w.put, time.Now())
			answer(len(w.put), out)
		})}
		served := make(chan error)
		go func() { served <- server.Serve(line) }()
		test(t, w, New(w, "web://t", "", Options{}))
		transport.CloseIdleConnections()
		if err := server.Shutdown(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	})
}

// TestRetryAfter: a service that is busy says when to come again, in seconds or as a time of its own clock; it is then left
// alone for so long, and for the pause there is anyhow.
func TestRetryAfter(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		after  func(now time.Time) (after, date string)
		want   time.Duration
	}{
		"503, seconds": {503, func(time.Time) (string, string) { return "7", "" }, 7 * time.Second},
		"429, seconds": {429, func(time.Time) (string, string) { return " 2 ", "" }, 2 * time.Second},
		"503, a time": {503, func(now time.Time) (string, string) {
			return now.Add(9 * time.Second).UTC().Format(http.TimeFormat), ""
		}, 9 * time.Second},
		"503, another clock":  {503, func(now time.Time) (string, string) { return anHourOff(now, 5*time.Second) }, 5 * time.Second},
		"503, a time gone by": {503, func(now time.Time) (string, string) { return now.Add(-time.Hour).UTC().Format(http.TimeFormat), "" }, 0},
		"503, nonsense":       {503, func(time.Time) (string, string) { return "soon", "" }, 0},
		"503, negative":       {503, func(time.Time) (string, string) { return "-5", "" }, 0},
		"500, seconds":        {500, func(time.Time) (string, string) { return "7", "" }, 0}, // it does not know
	} {
		t.Run(name, func(t *testing.T) {
			serve(t, func(n int, w http.ResponseWriter) {
				if n > 1 {
					return
				}
				after, date := c.after(time.Now())
				w.Header().Set("Retry-After", after)
				if date != "" {
					w.Header().Set("Date", date)
				}
				w.WriteHeader(c.status)
			}, func(t *testing.T, w *web, s *Store) {
				if err := s.Put(t.Context(), "a", []byte("x")); err != nil {
					t.Fatal(err)
				}
				if d := w.put[1].Sub(w.put[0]); d < c.want+25*time.Millisecond || d > c.want+50*time.Millisecond {
					t.Errorf("it is tried again after %s, want %s and 25 to 50 ms", d, c.want)
				}
			})
		})
	}
}

// anHourOff is what a service says whose clock is an hour behind, and who wants to be left alone for so long.
func anHourOff(now time.Time, wait time.Duration) (after, date string) {
	there := now.Add(-time.Hour).UTC()
	return there.Add(wait).Format(http.TimeFormat), there.Format(http.TimeFormat)
}

// TestRetryAfterIsBounded: what a service may ask for has a bound, over all attempts; beyond it the caller is told at once.
func TestRetryAfterIsBounded(t *testing.T) {
	busyFor := func(after string) func(int, http.ResponseWriter) {
		return func(_ int, w http.ResponseWriter) {
			w.Header().Set("Retry-After", after)
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}
	for name, c := range map[string]struct {
		after    string
		requests int
		most     time.Duration
		says     string
	}{
		"an hour":      {"3600", 1, 0, "left alone for 1h0m0s, at attempt 1"},
		"too often":    {"12", 3, 25 * time.Second, "left alone for 12s, at attempt 3"},
		"often enough": {"1", 8, 14 * time.Second, "8 attempts failed"},
		"overflowing":  {strings.Repeat("9", 30), 8, 7 * time.Second, "8 attempts failed"}, // no number that is known
	} {
		t.Run(name, func(t *testing.T) {
			serve(t, busyFor(c.after), func(t *testing.T, w *web, s *Store) {
				begin := time.Now()
				err := s.Put(t.Context(), "a", nil)
				if store.ClassOf(err) != store.Retry || !strings.Contains(err.Error(), c.says) || len(w.put) != c.requests {
					t.Errorf("%d requests: %v", len(w.put), err)
				}
				if took := time.Since(begin); took > c.most {
					t.Errorf("it took %s, at most %s was wanted", took, c.most)
				}
			})
		})
	}
	t.Run("the caller's deadline", func(t *testing.T) {
		serve(t, busyFor("20"), func(t *testing.T, _ *web, s *Store) {
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			begin := time.Now()
			if err := s.Put(ctx, "a", nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != 3*time.Second {
				t.Errorf("after %s: %v", time.Since(begin), err)
			}
		})
	})
	t.Run("put if absent", func(t *testing.T) {
		serve(t, func(n int, w http.ResponseWriter) {
			busyFor(map[bool]string{true: "4", false: "3600"}[n == 1])(n, w)
		}, func(t *testing.T, w *web, s *Store) {
			err := s.PutIfAbsent(t.Context(), "a", nil)
			if store.ClassOf(err) != store.Retry || errors.Is(err, store.ErrNotWritten) || !strings.Contains(err.Error(), "left alone for 1h0m0s, at attempt 2") {
				t.Error(err)
			}
			if gaps := slices.Compact(w.put); len(gaps) != 2 || gaps[1].Sub(gaps[0]) < 4*time.Second {
				t.Errorf("the puts came at %v", w.put)
			}
		})
	})
}
