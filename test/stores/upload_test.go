package stores

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/backends"
	"github.com/weir-dev/weir/test/peers"
)

// inParts opens a store that streams in the smallest parts that the server takes, and makes content of two parts and a bit.
func (f *front) inParts(t *testing.T, uri string) (st store.Store, data []byte, part int) {
	t.Helper()
	o := hasty
	o.PartBytes = 256 << 10
	if f.server.Name == "versitygw" {
		o.PartBytes = 5 << 20 // as Amazon has it
	}
	r := rand.New(rand.NewPCG(1, 1))
	for len(data) < 2*o.PartBytes+1000 {
		data = binary.LittleEndian.AppendUint64(data, r.Uint64())
	}
	return f.open(t, uri, o), data, o.PartBytes
}

// streamTo writes data as one streamed object.
func streamTo(ctx context.Context, st store.Store, key string, data []byte) error {
	w, err := st.Create(ctx, key)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	if err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.Close()
}

// nth says whether a request is number n, counted from 0.
func nth(n int) func(*http.Request) bool {
	var seen atomic.Int64
	return func(*http.Request) bool { return seen.Add(1) == int64(n)+1 }
}

// cutUpload: whichever request of an upload is cut, lost or answered by an error, the object is whole in the end.
func (f *front) cutUpload(t *testing.T) {
	uri := f.uri("uploads")
	direct := openStore(t, uri)
	st, data, _ := f.inParts(t, uri)
	total, least, most := 0, 3*3, 100
	if f.scheme == "gs" {
		// fake-gcs-server takes the question how much it has for the end of the upload; see delta/store/gcs/upload_test.go.
		least, most = 3, 1
	}
	for name, fault := range map[string]peers.Fault{"cut": peers.HalfRequest, "lost": peers.LostAnswer, "failed": peers.LateError} {
		for n := 0; n < most; n++ {
			var reached atomic.Bool
			f.on(t, atFirst(nth(n), func() { reached.Store(true) }, fault), nil)
			key := fmt.Sprintf("%s %d", name, n)
			must(t, streamTo(t.Context(), st, key, data))
			if !reached.Load() {
				break
			}
			total++
			got, err := direct.Get(t.Context(), key)
			must(t, err)
			if !bytes.Equal(got, data) {
				t.Fatalf("request %d is %s: %d bytes came back, or others; %d were written", n, name, len(got), len(data))
			}
			must(t, direct.Delete(t.Context(), key))
		}
	}
	if total < least {
		t.Errorf("only %d requests of uploads in three parts failed", total)
	}
}

// brokenUpload: an upload that cannot go on, is given up, or whose caller goes leaves what was there before, and no parts.
func (f *front) brokenUpload(t *testing.T) {
	uri := f.uri("uploads")
	direct := openStore(t, uri)
	st, data, part := f.inParts(t, uri)
	must(t, direct.Put(t.Context(), "broken", []byte("before")))
	for name, c := range map[string]struct {
		part  peers.Fault // of every part
		end   func(w store.Writer, cancel func()) error
		class store.Class
		says  string
	}{
		"a part is refused": {peers.Denied, closing, store.Reject, "docs/storage.md"},
		"every part is cut": {peers.HalfRequest, closing, store.Retry, "4 attempts failed"},
		"it is aborted":     {peers.Pass, func(w store.Writer, _ func()) error { return w.Abort() }, 0, ""},
		"its caller goes": {peers.Pass, func(w store.Writer, cancel func()) error {
			cancel()
			return w.Close()
		}, 0, context.Canceled.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			if f.scheme == "gs" && c.part == peers.HalfRequest {
				t.Skip("fake-gcs-server takes the question how much it has for the end of the upload; see delta/store/gcs/upload_test.go")
			}
			var ended atomic.Int64
			f.on(t, func(r *http.Request) peers.Fault {
				if r.Method == http.MethodDelete {
					ended.Add(1)
				}
				if r.ContentLength >= int64(part) {
					return c.part
				}
				return peers.Pass
			}, nil)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			w, err := st.Create(ctx, "broken")
			must(t, err)
			_, err = w.Write(data)
			err = errors.Join(err, c.end(w, cancel))
			if (err != nil) != (c.says != "") || err != nil && (store.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.says)) {
				t.Errorf("%v; want it to say %q", err, c.says)
			}
			f.on(t, nil, nil)
			if got, err := direct.Get(t.Context(), "broken"); err != nil || string(got) != "before" {
				t.Errorf("there are %d bytes, %v", len(got), err)
			}
			f.noParts(t, ended.Load())
		})
	}
}

