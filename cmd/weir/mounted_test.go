package main

import (
	"strings"
	"testing"

	"github.com/weir-dev/weir/api/v1alpha1"
)

// TestCheckInCluster: an operator looks at what is inline and at nothing of its own disk.
func TestCheckInCluster(t *testing.T) {
	protobuf := func(f v1alpha1.ProtobufFormat) *v1alpha1.Pipeline {
		p := &v1alpha1.Pipeline{Spec: v1alpha1.PipelineSpec{Schema: v1alpha1.SchemaSpec{Format: v1alpha1.FormatSpec{Protobuf: &f}}}}
		v1alpha1.SetDefaults(p)
		return p
	}
	here := protobuf(v1alpha1.ProtobufFormat{File: "mounted_test.go", Message: "a.B"})
	if faults := checkInCluster(here); len(faults) > 0 {
		t.Errorf("a file: %v", faults)
	}
	if faults := checkPipeline(here); len(faults) != 1 { // it is there, and no descriptor set
		t.Errorf("a file, by weir run: %v", faults)
	}
	if here.Spec.Schema.Format.Protobuf == nil {
		t.Error("the Pipeline was changed")
	}
	if faults := checkInCluster(protobuf(v1alpha1.ProtobufFormat{Inline: "AAAA", Message: "a.B"})); len(faults) != 1 || !strings.HasPrefix(faults[0].Path, "spec.schema.format.protobuf") {
		t.Errorf("inline: %v", faults)
	}
}
