package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/api/v1alpha1"
)

// apiServer answers what weir get and weir status ask an API server, from files of a directory:
//
//	pipelines.yaml       a PipelineList; without it the server knows no Pipelines
//	pods.yaml            a PodList
//	changes.yaml         a PipelineList that a watch tells, one by one; then the watch has fallen behind
//	status/POD:PORT.json what the pod answers on /status; without it the pod does not answer
//
// LONG-AGO in them is three days and a bit ago. test/envtest and test/e2e ask real ones.
type apiServer struct{ dir string }

// scriptCluster starts an API server over a directory of the script and makes it that of KUBECONFIG.
func scriptCluster(ts *testscript.TestScript, neg bool, args []string) {
	want(ts, args, 1)
	if neg {
		ts.Fatalf("cluster cannot be negated")
	}
	server := httptest.NewServer(&apiServer{ts.MkAbs(args[0])})
	ts.Defer(server.Close)
	config := ts.MkAbs("kubeconfig")
	ts.Check(os.WriteFile(config, fmt.Appendf(nil, `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q}}]
users: [{name: u, user: {}}]
contexts: [{name: web, context: {cluster: c, user: u, namespace: web}}]
current-context: web
`, server.URL), 0o600))
	ts.Setenv("KUBECONFIG", config)
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	answer, err := s.answer(w, r)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		refuse(w, http.StatusNotFound, metav1.StatusReasonNotFound, r.URL.Path+" is not here")
	case err != nil:
		refuse(w, http.StatusInternalServerError, metav1.StatusReasonInternalError, err.Error())
	case answer != nil:
		write(w, http.StatusOK, answer)
	}
}

// answer returns what the server has for r, nil if it was sent.
func (s *apiServer) answer(w http.ResponseWriter, r *http.Request) (any, error) {
	known := s.known()
	switch path := r.URL.Path; {
	case path == "/api":
		return &metav1.APIVersions{TypeMeta: metav1.TypeMeta{Kind: "APIVersions"}, Versions: []string{"v1"}}, nil
	case path == "/apis":
		return groups(known), nil
	case path == "/api/v1":
		return resources("v1", metav1.APIResource{Name: "pods", Kind: "Pod", Namespaced: true}), nil
	case path == "/apis/weir.dev/v1alpha1" && known:
		return resources("weir.dev/v1alpha1", metav1.APIResource{Name: "pipelines", Kind: v1alpha1.Kind, Namespaced: true}), nil
	case strings.HasPrefix(path, "/apis/weir.dev/") && r.URL.Query().Get("watch") != "":
		return nil, s.watch(w)
	case strings.HasPrefix(path, "/apis/weir.dev/"):
		return s.pipelines(path)
	case strings.HasSuffix(path, "/proxy/status"):
		pod := filepath.Base(strings.TrimSuffix(path, "/proxy/status"))
		b, err := os.ReadFile(filepath.Join(s.dir, "status", pod+".json"))
		if err != nil {
			refuse(w, http.StatusServiceUnavailable, metav1.StatusReasonServiceUnavailable, "error trying to reach service: connection refused")
			return nil, nil //nolint:nilnil,nilerr // it was sent
		}
		return json.RawMessage(b), nil
	case strings.HasSuffix(path, "/pods"):
		return s.pods(r)
	}
	return nil, fs.ErrNotExist
}

func (s *apiServer) known() bool {
	_, err := os.Stat(filepath.Join(s.dir, "pipelines.yaml"))
	return err == nil
}

func groups(known bool) *metav1.APIGroupList {
	list := &metav1.APIGroupList{TypeMeta: metav1.TypeMeta{Kind: "APIGroupList", APIVersion: "v1"}, Groups: []metav1.APIGroup{}}
	if known {
		v := metav1.GroupVersionForDiscovery{GroupVersion: "weir.dev/v1alpha1", Version: "v1alpha1"}
		list.Groups = append(list.Groups, metav1.APIGroup{Name: "weir.dev", Versions: []metav1.GroupVersionForDiscovery{v}, PreferredVersion: v})
	}
	return list
}

func resources(version string, r metav1.APIResource) *metav1.APIResourceList {
	r.Verbs = metav1.Verbs{"get", "list", "watch"}
	return &metav1.APIResourceList{
		TypeMeta: metav1.TypeMeta{Kind: "APIResourceList", APIVersion: "v1"}, GroupVersion: version, APIResources: []metav1.APIResource{r},
	}
}

// pipelines lists those of a namespace or of all, or returns one.
func (s *apiServer) pipelines(path string) (any, error) {
	var list v1alpha1.PipelineList
	if err := s.read("pipelines.yaml", &list); err != nil {
		return nil, err
	}
	part := strings.Split(strings.TrimPrefix(path, "/apis/weir.dev/v1alpha1/"), "/") // pipelines, or namespaces NS pipelines [NAME]
	kept := list.Items[:0]
	for _, p := range list.Items {
		if len(part) > 1 && p.Namespace != part[1] {
			continue
		}
		if len(part) == 4 && p.Name == part[3] {
			return &p, nil
		}
		kept = append(kept, p)
	}
	if len(part) == 4 {
		return nil, fs.ErrNotExist
	}
	list.Items = kept
	return &list, nil
}

// pods lists those that the request's labels select.
func (s *apiServer) pods(r *http.Request) (any, error) {
	var list corev1.PodList
	if err := s.read("pods.yaml", &list); err != nil {
		return nil, err
	}
	matches, err := labels.Parse(r.URL.Query().Get("labelSelector"))
	if err != nil {
		return nil, err
	}
	kept := list.Items[:0]
	for _, p := range list.Items {
		if matches.Matches(labels.Set(p.Labels)) {
			kept = append(kept, p)
		}
	}
	list.Items = kept
	return &list, nil
}

// watch tells the changes, and then that it cannot go on from there.
func (s *apiServer) watch(w http.ResponseWriter) error {
	var changes v1alpha1.PipelineList
	if err := s.read("changes.yaml", &changes); err != nil {
		return err
	}
	for i := range changes.Items {
		tell(w, &metav1.WatchEvent{Type: "MODIFIED", Object: runtime.RawExtension{Object: &changes.Items[i]}})
	}
	tell(w, &metav1.WatchEvent{Type: "ERROR", Object: runtime.RawExtension{Object: &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: http.StatusGone,
		Reason: metav1.StatusReasonExpired, Message: "too old resource version",
	}}})
	return nil
}

func (s *apiServer) read(file string, into any) error {
	b, err := os.ReadFile(filepath.Join(s.dir, file))
	if err != nil {
		return err
	}
	ago := time.Now().Add(-73*time.Hour - 30*time.Minute).UTC().Format(time.RFC3339)
	return yaml.UnmarshalStrict([]byte(strings.ReplaceAll(string(b), "LONG-AGO", ago)), into)
}

func refuse(w http.ResponseWriter, code int32, reason metav1.StatusReason, message string) {
	write(w, int(code), &metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: code, Reason: reason, Message: message,
	})
}

func write(w http.ResponseWriter, status int, object any) {
	w.WriteHeader(status)
	tell(w, object)
}

func tell(w http.ResponseWriter, object any) {
	_ = json.NewEncoder(w).Encode(object) // who asked may have gone
}
