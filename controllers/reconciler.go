package controllers

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/weir-dev/weir/api/strict"
)

// reconciler makes the cluster what Pipelines ask for, and their status what the cluster is.
type reconciler struct {
	client client.Client // reads from the caches
	live   client.Reader // reads from the API server
	events events.EventRecorder
	image  string
	check  strict.Check
	poller *poller
	teller teller
}

// Reconcile implements [reconcile.Reconciler].
func (r *reconciler) Reconcile(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	s, err := r.snapshot(ctx, req.NamespacedName)
	if err != nil || s == nil {
		return reconcile.Result{}, err
	}
	s.faults = r.accept(s)
	if len(s.faults) == 0 {
		s.applyErr = r.apply(ctx, s)
	}
	if s.lacking, err = r.lacking(ctx, s); err != nil {
		return reconcile.Result{}, err
	}
	s.reports = r.poller.poll(ctx, req.NamespacedName, s.pods, time.Now())
	status := conclude(s)
	_, taken := errors.AsType[*takenError](s.applyErr)
	if taken || apierrors.HasStatusCause(s.applyErr, corev1.NamespaceTerminatingCause) {
		s.applyErr = nil // no error: what has the name is looked at again in a while, a namespace that goes takes all along
	}
	if err = errors.Join(r.report(ctx, s, status), s.applyErr); err != nil || !taken && len(s.pods) == 0 {
		return reconcile.Result{}, err
	}
	return reconcile.Result{RequeueAfter: r.poller.every}, nil
}

// snapshot reads the Pipeline, what it owns and its pods; nil if the Pipeline is gone or going.
func (r *reconciler) snapshot(ctx context.Context, key types.NamespacedName) (*snapshot, error) {
	s, err := readSnapshot(ctx, r.client, key)
	if apierrors.IsNotFound(err) || err == nil && !s.pipeline.DeletionTimestamp.IsZero() {
		r.poller.forget(key)
		r.teller.forget(key)
		return nil, nil //nolint:nilnil // there is nothing to do
	}
	return s, err
}

// podHandler leads from a pod to its Pipeline by the label: between them is a ReplicaSet that nobody needs to watch.
func podHandler() handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		name := o.GetLabels()[labelPipeline]
		if name == "" {
			return nil
		}
		return []ctrl.Request{{NamespacedName: types.NamespacedName{Namespace: o.GetNamespace(), Name: name}}}
	})
}
