package gcs

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/remote"
)

// TestWhatIsMissing: Google says by one status that an object is not there and that the bucket is not, in words of which both
// have the bucket's name.
func TestWhatIsMissing(t *testing.T) {
	var said string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, said)
	}))
	defer server.Close()
	service, err := New(Config{Bucket: "my-bucket", Endpoint: server.URL, Env: func(name string) string { return map[string]string{"GOOGLE_SKIP_SIGNATURE": "true"}[name] }})
	if err != nil {
		t.Fatal(err)
	}
	s := remote.New(service, "gs://my-bucket/t", "t", remote.Options{})
	for words, absent := range map[string]bool{
		"No such object: my-bucket/t/_last_checkpoint":                                                                               true,
		`{"error":{"code":404,"message":"No such object: my-bucket/the bucket","errors":[{"reason":"notFound"}]}}`:                   true,
		"The specified bucket does not exist.":                                                                                       false,
		`{"error":{"code":404,"message":"The specified bucket does not exist.","errors":[{"domain":"global","reason":"notFound"}]}}`: false,
	} {
		said = words
		_, err := s.Get(t.Context(), "_last_checkpoint")
		if errors.Is(err, store.ErrNotExist) != absent || !absent && store.ClassOf(err) != store.Reject {
			t.Errorf("%s: %v", words, err)
		}
		if err := s.PutIfAbsent(t.Context(), "a", nil); store.ClassOf(err) != store.Reject || !errors.Is(err, store.ErrNotWritten) {
			t.Errorf("a put can only miss the bucket: %v", err)
		}
	}
}
