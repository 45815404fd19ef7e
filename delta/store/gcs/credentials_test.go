package gcs

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/remote"
	"github.com/weir-dev/weir/delta/store/storetest"
)

// googol is a cloud whose storage has one object, which says by which token it was read.
func googol(t *testing.T) *storetest.Cloud {
	t.Helper()
	cloud := storetest.NewCloud(t)
	cloud.Host("storage.googleapis.com", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	})
	return cloud
}

// key is a service account's, made once.
var key = sync.OnceValues(func() (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, 2048) })

// account is the file of a service account.
func account(t *testing.T) string {
	t.Helper()
	k, err := key()
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	file, err := json.Marshal(map[string]string{
		"type": "service_account", "client_email": "writer@project.iam.gserviceaccount.com", "private_key_id": "1", "token_uri": "https://oauth2.googleapis.com/token",
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
	})
	if err != nil {
		t.Fatal(err)
	}
	return string(file)
}

// signed checks that a request for a token is signed by the key, as the account that it is of.
func signed(r *http.Request) error {
	parts := strings.Split(r.FormValue("assertion"), ".")
	if len(parts) != 3 || r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" {
		return errors.New("no assertion")
	}
	k, err := key()
	if err != nil {
		return err
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil {
		return err
	}
	sum := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(&k.PublicKey, crypto.SHA256, sum[:], signature); err != nil {
		return err
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return err
	}
	var c struct{ Iss, Aud, Scope string }
	if err := json.Unmarshal(claims, &c); err != nil {
		return err
	}
	if c.Iss != "writer@project.iam.gserviceaccount.com" || c.Aud != "https://oauth2.googleapis.com/token" || c.Scope != scope {
		return fmt.Errorf("claims %+v", c)
	}
	return nil
}

// issues answers with a token if ok says nothing against it.
func issues(token string, ok func(*http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := ok(r); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			_, _ = fmt.Fprintf(w, `{"error":"invalid_grant","error_description":%q}`, err)
			return
		}
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600,"issued_token_type":"urn:ietf:params:oauth:token-type:access_token"}`, token)
	}
}

func has(want map[string]string) func(*http.Request) error {
	return func(r *http.Request) error {
		for name, value := range want {
			if r.FormValue(name) != value {
				return fmt.Errorf("%s is %q", name, r.FormValue(name))
			}
		}
		return nil
	}
}

// environment has nothing of the machine's but what a test says, see [storetest.Environment].
func environment(t *testing.T, env, files map[string]string) {
	t.Helper()
	storetest.Environment(t, []string{
		"GOOGLE_APPLICATION_CREDENTIALS", "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_SKIP_SIGNATURE", "STORAGE_EMULATOR_HOST", "GCE_METADATA_HOST",
	}, env, files)
}

func openIn(t *testing.T, cloud *storetest.Cloud) *remote.Store {
	t.Helper()
	service, err := New(Config{Bucket: "tables", transport: cloud.Transport(t)})
	if err != nil {
		t.Fatal(err)
	}
	return remote.New(service, "gs://tables", "", remote.Options{Attempts: 2, Delay: time.Millisecond, MaxDelay: time.Millisecond})
}

const (
	federated = `{"type":"external_account","audience":"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/cluster",` +
		`"subject_token_type":"urn:ietf:params:oauth:token-type:jwt","token_url":"https://sts.googleapis.com/v1/token","credential_source":{"file":"%s/token"}%more}`
	impersonating = `,"service_account_impersonation_url":"https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/writer@project.iam.gserviceaccount.com:generateAccessToken"`
)

// TestCredentials: every way to credentials ends at the service that issues the token, played here, and requests have that.
func TestCredentials(t *testing.T) {
	exchange := issues("federated", has(map[string]string{
		"grant_type": "urn:ietf:params:oauth:grant-type:token-exchange", "subject_token": "jwt",
		"audience": "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/pool/providers/cluster",
	}))
	for name, c := range map[string]struct {
		env, files map[string]string
		hosts      map[string]http.HandlerFunc
		want       string
	}{
		"the key of a service account, itself": {
			env:   map[string]string{"GOOGLE_SERVICE_ACCOUNT_KEY": account(t)},
			hosts: map[string]http.HandlerFunc{"oauth2.googleapis.com": issues("key", signed)}, want: "key",
		},
		"the key of a service account, in a file": {
			env: map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": "%s/key.json"}, files: map[string]string{"key.json": account(t)},
			hosts: map[string]http.HandlerFunc{"oauth2.googleapis.com": issues("file", signed)}, want: "file",
		},
		"gcloud auth application-default login": {
			files: map[string]string{".config/gcloud/application_default_credentials.json": `{"type":"authorized_user","client_id":"c","client_secret":"s","refresh_token":"r"}`},
			hosts: map[string]http.HandlerFunc{"oauth2.googleapis.com": issues("user", has(map[string]string{"grant_type": "refresh_token", "refresh_token": "r"}))}, want: "user",
		},
		"workload identity federation": {
			env:   map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": "%s/federation.json"},
			files: map[string]string{"federation.json": strings.Replace(federated, "%more", "", 1), "token": "jwt"},
			hosts: map[string]http.HandlerFunc{"sts.googleapis.com": exchange}, want: "federated",
		},
		"workload identity federation as a service account": {
			env:   map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": "%s/federation.json"},
			files: map[string]string{"federation.json": strings.Replace(federated, "%more", impersonating, 1), "token": "jwt"},
			hosts: map[string]http.HandlerFunc{"sts.googleapis.com": exchange, "iamcredentials.googleapis.com": func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer federated" {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				_, _ = fmt.Fprintf(w, `{"accessToken":"impersonated","expireTime":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
			}}, want: "impersonated",
		},
		"the service account of the pod or machine": {
			env: map[string]string{"GCE_METADATA_HOST": "here"},
			hosts: map[string]http.HandlerFunc{"127.0.0.1": func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Metadata-Flavor") != "Google" || r.URL.Path != "/computeMetadata/v1/instance/service-accounts/default/token" {
					w.WriteHeader(http.StatusNotFound)
					return
				}
				issues("metadata", has(map[string]string{"scopes": scope}))(w, r)
			}}, want: "metadata",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := googol(t)
			environment(t, c.env, c.files)
			if c.env["GCE_METADATA_HOST"] != "" {
				t.Setenv("GCE_METADATA_HOST", strings.TrimPrefix(cloud.URL(), "http://"))
			}
			for host, h := range c.hosts {
				cloud.Host(host, h)
			}
			s := openIn(t, cloud)
			for range 2 { // the second time without asking again
				if got, err := s.Get(t.Context(), "a"); err != nil || string(got) != c.want {
					t.Fatalf("%q, %v; want %q", got, err, c.want)
				}
			}
			for host := range c.hosts {
				if n := cloud.Asked(host); n < 1 || n > 2 { // the metadata service: also which universe this is
					t.Errorf("%s was asked %d times", host, n)
				}
			}
		})
	}
}

