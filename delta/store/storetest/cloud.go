package storetest

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/weir-dev/weir/delta/store/remote"
)

// Cloud plays the hosts of a cloud, so that a backend's requests go to the names that they have there: a request to any host,
// with TLS or without, comes to the handler of that host.
type Cloud struct {
	plain, secure *httptest.Server

	mu    sync.Mutex // guards the fields below
	hosts map[string]http.HandlerFunc
	asked map[string]int
}

// NewCloud has no hosts yet.
func NewCloud(t *testing.T) *Cloud {
	t.Helper()
	c := &Cloud{hosts: map[string]http.HandlerFunc{}, asked: map[string]int{}}
	serve := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(r.Host, ":")
		c.mu.Lock()
		h := c.hosts[host]
		c.asked[host]++
		c.mu.Unlock()
		if h == nil {
			t.Errorf("nobody plays %s, which is asked %s %s", r.Host, r.Method, r.URL)
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		h(w, r)
	})
	c.plain, c.secure = httptest.NewServer(serve), httptest.NewTLSServer(serve)
	t.Cleanup(c.plain.Close)
	t.Cleanup(c.secure.Close)
	return c
}

// Host sets who answers for a name.
func (c *Cloud) Host(name string, h http.HandlerFunc) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hosts[name] = h
}

// Asked is how many requests a host had.
func (c *Cloud) Asked(name string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.asked[name]
}

// URL is that of the cloud itself, for clients with connections of their own: its host is 127.0.0.1.
func (c *Cloud) URL() string { return c.plain.URL }

// Transport is a backend's, whose connections all end here.
func (c *Cloud) Transport(t *testing.T) *remote.Transport {
	t.Helper()
	transport, err := remote.NewTransport()
	if err != nil {
		t.Fatal(err)
	}
	trust := x509.NewCertPool()
	trust.AddCert(c.secure.Certificate())
	dialer := &net.Dialer{}
	secure := &tls.Dialer{NetDialer: dialer, Config: &tls.Config{RootCAs: trust, ServerName: "example.com", MinVersion: tls.VersionTLS12}} // as httptest has it
	transport.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, network, c.plain.Listener.Addr().String())
	}
	transport.DialTLSContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
		return secure.DialContext(ctx, network, c.secure.Listener.Addr().String())
	}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// Environment leaves a test nothing of the machine's credentials: the named variables are empty and HOME is a new directory. Then
// it sets env and writes files, by their paths in that directory, which %s stands for.
func Environment(t *testing.T, names []string, env, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		t.Setenv(name, "")
	}
	t.Setenv("HOME", dir)
	for name, content := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(content, "%s", dir)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, value := range env {
		t.Setenv(name, strings.ReplaceAll(value, "%s", dir))
	}
}
