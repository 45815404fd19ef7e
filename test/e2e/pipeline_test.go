// Package e2e runs weir in a Kubernetes cluster with real pods: what hack/e2e.sh prepares, kubectl and helm do.
package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// million are the events that hack/e2e.sh made.
const million = 1_000_000

// pipeline is the Pipeline that the tests apply: a table in the S3 server of the namespace, three pods.
func pipeline(name, namespace, extra string) string {
	return fmt.Sprintf(`apiVersion: weir.dev/v1alpha1
kind: Pipeline
metadata:
  name: %s
spec:
  scaling: {min: 3}
  sink:
    delta:
      uri: s3://tables/%s
      storage:
        endpoint: http://store.%s:9000
        credentialsSecret: store
      batch: {maxRecords: 100000, maxAge: 1s}
%s`, name, name, namespace, extra)
}

// selector selects the pods of a pipeline.
func selector(pipeline string) string { return "weir.dev/pipeline=" + pipeline }

// target is where producers inside the cluster send to.
func target(pipeline, namespace string) string {
	return fmt.Sprintf("weir://%s.%s.svc.cluster.local", pipeline, namespace)
}

// TestWeir runs one installation through its life; the parts build on each other only by that.
func TestWeir(t *testing.T) {
	c := newCluster(t)
	c.install(t, "helm4", "weir", "weir-system")
	t.Run("Pipeline", c.testPipeline)
	t.Run("Changes", c.testChanges)
	t.Run("BadInput", c.testBadInput)
	t.Run("HelmTest", c.testHelmTest)
	t.Run("Rights", c.testRights)
}

// testPipeline: a Pipeline of three pods, and a producer that finds them by DNS and sends a million real events. The pods
// take equal shares, and deltalake reads exactly those events.
func (c *cluster) testPipeline(t *testing.T) {
	ns := c.namespace(t, "flights")
	c.store(t, ns)
	begin := time.Now()
	c.apply(t, ns, c.documented(t))
	pods := c.awaitPods(t, ns, selector("flights"), 3)
	c.kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "wpl/flights", "--timeout=60s")
	t.Logf("three pods are ready %.1f s after kubectl apply", time.Since(begin).Seconds())

	c.send(t, ns, "sender", "--to", target("flights", ns))
	r := c.awaitSender(t, ns, "sender", 5*time.Minute)
	t.Logf("sent %d records in %.1f s, %d accepted", r.Records, r.Seconds, r.Accepted)
	if r.Records != million || r.Accepted != million || r.Rejected != 0 || r.Unacked != 0 {
		t.Errorf("the sender reports %+v", r)
	}
	c.checkShares(t, ns, pods)
	if got := c.compare(t, ns, "s3://tables/flights"); got.Rows != million || got.Missing != 0 || got.Foreign != 0 {
		t.Errorf("the table does not hold exactly the events: %+v", got)
	} else {
		t.Logf("deltalake reads exactly the %d events: version %d, %d files", got.Rows, got.Version, got.Files)
	}
	c.show(t, ns, "flights")
}

// documented is the Pipeline of docs/kubernetes.md, with the credentials of the tests.
func (c *cluster) documented(t *testing.T) string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join(c.root, "docs/kubernetes.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(page), "```yaml\n")
	block, _, closed := strings.Cut(rest, "```")
	if !ok || !closed {
		t.Fatal("docs/kubernetes.md holds no Pipeline")
	}
	return strings.NewReplacer("AWS_ACCESS_KEY_ID: ...", "AWS_ACCESS_KEY_ID: "+accessKey,
		"AWS_SECRET_ACCESS_KEY: ...", "AWS_SECRET_ACCESS_KEY: "+secretKey).Replace(block)
}

// checkShares holds the records that each pod took against each other.
func (c *cluster) checkShares(t *testing.T, namespace string, pods []pod) {
	t.Helper()
	var shares []string
	least, most := float64(million), 0.0
	for _, p := range pods {
		n := c.metric(t, namespace, p.Metadata.Name, "weir_records_committed_total")
		shares = append(shares, fmt.Sprintf("%s %.0f", p.Metadata.Name, n))
		least, most = min(least, n), max(most, n)
	}
	t.Logf("shares: %s; max/min %.3f", strings.Join(shares, ", "), most/least)
	if most > 1.2*least {
		t.Errorf("the pods' shares differ by a factor of %.2f", most/least)
	}
}

// show prints what a user sees, for the README.
func (c *cluster) show(t *testing.T, namespace, name string) {
	t.Helper()
	// The status of the pods reaches the Pipeline within 15 s.
	await(t, 30*time.Second, "the table's version in the status", func() (bool, string) {
		version := c.kubectl(t, "-n", namespace, "get", "wpl", name, "-o", "jsonpath={.status.tableVersion}")
		return version != "" && version != "0", version
	})
	for _, args := range [][]string{
		{"kubectl", "-n", namespace, "get", "wpl"},
		{"kubectl", "-n", namespace, "get", "wpl", "-o", "wide"},
		{"kubectl", "explain", "wpl.spec.sink"},
		{"weir", "status", name, "-n", namespace},
		{"kubectl", "weir", "get", "-n", namespace}, // the same program, found as kubectl-weir
		{"kubectl", "-n", namespace, "get", "all"},
	} {
		out := c.run(t, args[0], args[1:]...)
		t.Logf("$ %s\n%s", strings.Join(args, " "), out)
		if strings.Contains(out, "not reached") || !strings.Contains(out, name) && args[1] != "explain" {
			t.Errorf("%s does not show the Pipeline and its pods", strings.Join(args, " "))
		}
	}
}
