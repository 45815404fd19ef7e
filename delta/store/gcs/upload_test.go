package gcs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/remote"
)

// sessions is the part of the service that takes resumable uploads, as Google describes it
// (cloud.google.com/storage/docs/performing-resumable-uploads), which fake-gcs-server does not do: a session keeps what it
// has, in multiples of 256 KiB, and says how much that is.
type sessions struct {
	mu      sync.Mutex // guards the fields below, once it serves
	url     string
	data    []byte // of the session
	object  []byte // nil: not finished
	ended   bool
	request int
	fault   func(n int) fault // of request n, counted from 1
	kept    func(sent int) int
	strange []string // requests that the protocol does not have
}

type fault int

const (
	fine fault = iota
	lost       // carried out, the answer is not sent
	busy       // not carried out
	half       // what comes is cut in the middle
)

func (s *sessions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.request++
	f := s.fault(s.request)
	switch f {
	case busy:
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case half:
		body = body[:len(body)/2]
	case fine, lost:
	}
	out := httptest.NewRecorder()
	s.carryOut(out, r, body)
	if f == lost || f == half {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(w.Header(), out.Header())
	w.WriteHeader(out.Code)
}

func (s *sessions) carryOut(w http.ResponseWriter, r *http.Request, body []byte) {
	switch {
	case r.Method == http.MethodPost:
		s.data, s.object, s.ended = nil, nil, false
		w.Header().Set("Location", s.url+"/session")
	case r.Method == http.MethodDelete:
		s.ended = true
		w.WriteHeader(499)
	case s.ended:
		w.WriteHeader(http.StatusGone)
	case s.object != nil: // it is finished, and says so again
	default:
		s.put(w, r.Header.Get("Content-Range"), body)
	}
}

func (s *sessions) put(w http.ResponseWriter, span string, body []byte) {
	part, total, _ := strings.Cut(strings.TrimPrefix(span, "bytes "), "/")
	first, _, known := strings.Cut(part, "-")
	if offset, err := strconv.Atoi(first); known && (err != nil || offset != len(s.data)) {
		s.strange = append(s.strange, fmt.Sprintf("%s with %d bytes there", span, len(s.data)))
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	if known {
		s.data = append(s.data, body[:s.kept(len(body))]...)
	}
	if n, err := strconv.Atoi(total); err == nil && n == len(s.data) {
		s.object = s.data
		return
	}
	s.data = s.data[:len(s.data)/(256<<10)*(256<<10)]
	if len(s.data) > 0 {
		w.Header().Set("Range", fmt.Sprintf("bytes=0-%d", len(s.data)-1))
	}
	w.WriteHeader(http.StatusPermanentRedirect)
}

// session is a store whose service has one session.
func session(t *testing.T) (*sessions, store.Store) {
	t.Helper()
	s := &sessions{fault: func(int) fault { return fine }, kept: func(n int) int { return n }}
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.url = server.URL
	service, err := New(Config{Bucket: "b", Endpoint: server.URL, Env: func(name string) string { return map[string]string{"GOOGLE_SKIP_SIGNATURE": "true"}[name] }})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(service.Close)
	return s, remote.New(service, "gs://b", "", remote.Options{PartBytes: 512 << 10, Attempts: 5, Delay: time.Millisecond, MaxDelay: time.Millisecond})
}

// stream writes data as one object; afterwards the sessions are at rest, and the test's to look at.
func (s *sessions) stream(ctx context.Context, st store.Store, data []byte) error {
	defer s.mu.Lock()
	w, err := st.Create(ctx, "k")
	if err != nil {
		return err
	}
	if _, err := w.Write(data); err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.Close()
}

// TestResumes: whichever request of an upload is lost, refused for a while or cut, and whatever the service kept of a part,
// the upload goes on behind what there is, and the object is whole.
func TestResumes(t *testing.T) {
	data := bytes.Repeat([]byte("0123456789abcdef"), (2*512<<10+4096)/16)
	for name, f := range map[string]fault{"lost": lost, "busy": busy, "half": half} {
		for n, reached := 1, true; reached; n++ {
			t.Run(fmt.Sprintf("request %d %s", n, name), func(t *testing.T) {
				s, st := session(t)
				s.fault = func(request int) fault {
					if request == n {
						return f
					}
					return fine
				}
				if err := s.stream(t.Context(), st, data); err != nil || !bytes.Equal(s.object, data) || len(s.strange) > 0 {
					t.Errorf("%d bytes of %d, %v; strange: %q", len(s.object), len(data), err, s.strange)
				}
				reached = s.request > n || n == 1
			})
		}
	}
	t.Run("the service keeps less than it is sent", func(t *testing.T) {
		s, st := session(t)
		s.kept = func(n int) int { return min(n, 256<<10) }
		if err := s.stream(t.Context(), st, data); err != nil || !bytes.Equal(s.object, data) || len(s.strange) > 0 {
			t.Errorf("%d bytes of %d, %v; strange: %q", len(s.object), len(data), err, s.strange)
		}
	})
	t.Run("the session ends meanwhile", func(t *testing.T) {
		s, st := session(t)
		s.fault = func(n int) fault {
			s.ended = n >= 3
			return fine
		}
		err := s.stream(t.Context(), st, data)
		if store.ClassOf(err) != store.Retry || !strings.Contains(err.Error(), "the upload is gone") || s.object != nil {
			t.Error(err)
		}
	})
	t.Run("it is given up", func(t *testing.T) {
		s, st := session(t)
		s.fault = func(n int) fault {
			if n == 1 || n > 6 {
				return fine
			}
			return half
		}
		if err := s.stream(t.Context(), st, data); err == nil || s.object != nil || !s.ended {
			t.Errorf("%v; the session is ended: %t", err, s.ended)
		}
	})
}
