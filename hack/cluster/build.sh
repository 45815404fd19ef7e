#!/usr/bin/env bash
# Builds what a Kubernetes cluster consists of from Go modules, and prints the directory that holds it.
#
#   build.sh assets   kube-apiserver, etcd and kubectl: what controller-runtime's envtest starts (KUBEBUILDER_ASSETS)
#   build.sh charts   helm3, helm4, kubeconform and kubectl
#   build.sh node     what a node with real pods needs
#   build.sh all      all of it
#
# It needs Go, a C compiler (runc) and either apt-get or an installed nft and libseccomp with its headers. The first run
# takes about 15 minutes on two cores; later ones find everything in the cache (see env.sh).
set -euo pipefail

# shellcheck source=env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

kubernetes=v1.37.2
containerd=v2.4.2
debs=(nftables libnftables1 libnftnl11 libseccomp-dev)

export GOFLAGS="-trimpath -buildvcs=false" CGO_ENABLED=0

# build OUT MODULE_DIR PACKAGE [FLAG...] leaves a program that is there alone; it appears whole or not at all.
build() {
	local out=$bin/$1 dir=$2 package=$3
	shift 3
	[[ ! -x $out ]] || return 0
	local begin=$EPOCHREALTIME
	mkdir -p "$(dirname "$out")"
	nice -n 5 go -C "$dir" build -o "$out.new" "$@" "$package" >&2
	mv "$out.new" "$out"
	say "built ${out##*/} in $(elapsed "$begin") s"
}

build_assets() {
	local flags="-s -w" package
	for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
		flags+=" -X $package.gitVersion=$kubernetes -X $package.gitMajor=1 -X $package.gitMinor=37"
		flags+=" -X $package.gitTreeState=clean"
	done
	build etcd "$here" go.etcd.io/etcd/server/v3 -ldflags "-s -w"
	build kube "$here" ./kube -ldflags "$flags"
	local program
	for program in kube-apiserver kube-controller-manager kube-scheduler kube-proxy kubelet kubectl; do
		ln -sfn kube "$bin/$program"
	done
}

# from_debian unpacks, without installing, what is not Go: nft for kube-proxy, and the headers of libseccomp for runc.
from_debian() {
	[[ ! -e $bin/deb/.done ]] || return 0
	command -v apt-get dpkg >/dev/null || { system_has && return 0; }
	local dir
	dir=$(mktemp -d)
	(
		cd "$dir"
		chmod 755 .
		apt-get -q -o APT::Sandbox::User=root download "${debs[@]}" >&2 || {
			mkdir -p lists/partial cache/archives/partial
			own=(-o APT::Sandbox::User=root -o "Dir::State::lists=$dir/lists" -o "Dir::Cache=$dir/cache")
			apt-get -q "${own[@]}" update >&2
			apt-get -q "${own[@]}" download "${debs[@]}" >&2
		}
		for deb in ./*.deb; do dpkg -x "$deb" "$bin/deb"; done
		touch "$bin/deb/.done"
	) || die "could not get ${debs[*]} from Debian, which kube-proxy and runc need"
	rm -rf "$dir"
}

system_has() {
	command -v nft >/dev/null && [[ -e /usr/include/seccomp.h ]] ||
		die "install nft and the headers of libseccomp, or run this on Debian, where it gets them by itself"
}

# build_runc links libseccomp statically, from the unpacked package where there is one: a pod with the RuntimeDefault
# profile, which restricted namespaces ask for, needs it.
build_runc() {
	[[ ! -x $bin/runc ]] || return 0
	local config=$bin/pkg-config lib
	lib=$(echo "$bin"/deb/usr/lib/*-linux-gnu)
	printf '#!/bin/sh\necho "-I%s -L%s -lseccomp"\n' "$bin/deb/usr/include" "$lib" >"$config"
	chmod +x "$config"
	CGO_ENABLED=1 PKG_CONFIG=$config CGO_CFLAGS_ALLOW=.* CGO_LDFLAGS_ALLOW=.* \
		build runc "$here" github.com/opencontainers/runc -tags urfave_cli_no_docs,seccomp -ldflags "-s -w"
	rm "$config"
}

build_node() {
	build_assets
	from_debian
	local c=github.com/containerd/containerd/v2 program
	for program in containerd ctr containerd-shim-runc-v2; do
		build "$program" "$here" "$c/cmd/$program" -tags urfave_cli_no_docs \
			-ldflags "-s -w -X $c/version.Version=$containerd"
	done
	for program in main/ptp main/loopback ipam/host-local; do
		build "cni/${program#*/}" "$here" "github.com/containernetworking/plugins/plugins/$program" -ldflags "-s -w"
	done
	build coredns "$here" ./coredns -ldflags "-s -w"
	build_runc
	build pause "$here" ./pause -ldflags "-s -w"
	if [[ ! -e $bin/pause.tar ]]; then
		go -C "$root" run ./hack/image -name weir.test/pause:1 -o "$bin/pause.tar" "$bin/pause"
	fi
}

build_charts() {
	build helm4 "$here" helm.sh/helm/v4/cmd/helm -ldflags "-s -w"
	build helm3 "$here" helm.sh/helm/v3/cmd/helm -ldflags "-s -w"
	build kubeconform "$here" github.com/yannh/kubeconform/cmd/kubeconform -ldflags "-s -w"
}

mkdir -p "$bin"
exec 9>"$bin/.lock"
command -v flock >/dev/null && flock 9
case ${1-} in
assets) build_assets ;;
charts)
	build_assets
	build_charts
	;;
node) build_node ;;
all)
	build_node
	build_charts
	;;
*) die "usage: build.sh assets|charts|node|all" ;;
esac
echo "$bin"
