package remote

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
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
	applied bool          // it may have taken place
	after   time.Duration // that the service asks to wait before it is sent again
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
		return verdict{err: said, again: true, applied: true}
	case untrusted(err) != "":
		said.Class, said.Hint = store.Reject, untrusted(err)
		return verdict{err: said}
	case unsent(err):
		said.Hint = "the service is not there, or the endpoint is wrong"
		return verdict{err: said, again: true}
	}
	return verdict{err: said, again: true, applied: true}
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
		return verdict{err: said, again: true}
	case Refused:
		return verdict{err: said}
	case Other:
	}
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests:
		said.Class = store.Retry
		return verdict{err: said, again: true}
	case http.StatusNotImplemented:
		return verdict{err: said}
	}
	if e.Status >= http.StatusInternalServerError {
		said.Class = store.Retry
		return verdict{err: said, again: true, applied: true} // it may have been carried out before it failed
	}
	return verdict{err: said}
}

// inBucket is a request that no absent object can fail: if the service finds something missing, it is the bucket.
func inBucket(request func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		err := request(ctx)
		if e, ok := errors.AsType[*Error](err); ok && e.Kind == Absent {
			refused := *e
			refused.Kind, refused.Hint = Refused, cmp.Or(e.Hint, "make the bucket, or correct the URI or the endpoint")
			return &refused
		}
		return err
	}
}

// unsent says whether a request surely did not reach the service: no connection could be made.
func unsent(err error) bool {
	op, ok := errors.AsType[*net.OpError](err)
	return ok && op.Op == "dial"
}

// untrusted is what to do about a service with which there can be no safe connection; empty: that is not what failed.
func untrusted(err error) string {
	if errors.Is(err, http.ErrSchemeMismatch) {
		return "the service has no TLS: write http:// in the endpoint"
	}
	if _, cert := errors.AsType[*tls.CertificateVerificationError](err); !cert {
		return ""
	}
	if _, name := errors.AsType[x509.HostnameError](err); name {
		return "correct the endpoint: its certificate is for other names"
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return "renew the certificate of the service, or set the clock of this machine right (NTP)"
	}
	return "if you trust who issued its certificate, name a PEM file of that authority in SSL_CERT_FILE, or in AWS_CA_BUNDLE for S3"
}

// limit is how long a request may take that moves so many bytes.
func (o *Options) limit(bytes int) time.Duration {
	return o.Timeout + time.Duration(float64(bytes)/float64(o.BytesASec)*float64(time.Second))
}

// once sends a request within its time.
func (s *Store) once(ctx context.Context, bytes int, request func(context.Context) error) verdict {
	limited, cancel := context.WithTimeout(ctx, s.opt.limit(bytes))
	defer cancel()
	limited, asked := withAsked(limited)
	err := request(limited)
	if err == nil {
		return verdict{}
	}
	if ctx.Err() != nil {
		return verdict{err: ctx.Err(), applied: true}
	}
	v := judge(err, limited.Err() != nil)
	v.after = asked.get()
	return v
}

// retry sends a request that may be sent twice until it succeeds, is refused, or has been tried often enough.
func (s *Store) retry(ctx context.Context, bytes int, request func(context.Context) error) error {
	for a := new(attempts); ; {
		v := s.once(ctx, bytes, request)
		if v.err == nil {
			return nil
		}
		if !s.more(a, v) {
			return a.exhausted(v)
		}
		if err := s.pause(ctx, a, v); err != nil {
			return errors.Join(err, v.err)
		}
	}
}

// attempts are those of one request.
type attempts struct {
	n      int           // that failed
	waited time.Duration // because the service asked for it
	asked  bool          // for longer than is waited
}

// more counts a failed attempt and says whether another one is made.
func (s *Store) more(a *attempts, v verdict) bool {
	a.n++
	a.asked = v.again && a.waited+v.after > s.opt.Patience
	return v.again && !a.asked && a.n < s.opt.Attempts
}

// exhausted says how often a request was tried before its last error, or that the service will not be asked for long.
func (a *attempts) exhausted(v verdict) error {
	switch {
	case a.asked:
		return fmt.Errorf("the service asks to be left alone for %s, at attempt %d: %w", v.after, a.n, v.err)
	case a.n > 1:
		return fmt.Errorf("%d attempts failed, the last: %w", a.n, v.err)
	}
	return v.err
}

// pause waits before the next attempt: as long as the service asked for, and then half of a time that doubles with each
// attempt, and a random part of the other half.
func (s *Store) pause(ctx context.Context, a *attempts, v verdict) error {
	most := min(s.opt.MaxDelay, time.Duration(float64(s.opt.Delay)*math.Pow(2, float64(min(a.n-1, 20)))))
	a.waited += v.after
	timer := time.NewTimer(v.after + most/2 + mathrand.N(most/2+1))
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
