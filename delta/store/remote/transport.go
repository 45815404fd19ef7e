package remote

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Transport is how the requests of a service go out. It notes for the store how long a busy service asks it to wait, which
// the clients of the services do not pass on.
type Transport struct{ *http.Transport }

// NewTransport is the transport of a service. Requests have their own timeouts. The authorities in the PEM files are trusted
// for the service's certificate, besides those of the system; empty names are left out.
//
// Error: a file that cannot be read or has no certificate.
func NewTransport(authorities ...string) (*Transport, error) {
	trust, err := trusting(authorities)
	if err != nil {
		return nil, err
	}
	return &Transport{&http.Transport{
		TLSClientConfig:       trust,
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: 5 * time.Second,
		MaxIdleConns:          64,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       60 * time.Second,
		ForceAttemptHTTP2:     false, // one stalled connection would stall all requests
		DisableCompression:    true,  // ranges are of the bytes as they are stored
	}}, nil
}

func trusting(authorities []string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	for _, file := range authorities {
		if file == "" {
			continue
		}
		if c.RootCAs == nil {
			system, err := x509.SystemCertPool()
			if err != nil {
				system = x509.NewCertPool() // there is none
			}
			c.RootCAs = system
		}
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("certificates of authorities: %w", err)
		}
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("certificates of authorities: %s has no certificate in PEM", file)
		}
	}
	return c, nil
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := t.Transport.RoundTrip(r)
	if a, ok := r.Context().Value(askedKey{}).(*asked); ok && err == nil {
		a.note(res, time.Now())
	}
	return res, err
}

// asked is how long a service that is busy asked to wait, during one attempt.
type asked struct{ nanos atomic.Int64 }

type askedKey struct{}

func withAsked(ctx context.Context) (context.Context, *asked) {
	a := new(asked)
	return context.WithValue(ctx, askedKey{}, a), a
}

func (a *asked) get() time.Duration { return time.Duration(a.nanos.Load()) }

// note reads Retry-After (RFC 9110, section 10.2.3) of an answer: seconds, or a time by the service's own clock.
func (a *asked) note(res *http.Response, now time.Time) {
	if res.StatusCode != http.StatusTooManyRequests && res.StatusCode != http.StatusServiceUnavailable {
		a.nanos.Store(0)
		return
	}
	after := strings.TrimSpace(res.Header.Get("Retry-After"))
	var wait time.Duration
	if s, err := strconv.ParseUint(after, 10, 31); err == nil {
		wait = time.Duration(s) * time.Second
	} else if at, err := http.ParseTime(after); err == nil {
		if there, err := http.ParseTime(res.Header.Get("Date")); err == nil {
			now = there
		}
		wait = max(0, at.Sub(now))
	}
	a.nanos.Store(int64(wait))
}

// ContentRange reads where a part of an object begins and how large the whole is: "bytes 0-9/100".
func ContentRange(header string) (offset, size int64, err error) {
	span, total, _ := strings.Cut(strings.TrimPrefix(header, "bytes "), "/")
	first, _, _ := strings.Cut(span, "-")
	offset, err = strconv.ParseInt(first, 10, 64)
	if err == nil {
		size, err = strconv.ParseInt(total, 10, 64)
	}
	if err != nil || offset < 0 || size < offset {
		return 0, 0, fmt.Errorf("unknown Content-Range %q", header)
	}
	return offset, size, nil
}
