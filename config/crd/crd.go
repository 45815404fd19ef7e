// Package crd holds the CustomResourceDefinitions that controller-gen makes from the types in api. The files are what
// kubectl applies and what weir lint and weir explain read: one copy for both.
package crd

import _ "embed"

//go:embed bases/weir.dev_pipelines.yaml
var pipelines []byte

// Pipelines returns the definition of the kind Pipeline as YAML. The caller must not change it.
func Pipelines() []byte { return pipelines }
