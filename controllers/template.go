package controllers

import (
	"fmt"
	"maps"
	"path"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/intstr"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"

	"github.com/weir-dev/weir/api/v1alpha1"
)

// Names inside of a pod.
const (
	containerName = "weir"
	configVolume  = "pipeline"
	configDir     = "/etc/weir"
	tempVolume    = "tmp"
	tempDir       = "/tmp" // where Go makes temporary files, unless TMPDIR says otherwise

	portRSocket = "rsocket"
	portHTTP    = "http"
	portMetrics = "metrics"
)

// gracePeriod, in seconds, is what a pod has from SIGTERM on: weir ingest takes at most 45 s of it to commit what it has
// taken. It begins to drain at once, so no preStop hook has to wait for anything: until its doors close, whoever still
// comes is told to go elsewhere.
const gracePeriod = 60

// fsGroup owns the volumes of a pod, so that a process without root can write to them.
const fsGroup = 65532

// Of the probe for readiness, in seconds. Two failures in a row take a pod out of DNS: a single answer that is late, because
// the node is busy, sends nobody away. Nothing waits for them when a pod ends: one that is deleted leaves the endpoints at
// once, as does one whose process is gone, and one that drains tells its streams itself.
const (
	readyPeriod   = 2
	readyFailures = 2
	readyTimeout  = 2
)

