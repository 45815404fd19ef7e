package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utiljson "k8s.io/apimachinery/pkg/util/json"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"

	"github.com/weir-dev/weir/api/v1alpha1"
)

// fieldOwner is who the API server says set a field.
const fieldOwner = "weir-operator"

// takenError says that something of the name of a child is there and not the Pipeline's.
type takenError struct{ kind, name, why string }

func (e *takenError) Error() string { return e.kind + " " + e.name + " " + e.why }

// apply makes the children what they should be. One that cannot be made does not keep the others from it, but for those
// that come after it.
func (r *reconciler) apply(ctx context.Context, s *snapshot) error {
	all, err := r.children(s)
	if err != nil {
		return err
	}
	for _, c := range all {
		if err := r.applyChild(ctx, s.pipeline, c); err != nil {
			return err
		}
	}
	return nil
}

// applyChild applies c if the one in the cluster is not what it should be: it lacks what was asked for, or has what was
// asked for once and is not any more.
func (r *reconciler) applyChild(ctx context.Context, p *v1alpha1.Pipeline, c child) error {
	want, err := fieldsOf(c.want)
	if err != nil {
		return fmt.Errorf("%s %s: %w", c.kind, c.name, err)
	}
	b, err := json.Marshal(want)
	if err != nil {
		return fmt.Errorf("%s %s: %w", c.kind, c.name, err)
	}
	sum := hash(b)
	have, err := r.owned(ctx, p, c)
	if err != nil {
		return err
	}
	if have != nil {
		if c.have.GetAnnotations()[annotationApplied] == sum && within(want, have) {
			return nil
		}
	}
	u := &unstructured.Unstructured{Object: want}
	notes := u.GetAnnotations()
	if notes == nil {
		notes = map[string]string{}
	}
	notes[annotationApplied] = sum
	u.SetAnnotations(notes)
	if err := r.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), client.FieldOwner(fieldOwner), client.ForceOwnership); err != nil {
		return fmt.Errorf("%s %s: %w", c.kind, c.name, err)
	}
	return nil
}

// owned returns the fields of the child that is there, nil if there is none. What is there and not the Pipeline's is not
// touched.
func (r *reconciler) owned(ctx context.Context, p *v1alpha1.Pipeline, c child) (map[string]any, error) {
	key := client.ObjectKey{Namespace: p.Namespace, Name: c.name}
	switch err := r.client.Get(ctx, key, c.have); {
	case apierrors.IsNotFound(err):
		return nil, r.free(ctx, p, c)
	case err != nil:
		return nil, fmt.Errorf("%s %s: %w", c.kind, c.name, err)
	}
	if by := metav1.GetControllerOf(c.have); by != nil && by.UID != p.UID {
		if by.Kind == v1alpha1.Kind && by.Name == p.Name {
			return nil, &takenError{c.kind, c.name, "is of an earlier Pipeline of this name and is being deleted: it is made again when it is gone"}
		}
		return nil, &takenError{c.kind, c.name, "belongs to " + by.Kind + " " + by.Name + ": give the Pipeline another name, or delete what is in its way"}
	}
	return fieldsOf(c.have)
}

// free makes sure that nothing has the name of a child that is not in the cache, because it has not weir's label: applying
// would take it over.
func (r *reconciler) free(ctx context.Context, p *v1alpha1.Pipeline, c child) error {
	kind, err := apiutil.GVKForObject(c.have, r.client.Scheme())
	if err != nil {
		return fmt.Errorf("%s %s: %w", c.kind, c.name, err)
	}
	list := new(metav1.PartialObjectMetadataList)
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: kind.Group, Version: kind.Version, Kind: kind.Kind + "List"})
	if err := r.live.List(ctx, list, client.InNamespace(p.Namespace), client.MatchingFields{"metadata.name": c.name}); err != nil {
		return fmt.Errorf("%s %s: %w", c.kind, c.name, err)
	}
	for i := range list.Items {
		if o := &list.Items[i]; !metav1.IsControlledBy(o, p) {
			return &takenError{c.kind, c.name, "is there and is not the Pipeline's: give the Pipeline another name, or delete what is in its way"}
		}
	}
	return nil
}

// fieldsOf returns o as its JSON would be read.
func fieldsOf(o any) (map[string]any, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return nil, err //nolint:wrapcheck // said by the caller
	}
	fields := map[string]any{}
	if err := utiljson.Unmarshal(b, &fields); err != nil {
		return nil, errors.Join(errors.New("not an object"), err)
	}
	return fields, nil
}

// within says whether have has everything that want has. Elements of lists that have names are compared by name, others by
// their place: the API server and others may add fields and elements.
func within(want, have any) bool {
	if have == nil { // a zero value is left out
		return want == nil || reflect.ValueOf(want).IsZero() || reflect.DeepEqual(want, map[string]any{}) || reflect.DeepEqual(want, []any{})
	}
	switch want := want.(type) {
	case map[string]any:
		have, ok := have.(map[string]any)
		if !ok {
			return false
		}
		for k, v := range want {
			if k == "kind" || k == "apiVersion" {
				continue // typed objects do not say
			}
			if !within(v, have[k]) {
				return false
			}
		}
		return true
	case []any:
		have, ok := have.([]any)
		if !ok {
			return false
		}
		for i, v := range want {
			if !within(v, counterpart(v, have, i)) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(want, have)
}

// counterpart finds the element of list that v, the i-th of its own, is about.
func counterpart(v any, list []any, i int) any {
	if m, ok := v.(map[string]any); ok && m["name"] != nil {
		for _, e := range list {
			if e, ok := e.(map[string]any); ok && e["name"] == m["name"] {
				return e
			}
		}
		return nil
	}
	if i < len(list) {
		return list[i]
	}
	return nil
}
