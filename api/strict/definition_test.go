package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/config/crd"
)

// The tests here hold the CustomResourceDefinition and the Go code of the API to the same rules: what a cluster defaults,
// accepts and refuses is what weir run does.

func TestDefinitionIsSmall(t *testing.T) {
	if size := len(crd.Pipelines()); size > 200<<10 {
		t.Errorf("the definition has %d bytes; want at most 200 KiB", size)
	}
}

// minimal returns the least Pipeline, as JSON.
func minimal() map[string]any {
	return map[string]any{
		"apiVersion": "weir.dev/v1alpha1", "kind": "Pipeline", "metadata": map[string]any{"name": "clicks"},
		"spec": map[string]any{"sink": map[string]any{"delta": map[string]any{"uri": "clicks"}}},
	}
}

// set gives the field at path a value, in the first element of the lists on the way, and returns where that is.
func set(object map[string]any, path string, value any) string {
	names, s, at := strings.Split(path, "."), pipelineSchema(), ""
	for _, name := range names[:len(names)-1] {
		s, at = s.Properties[name], join(at, name)
		if s.Type == "array" {
			inner := map[string]any{}
			object[name] = []any{inner}
			object, s, at = inner, s.inner(), at+"[0]"
			continue
		}
		if object[name] == nil {
			object[name] = map[string]any{}
		}
		object = object[name].(map[string]any)
	}
	object[names[len(names)-1]] = value
	return join(at, names[len(names)-1])
}

// faults validates object and returns the paths about which something is said.
func faults(t *testing.T, object map[string]any) []string {
	t.Helper()
	p, err := toPipeline(object)
	if err != nil {
		t.Fatal(err)
	}
	v1alpha1.SetDefaults(p)
	var paths []string
	for _, e := range v1alpha1.Validate(p) {
		paths = append(paths, e.Field)
	}
	return paths
}

// flatten collects the scalars of value by path.
func flatten(value any, path string, into map[string]string) {
	switch v := value.(type) {
	case map[string]any:
		for name, inner := range v {
			flatten(inner, join(path, name), into)
		}
	default:
		into[path] = fmt.Sprint(v)
	}
}

func TestDefaultsAreThoseOfTheDefinition(t *testing.T) {
	want := map[string]string{"spec.sink.delta.uri": "clicks"}
	each(pipelineSchema(), "", func(path string, s *schema) {
		if s.Default != nil && !strings.HasPrefix(path, "spec.transform.") && !strings.HasPrefix(path, "spec.identity.") && !strings.HasPrefix(path, "spec.schema.format.") { // of what the least Pipeline has not
			want[path] = fmt.Sprint(s.Default)
		}
	})
	p, err := toPipeline(minimal())
	if err != nil {
		t.Fatal(err)
	}
	v1alpha1.SetDefaults(p)
	b, err := json.Marshal(p.Spec)
	if err != nil {
		t.Fatal(err)
	}
	var spec map[string]any
	if err := json.Unmarshal(b, &spec); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	flatten(spec, "spec", got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-definition +SetDefaults):\n%s", diff)
	}
}

// limits finds the bounds that the rules of a quantity state.
var limits = regexp.MustCompile(`compareTo\(quantity\('(\w+)'\)\) ([<>]=) 0`)

// bounds returns the least and the greatest number that s allows.
func (s *schema) bounds() (low, high int64, ok bool) {
	if s.Minimum != nil && s.Maximum != nil {
		return *s.Minimum, *s.Maximum, true
	}
	for _, r := range s.Rules {
		for _, m := range limits.FindAllStringSubmatch(r.Rule, -1) {
			q := resource.MustParse(m[1])
			if ok = true; m[2] == ">=" {
				low = q.Value()
			} else {
				high = q.Value()
			}
		}
	}
	return low, high, ok
}

