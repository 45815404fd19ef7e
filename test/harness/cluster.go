package harness

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// ClusterProgram returns the path of a program that hack/cluster/build.sh made, such as kubectl or helm4. Without it the
// test is skipped, or fails if WEIR_REQUIRE_PEERS is set, as `make test` does. WEIR_CLUSTER_BIN names the directory.
func ClusterProgram(t testing.TB, name string) string {
	t.Helper()
	path := filepath.Join(os.Getenv("WEIR_CLUSTER_BIN"), name)
	_, err := os.Stat(path)
	if err == nil && filepath.IsAbs(path) {
		return path
	}
	err = fmt.Errorf("%s is not there: set WEIR_CLUSTER_BIN to what `hack/cluster/build.sh all` prints (%w)", name, err)
	if os.Getenv("WEIR_REQUIRE_PEERS") != "" {
		t.Fatal(err)
	}
	t.Skip(err)
	return ""
}
