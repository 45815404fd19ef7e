package gcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/weir-dev/weir/delta/store/remote"
)

// upload is a resumable upload: a session that knows how many bytes it has.
type upload struct {
	s       *service
	session string // URL
	has     int64  // bytes that the service has, as far as is known
	unsure  bool   // a request failed, so the service is asked first
}

// Begin implements [remote.Service].
func (s *service) Begin(ctx context.Context, key, token string) (remote.Upload, error) {
	about, err := json.Marshal(resource{Name: key, Metadata: map[string]string{tokenName: token}})
	if err != nil {
		return nil, err
	}
	res, err := s.do(ctx, request{
		method: http.MethodPost, url: s.uploadURL("resumable", false), body: about,
		header: map[string]string{"Content-Type": "application/json; charset=UTF-8"},
	}, http.StatusOK, http.StatusCreated)
	if err != nil {
		return nil, err
	}
	session := res.Header.Get("Location")
	if err := finish(res, nil); err != nil {
		return nil, err
	}
	if session == "" {
		return nil, errors.New("the service began no upload: its answer has no Location")
	}
	return &upload{s: s, session: session}, nil
}

// incomplete is the status of a session that waits for more: Google's use of 308.
const incomplete = http.StatusPermanentRedirect

// Part implements [remote.Upload].
func (u *upload) Part(ctx context.Context, offset int64, data []byte) error {
	done, err := u.send(ctx, offset, data, "*")
	if err == nil && done {
		err = errors.New("the service ended the upload before its last part")
	}
	if err == nil && u.has < offset+int64(len(data)) {
		u.unsure = true
		err = fmt.Errorf("the service kept %d bytes of %d", u.has, offset+int64(len(data)))
	}
	return err
}

// Finish implements [remote.Upload].
func (u *upload) Finish(ctx context.Context, offset int64, data []byte) error {
	done, err := u.send(ctx, offset, data, strconv.FormatInt(offset+int64(len(data)), 10))
	if err == nil && !done {
		u.unsure = true
		err = errors.New("the service did not end the upload with its last part")
	}
	return err
}

// send sends what the service does not have of data. done: the object is complete.
func (u *upload) send(ctx context.Context, offset int64, data []byte, total string) (done bool, err error) {
	if u.unsure {
		if done, err = u.put(ctx, "bytes */"+total, nil); done || err != nil {
			return done, err
		}
		if u.has < offset {
			return false, &remote.Error{Kind: remote.Refused, Message: fmt.Sprintf("the service has lost bytes of the upload: it has %d, and %d were sent", u.has, offset)}
		}
	}
	u.unsure = true
	rest := data[max(0, min(int64(len(data)), u.has-offset)):]
	span := "bytes */" + total
	if len(rest) > 0 {
		end := offset + int64(len(data))
		span = fmt.Sprintf("bytes %d-%d/%s", end-int64(len(rest)), end-1, total)
	}
	if done, err = u.put(ctx, span, rest); err == nil {
		u.unsure = false
	}
	return done, err
}

func (u *upload) put(ctx context.Context, span string, data []byte) (done bool, err error) {
	res, err := u.s.do(ctx, request{method: http.MethodPut, url: u.session, header: map[string]string{"Content-Range": span}, body: data},
		http.StatusOK, http.StatusCreated, incomplete)
	if err != nil {
		return false, err
	}
	if done = res.StatusCode != incomplete; !done {
		u.has = 0
		if _, last, ok := strings.Cut(res.Header.Get("Range"), "-"); ok {
			n, err := strconv.ParseInt(last, 10, 64)
			if err != nil {
				return false, errors.Join(fmt.Errorf("unknown Range %q", res.Header.Get("Range")), finish(res, nil))
			}
			u.has = n + 1
		}
	}
	return done, finish(res, nil)
}

// Abort implements [remote.Upload].
func (u *upload) Abort(ctx context.Context) error {
	const cancelled = 499 // what Google answers
	return finish(u.s.do(ctx, request{method: http.MethodDelete, url: u.session}, http.StatusOK, http.StatusNoContent, cancelled, http.StatusNotFound))
}
