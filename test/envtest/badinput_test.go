package envtest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/v1alpha1"
)

// fail makes the API server believe that the container of a Pipeline's pod waits, with the words that a kubelet has.
func fail(ctx context.Context, namespace string, status func(*corev1.Pod)) error {
	var pods corev1.PodList
	if err := cluster.client.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
		return err
	}
	if len(pods.Items) == 0 {
		return fmt.Errorf("no pod yet")
	}
	pod := &pods.Items[0]
	was := pod.DeepCopy()
	status(pod)
	return cluster.client.Status().Patch(ctx, pod, client.MergeFrom(was))
}

func waits(reason, message string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Status.ContainerStatuses = []corev1.ContainerStatus{{
			Name: "weir", Image: p.Spec.Containers[0].Image,
			State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
		}}
	}
}

// TestDescribe: what keeps pods from running stands in kubectl describe, with what to do about it.
func TestDescribe(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		change func(*v1alpha1.Pipeline)
		status func(*corev1.Pod)
		reason string
		says   string
	}{
		"missing Secret of the store": {
			func(p *v1alpha1.Pipeline) {
				p.Spec.Sink.Delta.Storage = &v1alpha1.StorageSpec{CredentialsSecret: "lake-keys"}
			},
			waits("CreateContainerConfigError", `secret "lake-keys" not found`), "MissingSecret",
			"Secret lake-keys is not in namespace NS: make it, or mend spec.sink.delta.storage.credentialsSecret",
		},
		"missing key": {
			func(p *v1alpha1.Pipeline) {
				p.Spec.Template.Env = []v1alpha1.EnvVar{{Name: "TOKEN", ValueFrom: &v1alpha1.EnvValueSource{SecretKeyRef: &v1alpha1.KeyReference{Name: "keys", Key: "token"}}}}
			},
			waits("CreateContainerConfigError", `couldn't find key token in Secret NS/keys`), "MissingSecret",
			"Secret keys in namespace NS has no key token: add it, or mend spec.template.env[0].valueFrom",
		},
		"missing ConfigMap of a volume": {
			withTypes("order-types"), waits("ContainerCreating", ""), "MissingConfigMap",
			"ConfigMap order-types is not in namespace NS: make it, or mend spec.template.volumes[0]",
		},
		"missing image": {
			func(p *v1alpha1.Pipeline) { p.Spec.Template.Image = "registry.example/weir:v9" },
			waits("ImagePullBackOff", `Back-off pulling image "registry.example/weir:v9": ErrImagePull: rpc error: code = NotFound desc = registry.example/weir:v9: not found`),
			"ImageNotPulled",
			"image registry.example/weir:v9 cannot be pulled: rpc error: code = NotFound desc = registry.example/weir:v9: not found: mend spec.template.image, or set spec.template.imagePullSecrets",
		},
		"no room": {
			nil,
			func(p *corev1.Pod) {
				p.Status.Conditions = []corev1.PodCondition{{
					Type: corev1.PodScheduled, Status: corev1.ConditionFalse, Reason: corev1.PodReasonUnschedulable, Message: "0/3 nodes are available: 3 Insufficient memory.",
				}}
			},
			"Unschedulable", "no node takes a pod: 0/3 nodes are available: 3 Insufficient memory.",
		},
		"killed": {
			nil,
			func(p *corev1.Pod) {
				waits("CrashLoopBackOff", "back-off 10s restarting failed container")(p)
				p.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{ExitCode: 137, Reason: "OOMKilled"}
			},
			"OutOfMemory", "raise spec.template.resources.limits.memory, or lower spec.flow.memory",
		},
		"crash": {
			nil,
			func(p *corev1.Pod) {
				waits("CrashLoopBackOff", "back-off 10s restarting failed container")(p)
				p.Status.ContainerStatuses[0].LastTerminationState.Terminated = &corev1.ContainerStateTerminated{
					ExitCode: 1, Reason: "Error", Message: "weir: /etc/weir/pipeline.yaml:9:3: spec.snik: unknown field, did you mean \"sink\"?\n",
				}
			},
			"PodsCrash", `a pod ended with code 1: weir: /etc/weir/pipeline.yaml:9:3: spec.snik: unknown field, did you mean "sink"?`,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := newNamespace(t)
			startOperator(t, ns, nil)
			p := newPipeline(t, ns, "clicks", tt.change)
			eventually(t, "pod", func() error { return fail(t.Context(), ns, tt.status) })
			says := strings.ReplaceAll(tt.says, "NS", ns)
			now := wants(t, p, v1alpha1.PhaseBlocked, "Ready False "+tt.reason)
			if got := message(now, "Ready"); !strings.Contains(got, says) {
				t.Errorf("Ready says %q", got)
			}
			wantEvents(t, now, "Warning "+tt.reason+": "+says)
			if out := kubectl(t, ns, "describe", "wpl/clicks"); strings.Count(out, says) < 2 { // the condition and the event
				t.Errorf("kubectl describe says\n%s", out)
			}
		})
	}
}

