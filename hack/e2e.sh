#!/usr/bin/env bash
# Runs test/e2e against real pods: in a cluster of its own (hack/cluster), or in the one of KUBECONFIG if that is set.
#
#   hack/e2e.sh [FLAG...]    flags of the test binary, such as -test.run TestPipeline
#
# No registry has the images that the tests run: weir.test/weir:v1, weir.test/weir:v2, weir.test/sender:1 and
# weir.test/s3server:1. They are written to .cache/e2e as OCI archives, and WEIR_E2E_LOAD is a command that is run with each,
# to bring it to the nodes of KUBECONFIG's cluster, such as "kind load image-archive". The tests need to be its administrator, use
# kubectl and helm only, and make and delete the definition of Pipelines: a cluster that has it is refused.
# WEIR_E2E_KEEP=1 leaves a cluster of its own running, for hack/cluster/in.sh kubectl.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
root=$PWD
cache=${WEIR_CACHE_DIR:-$root/.cache}
dir=$root/.cache/e2e
python=${WEIR_PYTHON:-$cache/venv/bin/python}
rows=1000000
events=$cache/flights-$rows.ndjson.gz
mkdir -p "$dir"

bin=$(hack/cluster/build.sh all)
if [[ -n ${KUBECONFIG-} ]]; then
	"$bin/kubectl" version >/dev/null || exit 1 # nobody answers, and kubectl has said so
	if "$bin/kubectl" get crd pipelines.weir.dev >/dev/null 2>&1; then
		echo "e2e: the cluster of KUBECONFIG has Pipelines already, and the tests would delete them in the end: take another one," \
			"or delete what is there (kubectl delete wpl --all -A; kubectl delete crd pipelines.weir.dev)" >&2
		exit 1
	fi
fi

weir() { # VERSION: a binary whose version says it
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$1" -o "$dir/$1/weir" ./cmd/weir
	go run ./hack/image -name "weir.test/weir:$1" -version "$1" -o "$dir/weir-$1.tar" "$dir/$1/weir" >/dev/null
}

# The images: weir in two versions, weir beside a million events, and an S3 server.
weir v1
weir v2
[[ -e $events ]] ||
	"$python" test/e2e/flights.py make "$cache/data/node/node_modules/vega-datasets/data/flights-3m.parquet" "$events" $rows
ln -sf "$events" "$dir/flights.ndjson.gz"
go run ./hack/image -name weir.test/sender:1 -o "$dir/sender.tar" -with "$dir/flights.ndjson.gz" "$dir/v1/weir" >/dev/null
CGO_ENABLED=0 go -C test/peers/s3server build -trimpath -o "$dir/s3server" .
go run ./hack/image -name weir.test/s3server:1 -o "$dir/s3server.tar" "$dir/s3server" >/dev/null
images=("$dir"/weir-v1.tar "$dir"/weir-v2.tar "$dir"/sender.tar "$dir"/s3server.tar)

ln -sf weir "$dir/v1/kubectl-weir"
go test -c -o "$dir/e2e.test" ./test/e2e
export WEIR_E2E_DIR=$dir WEIR_E2E_ROOT=$root WEIR_PYTHON=$python PATH=$dir/v1:$bin:$PATH
test=("$dir/e2e.test" -test.v -test.timeout 15m "$@")

if [[ -n ${KUBECONFIG-} ]]; then
	if [[ -n ${WEIR_E2E_LOAD-} ]]; then
		for image in "${images[@]}"; do $WEIR_E2E_LOAD "$image"; done
	fi
	exec "${test[@]}"
fi
[[ -n ${WEIR_E2E_KEEP-} ]] || trap hack/cluster/down.sh EXIT
hack/cluster/down.sh # what a run that was killed may have left
hack/cluster/up.sh "${images[@]}"
export WEIR_E2E_AUDIT=${WEIR_CLUSTER_STATE:-$root/.cache/cluster}/log/audit
hack/cluster/in.sh "${test[@]}"
