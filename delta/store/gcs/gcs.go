// Package gcs is Google Cloud Storage as a [remote.Service].
//
// It speaks the JSON API (cloud.google.com/storage/docs/json_api) itself: a table needs seven requests of it, and Google's
// client would link some hundred packages for them. Objects are put if absent with ifGenerationMatch=0.
package gcs

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/remote"
)

// Config says which bucket, where it is, and who asks.
type Config struct {
	Bucket   string
	Endpoint string // URL of the service; empty: STORAGE_EMULATOR_HOST of the environment, or else Google's
	Agent    string // of requests, such as weir/0.1.0

	Env func(string) string // nil: os.Getenv

	transport *remote.Transport // nil: one of its own
}

const google = "https://storage.googleapis.com"

// tokenName is the metadata that holds the token of a write.
const tokenName = "weir-put"

// service is a bucket.
type service struct {
	base, bucket, agent string
	client              *http.Client
	transport           *remote.Transport
	bearer              func(context.Context) (string, error) // nil: requests are not signed
}

// New is the bucket that c names. It sends no request. Error: an endpoint that is no URL.
func New(c Config) (remote.Service, error) {
	env := c.Env
	if env == nil {
		env = os.Getenv
	}
	base := cmp.Or(c.Endpoint, env("STORAGE_EMULATOR_HOST"), google)
	if !strings.Contains(base, "://") {
		base = "http://" + base // as the emulator's variable is written
	}
	u, err := url.Parse(base)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("endpoint %q is no URL of a GCS service: write http://host:port or https://host", base)
	}
	t := c.transport
	if t == nil {
		if t, err = remote.NewTransport(); err != nil {
			return nil, err
		}
	}
	s := &service{base: strings.TrimSuffix(base, "/"), bucket: c.Bucket, agent: cmp.Or(c.Agent, "weir/devel"), client: &http.Client{Transport: t}, transport: t}
	emulated := c.Endpoint == "" && env("STORAGE_EMULATOR_HOST") != ""
	if !emulated && !strings.EqualFold(env("GOOGLE_SKIP_SIGNATURE"), "true") {
		s.bearer = newBearer(env, t)
	}
	return s, nil
}

// Close implements [remote.Service].
func (s *service) Close() { s.transport.CloseIdleConnections() }

// request is a request to the service.
type request struct {
	method, url string
	header      map[string]string
	body        []byte
}

// do sends r and returns the answer if its status is one of those; otherwise the error.
func (s *service) do(ctx context.Context, r request, good ...int) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, r.url, bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", s.agent)
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	if s.bearer != nil {
		token, err := s.bearer(ctx)
		if err != nil {
			return nil, err
		}
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := s.client.Do(req)
	if err != nil {
		return nil, err
	}
	if slices.Contains(good, res.StatusCode) {
		return res, nil
	}
	return nil, errors.Join(answer(res), res.Body.Close())
}

// finish is for answers whose body does not matter.
func finish(res *http.Response, err error) error {
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<20))
	return errors.Join(err, res.Body.Close())
}

func (s *service) objectURL(key string, q url.Values) string {
	return s.base + "/storage/v1/b/" + url.PathEscape(s.bucket) + "/o/" + url.PathEscape(key) + "?" + q.Encode()
}

func (s *service) uploadURL(kind string, ifAbsent bool) string {
	q := url.Values{"uploadType": {kind}}
	if ifAbsent {
		q.Set("ifGenerationMatch", "0")
	}
	return s.base + "/upload/storage/v1/b/" + url.PathEscape(s.bucket) + "/o?" + q.Encode()
}

// Read implements [remote.Service].
func (s *service) Read(ctx context.Context, key string, offset, length int64, version string) (*remote.Object, error) {
	q := url.Values{"alt": {"media"}}
	if version != "" {
		q.Set("ifGenerationMatch", version)
	}
	return s.media(ctx, key, q, fmt.Sprintf("bytes=%d-%d", offset, offset+length-1))
}

// Tail implements [remote.Service].
func (s *service) Tail(ctx context.Context, key string, n int64) (*remote.Object, error) {
	if n == 0 {
		return s.stat(ctx, key)
	}
	o, err := s.media(ctx, key, url.Values{"alt": {"media"}}, fmt.Sprintf("bytes=-%d", n))
	if e, ok := errors.AsType[*remote.Error](err); ok && e.Status == http.StatusRequestedRangeNotSatisfiable { // it is empty
		return s.stat(ctx, key)
	}
	return o, err
}

func (s *service) media(ctx context.Context, key string, q url.Values, span string) (*remote.Object, error) {
	res, err := s.do(ctx, request{method: http.MethodGet, url: s.objectURL(key, q), header: map[string]string{"Range": span}}, http.StatusOK, http.StatusPartialContent)
	if err != nil {
		return nil, err
	}
	o := &remote.Object{Body: res.Body, Size: res.ContentLength, Version: res.Header.Get("X-Goog-Generation"), Token: res.Header.Get("X-Goog-Meta-" + tokenName)}
	if res.StatusCode == http.StatusPartialContent {
		if o.Offset, o.Size, err = remote.ContentRange(res.Header.Get("Content-Range")); err != nil {
			return nil, errors.Join(err, res.Body.Close())
		}
	}
	return o, nil
}

