// Package arch tests what the linter cannot see: what packages import by way of others.
package arch

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// TestDataPathKnowsNoKubernetes holds the packages that every event passes, and those that producers build into their
// programs, free of Kubernetes: only api, controllers and cmd may import it.
func TestDataPathKnowsNoKubernetes(t *testing.T) {
	deps := dependencies(t, "balancer/...", "client/...", "rsocket/...", "protocol/...", "delta/...", "ingestor/...")
	if !slices.Contains(deps, "github.com/weir-dev/weir/rsocket") {
		t.Fatalf("go list found no rsocket among %d packages", len(deps))
	}
	for _, pkg := range deps {
		if strings.HasPrefix(pkg, "k8s.io/") || strings.HasPrefix(pkg, "sigs.k8s.io/") {
			t.Errorf("the data path imports %s", pkg)
		}
	}
}

// TestProducersBuildLittle holds what a producer's program takes in with the client to the standard library and the one
// library for WebSocket.
func TestProducersBuildLittle(t *testing.T) {
	for _, pkg := range dependencies(t, "client") {
		first, _, _ := strings.Cut(pkg, "/")
		if strings.Contains(first, ".") && !strings.HasPrefix(pkg, "github.com/weir-dev/weir/") && !strings.HasPrefix(pkg, "github.com/coder/websocket") {
			t.Errorf("the client imports %s", pkg)
		}
	}
}

// TestTablesKnowNoCloud holds the Delta library and the data path free of the clients of object stores, which only
// delta/store/backends links: who needs one kind takes its package alone.
func TestTablesKnowNoCloud(t *testing.T) {
	for _, pkg := range dependencies(t, "delta", "ingestor/...") {
		for _, client := range []string{"github.com/minio/", "golang.org/x/oauth2", "github.com/Azure/", "cloud.google.com/"} {
			if strings.HasPrefix(pkg, client) {
				t.Errorf("the data path imports %s", pkg)
			}
		}
	}
}

func dependencies(t *testing.T, packages ...string) []string {
	t.Helper()
	args := []string{"list", "-deps"}
	for _, p := range packages {
		args = append(args, "github.com/weir-dev/weir/"+p)
	}
	var stderr strings.Builder
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, &stderr)
	}
	return strings.Fields(string(out))
}
