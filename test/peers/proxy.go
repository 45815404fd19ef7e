package peers

import (
	"bytes"
	"cmp"
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
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
	Pass        Fault = iota
	Busy              // not forwarded; answered 503, the service is busy
	Throttled         // not forwarded; answered 429 with a Retry-After of an hour
	Broken            // not forwarded; answered 500, an internal error
	Denied            // not forwarded; answered 403, the credentials may not do this
	Unknown           // not forwarded; answered 501 NotImplemented
	CutBefore         // not forwarded; the connection is cut
	HalfRequest       // forwarded up to the middle of its body, where both connections are cut
	LostAnswer        // forwarded; the connection is cut in place of the answer
	LateError         // forwarded; answered 500 in place of the answer
	HalfAnswer        // forwarded; the connection is cut in the middle of the answer's body
)

// Speech is whose words the answers are that a [Proxy] makes up.
type Speech int

// The services.
const (
	S3Speech Speech = iota
	GCSSpeech
	AzureSpeech
)

// refusals are the answers to what is not forwarded, as the services document them: a code of each, and what it says.
var refusals = map[Fault]struct {
	status  int
	codes   [3]string // by Speech
	message string
}{
	Busy:      {http.StatusServiceUnavailable, [3]string{"SlowDown", "backendError", "ServerBusy"}, "Please reduce your request rate."},
	Throttled: {http.StatusTooManyRequests, [3]string{"SlowDown", "rateLimitExceeded", "OperationTimedOut"}, "Please reduce your request rate."},
	Broken:    {http.StatusInternalServerError, [3]string{"InternalError", "internalError", "InternalError"}, "We encountered an internal error. Please try again."},
	LateError: {http.StatusInternalServerError, [3]string{"InternalError", "internalError", "InternalError"}, "We encountered an internal error. Please try again."},
	Denied:    {http.StatusForbidden, [3]string{"AccessDenied", "forbidden", "AuthorizationPermissionMismatch"}, "Access denied."},
	Unknown:   {http.StatusNotImplemented, [3]string{"NotImplemented", "notImplemented", "NotImplemented"}, "A header you provided implies functionality that is not implemented"},
}

// Proxy stands in front of a server and does what a test wants to the requests.
type Proxy struct {
	URL    string
	Host   string // that requests are passed on to by name; empty: as the client has it, who may have signed it
	Speech Speech
	target string

	mu     sync.Mutex // guards decide
	decide func(*http.Request) Fault
	answer func(*http.Request)
}

// NewProxy is a proxy in front of s that passes everything on.
func NewProxy(t *testing.T, s *Server) *Proxy {
	t.Helper()
	p := &Proxy{target: s.URL}
	p.serve(t, httptest.NewServer(p))
	return p
}

// NewTLSProxy is the same proxy behind TLS, for 127.0.0.1; authority is the PEM of who issued its certificate, whom nobody
// trusts.
func NewTLSProxy(t *testing.T, s *Server) (p *Proxy, authority []byte) {
	t.Helper()
	p = &Proxy{target: s.URL}
	server := httptest.NewUnstartedServer(p)
	server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError) // of clients that do not trust it
	server.StartTLS()
	p.serve(t, server)
	return p, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

func (p *Proxy) serve(t *testing.T, server *httptest.Server) {
	t.Helper()
	t.Cleanup(server.Close)
	p.URL = server.URL
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
	case Busy, Throttled, Broken, Denied, Unknown:
		p.refuse(w, fault)
		return
	case CutBefore:
		panic(http.ErrAbortHandler)
	default:
	}
	// The server finishes what it was sent, even if the client has gone.
	res, err := p.forward(context.WithoutCancel(r.Context()), r, body, fault == HalfRequest)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer res.Body.Close()
	if answered != nil {
		answered(r)
	}
	switch fault {
	case LostAnswer, HalfRequest:
		panic(http.ErrAbortHandler)
	case LateError:
		p.refuse(w, fault)
		return
	default:
	}
	p.relay(w, res, fault)
}

// cut is the rest of a body that does not come.
type cut struct{}

func (cut) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func (p *Proxy) forward(ctx context.Context, r *http.Request, body []byte, half bool) (*http.Response, error) {
	var sent io.Reader = bytes.NewReader(body)
	if half {
		sent = io.MultiReader(bytes.NewReader(body[:len(body)/2]), cut{})
	}
	out, err := http.NewRequestWithContext(ctx, r.Method, p.target+r.URL.RequestURI(), sent) //nolint:gosec // that is what a proxy does
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
	if at := res.Header.Get("Location"); at != "" { // where an upload goes on: through here
		w.Header().Set("Location", strings.Replace(at, p.target, p.URL, 1))
	}
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

// refuse answers in place of the server.
func (p *Proxy) refuse(w http.ResponseWriter, fault Fault) {
	said := refusals[fault]
	code := said.codes[p.Speech]
	if fault == Throttled {
		w.Header().Set("Retry-After", "3600")
	}
	if p.Speech == GCSSpeech {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(said.status)
		_, _ = fmt.Fprintf(w, `{"error":{"code":%d,"message":%q,"errors":[{"reason":%q}]}}`, said.status, said.message, code)
		return
	}
	w.Header().Set("Content-Type", "application/xml")
	if p.Speech == AzureSpeech {
		w.Header().Set("X-Ms-Error-Code", code)
	}
	w.WriteHeader(said.status)
	_, _ = io.WriteString(w, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>"+code+"</Code><Message>"+said.message+"</Message></Error>")
}
