package envtest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/ingestor"
	"github.com/weir-dev/weir/ingestor/decode"
)

// wants waits for conditions, each as "Type Status Reason", and returns the Pipeline.
func wants(t *testing.T, p *v1alpha1.Pipeline, phase v1alpha1.Phase, all ...string) *v1alpha1.Pipeline {
	t.Helper()
	var now *v1alpha1.Pipeline
	eventually(t, string(phase), func() (err error) {
		if now, err = get(t, p.Namespace, p.Name, new(v1alpha1.Pipeline)); err != nil {
			return err
		}
		for _, c := range all {
			part := strings.Fields(c)
			err = errors.Join(err, wantCondition(now, part[0], metav1.ConditionStatus(part[1]), part[2]))
		}
		if now.Status.Phase != phase {
			err = errors.Join(err, fmt.Errorf("the phase is %s", now.Status.Phase))
		}
		return err
	})
	return now
}

func message(p *v1alpha1.Pipeline, typ string) string {
	for _, c := range p.Status.Conditions {
		if c.Type == typ {
			return c.Message
		}
	}
	return ""
}

// wantEvents waits until the Pipeline has these events, each as "Type Reason: a part of the note".
func wantEvents(t *testing.T, p *v1alpha1.Pipeline, all ...string) {
	t.Helper()
	eventually(t, "events", func() error {
		var list eventsv1.EventList
		if err := cluster.client.List(t.Context(), &list, client.InNamespace(p.Namespace)); err != nil {
			return err
		}
		var got []string
		for _, e := range list.Items {
			if e.Regarding.Name == p.Name && e.Regarding.Kind == v1alpha1.Kind {
				got = append(got, e.Type+" "+e.Reason+": "+e.Note)
			}
		}
		for _, want := range all {
			head, note, _ := strings.Cut(want, ": ")
			if !slices.ContainsFunc(got, func(g string) bool { return strings.HasPrefix(g, head+": ") && strings.Contains(g, note) }) {
				return fmt.Errorf("no event %q among %q", want, got)
			}
		}
		return nil
	})
}

// TestConditionsFollowTheStore: the bucket is away, comes, goes while events come, and comes back.
func TestConditionsFollowTheStore(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	startOperator(t, ns, nil)
	b := newBucket()
	b.away.Store(true)
	k := startKubelet(t, ns, b, nil)
	p := newPipeline(t, ns, "clicks", metricsPort)
	now := wants(t, p, v1alpha1.PhaseBlocked, "Ready False Unreachable", "Accepted True Valid", "StorageReachable False Unreachable",
		"TableCompatible Unknown NotReported", "Ingesting False NoPods")
	if got := message(now, "Ready"); !strings.HasSuffix(got, "https://lake.s3.example: 403 AccessDenied") {
		t.Errorf("Ready says %q", got)
	}
	b.away.Store(false)
	wants(t, p, v1alpha1.PhaseRunning, "Ready True Running", "StorageReachable True PutIfAbsent", "TableCompatible True NoTableYet", "Ingesting True TakingEvents")
	k.post(map[string]int{"a": 1})
	now = wants(t, p, v1alpha1.PhaseRunning, "TableCompatible True Writable")
	eventually(t, "figures", func() error {
		now, _ := get(t, ns, p.Name, new(v1alpha1.Pipeline))
		if v := now.Status.TableVersion; v == nil || *v != 1 || now.Status.Pods != "1/1" || now.Status.LimitedBy != "producers" {
			return fmt.Errorf("%+v", now.Status)
		}
		return nil
	})
	b.away.Store(true)
	k.post(map[string]int{"a": 2})
	wants(t, p, v1alpha1.PhaseDegraded, "Ready False Unreachable", "StorageReachable False Unreachable", "Ingesting False CommitsFail", "TableCompatible True Writable")
	b.away.Store(false)
	wants(t, p, v1alpha1.PhaseRunning, "Ready True Running", "StorageReachable True PutIfAbsent", "Ingesting True TakingEvents")
	wantEvents(t, now, "Warning Unreachable: AccessDenied", "Normal PutIfAbsent: put-if-absent works", "Normal Running: 1 of 1 pods", "Warning CommitsFail: AccessDenied")

	kubectl(t, ns, "scale", "wpl/clicks", "--replicas=0")
	wants(t, p, v1alpha1.PhaseStopped, "Ready True ScaledToZero", "Ingesting False NoPods")
	kubectl(t, ns, "scale", "wpl/clicks", "--replicas=2")
	now = wants(t, p, v1alpha1.PhaseRunning, "Ready True Running")
	if now.Status.Pods != "2/2" || now.Status.Replicas != 2 {
		t.Errorf("%+v", now.Status)
	}
}

