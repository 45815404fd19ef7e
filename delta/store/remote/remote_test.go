package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-dev/weir/delta/store"
)

// played is a service whose requests go as a test says.
type played struct {
	objects map[string]object
	fault   func(op string, n int) (carry bool, err error) // of request n, counted from 1; nil: all go well
	n       int
	at      []time.Time // of the requests
}

type object struct {
	data    []byte
	token   string
	version int
}

func (p *played) request(ctx context.Context, op string) (bool, error) {
	p.n++
	p.at = append(p.at, time.Now())
	if p.fault == nil {
		return true, ctx.Err()
	}
	return p.fault(op, p.n)
}

func (p *played) part(key string, from, to int64) (*Object, error) {
	o, ok := p.objects[key]
	if !ok {
		return nil, &Error{Kind: Absent, Status: http.StatusNotFound}
	}
	size := int64(len(o.data))
	from, to = max(0, min(from, size)), min(to, size)
	return &Object{Body: io.NopCloser(bytes.NewReader(o.data[from:to])), Offset: from, Size: size, Version: strconv.Itoa(o.version), Token: o.token}, nil
}

func (p *played) Read(ctx context.Context, key string, offset, length int64, _ string) (*Object, error) {
	if _, err := p.request(ctx, "read"); err != nil {
		return nil, err
	}
	return p.part(key, offset, offset+length)
}

func (p *played) Tail(ctx context.Context, key string, n int64) (*Object, error) {
	if _, err := p.request(ctx, "tail"); err != nil {
		return nil, err
	}
	size := int64(len(p.objects[key].data))
	return p.part(key, size-n, size)
}

func (p *played) Put(ctx context.Context, key string, data []byte, token string, ifAbsent bool) error {
	carry, err := p.request(ctx, "put")
	if carry {
		old, there := p.objects[key]
		if there && ifAbsent {
			return &Error{Kind: Exists, Status: http.StatusPreconditionFailed}
		}
		p.objects[key] = object{slices.Clone(data), token, old.version + 1}
	}
	return err
}

func (*played) Begin(context.Context, string, string) (Upload, error) {
	return nil, errors.ErrUnsupported
}

func (p *played) List(ctx context.Context, page Page) ([]store.Info, string, error) {
	if _, err := p.request(ctx, "list"); err != nil {
		return nil, "", err
	}
	var infos []store.Info
	for key := range p.objects {
		if strings.HasPrefix(key, page.Prefix) && key > max(page.After, page.Next) {
			infos = append(infos, store.Info{Key: key})
		}
	}
	slices.SortFunc(infos, func(a, b store.Info) int { return strings.Compare(a.Key, b.Key) })
	if len(infos) > 2 {
		return infos[:2], infos[1].Key, nil
	}
	return infos, "", nil
}

func (p *played) Delete(ctx context.Context, key string) error {
	if _, err := p.request(ctx, "delete"); err != nil {
		return err
	}
	delete(p.objects, key)
	return nil
}

func (*played) Close() {}

var (
	busy   = &Error{Status: http.StatusServiceUnavailable, Code: "SlowDown"}
	tooFew = &Error{Status: http.StatusTooManyRequests}
	denied = &Error{Status: http.StatusForbidden, Code: "AccessDenied", Hint: "see the policy"}
	errCut = errors.New("connection reset by peer")
	unmet  = &net.OpError{Op: "dial", Err: errors.New("refused")}
)

// storeOf runs a test in a bubble of time, with a store below "t/".
func storeOf(t *testing.T, fault func(op string, n int) (bool, error), test func(t *testing.T, p *played, s *Store)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &played{objects: map[string]object{}, fault: fault}
		test(t, p, New(p, "play://t", "t", Options{}))
	})
}

// TestRetriesBackOff: pauses double from half of 50 ms up to 3 s, each between half and all of that; after eight attempts it is
// enough, and the error says how often and of what class.
func TestRetriesBackOff(t *testing.T) {
	storeOf(t, func(string, int) (bool, error) { return false, busy }, func(t *testing.T, p *played, s *Store) {
		_, err := s.Get(t.Context(), "a")
		if store.ClassOf(err) != store.Retry || !strings.Contains(err.Error(), "8 attempts failed") || !strings.Contains(err.Error(), "SlowDown") || p.n != 8 {
			t.Errorf("%d requests: %v", p.n, err)
		}
		for i, most := 1, 50*time.Millisecond; i < len(p.at); i, most = i+1, min(2*most, 3*time.Second) {
			if d := p.at[i].Sub(p.at[i-1]); d < most/2 || d > most {
				t.Errorf("pause %d is %s, want %s to %s", i, d, most/2, most)
			}
		}
	})
}

// TestWhatIsTriedAgain, and what the caller is told.
func TestWhatIsTriedAgain(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		tries int
		class store.Class
		is    error
	}{
		"busy":           {busy, 8, store.Retry, nil},
		"too many":       {tooFew, 8, store.Retry, nil},
		"cut":            {errCut, 8, store.Retry, errCut},
		"not there":      {unmet, 8, store.Retry, unmet},
		"denied":         {denied, 1, store.Reject, nil},
		"absent":         {&Error{Kind: Absent}, 1, 0, store.ErrNotExist},
		"contended":      {&Error{Kind: Contends, Status: http.StatusConflict}, 8, store.Retry, nil},
		"refused":        {&Error{Kind: Refused, Status: http.StatusServiceUnavailable}, 1, store.Reject, nil},
		"not built":      {&Error{Status: http.StatusNotImplemented}, 1, store.Reject, nil},
		"expired":        {&tls.CertificateVerificationError{Err: x509.CertificateInvalidError{Reason: x509.Expired}}, 1, store.Reject, nil},
		"no TLS":         {http.ErrSchemeMismatch, 1, store.Reject, http.ErrSchemeMismatch},
		"the service's":  {&store.ServiceError{Class: store.Fatal}, 1, store.Fatal, nil},
		"the service's ": {&store.ServiceError{Class: store.Retry}, 8, store.Retry, nil},
	} {
		t.Run(name, func(t *testing.T) {
			storeOf(t, func(string, int) (bool, error) { return false, c.err }, func(t *testing.T, p *played, s *Store) {
				_, err := s.Get(t.Context(), "a")
				if p.n != c.tries || store.ClassOf(err) != c.class || c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("%d requests, class %d: %v", p.n, store.ClassOf(err), err)
				}
			})
		})
	}
}

