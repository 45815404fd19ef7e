package envtest

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/v1alpha1"
)

// failTwice gives a Pipeline the same fault twice, with a time between in which it has none.
func failTwice(t *testing.T, p *v1alpha1.Pipeline) {
	t.Helper()
	httpPort := func(port, phase, ready string) {
		t.Helper()
		kubectl(t, p.Namespace, "patch", "wpl/"+p.Name, "--type=merge", "-p", `{"spec":{"ingress":{"http":{"port":`+port+`}}}}`)
		wants(t, p, v1alpha1.Phase(phase), "Ready False "+ready)
	}
	httpPort("0", "Refused", "Invalid")
	wantEvents(t, p, "Warning Invalid: spec.ingress.http.port")
	httpPort("7080", "Pending", "PodsStarting")
	httpPort("0", "Refused", "Invalid")
}

// TestEventsAreCounted: what happens again is one event, told twice, and kubectl describe says so.
func TestEventsAreCounted(t *testing.T) {
	t.Parallel()
	ns := newNamespace(t)
	startOperator(t, ns, nil)
	p := newPipeline(t, ns, "clicks", nil)
	waitStarting(t, p)
	failTwice(t, p)
	eventually(t, "the event is counted", func() error {
		var list eventsv1.EventList
		if err := cluster.client.List(t.Context(), &list, client.InNamespace(ns)); err != nil {
			return err
		}
		for _, e := range list.Items {
			if e.Regarding.Name == p.Name && e.Reason == "Invalid" {
				if e.Series == nil || e.Series.Count != 2 {
					return fmt.Errorf("its series is %+v", e.Series)
				}
				return nil
			}
		}
		return errors.New("there is none")
	})
	if out := kubectl(t, ns, "describe", "wpl/clicks"); !strings.Contains(out, "(x2 over ") {
		t.Errorf("kubectl describe says\n%s", out)
	}
}
