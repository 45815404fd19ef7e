// Package s3 is the S3 service of Amazon and those that are compatible with it, as a [remote.Service].
//
// Objects are put if absent by a single PUT with If-None-Match: *, which Amazon S3 has had since 2024. A service that does
// not know the header replaces objects instead: store.Probe finds that out.
package s3

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/minio/minio-go/v7"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/remote"
)

// Config says which bucket, where it is, and who asks.
type Config struct {
	Bucket    string
	Endpoint  string // URL of the service; empty: as the environment says, or else Amazon's
	Region    string // empty: as the environment says, or else that of the bucket
	PathStyle *bool  // the bucket's name is in the path; nil: it is with an endpoint of one's own
	Agent     string // of requests, such as weir/0.1.0

	Env func(string) string // nil: os.Getenv

	transport *remote.Transport // nil: one of its own
}

// tokenName is the metadata that holds the token of a write.
const tokenName = "Weir-Put"

// service is a bucket.
type service struct {
	core   minio.Core
	bucket string
	http   *remote.Transport
}

// New is the bucket that c names. It sends no request.
//
// Errors: an endpoint that is no URL; a profile or a file of authorities that cannot be read.
func New(c Config) (remote.Service, error) {
	conf, err := c.resolve()
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(conf.endpoint)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("endpoint %q is no URL of an S3 service: write http://host:port or https://host", conf.endpoint)
	}
	client, err := minio.New(u.Host, &minio.Options{
		Creds: conf.credentials, Secure: u.Scheme == "https", Region: conf.region, BucketLookup: conf.lookup,
		Transport: conf.transport, MaxRetries: 1, // the store does that
	})
	if err != nil {
		return nil, fmt.Errorf("S3 client: %w", err)
	}
	client.SetS3EnableDualstack(conf.dualstack)
	name, version, _ := strings.Cut(cmp.Or(c.Agent, "weir/devel"), "/")
	client.SetAppInfo(name, version)
	return &service{core: minio.Core{Client: client}, bucket: c.Bucket, http: conf.transport}, nil
}

// Close implements [remote.Service].
func (s *service) Close() { s.http.CloseIdleConnections() }

// Read implements [remote.Service].
func (s *service) Read(ctx context.Context, key string, offset, length int64, version string) (*remote.Object, error) {
	var o minio.GetObjectOptions
	if err := o.SetRange(offset, offset+length-1); err != nil {
		return nil, err
	}
	if version != "" {
		if err := o.SetMatchETag(version); err != nil {
			return nil, err
		}
	}
	return s.get(ctx, key, o)
}

// Tail implements [remote.Service].
func (s *service) Tail(ctx context.Context, key string, n int64) (*remote.Object, error) {
	if n == 0 {
		return s.stat(ctx, key)
	}
	var o minio.GetObjectOptions
	if err := o.SetRange(0, -n); err != nil {
		return nil, err
	}
	object, err := s.get(ctx, key, o)
	e, ok := errors.AsType[*remote.Error](err)
	if !ok || e.Status != http.StatusRequestedRangeNotSatisfiable {
		return object, err
	}
	// It is empty, or the service does not take a range that is longer than the object.
	object, err = s.get(ctx, key, minio.GetObjectOptions{})
	if err == nil && object.Size > n {
		err = errors.Join(errors.New("the service does not know ranges that count from the end"), object.Body.Close())
	}
	return object, err
}

func (s *service) get(ctx context.Context, key string, o minio.GetObjectOptions) (*remote.Object, error) {
	body, info, header, err := s.core.GetObject(ctx, s.bucket, key, o)
	if err != nil {
		return nil, answer(err)
	}
	offset, size := int64(0), info.Size
	if span := header.Get("Content-Range"); span != "" {
		if offset, size, err = remote.ContentRange(span); err != nil {
			return nil, errors.Join(err, body.Close())
		}
	}
	return &remote.Object{Body: body, Offset: offset, Size: size, Version: info.ETag, Token: info.UserMetadata[tokenName]}, nil
}

// stat is an object without its content.
func (s *service) stat(ctx context.Context, key string) (*remote.Object, error) {
	info, err := s.core.StatObject(ctx, s.bucket, key, minio.StatObjectOptions{})
	if err != nil {
		return nil, answer(err)
	}
	return &remote.Object{Body: http.NoBody, Offset: info.Size, Size: info.Size, Version: info.ETag, Token: info.UserMetadata[tokenName]}, nil
}

// putOptions are those of every write. The body's hash is in the signature, so that the service checks what it received,
// and the body needs no framing that not every service knows.
func putOptions(token string) minio.PutObjectOptions {
	return minio.PutObjectOptions{DisableContentSha256: true, UserMetadata: map[string]string{tokenName: token}}
}