// TestNoAnswerInTime: a request that hangs is given up after its time, which grows with its bytes, and sent again.
func TestNoAnswerInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &hanging{played{objects: map[string]object{}}}
		s := New(p, "play://t", "", Options{Attempts: 2})
		begin := time.Now()
		err := s.Put(t.Context(), "a", make([]byte, 1<<20))
		if store.ClassOf(err) != store.Retry || !strings.Contains(err.Error(), "no answer in time") {
			t.Error(err)
		}
		const each = 15*time.Second + 8*time.Second // a mebibyte at 128 KiB a second
		if took := time.Since(begin); took < 2*each+25*time.Millisecond || took > 2*each+50*time.Millisecond {
			t.Errorf("it took %s", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := s.Put(ctx, "a", nil); !errors.Is(err, context.DeadlineExceeded) || store.ClassOf(err) != 0 {
			t.Errorf("the caller's own deadline: %v", err)
		}
	})
}

type hanging struct{ played }

func (*hanging) Put(ctx context.Context, _ string, _ []byte, _ string, _ bool) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestPutIfAbsentSettles: what the first attempt did is found out by reading back, also when the key was another's.
func TestPutIfAbsentSettles(t *testing.T) {
	first := func(carry bool, err error) func(string, int) (bool, error) {
		return func(op string, n int) (bool, error) {
			if op == "put" && n == 1 {
				return carry, err
			}
			return true, nil
		}
	}
	always := func(carry bool, err error) func(string, int) (bool, error) {
		return func(op string, _ int) (bool, error) {
			if op == "put" {
				return carry, err
			}
			return true, nil
		}
	}
	for name, c := range map[string]struct {
		fault   func(string, int) (bool, error)
		others  bool // the key is taken by another put of the same bytes
		is      error
		written bool // it may be, or come
	}{
		"at once":                             {first(true, nil), false, nil, true},
		"carried out, the answer lost":        {first(true, errCut), false, nil, true},
		"carried out, then an error":          {first(true, busy), false, nil, true},
		"not carried out":                     {first(false, errCut), false, nil, true},
		"never answered, carried out":         {always(true, errCut), false, nil, true},
		"never answered, never carried out":   {always(false, errCut), false, errCut, true},
		"never reached":                       {always(false, unmet), false, store.ErrNotWritten, false},
		"denied":                              {always(false, denied), false, store.ErrNotWritten, false},
		"taken":                               {first(true, nil), true, store.ErrExist, true},
		"taken, after an answer that is lost": {first(false, errCut), true, store.ErrExist, true},
	} {
		t.Run(name, func(t *testing.T) {
			storeOf(t, c.fault, func(t *testing.T, p *played, s *Store) {
				if c.others {
					p.objects["t/k"] = object{[]byte("x"), "another's", 1}
				}
				err := s.PutIfAbsent(t.Context(), "k", []byte("x"))
				if c.is == nil && err != nil || !errors.Is(err, c.is) {
					t.Errorf("got %v, want %v", err, c.is)
				}
				if errors.Is(err, store.ErrNotWritten) == c.written {
					t.Errorf("not written: %t: %v", !c.written, err)
				}
			})
		})
	}
}

// TestReadsOneVersion: an object that is replaced between two reads is not put together of both.
func TestReadsOneVersion(t *testing.T) {
	storeOf(t, nil, func(t *testing.T, p *played, s *Store) {
		s.opt.TailBytes = 4
		p.objects["t/k"] = object{[]byte("old content"), "", 1}
		r, err := s.Open(t.Context(), "k")
		if err != nil {
			t.Fatal(err)
		}
		p.objects["t/k"] = object{[]byte("new content"), "", 2}
		tail, head := make([]byte, 4), make([]byte, 5)
		if _, err := r.ReadAt(tail, 7); err != nil || string(tail) != "tent" {
			t.Errorf("%q, %v", tail, err)
		}
		if _, err := r.ReadAt(head, 0); !errors.Is(err, errGone) {
			t.Errorf("%q, %v", head, err)
		}
		if n, err := r.ReadAt(make([]byte, 9), 9); n != 2 || !errors.Is(err, io.EOF) {
			t.Errorf("beyond the end: %d, %v", n, err)
		}
	})
}

// TestListGoesOn: a page that fails is asked for again, and nothing is listed twice or left out.
func TestListGoesOn(t *testing.T) {
	fails := func(op string, n int) (bool, error) { return true, map[bool]error{true: busy}[n%2 == 0] }
	storeOf(t, fails, func(t *testing.T, p *played, s *Store) {
		for _, k := range []string{"t/a", "t/b", "t/c", "t/d", "t/e", "t/f", "other/x"} {
			p.objects[k] = object{}
		}
		var got []string
		for info, err := range s.List(t.Context(), "", "a") {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, info.Key)
		}
		if !slices.Equal(got, []string{"b", "c", "d", "e", "f"}) {
			t.Errorf("%q", got)
		}
	})
}
