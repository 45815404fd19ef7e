package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/v1alpha1"
)

// snapshot is what a reconcile saw.
type snapshot struct {
	pipeline   *v1alpha1.Pipeline // as it is in the cluster; its spec is defaulted in effect
	effect     *v1alpha1.Pipeline
	deployment *appsv1.Deployment // nil before it was made
	pods       []corev1.Pod       // by name, without those that have ended
	reports    reports            // of the pods that answer
	lacking    []string           // ConfigMaps that a waiting pod mounts and that are not there

	faults   []string // why the spec is not accepted
	applyErr error
}

func readSnapshot(ctx context.Context, c client.Reader, key types.NamespacedName) (*snapshot, error) {
	s := &snapshot{pipeline: new(v1alpha1.Pipeline)}
	if err := c.Get(ctx, key, s.pipeline); err != nil {
		return nil, err //nolint:wrapcheck // it names the object
	}
	s.effect = s.pipeline.DeepCopy()
	v1alpha1.SetDefaults(s.effect)
	d := new(appsv1.Deployment)
	switch err := c.Get(ctx, key, d); {
	case err == nil:
		s.deployment = d
	case !apierrors.IsNotFound(err):
		return nil, fmt.Errorf("read Deployment: %w", err)
	}
	var pods corev1.PodList
	if err := c.List(ctx, &pods, client.InNamespace(key.Namespace), client.MatchingLabels(selector(key.Name))); err != nil {
		return nil, fmt.Errorf("read pods: %w", err)
	}
	for _, p := range pods.Items {
		if p.Status.Phase != corev1.PodSucceeded && p.Status.Phase != corev1.PodFailed {
			s.pods = append(s.pods, p)
		}
	}
	slices.SortFunc(s.pods, func(a, b corev1.Pod) int { return strings.Compare(a.Name, b.Name) })
	return s, nil
}

// replicas is how many pods there should be.
func (s *snapshot) replicas() int32 {
	if n := s.effect.Spec.Replicas; n != nil {
		return *n
	}
	return *s.effect.Spec.Scaling.Min
}

// ready counts the pods that take events.
func (s *snapshot) ready() int32 {
	n := int32(0)
	for i := range s.pods {
		if podReady(&s.pods[i]) {
			n++
		}
	}
	return n
}

func podReady(p *corev1.Pod) bool {
	return p.DeletionTimestamp.IsZero() && slices.ContainsFunc(p.Status.Conditions, func(c corev1.PodCondition) bool {
		return c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue
	})
}
