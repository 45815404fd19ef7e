package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"strings"

	"go.yaml.in/yaml/v3"
)

// valuesSchema is the JSON Schema of a chart's values, as Helm checks them.
func valuesSchema(values []byte) ([]byte, error) {
	var document yaml.Node
	if err := yaml.Unmarshal(values, &document); err != nil {
		return nil, err
	}
	if len(document.Content) == 0 {
		return nil, errors.New("no values")
	}
	schema, err := nodeSchema("", document.Content[0])
	if err != nil {
		return nil, err
	}
	schema["$schema"] = "http://json-schema.org/draft-07/schema#"
	// Helm puts it there for a parent chart.
	schema["properties"].(map[string]any)["global"] = map[string]any{"type": "object"}
	b, err := json.MarshalIndent(schema, "", "  ")
	return append(b, '\n'), err
}

// nodeSchema is the schema of a default; path names it in errors.
func nodeSchema(path string, node *yaml.Node) (map[string]any, error) {
	switch node.Kind {
	case yaml.MappingNode:
		return mappingSchema(path, node)
	case yaml.SequenceNode:
		return map[string]any{"type": "array"}, nil
	case yaml.ScalarNode:
		return scalarSchema(path, node)
	default:
		return nil, fmt.Errorf("line %d: %s is neither a value nor a list nor a mapping", node.Line, path)
	}
}

func scalarSchema(path string, node *yaml.Node) (map[string]any, error) {
	types := map[string]string{"!!str": "string", "!!bool": "boolean", "!!int": "integer", "!!float": "number"}
	if t := types[node.Tag]; t != "" {
		return map[string]any{"type": t}, nil
	}
	return nil, fmt.Errorf("line %d: %s has no default to take a type from", node.Line, path)
}

func mappingSchema(path string, node *yaml.Node) (map[string]any, error) {
	properties := map[string]any{}
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		property, err := propertySchema(strings.TrimPrefix(path+"."+key.Value, "."), key, value)
		if err != nil {
			return nil, err
		}
		properties[key.Value] = property
	}
	return map[string]any{"type": "object", "properties": properties, "additionalProperties": false}, nil
}

// propertySchema is the schema of a key: that of its default, with what the comment above it says.
func propertySchema(path string, key, value *yaml.Node) (map[string]any, error) {
	schema, err := nodeSchema(path, value)
	if err != nil {
		return nil, err
	}
	description, keywords, err := comment(key.HeadComment)
	if err != nil {
		return nil, fmt.Errorf("line %d: %s: %w", key.Line, path, err)
	}
	if description == "" {
		return nil, fmt.Errorf("line %d: %s has no comment that describes it", key.Line, path)
	}
	schema["description"] = description
	maps.Copy(schema, keywords)
	if len(value.Content) == 0 && value.Kind != yaml.ScalarNode {
		return schema, open(path, key.Line, keywords)
	}
	return schema, nil
}

// open refuses an empty list or mapping of which nothing says what it may hold.
func open(path string, line int, keywords map[string]any) error {
	for _, k := range []string{"items", "additionalProperties", "properties"} {
		if _, ok := keywords[k]; ok {
			return nil
		}
	}
	return fmt.Errorf("line %d: %s is empty: an @schema comment must say what it may hold", line, path)
}

// comment splits a comment into its prose and the keywords of its @schema lines. Only the last paragraph is about the
// key; what stands above a blank line heads a section.
func comment(text string) (string, map[string]any, error) {
	paragraphs := strings.Split(text, "\n\n")
	var prose []string
	keywords := map[string]any{}
	for line := range strings.Lines(paragraphs[len(paragraphs)-1]) {
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "#"))
		flow, ok := strings.CutPrefix(line, "@schema ")
		if !ok {
			prose = append(prose, line)
			continue
		}
		if err := yaml.Unmarshal([]byte(flow), &keywords); err != nil {
			return "", nil, fmt.Errorf("@schema: %w", err)
		}
	}
	return strings.TrimSpace(strings.Join(prose, " ")), keywords, nil
}
