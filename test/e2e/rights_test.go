package e2e

import (
	"bufio"
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"
)

// testRights holds what the operator asked the API server for while the other tests ran against its roles: nothing was
// refused, and there is no right that was not used. So a rule that is taken away fails this test, and so does one too
// many.
func (c *cluster) testRights(t *testing.T) {
	path := os.Getenv("WEIR_E2E_AUDIT")
	if path == "" {
		t.Skip("WEIR_E2E_AUDIT names no audit log: only a cluster of hack/cluster has one")
	}
	used, refused := audit(t, path)
	for _, r := range refused {
		t.Errorf("the operator was refused: %s", r)
	}
	granted := slices.Concat(c.rights(t, "clusterrole", "weir-system-weir"), c.rights(t, "-n", "weir-system", "role", "weir-leader"))
	slices.Sort(granted)
	granted = slices.Compact(granted)
	for _, g := range granted {
		if !used[g] {
			t.Errorf("the operator may, but did not: %s", g)
		}
	}
	t.Logf("%d rights: %s", len(granted), strings.Join(granted, ", "))
}

// rights lists what a role allows, as "verb group/resource".
func (c *cluster) rights(t *testing.T, role ...string) []string {
	t.Helper()
	var r struct {
		Rules []struct {
			APIGroups []string `json:"apiGroups"`
			Resources []string `json:"resources"`
			Verbs     []string `json:"verbs"`
		} `json:"rules"`
	}
	if err := json.Unmarshal([]byte(c.kubectl(t, append([]string{"get", "-o", "json"}, role...)...)), &r); err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, rule := range r.Rules {
		for _, group := range rule.APIGroups {
			for _, resource := range rule.Resources {
				for _, verb := range rule.Verbs {
					all = append(all, verb+" "+group+"/"+resource)
				}
			}
		}
	}
	return all
}

// audit reads what the operator did and what it was refused.
func audit(t *testing.T, path string) (used map[string]bool, refused []string) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	used = map[string]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e struct {
			Verb       string `json:"verb"`
			RequestURI string `json:"requestURI"`
			ObjectRef  struct {
				Resource    string `json:"resource"`
				Subresource string `json:"subresource"`
				APIGroup    string `json:"apiGroup"`
			} `json:"objectRef"`
			ResponseStatus struct {
				Code int `json:"code"`
			} `json:"responseStatus"`
			Annotations map[string]string `json:"annotations"`
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		if e.Annotations["authorization.k8s.io/decision"] == "forbid" { // not by admission, as in a namespace that goes
			refused = append(refused, e.Verb+" "+e.RequestURI)
		}
		object := " " + e.ObjectRef.APIGroup + "/" + strings.TrimSuffix(e.ObjectRef.Resource+"/"+e.ObjectRef.Subresource, "/")
		used[e.Verb+object] = true
		switch {
		case e.Verb == "patch" && e.ResponseStatus.Code == 201: // what server-side apply makes needs the right to create
			used["create"+object] = true
		case strings.Contains(e.RequestURI, "sendInitialEvents=true"): // lists, where the server can send one in a watch
			used["list"+object] = true
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return used, refused
}
