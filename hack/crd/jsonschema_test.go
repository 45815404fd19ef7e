package crd

import (
	"os/exec"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/util/json"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
)

// TestJSONSchema: the schema for editors, read by a validator that is not weir's, takes the good files of the tests and
// refuses those that are bad in form. Faults across fields are for weir lint alone.
func TestJSONSchema(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "go", "run", "./cmd/weir", "schema", "jsonschema")
	cmd.Dir = "../.."
	b, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var schema spec.Schema
	if err := json.Unmarshal(b, &schema); err != nil {
		t.Fatal(err)
	}
	v := validate.NewSchemaValidator(&schema, nil, "", strfmt.Default)
	faults := func(file string) (n int) {
		for _, object := range objects(t, file) {
			n += len(v.Validate(object).Errors)
		}
		return n
	}
	good, err := filepath.Glob(testdata + "good/*.yaml")
	if err != nil || len(good) == 0 {
		t.Fatal("no good file", err)
	}
	for _, file := range good {
		if n := faults(file); n > 0 {
			t.Errorf("%s is good, and the schema finds %d faults", file, n)
		}
	}
	for _, name := range []string{"types", "typos"} {
		if faults(testdata+"bad/"+name+".yaml") < 5 {
			t.Errorf("%s.yaml is bad, and the schema hardly sees it", name)
		}
	}
}
