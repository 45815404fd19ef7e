package envtest

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// runOperators plays the kubelet for the pods of an operator that weir install made: they are ready at once.
func runOperators(ctx context.Context, namespace string, status func(*corev1.Pod)) error {
	var pods corev1.PodList
	if err := cluster.client.List(ctx, &pods, client.InNamespace(namespace)); err != nil {
		return err
	}
	for i := range pods.Items {
		was := pods.Items[i].DeepCopy()
		status(&pods.Items[i])
		if err := cluster.client.Status().Patch(ctx, &pods.Items[i], client.MergeFrom(was)); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return nil
}

func readyPod(p *corev1.Pod) {
	p.Status.Phase = corev1.PodRunning
	p.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: p.Spec.Containers[0].Name, Image: p.Spec.Containers[0].Image, Ready: true,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}},
	}}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: metav1.Now()}}
}

// TestInstall: weir install makes everything and waits for the operator; again it changes nothing; with another image it
// is an upgrade; what somebody else has set it does not take unasked. What its help says removes it.
func TestInstall(t *testing.T) {
	t.Parallel()
	weir := asKubectl(t)
	const ns = "weir-install"
	type answer struct {
		out string
		err error
	}
	install := func(status func(*corev1.Pod), args ...string) answer {
		t.Helper()
		ended := make(chan answer, 1)
		go func() {
			out, err := weir(append([]string{"install", "-n", ns}, args...)...)
			ended <- answer{out, err}
		}()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case a := <-ended:
				return a
			case <-tick.C:
				if err := runOperators(t.Context(), ns, status); err != nil {
					t.Error(err)
				}
			}
		}
	}

	first := install(waits("ErrImagePull", "not found"), "--image", "registry.example/weir:v1", "--timeout", "4s")
	if first.err == nil || !strings.Contains(first.out, "0 of 1 pods, ErrImagePull: not found; see kubectl -n "+ns+" describe pods") {
		t.Errorf("without an image it says %v\n%s", first.err, first.out)
	}
	for _, want := range []string{"namespace/" + ns + " created\n", "deployment.apps/weir created\n", "role.rbac.authorization.k8s.io/weir-leader created\n"} {
		if !strings.Contains(first.out, want) {
			t.Errorf("it does not print %q:\n%s", want, first.out)
		}
	}

	again := install(readyPod, "--image", "registry.example/weir:v1")
	if want := "the operator is ready: 1 of 1 pods in namespace " + ns + "\n"; !strings.HasSuffix(again.out, want) {
		t.Errorf("it does not end with %q:\n%s", want, again.out)
	}
	if n := strings.Count(again.out, " unchanged\n"); again.err != nil || n != strings.Count(again.out, "/") {
		t.Errorf("again: %v, %d objects are unchanged:\n%s", again.err, n, again.out)
	}

	upgrade := install(readyPod, "--image", "registry.example/weir:v2")
	if upgrade.err != nil || strings.Count(upgrade.out, " changed\n") != 1 || !strings.Contains(upgrade.out, "deployment.apps/weir changed\n") {
		t.Errorf("an upgrade: %v\n%s", upgrade.err, upgrade.out)
	}

	kubectl(t, ns, "scale", "deployment/weir", "--replicas=2")
	conflict := install(readyPod, "--image", "registry.example/weir:v2")
	if conflict.err == nil || !strings.Contains(conflict.out, "deployment.apps/weir: somebody else has set what weir install would") || !strings.Contains(conflict.out, ".spec.replicas") {
		t.Errorf("a conflict: %v\n%s", conflict.err, conflict.out)
	}
	forced := install(readyPod, "--image", "registry.example/weir:v2", "--force-conflicts")
	if forced.err != nil || !strings.Contains(forced.out, "deployment.apps/weir changed\n") {
		t.Errorf("forced: %v\n%s", forced.err, forced.out)
	}

	help, err := weir("install", "--help")
	if err != nil {
		t.Fatal(err)
	}
	removed := 0
	for line := range strings.Lines(help) {
		if args, ok := strings.CutPrefix(strings.TrimSpace(line), "kubectl delete "); ok {
			kubectl(t, ns, append([]string{"delete", "--wait=false"}, strings.Fields(strings.ReplaceAll(args, "weir-system", ns))...)...)
			removed++
		}
	}
	if out := kubectl(t, ns, "get", "clusterrole,clusterrolebinding", "-l", "app.kubernetes.io/name=weir", "-o", "name"); removed != 2 || strings.TrimSpace(out) != "" {
		t.Errorf("after %d commands there are still %s", removed, out)
	}
	eventually(t, "removed", func() error {
		_, err := get(t, "", ns, new(corev1.Namespace))
		if isGone(err) != nil {
			return fmt.Errorf("namespace %s: %w", ns, isGone(err))
		}
		return nil
	})
}
