// Package backends opens the store that a URI names, whichever kind it is. It links the clients of all services; the
// packages of one kind can be used without it.
package backends

import (
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/azure"
	"github.com/weir-dev/weir/delta/store/gcs"
	"github.com/weir-dev/weir/delta/store/remote"
	"github.com/weir-dev/weir/delta/store/s3"
)

// Settings say about a store what its URI does not. The zero value takes everything from the environment.
type Settings struct {
	Endpoint  string // URL of the service
	Region    string // S3
	PathStyle *bool  // S3
	Account   string // Azure
	Agent     string // of requests, such as weir/0.1.0

	Remote remote.Options
}

// bucket matches the names of buckets and containers.
var bucket = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]$`)

// Open opens the store at uri: a path, file:///path, s3://bucket/path (or s3a://), gs://bucket/path, az://container/path or
// abfss://container@account.dfs.core.windows.net/path. It sends no request.
//
// Errors: *store.UnsupportedSchemeError; a URI or a setting that is wrong.
func Open(ctx context.Context, uri string, set Settings) (store.Store, error) {
	scheme, rest, ok := strings.Cut(uri, "://")
	if !ok || scheme == "file" {
		return store.OpenURI(ctx, uri)
	}
	open, known := map[string]func(context.Context, string, Settings) (remote.Service, remote.Options, error){
		"s3": openS3, "s3a": openS3, "gs": openGCS, "az": openAzure, "abfss": openAzure,
	}[scheme]
	if !known {
		return nil, &store.UnsupportedSchemeError{Scheme: scheme}
	}
	host, path, _ := strings.Cut(rest, "/")
	path = strings.TrimSuffix(path, "/")
	if err := checkPath(path); err != nil {
		return nil, fmt.Errorf("open store %s: %w", uri, err)
	}
	service, opt, err := open(ctx, host, set)
	if err != nil {
		return nil, fmt.Errorf("open store %s: %w", uri, err)
	}
	return remote.New(service, strings.TrimSuffix(uri, "/"), path, opt), nil
}

// checkPath refuses paths that readers take in different ways.
func checkPath(path string) error {
	if strings.ContainsAny(path, "%?#") {
		return fmt.Errorf("%w: %q holds one of %% ? #, which readers take in different ways", store.ErrKey, path)
	}
	if path == "" {
		return nil
	}
	return store.CheckKey(path)
}

func openS3(_ context.Context, host string, set Settings) (remote.Service, remote.Options, error) {
	if !bucket.MatchString(host) {
		return nil, set.Remote, fmt.Errorf("%q is no name of a bucket: write s3://bucket/path", host)
	}
	s, err := s3.New(s3.Config{Bucket: host, Endpoint: set.Endpoint, Region: set.Region, PathStyle: set.PathStyle, Agent: set.Agent})
	return s, set.Remote, err
}

func openGCS(_ context.Context, host string, set Settings) (remote.Service, remote.Options, error) {
	if !bucket.MatchString(host) {
		return nil, set.Remote, fmt.Errorf("%q is no name of a bucket: write gs://bucket/path", host)
	}
	s, err := gcs.New(gcs.Config{Bucket: host, Endpoint: set.Endpoint, Agent: set.Agent})
	return s, set.Remote, err
}

// openAzure opens container, or container@account.dfs.core.windows.net.
func openAzure(_ context.Context, host string, set Settings) (remote.Service, remote.Options, error) {
	opt := set.Remote
	opt.SortListed = true
	c := azure.Config{Account: set.Account, Endpoint: set.Endpoint, Agent: set.Agent}
	var at string
	if c.Container, at, _ = strings.Cut(host, "@"); at != "" {
		account, domain, _ := strings.Cut(at, ".")
		c.Account = account
		if c.Endpoint == "" {
			c.Endpoint = "https://" + account + "." + strings.Replace(domain, "dfs.", "blob.", 1)
		}
	}
	if !bucket.MatchString(c.Container) {
		return nil, opt, fmt.Errorf("%q is no name of a container: write az://container/path or abfss://container@account.dfs.core.windows.net/path", c.Container)
	}
	s, err := azure.New(c)
	return s, opt, err
}
