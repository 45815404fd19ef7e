#!/usr/bin/env bash
# The first process of the cluster's namespaces. up.sh starts it; it is of no use by hand.
set -euo pipefail

# shellcheck source=env.sh
source "$here/env.sh"

begin=$EPOCHREALTIME
node=10.99.0.1
services=10.96.0.0/16
pods=10.244.0.0/16
export PATH=$bin:$bin/deb/usr/sbin:$PATH HOME=/var/tmp
LD_LIBRARY_PATH=$(echo "$bin"/deb/usr/lib/*-linux-gnu)
export LD_LIBRARY_PATH

mounts() {
	mount -t proc proc /proc
	mkdir -p "$state/mem"
	mount -t tmpfs tmpfs "$state/mem"
	local dir path name option sysctl file
	for dir in var etc; do # changes to them live in memory
		mkdir -p "$state/mem/$dir.up" "$state/mem/$dir.work"
		mount -t overlay -o "lowerdir=/$dir,upperdir=$state/mem/$dir.up,workdir=$state/mem/$dir.work" overlay "/$dir"
	done
	mount -t tmpfs tmpfs /run
	mount -t sysfs sysfs /sys
	mount -t tmpfs tmpfs /sys/fs/cgroup
	while read -r path; do
		name=${path#/sys/fs/cgroup/}
		name=${name%%/*}
		option=$name
		[[ $name != systemd ]] || option=none,name=systemd
		mkdir "/sys/fs/cgroup/$name"
		mount -t cgroup -o "$option" cgroup "/sys/fs/cgroup/$name"
	done <"$state/cgroups"
	mount -t tmpfs tmpfs /var/log
	# The kubelet would set these for the whole machine, unless they read as it wants them: it sees what it wants to see.
	for sysctl in vm/overcommit_memory=1 kernel/panic=10 kernel/panic_on_oops=1; do
		file=$state/mem/$(basename "${sysctl%=*}")
		echo "${sysctl#*=}" >"$file"
		mount --bind "$file" "/proc/sys/${sysctl%=*}"
	done
}

network() {
	hostname weir-node
	ip link set lo up
	ip link add node0 type veth peer name node1
	ip link set node0 up
	ip link set node1 up
	ip addr add "$node/24" dev node0
	ip route add "$services" dev node0 # so that the proxy sees such packets
	echo 1 >/proc/sys/net/ipv4/ip_forward
	echo "nameserver $node" >"$state/mem/resolv.conf"
	mount --bind "$state/mem/resolv.conf" /etc/resolv.conf
}

key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"; }

sign() {
	openssl req -new -key "$1.key" -subj "$2" | openssl x509 -req -CA ca.crt -CAkey ca.key -CAcreateserial -days 30 \
		-extfile <(echo "$3") -out "$1.crt" 2>/dev/null
}

# keys makes one authority, one certificate for the API server and one for an administrator, whom all programs are.
keys() {
	mkdir -p "$state/pki"
	cd "$state/pki"
	key ca
	openssl req -x509 -new -key ca.key -subj /CN=weir-e2e -days 30 -out ca.crt
	key server
	sign server /CN=kube-apiserver "subjectAltName=IP:$node,IP:127.0.0.1,IP:10.96.0.1,DNS:kubernetes.default.svc"
	key admin
	sign admin /O=system:masters/CN=admin extendedKeyUsage=clientAuth
	openssl genrsa -out sa.key 2048 2>/dev/null
	cat >kubeconfig <<-K
		apiVersion: v1
		kind: Config
		clusters: [{name: weir, cluster: {server: "https://$node:6443", certificate-authority: $state/pki/ca.crt}}]
		users: [{name: admin, user: {client-certificate: $state/pki/admin.crt, client-key: $state/pki/admin.key}}]
		contexts: [{name: weir, context: {cluster: weir, user: admin}}]
		current-context: weir
	K
	export KUBECONFIG=$state/pki/kubeconfig
}

# run LOG PROGRAM... starts a program of the node, whose end before the node is ready ends the start.
run() {
	local log=$1
	shift
	"$@" >"$state/log/$log" 2>&1 &
	echo "$log $!" >>"$state/processes"
}

control_plane() {
	run etcd etcd --data-dir "$state/etcd" --unsafe-no-fsync --log-level warn \
		--listen-client-urls http://127.0.0.1:2379 --advertise-client-urls http://127.0.0.1:2379 \
		--listen-peer-urls http://127.0.0.1:2380
	run apiserver kube-apiserver --etcd-servers http://127.0.0.1:2379 --advertise-address "$node" \
		--secure-port 6443 --tls-cert-file server.crt --tls-private-key-file server.key --client-ca-file ca.crt \
		--kubelet-preferred-address-types InternalIP \
		--kubelet-client-certificate admin.crt --kubelet-client-key admin.key \
		--service-account-issuer https://kubernetes.default.svc --service-account-key-file sa.key \
		--service-account-signing-key-file sa.key --service-cluster-ip-range "$services" \
		--authorization-mode RBAC --allow-privileged --profiling=false \
		--audit-policy-file "$here/audit.yaml" --audit-log-path "$state/log/audit"
}

# containers starts the runtime. Pods hang on point-to-point links and the node routes between them: a bridge would need
# netfilter settings that are not ours to change.
containers() {
	mkdir -p "$state/cni" "$state/containerd"
	cat >"$state/cni/10-pods.conflist" <<-K
		{"cniVersion": "1.0.0", "name": "pods", "plugins": [{"type": "ptp", "ipMasq": false,
		  "ipam": {"type": "host-local", "ranges": [[{"subnet": "$pods"}]], "dataDir": "/run/ipam",
		           "routes": [{"dst": "0.0.0.0/0"}]}}]}
	K
	# The score of a process can be raised but not lowered here: no CAP_SYS_RESOURCE.
	cat >"$state/containerd.toml" <<-K
		version = 3
		disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper",
		  "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.erofs",
		  "io.containerd.snapshotter.v1.blockfile", "io.containerd.nri.v1.nri"]
		[plugins."io.containerd.cri.v1.images".pinned_images]
		  sandbox = "weir.test/pause:1"
		[plugins."io.containerd.cri.v1.runtime"]
		  restrict_oom_score_adj = true
		  disable_apparmor = true
		  [plugins."io.containerd.cri.v1.runtime".cni]
		    bin_dirs = ["$bin/cni"]
		    conf_dir = "$state/cni"
	K
	run containerd containerd --config "$state/containerd.toml" --root "$state/containerd" \
		--state /run/containerd --address /run/containerd/containerd.sock
	until ctr version >/dev/null 2>&1; do
		alive
		sleep 0.1
	done
	local image
	for image in "$bin/pause.tar" $IMAGES; do ctr -n k8s.io images import "$image"; done
}

kubelet_config() {
	cat <<-K
		apiVersion: kubelet.config.k8s.io/v1beta1
		kind: KubeletConfiguration
		failCgroupV1: false
		cgroupDriver: cgroupfs
		containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
		authentication: {anonymous: {enabled: false}, x509: {clientCAFile: $state/pki/ca.crt}, webhook: {enabled: true}}
		authorization: {mode: Webhook}
		clusterDomain: cluster.local
		clusterDNS: ["$node"]
		failSwapOn: false
		podLogsDir: /var/log/pods
		registerNode: true
		maxPods: 100
		oomScoreAdj: 0
		imageGCHighThresholdPercent: 100
		evictionHard: {memory.available: 100Mi, nodefs.available: "1%", imagefs.available: "1%"}
		enforceNodeAllocatable: [pods]
		nodeStatusUpdateFrequency: 2s
		syncFrequency: 10s
		volumePluginDir: $state/flex
	K
}

proxy_config() {
	cat <<-K
		apiVersion: kubeproxy.config.k8s.io/v1alpha1
		kind: KubeProxyConfiguration
		mode: nftables
		clusterCIDR: $pods
		clientConnection: {kubeconfig: $state/pki/kubeconfig}
		conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
		oomScoreAdj: 0
	K
}

dns_config() {
	cat <<-K
		.:53 {
		  bind $node
		  kubernetes cluster.local in-addr.arpa {
		    kubeconfig $state/pki/kubeconfig
		    ttl 1
		  }
		  errors
		}
	K
}

# node_programs start after the API server answers: before it they would fail, and wait for seconds to try again.
node_programs() {
	kubelet_config >"$state/kubelet.yaml"
	proxy_config >"$state/proxy.yaml"
	dns_config >"$state/Corefile"
	run controllers kube-controller-manager --kubeconfig kubeconfig --service-account-private-key-file sa.key \
		--root-ca-file ca.crt --use-service-account-credentials --leader-elect=false --cluster-cidr "$pods" \
		--allocate-node-cidrs=false --flex-volume-plugin-dir "$state/flex"
	run scheduler kube-scheduler --kubeconfig kubeconfig --leader-elect=false
	run kubelet kubelet --config "$state/kubelet.yaml" --kubeconfig kubeconfig --root-dir "$state/kubelet" --node-ip "$node"
	run proxy kube-proxy --config "$state/proxy.yaml"
	run dns coredns -conf "$state/Corefile"
}

# volumes makes a default storage class with a few local volumes: the host-path provisioner of the controller manager
# makes directories that only root can write to.
volumes() {
	cat <<-K
		apiVersion: storage.k8s.io/v1
		kind: StorageClass
		metadata: {name: standard, annotations: {storageclass.kubernetes.io/is-default-class: "true"}}
		provisioner: kubernetes.io/no-provisioner
		volumeBindingMode: WaitForFirstConsumer
	K
	local n
	for n in $(seq 8); do
		mkdir -p "$state/volumes/$n"
		cat <<-K
			---
			apiVersion: v1
			kind: PersistentVolume
			metadata: {name: local-$n}
			spec:
			  storageClassName: standard
			  capacity: {storage: 1Gi}
			  accessModes: [ReadWriteOnce]
			  local: {path: $state/volumes/$n}
			  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [
			    {key: kubernetes.io/hostname, operator: In, values: [weir-node]}]}]}}
		K
	done
}

# alive ends the start when a program of the node has ended.
alive() {
	local name pid
	while read -r name pid; do
		kill -0 "$pid" 2>/dev/null || die "$name ended: $(tail -n 1 "$state/log/$name")"
	done <"$state/processes"
}

wait_ready() {
	until kubectl wait --for=condition=Ready node/weir-node --timeout=1s 2>/dev/null &&
		kubectl -n default get serviceaccount default >/dev/null 2>&1; do
		alive
		sleep 0.1
	done
	say "node ready after $(elapsed "$begin") s"
	touch "$state/ready"
}

mounts
network
keys
control_plane
containers
until kubectl get --raw /readyz >/dev/null 2>&1; do
	alive
	sleep 0.1
done
say "API server ready after $(elapsed "$begin") s"
node_programs
volumes | kubectl apply -f - >/dev/null
wait_ready
wait
