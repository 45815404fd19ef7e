// Package crd holds the definition of Pipeline to what a Kubernetes API server does with it, with the API server's own
// code and without one: whether it takes the definition, what it accepts and what it refuses. It is a module of its own,
// so that these requirements stay out of weir's.
package crd

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/install"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	crdvalidation "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/json"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"
)

const (
	definition = "../../config/crd/bases/weir.dev_pipelines.yaml"
	testdata   = "../../api/strict/testdata/"
)

// server is the part of an API server that looks at one kind of object.
type server struct {
	definition *apiextensions.CustomResourceDefinition
	structural *structuralschema.Structural
	schema     validation.SchemaValidator
	rules      *cel.Validator
}

func newServer(t *testing.T) *server {
	t.Helper()
	b, err := os.ReadFile(definition)
	if err != nil {
		t.Fatal(err)
	}
	var v1 apiextensionsv1.CustomResourceDefinition
	if err := yaml.UnmarshalStrict(b, &v1); err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	install.Install(scheme)
	scheme.Default(&v1)
	s := &server{definition: new(apiextensions.CustomResourceDefinition)}
	if err := scheme.Convert(&v1, s.definition, nil); err != nil {
		t.Fatal(err)
	}
	schema := s.definition.Spec.Validation.OpenAPIV3Schema
	if s.structural, err = structuralschema.NewStructural(schema); err != nil {
		t.Fatal(err)
	}
	if s.schema, _, err = validation.NewSchemaValidator(schema); err != nil {
		t.Fatal(err)
	}
	s.rules = cel.NewValidator(s.structural, true, celconfig.PerCallLimit)
	return s
}

// complaints returns what the server says of object, which replaces old if that is not nil.
func (s *server) complaints(ctx context.Context, object, old map[string]any) []string {
	defaulting.Default(object, s.structural)
	var texts []string
	for _, e := range validation.ValidateCustomResource(nil, object, s.schema) {
		texts = append(texts, e.Error())
	}
	var before any
	if old != nil {
		before = old
	}
	errs, _ := s.rules.Validate(ctx, nil, s.structural, object, before, celconfig.RuntimeCELCostBudget)
	for _, e := range errs {
		texts = append(texts, e.Error())
	}
	return texts
}

func objects(t *testing.T, file string) []map[string]any {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []map[string]any
	docs := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(b)))
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if object := parse(t, string(doc)); object != nil {
			all = append(all, object)
		}
	}
}

func parse(t *testing.T, text string) map[string]any {
	t.Helper()
	b, err := yaml.YAMLToJSON([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	var object map[string]any
	if err := json.Unmarshal(b, &object); err != nil {
		t.Fatal(err)
	}
	return object
}

func TestDefinitionIsTaken(t *testing.T) {
	s := newServer(t)
	for _, e := range crdvalidation.ValidateCustomResourceDefinition(t.Context(), s.definition) {
		t.Error(e)
	}
}

func TestWhatWeirAcceptsIsAccepted(t *testing.T) {
	files, err := filepath.Glob(testdata + "good/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no good files: %v", err)
	}
	s := newServer(t)
	for _, file := range files {
		for _, object := range objects(t, file) {
			if got := s.complaints(t.Context(), object, nil); got != nil {
				t.Errorf("%s: %v", file, got)
			}
		}
	}
}

// TestEachRuleRefuses gives the server the Pipelines that break one rule each, which weir's own tests use too.
func TestEachRuleRefuses(t *testing.T) {
	s := newServer(t)
	broken := objects(t, testdata+"rules.yaml")
	if len(broken) == 0 {
		t.Fatal("no broken rules")
	}
	for _, object := range broken {
		notes := object["metadata"].(map[string]any)["annotations"].(map[string]any)
		rule := notes["breaks"].(string)
		if got := s.complaints(t.Context(), object, nil); len(got) != 1 || !strings.Contains(got[0], rule) {
			t.Errorf("the server says %q; want one complaint, %q", got, rule)
		}
	}
}

func TestChanges(t *testing.T) {
	const head = "metadata: {name: clicks}\nspec: {sink: {delta: "
	tests := []struct {
		name, before, after, want string
	}{
		{"nothing", "{uri: a, partitionBy: [b]}", "{uri: a, partitionBy: [b]}", ""},
		{"compression", "{uri: a}", "{uri: a, compression: Snappy}", ""},
		{"uri", "{uri: a}", "{uri: b}", "uri cannot change"},
		{"partitionBy", "{uri: a, partitionBy: [b]}", "{uri: a, partitionBy: [c]}", "partitionBy cannot change"},
		{"partitionBy added", "{uri: a}", "{uri: a, partitionBy: [c]}", "partitionBy cannot be added or removed"},
		{"partitionBy removed", "{uri: a, partitionBy: [c]}", "{uri: a}", "partitionBy cannot be added or removed"},
	}
	s := newServer(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			before, after := parse(t, head+tt.before+"}}"), parse(t, head+tt.after+"}}")
			if got := s.complaints(t.Context(), before, nil); got != nil {
				t.Fatalf("the server refuses the first: %v", got)
			}
			got := s.complaints(t.Context(), after, before)
			if refused := slices.ContainsFunc(got, func(text string) bool {
				return tt.want != "" && strings.Contains(text, tt.want)
			}); refused != (tt.want != "") || len(got) > 1 {
				t.Errorf("the server says %q; want %q", got, tt.want)
			}
		})
	}
}
