package envtest

import (
	"fmt"
	"os"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/delta/store"
)

// TestIdlePipelinesCostNoWrite: an operator of 100 Pipelines without traffic or change writes nothing for a minute, while it
// asks their pods for their status.
func TestIdlePipelinesCostNoWrite(t *testing.T) {
	t.Parallel()
	const n = 100
	ns := newNamespace(t)
	op := startOperator(t, ns, nil)
	k := startKubelet(t, ns, store.NewMemory(), nil)
	for i := range n {
		newPipeline(t, ns, fmt.Sprintf("p-%d", i), func(p *v1alpha1.Pipeline) {
			metricsPort(p)
			p.Spec.Replicas = new(int32(0))
			if i < 10 { // these have a pod that answers
				p.Spec.Replicas = new(int32(1))
			}
		})
	}
	eventuallyIn(t, 3*patience, "settled", func() error {
		var all v1alpha1.PipelineList
		if err := cluster.client.List(t.Context(), &all, client.InNamespace(ns)); err != nil {
			return err
		}
		running, stopped := 0, 0
		for _, p := range all.Items {
			switch p.Status.Phase {
			case v1alpha1.PhaseRunning:
				running++
			case v1alpha1.PhaseStopped:
				stopped++
			}
		}
		if running != 10 || stopped != n-10 {
			return fmt.Errorf("%d run, %d are stopped", running, stopped)
		}
		return nil
	})
	quiet := 10 * time.Second
	if os.Getenv(longEnv) != "" {
		quiet = time.Minute
	}
	<-time.After(2 * time.Second) // figures follow at most so long after
	before, polled := op.api.writes.Load(), k.asked.Load()
	select {
	case <-time.After(quiet):
	case <-t.Context().Done():
	}
	writes := op.api.writes.Load() - before
	t.Logf("%d Pipelines, %v: %d writes; pods were asked for their status %d times", n, quiet, writes, k.asked.Load()-polled)
	if writes != 0 {
		t.Errorf("%d writes: %q", writes, op.api.last(writes))
	}
	if k.asked.Load() == polled {
		t.Error("the operator did nothing at all")
	}
}