func hash(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// body hides that a reader can seek, which would make the client try again by itself, and that it can be closed.
type body struct{ io.Reader }

// Put implements [remote.Service].
func (s *service) Put(ctx context.Context, key string, data []byte, token string, ifAbsent bool) error {
	o := putOptions(token)
	if ifAbsent {
		o.SetMatchETagExcept("*")
	}
	_, err := s.core.PutObject(ctx, s.bucket, key, body{bytes.NewReader(data)}, int64(len(data)), "", hash(data), o)
	return answer(err)
}

// upload is a multipart upload.
type upload struct {
	s       *service
	key, id string
	parts   []minio.CompletePart
}

// Begin implements [remote.Service].
func (s *service) Begin(ctx context.Context, key, token string) (remote.Upload, error) {
	id, err := s.core.NewMultipartUpload(ctx, s.bucket, key, putOptions(token))
	if err != nil {
		return nil, answer(err)
	}
	return &upload{s: s, key: key, id: id}, nil
}

// Part implements [remote.Upload]. Parts come one after the other, so each new one has the next number.
func (u *upload) Part(ctx context.Context, _ int64, data []byte) error {
	n := len(u.parts) + 1
	p, err := u.s.core.PutObjectPart(ctx, u.s.bucket, u.key, u.id, n, body{bytes.NewReader(data)}, int64(len(data)),
		minio.PutObjectPartOptions{Sha256Hex: hash(data), DisableContentSha256: true})
	if err != nil {
		return answer(err)
	}
	u.parts = append(u.parts, minio.CompletePart{PartNumber: n, ETag: p.ETag})
	return nil
}

// Finish implements [remote.Upload].
func (u *upload) Finish(ctx context.Context, offset int64, data []byte) error {
	parts := u.parts
	if err := u.Part(ctx, offset, data); err != nil {
		return err
	}
	_, err := u.s.core.CompleteMultipartUpload(ctx, u.s.bucket, u.key, u.id, slices.Clone(u.parts), minio.PutObjectOptions{})
	if err != nil {
		u.parts = parts // the last one is sent again
	}
	return answer(err)
}

// Abort implements [remote.Upload].
func (u *upload) Abort(ctx context.Context) error {
	return answer(u.s.core.AbortMultipartUpload(ctx, u.s.bucket, u.key, u.id))
}

// pageKeys is how many keys a page has at most.
const pageKeys = 1000

// List implements [remote.Service]. A page begins behind the last key of the one before, so there is nothing to remember.
func (s *service) List(ctx context.Context, page remote.Page) (infos []store.Info, next string, err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for o := range s.core.ListObjectsIter(ctx, s.bucket, minio.ListObjectsOptions{
		Prefix: page.Prefix, Recursive: true, StartAfter: page.After, MaxKeys: pageKeys,
	}) {
		if o.Err != nil {
			return nil, "", answer(o.Err)
		}
		if !strings.HasSuffix(o.Key, "/") { // a console's directory
			infos = append(infos, store.Info{Key: o.Key, Size: o.Size, Modified: o.LastModified})
		}
		if len(infos) == pageKeys {
			return infos, "more", nil
		}
	}
	return infos, "", nil
}

// Delete implements [remote.Service].
func (s *service) Delete(ctx context.Context, key string) error {
	return answer(s.core.RemoveObject(ctx, s.bucket, key, minio.RemoveObjectOptions{}))
}

// hints say what to do about an answer, by code.
var hints = map[string]string{
	"NoSuchBucket":                 "make the bucket, or correct the URI",
	"AccessDenied":                 "the credentials may not do this: docs/storage.md lists the permissions that a table needs",
	"InvalidAccessKeyId":           "check AWS_ACCESS_KEY_ID, or the profile",
	"XAdminUserNotFound":           "check AWS_ACCESS_KEY_ID, or the profile", // as versitygw says it
	"SignatureDoesNotMatch":        "check AWS_SECRET_ACCESS_KEY, or the profile",
	"RequestTimeTooSkewed":         "the clock of this machine and that of the service differ by too much: set it right (NTP)",
	"AuthorizationHeaderMalformed": "check the region: AWS_REGION or storage.region",
	"PermanentRedirect":            "check the region and the endpoint: the bucket is elsewhere",
	"NotImplemented":               "the service lacks a part of S3 that a table needs",
}

// answer translates an error of the client.
func answer(err error) error {
	e, ok := errors.AsType[minio.ErrorResponse](err)
	if !ok || e.StatusCode == 0 {
		return err
	}
	out := &remote.Error{Status: e.StatusCode, Code: e.Code, Message: e.Message, RequestID: e.RequestID, Hint: hints[e.Code]}
	switch {
	case e.Code == "NoSuchKey" || e.Code == "NoSuchUpload":
		out.Kind = remote.Absent
	case e.StatusCode == http.StatusPreconditionFailed:
		out.Kind = remote.Exists
	case e.Code == "ConditionalRequestConflict" || e.Code == "OperationAborted":
		out.Kind = remote.Contends
	case e.Code == "RequestTimeout" || e.Code == "ExpiredToken" || e.Code == "TokenRefreshRequired": // 400
		return &store.ServiceError{Class: store.Retry, Status: e.StatusCode, Code: e.Code, Message: e.Message, RequestID: e.RequestID}
	}
	return out
}
