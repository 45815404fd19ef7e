package peers

import (
	"cmp"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Fault is what a [Proxy] does to a request.
type Fault int

// The faults. What is not forwarded does not reach the server.
const (
	Pass       Fault = iota
	Busy             // not forwarded; answered 503 SlowDown
	Broken           // not forwarded; answered 500 InternalError
	CutBefore        // not forwarded; the connection is cut
	LostAnswer       // forwarded; the connection is cut in place of the answer
	LateError        // forwarded; answered 500 InternalError in place of the answer
	Unknown          // not forwarded; answered 501 NotImplemented
	HalfAnswer       // forwarded; the connection is cut in the middle of the answer's body
)

// Proxy stands in front of a server and does what a test wants to the requests.
type Proxy struct {
	URL    string
	Host   string // that requests are passed on to by name; empty: as the client has it, who may have signed it
	target string

	mu     sync.Mutex // guards decide
	decide func(*http.Request) Fault
	answer func(*http.Request)
}

// NewProxy is a proxy in front of s that passes everything on.
func NewProxy(t *testing.T, s *Server) *Proxy {
	t.Helper()
	p := &Proxy{target: s.URL}
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// On sets what decides about each request from now on, nil for nothing, and what is called when a request was carried out,
// before its answer goes back.
func (p *Proxy) On(decide func(*http.Request) Fault, answer func(*http.Request)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.decide, p.answer = decide, answer
}

func (p *Proxy) set() (func(*http.Request) Fault, func(*http.Request)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.decide, p.answer
}

// ServeHTTP implements [http.Handler].
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	fault := Pass
	decide, answered := p.set()
	if decide != nil {
		fault = decide(r)
	}
	switch fault {
	case Busy:
		refuse(w, http.StatusServiceUnavailable, "SlowDown", "Please reduce your request rate.")
		return
	case Broken:
		refuse(w, http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again.")
		return
	case Unknown:
		refuse(w, http.StatusNotImplemented, "NotImplemented", "A header you provided implies functionality that is not implemented")
		return
	case CutBefore:
		panic(http.ErrAbortHandler)
	default:
	}
	// The server finishes what it was sent, even if the client has gone.
	res, err := p.forward(context.WithoutCancel(r.Context()), r, body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer res.Body.Close()
	if answered != nil {
		answered(r)
	}
	switch fault {
	case LostAnswer:
		panic(http.ErrAbortHandler)
	case LateError:
		refuse(w, http.StatusInternalServerError, "InternalError", "We encountered an internal error. Please try again.")
		return
	default:
	}
	p.relay(w, res, fault)
}

func (p *Proxy) forward(ctx context.Context, r *http.Request, body []byte) (*http.Response, error) {
	out, err := http.NewRequestWithContext(ctx, r.Method, p.target+r.RequestURI, strings.NewReader(string(body))) //nolint:gosec // that is what a proxy does
	if err != nil {
		return nil, err
	}
	out.Header = r.Header.Clone()
	out.Host = cmp.Or(p.Host, r.Host)
	out.ContentLength = int64(len(body))
	return http.DefaultTransport.RoundTrip(out)
}

func (p *Proxy) relay(w http.ResponseWriter, res *http.Response, fault Fault) {
	data, err := io.ReadAll(res.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), res.Header)
	if res.Request.Method != http.MethodHead && res.StatusCode != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	}
	w.WriteHeader(res.StatusCode)
	if fault == HalfAnswer {
		_, _ = w.Write(data[:len(data)/2])
		panic(http.ErrAbortHandler)
	}
	_, _ = w.Write(data) // the client may have gone
}

func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>"+code+"</Code><Message>"+message+"</Message></Error>")
}
