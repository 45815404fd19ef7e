// Package chart tests the Helm chart and the kustomize files without a cluster: what they render, and what they refuse.
package chart

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v3"
)

// object is a Kubernetes object as YAML has it.
type object map[string]any

// parse reads the documents of a rendered chart.
func parse(text string) ([]object, error) {
	var all []object
	for d := yaml.NewDecoder(strings.NewReader(text)); ; {
		var o object
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if o != nil {
			all = append(all, o)
		}
	}
}

// id names an object the way kubectl does, with its namespace.
func (o object) id() string {
	meta := o.mapping("metadata")
	return fmt.Sprintf("%v/%v/%v", o["kind"], meta["namespace"], meta["name"])
}

// mapping returns the mapping under a path of keys, or nil.
func (o object) mapping(path ...string) object {
	for _, key := range path {
		switch next := o[key].(type) {
		case object:
			o = next
		case map[string]any:
			o = next
		default:
			return nil
		}
	}
	return o
}

// byID indexes objects; two of one name are an error.
func byID(objects []object) (map[string]object, error) {
	m := map[string]object{}
	for _, o := range objects {
		if m[o.id()] != nil {
			return nil, fmt.Errorf("two objects are %s", o.id())
		}
		m[o.id()] = o
	}
	return m, nil
}
