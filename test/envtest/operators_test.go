package envtest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/controllers"
)

// TestOperatorUpgrade: an operator with another image leaves the pods of a Pipeline that names none alone, also after a
// scale; a Pipeline that is made later gets the new image.
func TestOperatorUpgrade(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	old := startOperator(t, ns, nil)
	p := newPipeline(t, ns, "clicks", nil)
	waitStarting(t, p)
	old.stop()
	before, err := get(t, ns, "clicks", new(appsv1.Deployment))
	if err != nil {
		t.Fatal(err)
	}
	startOperator(t, ns, func(_ *rest.Config, o *controllers.Options) { o.Image = "weir:newer" })
	newPipeline(t, ns, "orders", nil)
	kubectl(t, ns, "scale", "wpl/clicks", "--replicas=2")
	eventually(t, "scaled", func() error {
		d, err := get(t, ns, "clicks", new(appsv1.Deployment))
		if err == nil && *d.Spec.Replicas != 2 {
			err = errors.New("not scaled")
		}
		if err == nil && (d.Spec.Template.Spec.Containers[0].Image != "weir:test" || d.Status.CollisionCount != before.Status.CollisionCount ||
			d.Annotations["deployment.kubernetes.io/revision"] != "1") {
			t.Errorf("the pods are replaced: %+v", d)
		}
		return err
	})
	eventually(t, "a new Pipeline", func() error {
		d, err := get(t, ns, "orders", new(appsv1.Deployment))
		if err == nil && d.Spec.Template.Spec.Containers[0].Image != "weir:newer" {
			t.Errorf("its image is %s", d.Spec.Template.Spec.Containers[0].Image)
		}
		return err
	})
	kubectl(t, ns, "patch", "wpl/clicks", "--type=merge", "-p", `{"spec":{"template":{"image":"weir:newer"}}}`)
	eventually(t, "the image of the spec", func() error {
		d, err := get(t, ns, "clicks", new(appsv1.Deployment))
		if err == nil && d.Spec.Template.Spec.Containers[0].Image != "weir:newer" {
			err = fmt.Errorf("the image is %s", d.Spec.Template.Spec.Containers[0].Image)
		}
		return err
	})
}

// TestStandby: of two operators one works; when it goes the other takes over.
func TestStandby(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	elect := func(_ *rest.Config, o *controllers.Options) { o.LeaderElection, o.LeaseNamespace = true, ns }
	first := startOperator(t, ns, elect)
	p := newPipeline(t, ns, "clicks", nil)
	waitStarting(t, p)
	second := startOperator(t, ns, elect)
	newPipeline(t, ns, "orders", nil)
	waitStarting(t, &v1alpha1.Pipeline{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "orders", Generation: 1}})
	if n := second.api.writes.Load(); n != 0 {
		t.Errorf("the one that waits made %d writes: %q", n, second.api.last(n))
	}
	first.stop()
	began := time.Now()
	third := newPipeline(t, ns, "visits", nil)
	waitStarting(t, third)
	t.Logf("the second took over %v after the first went", time.Since(began).Round(10*time.Millisecond))
	if _, err := get(t, ns, "weir-operator", new(coordinationv1.Lease)); err != nil {
		t.Error(err)
	}
}
