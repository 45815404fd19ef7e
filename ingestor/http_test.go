package ingestor

import (
	"bufio"
	"errors"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// TestAPostWhoseClientHasClosedItsSide is not answered with success before its commit: net/http ends such a request, and would
// answer for a handler that says nothing.
func TestAPostWhoseClientHasClosedItsSide(t *testing.T) {
	h := start(t, func(c *Config) { c.Pipelines[0].Batch.MaxAge = time.Hour })
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(h.http, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	const post = "POST /v1/pipelines/p/events HTTP/1.1\r\nHost: p\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n" + `{"a":1}`
	if _, err := c.Write([]byte(post)); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
	if res.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("before its commit: %s", res.Status)
	}
}

// TestConnectionsOverHTTPWait beyond their number, so that idle ones cannot take all file descriptors.
func TestConnectionsOverHTTPWait(t *testing.T) {
	h := start(t, func(c *Config) { c.MaxConnections = 1 })
	addr := strings.TrimPrefix(h.http, "http://")
	var d net.Dialer
	first, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := d.DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if _, err := second.Write([]byte("GET / HTTP/1.1\r\nHost: p\r\nConnection: close\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if err := second.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(second)
	if _, err := r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("beside the first: %v", err)
	}
	if err := errors.Join(first.Close(), second.SetReadDeadline(time.Time{})); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := res.Body.Close(); err != nil {
		t.Fatal(err)
	}
}
