package azure

import (
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/remote"
	"github.com/weir-dev/weir/delta/store/storetest"
)

const (
	blobs     = "lake.blob.core.windows.net"
	login     = "login.microsoftonline.com"
	tenant    = "11111111-2222-3333-4444-555555555555"
	secretKey = "c2VjcmV0"
)

// azur is a cloud whose storage has one object, which says how it was read.
func azur(t *testing.T) *storetest.Cloud {
	t.Helper()
	cloud := storetest.NewCloud(t)
	object := func(w http.ResponseWriter, r *http.Request) {
		said, _, _ := strings.Cut(r.Header.Get("Authorization"), ":")
		if sig := r.URL.Query().Get("sig"); sig != "" {
			said = "SAS " + sig
		}
		w.Header().Set("ETag", `"1"`)
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(said))
	}
	cloud.Host(blobs, object)
	cloud.Host("lake.blob.core.chinacloudapi.cn", object)
	return cloud
}

// entra issues tokens to whom ok lets.
func entra(token string, ok func(*http.Request) bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		base := "https://" + login + "/" + tenant
		switch {
		case strings.HasPrefix(r.URL.Path, "/common/discovery/instance"):
			_, _ = fmt.Fprintf(w, `{"tenant_discovery_endpoint":"%s/v2.0/.well-known/openid-configuration","metadata":[{"preferred_network":%q,"preferred_cache":%q,"aliases":[%q]}]}`, base, login, login, login)
		case strings.HasSuffix(r.URL.Path, "openid-configuration"):
			_, _ = fmt.Fprintf(w, `{"authorization_endpoint":"%[1]s/oauth2/v2.0/authorize","token_endpoint":"%[1]s/oauth2/v2.0/token","issuer":"%[1]s/v2.0"}`, base)
		case r.URL.Path != "/"+tenant+"/oauth2/v2.0/token" || r.FormValue("grant_type") != "client_credentials" || !strings.Contains(r.FormValue("scope"), "https://storage.azure.com/.default") || !ok(r):
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprint(w, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided."}`)
		default:
			_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, token)
		}
	}
}

// environment has nothing of the machine's but what a test says; %s is a directory with the given files.
func environment(t *testing.T, env, files map[string]string) {
	t.Helper()
	var names []string
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AZURE_") {
			names = append(names, name)
		}
	}
	t.Setenv("PATH", t.TempDir()) // no command line tools
	for _, name := range names {  // unset, not empty, to the client of Azure; Setenv brings it back
		t.Setenv(name, "")
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	storetest.Environment(t, nil, env, files)
}

func openIn(t *testing.T, cloud *storetest.Cloud) (*remote.Store, error) {
	t.Helper()
	service, err := New(Config{Container: "tables", transport: cloud.Transport(t)})
	if err != nil {
		return nil, err
	}
	return remote.New(service, "az://tables", "", remote.Options{Attempts: 2, Delay: time.Millisecond, MaxDelay: time.Millisecond}), nil
}

// machine is the service that gives a machine its identity.
func machine(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Metadata") != "true" || r.URL.Path != "/metadata/identity/oauth2/token" || r.URL.Query().Get("resource") != "https://storage.azure.com" {
		w.WriteHeader(http.StatusBadRequest) // also what who looks whether it is there is answered
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = fmt.Fprintf(w, `{"access_token":"machine","token_type":"Bearer","expires_in":"3600","expires_on":"%d","resource":"https://storage.azure.com"}`, time.Now().Add(time.Hour).Unix())
}

func principal(secret string) map[string]string {
	return map[string]string{"AZURE_STORAGE_ACCOUNT_NAME": "lake", "AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": "writer", "AZURE_CLIENT_SECRET": secret}
}

