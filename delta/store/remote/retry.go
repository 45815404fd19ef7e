package remote

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"time"

	"github.com/weir-dev/weir/delta/store"
)

// newToken names a write, so that it is known again when it is read back.
func newToken() string { return rand.Text() }

// Kind says what an answer means to the retries.
type Kind int

// The kinds.
const (
	Other    Kind = iota // judged by its status
	Absent               // there is no such object
	Exists               // a condition failed: there is an object, or it is another one
	Contends             // another request for the object is under way; nothing was written
	Refused              // it stays so until someone changes something
)

// Error is the answer of a service that refuses a request.
type Error struct {
	Kind      Kind
	Status    int
	Code      string
	Message   string
	RequestID string
	Hint      string
}

func (e *Error) Error() string {
	return (&store.ServiceError{Status: e.Status, Code: e.Code, Message: e.Message, RequestID: e.RequestID, Hint: e.Hint}).Error()
}

// errGone says that a part of an object cannot be had any more: it was replaced or deleted while it was read.
var errGone = errors.New("the object was replaced or deleted while it was read")

// verdict is what is made of the error of a request.
type verdict struct {
	err     error // for the caller
	again   bool
	applied bool // it may have taken place
}

// judge classifies the error of a request; timedOut says that it took longer than it may.
func judge(err error, timedOut bool) verdict {
	if e, ok := errors.AsType[*Error](err); ok {
		return judgeAnswer(e)
	}
	if e, ok := errors.AsType[*store.ServiceError](err); ok {
		return verdict{err: err, again: e.Class == store.Retry}
	}
	if errors.Is(err, errGone) {
		return verdict{err: err}
	}
	said := &store.ServiceError{Class: store.Retry, Err: err}
	switch {
	case timedOut:
		said.Message = "no answer in time"
		return verdict{said, true, true}
	case untrusted(err):
		said.Class, said.Hint = store.Reject, "trust the certificate of the service, or correct the endpoint"
		return verdict{err: said}
	case unsent(err):
		said.Hint = "the service is not there, or the endpoint is wrong"
		return verdict{said, true, false}
	}
	return verdict{said, true, true}
}

func judgeAnswer(e *Error) verdict {
	said := &store.ServiceError{Class: store.Reject, Status: e.Status, Code: e.Code, Message: e.Message, RequestID: e.RequestID, Hint: e.Hint}
	switch e.Kind {
	case Absent:
		return verdict{err: store.ErrNotExist}
	case Exists:
		return verdict{err: store.ErrExist}
	case Contends:
		said.Class = store.Retry
		return verdict{said, true, false}
	case Refused:
		return verdict{err: said}
	case Other:
	}
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		said.Class = store.Retry
		return verdict{said, true, false}
	case http.StatusNotImplemented:
		return verdict{err: said}
	}
	if e.Status >= http.StatusInternalServerError {
		said.Class = store.Retry
		return verdict{said, true, true} // it may have been carried out before it failed
	}
	return verdict{err: said}
}

// unsent says whether a request surely did not reach the service: no connection could be made.
func unsent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

func untrusted(err error) bool {
	_, cert := errors.AsType[*tls.CertificateVerificationError](err)
	return cert
}

// limit is how long a request may take that moves so many bytes.
func (o *Options) limit(bytes int) time.Duration {
	return o.Timeout + time.Duration(float64(bytes)/float64(o.BytesASec)*float64(time.Second))
}

// once sends a request within its time.
func (s *Store) once(ctx context.Context, bytes int, request func(context.Context) error) verdict {
	limited, cancel := context.WithTimeout(ctx, s.opt.limit(bytes))
	defer cancel()
	err := request(limited)
	if err == nil {
		return verdict{}
	}
	if ctx.Err() != nil {
		return verdict{err: ctx.Err(), applied: true}
	}
	return judge(err, limited.Err() != nil)
}

// retry sends a request that may be sent twice until it succeeds, is refused, or has been tried often enough.
func (s *Store) retry(ctx context.Context, bytes int, request func(context.Context) error) error {
	for n := 1; ; n++ {
		v := s.once(ctx, bytes, request)
		if !v.again || n >= s.opt.Attempts {
			return exhausted(v.err, n)
		}
		if err := s.pause(ctx, n); err != nil {
			return errors.Join(err, v.err)
		}
	}
}

// exhausted says how often a request was tried before its last error.
func exhausted(err error, attempts int) error {
	if err == nil || attempts == 1 {
		return err
	}
	return fmt.Errorf("%d attempts failed, the last: %w", attempts, err)
}

// pause waits before attempt n+1: half of a time that doubles with n, and a random part of the other half.
func (s *Store) pause(ctx context.Context, n int) error {
	most := min(s.opt.MaxDelay, time.Duration(float64(s.opt.Delay)*math.Pow(2, float64(min(n-1, 20)))))
	timer := time.NewTimer(most/2 + mathrand.N(most/2+1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drain reads a body into p, whole.
func drain(body io.ReadCloser, p []byte) error {
	_, err := io.ReadFull(body, p)
	cerr := body.Close()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF // fewer bytes than were announced
	}
	return errors.Join(err, cerr)
}