// TestNoCredentials: who refuses a token is told at once; who is busy or away is asked again.
func TestNoCredentials(t *testing.T) {
	status := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
	}
	file := map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": "%s/key.json"}
	for name, c := range map[string]struct {
		env    map[string]string
		file   string
		host   string
		answer http.HandlerFunc
		class  store.Class
		asked  int
		says   string
	}{
		"refused":            {file, account(t), "oauth2.googleapis.com", issues("", func(*http.Request) error { return errors.New("invalid JWT signature") }), store.Reject, 1, "invalid JWT signature"},
		"busy":               {file, account(t), "oauth2.googleapis.com", status(503), store.Retry, 2, "2 attempts failed, the last: get a token for GCS: "},
		"throttled":          {file, account(t), "oauth2.googleapis.com", status(429), store.Retry, 2, "get a token for GCS: "},
		"away":               {file, account(t), "oauth2.googleapis.com", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, store.Retry, 2, "EOF"},
		"federation refused": {file, strings.Replace(federated, "%more", "", 1), "sts.googleapis.com", status(400), store.Reject, 1, "its federation"},
		"no file":            {map[string]string{"GOOGLE_APPLICATION_CREDENTIALS": "%s/other.json"}, "", "", nil, store.Reject, 0, "no such file"},
		"no key":             {file, `{"type":"unknown"}`, "", nil, store.Reject, 0, "no credentials for GCS"},
		"no JSON":            {map[string]string{"GOOGLE_SERVICE_ACCOUNT_KEY": "secret"}, "", "", nil, store.Reject, 0, "no credentials for GCS"},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := googol(t)
			environment(t, c.env, map[string]string{"key.json": c.file, "token": "jwt"})
			if c.host != "" {
				cloud.Host(c.host, c.answer)
			}
			_, err := openIn(t, cloud).Get(t.Context(), "a")
			if store.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.says) || cloud.Asked(c.host) != c.asked {
				t.Errorf("%v, of class %v, after asking %d times; want it to say %q", err, store.ClassOf(err), cloud.Asked(c.host), c.says)
			}
		})
	}
}
