package ingestor

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// TestSlowBodiesDoNotHoldThePool has as many bodies announced as fill the pool many times over, of which next to nothing
// comes: others are served, and nothing stays charged once they are gone.
func TestSlowBodiesDoNotHoldThePool(t *testing.T) {
	h := start(t, nil)
	pool := h.in.admit.pool
	ctx, cancel := context.WithCancel(t.Context())
	const slow = 64
	for range slow {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", strings.TrimPrefix(h.http, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		context.AfterFunc(ctx, func() { _ = c.Close() })
		if _, err := io.WriteString(c, "POST /v1/pipelines/p/events HTTP/1.1\r\nHost: p\r\nContent-Length: 4000000\r\n\r\n{"); err != nil {
			t.Fatal(err)
		}
	}
	h.until(func() bool {
		held, _ := pool.Usage()
		return held >= min(slow*bodyStep, pool.Capacity()*3/4)
	})
	status, answer, _ := h.post("/v1/pipelines/p/events", "application/json", `{"a":1}`)
	if status != http.StatusOK {
		t.Errorf("beside bodies that do not come: %d %s", status, answer)
	}
	cancel()
	h.until(func() bool {
		held, _ := pool.Usage()
		return held == 0
	})
}

// TestChunkedBodies reads bodies of unknown length on every side of the steps they are read in.
func TestChunkedBodies(t *testing.T) {
	h := start(t, nil)
	for _, n := range []int{10, bodyStep - 1, bodyStep, bodyStep + 1, 2*bodyStep + 3, 900 << 10} {
		body := `{"a":"` + strings.Repeat("x", n-8) + `"}`
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, h.http+"/v1/pipelines/p/events", io.MultiReader(strings.NewReader(body)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Errorf("%d bytes: %d %s, %v", n, res.StatusCode, answer, err)
		}
		if err := res.Body.Close(); err != nil {
			t.Error(err)
		}
	}
	if held, _ := h.in.admit.pool.Usage(); held != 0 {
		t.Errorf("%d bytes stay charged", held)
	}
}