// TestConditionsFollowTheTable: a table that weir cannot write to, one with other partitions, and one that is made anew
// under a running pipeline.
func TestConditionsFollowTheTable(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		log, reason, says string
	}{
		"feature": {
			`{"protocol":{"minReaderVersion":1,"minWriterVersion":7,"writerFeatures":["icebergCompatV1"]}}`, "UnsupportedFeature",
			"it uses icebergCompatV1, which this version does not support",
		},
		"partitions": {`{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}`, "Mismatch", "is partitioned by [day] and the pipeline says partitionBy [country]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ns := newNamespace(t)
			startOperator(t, ns, nil)
			s := store.NewMemory()
			const metadata = `{"metaData":{"id":"1","format":{"provider":"parquet","options":{}},"schemaString":"{\"type\":\"struct\",\"fields\":[{\"name\":\"day\",\"type\":\"string\",\"nullable\":true,\"metadata\":{}}]}","partitionColumns":["day"],"configuration":{},"createdTime":1}}`
			if err := s.PutIfAbsent(t.Context(), "_delta_log/00000000000000000000.json", []byte(tt.log+"\n"+metadata+"\n")); err != nil {
				t.Fatal(err)
			}
			startKubelet(t, ns, s, func(s *ingestor.Settings) { s.PartitionBy = []string{"country"} })
			p := newPipeline(t, ns, "clicks", metricsPort)
			now := wants(t, p, v1alpha1.PhaseBlocked, "Ready False "+tt.reason, "TableCompatible False "+tt.reason, "StorageReachable True PutIfAbsent", "Ingesting False NoPods")
			if got := message(now, "TableCompatible"); !strings.Contains(got, tt.says) {
				t.Errorf("TableCompatible says %q", got)
			}
			wantEvents(t, now, "Warning "+tt.reason+": "+tt.says)
		})
	}
}

// recreated is a store whose table turns out to be another one.
type recreated struct{ store.Store }

func (recreated) Create(context.Context, string) (store.Writer, error) {
	return nil, delta.ErrTableRecreated
}

func TestConditionsOfAPipelineThatStopped(t *testing.T) {
	t.Parallel()
	t.Run("for good", func(t *testing.T) {
		t.Parallel()
		ns := newNamespace(t)
		startOperator(t, ns, nil)
		k := startKubelet(t, ns, recreated{store.NewMemory()}, nil)
		p := newPipeline(t, ns, "clicks", metricsPort)
		wants(t, p, v1alpha1.PhaseRunning, "Ready True Running", "TableCompatible True NoTableYet")
		k.post(map[string]int{"a": 1})
		wants(t, p, v1alpha1.PhaseBlocked, "Ready False Recreated", "TableCompatible False Recreated", "Ingesting False Failed", "StorageReachable True PutIfAbsent")
	})
	t.Run("by its policy", func(t *testing.T) {
		t.Parallel()
		ns := newNamespace(t)
		startOperator(t, ns, nil)
		k := startKubelet(t, ns, store.NewMemory(), func(s *ingestor.Settings) { s.Decode.OnMismatch = decode.SuspendPipeline })
		p := newPipeline(t, ns, "clicks", metricsPort)
		wants(t, p, v1alpha1.PhaseRunning, "Ready True Running")
		k.post(map[string]any{"a": 1})
		wants(t, p, v1alpha1.PhaseRunning, "TableCompatible True Writable")
		k.post(map[string]any{"a": "x"})
		now := wants(t, p, v1alpha1.PhaseSuspended, "Ready False Suspended", "Ingesting False Suspended")
		wantEvents(t, now, "Warning Suspended: the pipeline is suspended")
	})
}

// TestAccepted: what the operator refuses, it says; what is there is left alone; once it is mended, work goes on.
func TestAccepted(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	startOperator(t, ns, nil)
	foreign := &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "taken"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80, TargetPort: intstr.FromInt32(80)}}, Selector: map[string]string{"app": "shop"}},
	}
	if err := cluster.client.Create(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	taken := newPipeline(t, ns, "taken", nil)
	now := wants(t, taken, v1alpha1.PhaseRefused, "Accepted False NameTaken", "Ready False NameTaken", "Stalled True NameTaken")
	if got := message(now, "Accepted"); got != "Service taken is there and is not the Pipeline's: give the Pipeline another name, or delete what is in its way" {
		t.Errorf("Accepted says %q", got)
	}
	after, err := get(t, ns, "taken", new(corev1.Service))
	if err != nil || after.ResourceVersion != foreign.ResourceVersion {
		t.Errorf("the Service of somebody else was changed: %v %+v", err, after)
	}
	if err := cluster.client.Delete(t.Context(), foreign); err != nil {
		t.Fatal(err)
	}
	now = wants(t, taken, v1alpha1.PhasePending, "Accepted True Valid", "Ready False PodsStarting")
	if got := message(now, v1alpha1.ConditionStalled); got != "" {
		t.Errorf("still stalled: %s", got)
	}

	local := newPipeline(t, ns, "local", func(p *v1alpha1.Pipeline) {
		p.Spec.Sink.Delta.URI = "/data/clicks"
		p.Spec.Ingress.HTTP.Port = new(int32(0))
	})
	now = wants(t, local, v1alpha1.PhaseRefused, "Accepted False Invalid", "Ready False Invalid", "Stalled True Invalid")
	for _, says := range []string{
		"spec.ingress.http.port: 0 takes any free port, to which no Service can lead: give it a number",
		"spec.sink.delta.uri: /data/clicks is a directory of each pod by itself and lost with it: use an object store, or mount a volume there with spec.template.volumes",
	} {
		if got := message(now, "Accepted"); !strings.Contains(got, says) {
			t.Errorf("Accepted says %q", got)
		}
	}
	wantEvents(t, now, "Warning Invalid: spec.ingress.http.port: 0 takes any free port")
	kubectl(t, ns, "patch", "wpl/local", "--type=merge", "-p",
		`{"spec":{"ingress":{"http":{"port":7080}},"template":{"volumes":[{"name":"lake","mountPath":"/data","persistentVolumeClaim":{"claimName":"lake"}}]}}}`)
	wants(t, local, v1alpha1.PhasePending, "Accepted True Valid", "Ready False PodsStarting")
}