// podTemplate must come out the same from one version of the operator to the next: a difference would restart every
// ingestor of a cluster when the operator is upgraded. A test holds it to testdata.
func podTemplate(p *v1alpha1.Pipeline, image, config string) *corev1ac.PodTemplateSpecApplyConfiguration {
	t := &p.Spec.Template
	labels := maps.Clone(t.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	maps.Copy(labels, childLabels(p.Name))
	spec := corev1ac.PodSpec().
		WithServiceAccountName(orElse(t.ServiceAccountName, p.Name)).
		WithAutomountServiceAccountToken(false).WithEnableServiceLinks(false).
		WithTerminationGracePeriodSeconds(gracePeriod).
		WithSecurityContext(podSecurity(slices.ContainsFunc(t.Volumes, func(v v1alpha1.Volume) bool { return v.PersistentVolumeClaim != nil }))).
		WithTopologySpreadConstraints(spread(p.Name)).
		WithVolumes(corev1ac.Volume().WithName(configVolume).WithConfigMap(corev1ac.ConfigMapVolumeSource().WithName(p.Name))).
		WithContainers(container(p, image))
	if ownTemp(t) {
		spec.WithVolumes(corev1ac.Volume().WithName(tempVolume).WithEmptyDir(corev1ac.EmptyDirVolumeSource().WithSizeLimit(tempLimit(p))))
	}
	place(spec, t)
	return corev1ac.PodTemplateSpec().
		WithLabels(labels).WithAnnotations(t.Annotations).WithAnnotations(map[string]string{annotationConfig: config}).
		WithSpec(spec)
}

// ownTemp says whether the pod gets a directory for temporary files: its root is read-only. A volume of the user may take its
// place.
func ownTemp(t *v1alpha1.TemplateSpec) bool {
	return !slices.ContainsFunc(t.Volumes, func(v v1alpha1.Volume) bool { return path.Clean(v.MountPath) == tempDir })
}

// tempLimit bounds the temporary files of a pod: a kubelet evicts a pod that has more. What spills is a sort along a Z-order
// curve, one file of the table at a time, whose rows lie there under a lighter compression than in the table.
func tempLimit(p *v1alpha1.Pipeline) resource.Quantity {
	const (
		perByte       = 8
		usualFileSize = 128 << 20 // of a table that says nothing
	)
	size := int64(usualFileSize)
	if m := p.Spec.Sink.Delta.Maintenance; m.TargetFileSize != nil {
		size = m.TargetFileSize.Value()
	}
	return *resource.NewQuantity(perByte*size, resource.BinarySI)
}

func orElse(s, fallback string) string {
	if s == "" {
		return fallback
	}
	return s
}

// podSecurity is what the restricted profile of Pod Security asks for.
func podSecurity(volumes bool) *corev1ac.PodSecurityContextApplyConfiguration {
	c := corev1ac.PodSecurityContext().WithRunAsNonRoot(true).
		WithSeccompProfile(corev1ac.SeccompProfile().WithType(corev1.SeccompProfileTypeRuntimeDefault))
	if volumes {
		c.WithFSGroup(fsGroup).WithFSGroupChangePolicy(corev1.FSGroupChangeOnRootMismatch)
	}
	return c
}

// spread prefers nodes that have fewer pods of the pipeline.
func spread(name string) *corev1ac.TopologySpreadConstraintApplyConfiguration {
	return corev1ac.TopologySpreadConstraint().WithMaxSkew(1).WithTopologyKey(corev1.LabelHostname).
		WithWhenUnsatisfiable(corev1.ScheduleAnyway).
		WithLabelSelector(metav1ac.LabelSelector().WithMatchLabels(selector(name)))
}

// place says where the pods may run, and what they mount there.
func place(spec *corev1ac.PodSpecApplyConfiguration, t *v1alpha1.TemplateSpec) {
	for _, s := range t.ImagePullSecrets {
		spec.WithImagePullSecrets(corev1ac.LocalObjectReference().WithName(s.Name))
	}
	for _, v := range t.Volumes {
		mounted := corev1ac.Volume().WithName(v.Name)
		if v.ConfigMap != nil {
			mounted.WithConfigMap(corev1ac.ConfigMapVolumeSource().WithName(v.ConfigMap.Name))
		} else {
			mounted.WithPersistentVolumeClaim(corev1ac.PersistentVolumeClaimVolumeSource().WithClaimName(v.PersistentVolumeClaim.ClaimName))
		}
		spec.WithVolumes(mounted)
	}
	if len(t.NodeSelector) > 0 {
		spec.WithNodeSelector(t.NodeSelector)
	}
	if t.PriorityClassName != "" {
		spec.WithPriorityClassName(t.PriorityClassName)
	}
	for _, t := range t.Tolerations {
		spec.WithTolerations(toleration(t))
	}
}

func toleration(t v1alpha1.Toleration) *corev1ac.TolerationApplyConfiguration {
	c := &corev1ac.TolerationApplyConfiguration{TolerationSeconds: t.TolerationSeconds}
	set := func(to **string, value string) {
		if value != "" {
			*to = &value
		}
	}
	set(&c.Key, t.Key)
	set(&c.Value, t.Value)
	if t.Operator != "" {
		c.WithOperator(corev1.TolerationOperator(t.Operator))
	}
	if t.Effect != "" {
		c.WithEffect(corev1.TaintEffect(t.Effect))
	}
	return c
}

func container(p *v1alpha1.Pipeline, image string) *corev1ac.ContainerApplyConfiguration {
	spec, t := &p.Spec, &p.Spec.Template
	port := func(name string, n int32) *corev1ac.ContainerPortApplyConfiguration {
		return corev1ac.ContainerPort().WithName(name).WithContainerPort(n).WithProtocol(corev1.ProtocolTCP)
	}
	c := corev1ac.Container().WithName(containerName).WithImage(image).WithArgs("ingest", configDir+"/"+configKey).
		WithPorts(port(portRSocket, *spec.Ingress.RSocket.Port), port(portHTTP, *spec.Ingress.HTTP.Port),
			port(portMetrics, *spec.Observability.MetricsPort)).
		WithResources(resources(p)).
		WithSecurityContext(corev1ac.SecurityContext().WithAllowPrivilegeEscalation(false).WithReadOnlyRootFilesystem(true).
			WithCapabilities(corev1ac.Capabilities().WithDrop("ALL"))).
		WithTerminationMessagePolicy(corev1.TerminationMessageFallbackToLogsOnError).
		WithVolumeMounts(corev1ac.VolumeMount().WithName(configVolume).WithMountPath(configDir).WithReadOnly(true)).
		WithReadinessProbe(probe("/readyz").WithPeriodSeconds(readyPeriod).WithFailureThreshold(readyFailures).WithTimeoutSeconds(readyTimeout)).
		WithLivenessProbe(probe("/livez").WithPeriodSeconds(10).WithFailureThreshold(6).WithTimeoutSeconds(5)).
		WithEnv(environment(p)...).WithEnvFrom(environmentFrom(p)...)
	if ownTemp(t) {
		c.WithVolumeMounts(corev1ac.VolumeMount().WithName(tempVolume).WithMountPath(tempDir))
	}
	if t.ImagePullPolicy != "" {
		c.WithImagePullPolicy(corev1.PullPolicy(t.ImagePullPolicy))
	}
	for _, v := range t.Volumes {
		mount := corev1ac.VolumeMount().WithName(v.Name).WithMountPath(v.MountPath)
		if v.ConfigMap != nil {
			mount.WithReadOnly(true)
		}
		c.WithVolumeMounts(mount)
	}
	return c
}

func probe(path string) *corev1ac.ProbeApplyConfiguration {
	return corev1ac.Probe().WithHTTPGet(corev1ac.HTTPGetAction().WithPath(path).WithPort(intstr.FromString(portMetrics)))
}

// resources are those that the Pipeline asks for, or what follows from its memory: the garbage collector keeps the process
// to flow.memory and a little more, connections and the program itself come on top.
func resources(p *v1alpha1.Pipeline) *corev1ac.ResourceRequirementsApplyConfiguration {
	c := corev1ac.ResourceRequirements()
	if r := p.Spec.Template.Resources; r != nil {
		if len(r.Requests) > 0 {
			c.WithRequests(resourceList(r.Requests))
		}
		if len(r.Limits) > 0 {
			c.WithLimits(resourceList(r.Limits))
		}
		return c
	}
	flow := p.Spec.Flow.Memory.Value()
	memory := *resource.NewQuantity(flow+flow/4+64<<20, resource.BinarySI)
	return c.
		WithRequests(corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("100m"), corev1.ResourceMemory: memory}).
		WithLimits(corev1.ResourceList{corev1.ResourceMemory: memory})
}

