package s3

import (
	"cmp"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"
	"gopkg.in/ini.v1"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/remote"
)

// amazon is the endpoint of S3; the client puts the region into it.
const amazon = "https://s3.amazonaws.com"

// resolved is a Config with what the environment adds.
type resolved struct {
	endpoint, region string
	dualstack        bool // names of Amazon's that have IPv6, too, which private networks often do not resolve
	transport        *remote.Transport
	lookup           minio.BucketLookupType
	credentials      *credentials.Credentials
}

// resolve looks where the command line tool of AWS looks: at the environment and then at the profile.
func (c *Config) resolve() (*resolved, error) {
	env := c.Env
	if env == nil {
		env = os.Getenv
	}
	profile, err := readProfile(env)
	if err != nil {
		return nil, err
	}
	r := &resolved{
		endpoint: cmp.Or(c.Endpoint, env("AWS_ENDPOINT_URL_S3"), env("AWS_ENDPOINT_URL"), profile["endpoint_url"], amazon),
		region:   cmp.Or(c.Region, env("AWS_REGION"), env("AWS_DEFAULT_REGION"), profile["region"]),
		lookup:   minio.BucketLookupAuto, transport: c.transport, dualstack: isTrue(env("AWS_USE_DUALSTACK_ENDPOINT")),
	}
	if r.transport == nil {
		if r.transport, err = remote.NewTransport(cmp.Or(env("AWS_CA_BUNDLE"), profile["ca_bundle"])); err != nil {
			return nil, err
		}
	}
	own := r.endpoint != amazon
	if r.region == "" && own {
		r.region = "us-east-1" // services of one's own take any
	}
	pathStyle := own && !isTrue(env("AWS_VIRTUAL_HOSTED_STYLE_REQUEST"))
	if c.PathStyle != nil {
		pathStyle = *c.PathStyle
	}
	switch {
	case pathStyle:
		r.lookup = minio.BucketLookupPath
	case own || c.PathStyle != nil:
		r.lookup = minio.BucketLookupDNS
	}
	r.credentials = newCredentials(env, r.region, r.transport)
	return r, nil
}

func isTrue(s string) bool { return strings.EqualFold(s, "true") || s == "1" }

// readProfile reads region and endpoint of the profile from the configuration file; there need not be one.
func readProfile(env func(string) string) (map[string]string, error) {
	file := env("AWS_CONFIG_FILE")
	if file == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return nil, nil //nolint:nilerr,nilnil // without a home there is no profile
		}
		file = filepath.Join(home, ".aws", "config")
	}
	if _, err := os.Stat(file); err != nil {
		return nil, nil //nolint:nilerr,nilnil // it is optional
	}
	f, err := ini.Load(file)
	if err != nil {
		return nil, err
	}
	name := cmp.Or(env("AWS_PROFILE"), env("AWS_DEFAULT_PROFILE"), "default")
	if name != "default" {
		name = "profile " + name
	}
	return f.Section(name).KeysHash(), nil
}

// newCredentials looks for credentials when the first request is sent, and again before they expire.
func newCredentials(env func(string) string, region string, transport http.RoundTripper) *credentials.Credentials {
	if isTrue(env("AWS_SKIP_SIGNATURE")) {
		return credentials.NewStaticV4("", "", "")
	}
	if id, secret := env("AWS_ACCESS_KEY_ID"), env("AWS_SECRET_ACCESS_KEY"); id != "" && secret != "" {
		return credentials.NewStaticV4(id, secret, env("AWS_SESSION_TOKEN"))
	}
	return credentials.New(&chain{env: env, region: region, transport: transport})
}

// chain is a provider that asks others in turn and says what each answered.
type chain struct {
	env       func(string) string
	region    string
	transport http.RoundTripper
	from      credentials.Provider // that last had some
}

// The bounds of asking for credentials. Where there is no service that gives a machine its role, nothing answers.
const (
	identityTimeout = 10 * time.Second
	metadataTimeout = 3 * time.Second
)

const (
	ofPod     = "the identity of the pod"
	ofProfile = "the profile"
	ofMachine = "the role of the machine"
)

func (c *chain) providers() map[string]credentials.Provider {
	all := map[string]credentials.Provider{ofProfile: &credentials.FileAWSCredentials{Profile: cmp.Or(c.env("AWS_PROFILE"), c.env("AWS_DEFAULT_PROFILE"))}}
	web := c.env("AWS_WEB_IDENTITY_TOKEN_FILE") != ""
	switch {
	case web || c.env("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") != "" || c.env("AWS_CONTAINER_CREDENTIALS_FULL_URI") != "":
		iam := &credentials.IAM{Region: c.region, Client: &http.Client{Transport: answers{c.transport}, Timeout: identityTimeout}}
		if web {
			iam.Endpoint = c.env("AWS_ENDPOINT_URL_STS") // empty: that of the region
		}
		all[ofPod] = iam
	case !isTrue(c.env("AWS_EC2_METADATA_DISABLED")):
		all[ofMachine] = &credentials.IAM{
			Region: c.region, Client: &http.Client{Transport: answers{c.transport}, Timeout: metadataTimeout}, Endpoint: c.env("AWS_EC2_METADATA_SERVICE_ENDPOINT"),
		}
	}
	return all
}

// answers makes errors of the answers of a service that is busy or broken, whose status its clients do not pass on.
type answers struct{ http.RoundTripper }

// RoundTrip implements [http.RoundTripper].
func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	res, err := a.RoundTripper.RoundTrip(r)
	switch {
	case err != nil:
		return nil, &store.ServiceError{Class: store.Retry, Err: err}
	case res.StatusCode < http.StatusInternalServerError && res.StatusCode != http.StatusTooManyRequests:
		return res, nil
	}
	return nil, errors.Join(&store.ServiceError{Class: store.Retry, Status: res.StatusCode, Message: r.URL.Host + " is busy or broken"}, res.Body.Close())
}

// RetrieveWithCredContext implements [credentials.Provider].
func (c *chain) RetrieveWithCredContext(cc *credentials.CredContext) (credentials.Value, error) {
	var why []string
	all := c.providers()
	for _, name := range []string{ofPod, ofProfile, ofMachine} {
		p := all[name]
		if p == nil {
			continue
		}
		v, err := p.RetrieveWithCredContext(cc)
		if err == nil && v.AccessKeyID != "" && v.SecretAccessKey != "" {
			c.from = p
			return v, nil
		}
		// A pod has its identity, whoever cannot be reached; a machine may have none, and then nothing answers.
		if e, ok := errors.AsType[*store.ServiceError](err); ok && (name == ofPod || e.Status != 0) {
			return credentials.Value{}, &store.ServiceError{Class: store.Retry, Message: "get credentials for S3: " + name + ": " + err.Error(), Err: err}
		}
		if err == nil {
			err = errors.New("it has none")
		}
		why = append(why, name+": "+err.Error())
	}
	return credentials.Value{}, &store.ServiceError{
		Class: store.Reject, Message: "no credentials for S3 (" + strings.Join(why, "; ") + ")",
		Hint: "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for a public bucket AWS_SKIP_SIGNATURE=true",
	}
}

// Retrieve implements [credentials.Provider].
func (c *chain) Retrieve() (credentials.Value, error) {
	return c.RetrieveWithCredContext(&credentials.CredContext{Client: http.DefaultClient})
}

// IsExpired implements [credentials.Provider].
func (c *chain) IsExpired() bool { return c.from == nil || c.from.IsExpired() }
