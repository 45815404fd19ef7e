package stores

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/backends"
	"github.com/weir-dev/weir/test/peers"
)

// refusal is something that a service refuses until someone changes it.
type refusal struct {
	bucket string // empty: the one there is
	env    map[string]string
	fault  peers.Fault // for what the server here lets pass
	mute   bool        // the server here does not say of a read what is missing
	want   []string    // in the error of each request
}

var s3Refusals = map[string]refusal{
	"no bucket":    {"nobody", nil, peers.Pass, false, []string{"NoSuchBucket", "(HTTP 404)", "make the bucket"}},
	"not allowed":  {"", nil, peers.Denied, false, []string{"AccessDenied", "(HTTP 403)", "docs/storage.md"}},
	"wrong key":    {"", map[string]string{"AWS_ACCESS_KEY_ID": "who"}, peers.Pass, false, []string{"check AWS_ACCESS_KEY_ID"}},
	"wrong secret": {"", map[string]string{"AWS_SECRET_ACCESS_KEY": "what"}, peers.Pass, false, []string{"SignatureDoesNotMatch", "check AWS_SECRET_ACCESS_KEY"}},
	"no key":       {"", map[string]string{"AWS_ACCESS_KEY_ID": ""}, peers.Pass, false, []string{"no credentials for S3", "set AWS_ACCESS_KEY_ID"}},
	"anonymous":    {"", map[string]string{"AWS_SKIP_SIGNATURE": "true"}, peers.Pass, false, []string{"AccessDenied", "docs/storage.md"}},
}

var gcsRefusals = map[string]refusal{
	"no bucket":   {"nobody", nil, peers.Pass, true, []string{"(HTTP 404)", "make the bucket"}},
	"not allowed": {"", nil, peers.Denied, false, []string{"forbidden", "(HTTP 403)", "docs/storage.md"}},
}

var azureRefusals = map[string]refusal{
	"no container": {"nobody", nil, peers.Pass, false, []string{"ContainerNotFound", "(HTTP 404)", "make the container"}},
	"not allowed":  {"", nil, peers.Denied, false, []string{"AuthorizationPermissionMismatch", "(HTTP 403)", "docs/storage.md"}},
	"wrong key":    {"", map[string]string{"AZURE_STORAGE_ACCOUNT_KEY": "d3Jvbmc="}, peers.Pass, false, []string{"AuthorizationFailure", "(HTTP 403)", "docs/storage.md"}},
	"anonymous":    {"", map[string]string{"AZURE_STORAGE_ACCOUNT_KEY": "", "AZURE_SKIP_SIGNATURE": "true"}, peers.Pass, false, []string{"docs/storage.md"}},
}

// refused: what a service refuses is told at once, with what to do about it.
func (f *front) refused(t *testing.T) {
	for name, c := range f.refusals {
		t.Run(name, func(t *testing.T) {
			for k, v := range c.env {
				t.Setenv(k, v)
			}
			f.on(t, func(*http.Request) peers.Fault { return c.fault }, nil)
			uri := f.uri("refused")
			if c.bucket != "" {
				uri = strings.Replace(uri, peers.Bucket, c.bucket, 1)
			}
			refusedAll(t, f.open(t, uri, hasty), c.mute, c.want)
		})
	}
}

// refusedAll sends a request of every kind.
func refusedAll(t *testing.T, st store.Store, mute bool, want []string) {
	t.Helper()
	requests := map[string]error{"probe": store.Probe(t.Context(), st, "_weir"), "put": st.Put(t.Context(), "a", nil)}
	_, requests["get"] = st.Get(t.Context(), "a")
	for _, err := range st.List(t.Context(), "", "") {
		requests["list"] = err
	}
	for _, request := range []string{"probe", "put", "get", "list"} {
		err := requests[request]
		if request == "get" && mute && errors.Is(err, store.ErrNotExist) {
			continue
		}
		if store.ClassOf(err) != store.Reject {
			t.Errorf("%s: %v, of class %v; want it refused", request, err, store.ClassOf(err))
			continue
		}
		for _, want := range want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v; want it to say %q", request, err, want)
			}
		}
	}
}

// TestSkewedClock: gofakes3 tells the time an hour later.
func TestSkewedClock(t *testing.T) {
	server := peers.S3(t, "--clock", "1h")
	server.Setenv(t)
	st, err := backends.Open(t.Context(), "s3://"+peers.Bucket+"/x", backends.Settings{Remote: hasty})
	must(t, err)
	refusedAll(t, st, false, []string{"RequestTimeTooSkewed", "(HTTP 403)", "the clock of this machine"})
}

// conditional says whether a request is to write an object only if that is absent.
func conditional(r *http.Request) bool {
	return r.Header.Get("If-None-Match") != "" || r.URL.Query().Get("ifGenerationMatch") == "0"
}

// probe refuses services that do not put an object only if it is absent, and says why.
func (f *front) probe(t *testing.T) {
	uri := f.uri("probe")
	st, direct := f.open(t, uri, hasty), openStore(t, uri)
	must(t, store.Probe(t.Context(), st, "_weir"))
	for name, c := range map[string]struct {
		decide func(*http.Request) peers.Fault
		says   string
	}{
		"it replaces the object": {func(r *http.Request) peers.Fault {
			if conditional(r) {
				for info, err := range direct.List(t.Context(), "_weir/", "") { // which makes room
					must(t, err)
					must(t, direct.Delete(t.Context(), info.Key))
				}
			}
			return peers.Pass
		}, "it replaced an object that was to be written only if absent"},
		"it does not know the condition": {func(r *http.Request) peers.Fault {
			if conditional(r) {
				return peers.Unknown
			}
			return peers.Pass
		}, "it cannot write an object only if that is absent: "},
	} {
		t.Run(name, func(t *testing.T) {
			f.on(t, c.decide, nil)
			err := store.Probe(t.Context(), st, "_weir")
			if _, unsafe := errors.AsType[*store.UnsafeError](err); !unsafe || store.ClassOf(err) != store.Fatal || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v; want it to say %q", err, c.says)
			}
			f.on(t, nil, nil)
			for info, err := range direct.List(t.Context(), "_weir/", "") {
				t.Errorf("the probe leaves %s, %v", info.Key, err)
			}
		})
	}
}