func resourceList(from map[string]resource.Quantity) corev1.ResourceList {
	list := corev1.ResourceList{}
	for name, q := range from {
		list[corev1.ResourceName(name)] = q
	}
	return list
}

// environment is that of the user, and what a pod knows of itself and of the others.
func environment(p *v1alpha1.Pipeline) []*corev1ac.EnvVarApplyConfiguration {
	var env []*corev1ac.EnvVarApplyConfiguration
	for _, e := range p.Spec.Template.Env {
		v := corev1ac.EnvVar().WithName(e.Name)
		switch from := e.ValueFrom; {
		case from == nil:
			v.WithValue(e.Value)
		case from.SecretKeyRef != nil:
			v.WithValueFrom(corev1ac.EnvVarSource().WithSecretKeyRef(
				corev1ac.SecretKeySelector().WithName(from.SecretKeyRef.Name).WithKey(from.SecretKeyRef.Key)))
		case from.ConfigMapKeyRef != nil:
			v.WithValueFrom(corev1ac.EnvVarSource().WithConfigMapKeyRef(
				corev1ac.ConfigMapKeySelector().WithName(from.ConfigMapKeyRef.Name).WithKey(from.ConfigMapKeyRef.Key)))
		}
		env = append(env, v)
	}
	for _, own := range [][2]string{{"WEIR_POD", "metadata.name"}, {"WEIR_NAMESPACE", "metadata.namespace"}, {"WEIR_POD_IP", "status.podIP"}} {
		env = append(env, corev1ac.EnvVar().WithName(own[0]).WithValueFrom(
			corev1ac.EnvVarSource().WithFieldRef(corev1ac.ObjectFieldSelector().WithFieldPath(own[1]))))
	}
	return append(env, corev1ac.EnvVar().WithName("WEIR_PEERS").WithValue(
		fmt.Sprintf("weir://%s.%s.svc:%d", p.Name, p.Namespace, *p.Spec.Ingress.RSocket.Port)))
}

// environmentFrom is the Secret with the credentials of the store, and what the user adds.
func environmentFrom(p *v1alpha1.Pipeline) []*corev1ac.EnvFromSourceApplyConfiguration {
	var all []*corev1ac.EnvFromSourceApplyConfiguration
	if st := p.Spec.Sink.Delta.Storage; st != nil && st.CredentialsSecret != "" {
		all = append(all, corev1ac.EnvFromSource().WithSecretRef(corev1ac.SecretEnvSource().WithName(st.CredentialsSecret)))
	}
	for _, e := range p.Spec.Template.EnvFrom {
		from := corev1ac.EnvFromSource()
		if e.Prefix != "" {
			from.WithPrefix(e.Prefix)
		}
		if e.SecretRef != nil {
			from.WithSecretRef(corev1ac.SecretEnvSource().WithName(e.SecretRef.Name))
		}
		if e.ConfigMapRef != nil {
			from.WithConfigMapRef(corev1ac.ConfigMapEnvSource().WithName(e.ConfigMapRef.Name))
		}
		all = append(all, from)
	}
	return all
}

// secretUses says where the Pipeline names a Secret or ConfigMap, for whoever has to mend a name.
func secretUses(p *v1alpha1.Pipeline, name string) []string {
	var uses []string
	if st := p.Spec.Sink.Delta.Storage; st != nil && st.CredentialsSecret == name {
		uses = append(uses, "spec.sink.delta.storage.credentialsSecret")
	}
	for i, e := range p.Spec.Template.Env {
		if f := e.ValueFrom; f != nil && (f.SecretKeyRef != nil && f.SecretKeyRef.Name == name || f.ConfigMapKeyRef != nil && f.ConfigMapKeyRef.Name == name) {
			uses = append(uses, fmt.Sprintf("spec.template.env[%d].valueFrom", i))
		}
	}
	for i, e := range p.Spec.Template.EnvFrom {
		if e.SecretRef != nil && e.SecretRef.Name == name || e.ConfigMapRef != nil && e.ConfigMapRef.Name == name {
			uses = append(uses, fmt.Sprintf("spec.template.envFrom[%d]", i))
		}
	}
	for i, v := range p.Spec.Template.Volumes {
		if v.ConfigMap != nil && v.ConfigMap.Name == name {
			uses = append(uses, fmt.Sprintf("spec.template.volumes[%d]", i))
		}
	}
	return slices.Compact(uses)
}
