package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValuesSchema(t *testing.T) {
	t.Parallel()
	b, err := valuesSchema([]byte(`# A heading that is about no key.

# How many there
# are.
# @schema {minimum: 1}
count: 3
# Some names.
# @schema {items: {type: string}}
names: []
# A group.
group:
  # Whether.
  on: true
`))
	if err != nil {
		t.Fatal(err)
	}
	var got map[string]any
	if err := json.Unmarshal(b, &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "additionalProperties": false,
		"properties": map[string]any{
			"global": map[string]any{"type": "object"},
			"count":  map[string]any{"type": "integer", "minimum": 1.0, "description": "How many there are."},
			"names":  map[string]any{"type": "array", "items": map[string]any{"type": "string"}, "description": "Some names."},
			"group": map[string]any{
				"type": "object", "additionalProperties": false, "description": "A group.",
				"properties": map[string]any{"on": map[string]any{"type": "boolean", "description": "Whether."}},
			},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
}

func TestValuesSchemaRefuses(t *testing.T) {
	t.Parallel()
	for values, want := range map[string]string{
		"":                            "no values",
		"a: 1":                        "line 1: a has no comment",
		"# A.\na:\n  b: 1":            "line 3: a.b has no comment",
		"# A.\na: null":               "line 2: a has no default",
		"# A.\na: {}":                 "line 2: a is empty",
		"# A.\na: []":                 "line 2: a is empty",
		"# A.\n# @schema {x: [\na: 1": "line 3: a: @schema",
	} {
		if _, err := valuesSchema([]byte(values)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %q", values, err, want)
		}
	}
}
