#!/usr/bin/env bash
# Fails if a generated file is not what the generator makes of the sources now. Changes nothing.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT

go tool -modfile=hack/tools/go.mod controller-gen object crd paths=./api/... \
	output:object:dir="$fresh" output:crd:dir="$fresh"
cp -r charts/weir "$fresh/chart"
go run ./hack/chart "$fresh/chart" "$fresh/weir.dev_pipelines.yaml"
diff -u api/v1alpha1/zz_generated.deepcopy.go "$fresh/zz_generated.deepcopy.go" &&
	diff -u config/crd/bases/weir.dev_pipelines.yaml "$fresh/weir.dev_pipelines.yaml" &&
	diff -ru charts/weir "$fresh/chart" || {
	echo 'verify-generated: run make generate' >&2
	exit 1
}
