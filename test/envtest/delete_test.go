package envtest

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/delta/store"
)

// children lists what the Pipelines of a namespace own, and their pods.
func children(t *testing.T, namespace string) []string {
	t.Helper()
	var all []string
	for _, list := range []client.ObjectList{
		new(corev1.ConfigMapList), new(corev1.ServiceList), new(corev1.ServiceAccountList), new(corev1.PodList),
		new(appsv1.DeploymentList), new(policyv1.PodDisruptionBudgetList),
	} {
		if err := cluster.client.List(t.Context(), list, client.InNamespace(namespace), client.HasLabels{"weir.dev/pipeline"}); err != nil {
			t.Fatal(err)
		}
		for _, o := range items(list) {
			all = append(all, fmt.Sprintf("%T %s %v", o, o.GetName(), o.GetFinalizers()))
		}
	}
	return all
}

func items(list client.ObjectList) []client.Object {
	var all []client.Object
	switch l := list.(type) {
	case *corev1.ConfigMapList:
		for i := range l.Items {
			all = append(all, &l.Items[i])
		}
	case *corev1.ServiceList:
		for i := range l.Items {
			all = append(all, &l.Items[i])
		}
	case *corev1.ServiceAccountList:
		for i := range l.Items {
			all = append(all, &l.Items[i])
		}
	case *corev1.PodList:
		for i := range l.Items {
			all = append(all, &l.Items[i])
		}
	case *appsv1.DeploymentList:
		for i := range l.Items {
			all = append(all, &l.Items[i])
		}
	case *policyv1.PodDisruptionBudgetList:
		for i := range l.Items {
			all = append(all, &l.Items[i])
		}
	}
	return all
}

// TestDeletion: whatever of namespace, operator and definition goes first, nothing is stuck. It removes the definition, so
// it runs while no other test does.
func TestDeletion(t *testing.T) {
	steps := map[string]func(ns string, op *operator){
		"namespace": func(ns string, _ *operator) {
			if err := cluster.client.Delete(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}}); err != nil {
				t.Error(err)
			}
		},
		"operator": func(_ string, op *operator) { op.stop() },
		"definition": func(string, *operator) {
			err := cluster.client.Delete(t.Context(), &apiextensionsv1.CustomResourceDefinition{ObjectMeta: metav1.ObjectMeta{Name: "pipelines.weir.dev"}})
			if err != nil {
				t.Error(err)
			}
		},
	}
	orders := []string{
		"namespace operator definition", "operator definition namespace", "definition namespace operator",
		"namespace definition operator", "operator namespace definition", "definition operator namespace",
	}
	if os.Getenv(longEnv) == "" {
		orders = orders[:3] // each of them first once
	}
	for _, order := range orders {
		ns := newNamespace(t)
		op := startOperator(t, ns, nil)
		startKubelet(t, ns, store.NewMemory(), nil)
		p := newPipeline(t, ns, "clicks", metricsPort)
		wants(t, p, v1alpha1.PhaseRunning, "Ready True Running")
		if all := children(t, ns); len(all) != 7 || len(p.Finalizers) > 0 {
			t.Errorf("there are %q, and the finalizers %q", all, p.Finalizers)
		}
		for step := range strings.FieldsSeq(order) {
			steps[step](ns, op)
		}
		eventually(t, order, func() error {
			_, err := get(t, "", ns, new(corev1.Namespace))
			_, derr := get(t, "", "pipelines.weir.dev", new(apiextensionsv1.CustomResourceDefinition))
			if all := children(t, ns); len(all) > 0 {
				err = errors.Join(err, fmt.Errorf("there are %q", all))
			}
			return errors.Join(isGone(err), isGone(derr))
		})
		if _, err := envtest.InstallCRDs(cluster.conf, envtest.CRDInstallOptions{Paths: []string{definitions}, ErrorIfPathMissing: true}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestAPipelineMadeAgain: one of the same name gets children of its own when those of the first are gone.
func TestAPipelineMadeAgain(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	startOperator(t, ns, nil)
	startKubelet(t, ns, store.NewMemory(), nil)
	first := newPipeline(t, ns, "clicks", metricsPort)
	wants(t, first, v1alpha1.PhaseRunning, "Ready True Running")
	if err := cluster.client.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	second := newPipeline(t, ns, "clicks", metricsPort)
	eventually(t, "children of the second", func() error {
		d, err := get(t, ns, "clicks", new(appsv1.Deployment))
		if err == nil && !metav1.IsControlledBy(d, second) {
			err = errors.New("the Deployment is of the first")
		}
		return err
	})
	wants(t, second, v1alpha1.PhaseRunning, "Ready True Running", "Accepted True Valid")
}
