package remote

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
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
