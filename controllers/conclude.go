package controllers

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/protocol"
)

// The reasons of conditions that do not come from pods.
const (
	reasonValid        = "Valid"
	reasonInvalid      = "Invalid"
	reasonNameTaken    = "NameTaken"
	reasonApplyFailed  = "ApplyFailed"
	reasonNotReported  = "NotReported"
	reasonNoPods       = "NoPods"
	reasonTakingEvents = "TakingEvents"
	reasonPartly       = "Partly"
	reasonCommitsFail  = "CommitsFail"
	reasonSuspended    = "Suspended"
	reasonFailed       = "Failed"
	reasonRunning      = "Running"
	reasonPodsStarting = "PodsStarting"
	reasonRollingOut   = "RollingOut"
	reasonScaledToZero = "ScaledToZero"
)

// conclude makes a status of a snapshot: the old status where nothing new is known.
func conclude(s *snapshot) v1alpha1.PipelineStatus {
	st := *s.pipeline.Status.DeepCopy()
	st.ObservedGeneration = s.pipeline.Generation
	st.Selector = metav1.FormatLabelSelector(&metav1.LabelSelector{MatchLabels: selector(s.pipeline.Name)})
	st.Replicas, st.ReadyReplicas = 0, s.ready()
	for i := range s.pods {
		if s.pods[i].DeletionTimestamp.IsZero() {
			st.Replicas++
		}
	}
	st.Pods = fmt.Sprintf("%d/%d", st.ReadyReplicas, s.replicas())
	if s.deployment != nil && len(s.deployment.Spec.Template.Spec.Containers) > 0 {
		st.Image = s.deployment.Spec.Template.Spec.Containers[0].Image
	}
	if s.reports.due {
		s.figures(&st)
	}
	accepted := s.accepted()
	storage := s.checked(v1alpha1.ConditionStorageReachable, func(r report) protocol.Check { return r.Storage })
	table := s.checked(v1alpha1.ConditionTableCompatible, func(r report) protocol.Check { return r.Table })
	ingesting := s.ingesting()
	var ready metav1.Condition
	ready, st.Phase = s.sumUp(accepted, storage, table, ingesting)
	for _, c := range []metav1.Condition{ready, accepted, storage, table, ingesting} {
		c.ObservedGeneration = s.pipeline.Generation
		meta.SetStatusCondition(&st.Conditions, c)
	}
	setStalled(&st, accepted)
	return st
}

// setStalled tells those who follow kstatus that a spec that is not accepted stays so until it is changed: they need not wait.
func setStalled(st *v1alpha1.PipelineStatus, accepted metav1.Condition) {
	if accepted.Status != metav1.ConditionFalse {
		meta.RemoveStatusCondition(&st.Conditions, v1alpha1.ConditionStalled)
		return
	}
	c := condition(v1alpha1.ConditionStalled, true, accepted.Reason, accepted.Message)
	c.ObservedGeneration = st.ObservedGeneration
	meta.SetStatusCondition(&st.Conditions, c)
}

// figures takes those that change while events flow.
func (s *snapshot) figures(st *v1alpha1.PipelineStatus) {
	if len(s.reports.byPod) > 0 || st.RecordsPerSecond != nil {
		st.RecordsPerSecond = new(int64(0))
	}
	limits := map[string]bool{}
	for _, r := range s.reports.byPod {
		*st.RecordsPerSecond += r.perSecond
		if r.Version >= 0 && (st.TableVersion == nil || r.Version > *st.TableVersion) {
			st.TableVersion = new(r.Version)
		}
		limits[r.LimitedBy] = true
	}
	for _, stage := range []string{"commit", "write", "producers"} {
		if limits[stage] {
			st.LimitedBy = stage
			return
		}
	}
}

func condition(typ string, ok bool, reason, message string) metav1.Condition {
	c := metav1.Condition{Type: typ, Status: metav1.ConditionFalse, Reason: reason, Message: clip(message, maxMessage)}
	if ok {
		c.Status = metav1.ConditionTrue
	}
	return c
}

// maxMessage bounds the message of a condition, in bytes; the API allows 32 KiB.
const maxMessage = 4 << 10

func clip(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most-3], "") + "..."
}

func (s *snapshot) accepted() metav1.Condition {
	if len(s.faults) > 0 {
		return condition(v1alpha1.ConditionAccepted, false, reasonInvalid, strings.Join(s.faults, "; "))
	}
	if taken, ok := errors.AsType[*takenError](s.applyErr); ok {
		return condition(v1alpha1.ConditionAccepted, false, reasonNameTaken, taken.Error())
	}
	return condition(v1alpha1.ConditionAccepted, true, reasonValid, "the spec is valid")
}

// names returns those of the pods that reported, sorted, so that the same reports make the same texts.
func (s *snapshot) names() []string { return slices.Sorted(maps.Keys(s.reports.byPod)) }

