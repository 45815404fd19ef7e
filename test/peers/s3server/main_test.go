package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
)

func serve(t *testing.T, o options) *httptest.Server {
	t.Helper()
	o.buckets, o.skew = "tables,other", 15*time.Minute
	handler, closeData, err := newHandler(o)
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewServer(handler)
	t.Cleanup(func() {
		s.Close()
		if err := closeData(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func connect(t *testing.T, s *httptest.Server, access, secret string) *minio.Client {
	t.Helper()
	c, err := minio.New(strings.TrimPrefix(s.URL, "http://"), &minio.Options{
		Creds: credentials.NewStaticV4(access, secret, ""), Region: "us-east-1", MaxRetries: 1, BucketLookup: minio.BucketLookupPath,
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func put(ctx context.Context, c *minio.Client, key, data string, ifAbsent bool) error {
	o := minio.PutObjectOptions{DisableContentSha256: true}
	if ifAbsent {
		o.SetMatchETagExcept("*")
	}
	_, err := c.PutObject(ctx, "tables", key, strings.NewReader(data), int64(len(data)), o)
	return err
}

func get(t *testing.T, c *minio.Client, key string) string {
	t.Helper()
	o, err := c.GetObject(t.Context(), "tables", key, minio.GetObjectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestOneRacerWins(t *testing.T) {
	for name, file := range map[string]string{"memory": "", "file": filepath.Join(t.TempDir(), "data")} {
		t.Run(name, func(t *testing.T) {
			s := serve(t, options{keys: keys{"test", "testtest"}, data: file})
			const rounds, racers = 30, 16
			clients := make([]*minio.Client, racers)
			for i := range clients {
				clients[i] = connect(t, s, "test", "testtest")
			}
			for round := range rounds {
				key := fmt.Sprintf("a b/p=1%%2F2/%020d.json", round)
				errs := make([]error, racers)
				var wg sync.WaitGroup
				for i, c := range clients {
					wg.Go(func() { errs[i] = put(t.Context(), c, key, fmt.Sprint(i), true) })
				}
				wg.Wait()
				won := -1
				for i, err := range errs {
					switch code := minio.ToErrorResponse(err).Code; {
					case err == nil && won >= 0:
						t.Fatalf("round %d: %d and %d won", round, won, i)
					case err == nil:
						won = i
					case code != "PreconditionFailed":
						t.Fatalf("round %d: %v", round, err)
					}
				}
				if won < 0 || get(t, clients[0], key) != fmt.Sprint(won) {
					t.Fatalf("round %d: %d won, the object is %s", round, won, get(t, clients[0], key))
				}
			}
		})
	}
}

func TestSignatures(t *testing.T) {
	s := serve(t, options{keys: keys{"test", "testtest"}})
	for _, c := range []struct{ access, secret, code string }{
		{"test", "testtest", ""}, {"test", "wrong", "SignatureDoesNotMatch"}, {"other", "testtest", "InvalidAccessKeyId"}, {"", "", "AccessDenied"},
	} {
		err := put(t.Context(), connect(t, s, c.access, c.secret), "é ü/+&=:%", "x", false)
		if got := minio.ToErrorResponse(err).Code; got != c.code || (err == nil) != (c.code == "") {
			t.Errorf("%s/%s: %v, want %q", c.access, c.secret, err, c.code)
		}
	}
	c := connect(t, s, "test", "testtest")
	var keys []string
	for o := range c.ListObjects(t.Context(), "tables", minio.ListObjectsOptions{Prefix: "é", Recursive: true}) {
		keys = append(keys, o.Key)
	}
	if len(keys) != 1 || keys[0] != "é ü/+&=:%" {
		t.Errorf("listed %q", keys)
	}
}

func TestMultipart(t *testing.T) {
	c := connect(t, serve(t, options{keys: keys{"test", "testtest"}}), "test", "testtest")
	data := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	if _, err := c.PutObject(t.Context(), "tables", "big", bytes.NewReader(data), -1, minio.PutObjectOptions{PartSize: 5 << 20, DisableContentSha256: true}); err != nil {
		t.Fatal(err)
	}
	if got := get(t, c, "big"); got != string(data) {
		t.Errorf("%d bytes came back, not the %d that were put", len(got), len(data))
	}
}

func TestFileSurvives(t *testing.T) {
	file := filepath.Join(t.TempDir(), "data")
	t.Run("write", func(t *testing.T) {
		if err := put(t.Context(), connect(t, serve(t, options{data: file}), "a", "b"), "k", "v", true); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("read", func(t *testing.T) {
		if got := get(t, connect(t, serve(t, options{data: file}), "a", "b"), "k"); got != "v" {
			t.Errorf("got %q", got)
		}
	})
}

// out hands the first line that run prints to a channel.
type out chan string

func (o out) Write(p []byte) (int, error) {
	o <- strings.TrimSpace(string(p))
	return len(p), nil
}

func TestRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	line, done := make(out, 1), make(chan error, 1)
	go func() {
		done <- run(ctx, line, options{listen: "127.0.0.1:0", buckets: "tables", keys: keys{"a", "b"}})
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+<-line+"/_ready", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("status %d", res.StatusCode)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
