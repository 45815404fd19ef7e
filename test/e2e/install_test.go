package e2e

import (
	"context"
	"strings"
	"testing"
	"time"
)

// install installs a release of the chart, with further flags, and uninstalls it after the test.
func (c *cluster) install(t *testing.T, helm, release, namespace string, flags ...string) {
	t.Helper()
	args := []string{
		"install", release, "charts/weir", "--namespace", namespace, "--create-namespace", "--wait", "--timeout", "90s",
		"--set", "image.repository=" + image("weir"), "--set", "image.tag=v1", "--set", "operator.logFormat=text",
	}
	args = append(args, flags...)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), time.Minute)
		defer cancel()
		if t.Failed() {
			out, _ := c.command(ctx, "", "kubectl", "-n", namespace, "logs", "-l", "app.kubernetes.io/instance="+release, "--tail=60")
			t.Logf("operator %s:\n%s", release, out)
		}
		if _, err := c.command(ctx, "", helm, "uninstall", release, "--namespace", namespace, "--wait", "--ignore-not-found"); err != nil {
			t.Error(err)
		}
	})
	c.restrict(t, namespace)
	begin := time.Now()
	out := c.run(t, helm, args...)
	t.Logf("%s install %s: ready after %.1f s\n%s", helm, release, time.Since(begin).Seconds(), strings.TrimSpace(out))
}

// restrict makes a namespace in which only restricted pods are admitted.
func (c *cluster) restrict(t *testing.T, namespace string) {
	t.Helper()
	c.apply(t, "default", "apiVersion: v1\nkind: Namespace\nmetadata: {name: "+namespace+", labels: {pod-security.kubernetes.io/enforce: restricted}}\n")
}

// testHelmTest upgrades the release and runs what the chart has to look whether it works: a pipeline inside of one pod, and
// one of the operator with a producer and a reader.
func (c *cluster) testHelmTest(t *testing.T) {
	const ns = "weir-system"
	c.store(t, ns)
	sink := `{"delta":{"uri":"s3://tables/helm-test","storage":{"endpoint":"http://store.` + ns + `:9000","credentialsSecret":"store"}}}`
	c.run(t, "helm4", "upgrade", "weir", "charts/weir", "--namespace", ns, "--reuse-values", "--wait", "--set-json", "test.sink="+sink)
	out := c.run(t, "helm4", "test", "weir", "--namespace", ns, "--logs", "--timeout", "3m")
	t.Logf("helm test weir\n%s", out)
	for _, want := range []string{"all 27004 acknowledged", "3 accepted, 0 rejected", "release  revision  event"} {
		if !strings.Contains(out, want) {
			t.Errorf("the logs of helm test do not hold %q", want)
		}
	}
}

// TestReleases: two releases side by side, of both versions of Helm, each with the Pipelines of its own namespace. One
// brought the definition of Pipelines and leaves it behind.
func TestReleases(t *testing.T) {
	c := newCluster(t)
	c.restrict(t, "team-a")
	c.restrict(t, "team-b")
	// The definition may be there from a release of another name.
	c.install(t, "helm3", "weir", "team-a", "--set", "watch.scope=Namespaces,networkPolicy.enabled=true", "--take-ownership")
	c.install(t, "helm4", "weir", "team-b", "--set", "watch.scope=Namespaces,crds.install=false,rbac.aggregate=false")
	for _, ns := range []string{"team-a", "team-b"} {
		c.store(t, ns)
		c.apply(t, ns, strings.Replace(pipeline("orders", ns, ""), "min: 3", "min: 1", 1))
	}
	for _, ns := range []string{"team-a", "team-b"} {
		c.awaitPods(t, ns, selector("orders"), 1)
		c.kubectl(t, "-n", ns, "wait", "--for=condition=Ready", "wpl/orders", "--timeout=60s")
		leader := c.kubectl(t, "-n", ns, "get", "leases", "-o", "jsonpath={.items[*].spec.holderIdentity}")
		if len(strings.Fields(leader)) != 1 {
			t.Errorf("leaders in %s: %q; want one", ns, leader)
		}
	}
	c.run(t, "helm3", "uninstall", "weir", "--namespace", "team-a", "--wait")
	if out := c.kubectl(t, "get", "crd", "pipelines.weir.dev", "-o", "name"); strings.TrimSpace(out) == "" {
		t.Error("the definition of Pipelines went with the release")
	}
	c.kubectl(t, "-n", "team-b", "scale", "wpl/orders", "--replicas=2")
	c.awaitPods(t, "team-b", selector("orders"), 2)

	// A Pipeline goes with its pods, whether an operator is there (team-b) or not (team-a), and the definition last.
	for _, ns := range []string{"team-a", "team-b"} {
		c.kubectl(t, "-n", ns, "delete", "wpl", "--all", "--timeout=60s")
		c.awaitPods(t, ns, selector("orders"), 0)
	}
	c.kubectl(t, "delete", "crd", "pipelines.weir.dev", "--timeout=60s")
}
