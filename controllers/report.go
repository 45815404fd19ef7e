package controllers

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/v1alpha1"
)

// report writes status if it is another one, and tells of what has changed.
func (r *reconciler) report(ctx context.Context, s *snapshot, status v1alpha1.PipelineStatus) error {
	old := s.pipeline.Status
	if apiequality.Semantic.DeepEqual(old, status) {
		return nil
	}
	p := s.pipeline.DeepCopy()
	p.Status = status
	if err := r.client.Status().Patch(ctx, p, client.MergeFrom(s.pipeline), client.FieldOwner(fieldOwner)); err != nil {
		if apierrors.IsNotFound(err) {
			return nil // deleted meanwhile
		}
		return fmt.Errorf("status: %w", err)
	}
	for _, e := range transitions(old.Conditions, status.Conditions) {
		r.events.Eventf(s.pipeline, nil, e.kind, e.reason, e.about, "%s", clip(e.note, maxNote))
	}
	return nil
}

// maxNote bounds the note of an event, in bytes, as the API does.
const maxNote = 1000

// event is what kubectl describe shows below a Pipeline.
type event struct{ kind, reason, about, note string }

// transitions returns an event for each condition that has another status or reason. Ready repeats the reason of another
// condition; that is told once.
func transitions(old, now []metav1.Condition) []event {
	var all []event
	told := map[string]bool{}
	for _, c := range slices.Backward(now) { // Ready is the first
		before := meta.FindStatusCondition(old, c.Type)
		if before != nil && before.Status == c.Status && before.Reason == c.Reason || c.Status == metav1.ConditionUnknown {
			continue
		}
		if before == nil && c.Type == v1alpha1.ConditionIngesting && c.Reason == reasonNoPods || told[c.Reason+c.Message] {
			continue
		}
		told[c.Reason+c.Message] = true
		kind := corev1.EventTypeNormal
		if c.Status == metav1.ConditionFalse && c.Reason != reasonPodsStarting && c.Reason != reasonRollingOut && c.Reason != reasonNoPods {
			kind = corev1.EventTypeWarning
		}
		all = append(all, event{kind, c.Reason, c.Type, c.Message})
	}
	return all
}
