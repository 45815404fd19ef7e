package registry_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/registry"
)

const good = `{"type":"record","name":"M","fields":[{"name":"a","type":"long"}]}`

// patient is the time of a request where the machine's haste is not what is tested.
const patient = time.Minute

// serve answers /schemas/ids/{id} with answers, by id.
func serve(t *testing.T, timeout time.Duration, answers map[string]http.HandlerFunc) (*registry.Registry, *atomic.Int64) {
	t.Helper()
	var asked atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /schemas/ids/{id}", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if h := answers[r.PathValue("id")]; h != nil {
			h(w, r)
			return
		}
		http.NotFound(w, r)
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return registry.New(registry.Settings{URL: s.URL + "/", Timeout: timeout}), &asked
}

func says(format string, args ...any) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintf(w, format, args...) }
}

// TestRegistry: what is found stays, what is wrong is said, and a registry that lies harms nobody.
func TestRegistry(t *testing.T) {
	r, asked := serve(t, patient, map[string]http.HandlerFunc{
		"1": says(`{"schema":%q}`, good),
		"2": says(`{"schema":%q,"id":3}`, good),
		"3": says(`{"schema":"message M {}","schemaType":"PROTOBUF"}`),
		"4": says(`{"schema":%q}`, `{"type":"record","name":"M","fields":[{"name":"a","type":`+strings.Repeat(`{"type":"array","items":`, 10_000)+`"int"`+strings.Repeat("}", 10_000)+`}]}`),
		"5": says(`{"schema":%q}`, strings.Repeat("x", 2<<20)),
		"6": says(`<html>`),
		"7": says(`{"schema":%q,"references":[{"name":"x"}]}`, good),
		"8": says(`{"schema":"\"int\""}`),
		"9": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/", http.StatusFound)
		},
	})
	if _, err := r.Lookup(1); !errors.Is(err, decode.ErrSchemaUnknown) {
		t.Error(err)
	}
	for id, want := range map[uint32]string{
		1: "", 2: "answers with schema 3", 3: `of type "PROTOBUF"`, 4: "max depth", 5: "has more than", 6: "is not the JSON of a schema",
		7: "refers to other schemas", 8: "is no record", 9: "302", 10: "does not know it",
	} {
		for range 2 {
			if err := r.Fetch(t.Context(), id); err != nil {
				t.Fatal(id, err)
			}
		}
		s, err := r.Lookup(id)
		if want == "" && (err != nil || s == nil) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%d: %v, want %q", id, err, want)
		}
	}
	if n := asked.Load(); n != 10 {
		t.Errorf("asked %d times for 10 ids", n)
	}
}

// TestUnavailable: a registry that fails for now is asked again, and not believed to have said no.
func TestUnavailable(t *testing.T) {
	var fails atomic.Int64
	fails.Store(2)
	r, asked := serve(t, patient, map[string]http.HandlerFunc{
		"1": func(w http.ResponseWriter, _ *http.Request) {
			if fails.Add(-1) >= 0 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			fmt.Fprintf(w, `{"schema":%q}`, good)
		},
	})
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			if err := r.Fetch(t.Context(), 1); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n := asked.Load(); n != 3 {
		t.Errorf("asked %d times, want 3: twice in vain", n)
	}
	r, _ = serve(t, 50*time.Millisecond, map[string]http.HandlerFunc{
		"2": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	})
	if err := r.Fetch(t.Context(), 2); !errors.Is(err, registry.ErrUnavailable) {
		t.Errorf("a registry that says nothing was believed: %v", err)
	}
	if _, err := r.Lookup(2); !errors.Is(err, decode.ErrSchemaUnknown) {
		t.Error(err)
	}
}

func TestDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "7.avsc"), []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	r := registry.New(registry.Settings{Directory: dir})
	for _, id := range []uint32{7, 8} {
		if err := r.Fetch(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := r.Lookup(7); err != nil || s.Columns().Fields[0].Name != "a" {
		t.Error(s, err)
	}
	if _, err := r.Lookup(8); err == nil || !strings.Contains(err.Error(), "8.avsc") {
		t.Error(err)
	}
}

// silent is a registry that answers nobody in time.
type silent struct{ asked atomic.Int64 }

func (s *silent) RoundTrip(r *http.Request) (*http.Response, error) {
	s.asked.Add(1)
	<-r.Context().Done()
	return nil, r.Context().Err()
}

// TestAnOutageIsFoundOnce: many who wait for their turn learn of it from the first, and who must not wait does not.
func TestAnOutageIsFoundOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(silent)
		r := registry.New(registry.Settings{URL: "http://registry", Timeout: 10 * time.Second, Client: &http.Client{Transport: s}})
		began := time.Now()
		var all sync.WaitGroup
		for id := range uint32(20) {
			all.Go(func() {
				if err := r.Fetch(t.Context(), id); !errors.Is(err, registry.ErrUnavailable) {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.Fetch(ctx, 99); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		all.Wait()
		if took := time.Since(began); took > time.Minute || s.asked.Load() != 4 {
			t.Errorf("asked %d times in %v", s.asked.Load(), took)
		}
		if err := r.Fetch(t.Context(), 1); err == nil || s.asked.Load() != 8 {
			t.Errorf("a later caller: %v, asked %d times", err, s.asked.Load())
		}
	})
}

// TestCredentialsAreNoAnswer: a registry that refuses the pod has not said that there is no such schema.
func TestCredentialsAreNoAnswer(t *testing.T) {
	r, _ := serve(t, patient, map[string]http.HandlerFunc{"1": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }})
	if err := r.Fetch(t.Context(), 1); !errors.Is(err, registry.ErrUnavailable) || !strings.Contains(err.Error(), "401") {
		t.Error(err)
	}
}
