package e2e

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// testBadInput: what kubectl says of a Pipeline that cannot work is enough to mend it.
func (c *cluster) testBadInput(t *testing.T) {
	ns := c.namespace(t, "bad")
	c.store(t, ns)
	good := pipeline("good", ns, "")

	for name, refused := range map[string]struct{ manifest, want string }{
		"unknown field": {strings.Replace(good, "uri:", "url:", 1), `unknown field "spec.sink.delta.url"`},
		"impossible combination": {
			strings.Replace(good, "uri:", "mode: Merge\n      uri:", 1), "a table of mode Merge needs identity.key and identity.sequence",
		},
		"value out of bounds": {strings.Replace(good, "min: 3", "min: 0", 1), "spec.scaling.min"},
	} {
		_, err := c.command(t.Context(), refused.manifest, "kubectl", "-n", ns, "apply", "-f", "-")
		if err == nil || !strings.Contains(err.Error(), refused.want) {
			t.Errorf("%s: kubectl apply says %v; want %q", name, err, refused.want)
		} else {
			t.Logf("%s: %v", name, err)
		}
	}

	c.putTable(t, ns, "s3://tables/newer/_delta_log/00000000000000000000.json")
	for _, broken := range []struct {
		name, manifest string
		want           []string
	}{
		{
			"missing-secret",
			strings.Replace(pipeline("missing-secret", ns, ""), "credentialsSecret: store", "credentialsSecret: nowhere", 1),
			[]string{"Secret nowhere is not in namespace " + ns, "spec.sink.delta.storage.credentialsSecret"},
		},
		{
			"no-bucket",
			strings.Replace(pipeline("no-bucket", ns, ""), "s3://tables/", "s3://no-such-bucket/", 1),
			[]string{"StorageReachable", "no-such-bucket"},
		},
		{
			"no-store",
			strings.Replace(pipeline("no-store", ns, ""), "http://store.", "http://nothing.", 1),
			[]string{"StorageReachable", "nothing." + ns},
		},
		{
			"newer", pipeline("newer", ns, ""),
			[]string{"TableCompatible", "featureOfTomorrow"},
		},
		{
			"no-image", pipeline("no-image", ns, "  template: {image: weir.test/nothing:v0}\n"),
			[]string{"image weir.test/nothing:v0 cannot be pulled"},
		},
	} {
		t.Run(broken.name, func(t *testing.T) {
			c.apply(t, ns, strings.Replace(broken.manifest, "min: 3", "min: 1", 1))
			t.Logf("kubectl describe wpl %s\nStatus:%s", broken.name, c.describe(t, ns, broken.name, broken.want))
			c.kubectl(t, "-n", ns, "delete", "wpl", broken.name)
		})
	}
}

// describe waits until kubectl describe says everything that is wanted, and returns its status and events.
func (c *cluster) describe(t *testing.T, namespace, name string, wants []string) string {
	t.Helper()
	var status string
	await(t, time.Minute, "kubectl describe wpl "+name, func() (bool, string) {
		_, status, _ = strings.Cut(c.kubectl(t, "-n", namespace, "describe", "wpl", name), "\nStatus:")
		for _, want := range wants {
			if !strings.Contains(status, want) {
				return false, "it does not say " + want + ":" + status
			}
		}
		return true, ""
	})
	return status
}

// putTable writes the first log entry of a table that needs a writer feature that does not exist.
func (c *cluster) putTable(t *testing.T, namespace, key string) {
	t.Helper()
	const entry = `{"protocol":{"minReaderVersion":3,"minWriterVersion":7,"readerFeatures":[],"writerFeatures":["featureOfTomorrow"]}}
{"metaData":{"id":"5fba94ed-9794-4965-ba6e-6ee3c0d22af9","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"row\",\"type\":\"long\",\"nullable\":true,\"metadata\":{}}]}","partitionColumns":[],"configuration":{},"createdTime":1700000000000}}
`
	endpoint := c.forward(t, namespace, "service/store", 9000)
	cmd := exec.CommandContext(t.Context(), os.Getenv("WEIR_PYTHON"), "test/e2e/flights.py", "put", key, endpoint)
	cmd.Dir = c.root
	cmd.Env = append(os.Environ(), "AWS_ACCESS_KEY_ID="+accessKey, "AWS_SECRET_ACCESS_KEY="+secretKey)
	cmd.Stdin = strings.NewReader(entry)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}
