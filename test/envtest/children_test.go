package envtest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/v1alpha1"
)

// TestChildren: what a Pipeline owns is made, kept as it should be, follows the spec and goes with it.
func TestChildren(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	startOperator(t, ns, nil)
	p := newPipeline(t, ns, "clicks", func(p *v1alpha1.Pipeline) {
		p.Spec.Scaling.Min = new(int32(3))
		p.Spec.Template.NodeSelector = map[string]string{"disk": "fast"}
	})
	waitStarting(t, p)
	for name, o := range map[string]client.Object{
		"clicks": new(corev1.ConfigMap), "clicks ": new(corev1.Service), "clicks-client": new(corev1.Service),
		"clicks  ": new(corev1.ServiceAccount), "clicks   ": new(policyv1.PodDisruptionBudget), "clicks    ": new(appsv1.Deployment),
	} {
		if _, err := get(t, ns, strings.TrimSpace(name), o); err != nil {
			t.Errorf("%T: %v", o, err)
		} else if !metav1.IsControlledBy(o, p) {
			t.Errorf("%T has the owners %v", o, o.GetOwnerReferences())
		}
	}
	deployment := func(what string, want func(*appsv1.Deployment) bool) {
		t.Helper()
		eventually(t, what, func() error {
			d, err := get(t, ns, "clicks", new(appsv1.Deployment))
			if err == nil && !want(d) {
				err = fmt.Errorf("%+v", d.Spec)
			}
			return err
		})
	}
	deployment("made", func(d *appsv1.Deployment) bool {
		return *d.Spec.Replicas == 3 && d.Status.Replicas == 3 && d.Spec.Template.Spec.NodeSelector["disk"] == "fast"
	})

	out := kubectl(t, ns, "scale", "wpl/clicks", "--replicas=5")
	t.Log(out)
	deployment("scaled", func(d *appsv1.Deployment) bool { return *d.Spec.Replicas == 5 })

	kubectl(t, ns, "patch", "deployment/clicks", "--type=merge", "-p", `{"spec":{"replicas":1,"template":{"spec":{"terminationGracePeriodSeconds":5}}}}`)
	deployment("mended", func(d *appsv1.Deployment) bool {
		return *d.Spec.Replicas == 5 && *d.Spec.Template.Spec.TerminationGracePeriodSeconds == 60
	})

	kubectl(t, ns, "patch", "wpl/clicks", "--type=merge", "-p", `{"spec":{"template":{"nodeSelector":null}}}`)
	deployment("without what was taken out of the spec", func(d *appsv1.Deployment) bool { return d.Spec.Template.Spec.NodeSelector == nil })

	kubectl(t, ns, "delete", "service/clicks-client")
	eventually(t, "made again", func() error {
		_, err := get(t, ns, "clicks-client", new(corev1.Service))
		return err
	})

	kubectl(t, ns, "delete", "wpl/clicks", "--wait=false")
	eventually(t, "deleted", func() error {
		_, err := get(t, ns, "clicks", new(appsv1.Deployment))
		_, serr := get(t, ns, "clicks-client", new(corev1.Service))
		return errors.Join(isGone(err), isGone(serr))
	})
}