// resource is the description of an object.
type resource struct {
	Name       string            `json:"name"`
	Size       string            `json:"size,omitempty"`
	Updated    time.Time         `json:"updated,omitzero"`
	Generation string            `json:"generation,omitempty"`
	Metadata   map[string]string `json:"metadata,omitempty"`
}

func (r *resource) bytes() (int64, error) {
	if r.Size == "" {
		return 0, nil
	}
	return strconv.ParseInt(r.Size, 10, 64)
}

// decode reads the JSON of an answer.
func decode(res *http.Response, into any) error {
	err := json.NewDecoder(res.Body).Decode(into)
	return errors.Join(err, res.Body.Close())
}

func (s *service) stat(ctx context.Context, key string) (*remote.Object, error) {
	res, err := s.do(ctx, request{method: http.MethodGet, url: s.objectURL(key, nil)}, http.StatusOK)
	if err != nil {
		return nil, err
	}
	var r resource
	if err := decode(res, &r); err != nil {
		return nil, err
	}
	size, err := r.bytes()
	return &remote.Object{Body: http.NoBody, Offset: size, Size: size, Version: r.Generation, Token: r.Metadata[tokenName]}, err
}

// Put implements [remote.Service].
func (s *service) Put(ctx context.Context, key string, data []byte, token string, ifAbsent bool) error {
	about, err := json.Marshal(resource{Name: key, Metadata: map[string]string{tokenName: token}})
	if err != nil {
		return err
	}
	var body bytes.Buffer
	w := multipart.NewWriter(&body)
	for _, part := range []struct {
		kind string
		data []byte
	}{{"application/json; charset=UTF-8", about}, {"application/octet-stream", data}} {
		p, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {part.kind}})
		if err != nil {
			return err
		}
		if _, err := p.Write(part.data); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	return finish(s.do(ctx, request{
		method: http.MethodPost, url: s.uploadURL("multipart", ifAbsent), body: body.Bytes(),
		header: map[string]string{"Content-Type": "multipart/related; boundary=" + w.Boundary()},
	}, http.StatusOK, http.StatusCreated))
}

// List implements [remote.Service].
func (s *service) List(ctx context.Context, page remote.Page) (infos []store.Info, next string, err error) {
	q := url.Values{"prefix": {page.Prefix}, "maxResults": {"1000"}, "fields": {"items(name,size,updated),nextPageToken"}}
	if page.Next != "" {
		q.Set("pageToken", page.Next)
	} else if page.After != "" {
		q.Set("startOffset", page.After) // it itself is taken out later
	}
	res, err := s.do(ctx, request{method: http.MethodGet, url: s.base + "/storage/v1/b/" + url.PathEscape(s.bucket) + "/o?" + q.Encode()}, http.StatusOK)
	if err != nil {
		return nil, "", err
	}
	var found struct {
		Items         []resource `json:"items"`
		NextPageToken string     `json:"nextPageToken"`
	}
	if err := decode(res, &found); err != nil {
		return nil, "", err
	}
	for i := range found.Items {
		r := &found.Items[i]
		size, err := r.bytes()
		if err != nil {
			return nil, "", fmt.Errorf("list: size of %s: %w", r.Name, err)
		}
		if !strings.HasSuffix(r.Name, "/") { // a console's directory
			infos = append(infos, store.Info{Key: r.Name, Size: size, Modified: r.Updated})
		}
	}
	return infos, found.NextPageToken, nil
}

// Delete implements [remote.Service].
func (s *service) Delete(ctx context.Context, key string) error {
	return finish(s.do(ctx, request{method: http.MethodDelete, url: s.objectURL(key, nil)}, http.StatusOK, http.StatusNoContent))
}

// hints say what to do about an answer, by status.
var hints = map[int]string{
	http.StatusUnauthorized: "check the credentials: GOOGLE_APPLICATION_CREDENTIALS, or the identity of the pod",
	http.StatusForbidden:    "the credentials may not do this: docs/storage.md lists the permissions that a table needs",
}

// answer is the error of an answer.
func answer(res *http.Response) error {
	body, _ := io.ReadAll(io.LimitReader(res.Body, 64<<10)) // what is there of it
	var said struct {
		Error struct {
			Message string `json:"message"`
			Errors  []struct {
				Reason string `json:"reason"`
			} `json:"errors"`
		} `json:"error"`
	}
	out := &remote.Error{Status: res.StatusCode, RequestID: res.Header.Get("X-Guploader-Uploadid"), Hint: hints[res.StatusCode]}
	if json.Unmarshal(body, &said) == nil {
		out.Message = said.Error.Message
		if len(said.Error.Errors) > 0 {
			out.Code = said.Error.Errors[0].Reason
		}
	}
	out.Message = cmp.Or(out.Message, strings.TrimSpace(string(body[:min(len(body), 200)])))
	switch {
	case res.StatusCode == http.StatusNotFound && strings.Contains(out.Message, "bucket does not exist"): // not "No such object: bucket/key"
		out.Kind, out.Hint = remote.Refused, "make the bucket, or correct the URI"
	case res.StatusCode == http.StatusNotFound || res.StatusCode == http.StatusGone:
		out.Kind = remote.Absent
	case res.StatusCode == http.StatusPreconditionFailed:
		out.Kind = remote.Exists
	}
	return out
}
