package strict

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/weir-dev/weir/api/v1alpha1"
)

// ForPods returns p as the file that its pods read, without what is only for a cluster and without what is a default: so
// the bytes stay the same, and the pods too, when p is scaled or when a newer definition brings a field with a default.
func ForPods(p *v1alpha1.Pipeline) ([]byte, error) {
	out := v1alpha1.Pipeline{Spec: *p.Spec.DeepCopy()}
	out.APIVersion, out.Kind = apiVersion(), v1alpha1.Kind
	out.Name, out.Namespace = p.Name, p.Namespace
	out.Spec.Replicas, out.Spec.Scaling, out.Spec.Template = nil, v1alpha1.ScalingSpec{}, v1alpha1.TemplateSpec{}
	b, err := json.Marshal(out)
	if err != nil {
		return nil, fmt.Errorf("write Pipeline %s: %w", p.Name, err)
	}
	var object map[string]any
	if err := json.Unmarshal(b, &object); err != nil {
		return nil, fmt.Errorf("write Pipeline %s: %w", p.Name, err)
	}
	pipelineSchema().trim(object)
	if b, err = json.MarshalIndent(object, "", "  "); err != nil {
		return nil, fmt.Errorf("write Pipeline %s: %w", p.Name, err)
	}
	return append(b, '\n'), nil
}

// trim removes from value what is a default, and then the groups that are empty: one whose fields are all optional means
// the same as none.
func (s *schema) trim(value any) {
	switch v := value.(type) {
	case []any:
		for _, e := range v {
			s.Items.trim(e)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			f := s.Properties[name]
			if f == nil {
				continue // of metadata, or a key of a map
			}
			f.trim(v[name])
			inner, group := v[name].(map[string]any)
			if f.Default != nil && fmt.Sprint(f.Default) == fmt.Sprint(v[name]) || group && len(inner) == 0 && len(f.Required) == 0 {
				delete(v, name)
			}
		}
	}
}
