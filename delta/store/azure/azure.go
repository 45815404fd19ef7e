// Package azure is the Blob service of Azure Storage as a [remote.Service].
//
// Objects are put if absent with If-None-Match: *. Listings are sorted by who asks for them: accounts with a hierarchical
// namespace list directories in an order of their own.
package azure

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/remote"
)

// Config says which container, where it is, and who asks.
type Config struct {
	Container string
	Account   string // empty: AZURE_STORAGE_ACCOUNT_NAME or AZURE_STORAGE_ACCOUNT of the environment
	Endpoint  string // URL of the Blob service; empty: AZURE_STORAGE_BLOB_ENDPOINT, or else that of the account
	Agent     string // of requests, such as weir/0.1.0

	Env func(string) string // nil: os.Getenv

	transport *remote.Transport // nil: one of its own
}

// tokenName is the metadata that holds the token of a write.
const tokenName = "weirput"

// service is a container.
type service struct {
	client    *container.Client
	transport *remote.Transport
}

// New is the container that c names. It sends no request.
//
// Errors: no account; a key, a connection string or an endpoint that cannot be read.
func New(c Config) (remote.Service, error) {
	env := c.Env
	if env == nil {
		env = os.Getenv
	}
	who, err := c.resolve(env)
	if err != nil {
		return nil, err
	}
	u, err := url.Parse(strings.TrimSuffix(who.endpoint, "/") + "/" + c.Container)
	if err != nil || u.Host == "" {
		return nil, fmt.Errorf("endpoint %q is no URL of a Blob service", who.endpoint)
	}
	t := c.transport
	if t == nil {
		if t, err = remote.NewTransport(); err != nil {
			return nil, err
		}
	}
	opt := &container.ClientOptions{ClientOptions: azcore.ClientOptions{
		Transport: &http.Client{Transport: t}, Retry: policy.RetryOptions{MaxRetries: -1}, // the store does that
		Telemetry: policy.TelemetryOptions{ApplicationID: cmp.Or(c.Agent, "weir/devel")},
	}}
	client, err := who.connect(u, opt)
	if err != nil {
		return nil, fmt.Errorf("client of Azure: %w", err)
	}
	return &service{client, t}, nil
}

// Close implements [remote.Service].
func (s *service) Close() { s.transport.CloseIdleConnections() }

// Read implements [remote.Service].
func (s *service) Read(ctx context.Context, key string, offset, length int64, version string) (*remote.Object, error) {
	o := &blob.DownloadStreamOptions{Range: blob.HTTPRange{Offset: offset, Count: length}}
	if version != "" {
		tag := azcore.ETag(version)
		o.AccessConditions = &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: &tag}}
	}
	res, err := s.client.NewBlobClient(key).DownloadStream(ctx, o)
	if err != nil {
		return nil, answer(err)
	}
	out := &remote.Object{Body: res.Body, Size: value(res.ContentLength), Version: string(value(res.ETag)), Token: token(res.Metadata)}
	if res.ContentRange != nil {
		if out.Offset, out.Size, err = remote.ContentRange(*res.ContentRange); err != nil {
			return nil, errors.Join(err, res.Body.Close())
		}
	}
	return out, nil
}

// Tail implements [remote.Service]. The service has no ranges that count from the end.
func (s *service) Tail(ctx context.Context, key string, n int64) (*remote.Object, error) {
	res, err := s.client.NewBlobClient(key).GetProperties(ctx, nil)
	if err != nil {
		return nil, answer(err)
	}
	size := value(res.ContentLength)
	if n = min(n, size); n == 0 {
		return &remote.Object{Body: http.NoBody, Offset: size, Size: size, Version: string(value(res.ETag)), Token: token(res.Metadata)}, nil
	}
	return s.Read(ctx, key, size-n, n, string(value(res.ETag)))
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// token finds the token in metadata, whose names come back in any case.
func token(metadata map[string]*string) string {
	for name, v := range metadata {
		if strings.EqualFold(name, tokenName) {
			return value(v)
		}
	}
	return ""
}

// body is a request's body; the client wants to seek and to close it.
type body struct{ *bytes.Reader }

// Close implements [io.Closer].
func (body) Close() error { return nil }

var _ io.ReadSeekCloser = body{}

// Put implements [remote.Service].
func (s *service) Put(ctx context.Context, key string, data []byte, token string, ifAbsent bool) error {
	o := &blockblob.UploadOptions{Metadata: map[string]*string{tokenName: &token}}
	if ifAbsent {
		anything := azcore.ETagAny
		o.AccessConditions = &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: &anything}}
	}
	_, err := s.client.NewBlockBlobClient(key).Upload(ctx, body{bytes.NewReader(data)}, o)
	return answer(err)
}

