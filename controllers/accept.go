package controllers

import (
	"path"
	"strings"

	"github.com/weir-dev/weir/api/v1alpha1"
)

// accept returns what is wrong with the spec: what weir lint would say, and what makes no sense in a cluster. The API
// server refuses most of it before; the rest needs code, or came before a rule did.
func (r *reconciler) accept(s *snapshot) []string {
	var faults []string
	for _, e := range v1alpha1.Validate(s.effect) {
		faults = append(faults, e.Error())
	}
	if len(faults) > 0 {
		return faults
	}
	for _, f := range r.check(s.effect) {
		faults = append(faults, f.Path+": "+f.Message)
	}
	return append(faults, clusterFaults(&s.effect.Spec)...)
}

// clusterFaults finds what weir run can do and pods cannot.
func clusterFaults(spec *v1alpha1.PipelineSpec) []string {
	var faults []string
	for _, p := range []struct {
		field string
		port  *int32
	}{
		{"spec.ingress.rsocket.port", spec.Ingress.RSocket.Port},
		{"spec.ingress.http.port", spec.Ingress.HTTP.Port},
		{"spec.observability.metricsPort", spec.Observability.MetricsPort},
	} {
		if *p.port == 0 {
			faults = append(faults, p.field+": 0 takes any free port, to which no Service can lead: give it a number, or leave it out")
		}
	}
	if dir, local := localDir(spec.Sink.Delta.URI); local && !onVolume(dir, spec.Template.Volumes) {
		faults = append(faults, "spec.sink.delta.uri: "+spec.Sink.Delta.URI+
			" is a directory of each pod by itself and lost with it: use an object store, or mount a volume there with spec.template.volumes")
	}
	return faults
}

// localDir returns the directory that uri names, if it names one.
func localDir(uri string) (string, bool) {
	if dir, ok := strings.CutPrefix(uri, "file://"); ok {
		return dir, true
	}
	return uri, !strings.Contains(uri, "://")
}

func onVolume(dir string, volumes []v1alpha1.Volume) bool {
	for _, v := range volumes {
		if v.PersistentVolumeClaim != nil && strings.HasPrefix(path.Clean(dir)+"/", path.Clean(v.MountPath)+"/") {
			return true
		}
	}
	return false
}
