#!/usr/bin/env bash
# Runs a command inside the cluster's namespaces, with kubectl on the PATH and KUBECONFIG set:
#
#   hack/cluster/in.sh kubectl get nodes
set -euo pipefail

# shellcheck source=env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

[[ -e $state/pid ]] || die "none is up in $state: hack/cluster/up.sh starts one"
export KUBECONFIG=$state/pki/kubeconfig PATH=$bin:$PATH
exec nsenter --target "$(<"$state/pid")" --mount --net --pid --ipc --uts --wdns="$PWD" -- "$@"
