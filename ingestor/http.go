package ingestor

import (
	"encoding/json"
	"io"
	"math"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/netutil"

	"github.com/weir-dev/weir/protocol"
)

const (
	readTimeout = 10 * time.Second // for the headers of a request
	bodyTimeout = 60 * time.Second // for its body
	idleTimeout = 2 * time.Minute  // for the next request on a connection
)

func newHTTPServer(h http.Handler) *http.Server {
	return &http.Server{Handler: h, ReadHeaderTimeout: readTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: 64 << 10}
}

// bounded lets the connections of ln beyond the first n wait until one of those is closed. ln may be nil, and n 0: no bound.
func bounded(ln net.Listener, n int) net.Listener {
	if ln == nil || n == 0 {
		return ln
	}
	return netutil.LimitListener(ln, n)
}

// httpDoor takes POST /v1/pipelines/{name}/events.
func (i *Ingestor) httpDoor() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/pipelines/{name}/events", func(w http.ResponseWriter, r *http.Request) {
		p := i.pipelines[r.PathValue("name")]
		if p == nil {
			fail(w, http.StatusNotFound, "pipeline "+strconv.Quote(r.PathValue("name"))+" is not here: this process runs "+i.names())
			return
		}
		p.serveHTTP(w, r, i.maxPayload)
	})
	return mux
}

// posted answers a POST.
type posted struct {
	Records  int64             `json:"records"`
	Version  int64             `json:"version"`
	Rejected []protocol.Reject `json:"rejected,omitempty"`
}

// serveHTTP answers after the commit.
func (p *Pipeline) serveHTTP(w http.ResponseWriter, r *http.Request, limit int64) {
	mime, err := p.mimeOf(r.Header.Get("Content-Type"))
	switch {
	case err != nil:
		fail(w, http.StatusUnsupportedMediaType, err.Error())
		return
	case r.Header.Get("Content-Encoding") != "":
		fail(w, http.StatusUnsupportedMediaType, "Content-Encoding is not taken: send the body as it is")
		return
	case r.ContentLength > limit:
		fail(w, http.StatusRequestEntityTooLarge, "the body has "+strconv.FormatInt(r.ContentLength, 10)+" bytes, at most "+strconv.FormatInt(limit, 10)+" are taken: split it")
		return
	case p.closed() != nil:
		w.Header().Set("Retry-After", "5")
		fail(w, http.StatusServiceUnavailable, p.closed().Message)
		return
	}
	body, status, err := p.readBody(w, r, limit)
	if err != nil {
		if status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", strconv.Itoa(p.retryAfter()))
		}
		fail(w, status, err.Error())
		return
	}
	outcomes := make(chan outcome, 1)
	if err := p.appendSingle(r.Context(), doorHTTP, mime, body, func(o outcome) { outcomes <- o }); err != nil {
		p.admit.pool.Release(len(body))
		fail(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	select {
	case o := <-outcomes:
		respond(w, o)
	case <-r.Context().Done(): // the client has gone; its records are committed all the same
		fail(w, http.StatusServiceUnavailable, "the request ended before its commit: the records may be in the table or not") // no answer would be 200
	}
}

func respond(w http.ResponseWriter, o outcome) {
	switch {
	case o.err != nil && failure(o.err).Code == protocol.CodeUnavailable: // stopped or suspended
		fail(w, http.StatusServiceUnavailable, failure(o.err).Message)
	case o.err != nil:
		fail(w, http.StatusInternalServerError, failure(o.err).Message)
	case o.records == 0 && len(o.rejected) > 0:
		writeJSON(w, http.StatusBadRequest, posted{0, o.version, o.rejected})
	default:
		writeJSON(w, http.StatusOK, posted{o.records, o.version, o.rejected})
	}
}

// retryAfter estimates in how many seconds the pool has room again, from the rate of commits.
func (p *Pipeline) retryAfter() int {
	s := p.Status()
	if s.AcceptedPerSec <= 0 {
		return 5
	}
	return int(min(60, max(1, math.Ceil(float64(s.InFlight)/float64(s.AcceptedPerSec)))))
}

func fail(w http.ResponseWriter, status int, message string) {
	writeJSON(w, status, struct {
		Error string `json:"error"`
	}{message})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(append(b, '\n')) // the peer has gone if this fails; there is nobody to tell
}

func writeText(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // as in writeJSON
}