func TestBoundsAreThoseOfTheDefinition(t *testing.T) {
	checked := 0
	each(pipelineSchema().Properties["spec"], "spec", func(path string, s *schema) {
		low, high, ok := s.bounds()
		if !ok {
			return
		}
		checked++
		if low >= high {
			t.Errorf("%s is from %d to %d in the definition", path, low, high)
		}
		for value, good := range map[int64]bool{low - 1: false, low: true, high: true, high + 1: false} {
			object := minimal()
			set(object, "spec.flow.memory", "1Ti") // so that no other rule is met
			set(object, path, value)
			if refused := slices.Contains(faults(t, object), path); refused == good {
				t.Errorf("%s: %d is refused: %t; the definition says from %d to %d", path, value, refused, low, high)
			}
		}
	})
	if checked != 13 {
		t.Errorf("%d bounds were checked; want 13", checked)
	}
}

func TestEnumsAreThoseOfTheDefinition(t *testing.T) {
	each(pipelineSchema().Properties["spec"], "spec", func(path string, s *schema) {
		values := s.inner().Enum
		for _, value := range append(slices.Clone(values), "Neither") {
			if values == nil {
				return
			}
			object := minimal()
			at := set(object, path, value)
			if s.Type == "array" {
				set(object, path, []any{value})
				at += "[0]"
			}
			if refused := slices.Contains(faults(t, object), at); refused != (value == "Neither") {
				t.Errorf("%s: %s is refused: %t", path, value, refused)
			}
		}
	})
}

// orValue finds the defaults that rules repeat because the group of a field may be missing in a cluster.
var orValue = regexp.MustCompile(`self\.([a-zA-Z?.]+)\.orValue\((\d+)\)`)

func TestRulesRepeatTheDefaults(t *testing.T) {
	spec, found := pipelineSchema().Properties["spec"], map[string]bool{}
	for _, r := range spec.Rules {
		for _, m := range orValue.FindAllStringSubmatch(r.Rule, -1) {
			s := spec
			for name := range strings.SplitSeq(strings.ReplaceAll(m[1], "?", ""), ".") {
				s = s.Properties[name]
			}
			found[m[1]] = true
			if got := fmt.Sprint(s.Default); got != m[2] {
				t.Errorf("%s: the rule takes %s for missing, the default is %s", m[1], m[2], got)
			}
		}
	}
	if len(found) != 3 {
		t.Errorf("rules speak of %v; want the three ports", slices.Sorted(maps.Keys(found)))
	}
}

// TestEveryRuleHasAValidation reads the Pipelines of testdata/rules.yaml. Each breaks one rule of the definition, and
// Validate must refuse the same field and no other. Rules about changes have none: a file has no history. That the API
// server refuses them too is tested in hack/crd.
func TestEveryRuleHasAValidation(t *testing.T) {
	broken := map[string]bool{}
	dec := yaml.NewDecoder(bytes.NewReader(read(t, "testdata/rules.yaml")))
	for {
		var object map[string]any
		if err := dec.Decode(&object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		notes := object["metadata"].(map[string]any)["annotations"].(map[string]any)
		broken[notes["breaks"].(string)] = true
		if got := faults(t, object); !slices.Equal(got, []string{notes["at"].(string)}) {
			t.Errorf("%s: Validate finds faults in %v; want %v", notes["breaks"], got, notes["at"])
		}
	}
	rules := map[string]bool{}
	collect := func(_ string, s *schema) {
		all := s.Rules
		if s.Type == "array" {
			all = slices.Concat(all, s.inner().Rules)
		}
		for _, r := range all {
			if !strings.Contains(r.Rule, "oldSelf") {
				rules[r.Message] = true
			}
		}
	}
	collect("", pipelineSchema())
	each(pipelineSchema(), "", collect)
	if diff := cmp.Diff(rules, broken); diff != "" {
		t.Errorf("rules without a Pipeline that breaks them (-definition +testdata/rules.yaml):\n%s", diff)
	}
}