// TestCredentials: every way to credentials ends at the service that has them, played here, and requests have what that says.
func TestCredentials(t *testing.T) {
	for name, c := range map[string]struct {
		env, files map[string]string
		hosts      map[string]http.HandlerFunc
		want       string
	}{
		"the key of the account":         {env: map[string]string{"AZURE_STORAGE_ACCOUNT_NAME": "lake", "AZURE_STORAGE_ACCOUNT_KEY": secretKey}, want: "SharedKey lake"},
		"a shared access signature":      {env: map[string]string{"AZURE_STORAGE_ACCOUNT": "lake", "AZURE_STORAGE_SAS_TOKEN": "?sv=2022-11-02&sig=abc"}, want: "SAS abc"},
		"a connection string, a key":     {env: map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "DefaultEndpointsProtocol=https;AccountName=lake;AccountKey=" + secretKey + ";EndpointSuffix=core.windows.net"}, want: "SharedKey lake"},
		"a connection string, elsewhere": {env: map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "AccountName=lake;AccountKey=" + secretKey + ";EndpointSuffix=core.chinacloudapi.cn;"}, want: "SharedKey lake"},
		"a connection string, a signature": {
			env:  map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "BlobEndpoint=https://" + blobs + ";SharedAccessSignature=sv=2022-11-02&sig=def"},
			want: "SAS def",
		},
		"a service principal": {
			env: principal("secret"),
			hosts: map[string]http.HandlerFunc{login: entra("principal", func(r *http.Request) bool {
				return r.FormValue("client_id") == "writer" && r.FormValue("client_secret") == "secret"
			})},
			want: "Bearer principal",
		},
		"workload identity": {
			env:   map[string]string{"AZURE_STORAGE_ACCOUNT_NAME": "lake", "AZURE_TENANT_ID": tenant, "AZURE_CLIENT_ID": "writer", "AZURE_FEDERATED_TOKEN_FILE": "%s/token"},
			files: map[string]string{"token": "jwt"},
			hosts: map[string]http.HandlerFunc{login: entra("workload", func(r *http.Request) bool {
				return r.FormValue("client_id") == "writer" && r.FormValue("client_assertion") == "jwt"
			})},
			want: "Bearer workload",
		},
		"the identity of the machine": {
			env:   map[string]string{"AZURE_STORAGE_ACCOUNT_NAME": "lake"},
			hosts: map[string]http.HandlerFunc{"169.254.169.254": machine},
			want:  "Bearer machine",
		},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := azur(t)
			environment(t, c.env, c.files)
			for host, h := range c.hosts {
				cloud.Host(host, h)
			}
			s, err := openIn(t, cloud)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if got, err := s.Get(t.Context(), "a"); err != nil || string(got) != c.want {
					t.Fatalf("%q, %v; want %q", got, err, c.want)
				}
			}
		})
	}
}

// TestNoCredentials: who refuses a token is told at once; who is busy or away is asked again.
func TestNoCredentials(t *testing.T) {
	broken := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "/token") {
				w.WriteHeader(status)
				return
			}
			entra("", nil)(w, r)
		}
	}
	gone := func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }
	for name, c := range map[string]struct {
		env    map[string]string
		host   string
		answer http.HandlerFunc
		class  store.Class
		says   string
	}{
		"refused": {principal("wrong"), login, entra("", func(*http.Request) bool { return false }), store.Reject, "AADSTS7000215"},
		"busy":    {principal("secret"), login, broken(503), store.Retry, "2 attempts failed"},
		"away":    {principal("secret"), login, gone, store.Retry, "2 attempts failed"},
		"none":    {map[string]string{"AZURE_STORAGE_ACCOUNT_NAME": "lake"}, "169.254.169.254", gone, store.Reject, "set AZURE_STORAGE_ACCOUNT_KEY"},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := azur(t)
			environment(t, c.env, nil)
			cloud.Host(c.host, c.answer)
			s, err := openIn(t, cloud)
			if err != nil {
				t.Fatal(err)
			}
			_, err = s.Get(t.Context(), "a")
			if store.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.says) {
				t.Errorf("%v, of class %v; want it to say %q", err, store.ClassOf(err), c.says)
			}
			if err := s.PutIfAbsent(t.Context(), "a", nil); c.class == store.Reject && !errors.Is(err, store.ErrNotWritten) {
				t.Errorf("put: %v", err)
			}
		})
	}
}

// TestBadSettings are refused before a request is sent, and secrets are not shown.
func TestBadSettings(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		says string
	}{
		"no account":                       {nil, "no storage account: set AZURE_STORAGE_ACCOUNT_NAME"},
		"a key without an account":         {map[string]string{"AZURE_STORAGE_BLOB_ENDPOINT": "https://store.internal", "AZURE_STORAGE_ACCOUNT_KEY": secretKey}, "no storage account"},
		"a key that is none":               {map[string]string{"AZURE_STORAGE_ACCOUNT_NAME": "lake", "AZURE_STORAGE_ACCOUNT_KEY": "secret!"}, "the key of account lake is not base64"},
		"no connection string":             {map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "secret"}, "not of the form"},
		"a connection string of nothing":   {map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "AccountKey=secret"}, "neither AccountName nor BlobEndpoint"},
		"a connection string of elsewhere": {map[string]string{"AZURE_STORAGE_ACCOUNT_NAME": "lake", "AZURE_STORAGE_CONNECTION_STRING": "AccountName=sea;AccountKey=secret"}, "is of the account sea, and the table is in lake"},
	} {
		t.Run(name, func(t *testing.T) {
			environment(t, c.env, nil)
			_, err := openIn(t, azur(t))
			if err == nil || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "secret!") {
				t.Errorf("%v; want it to say %q", err, c.says)
			}
		})
	}
}
