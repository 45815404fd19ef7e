package chart

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weir-dev/weir/config/crd"
)

// TestKubeconform holds everything the chart and config/default render against the schemas of Kubernetes. They are made
// from the OpenAPI document in the module k8s.io/kubernetes that hack/cluster builds from, so nothing is fetched.
func TestKubeconform(t *testing.T) {
	t.Parallel()
	schemas := t.TempDir()
	document := openAPI(t)
	renders := t.TempDir()
	for _, file := range values(t) {
		write(t, filepath.Join(renders, filepath.Base(file)), template(t, "helm4", file))
	}
	write(t, filepath.Join(renders, "kustomize.yaml"), must(t, "kubectl", "kustomize", "config/default"))
	for _, kind := range document.kinds(kindsIn(t, renders)) {
		write(t, filepath.Join(schemas, strings.ToLower(kind.Kind)+"-"+kind.suffix()+".json"), document.schema(t, kind))
	}
	write(t, filepath.Join(schemas, "pipeline-weir-v1alpha1.json"), pipelineSchema(t))
	location := filepath.Join(schemas, "{{.ResourceKind}}{{.KindSuffix}}.json")
	// A PodMonitor is of the Prometheus operator, whose schemas are not here; every other kind has one.
	out := must(t, "kubeconform", "-strict", "-summary", "-skip", "PodMonitor", "-schema-location", location, renders)
	t.Log(strings.TrimSpace(out))
	for _, good := range []string{"Errors: 0", "Invalid: 0", fmt.Sprintf("Skipped: %d", podMonitors(t, renders))} {
		if !strings.Contains(out, good) {
			t.Errorf("kubeconform does not say %q:\n%s", good, out)
		}
	}

	// A check that lets everything pass would have passed so far.
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	write(t, wrong, "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, nmespace: b}\n")
	if out, err := command(t, "kubeconform", "-strict", "-schema-location", location, wrong); err == nil {
		t.Errorf("kubeconform takes a field that does not exist:\n%s", out)
	}
}

// podMonitors counts those in a directory of manifests.
func podMonitors(t *testing.T, dir string) int {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		n += strings.Count(string(b), "\nkind: PodMonitor\n")
	}
	if n == 0 {
		t.Error("no values ask for a PodMonitor")
	}
	return n
}

// openAPIDocument is the part of an OpenAPI 2 document that holds the types.
type openAPIDocument struct {
	Definitions map[string]map[string]any `json:"definitions"`
}

// kind is a type that has objects.
type kind struct {
	Group, Version, Kind string
	definition           string
}

// suffix is how kubeconform tells the versions of a kind apart.
func (k kind) suffix() string {
	first, _, _ := strings.Cut(k.Group, ".")
	return strings.ToLower(strings.TrimPrefix(first+"-"+k.Version, "-"))
}

func openAPI(t *testing.T) openAPIDocument {
	t.Helper()
	dir, err := exec.CommandContext(t.Context(), "go", "-C", filepath.Join(root(t), "hack/cluster"), "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes").Output()
	if err != nil {
		t.Fatalf("find the module k8s.io/kubernetes: %v", err)
	}
	b, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(dir)), "api/openapi-spec/swagger.json"))
	if err != nil {
		t.Fatal(err)
	}
	var d openAPIDocument
	if err := json.Unmarshal(b, &d); err != nil {
		t.Fatal(err)
	}
	for _, definition := range d.Definitions {
		tighten(definition)
	}
	d.Definitions["io.k8s.apimachinery.pkg.api.resource.Quantity"]["type"] = []string{"number", "string"}
	return d
}

// tighten closes the objects of a definition, and states what OpenAPI 2 cannot: an int-or-string is either, as is a
// quantity.
func tighten(schema map[string]any) {
	if properties, ok := schema["properties"].(map[string]any); ok && schema["additionalProperties"] == nil &&
		schema["x-kubernetes-preserve-unknown-fields"] == nil && schema["x-kubernetes-group-version-kind"] == nil {
		schema["additionalProperties"] = false
		for _, p := range properties {
			if child, ok := p.(map[string]any); ok {
				tighten(child)
			}
		}
	}
	if schema["format"] == "int-or-string" {
		delete(schema, "format")
		schema["type"] = []string{"integer", "string"}
	}
}

// pipelineSchema is the schema of a Pipeline, from its definition.
func pipelineSchema(t *testing.T) string {
	t.Helper()
	definitions, err := parse(string(crd.Pipelines()))
	if err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(definitions[0])
	if err != nil {
		t.Fatal(err)
	}
	var definition struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema map[string]any `json:"openAPIV3Schema"`
				} `json:"schema"`
			} `json:"versions"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(b, &definition); err != nil {
		t.Fatal(err)
	}
	schema := definition.Spec.Versions[0].Schema.OpenAPIV3Schema
	tighten(schema)
	if b, err = json.Marshal(schema); err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// kindsIn lists the kinds in a directory of manifests.
func kindsIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]bool{}
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		objects, err := parse(string(b))
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects {
			all[fmt.Sprint(o["apiVersion"], " ", o["kind"])] = true
		}
	}
	return all
}

// kinds are those of a set of "apiVersion kind".
func (d openAPIDocument) kinds(wanted map[string]bool) []kind {
	var all []kind
	for name, definition := range d.Definitions {
		marks, _ := definition["x-kubernetes-group-version-kind"].([]any)
		if len(marks) != 1 {
			continue // options and lists that many groups share
		}
		text := func(key string) string { s, _ := marks[0].(map[string]any)[key].(string); return s }
		k := kind{Group: text("group"), Version: text("version"), Kind: text("kind"), definition: name}
		if wanted[strings.TrimPrefix(k.Group+"/"+k.Version, "/")+" "+k.Kind] {
			all = append(all, k)
		}
	}
	return all
}

// schema is a JSON Schema that holds the definition of a kind and all that it refers to.
func (d openAPIDocument) schema(t *testing.T, k kind) string {
	t.Helper()
	needed := map[string]any{}
	d.collect(k.definition, needed)
	top := maps.Clone(d.Definitions[k.definition])
	top["additionalProperties"] = false
	top["definitions"] = needed
	b, err := json.Marshal(top)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (d openAPIDocument) collect(name string, needed map[string]any) {
	if needed[name] != nil {
		return
	}
	needed[name] = d.Definitions[name]
	d.refs(d.Definitions[name], needed)
}

func (d openAPIDocument) refs(v any, needed map[string]any) {
	switch v := v.(type) {
	case map[string]any:
		if ref, ok := v["$ref"].(string); ok {
			d.collect(strings.TrimPrefix(ref, "#/definitions/"), needed)
		}
		for _, child := range v {
			d.refs(child, needed)
		}
	case []any:
		for _, child := range v {
			d.refs(child, needed)
		}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