// upload is a blob whose blocks are staged and then committed.
type upload struct {
	client *blockblob.Client
	token  string
	blocks []string
}

// Begin implements [remote.Service].
func (s *service) Begin(_ context.Context, key, token string) (remote.Upload, error) {
	return &upload{client: s.client.NewBlockBlobClient(key), token: token}, nil
}

// Part implements [remote.Upload].
func (u *upload) Part(ctx context.Context, offset int64, data []byte) error {
	id := base64.StdEncoding.EncodeToString(fmt.Appendf(nil, "%020d", offset))
	if _, err := u.client.StageBlock(ctx, id, body{bytes.NewReader(data)}, nil); err != nil {
		return answer(err)
	}
	if !slices.Contains(u.blocks, id) {
		u.blocks = append(u.blocks, id)
	}
	return nil
}

// Finish implements [remote.Upload].
func (u *upload) Finish(ctx context.Context, offset int64, data []byte) error {
	if err := u.Part(ctx, offset, data); err != nil {
		return err
	}
	_, err := u.client.CommitBlockList(ctx, u.blocks, &blockblob.CommitBlockListOptions{Metadata: map[string]*string{tokenName: &u.token}})
	return answer(err)
}

// Abort implements [remote.Upload]. The service forgets blocks that were never committed by itself, after a week.
func (u *upload) Abort(context.Context) error { return nil }

// List implements [remote.Service].
func (s *service) List(ctx context.Context, page remote.Page) (infos []store.Info, next string, err error) {
	o := &container.ListBlobsFlatOptions{Prefix: &page.Prefix, Include: container.ListBlobsInclude{Metadata: true}}
	if page.Next != "" {
		o.Marker = &page.Next
	}
	res, err := s.client.NewListBlobsFlatPager(o).NextPage(ctx)
	if err != nil {
		return nil, "", answer(err)
	}
	for _, item := range res.Segment.BlobItems {
		if item.Properties == nil || item.Name == nil || strings.HasSuffix(*item.Name, "/") || strings.EqualFold(value(item.Metadata["hdi_isfolder"]), "true") {
			continue // a directory of a hierarchical namespace
		}
		infos = append(infos, store.Info{Key: *item.Name, Size: value(item.Properties.ContentLength), Modified: value(item.Properties.LastModified)})
	}
	return infos, value(res.NextMarker), nil
}

// Delete implements [remote.Service].
func (s *service) Delete(ctx context.Context, key string) error {
	_, err := s.client.NewBlobClient(key).Delete(ctx, nil)
	return answer(err)
}

// hints say what to do about an answer, by code.
var hints = map[string]string{
	"ContainerNotFound":               "make the container, or correct the URI",
	"AuthenticationFailed":            "check the account and its key, and the clock of this machine",
	"AuthorizationFailure":            "the credentials may not do this: docs/storage.md lists the roles that a table needs",
	"AuthorizationPermissionMismatch": "the credentials may not do this: docs/storage.md lists the roles that a table needs",
}

// answer translates an error of the client.
func answer(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*store.ServiceError](err); ok { // of the credentials
		return e
	}
	e, ok := errors.AsType[*azcore.ResponseError](err)
	if !ok {
		return err
	}
	out := &remote.Error{Status: e.StatusCode, Code: e.ErrorCode, Hint: hints[e.ErrorCode]}
	if e.RawResponse != nil {
		out.RequestID = e.RawResponse.Header.Get("X-Ms-Request-Id")
	}
	switch {
	case e.ErrorCode == "ContainerNotFound" || e.ErrorCode == "ContainerBeingDeleted":
		out.Kind = remote.Refused
	case e.StatusCode == http.StatusNotFound:
		out.Kind = remote.Absent
	case e.ErrorCode == "BlobAlreadyExists" || e.StatusCode == http.StatusPreconditionFailed:
		out.Kind = remote.Exists
	}
	return out
}
