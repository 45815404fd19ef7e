package client

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/balancer"
	"github.com/weir-dev/weir/rsocket"
)

// certificate returns one for a name, which signs itself, and what trusts it.
func certificate(t *testing.T, name string) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{name}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// loopback is a name server that knows one name.
type loopback string

func (l loopback) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if host != string(l) {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
}

func (loopback) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// TestTLSNamesTheService: the certificate of a pod that DNS named by its address has the name of the service, and nothing
// else is taken for it.
func TestTLSNamesTheService(t *testing.T) {
	const service = "events.web.svc"
	cert, roots := certificate(t, service)
	ln, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
	if err != nil {
		t.Fatal(err)
	}
	server := rsocket.NewServer(rsocket.ServerOptions{Handlers: new(rsocket.Mux).Handlers()})
	served := make(chan error, 1)
	go func() { served <- server.Serve(context.Background(), ln) }()
	t.Cleanup(func() {
		if err := server.Shutdown(context.Background()); err != nil {
			t.Error(err)
		}
		if err := <-served; !errors.Is(err, rsocket.ErrServerClosed) {
			t.Error(err)
		}
	})
	_, port, err := net.SplitHostPort(ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		target, lookup, serverName, says string
	}{
		"the service":         {"weir://" + service + ":" + port, service, "", ""},
		"with the last dot":   {"weir://" + service + ".:" + port, service + ".", "", ""},
		"another service":     {"weir://orders.web.svc:" + port, "orders.web.svc", "", "not orders.web.svc"},
		"another name to ask": {"weir://10.0.0.7.nip.example:" + port, "10.0.0.7.nip.example", service, ""},
		"an address":          {"127.0.0.1:" + port, "", "", "127.0.0.1"},
		"an address, named":   {"127.0.0.1:" + port, "", service, ""},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{TLS: &tls.Config{RootCAs: roots, ServerName: tt.serverName, MinVersion: tls.VersionTLS13}}
			if tt.lookup != "" {
				target, err := balancer.ParseTarget(tt.target)
				if err != nil {
					t.Fatal(err)
				}
				o.Resolver = balancer.NewDNS(&target, loopback(tt.lookup))
			}
			c, err := Dial(t.Context(), tt.target, o)
			if tt.says == "" {
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Close(t.Context()); err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), "TLS with 127.0.0.1:"+port) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("it connects, or says %v", err)
			}
		})
	}
}
