package strict

import (
	"encoding/json"
	"maps"
	"slices"
)

// JSONSchema returns the JSON Schema (draft 7) of a Pipeline file, for editors: they complete fields, show what they mean
// and mark what cannot be. What it allows is a little more than weir lint does, which also knows rules across fields.
func JSONSchema() ([]byte, error) {
	s := pipelineSchema().jsonSchema()
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	s["title"] = "Pipeline of weir"
	return json.MarshalIndent(s, "", "  ")
}

func (s *schema) jsonSchema() map[string]any {
	out := map[string]any{}
	put := func(key string, value any, there bool) {
		if there {
			out[key] = value
		}
	}
	put("description", s.Description, s.Description != "")
	put("default", s.Default, s.Default != nil)
	put("pattern", s.Pattern, s.Pattern != "")
	put("minimum", s.Minimum, s.Minimum != nil)
	put("maximum", s.Maximum, s.Maximum != nil)
	put("maxItems", s.MaxItems, s.MaxItems != nil)
	put("enum", s.Enum, s.Enum != nil)
	switch {
	case s.Unstructured:
	case s.IntOrString:
		out["type"] = []string{"integer", "string"}
		delete(out, "default") // as a string; editors would insert it as it stands
	default:
		out["type"] = s.Type
	}
	if s.Items != nil {
		out["items"] = s.Items.jsonSchema()
	}
	if s.Values != nil {
		out["additionalProperties"] = s.Values.jsonSchema()
	}
	if len(s.Properties) > 0 {
		properties := map[string]any{}
		for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
			properties[name] = s.Properties[name].jsonSchema()
		}
		out["properties"] = properties
		out["additionalProperties"] = false
	}
	put("required", s.Required, len(s.Required) > 0)
	return out
}
