package controllers

import (
	"context"
	"fmt"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
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
		e.note = clip(e.note, maxNote)
		r.events.Eventf(r.teller.regarding(s.pipeline, e), nil, e.kind, e.reason, e.about, "%s", e.note)
	}
	return nil
}

// maxNote bounds the note of an event, in bytes, as the API does.
const maxNote = 1000

// event is what kubectl describe shows below a Pipeline.
type event struct{ kind, reason, about, note string }

// teller makes an event that says again what it said count in the series of the first. The recorder takes two events for one
// when kind, reason and the version of the Pipeline are the same, whatever their notes: but each transition has another
// version, and a note that is another one must not be lost.
type teller struct {
	mu   sync.Mutex // guards said
	said map[types.NamespacedName]map[string]saying
}

// saying is the newest event of a kind and reason, and the Pipeline of which it was told first.
type saying struct {
	note     string
	pipeline *v1alpha1.Pipeline
}

// regarding returns what the recorder is to be told that e is about.
func (t *teller) regarding(p *v1alpha1.Pipeline, e event) *v1alpha1.Pipeline {
	t.mu.Lock()
	defer t.mu.Unlock()
	key := client.ObjectKeyFromObject(p)
	if t.said == nil {
		t.said = map[types.NamespacedName]map[string]saying{}
	}
	if t.said[key] == nil {
		t.said[key] = map[string]saying{}
	}
	about := e.kind + " " + e.reason + " " + e.about
	if old, ok := t.said[key][about]; ok && old.note == e.note && old.pipeline.UID == p.UID {
		return old.pipeline
	}
	first := &v1alpha1.Pipeline{TypeMeta: p.TypeMeta, ObjectMeta: metav1.ObjectMeta{
		Namespace: p.Namespace, Name: p.Name, UID: p.UID, ResourceVersion: p.ResourceVersion,
	}}
	t.said[key][about] = saying{e.note, first}
	return first
}

// forget ends the series of a Pipeline that is gone.
func (t *teller) forget(key types.NamespacedName) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.said, key)
}

// transitions returns an event for each condition that has another status or reason. Ready repeats the reason of another
// condition; that is told once.
func transitions(old, now []metav1.Condition) []event {
	var all []event
	told := map[string]bool{}
	for _, c := range slices.Backward(now) { // Ready is the first
		if c.Type == v1alpha1.ConditionStalled { // Accepted says it
			continue
		}
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
