# Where things are; sourced by the scripts beside it.
# shellcheck shell=bash disable=SC2034

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)

# Programs are built once a machine: the directory is named after all that they are made from, and lies outside the clone.
cache=${WEIR_CLUSTER_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/weir/cluster}
key=$(cd "$here" && { go version && cat go.mod go.sum ./*/*.go build.sh; } | sha256sum | cut -c1-16)
bin=$cache/$key

# What a running cluster writes. Only one runs in a directory at a time.
state=${WEIR_CLUSTER_STATE:-$root/.cache/cluster}

say() { printf 'cluster: %s\n' "$*" >&2; }

die() {
	say "$*"
	exit 1
}

# elapsed SINCE prints seconds with a tenth since EPOCHREALTIME was SINCE.
elapsed() {
	local us=$((${EPOCHREALTIME/[.,]/} - ${1/[.,]/}))
	printf '%d.%d' $((us / 1000000)) $((us / 100000 % 10))
}
