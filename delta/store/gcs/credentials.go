package gcs

import (
	"context"
	"net/http"
	"time"

	"golang.org/x/oauth2"
	oauthgoogle "golang.org/x/oauth2/google"

	"github.com/weir-dev/weir/delta/store"
)

const scope = "https://www.googleapis.com/auth/devstorage.read_write"

// tokenTimeout bounds a request to who issues tokens.
const tokenTimeout = 15 * time.Second

// newBearer finds credentials when the first request is sent, as Google's own tools do (Application Default Credentials):
// the file that GOOGLE_APPLICATION_CREDENTIALS names (a key, or workload identity federation), that of gcloud, or the
// service account of the machine or pod. GOOGLE_SERVICE_ACCOUNT_KEY may hold the content of a key in place of a file.
func newBearer(env func(string) string, transport http.RoundTripper) func(context.Context) (string, error) {
	turn := make(chan struct{}, 1) // guards source; who waits for it can give up
	var source oauth2.TokenSource
	answers := &lastAnswer{RoundTripper: transport}
	return func(ctx context.Context) (string, error) {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			return "", ctx.Err()
		}
		defer func() { <-turn }()
		if source == nil {
			ctx := context.WithValue(context.WithoutCancel(ctx), oauth2.HTTPClient, &http.Client{Transport: answers, Timeout: tokenTimeout})
			s, err := findCredentials(ctx, env("GOOGLE_SERVICE_ACCOUNT_KEY"))
			if err != nil {
				return "", &store.ServiceError{Class: store.Reject, Message: "no credentials for GCS", Err: err, Hint: err.Error()}
			}
			source = s
		}
		answers.status = 0
		t, err := source.Token() // kept until it is about to expire
		if err != nil {
			return "", tokenError(err, answers.status)
		}
		return t.AccessToken, nil
	}
}

func findCredentials(ctx context.Context, key string) (oauth2.TokenSource, error) {
	if key != "" {
		c, err := oauthgoogle.JWTConfigFromJSON([]byte(key), scope)
		if err != nil {
			return nil, err
		}
		return c.TokenSource(ctx), nil
	}
	c, err := oauthgoogle.FindDefaultCredentials(ctx, scope)
	if err != nil {
		return nil, err
	}
	return c.TokenSource, nil
}

// lastAnswer notes the status of the last answer, which not all sources of tokens tell with their errors.
type lastAnswer struct {
	http.RoundTripper
	status int // 0: there was none
}

// RoundTrip implements [http.RoundTripper].
func (l *lastAnswer) RoundTrip(r *http.Request) (*http.Response, error) {
	l.status = 0
	res, err := l.RoundTripper.RoundTrip(r)
	if err == nil {
		l.status = res.StatusCode
	}
	return res, err
}

// tokenError is what is made of an error of who issues tokens: that it refuses, or that it is away, busy or broken.
func tokenError(err error, status int) error {
	out := &store.ServiceError{Class: store.Retry, Message: "get a token for GCS: " + err.Error(), Err: err}
	if status >= http.StatusBadRequest && status < http.StatusInternalServerError && status != http.StatusTooManyRequests {
		out.Class, out.Hint = store.Reject, "check the service account, its key or its federation, and the clock of this machine"
	}
	return out
}