// checked makes a condition of what the pods found. One pod that failed makes it False; what was known stays while no pod
// says anything.
func (s *snapshot) checked(typ string, of func(report) protocol.Check) metav1.Condition {
	passed := protocol.Check{}
	failed, n := protocol.Check{}, 0
	for _, name := range s.names() {
		switch c := of(s.reports.byPod[name]); c.State {
		case protocol.CheckPassed:
			passed = c
		case protocol.CheckFailed:
			if n++; n == 1 {
				failed = c
			}
		}
	}
	switch {
	case n > 0 && n < len(s.reports.byPod):
		return condition(typ, false, failed.Reason, fmt.Sprintf("%d of %d pods: %s", n, len(s.reports.byPod), failed.Message))
	case n > 0:
		return condition(typ, false, failed.Reason, failed.Message)
	case passed.State != "":
		return condition(typ, true, passed.Reason, passed.Message)
	}
	if old := meta.FindStatusCondition(s.pipeline.Status.Conditions, typ); old != nil {
		return *old
	}
	return metav1.Condition{Type: typ, Status: metav1.ConditionUnknown, Reason: reasonNotReported, Message: "no pod has reported yet"}
}

// ingesting says whether events are taken and committed.
func (s *snapshot) ingesting() metav1.Condition {
	const typ = v1alpha1.ConditionIngesting
	states, errs := map[string]int{}, map[string]string{}
	for _, name := range s.names() {
		r := s.reports.byPod[name]
		if states[r.State]++; errs[r.State] == "" {
			errs[r.State] = r.Error
		}
	}
	for _, bad := range []struct{ state, reason string }{
		{protocol.StateFailed, reasonFailed}, {protocol.StateSuspended, reasonSuspended}, {protocol.StateRetrying, reasonCommitsFail},
	} {
		switch n := states[bad.state]; {
		case n > 0 && states[protocol.StateRunning] > 0:
			return condition(typ, true, reasonPartly, fmt.Sprintf("%d of %d pods: %s", n, len(s.reports.byPod), errs[bad.state]))
		case n > 0:
			return condition(typ, false, bad.reason, errs[bad.state])
		}
	}
	if s.ready() == 0 {
		return condition(typ, false, reasonNoPods, "no pod takes events")
	}
	return condition(typ, true, reasonTakingEvents, "pods take events")
}

// sumUp makes the condition Ready, with the first thing that is in the way of it, and the phase.
func (s *snapshot) sumUp(accepted, storage, table, ingesting metav1.Condition) (metav1.Condition, v1alpha1.Phase) {
	const typ = v1alpha1.ConditionReady
	because := func(c metav1.Condition) metav1.Condition { return condition(typ, false, c.Reason, c.Message) }
	want, have := s.replicas(), s.ready()
	failing := v1alpha1.PhaseDegraded
	if have == 0 {
		failing = v1alpha1.PhaseBlocked
	}
	trouble := s.troubles()
	switch {
	case accepted.Status == metav1.ConditionFalse:
		return because(accepted), v1alpha1.PhaseRefused
	case s.applyErr != nil:
		return condition(typ, false, reasonApplyFailed, s.applyErr.Error()), failing
	case want == 0:
		return condition(typ, true, reasonScaledToZero, "replicas is 0: no pod takes events"), v1alpha1.PhaseStopped
	case ingesting.Reason == reasonSuspended:
		return because(ingesting), v1alpha1.PhaseSuspended
	case trouble != nil:
		return condition(typ, false, trouble.reason, trouble.message), failing
	case storage.Status == metav1.ConditionFalse:
		return because(storage), failing
	case table.Status == metav1.ConditionFalse:
		return because(table), failing
	case ingesting.Reason == reasonPartly || ingesting.Reason == reasonFailed || ingesting.Reason == reasonCommitsFail:
		return because(ingesting), failing
	case have == 0:
		return condition(typ, false, reasonPodsStarting, fmt.Sprintf("0 of %d pods take events", want)), v1alpha1.PhasePending
	case have < want:
		return condition(typ, false, reasonPodsStarting, fmt.Sprintf("%d of %d pods take events", have, want)), v1alpha1.PhaseRollingOut
	case !s.rolledOut():
		return condition(typ, false, reasonRollingOut, "pods are being replaced or stopped; the others take events"), v1alpha1.PhaseRollingOut
	}
	return condition(typ, true, reasonRunning, fmt.Sprintf("%d of %d pods take events", have, want)), v1alpha1.PhaseRunning
}

// rolledOut says whether every pod is as the Deployment is now.
func (s *snapshot) rolledOut() bool {
	d := s.deployment
	return d != nil && d.Status.ObservedGeneration >= d.Generation && d.Status.UpdatedReplicas == s.replicas() && d.Status.Replicas == s.replicas()
}
