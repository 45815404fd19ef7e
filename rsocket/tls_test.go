package rsocket

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// authority issues certificates for a test.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	n    int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert: cert, key: key, pool: pool, n: 1}
}

// issue returns certificate and key in PEM.
func (a *authority) issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	a.n++
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(a.n), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, a.cert, &k.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	kder, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: kder})
}

func (a *authority) write(t *testing.T, dir, name string, stamp time.Time) (certFile, keyFile string) {
	t.Helper()
	cert, key := a.issue(t, name)
	certFile, keyFile = filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key")
	for file, b := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, stamp, stamp); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// serveTLS is startServer behind TLS.
func serveTLS(t *testing.T, conf *tls.Config, o ServerOptions) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // returns at once
	if err != nil {
		t.Fatal(err)
	}
	s := NewServer(o)
	served := make(chan error, 1)
	go func() { served <- s.Serve(context.Background(), tls.NewListener(l, conf)) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 200*time.Millisecond)
		defer cancel()
		_ = s.Shutdown(ctx) // streams may be cut off
		if err := <-served; !errors.Is(err, ErrServerClosed) {
			t.Errorf("Serve: %v", err)
		}
	})
	return l.Addr().String()
}

func TestMutualTLS(t *testing.T) {
	a := newAuthority(t)
	certFile, keyFile := a.write(t, t.TempDir(), "server", time.Now())
	files, err := LoadCertificate(certFile, keyFile, 0)
	if err != nil {
		t.Fatal(err)
	}
	h := echoHandlers()
	h.Setup = func(_ context.Context, i *ConnInfo) error {
		if i.TLS == nil || len(i.TLS.PeerCertificates) == 0 {
			return errors.New("no certificate")
		}
		i.Principal = i.TLS.PeerCertificates[0].Subject.CommonName
		return nil
	}
	h.RequestResponse = func(_ context.Context, r *Request, reply *Reply) { _ = reply.Send(data(r.Conn.Info().Principal)) }
	conf := &tls.Config{GetCertificate: files.GetCertificate, ClientCAs: a.pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13}
	addr := serveTLS(t, conf, ServerOptions{Handlers: h})
	cert, key := a.issue(t, "alice")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	c := dial(t, addr, ClientOptions{TLS: &tls.Config{RootCAs: a.pool, Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS13}})
	p, err := c.RequestResponse(testContext(t), Payload{})
	if err != nil || string(p.Data) != "alice" {
		t.Errorf("principal %q, %v", p.Data, err)
	}
	stranger, err := Dial(testContext(t), "tcp", addr, ClientOptions{TLS: &tls.Config{RootCAs: a.pool, MinVersion: tls.VersionTLS13}})
	if err == nil { // with TLS 1.3 the refusal comes with the first read
		_, err = stranger.RequestResponse(testContext(t), Payload{})
		_ = stranger.Close()
	}
	if err == nil {
		t.Error("a client without certificate was served")
	}
}

func TestCertificateReload(t *testing.T) {
	a := newAuthority(t)
	dir := t.TempDir()
	begin := time.Now().Add(-time.Hour)
	certFile, keyFile := a.write(t, dir, "first", begin)
	files, err := LoadCertificate(certFile, keyFile, time.Nanosecond)
	if err != nil {
		t.Fatal(err)
	}
	addr := serveTLS(t, &tls.Config{GetCertificate: files.GetCertificate, MinVersion: tls.VersionTLS13}, ServerOptions{Handlers: echoHandlers()})
	name := func() string {
		nc, err := tls.Dial("tcp", addr, &tls.Config{RootCAs: a.pool, MinVersion: tls.VersionTLS13}) //nolint:noctx // loopback
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		return nc.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	if s := name(); s != "first" {
		t.Errorf("certificate of %q", s)
	}
	if err := os.WriteFile(certFile, []byte("half written"), 0o600); err != nil {
		t.Fatal(err)
	}
	if s := name(); s != "first" || files.Err() == nil {
		t.Errorf("with a broken file: certificate of %q, error %v", s, files.Err())
	}
	a.write(t, dir, "second", begin.Add(time.Minute))
	if s := name(); s != "second" || files.Err() != nil {
		t.Errorf("after the change: certificate of %q, error %v", s, files.Err())
	}
	if _, err := LoadCertificate(filepath.Join(dir, "none"), keyFile, 0); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
}

// A client over TLS that is turned away and says nothing must not keep others from being accepted.
func TestSilentTLSClientsAreTurnedAway(t *testing.T) {
	a := newAuthority(t)
	cert, key := a.issue(t, "server")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	m := new(Metrics)
	addr := serveTLS(t, &tls.Config{Certificates: []tls.Certificate{pair}}, ServerOptions{Handlers: echoHandlers(), MaxConns: 1, Metrics: m})
	conf := &tls.Config{RootCAs: a.pool, ServerName: "127.0.0.1"}
	c := dial(t, addr, ClientOptions{TLS: conf})
	if _, err := c.RequestResponse(testContext(t), data("x")); err != nil {
		t.Fatal(err)
	}
	for range 20 {
		nc, err := net.Dial("tcp", addr) //nolint:noctx // loopback
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	eventually(t, func() bool { return m.Refused.Load() == 20 }, "all silent clients turned away")
}
