package controllers

import (
	"crypto/sha256"
	"encoding/hex"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	appsv1ac "k8s.io/client-go/applyconfigurations/apps/v1"
	corev1ac "k8s.io/client-go/applyconfigurations/core/v1"
	metav1ac "k8s.io/client-go/applyconfigurations/meta/v1"
	policyv1ac "k8s.io/client-go/applyconfigurations/policy/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weir-dev/weir/api/strict"
	"github.com/weir-dev/weir/api/v1alpha1"
)

// The labels and annotations of what a Pipeline owns.
const (
	labelManagedBy = "app.kubernetes.io/managed-by"
	labelName      = "app.kubernetes.io/name"
	labelInstance  = "app.kubernetes.io/instance"
	labelPipeline  = "weir.dev/pipeline" // of children and pods
	managedBy      = "weir"

	annotationApplied = "weir.dev/applied" // hash of what was applied last
	annotationConfig  = "weir.dev/config"  // of a pod: hash of the file that it reads
	annotationImage   = "weir.dev/image"   // of the Deployment: the operator's image when it was made
)

// PodLabels are labels that only the pods of a Pipeline have.
func PodLabels(pipeline string) map[string]string { return selector(pipeline) }

// selector selects the pods of a Pipeline. It can never change: a Deployment's selector is fixed.
func selector(name string) map[string]string {
	return map[string]string{labelName: "weir", labelPipeline: name}
}

func childLabels(name string) map[string]string {
	return map[string]string{labelManagedBy: managedBy, labelName: "weir", labelInstance: name, labelPipeline: name}
}

// child is something that a Pipeline owns.
type child struct {
	kind string
	name string
	want object
	have client.Object // of the type that the cache reads into
}

// object is an apply configuration whose metadata can be completed.
type object interface {
	runtime.ApplyConfiguration
	GetName() *string
}

// children returns what s should own, in the order in which it is made: pods come after what they need.
func (r *reconciler) children(s *snapshot) ([]child, error) {
	p := s.effect
	config, err := strict.ForPods(p)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says so
	}
	image, first := s.image(r.image)
	return []child{
		{"ServiceAccount", p.Name, serviceAccount(p), new(corev1.ServiceAccount)},
		{"ConfigMap", p.Name, configMap(p, config), new(corev1.ConfigMap)},
		{"Service", p.Name, headlessService(p), new(corev1.Service)},
		{"Service", clientServiceName(p.Name), clientService(p), new(corev1.Service)},
		{"PodDisruptionBudget", p.Name, disruptionBudget(p), new(policyv1.PodDisruptionBudget)},
		{"Deployment", p.Name, deployment(s, image, first, hash(config)), new(appsv1.Deployment)},
	}, nil
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:8])
}

// image returns the image of the pods and that of the operator when it made them first. An operator that is upgraded has
// another one, and leaves the pods alone.
func (s *snapshot) image(operators string) (image, first string) {
	first = operators
	if s.deployment != nil && s.deployment.Annotations[annotationImage] != "" {
		first = s.deployment.Annotations[annotationImage]
	}
	if image = s.effect.Spec.Template.Image; image == "" {
		image = first
	}
	return image, first
}

// owner makes the Pipeline own a child, so that the cluster deletes one with the other. It does not hold up the deletion of
// the Pipeline, for which the operator would need more rights.
func owner(p *v1alpha1.Pipeline) *metav1ac.OwnerReferenceApplyConfiguration {
	return metav1ac.OwnerReference().WithAPIVersion(v1alpha1.GroupVersion().String()).WithKind(v1alpha1.Kind).
		WithName(p.Name).WithUID(p.UID).WithController(true)
}

// serviceAccount gives the pods an identity of their own, without rights.
func serviceAccount(p *v1alpha1.Pipeline) object {
	return corev1ac.ServiceAccount(p.Name, p.Namespace).WithLabels(childLabels(p.Name)).WithOwnerReferences(owner(p)).
		WithAutomountServiceAccountToken(false)
}

// configKey is the file of a ConfigMap that pods read.
const configKey = "pipeline.yaml"

