package azure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"

	"github.com/weir-dev/weir/delta/store"
)

// resolved is a Config with what the environment adds.
type resolved struct {
	account, endpoint string
	key, sas          string // credentials; empty: an identity
	anonymous         bool
}

// resolve looks at the environment; what it says by itself comes before its connection string.
func (c *Config) resolve(env func(string) string) (*resolved, error) {
	said, err := parseConnection(env("AZURE_STORAGE_CONNECTION_STRING"))
	if err != nil {
		return nil, err
	}
	r := &resolved{
		account:   cmp.Or(c.Account, env("AZURE_STORAGE_ACCOUNT_NAME"), env("AZURE_STORAGE_ACCOUNT"), said["AccountName"]),
		endpoint:  cmp.Or(c.Endpoint, env("AZURE_STORAGE_BLOB_ENDPOINT"), said["BlobEndpoint"]),
		key:       cmp.Or(env("AZURE_STORAGE_ACCOUNT_KEY"), env("AZURE_STORAGE_KEY")),
		sas:       cmp.Or(env("AZURE_STORAGE_SAS_TOKEN"), env("AZURE_STORAGE_SAS_KEY")),
		anonymous: strings.EqualFold(env("AZURE_SKIP_SIGNATURE"), "true"),
	}
	if r.key == "" && r.sas == "" && !r.anonymous {
		if other := said["AccountName"]; other != "" && other != r.account {
			return nil, fmt.Errorf("the AZURE_STORAGE_CONNECTION_STRING is of the account %s, and the table is in %s", other, r.account)
		}
		r.key, r.sas = said["AccountKey"], said["SharedAccessSignature"]
	}
	switch {
	case r.account == "" && (r.endpoint == "" || r.key != ""):
		return nil, errors.New("no storage account: set AZURE_STORAGE_ACCOUNT_NAME or storage.account, or write abfss://container@account.dfs.core.windows.net/path")
	case r.endpoint == "":
		r.endpoint = cmp.Or(said["DefaultEndpointsProtocol"], "https") + "://" + r.account + ".blob." + cmp.Or(said["EndpointSuffix"], "core.windows.net")
	}
	return r, nil
}

// parseConnection reads a connection string (learn.microsoft.com/azure/storage/common/storage-configure-connection-string).
func parseConnection(s string) (map[string]string, error) {
	said := map[string]string{}
	for part := range strings.SplitSeq(strings.Trim(s, "; "), ";") {
		if part == "" {
			continue
		}
		name, value, ok := strings.Cut(part, "=")
		if !ok {
			return nil, errors.New("not of the form AccountName=...;AccountKey=...: AZURE_STORAGE_CONNECTION_STRING") // its value is secret
		}
		said[name] = value
	}
	if len(said) > 0 && said["AccountName"] == "" && said["BlobEndpoint"] == "" {
		return nil, errors.New("neither AccountName nor BlobEndpoint in AZURE_STORAGE_CONNECTION_STRING")
	}
	return said, nil
}

// connect takes the first credentials there are: the account's key, a shared access signature, or an identity: that of a
// service principal in the environment, of the pod (workload identity), of the machine, or of the command line tool.
func (r *resolved) connect(u *url.URL, opt *container.ClientOptions) (*container.Client, error) {
	switch {
	case r.key != "":
		cred, err := container.NewSharedKeyCredential(r.account, r.key)
		if err != nil {
			return nil, fmt.Errorf("the key of account %s is not base64: %w", r.account, err)
		}
		return container.NewClientWithSharedKeyCredential(u.String(), cred, opt)
	case r.sas != "":
		u.RawQuery = strings.TrimPrefix(r.sas, "?")
		return container.NewClientWithNoCredential(u.String(), opt)
	case r.anonymous:
		return container.NewClientWithNoCredential(u.String(), opt)
	}
	cred, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: opt.ClientOptions})
	if err != nil {
		return nil, err
	}
	return container.NewClient(u.String(), identity{cred}, opt)
}

// identity says of what class its errors are.
type identity struct{ azcore.TokenCredential }

// GetToken implements [azcore.TokenCredential].
func (i identity) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	t, err := i.TokenCredential.GetToken(ctx, o)
	if err == nil || ctx.Err() != nil {
		return t, err
	}
	out := &store.ServiceError{Class: store.Reject, Message: "no token for Azure: " + err.Error(), Err: err}
	failed, asked := errors.AsType[*azidentity.AuthenticationFailedError](err)
	switch {
	case !asked:
		out.Hint = "set AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, or give the machine or pod an identity"
	case failed.RawResponse == nil || failed.RawResponse.StatusCode >= http.StatusInternalServerError || failed.RawResponse.StatusCode == http.StatusTooManyRequests:
		out.Class = store.Retry // away, busy or broken
	default:
		out.Status, out.Hint = failed.RawResponse.StatusCode, "check the tenant, the client and its secret or federation"
	}
	return t, out
}
