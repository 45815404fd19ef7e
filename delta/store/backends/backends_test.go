package backends_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/delta/store/backends"
)

func TestOpen(t *testing.T) {
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_CONFIG_FILE": "/dev/null", "AZURE_STORAGE_ACCOUNT_NAME": "weir",
		"AZURE_STORAGE_ACCOUNT_KEY": "c2VjcmV0", "STORAGE_EMULATOR_HOST": "localhost:1",
	} {
		t.Setenv(name, value)
	}
	for uri, want := range map[string]string{
		"s3://tables": "s3://tables", "s3://tables/": "s3://tables", "s3a://my.tables/a b/c=1/": "s3a://my.tables/a b/c=1",
		"gs://my_tables/clicks": "gs://my_tables/clicks", "az://tables/clicks": "az://tables/clicks",
		"abfss://tables@weir.dfs.core.windows.net/x": "abfss://tables@weir.dfs.core.windows.net/x",
		"file:///data/a%20b":                         "file:///data/a%20b", "/data": "file:///data",
	} {
		s, err := backends.Open(t.Context(), uri, backends.Settings{})
		if err != nil || s.String() != want {
			t.Errorf("%s opens %v, %v; want %s", uri, s, err, want)
		}
	}
	for uri, want := range map[string]string{
		"s3://B/x": "no name of a bucket", "s3://tables//x": "empty, . or .. part", "s3://tables/../x": "empty, . or .. part", "s3://tables/a%20b": "holds one of",
		"gs://x/y": "no name of a bucket", "az://t/y": "no name of a container", "s3://who@tables/x": "no name of a bucket",
	} {
		if _, err := backends.Open(t.Context(), uri, backends.Settings{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", uri, err, want)
		}
	}
	_, err := backends.Open(t.Context(), "hdfs://host/x", backends.Settings{})
	if e, ok := errors.AsType[*store.UnsupportedSchemeError](err); !ok || e.Scheme != "hdfs" {
		t.Errorf("hdfs: %v", err)
	}
	for _, endpoint := range []string{"host:9000", "http://", "ftp://host", "http://host/path"} {
		if _, err := backends.Open(t.Context(), "s3://tables/x", backends.Settings{Endpoint: endpoint}); err == nil {
			t.Errorf("the endpoint %q is taken", endpoint)
		}
	}
}
