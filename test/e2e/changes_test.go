package e2e

import (
	"fmt"
	"testing"
	"time"
)

// testChanges: while a producer sends, the pipeline is scaled from three pods to five and to two, a pod is deleted and
// the image changes. The producer goes on by itself, and every event it has an acknowledgement for is in the table.
func (c *cluster) testChanges(t *testing.T) {
	ns := c.namespace(t, "changes")
	c.store(t, ns)
	c.apply(t, ns, pipeline("flights", ns, ""))
	c.awaitPods(t, ns, selector("flights"), 3)

	c.send(t, ns, "sender", "--to", target("flights", ns), "--rate", "20000", "--give-up", "2m")
	c.flowing(t, ns)
	for _, change := range []struct {
		name string
		do   func()
		pods int
	}{
		{"scale to 5", func() { c.kubectl(t, "-n", ns, "scale", "wpl/flights", "--replicas=5") }, 5},
		{"scale to 2", func() { c.kubectl(t, "-n", ns, "scale", "wpl/flights", "--replicas=2") }, 2},
		{"delete a pod", func() {
			c.kubectl(t, "-n", ns, "delete", "pod", c.pods(t, ns, selector("flights"))[0].Metadata.Name, "--wait=false")
		}, 2},
		{"kill a pod", func() {
			c.kubectl(t, "-n", ns, "delete", "pod", c.pods(t, ns, selector("flights"))[0].Metadata.Name, "--grace-period=0", "--force")
		}, 2},
		{"change the image", func() {
			c.kubectl(t, "-n", ns, "patch", "wpl", "flights", "--type=merge", "-p", `{"spec":{"template":{"image":"`+image("weir:v2")+`"}}}`)
			c.awaitImage(t, ns, image("weir:v2"), 2)
		}, 2},
	} {
		begin := time.Now()
		change.do()
		c.awaitPods(t, ns, selector("flights"), change.pods)
		c.flowing(t, ns)
		t.Logf("%s: %d pods take events after %.1f s", change.name, change.pods, time.Since(begin).Seconds())
	}
	if phase := c.kubectl(t, "-n", ns, "get", "pod", "sender", "-o", "jsonpath={.status.phase}"); phase != "Running" {
		t.Errorf("the sender had ended (%s) before the last change", phase)
	}
	r := c.awaitSender(t, ns, "sender", 5*time.Minute)
	if r.Records != million || r.Rejected != 0 || r.Unacked != 0 {
		t.Errorf("the sender reports %+v", r)
	}
	got := c.compare(t, ns, "s3://tables/flights")
	if got.Distinct != million || got.Missing != 0 || got.Foreign != 0 {
		t.Errorf("acknowledged events are missing or rows are none of the events: %+v", got)
	}
	t.Logf("the table holds each of the %d events; %d of its %d rows are duplicates of resent events", got.Distinct, got.Rows-got.Distinct, got.Rows)
}

// awaitImage waits until n pods are ready and all run an image.
func (c *cluster) awaitImage(t *testing.T, namespace, image string, n int) {
	t.Helper()
	await(t, 2*time.Minute, "pods of "+image, func() (bool, string) {
		pods, state := c.pods(t, namespace, selector("flights")), ""
		ready := 0
		for _, p := range pods {
			state += p.Metadata.Name + " " + p.image() + "; "
			if p.ready() && p.image() == image {
				ready++
			}
		}
		return ready == n && len(pods) == n, state
	})
}

// flowing waits until the pods have seen a newer version of the table than when it was called: the producer has found its
// way.
func (c *cluster) flowing(t *testing.T, namespace string) {
	t.Helper()
	was := c.version(t, namespace)
	await(t, time.Minute, "commits", func() (bool, string) {
		now := c.version(t, namespace)
		return now > was, fmt.Sprintf("version %v", now)
	})
}

// version is the newest version of the table that a ready pod has seen, or -1.
func (c *cluster) version(t *testing.T, namespace string) float64 {
	t.Helper()
	newest := -1.0
	for _, p := range c.pods(t, namespace, selector("flights")) {
		if !p.ready() {
			continue
		}
		if v, err := c.tryMetric(t.Context(), namespace, p.Metadata.Name, "weir_table_version"); err == nil { // a pod may be going
			newest = max(newest, v)
		}
	}
	return newest
}
