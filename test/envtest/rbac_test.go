package envtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/controllers"
)

// rules reads those of a role of config/operator.
func rules(t *testing.T, kind, name string) []rbacv1.PolicyRule {
	t.Helper()
	for _, u := range objects(t, "../../config/operator/rbac.yaml") {
		if u.GetKind() != kind || u.GetName() != name {
			continue
		}
		var all []rbacv1.PolicyRule
		for _, r := range u.Object["rules"].([]any) {
			var rule rbacv1.PolicyRule
			for field, into := range map[string]*[]string{"apiGroups": &rule.APIGroups, "resources": &rule.Resources, "verbs": &rule.Verbs} {
				for _, v := range r.(map[string]any)[field].([]any) {
					*into = append(*into, v.(string))
				}
			}
			all = append(all, rule)
		}
		return all
	}
	t.Fatalf("there is no %s %s", kind, name)
	return nil
}

// grants takes rules apart: each is one verb on one resource.
func grants(all []rbacv1.PolicyRule) []rbacv1.PolicyRule {
	var out []rbacv1.PolicyRule
	for _, r := range all {
		for _, resource := range r.Resources {
			for _, verb := range r.Verbs {
				out = append(out, rbacv1.PolicyRule{APIGroups: r.APIGroups, Resources: []string{resource}, Verbs: []string{verb}})
			}
		}
	}
	return out
}

// grant lets user do what rules say in a namespace.
func grant(t *testing.T, namespace, user string, rules []rbacv1.PolicyRule) {
	t.Helper()
	role := &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "operator"}, Rules: rules}
	binding := &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "operator"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "operator"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.UserKind, APIGroup: rbacv1.GroupName, Name: user}},
	}
	if err := errors.Join(cluster.client.Create(t.Context(), role), cluster.client.Create(t.Context(), binding)); err != nil {
		t.Fatal(err)
	}
}

// TestRights: with the rules of config/operator an operator is denied nothing, and without any verb of them it is denied
// that.
func TestRights(t *testing.T) {
	t.Parallel()
	all := slices.Concat(grants(rules(t, "ClusterRole", "weir-system-weir")), grants(rules(t, "Role", "weir-leader")))
	for i := -1; i < len(all); i++ {
		name, some := "all", all
		if i >= 0 {
			name = "without " + all[i].Verbs[0] + " " + all[i].Resources[0]
			some = slices.Delete(slices.Clone(all), i, i+1)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := newNamespace(t)
			user := "operator-of-" + ns
			grant(t, ns, user, some)
			op := startOperator(t, ns, func(c *rest.Config, o *controllers.Options) {
				c.Impersonate = rest.ImpersonationConfig{UserName: user}
				o.LeaderElection, o.LeaseNamespace = true, ns
			})
			p := newPipeline(t, ns, "clicks", nil)
			if i < 0 {
				wants(t, p, v1alpha1.PhasePending, "Ready False PodsStarting")
				kubectl(t, ns, "patch", "service/clicks-client", "--type=merge", "-p", `{"spec":{"selector":{"x":"y"}}}`)
				eventually(t, "mended", func() error {
					s, err := get(t, ns, "clicks-client", new(corev1.Service))
					if err == nil && s.Spec.Selector["weir.dev/pipeline"] != "clicks" {
						err = fmt.Errorf("%+v", s.Spec)
					}
					return err
				})
				failTwice(t, p)
				if denied := op.api.refused(); len(denied) > 0 {
					t.Errorf("denied: %q", denied)
				}
				return
			}
			wantDenied(t, op, p, all[i])
		})
	}
}

// wantDenied gives the operator reason to do everything until it is denied what it lacks.
func wantDenied(t *testing.T, op *operator, p *v1alpha1.Pipeline, lacks rbacv1.PolicyRule) {
	t.Helper()
	resource, _, _ := strings.Cut(lacks.Resources[0], "/")
	changes := map[string]string{
		"services": "service/clicks-client", "configmaps": "configmap/clicks", "serviceaccounts": "serviceaccount/clicks",
		"deployments": "deployment/clicks", "poddisruptionbudgets": "pdb/clicks",
	}
	changed := false
	eventually(t, "denied", func() error {
		denied := op.api.refused()
		if slices.ContainsFunc(denied, func(d string) bool { return strings.Contains(d, "/"+resource) }) {
			return nil
		}
		if resource == "events" && lacks.Verbs[0] == "patch" && !changed {
			failTwice(t, p)
			changed = true
		}
		if target := changes[resource]; lacks.Verbs[0] == "patch" && target != "" && !changed {
			now, err := get(t, p.Namespace, p.Name, new(v1alpha1.Pipeline))
			if err == nil && now.Status.ObservedGeneration > 0 {
				kubectl(t, p.Namespace, "label", target, "--overwrite", "app.kubernetes.io/instance=other")
				changed = true
			}
		}
		return fmt.Errorf("it was denied %q only", denied)
	})
}
