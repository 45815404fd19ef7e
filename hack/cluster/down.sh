#!/usr/bin/env bash
# Ends the cluster and removes what it left. The end of the first process of a process namespace ends all in it, and the
# mounts go with the last of them.
set -euo pipefail

# shellcheck source=env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

[[ -e $state ]] || exit 0
outer=$(cat "$state/outer" 2>/dev/null || true)
if [[ -n $outer && $(readlink "/proc/$outer/exe" 2>/dev/null) == */unshare ]]; then
	kill -9 "$outer"
	while kill -0 "$outer" 2>/dev/null; do sleep 0.05; done
fi
if [[ -e $state/cgroups ]]; then
	while read -r dir; do # children before parents; a dying process holds one for a moment
		for _ in $(seq 200); do
			[[ -d $dir ]] || break
			find "$dir" -depth -type d -exec rmdir {} + 2>/dev/null || sleep 0.05
		done
		[[ ! -d $dir ]] || say "left $dir"
	done <"$state/cgroups"
fi
rm -rf "$state"
