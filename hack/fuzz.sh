#!/usr/bin/env bash
# Fuzzes every target of the module for a while: hack/fuzz.sh [TIME], 8s for each if not given.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
time=${1:-8s}

# go test -list prints the targets of a package and then a line "ok  PACKAGE  TIME".
targets=$(go test -list '^Fuzz' ./... | awk '/^Fuzz/ {names[n++] = $1} /^ok/ {for (i = 0; i < n; i++) print $2, names[i]; n = 0}')
[[ -n $targets ]] || {
	echo 'fuzz: no target found' >&2
	exit 1
}
failed=()
while read -r package target; do
	go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$package" || failed+=("$package.$target")
done <<<"$targets"
[[ ${#failed[@]} -eq 0 ]] || {
	printf 'fuzz: %s failed\n' "${failed[@]}" >&2
	exit 1
}
