package envtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/test/harness"
)

// asKubectl makes weir of this source a plugin of kubectl, and returns what runs kubectl weir.
func asKubectl(t *testing.T) func(args ...string) (string, error) {
	t.Helper()
	bin := t.TempDir()
	weir, err := harness.Build(t.Context(), bin)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(weir, filepath.Join(bin, "kubectl-weir")); err != nil {
		t.Fatal(err)
	}
	return func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), filepath.Join(os.Getenv("KUBEBUILDER_ASSETS"), "kubectl"), append([]string{"weir"}, args...)...)
		cmd.Env = append(os.Environ(), "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"), "KUBECONFIG="+cluster.kubeconfig)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
}

// TestKubectlPlugin: kubectl weir lists what kubectl get lists, and says how a Pipeline is. That pods answer through the API
// server is for test/e2e: it proxies to no loopback address.
func TestKubectlPlugin(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	startOperator(t, ns, nil)
	startKubelet(t, ns, store.NewMemory(), nil)
	p := newPipeline(t, ns, "clicks", metricsPort)
	wants(t, p, v1alpha1.PhaseRunning, "Ready True Running", "StorageReachable True PutIfAbsent")
	weir := asKubectl(t)

	age, blanks := regexp.MustCompile(`\b\d+s\b`), regexp.MustCompile(` +`)
	plain := func(s string) string {
		return blanks.ReplaceAllString(age.ReplaceAllString(strings.TrimSpace(s), "AGE"), " ")
	}
	for _, wide := range []bool{false, true} {
		ours, theirs := []string{"get", "-n", ns}, []string{"get", "wpl"}
		if wide {
			ours, theirs = append(ours, "--wide"), append(theirs, "-o", "wide")
		}
		got, err := weir(ours...)
		if want := kubectl(t, ns, theirs...); err != nil || plain(got) != plain(want) {
			t.Errorf("%v: kubectl weir get prints\n%s\nand kubectl get wpl\n%s", err, got, want)
		}
	}

	if got := kubectl(t, ns, "get", "weir", "-o", "name"); got != "pipeline.weir.dev/clicks\n" { // the category
		t.Errorf("kubectl get weir prints %q", got)
	}

	got, err := weir("status", "clicks", "-n", ns)
	if err != nil {
		t.Fatalf("%v\n%s", err, got)
	}
	for _, want := range []string{
		ns + "/clicks Running, 1/1 pods, 0 records/s", "Ready True Running AGE 1 of 1 pods take events",
		"StorageReachable True PutIfAbsent AGE", "TableCompatible True NoTableYet AGE", " not reached: ",
	} {
		if !strings.Contains(plain(got), want) {
			t.Errorf("kubectl weir status does not print %q:\n%s", want, got)
		}
	}
}
