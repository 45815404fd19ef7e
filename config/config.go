// Package config holds what installs weir in a cluster: the files that kubectl apply -k config/default applies.
package config

import (
	_ "embed"
	"strings"

	"github.com/weir-dev/weir/config/crd"
)

var (
	//go:embed operator/namespace.yaml
	namespace string
	//go:embed operator/serviceaccount.yaml
	serviceAccount string
	//go:embed operator/rbac.yaml
	rbac string
	//go:embed operator/deployment.yaml
	deployment string
)

// What the files say, and what [Manifests] puts into its place.
const (
	Namespace = "weir-system"
	Image     = "ghcr.io/weir-dev/weir:v0.1.0"
)

// Manifests returns, as YAML documents in the order in which they can be applied, the definition of Pipelines and an
// operator for those of every namespace, which itself runs in namespace and from image.
func Manifests(ns, image string) string {
	operator := strings.Join([]string{namespace, serviceAccount, rbac, deployment}, "---\n")
	operator = strings.NewReplacer(Namespace, ns, Image, image).Replace(operator)
	return strings.TrimPrefix(string(crd.Pipelines()), "---\n") + "---\n" + operator
}
