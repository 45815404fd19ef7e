package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// installOwner is who the API server says set a field.
const installOwner = "weir-install"

// The operator of config/operator.
const (
	operatorName  = "weir"
	operatorLabel = "app.kubernetes.io/component"
)

// installer brings a cluster to what manifests say.
type installer struct {
	client client.Client
	out    io.Writer
	force  bool
}

func (in *installer) parse(manifests string) ([]*unstructured.Unstructured, error) {
	var all []*unstructured.Unstructured
	dec := utilyaml.NewYAMLOrJSONDecoder(strings.NewReader(manifests), 4096)
	for {
		u := new(unstructured.Unstructured)
		switch err := dec.Decode(&u.Object); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, fmt.Errorf("manifests: %w", err)
		}
		all = append(all, u)
	}
}

// apply applies u and says what that did.
func (in *installer) apply(ctx context.Context, u *unstructured.Unstructured) error {
	kind := u.GroupVersionKind()
	name := strings.TrimSuffix(strings.ToLower(kind.Kind)+"."+kind.Group, ".") + "/" + u.GetName()
	before, err := in.version(ctx, u)
	if err != nil {
		return fmt.Errorf("%s: %w", name, clusterError(err))
	}
	opts := []client.ApplyOption{client.FieldOwner(installOwner)}
	if in.force {
		opts = append(opts, client.ForceOwnership)
	}
	if err := in.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), opts...); err != nil {
		if apierrors.IsConflict(err) {
			return fmt.Errorf("%s: somebody else has set what weir install would (after helm install, upgrade with helm; --force-conflicts takes it over): %w", name, err)
		}
		return fmt.Errorf("%s: %w", name, clusterError(err))
	}
	did := "changed"
	switch before {
	case "":
		did = "created"
	case u.GetResourceVersion():
		did = "unchanged"
	}
	_, err = fmt.Fprintln(in.out, name, did)
	return err
}

// version is that of u in the cluster, "" if it is not there.
func (in *installer) version(ctx context.Context, u *unstructured.Unstructured) (string, error) {
	have := new(unstructured.Unstructured)
	have.SetGroupVersionKind(u.GroupVersionKind())
	err := in.client.Get(ctx, client.ObjectKeyFromObject(u), have)
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	return have.GetResourceVersion(), err
}

// installPoll is the time between two looks at what is waited for.
const installPoll = 500 * time.Millisecond

// until asks done until it says yes. When ctx ends the error says what was seen last.
func until(ctx context.Context, what string, done func() (ok bool, state string, err error)) error {
	tick := time.NewTicker(installPoll)
	defer tick.Stop()
	state := ""
	for {
		ok, now, err := done()
		switch {
		case err == nil && ok:
			return nil
		case err == nil:
			state = now
		case ctx.Err() == nil:
			return clusterError(err)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %s", what, context.Cause(ctx), state)
		}
	}
}

// established waits until the API server serves Pipelines.
func (in *installer) established(ctx context.Context) error {
	u := new(unstructured.Unstructured)
	u.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	return until(ctx, "the definition of Pipelines is not served yet", func() (bool, string, error) {
		if err := in.client.Get(ctx, client.ObjectKey{Name: "pipelines.weir.dev"}, u); err != nil {
			return false, "", err
		}
		conditions, _, err := unstructured.NestedSlice(u.Object, "status", "conditions")
		for _, c := range conditions {
			if c, ok := c.(map[string]any); ok && c["type"] == "Established" && c["status"] == "True" {
				return true, "", nil
			}
		}
		return false, fmt.Sprint(conditions), err
	})
}

// available waits until every pod of the operator is the one asked for, and ready.
func (in *installer) available(ctx context.Context, namespace string) error {
	var d appsv1.Deployment
	err := until(ctx, "the operator is not ready", func() (bool, string, error) {
		if err := in.client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: operatorName}, &d); err != nil {
			return false, "", err
		}
		want, s := *d.Spec.Replicas, &d.Status
		ok := s.ObservedGeneration >= d.Generation && s.Replicas == want && s.UpdatedReplicas == want && s.AvailableReplicas == want
		if ok {
			return true, "", nil
		}
		why, err := in.waiting(ctx, namespace)
		return false, fmt.Sprintf("%d of %d pods%s; see kubectl -n %s describe pods", s.AvailableReplicas, want, why, namespace), err
	})
	if err == nil {
		_, err = fmt.Fprintf(in.out, "the operator is ready: %d of %d pods in namespace %s\n", d.Status.AvailableReplicas, *d.Spec.Replicas, namespace)
	}
	return err
}

// waiting says why a container of the operator does not run.
func (in *installer) waiting(ctx context.Context, namespace string) (string, error) {
	var pods corev1.PodList
	if err := in.client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{operatorLabel: "operator"}); err != nil {
		return "", err
	}
	for _, p := range pods.Items {
		for _, c := range p.Status.ContainerStatuses {
			if w := c.State.Waiting; w != nil && w.Message != "" {
				return ", " + w.Reason + ": " + clip(w.Message, maxMessage), nil
			}
		}
	}
	return "", nil
}
