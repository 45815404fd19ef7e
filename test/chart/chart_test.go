package chart

import (
	"flag"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/weir-dev/weir/config"
	"github.com/weir-dev/weir/test/harness"
)

var update = flag.Bool("update", false, "write the golden files anew")

// helms are the versions of Helm that must agree.
var helms = []string{"helm4", "helm3"}

// root is the repository.
func root(t *testing.T) string {
	t.Helper()
	dir, err := harness.Root()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// command runs a program of hack/cluster in the root of the repository.
func command(t *testing.T, program string, args ...string) (string, error) {
	t.Helper()
	home := t.TempDir()
	cmd := exec.CommandContext(t.Context(), harness.ClusterProgram(t, program), args...)
	cmd.Dir = root(t)
	cmd.Env = append(os.Environ(), "HOME="+home, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	return string(out) + stderr.String(), err
}

func must(t *testing.T, program string, args ...string) string {
	t.Helper()
	out, err := command(t, program, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
	}
	return out
}

// values are the files in testdata/values, each a way to use the chart.
func values(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/values/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no values: %v", err)
	}
	return files
}

func template(t *testing.T, helm, file string) string {
	t.Helper()
	path, err := filepath.Abs(file)
	if err != nil {
		t.Fatal(err)
	}
	return must(t, helm, "template", "weir", "charts/weir", "--namespace", "weir-system", "--kube-version", "1.37.2", "--values", path)
}

// TestLint: every way to use the chart passes helm lint --strict.
func TestLint(t *testing.T) {
	t.Parallel()
	for _, helm := range helms {
		for _, file := range values(t) {
			path, err := filepath.Abs(file)
			if err != nil {
				t.Fatal(err)
			}
			must(t, helm, "lint", "--strict", "--values", path, "charts/weir")
		}
	}
}

// TestGolden compares what the chart renders with testdata/golden; both versions of Helm render the same. The
// definition of Pipelines is a file of its own, so only its metadata is compared. -update writes the files.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, file := range values(t) {
		for _, helm := range helms {
			got := withoutDefinition(t, template(t, helm, file))
			golden := filepath.Join("testdata/golden", filepath.Base(file))
			if *update {
				if err := os.MkdirAll("testdata/golden", 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(strings.Split(string(want), "\n"), strings.Split(got, "\n")); diff != "" {
				t.Errorf("%s with %s (-want +got; -update takes it over):\n%s", helm, file, diff)
			}
		}
	}
}

// withoutDefinition leaves the schema of Pipelines out of a render.
func withoutDefinition(t *testing.T, render string) string {
	t.Helper()
	var kept []string
	for document := range strings.SplitSeq(render, "\n---\n") {
		if strings.Contains(document, "\nkind: CustomResourceDefinition\n") {
			head, _, ok := strings.Cut(document, "\nspec:\n")
			if !ok {
				t.Fatal("the definition of Pipelines has no spec")
			}
			document = head
		}
		kept = append(kept, document)
	}
	lines := strings.Split(strings.Join(kept, "\n---\n"), "\n")
	lines = slices.DeleteFunc(lines, func(line string) bool { return line == "" }) // the versions of Helm differ in these
	return strings.Join(lines, "\n") + "\n"
}

// TestDefinition: the chart installs the definition that controller-gen made, and keeps it when the release goes.
func TestDefinition(t *testing.T) {
	t.Parallel()
	objects, err := parse(template(t, "helm4", "testdata/values/default.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	all, err := byID(objects)
	if err != nil {
		t.Fatal(err)
	}
	got := all["CustomResourceDefinition/<nil>/pipelines.weir.dev"]
	if policy := got.mapping("metadata", "annotations")["helm.sh/resource-policy"]; policy != "keep" {
		t.Errorf("the resource policy of the definition is %v", policy)
	}
	made, err := os.ReadFile(filepath.Join(root(t), "config/crd/bases/weir.dev_pipelines.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	want, err := parse(string(made))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want[0].mapping("spec"), got.mapping("spec")); diff != "" {
		t.Errorf("the definition (-made +installed):\n%s", diff)
	}
}

// TestSchemaRefuses: what is no value of the chart is refused before anything is rendered, and named.
func TestSchemaRefuses(t *testing.T) {
	t.Parallel()
	for set, want := range map[string]string{
		"imag.tag=v1":                              "imag",
		"image.tg=v1":                              "tg",
		"image.pullPolicy=Sometimes":               "pullPolicy",
		"image.repository=":                        "repository",
		"image.digest=sha256:1":                    "digest",
		"watch.scope=Namespace":                    "scope",
		"watch.namespaces={Upper}":                 "namespaces",
		"crds.install=perhaps":                     "install",
		"operator.replicas=many":                   "replicas",
		"operator.replicas=11":                     "replicas",
		"operator.logLevel=loud":                   "logLevel",
		"operator.podLabels.a.b=c":                 "podLabels",
		"operator.tolerations={NoSchedule}":        "tolerations",
		"serviceAccount.annotations.a.b=1":         "annotations",
		"podMonitor.interval=often":                "interval",
		"podMonitor.label.a=b":                     "label",
		"networkPolicy.enabled=perhaps":            "enabled",
		"networkPolicy.ingestFrom={everyone}":      "ingestFrom",
		"fullnameOverride=" + long(41):             "fullnameOverride",
		"operator.resources.requests.cpu.x=1":      "cpu",
		"operator.securityContext.privileged=true": "securityContext",
	} {
		for _, helm := range helms {
			out, err := command(t, helm, "template", "weir", "charts/weir", "--set", set)
			if err == nil {
				t.Errorf("%s takes --set %s", helm, set)
			} else if !strings.Contains(out, want) {
				t.Errorf("%s --set %s does not name %s:\n%s", helm, set, want, out)
			}
		}
	}
}

func long(n int) string { return strings.Repeat("a", n) }

// TestKustomize: config/default is what the chart renders with its defaults, but for the marks of Helm.
func TestKustomize(t *testing.T) {
	t.Parallel()
	chart := plain(t, template(t, "helm4", "testdata/values/default.yaml"))
	kustomize := plain(t, must(t, "kubectl", "kustomize", "config/default"))
	namespace := kustomize["Namespace/<nil>/weir-system"]
	if namespace.mapping("metadata", "labels")["pod-security.kubernetes.io/enforce"] != "restricted" {
		t.Errorf("the namespace of config/default is not restricted: %v", namespace)
	}
	delete(kustomize, "Namespace/<nil>/weir-system") // Helm makes it by a flag
	same(t, chart, kustomize)
}

// TestInstall: what weir install prints is what the chart renders, whatever its namespace and image are.
func TestInstall(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ namespace, repository, tag string }{
		{config.Namespace, "ghcr.io/weir-dev/weir", "v0.1.0"}, {"ingest", "registry.example:5000/weir", "v1.2.3"},
	} {
		chart := plain(t, must(t, "helm4", "template", "weir", "charts/weir", "--namespace", c.namespace,
			"--set", "image.repository="+c.repository+",image.tag="+c.tag))
		installed := plain(t, config.Manifests(c.namespace, c.repository+":"+c.tag))
		delete(installed, "Namespace/<nil>/"+c.namespace)
		same(t, chart, installed)
	}
}

// same holds two sets of objects against each other.
func same(t *testing.T, chart, other map[string]object) {
	t.Helper()
	ids := maps.Clone(chart)
	maps.Copy(ids, other)
	for id := range ids {
		if diff := cmp.Diff(chart[id].lines(t), other[id].lines(t)); diff != "" {
			t.Errorf("%s (-chart +other):\n%s", id, diff)
		}
	}
}

// plain leaves out what only Helm writes: labels of the chart, and hooks.
func plain(t *testing.T, render string) map[string]object {
	t.Helper()
	objects, err := parse(render)
	if err != nil {
		t.Fatal(err)
	}
	all, err := byID(objects)
	if err != nil {
		t.Fatal(err)
	}
	for id, o := range all {
		annotations := o.mapping("metadata", "annotations")
		if annotations["helm.sh/hook"] != nil {
			delete(all, id)
		}
		delete(annotations, "helm.sh/resource-policy")
		if o["kind"] == "CustomResourceDefinition" { // the file is controller-gen's
			delete(o.mapping("metadata"), "labels")
		}
		for _, label := range []string{"helm.sh/chart", "app.kubernetes.io/managed-by", "app.kubernetes.io/version"} {
			delete(o.mapping("metadata", "labels"), label)
		}
	}
	return all
}

// lines is an object as YAML; one that is not there has none.
func (o object) lines(t *testing.T) []string {
	t.Helper()
	if o == nil {
		return nil
	}
	b, err := yaml.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(string(b), "\n")
}
