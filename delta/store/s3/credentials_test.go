package s3

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/remote"
	"github.com/weir-dev/weir/delta/store/storetest"
)

const bucketHost = "tables.s3.eu-central-1.amazonaws.com"

// amazonia is a cloud with a bucket of one object, for whoever has the credentials of an identity service that is called name.
func amazonia(t *testing.T) *storetest.Cloud {
	t.Helper()
	cloud := storetest.NewCloud(t)
	object := func(w http.ResponseWriter, r *http.Request) {
		id, _, _ := strings.Cut(strings.TrimPrefix(r.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential="), "/")
		w.Header().Set("Last-Modified", time.Now().UTC().Format(http.TimeFormat))
		w.Header().Set("ETag", `"1"`)
		_, _ = io.WriteString(w, id+" with "+r.Header.Get("X-Amz-Security-Token"))
	}
	cloud.Host(bucketHost, object)
	cloud.Host("127.0.0.1", object) // of a profile
	return cloud
}

// credentialsOf is an answer with credentials, as JSON. They expire after the given time.
func credentialsOf(name string, left time.Duration) string {
	return fmt.Sprintf(`{"Code":"Success","AccessKeyId":"id-%[1]s","SecretAccessKey":"secret-%[1]s","Token":"token-%[1]s","Expiration":%[2]q}`,
		name, time.Now().Add(left).UTC().Format(time.RFC3339))
}

// assumed is the answer of STS.
func assumed(name string, left time.Duration) string {
	return fmt.Sprintf(`<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>`+
		`<AccessKeyId>id-%[1]s</AccessKeyId><SecretAccessKey>secret-%[1]s</SecretAccessKey><SessionToken>token-%[1]s</SessionToken><Expiration>%[2]s</Expiration>`+
		`</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, name, time.Now().Add(left).UTC().Format(time.RFC3339))
}

// only answers requests for which ok is true.
func only(ok func(r *http.Request) bool, answer string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !ok(r) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		_, _ = io.WriteString(w, answer)
	}
}

// environment has nothing of the machine's but what a test says, see [storetest.Environment].
func environment(t *testing.T, env, files map[string]string) {
	t.Helper()
	var names []string
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AWS_") {
			names = append(names, name)
		}
	}
	storetest.Environment(t, names, env, files)
}

func openIn(t *testing.T, cloud *storetest.Cloud, region string) *remote.Store {
	t.Helper()
	service, err := New(Config{Bucket: "tables", Region: region, transport: cloud.Transport(t)})
	if err != nil {
		t.Fatal(err)
	}
	return remote.New(service, "s3://tables", "", remote.Options{Attempts: 2, Delay: time.Millisecond, MaxDelay: time.Millisecond})
}

// metadata is the service that gives a machine its role, in version 2: for a token that is fetched first.
func metadata(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodPut && r.URL.Path == "/latest/api/token" && r.Header.Get("X-Aws-Ec2-Metadata-Token-Ttl-Seconds") != "":
		_, _ = io.WriteString(w, "session")
	case r.Header.Get("X-Aws-Ec2-Metadata-Token") != "session":
		w.WriteHeader(http.StatusUnauthorized)
	case r.URL.Path == "/latest/meta-data/iam/security-credentials/":
		_, _ = io.WriteString(w, "writer")
	case r.URL.Path == "/latest/meta-data/iam/security-credentials/writer":
		_, _ = io.WriteString(w, credentialsOf("machine", time.Hour))
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// TestCredentials: every way to credentials ends at the service that has them, played here, and its requests are signed with
// what that says.
func TestCredentials(t *testing.T) {
	for name, c := range map[string]struct {
		env, files map[string]string
		host       string // that is asked
		answer     http.HandlerFunc
		want       string
	}{
		"keys": {
			env:  map[string]string{"AWS_ACCESS_KEY_ID": "id-env", "AWS_SECRET_ACCESS_KEY": "s"},
			want: "id-env with ",
		},
		"keys of a session": {
			env:  map[string]string{"AWS_ACCESS_KEY_ID": "id-env", "AWS_SECRET_ACCESS_KEY": "s", "AWS_SESSION_TOKEN": "t"},
			want: "id-env with t",
		},
		"the default profile": {
			files: map[string]string{".aws/credentials": "[default]\naws_access_key_id = id-file\naws_secret_access_key = s\n"},
			want:  "id-file with ",
		},
		"a profile of the credentials": {
			env:   map[string]string{"AWS_PROFILE": "lake", "AWS_SHARED_CREDENTIALS_FILE": "%s/keys"},
			files: map[string]string{"keys": "[default]\naws_access_key_id = no\naws_secret_access_key = no\n[lake]\naws_access_key_id = id-lake\naws_secret_access_key = s\naws_session_token = t\n"},
			want:  "id-lake with t",
		},
		"a profile of the configuration": {
			env:   map[string]string{"AWS_DEFAULT_PROFILE": "lake", "AWS_CONFIG_FILE": "%s/config"},
			files: map[string]string{"config": "[profile lake]\naws_access_key_id = id-conf\naws_secret_access_key = s\nregion = eu-central-1\n"},
			want:  "id-conf with ",
		},
		"a profile whose program says it": {
			env: map[string]string{"AWS_CONFIG_FILE": "%s/config"},
			files: map[string]string{
				"config": "[default]\ncredential_process = cat %s/said\n",
				"said":   `{"Version":1,"AccessKeyId":"id-program","SecretAccessKey":"s","SessionToken":"t","Expiration":"2999-01-01T00:00:00Z"}`,
			},
			want: "id-program with t",
		},
		"web identity": {
			env: map[string]string{
				"AWS_WEB_IDENTITY_TOKEN_FILE": "%s/token", "AWS_ROLE_ARN": "arn:aws:iam::1:role/writer", "AWS_ROLE_SESSION_NAME": "pod",
			},
			files: map[string]string{"token": "jwt"},
			host:  "sts.eu-central-1.amazonaws.com",
			answer: only(func(r *http.Request) bool {
				return r.FormValue("Action") == "AssumeRoleWithWebIdentity" && r.FormValue("WebIdentityToken") == "jwt" && r.FormValue("RoleArn") == "arn:aws:iam::1:role/writer" &&
					r.FormValue("RoleSessionName") == "pod"
			}, assumed("web", time.Hour)),
			want: "id-web with token-web",
		},
		"web identity, an STS of one's own": {
			env: map[string]string{
				"AWS_WEB_IDENTITY_TOKEN_FILE": "%s/token", "AWS_ROLE_ARN": "arn:minio:iam:::role/writer", "AWS_ENDPOINT_URL_STS": "https://sts.store.internal",
			},
			files:  map[string]string{"token": "jwt"},
			host:   "sts.store.internal",
			answer: only(func(r *http.Request) bool { return r.FormValue("WebIdentityToken") == "jwt" }, assumed("own", time.Hour)),
			want:   "id-own with token-own",
		},
		"the identity of an EKS pod": {
			env: map[string]string{
				"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://169.254.170.23/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": "%s/token",
			},
			files: map[string]string{"token": "jwt"},
			host:  "169.254.170.23",
			answer: only(func(r *http.Request) bool {
				return r.URL.Path == "/v1/credentials" && r.Header.Get("Authorization") == "jwt"
			}, credentialsOf("pod", time.Hour)),
			want: "id-pod with token-pod",
		},
		"the role of an ECS task": {
			env:    map[string]string{"AWS_CONTAINER_CREDENTIALS_RELATIVE_URI": "/v2/credentials/1"},
			host:   "169.254.170.2",
			answer: only(func(r *http.Request) bool { return r.URL.Path == "/v2/credentials/1" }, credentialsOf("task", time.Hour)),
			want:   "id-task with token-task",
		},
		"the role of the machine": {host: "169.254.169.254", answer: metadata, want: "id-machine with token-machine"},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := amazonia(t)
			environment(t, c.env, c.files)
			if c.host != "" {
				cloud.Host(c.host, c.answer)
			}
			region := "eu-central-1"
			if strings.Contains(c.files["config"], "region") {
				region = ""
			}
			s := openIn(t, cloud, region)
			for range 2 { // the second time without asking again
				got, err := s.Get(t.Context(), "a")
				if err != nil || string(got) != c.want {
					t.Fatalf("%q, %v; want %q", got, err, c.want)
				}
			}
			if n := cloud.Asked(c.host); c.host != "" && n != 1 && n != 3 { // the machine: token, role, credentials
				t.Errorf("%s was asked %d times", c.host, n)
			}
		})
	}
}

// TestProfileEndpoint: region and endpoint of a profile are taken, too.
func TestProfileEndpoint(t *testing.T) {
	cloud := amazonia(t)
	environment(t, map[string]string{"AWS_PROFILE": "lake"}, map[string]string{
		".aws/config":      "[profile lake]\nregion = eu-central-1\nendpoint_url = " + cloud.URL() + "\n",
		".aws/credentials": "[lake]\naws_access_key_id = id\naws_secret_access_key = s\n",
	})
	if got, err := openIn(t, cloud, "").Get(t.Context(), "a"); err != nil || string(got) != "id with " || cloud.Asked("127.0.0.1") != 1 {
		t.Errorf("%q, %v", got, err)
	}
}

// TestCredentialsExpire: what is about to expire is fetched anew, by the token that the file then holds.
func TestCredentialsExpire(t *testing.T) {
	cloud := amazonia(t)
	environment(t, map[string]string{"AWS_WEB_IDENTITY_TOKEN_FILE": "%s/token", "AWS_ROLE_ARN": "r"}, map[string]string{"token": "1"})
	cloud.Host("sts.eu-central-1.amazonaws.com", func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, assumed(r.FormValue("WebIdentityToken"), -time.Minute))
	})
	s := openIn(t, cloud, "eu-central-1")
	for _, token := range []string{"1", "2"} {
		if err := os.WriteFile(os.Getenv("AWS_WEB_IDENTITY_TOKEN_FILE"), []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(t.Context(), "a"); err != nil || string(got) != "id-"+token+" with token-"+token {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// TestNoCredentials: a service that refuses is told at once; one that is busy or away is asked again.
func TestNoCredentials(t *testing.T) {
	web := map[string]string{"AWS_WEB_IDENTITY_TOKEN_FILE": "%s/token", "AWS_ROLE_ARN": "r"}
	status := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(status)
			_, _ = io.WriteString(w, body)
		}
	}
	denied := `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized to assume it</Message></Error></ErrorResponse>`
	for name, c := range map[string]struct {
		env    map[string]string
		host   string
		answer http.HandlerFunc
		class  store.Class
		asked  int
		says   string
	}{
		"STS denies":           {web, "sts.eu-central-1.amazonaws.com", status(403, denied), store.Reject, 1, "the identity of the pod: Not authorized to assume it"},
		"STS is busy":          {web, "sts.eu-central-1.amazonaws.com", status(503, ""), store.Retry, 2, "2 attempts failed, the last: get credentials for S3: the identity of the pod: "},
		"STS throttles":        {web, "sts.eu-central-1.amazonaws.com", status(429, ""), store.Retry, 2, "sts.eu-central-1.amazonaws.com is busy or broken (HTTP 429)"},
		"STS is away":          {web, "sts.eu-central-1.amazonaws.com", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, store.Retry, 2, "EOF"},
		"the machine is busy":  {nil, "169.254.169.254", status(503, ""), store.Retry, 2, "the role of the machine: "},
		"the machine has none": {nil, "169.254.169.254", status(404, ""), store.Reject, 1, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"},
		"nothing":              {map[string]string{"AWS_EC2_METADATA_DISABLED": "true"}, "", nil, store.Reject, 0, "no credentials for S3 (the profile: "},
		"half a profile":       {map[string]string{"AWS_EC2_METADATA_DISABLED": "true", "AWS_SHARED_CREDENTIALS_FILE": "%s/half"}, "", nil, store.Reject, 0, "partial static credentials"},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := amazonia(t)
			environment(t, c.env, map[string]string{"token": "jwt", "half": "[default]\naws_access_key_id = id\n"})
			if c.host != "" {
				cloud.Host(c.host, c.answer)
			}
			_, err := openIn(t, cloud, "eu-central-1").Get(t.Context(), "a")
			if store.ClassOf(err) != c.class || !strings.Contains(err.Error(), c.says) || cloud.Asked(c.host) != c.asked {
				t.Errorf("%v, of class %v, after asking %d times; want it to say %q", err, store.ClassOf(err), cloud.Asked(c.host), c.says)
			}
			if err := openIn(t, cloud, "eu-central-1").PutIfAbsent(t.Context(), "a", nil); c.class == store.Reject && !errors.Is(err, store.ErrNotWritten) {
				t.Errorf("put: %v", err)
			}
		})
	}
}