// withTypes takes messages whose type is in a ConfigMap.
func withTypes(configMap string) func(*v1alpha1.Pipeline) {
	return func(p *v1alpha1.Pipeline) {
		p.Spec.Template.Volumes = []v1alpha1.Volume{{Name: "types", MountPath: "/types", ConfigMap: &v1alpha1.LocalReference{Name: configMap}}}
		p.Spec.Schema.Format.Protobuf = &v1alpha1.ProtobufFormat{File: "/types/orders.binpb", Message: "shop.v1.Order"}
	}
}

// TestTypesInAConfigMap: pods mount a ConfigMap with the type of messages, the Pipeline says so while it is not there, and goes
// on once it is. A file that no volume has is refused.
func TestTypesInAConfigMap(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	startOperator(t, ns, nil)
	p := newPipeline(t, ns, "clicks", withTypes("order-types"))
	eventually(t, "pod", func() error { return fail(t.Context(), ns, waits("ContainerCreating", "")) })
	wants(t, p, v1alpha1.PhaseBlocked, "Ready False MissingConfigMap", "Accepted True Valid")
	d, err := get(t, ns, "clicks", new(appsv1.Deployment))
	if err != nil {
		t.Fatal(err)
	}
	pod := d.Spec.Template.Spec
	i := slices.IndexFunc(pod.Volumes, func(v corev1.Volume) bool { return v.Name == "types" })
	k := slices.IndexFunc(pod.Containers[0].VolumeMounts, func(m corev1.VolumeMount) bool { return m.Name == "types" })
	if i < 0 || pod.Volumes[i].ConfigMap == nil || pod.Volumes[i].ConfigMap.Name != "order-types" || k < 0 ||
		pod.Containers[0].VolumeMounts[k].MountPath != "/types" || !pod.Containers[0].VolumeMounts[k].ReadOnly {
		t.Errorf("volumes %+v, mounts %+v", pod.Volumes, pod.Containers[0].VolumeMounts)
	}
	types := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "order-types"}, BinaryData: map[string][]byte{"orders.binpb": {10, 0}}}
	if err := cluster.client.Create(t.Context(), types); err != nil {
		t.Fatal(err)
	}
	wants(t, p, v1alpha1.PhasePending, "Ready False PodsStarting")

	lost := newPipeline(t, ns, "lost", func(p *v1alpha1.Pipeline) {
		withTypes("order-types")(p)
		p.Spec.Schema.Format.Protobuf.File = "/type/orders.binpb"
	})
	now := wants(t, lost, v1alpha1.PhaseRefused, "Ready False Invalid", "Accepted False Invalid")
	if got := message(now, "Accepted"); !strings.Contains(got, "spec.schema.format.protobuf.file: /type/orders.binpb is on no volume of the pods: mount the ConfigMap that holds it with spec.template.volumes") {
		t.Errorf("Accepted says %q", got)
	}
}
