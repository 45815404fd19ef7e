#!/usr/bin/env bash
# Starts a Kubernetes cluster of one node with real pods, inside mount, network, process, IPC, host name and cgroup
# namespaces of its own, and waits until the node is ready. Its network has no way out, and what it writes is in memory or
# in the state directory (see env.sh). The processes end with the first one: down.sh.
#
#   hack/cluster/up.sh [IMAGE.tar...]   images the node shall have
set -euo pipefail

# shellcheck source=env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

[[ $(id -u) == 0 ]] || die "must run as root, for namespaces and mounts; or set KUBECONFIG to a cluster of yours, such as kind"
[[ -d /sys/fs/cgroup/memory ]] ||
	die "needs the cgroup v1 hierarchies, and this machine has none: set KUBECONFIG to a cluster of yours, such as kind"
[[ ! -e $state/pid ]] || die "one is up already in $state: hack/cluster/down.sh ends it"
[[ -x $bin/kube && -x $bin/runc ]] || die "not built: hack/cluster/build.sh node"

"$here/down.sh" # what a broken start may have left
mkdir -p "$state/log"
export here bin state IMAGES="$*"

# A cgroup of its own below the one we are in, in every hierarchy: inside the cgroup namespace it looks like the root.
name=weir-$(sha256sum <<<"$state" | cut -c1-8)
while IFS=: read -r _ hierarchy path; do
	hierarchy=${hierarchy#name=}
	[[ -n $hierarchy ]] || continue
	dir=/sys/fs/cgroup/$hierarchy${path%/}/$name
	mkdir -p "$dir"
	if [[ $hierarchy == cpuset ]]; then
		for file in cpus mems; do cat "${dir%/*}/cpuset.$file" >"$dir/cpuset.$file"; done
	fi
	echo "$dir" >>"$state/cgroups"
done </proc/self/cgroup

(
	while read -r dir; do echo "$BASHPID" >"$dir/cgroup.procs"; done <"$state/cgroups"
	exec 9>&-
	exec setsid unshare --mount --net --pid --ipc --uts --cgroup --fork --kill-child --propagation private \
		"$here/node.sh" >"$state/log/node" 2>&1 </dev/null
) &
outer=$!
echo "$outer" >"$state/outer"
begin=$EPOCHREALTIME
until [[ -e $state/ready ]]; do
	kill -0 "$outer" 2>/dev/null || {
		tail -n 20 "$state/log/node" >&2
		die "the node did not start: see $state/log"
	}
	((${EPOCHREALTIME/[.,]/} - ${begin/[.,]/} < 180000000)) || die "not ready after 180 s: see $state/log"
	sleep 0.1
done
pgrep -P "$outer" >"$state/pid"
say "ready after $(elapsed "$begin") s; hack/cluster/in.sh kubectl get pods -A"
