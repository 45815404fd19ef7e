package strict

import (
	"os"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/api/v1alpha1"
)

// TestForPodsMeansTheSame: what pods read is the Pipeline without the fields that are for a cluster.
func TestForPodsMeansTheSame(t *testing.T) {
	for _, file := range glob(t, "testdata/good/*.yaml") {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		pipelines, err := Decode(file, b)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range pipelines {
			got, err := ForPods(p)
			if err != nil {
				t.Fatal(err)
			}
			again, err := Decode(file, got)
			if err != nil {
				t.Fatalf("%v\n%s", err, got)
			}
			want := v1alpha1.Pipeline{Spec: p.Spec}
			want.Name, want.Namespace = p.Name, p.Namespace
			want.APIVersion, want.Kind = p.APIVersion, p.Kind
			want.Spec.Replicas, want.Spec.Scaling, want.Spec.Template = nil, v1alpha1.ScalingSpec{}, v1alpha1.TemplateSpec{}
			v1alpha1.SetDefaults(&want)
			if diff := cmp.Diff(&want, again[0]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", file, diff)
			}
			if third, err := ForPods(again[0]); err != nil || !slices.Equal(third, got) {
				t.Errorf("%s: a second time it is\n%s", file, third)
			}
		}
	}
}

// TestForPodsStaysTheSame: neither defaults that are written out nor what is for a cluster change the bytes.
func TestForPodsStaysTheSame(t *testing.T) {
	p, err := toPipeline(minimal())
	if err != nil {
		t.Fatal(err)
	}
	const want = `{
  "apiVersion": "weir.dev/v1alpha1",
  "kind": "Pipeline",
  "metadata": {
    "name": "clicks"
  },
  "spec": {
    "sink": {
      "delta": {
        "uri": "clicks"
      }
    }
  }
}
`
	v1alpha1.SetDefaults(p)
	five := int32(5)
	p.Spec.Replicas, p.Spec.Template.Image = &five, "example.com/weir:v2"
	p.Status.Phase = v1alpha1.PhaseRunning
	p.Labels = map[string]string{"a": "b"}
	got, err := ForPods(p)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
