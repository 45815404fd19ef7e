package strict

import (
	"strings"
	"testing"
)

func TestExplain(t *testing.T) {
	for _, path := range []string{
		"pipeline", "pipeline.spec.flow.memory", "pipeline.spec.schema", "pipeline.spec.sink.delta", "pipeline.spec.template",
		"pipeline.status.conditions",
	} {
		t.Run(path, func(t *testing.T) {
			got, err := Explain(path)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "testdata/explain/"+path+".txt", got)
		})
	}
}

func TestExplainKnowsTheNamesOfTheKind(t *testing.T) {
	want, err := Explain("pipeline.spec.sink")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"wpl.spec.sink", "pipelines.spec.sink", "Pipeline.spec.sink"} {
		if got, err := Explain(path); got != want || err != nil {
			t.Errorf("Explain(%s) = %q, %v; want %q", path, got, err, want)
		}
	}
}

func TestExplainUnknownPath(t *testing.T) {
	tests := map[string]string{
		"":                               `"": a path starts with the kind, such as pipeline.spec.sink`,
		"spec.sink":                      "spec.sink: a path starts with the kind, such as pipeline.spec.sink",
		"pipeline.spec.snik":             `pipeline.spec.snik: unknown field, did you mean "sink"?`,
		"pipeline.spec.batch":            "pipeline.spec.batch: unknown field here, did you mean pipeline.spec.sink.delta.batch?",
		"pipeline.spec.sink.delta.uri.x": "pipeline.spec.sink.delta.uri.x: unknown field: pipeline.spec.sink.delta.uri is a string and has none",
		"pipeline.spec.shards":           "pipeline.spec.shards: unknown field: pipeline.spec has flow, identity, ingress, observability, onTransformError, replicas, scaling, schema, sink, template, transform",
		"pipeline.":                      `pipeline."": unknown field: pipeline has apiVersion, kind, metadata, spec, status`,
	}
	for path, want := range tests {
		if _, err := Explain(path); err == nil || err.Error() != want {
			t.Errorf("Explain(%q) = %v; want %s", path, err, want)
		}
	}
}

// TestEveryFieldIsDescribed holds the texts to what they promise: each field one, with the default if there is one.
func TestEveryFieldIsDescribed(t *testing.T) {
	each(pipelineSchema(), "", func(path string, s *schema) {
		if s.Description == "" {
			t.Errorf("%s has no description", path)
		}
		if s.Default != nil && !strings.Contains(strings.ToLower(s.Description), "default") {
			t.Errorf("%s has a default that its description does not tell", path)
		}
	})
}

// each calls f for every field of s, those of elements included.
func each(s *schema, path string, f func(path string, s *schema)) {
	inner := s.inner()
	for _, name := range inner.fields() {
		at := join(path, name)
		f(at, inner.Properties[name])
		each(inner.Properties[name], at, f)
	}
}
