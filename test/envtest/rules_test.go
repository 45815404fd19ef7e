package envtest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/v1alpha1"
)

const rulesData = "../../api/strict/testdata/"

// objects reads the documents of a file.
func objects(t *testing.T, file string) []*unstructured.Unstructured {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var all []*unstructured.Unstructured
	dec := utilyaml.NewYAMLOrJSONDecoder(bufio.NewReader(bytes.NewReader(b)), 4096)
	for {
		u := new(unstructured.Unstructured)
		err := dec.Decode(&u.Object)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(u.Object) > 0 {
			all = append(all, u)
		}
	}
}

// TestRules: the API server refuses each Pipeline of rules.yaml for the rule that it breaks, at the field, and for nothing
// else; and takes what weir takes.
func TestRules(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	create := func(u *unstructured.Unstructured) error {
		u.SetNamespace(ns)
		return cluster.client.Create(t.Context(), u, client.DryRunAll, client.FieldValidation("Strict"))
	}
	broken := objects(t, rulesData+"rules.yaml")
	for _, u := range broken {
		notes := u.GetAnnotations()
		err := create(u)
		status, ok := errors.AsType[*apierrors.StatusError](err)
		if !ok || !apierrors.IsInvalid(err) {
			t.Errorf("%s: %v", notes["breaks"], err)
			continue
		}
		causes := status.Status().Details.Causes
		if len(causes) != 1 || !strings.Contains(causes[0].Message, notes["breaks"]) {
			t.Errorf("%s: the server says %v", notes["breaks"], causes)
		}
		// metadata is looked at from the top, and a rule about an element may stand at its list
		if field := causes[0].Field; !strings.HasPrefix(notes["at"], field) && field != "<nil>" && !strings.HasPrefix(field, notes["at"]) {
			t.Errorf("%s: the server says it of %s, want %s", notes["breaks"], field, notes["at"])
		}
	}
	t.Logf("%d Pipelines are refused, each for its rule", len(broken))
	files, err := filepath.Glob(rulesData + "good/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal(err)
	}
	for _, file := range files {
		for _, u := range objects(t, file) {
			u.SetManagedFields(nil)
			u.SetResourceVersion("")
			u.SetUID("")
			unstructured.RemoveNestedField(u.Object, "status")
			if err := create(u); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}

// TestUnknownField: kubectl says where it is.
func TestUnknownField(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	u := new(unstructured.Unstructured)
	u.Object = map[string]any{
		"apiVersion": "weir.dev/v1alpha1", "kind": "Pipeline", "metadata": map[string]any{"name": "clicks", "namespace": ns},
		"spec": map[string]any{"snik": map[string]any{}, "sink": map[string]any{"delta": map[string]any{"uri": "s3://lake/clicks"}}},
	}
	err := cluster.client.Create(t.Context(), u, client.FieldValidation("Strict"))
	if err == nil || !strings.Contains(err.Error(), `unknown field "spec.snik"`) {
		t.Errorf("the server says %v", err)
	}
}

// TestRulesOfChanges: what cannot change is refused, and what may is taken.
func TestRulesOfChanges(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	for _, tt := range []struct {
		name   string
		before []string
		change func(*v1alpha1.DeltaSink)
		says   string
	}{
		{"nothing", []string{"a"}, func(*v1alpha1.DeltaSink) {}, ""},
		{"compression", nil, func(d *v1alpha1.DeltaSink) { d.Compression = v1alpha1.CompressionNone }, ""},
		{"uri", nil, func(d *v1alpha1.DeltaSink) { d.URI = "s3://lake/other" }, "uri cannot change: make another Pipeline for another table"},
		{"partitions", []string{"a"}, func(d *v1alpha1.DeltaSink) { d.PartitionBy = []string{"b"} }, "partitionBy cannot change"},
		{"added", nil, func(d *v1alpha1.DeltaSink) { d.PartitionBy = []string{"b"} }, "partitionBy cannot be added or removed"},
		{"removed", []string{"a"}, func(d *v1alpha1.DeltaSink) { d.PartitionBy = nil }, "partitionBy cannot be added or removed"},
	} {
		p := newPipeline(t, ns, "rule-"+tt.name, func(p *v1alpha1.Pipeline) { p.Spec.Sink.Delta.PartitionBy = tt.before })
		tt.change(p.Spec.Sink.Delta)
		err := cluster.client.Update(t.Context(), p)
		if tt.says == "" && err != nil || tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)) {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
