package controllers

import (
	"encoding/json"
	"flag"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	kstatus "sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/yaml"

	"github.com/weir-dev/weir/api/strict"
	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/protocol"
)

var update = flag.Bool("update", false, "write testdata")

// TestChildrenStayTheSame: a newer operator must apply what an older one did, byte by byte, or it restarts the pods of every
// Pipeline of the cluster when it is upgraded. Whoever changes testdata/children.yaml below "template" does that.
func TestChildrenStayTheSame(t *testing.T) {
	b, err := os.ReadFile("../api/strict/testdata/good/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	pipelines, err := strict.Decode("full.yaml", b)
	if err != nil {
		t.Fatal(err)
	}
	least := &v1alpha1.Pipeline{Spec: v1alpha1.PipelineSpec{Sink: v1alpha1.SinkSpec{Delta: &v1alpha1.DeltaSink{URI: "s3://lake/least"}}}}
	least.Name, least.Namespace = "least", "web"
	v1alpha1.SetDefaults(least)
	var got strings.Builder
	for _, p := range []*v1alpha1.Pipeline{least, pipelines[0]} {
		p.UID = "uid-of-" + "pipeline"
		r := &reconciler{image: "weir:first"}
		all, err := r.children(&snapshot{pipeline: p, effect: p})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range all {
			y, err := yaml.Marshal(c.want)
			if err != nil {
				t.Fatal(err)
			}
			got.WriteString("---\n" + string(y))
		}
	}
	const file = "testdata/children.yaml"
	if *update {
		if err := os.WriteFile(file, []byte(got.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("children (-want +got):\n%s", diff)
	}
}

func TestWithin(t *testing.T) {
	tests := map[string]struct {
		want, have string
		within     bool
	}{
		"same":                        {`{"a":1}`, `{"a":1}`, true},
		"more is there":               {`{"a":{"b":1}}`, `{"a":{"b":1,"c":2},"d":3}`, true},
		"other value":                 {`{"a":1}`, `{"a":2}`, false},
		"missing":                     {`{"a":1}`, `{}`, false},
		"zero is left out":            {`{"a":false,"b":0,"c":"","d":{},"e":[]}`, `{}`, true},
		"true is not":                 {`{"a":true}`, `{}`, false},
		"zero replicas":               {`{"a":0}`, `{"a":2}`, false},
		"lists by name":               {`{"l":[{"name":"x","v":1}]}`, `{"l":[{"name":"injected"},{"name":"x","v":1,"w":2}]}`, true},
		"name is gone":                {`{"l":[{"name":"x"}]}`, `{"l":[{"name":"y"}]}`, false},
		"lists by place":              {`{"l":["a","b"]}`, `{"l":["a","b"]}`, true},
		"other order":                 {`{"l":["a","b"]}`, `{"l":["b","a"]}`, false},
		"shorter":                     {`{"l":["a","b"]}`, `{"l":["a"]}`, false},
		"another type":                {`{"a":{"b":1}}`, `{"a":"x"}`, false},
		"kinds are not in typed ones": {`{"kind":"Service","a":1}`, `{"a":1}`, true},
	}
	for name, tt := range tests {
		var want, have map[string]any
		if err := json.Unmarshal([]byte(tt.want), &want); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal([]byte(tt.have), &have); err != nil {
			t.Fatal(err)
		}
		if got := within(want, have); got != tt.within {
			t.Errorf("%s: %t", name, got)
		}
	}
}

func TestClusterFaults(t *testing.T) {
	tests := map[string]struct {
		uri, mount string
		good       bool
	}{
		"bucket":      {"s3://lake/clicks", "", true},
		"directory":   {"/data/clicks", "", false},
		"relative":    {"clicks", "/data", false},
		"file":        {"file:///data/clicks", "", false},
		"on a volume": {"file:///data/clicks", "/data", true},
		"the volume":  {"/data", "/data/", true},
		"beside it":   {"/database/clicks", "/data", false},
		"out of it":   {"/data/../etc", "/data", false},
	}
	for name, tt := range tests {
		spec := v1alpha1.PipelineSpec{Sink: v1alpha1.SinkSpec{Delta: &v1alpha1.DeltaSink{URI: tt.uri}}}
		if tt.mount != "" {
			spec.Template.Volumes = []v1alpha1.Volume{{Name: "v", MountPath: tt.mount, PersistentVolumeClaim: &v1alpha1.ClaimReference{ClaimName: "lake"}}}
		}
		p := &v1alpha1.Pipeline{Spec: spec}
		v1alpha1.SetDefaults(p)
		if got := clusterFaults(&p.Spec); (len(got) == 0) != tt.good {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestRate(t *testing.T) {
	at := time.Unix(0, 0)
	before := report{at: at, uid: "a", perSecond: 7, PipelineStatus: protocol.PipelineStatus{Accepted: 100}}
	tests := map[string]struct {
		uid      string
		accepted int64
		after    time.Duration
		want     int64
	}{
		"steady":          {"a", 1600, 15 * time.Second, 100},
		"idle":            {"a", 100, 15 * time.Second, 0},
		"another process": {"b", 1600, 15 * time.Second, 0},
		"restarted":       {"a", 50, 15 * time.Second, 0},
		"too early":       {"a", 1600, 100 * time.Millisecond, 7},
	}
	for name, tt := range tests {
		now := report{at: at.Add(tt.after), uid: "a", PipelineStatus: protocol.PipelineStatus{Accepted: tt.accepted}}
		if tt.uid == "b" {
			now.uid = "b"
		}
		if got := rate(before, now); got != tt.want {
			t.Errorf("%s: %d; want %d", name, got, tt.want)
		}
	}
}

// TestPollKeepsItsDistance: pods that stay the same are asked once in a while, however often their Pipeline is looked at,
// and figures are due no more often even when pods change.
func TestPollKeepsItsDistance(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPoller(15 * time.Second)
		key := metav1.ObjectMeta{Namespace: "n", Name: "p"}
		name := struct{ Namespace, Name string }{key.Namespace, key.Name}
		due := func(pods ...corev1.Pod) bool { return p.poll(t.Context(), name, pods, time.Now()).due }
		a, b := corev1.Pod{}, corev1.Pod{}
		a.UID, b.UID = "a", "b"
		steps := []struct {
			after time.Duration
			pods  []corev1.Pod
			due   bool
		}{
			{0, []corev1.Pod{a}, true},
			{time.Second, []corev1.Pod{a}, false},
			{time.Second, []corev1.Pod{a, b}, false}, // asked, but figures were written lately
			{13 * time.Second, []corev1.Pod{a, b}, false},
			{2 * time.Second, []corev1.Pod{a, b}, true},
			{time.Second, []corev1.Pod{a}, false},
		}
		for i, s := range steps {
			time.Sleep(s.after) //nolint:forbidigo // the bubble's clock
			if got := due(s.pods...); got != s.due {
				t.Errorf("step %d: due %t", i, got)
			}
		}
		p.forget(name)
		if len(p.known) != 0 {
			t.Error("it remembers what is gone")
		}
	})
}

func TestTransitions(t *testing.T) {
	c := func(typ string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
		return metav1.Condition{Type: typ, Status: status, Reason: reason, Message: message}
	}
	old := []metav1.Condition{
		c("Ready", "True", "Running", "1 of 1"), c("StorageReachable", "True", "PutIfAbsent", "works"), c("Ingesting", "True", "TakingEvents", "t"),
	}
	now := []metav1.Condition{
		c("Ready", "False", "Unreachable", "403"), c("StorageReachable", "False", "Unreachable", "403"), c("Ingesting", "True", "TakingEvents", "other words"),
	}
	want := []event{{"Warning", "Unreachable", "StorageReachable", "403"}}
	if diff := cmp.Diff(want, transitions(old, now), cmp.AllowUnexported(event{})); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if got := transitions(now, now); got != nil {
		t.Errorf("nothing has changed, and %v is told", got)
	}
	starting := []metav1.Condition{
		c("Ready", "False", "PodsStarting", "0 of 1"), c("StorageReachable", "Unknown", "NotReported", "n"), c("Ingesting", "False", "NoPods", "n"),
	}
	if got := transitions(nil, starting); len(got) != 1 || got[0].kind != "Normal" || got[0].reason != "PodsStarting" {
		t.Errorf("a new Pipeline: %v", got)
	}
}

// TestSomePodsFail: conditions say how many pods of how many, and the phase that others go on.
func TestSomePodsFail(t *testing.T) {
	ready := func(name string) corev1.Pod {
		p := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name}}
		p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
		return p
	}
	p := &v1alpha1.Pipeline{Spec: v1alpha1.PipelineSpec{Replicas: new(int32(2)), Sink: v1alpha1.SinkSpec{Delta: &v1alpha1.DeltaSink{URI: "s3://l/p"}}}}
	v1alpha1.SetDefaults(p)
	good := protocol.Check{State: protocol.CheckPassed, Reason: "Writable", Message: "w"}
	bad := protocol.Check{State: protocol.CheckFailed, Reason: "Unreachable", Message: "403"}
	s := &snapshot{
		pipeline: p, effect: p, pods: []corev1.Pod{ready("a"), ready("b")},
		deployment: &appsv1.Deployment{Status: appsv1.DeploymentStatus{Replicas: 2, UpdatedReplicas: 2}},
		reports: reports{due: true, byPod: map[string]report{
			"a": {PipelineStatus: protocol.PipelineStatus{State: "Running", Storage: good, Table: good, Version: 7, LimitedBy: "producers"}, perSecond: 3},
			"b": {PipelineStatus: protocol.PipelineStatus{State: "Retrying", Error: "403", Storage: bad, Table: good, Version: 6, LimitedBy: "commit"}, perSecond: 4},
		}},
	}
	st := conclude(s)
	if st.Phase != v1alpha1.PhaseDegraded || *st.RecordsPerSecond != 7 || *st.TableVersion != 7 || st.LimitedBy != "commit" || st.Pods != "2/2" {
		t.Errorf("%+v", st)
	}
	got := map[string]string{}
	for _, c := range st.Conditions {
		got[c.Type] = string(c.Status) + " " + c.Reason + " " + c.Message
	}
	want := map[string]string{
		"Ready": "False Unreachable 1 of 2 pods: 403", "Accepted": "True Valid the spec is valid", "StorageReachable": "False Unreachable 1 of 2 pods: 403",
		"TableCompatible": "True Writable w", "Ingesting": "True Partly 1 of 2 pods: 403",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestTempDir: a pod has room for temporary files, bounded by the size of the files it sorts, unless the user's volume is
// there.
func TestTempDir(t *testing.T) {
	for name, tt := range map[string]struct {
		target, mount, limit string
	}{
		"usual":         {"", "", "1Gi"},
		"large files":   {"1Gi", "/data", "8Gi"},
		"of the user":   {"", "/tmp/", ""},
		"below the own": {"16Mi", "/tmp/lake", "128Mi"},
	} {
		p := &v1alpha1.Pipeline{Spec: v1alpha1.PipelineSpec{Sink: v1alpha1.SinkSpec{Delta: &v1alpha1.DeltaSink{URI: "s3://l/p"}}}}
		if tt.target != "" {
			p.Spec.Sink.Delta.Maintenance.TargetFileSize = new(resource.MustParse(tt.target))
		}
		if tt.mount != "" {
			p.Spec.Template.Volumes = []v1alpha1.Volume{{Name: "v", MountPath: tt.mount, PersistentVolumeClaim: &v1alpha1.ClaimReference{ClaimName: "lake"}}}
		}
		v1alpha1.SetDefaults(p)
		spec, limit, mounts := podTemplate(p, "weir:test", "").Spec, "", 0
		for _, v := range spec.Volumes {
			if v.EmptyDir != nil {
				limit = v.EmptyDir.SizeLimit.String()
			}
		}
		for _, m := range spec.Containers[0].VolumeMounts {
			if path.Clean(*m.MountPath) == "/tmp" {
				mounts++
			}
		}
		if limit != tt.limit || mounts != 1 {
			t.Errorf("%s: a limit of %q, %d mounts at /tmp; want %q and 1", name, limit, mounts, tt.limit)
		}
	}
}

// TestTeller: only an event that says the same of the same Pipeline is taken for the one before.
func TestTeller(t *testing.T) {
	var tell teller
	p := func(uid, version string) *v1alpha1.Pipeline {
		return &v1alpha1.Pipeline{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", UID: types.UID(uid), ResourceVersion: version}}
	}
	for i, step := range []struct {
		pipeline *v1alpha1.Pipeline
		event    event
		want     string
	}{
		{p("a", "1"), event{"Warning", "Invalid", "Accepted", "x"}, "1"},
		{p("a", "2"), event{"Warning", "Unreachable", "StorageReachable", "x"}, "2"},
		{p("a", "3"), event{"Warning", "Invalid", "Accepted", "x"}, "1"}, // again
		{p("a", "4"), event{"Warning", "Invalid", "Accepted", "y"}, "4"}, // another fault
		{p("a", "5"), event{"Warning", "Invalid", "Accepted", "y"}, "4"},
		{p("b", "6"), event{"Warning", "Invalid", "Accepted", "y"}, "6"}, // another Pipeline of the name
	} {
		if got := tell.regarding(step.pipeline, step.event); got.ResourceVersion != step.want || got.UID != step.pipeline.UID {
			t.Errorf("step %d: it is about version %s of %s", i, got.ResourceVersion, got.UID)
		}
	}
	if tell.forget(types.NamespacedName{Namespace: "n", Name: "p"}); len(tell.said) != 0 {
		t.Error("it remembers what is gone")
	}
}

// TestConfigMapVolume: a ConfigMap is mounted read-only, no place for a table, and found by its name.
func TestConfigMapVolume(t *testing.T) {
	volumes := []v1alpha1.Volume{{Name: "types", MountPath: "/types", ConfigMap: &v1alpha1.LocalReference{Name: "order-types"}}}
	p := &v1alpha1.Pipeline{Spec: v1alpha1.PipelineSpec{
		Sink: v1alpha1.SinkSpec{Delta: &v1alpha1.DeltaSink{URI: "s3://l/p"}}, Template: v1alpha1.TemplateSpec{Volumes: volumes},
	}}
	v1alpha1.SetDefaults(p)
	spec := podTemplate(p, "weir:test", "").Spec
	i := slices.IndexFunc(spec.Volumes, func(v corev1ac.VolumeApplyConfiguration) bool { return *v.Name == "types" })
	if i < 0 || spec.Volumes[i].ConfigMap == nil || *spec.Volumes[i].ConfigMap.Name != "order-types" || spec.SecurityContext.FSGroup != nil {
		t.Errorf("volumes %v, security %v", spec.Volumes, spec.SecurityContext)
	}
	mounts := spec.Containers[0].VolumeMounts
	k := slices.IndexFunc(mounts, func(m corev1ac.VolumeMountApplyConfiguration) bool { return *m.Name == "types" })
	if k < 0 || *mounts[k].MountPath != "/types" || mounts[k].ReadOnly == nil || !*mounts[k].ReadOnly {
		t.Errorf("mounts %v", mounts)
	}
	if onVolume("/types/table", volumes) {
		t.Error("a table may lie in a ConfigMap")
	}
	if uses := secretUses(p, "order-types"); !slices.Equal(uses, []string{"spec.template.volumes[0]"}) {
		t.Errorf("used in %q", uses)
	}
}

// TestKstatus: tools that wait for resources by the rules of kstatus know when a Pipeline is done, and when waiting is in vain.
func TestKstatus(t *testing.T) {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "a"}}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	running := func() *snapshot {
		p := &v1alpha1.Pipeline{
			TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion().String(), Kind: "Pipeline"}, ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 2},
			Spec: v1alpha1.PipelineSpec{Replicas: new(int32(1)), Sink: v1alpha1.SinkSpec{Delta: &v1alpha1.DeltaSink{URI: "s3://l/p"}}},
		}
		v1alpha1.SetDefaults(p)
		return &snapshot{
			pipeline: p, effect: p, pods: []corev1.Pod{pod},
			deployment: &appsv1.Deployment{Status: appsv1.DeploymentStatus{Replicas: 1, UpdatedReplicas: 1}},
			reports:    reports{due: true, byPod: map[string]report{"a": {PipelineStatus: protocol.PipelineStatus{State: protocol.StateRunning}}}},
		}
	}
	for name, c := range map[string]struct {
		change func(*snapshot)
		want   kstatus.Status
	}{
		"running":  {func(*snapshot) {}, kstatus.CurrentStatus},
		"starting": {func(s *snapshot) { s.pods, s.reports.byPod = nil, nil }, kstatus.InProgressStatus},
		"refused":  {func(s *snapshot) { s.faults = []string{"spec.x: y"} }, kstatus.FailedStatus},
		"mended": {func(s *snapshot) {
			s.faults = []string{"spec.x: y"}
			s.pipeline.Status = conclude(s)
			s.faults = nil
		}, kstatus.CurrentStatus},
		"stopped": {func(s *snapshot) { s.pipeline.Spec.Replicas = new(int32(0)) }, kstatus.CurrentStatus},
	} {
		t.Run(name, func(t *testing.T) {
			s := running()
			c.change(s)
			s.pipeline.Status = conclude(s)
			if got := kstatusOf(t, s.pipeline); got.Status != c.want {
				t.Errorf("kstatus is %s (%s), want %s", got.Status, got.Message, c.want)
			}
			s.pipeline.Generation++ // changed, and not looked at yet
			if got := kstatusOf(t, s.pipeline); got.Status != kstatus.InProgressStatus {
				t.Errorf("after a change, kstatus is %s", got.Status)
			}
		})
	}
}

func kstatusOf(t *testing.T, p *v1alpha1.Pipeline) *kstatus.Result {
	t.Helper()
	u, err := runtime.DefaultUnstructuredConverter.ToUnstructured(p)
	if err != nil {
		t.Fatal(err)
	}
	got, err := kstatus.Compute(&unstructured.Unstructured{Object: u})
	if err != nil {
		t.Fatal(err)
	}
	return got
}
