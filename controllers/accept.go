package controllers

import (
	"path"
	"slices"
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
	faults = append(faults, fileFaults(spec)...)
	if dir, local := localDir(spec.Sink.Delta.URI); local && !onVolume(dir, spec.Template.Volumes) {
		faults = append(faults, "spec.sink.delta.uri: "+spec.Sink.Delta.URI+
			" is a directory of each pod by itself and lost with it: use an object store, or mount a volume there with spec.template.volumes")
	}
	return faults
}

// fileFaults finds files of formats that no volume of the pods holds. An image of the user's own may have any file.
func fileFaults(spec *v1alpha1.PipelineSpec) []string {
	if spec.Template.Image != "" {
		return nil
	}
	var faults []string
	look := func(field, file string) {
		on := slices.ContainsFunc(spec.Template.Volumes, func(v v1alpha1.Volume) bool { return below(file, v.MountPath) })
		if file != "" && !on {
			faults = append(faults, "spec.schema.format."+field+": "+file+
				" is on no volume of the pods: mount the ConfigMap that holds it with spec.template.volumes, and name the file below its mountPath")
		}
	}
	if f := spec.Schema.Format.Protobuf; f != nil {
		look("protobuf.file", f.File)
	}
	if f := spec.Schema.Format.Avro; f != nil {
		look("avro.file", f.File)
		if f.Registry != nil {
			look("avro.registry.directory", f.Registry.Directory)
		}
	}
	return faults
}

func below(file, dir string) bool {
	return strings.HasPrefix(path.Clean(file)+"/", path.Clean(dir)+"/")
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
		if v.PersistentVolumeClaim != nil && below(dir, v.MountPath) {
			return true
		}
	}
	return false
}
