// Package v1alpha1 holds the Pipeline: one YAML for kubectl and weir run. Its defaults are in [SetDefaults], its rules in
// [Validate]; package strict reads it from files.
//
// +kubebuilder:object:generate=true
// +groupName=weir.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// The names of the API.
const (
	Group   = "weir.dev"
	Version = "v1alpha1"
	Kind    = "Pipeline"
)

// GroupVersion is weir.dev/v1alpha1.
func GroupVersion() schema.GroupVersion { return schema.GroupVersion{Group: Group, Version: Version} }

// AddToScheme makes the kinds of this package known to s.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion(), &Pipeline{}, &PipelineList{})
	metav1.AddToGroupVersion(s, GroupVersion())
	return nil
}