func configMap(p *v1alpha1.Pipeline, config []byte) object {
	return corev1ac.ConfigMap(p.Name, p.Namespace).WithLabels(childLabels(p.Name)).WithOwnerReferences(owner(p)).
		WithData(map[string]string{configKey: string(config)})
}

// headlessService is how weir's clients find the pods: its name has the address of each. A pod that is not ready has none:
// it takes no events yet, or no more, and a client that came to it would be sent away. A slow store does not make a pod
// unready.
func headlessService(p *v1alpha1.Pipeline) object {
	return corev1ac.Service(p.Name, p.Namespace).WithLabels(childLabels(p.Name)).WithOwnerReferences(owner(p)).
		WithSpec(corev1ac.ServiceSpec().WithClusterIP(corev1.ClusterIPNone).WithSelector(selector(p.Name)).
			WithPublishNotReadyAddresses(false).
			WithPorts(servicePorts(&p.Spec)...).
			WithPorts(corev1ac.ServicePort().WithName(portMetrics).WithPort(*p.Spec.Observability.MetricsPort).
				WithProtocol(corev1.ProtocolTCP).WithTargetPort(intstr.FromString(portMetrics))))
}

// clientServiceName is the name of the Service with one address for all pods.
func clientServiceName(pipeline string) string { return pipeline + "-client" }

// clientService has one address, for clients that know nothing of pods.
func clientService(p *v1alpha1.Pipeline) object {
	return corev1ac.Service(clientServiceName(p.Name), p.Namespace).WithLabels(childLabels(p.Name)).WithOwnerReferences(owner(p)).
		WithSpec(corev1ac.ServiceSpec().WithType(corev1.ServiceTypeClusterIP).WithSelector(selector(p.Name)).
			WithPorts(servicePorts(&p.Spec)...))
}

func servicePorts(spec *v1alpha1.PipelineSpec) []*corev1ac.ServicePortApplyConfiguration {
	port := func(name string, n int32) *corev1ac.ServicePortApplyConfiguration {
		return corev1ac.ServicePort().WithName(name).WithPort(n).WithProtocol(corev1.ProtocolTCP).WithTargetPort(intstr.FromString(name))
	}
	return []*corev1ac.ServicePortApplyConfiguration{
		port(portRSocket, *spec.Ingress.RSocket.Port).WithAppProtocol("rsocket"),
		port(portHTTP, *spec.Ingress.HTTP.Port).WithAppProtocol("http"),
	}
}

// disruptionBudget lets nodes be drained one pod at a time; one that is not ready holds up nobody.
func disruptionBudget(p *v1alpha1.Pipeline) object {
	return policyv1ac.PodDisruptionBudget(p.Name, p.Namespace).WithLabels(childLabels(p.Name)).WithOwnerReferences(owner(p)).
		WithSpec(policyv1ac.PodDisruptionBudgetSpec().WithMaxUnavailable(intstr.FromInt32(1)).
			WithUnhealthyPodEvictionPolicy(policyv1.AlwaysAllow).
			WithSelector(metav1ac.LabelSelector().WithMatchLabels(selector(p.Name))))
}

// deployment runs the pods. They are replaced one by one, each when its successor takes events.
func deployment(s *snapshot, image, first, config string) object {
	p := s.effect
	return appsv1ac.Deployment(p.Name, p.Namespace).WithLabels(childLabels(p.Name)).WithOwnerReferences(owner(p)).
		WithAnnotations(map[string]string{annotationImage: first}).
		WithSpec(appsv1ac.DeploymentSpec().WithReplicas(s.replicas()).
			WithRevisionHistoryLimit(3).
			WithStrategy(appsv1ac.DeploymentStrategy().WithType(appsv1.RollingUpdateDeploymentStrategyType).
				WithRollingUpdate(appsv1ac.RollingUpdateDeployment().WithMaxSurge(intstr.FromInt32(1)).WithMaxUnavailable(intstr.FromInt32(0)))).
			WithSelector(metav1ac.LabelSelector().WithMatchLabels(selector(p.Name))).
			WithTemplate(podTemplate(p, image, config)))
}