func closing(w store.Writer, _ func()) error { return w.Close() }

// noParts fails if the service still has parts of the object. S3 lists them; a session of Google's is ended by a request;
// Azure forgets blocks by itself.
func (f *front) noParts(t *testing.T, ended int64) {
	t.Helper()
	if f.scheme != "s3" {
		if f.scheme == "gs" && ended != 1 {
			t.Errorf("the upload was ended by %d requests", ended)
		}
		return
	}
	core, err := minio.NewCore(strings.TrimPrefix(f.server.URL, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(peers.AccessKey, peers.SecretKey, ""), Region: peers.Region, BucketLookup: minio.BucketLookupPath,
	})
	must(t, err)
	left, err := core.ListMultipartUploads(t.Context(), peers.Bucket, "uploads/broken", "", "", "", 100)
	must(t, err)
	for _, u := range left.Uploads {
		t.Errorf("an upload of %s is left", u.Key)
	}
}

// secured puts TLS before the server of f, by a certificate whose authority is in file.
func (f *front) secured(t *testing.T) (over *front, file string) {
	t.Helper()
	url := strings.TrimSuffix(f.server.URL, "/"+peers.AzureAccount)
	proxy, authority := peers.NewTLSProxy(t, &peers.Server{URL: url})
	proxy.Host, proxy.Speech = f.proxy.Host, f.speech
	file = filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(file, authority, 0o600))
	return &front{kind: f.kind, server: f.server, proxy: proxy, endpoint: proxy.URL + strings.TrimPrefix(f.server.URL, url)}, file
}

// untrusted: a certificate that nobody trusts, or of another host, is told at once, with what to do; and that works.
func (f *front) untrusted(t *testing.T) {
	over, authority := f.secured(t)
	uri := f.uri("secured")
	refusedAll(t, over.open(t, uri, hasty), false, []string{"certificate signed by unknown authority", "SSL_CERT_FILE", "AWS_CA_BUNDLE"})
	plain := *over
	plain.endpoint = strings.Replace(f.endpoint, "http://", "https://", 1)
	refusedAll(t, plain.open(t, uri, hasty), false, []string{"the service has no TLS: write http:// in the endpoint"})

	createTable(t, openStore(t, uri))
	w := startWriter(t, append(over.env(), "SSL_CERT_FILE="+authority), uri, "trusting", 1)
	acked := map[int64]string{}
	w.acked(t, acked, -1)
	must(t, w.cmd.Wait())
	if len(acked) != 1 {
		t.Error("a process that trusts the authority commits nothing")
	}
	if f.scheme != "s3" {
		return
	}
	t.Setenv("AWS_CA_BUNDLE", authority)
	must(t, store.Probe(t.Context(), over.open(t, uri, hasty), "_weir"))
	over.endpoint = strings.Replace(over.endpoint, "127.0.0.1", "localhost", 1)
	refusedAll(t, over.open(t, uri, hasty), false, []string{"not localhost", "its certificate is for other names"})
	t.Setenv("AWS_CA_BUNDLE", os.DevNull)
	if _, err := backends.Open(t.Context(), uri, backends.Settings{}); err == nil || !strings.Contains(err.Error(), os.DevNull+" has no certificate in PEM") {
		t.Errorf("an empty bundle: %v", err)
	}
}

// env points another process at the endpoint of f.
func (f *front) env() []string {
	return map[string][]string{"s3": {"AWS_ENDPOINT_URL=" + f.endpoint}, "gs": {"STORAGE_EMULATOR_HOST=" + f.endpoint}, "az": {"AZURE_STORAGE_BLOB_ENDPOINT=" + f.endpoint}}[f.scheme]
}
