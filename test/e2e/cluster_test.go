package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cluster is a Kubernetes cluster as a user meets it: by kubectl and helm.
type cluster struct {
	root string // of the repository
	dir  string // what hack/e2e.sh made: data, and names of images
	home string // of helm
}

// newCluster returns the cluster that KUBECONFIG names. hack/e2e.sh sets what is needed; without it the test is skipped,
// or fails if WEIR_REQUIRE_PEERS is set.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	c := &cluster{root: os.Getenv("WEIR_E2E_ROOT"), dir: os.Getenv("WEIR_E2E_DIR")}
	if c.dir != "" && c.root != "" {
		c.home = t.TempDir()
		return c
	}
	const missing = "WEIR_E2E_DIR is not set: run `make e2e`, which makes a cluster or takes the one of KUBECONFIG"
	if os.Getenv("WEIR_REQUIRE_E2E") != "" {
		t.Fatal(missing)
	}
	t.Skip(missing)
	return nil
}

// command runs a program with the cluster's configuration and returns its standard output.
func (c *cluster) command(ctx context.Context, stdin, program string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Dir = c.root
	cmd.Stdin = strings.NewReader(stdin)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+c.home, "HELM_CONFIG_HOME="+c.home, "HELM_DATA_HOME="+c.home)
	var out, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &stderr
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%s %s: %w: %s", program, strings.Join(args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return out.String(), nil
}

func (c *cluster) run(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := c.command(t.Context(), "", program, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (c *cluster) kubectl(t *testing.T, args ...string) string {
	t.Helper()
	return c.run(t, "kubectl", args...)
}

func (c *cluster) apply(t *testing.T, namespace, manifest string) {
	t.Helper()
	if _, err := c.command(t.Context(), manifest, "kubectl", "-n", namespace, "apply", "-f", "-"); err != nil {
		t.Fatal(err)
	}
}

// await polls until done says so, and fails the test with what it said last when the time is up.
func await(t *testing.T, limit time.Duration, what string, done func() (bool, string)) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		ok, state := done()
		if ok {
			return
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			t.Fatalf("%s: not within %v: %s", what, limit, state)
		}
	}
}

// namespace makes a namespace whose pods must be restricted, and deletes it after the test.
func (c *cluster) namespace(t *testing.T, name string) string {
	t.Helper()
	c.apply(t, "default", `apiVersion: v1
kind: Namespace
metadata:
  name: `+name+`
  labels: {pod-security.kubernetes.io/enforce: restricted}
`)
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
		defer cancel()
		if t.Failed() {
			c.dump(ctx, t, name)
		}
		if _, err := c.command(ctx, "", "kubectl", "delete", "namespace", name, "--ignore-not-found"); err != nil {
			t.Error(err)
		}
	})
	return name
}

// dump logs what a failed test leaves to look at.
func (c *cluster) dump(ctx context.Context, t *testing.T, namespace string) {
	t.Helper()
	for _, args := range [][]string{
		{"get", "all,wpl", "-o", "wide"},
		{"get", "events", "--sort-by=.lastTimestamp"},
		{"logs", "--all-containers", "--prefix", "--tail=30", "-l", "app.kubernetes.io/name"},
		{"logs", "--all-containers", "--prefix", "--tail=30", "-l", "e2e"},
	} {
		out, err := c.command(ctx, "", "kubectl", append([]string{"-n", namespace}, args...)...)
		t.Logf("kubectl -n %s %s\n%s", namespace, strings.Join(args, " "), out)
		if err != nil {
			t.Log(err)
		}
	}
}

// pod is what the tests look at of a pod.
type pod struct {
	Metadata struct {
		Name              string     `json:"name"`
		UID               string     `json:"uid"`
		DeletionTimestamp *time.Time `json:"deletionTimestamp"`
	} `json:"metadata"`
	Spec struct {
		Containers []struct {
			Image string `json:"image"`
		} `json:"containers"`
	} `json:"spec"`
	Status struct {
		Phase      string `json:"phase"`
		PodIP      string `json:"podIP"`
		Conditions []struct {
			Type   string `json:"type"`
			Status string `json:"status"`
		} `json:"conditions"`
	} `json:"status"`
}

func (p pod) image() string { return p.Spec.Containers[0].Image }

func (p pod) ready() bool {
	if p.Metadata.DeletionTimestamp != nil {
		return false
	}
	for _, c := range p.Status.Conditions {
		if c.Type == "Ready" {
			return c.Status == "True"
		}
	}
	return false
}

func (c *cluster) pods(t *testing.T, namespace, selector string) []pod {
	t.Helper()
	var list struct {
		Items []pod `json:"items"`
	}
	out := c.kubectl(t, "-n", namespace, "get", "pods", "-l", selector, "-o", "json")
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// awaitPods waits until exactly n pods are there and all are ready.
func (c *cluster) awaitPods(t *testing.T, namespace, selector string, n int) []pod {
	t.Helper()
	var pods []pod
	await(t, 2*time.Minute, fmt.Sprintf("%d pods of %s", n, selector), func() (bool, string) {
		pods = c.pods(t, namespace, selector)
		ready := 0
		for _, p := range pods {
			if p.ready() {
				ready++
			}
		}
		return ready == n && len(pods) == n, fmt.Sprintf("%d of %d are ready", ready, len(pods))
	})
	return pods
}

// metric sums the samples of a metric of a pod.
func (c *cluster) metric(t *testing.T, namespace, podName, name string) float64 {
	t.Helper()
	v, err := c.tryMetric(t.Context(), namespace, podName, name)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func (c *cluster) tryMetric(ctx context.Context, namespace, podName, name string) (float64, error) {
	path := fmt.Sprintf("/api/v1/namespaces/%s/pods/%s:9090/proxy/metrics", namespace, podName)
	text, err := c.command(ctx, "", "kubectl", "get", "--raw", path)
	if err != nil {
		return 0, err
	}
	sum, found := 0.0, false
	for line := range strings.Lines(text) {
		sample, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		base, _, _ := strings.Cut(sample, "{")
		if !ok || base != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return 0, fmt.Errorf("metric %s of pod %s: %w", name, podName, err)
		}
		sum, found = sum+v, true
	}
	if !found {
		return 0, fmt.Errorf("pod %s has no metric %s", podName, name)
	}
	return sum, nil
}

// forward opens a port of a service to this process and returns its address, until the test ends.
func (c *cluster) forward(t *testing.T, namespace, target string, port int) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "kubectl", "-n", namespace, "port-forward", target, fmt.Sprintf(":%d", port))
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill() //nolint:errcheck // it may have ended
		cmd.Wait()         //nolint:errcheck // killed
	})
	// "Forwarding from 127.0.0.1:40123 -> 9000"
	line := make([]byte, 256)
	n, err := out.Read(line)
	if err != nil {
		t.Fatalf("port-forward: %v", err)
	}
	fields := strings.Fields(string(line[:n]))
	if len(fields) < 3 {
		t.Fatalf("port-forward says %q", line[:n])
	}
	return fields[2]
}

// image returns the name of an image that hack/e2e.sh made.
func image(name string) string { return "weir.test/" + name }

// data returns the path of a file that hack/e2e.sh made.
func (c *cluster) data(name string) string { return filepath.Join(c.dir, name) }
