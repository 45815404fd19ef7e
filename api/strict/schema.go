package strict

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/config/crd"
)

// schema is the part of a CustomResourceDefinition's OpenAPI schema that reading and explaining a file needs.
type schema struct {
	Type         string             `yaml:"type"`
	Format       string             `yaml:"format"`
	Description  string             `yaml:"description"`
	Default      any                `yaml:"default"`
	Enum         []string           `yaml:"enum"`
	Pattern      string             `yaml:"pattern"`
	Minimum      *int64             `yaml:"minimum"`
	Maximum      *int64             `yaml:"maximum"`
	MaxItems     *int64             `yaml:"maxItems"`
	Properties   map[string]*schema `yaml:"properties"`
	Required     []string           `yaml:"required"`
	Items        *schema            `yaml:"items"`
	Values       *schema            `yaml:"additionalProperties"` // of a map from any key
	IntOrString  bool               `yaml:"x-kubernetes-int-or-string"`
	Unstructured bool               `yaml:"x-kubernetes-preserve-unknown-fields"`
	Rules        []rule             `yaml:"x-kubernetes-validations"`
}

type rule struct {
	Rule    string `yaml:"rule"`
	Message string `yaml:"message"`
}

// pipelineSchema returns the schema of the kind Pipeline. It is read once and never changed.
var pipelineSchema = sync.OnceValue(func() *schema {
	s, err := readSchema(crd.Pipelines())
	if err != nil {
		panic(err) // the definition is part of the program, so this is a mistake of the build
	}
	return s
})

func readSchema(definition []byte) (*schema, error) {
	var d struct {
		Spec struct {
			Versions []struct {
				Name   string
				Schema struct {
					OpenAPI *schema `yaml:"openAPIV3Schema"`
				}
			}
		}
	}
	if err := yaml.Unmarshal(definition, &d); err != nil {
		return nil, fmt.Errorf("read the definition of Pipeline: %w", err)
	}
	for _, v := range d.Spec.Versions {
		if s := v.Schema.OpenAPI; v.Name == v1alpha1.Version && s != nil {
			s.Properties["apiVersion"].Description = "Always " + apiVersion() + "."
			s.Properties["kind"].Description = "Always " + v1alpha1.Kind + "."
			s.Properties["metadata"] = metadataSchema()
			s.Required = append(s.Required, "apiVersion", "kind", "metadata")
			return s, nil
		}
	}
	return nil, fmt.Errorf("the definition of Pipeline has no version %s", v1alpha1.Version)
}

func apiVersion() string { return v1alpha1.GroupVersion().String() }

// metadataSchema describes the fields of metadata, which definitions leave to the API server. Those that a cluster sets
// are known, so that a file that came out of a cluster can be read, and ignored.
func metadataSchema() *schema {
	text := func(description string) *schema { return &schema{Type: "string", Description: description} }
	texts := func(description string) *schema {
		return &schema{Type: "object", Description: description, Values: &schema{Type: "string"}}
	}
	s := &schema{
		Type: "object", Description: "The name of the pipeline and what a cluster keeps about it.", Required: []string{"name"},
		Properties: map[string]*schema{
			"name": text("The name of the pipeline and the first part of its routes: lower-case letters, digits and '-' in between, " +
				"at most 52."),
			"namespace":   text("The namespace of a cluster; weir run ignores it."),
			"labels":      texts("Labels for selecting; weir run ignores them."),
			"annotations": texts("Notes of tools; weir run ignores them."),
		},
	}
	for _, name := range []string{
		"creationTimestamp", "deletionGracePeriodSeconds", "deletionTimestamp", "finalizers", "generateName", "generation",
		"managedFields", "ownerReferences", "resourceVersion", "selfLink", "uid",
	} {
		s.Properties[name] = &schema{Unstructured: true, Description: "Set by a cluster; weir run ignores it."}
	}
	return s
}

// typeName says what values of s are, in the words of the documentation.
func (s *schema) typeName() string {
	switch {
	case s.Unstructured:
		return "any"
	case s.IntOrString:
		return "quantity"
	case s.Format == "duration":
		return "duration"
	case s.Type == "array":
		return "[]" + s.Items.typeName()
	case s.Values != nil:
		return "map[string]" + s.Values.typeName()
	}
	return s.Type
}

// zero returns an empty value of the kind that s says, as JSON.
func (s *schema) zero() any {
	switch s.Type {
	case "object":
		return map[string]any{}
	case "string":
		return ""
	}
	return nil
}

// fields returns the names of the fields of s, sorted.
func (s *schema) fields() []string { return slices.Sorted(maps.Keys(s.Properties)) }

// pathsOf returns the paths at and below s of the fields called name, whatever their case, sorted.
func (s *schema) pathsOf(name, at string) []string {
	var paths []string
	for _, f := range s.fields() {
		path := join(at, f)
		if strings.EqualFold(f, name) {
			paths = append(paths, path)
		}
		paths = append(paths, s.Properties[f].pathsOf(name, path)...)
	}
	return paths
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}
