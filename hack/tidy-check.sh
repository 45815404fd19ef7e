#!/usr/bin/env bash
# Fails if go mod tidy would change a module of the repository. Changes nothing.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
status=0
while read -r file; do
	go -C "$(dirname "$file")" mod tidy -diff || {
		echo "tidy-check: run go mod tidy in $(dirname "$file")" >&2
		status=1
	}
done < <(git ls-files 'go.mod' '*/go.mod')
exit $status
