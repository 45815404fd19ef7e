package remote

import (
	"net"
	"net/http"
	"time"
)

// NewTransport is the transport of a service. Requests have their own timeouts.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
		TLSHandshakeTimeout:   10 * time.Second,
		ExpectContinueTimeout: 5 * time.Second,
		MaxIdleConns:          64,
		MaxIdleConnsPerHost:   64,
		IdleConnTimeout:       60 * time.Second,
		ForceAttemptHTTP2:     false, // one stalled connection would stall all requests
		DisableCompression:    true,  // ranges are of the bytes as they are stored
	}
}
