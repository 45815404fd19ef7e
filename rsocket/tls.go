package rsocket

import (
	"crypto/tls"
	"fmt"
	"os"
	"sync"
	"time"
)

// A server takes TLS connections from a listener of crypto/tls; mutual TLS and everything else is a matter of its config. The
// handshake runs on the connection's goroutine within SetupTimeout. [ConnInfo.TLS] has the client's certificates.

type tlsState = tls.ConnectionState

// tlsOf returns the state of a TLS transport whose handshake is done, or nil.
func tlsOf(nc Transport) *tls.ConnectionState {
	switch t := nc.(type) {
	case *tls.Conn:
		s := t.ConnectionState()
		return &s
	case *wsConn:
		return t.tls
	default:
		return nil
	}
}

// CertificateFiles is a server certificate in PEM files that may be replaced while the server runs, as Kubernetes does with
// mounted Secrets. Use its GetCertificate in a tls.Config.
type CertificateFiles struct {
	certFile, keyFile string
	interval          time.Duration

	mu      sync.Mutex // guards the fields below
	cert    *tls.Certificate
	stamp   [2]time.Time // modification times of the files cert was read from
	checked time.Time
	err     error // of the last attempt to reload
}

// LoadCertificate reads the files. Later handshakes look at most every interval (default 10 s) whether they have changed.
func LoadCertificate(certFile, keyFile string, interval time.Duration) (*CertificateFiles, error) {
	if interval <= 0 {
		interval = 10 * time.Second
	}
	c := &CertificateFiles{certFile: certFile, keyFile: keyFile, interval: interval}
	if err := c.load(); err != nil {
		return nil, err
	}
	c.checked = time.Now()
	return c, nil
}

// GetCertificate is for tls.Config. While new files cannot be read, the old certificate stays in use.
func (c *CertificateFiles) GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if now := time.Now(); now.Sub(c.checked) >= c.interval {
		c.checked = now
		c.err = c.load()
	}
	return c.cert, nil
}

// Err returns why the last attempt to reload failed, or nil.
func (c *CertificateFiles) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// load reads the files if they have changed, with mu held.
func (c *CertificateFiles) load() error {
	var stamp [2]time.Time
	for i, name := range []string{c.certFile, c.keyFile} {
		st, err := os.Stat(name)
		if err != nil {
			return fmt.Errorf("load certificate: %w", err)
		}
		stamp[i] = st.ModTime()
	}
	if stamp == c.stamp {
		return nil
	}
	cert, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("load certificate: %w", err)
	}
	c.cert, c.stamp = &cert, stamp
	return nil
}
