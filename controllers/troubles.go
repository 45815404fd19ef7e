package controllers

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// trouble is what keeps a pod from running, in words that tell what to do.
type trouble struct{ reason, message string }

// troubles finds the first thing that keeps pods from being made or from running, as the cluster tells it about them. The
// operator cannot read Secrets or registries itself, and need not.
func (s *snapshot) troubles() *trouble {
	for i := range s.pods {
		if p := &s.pods[i]; p.DeletionTimestamp.IsZero() && !podReady(p) {
			if t := s.podTrouble(p); t != nil {
				return t
			}
		}
	}
	if s.deployment == nil {
		return nil
	}
	for _, c := range s.deployment.Status.Conditions {
		if c.Type == appsv1.DeploymentReplicaFailure && c.Status == corev1.ConditionTrue {
			return &trouble{"PodsRefused", "the cluster refuses pods: " + c.Message}
		}
	}
	return nil
}

func (s *snapshot) podTrouble(p *corev1.Pod) *trouble {
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse && c.Reason == corev1.PodReasonUnschedulable {
			return &trouble{"Unschedulable", "no node takes a pod: " + c.Message + ": see spec.template (resources, nodeSelector, tolerations, volumes)"}
		}
	}
	for _, c := range p.Status.ContainerStatuses {
		if c.State.Waiting != nil {
			if t := s.waiting(&c); t != nil {
				return t
			}
		}
		if ended := c.State.Terminated; ended != nil {
			return ending(ended)
		}
	}
	return nil
}

func (s *snapshot) waiting(c *corev1.ContainerStatus) *trouble {
	w := c.State.Waiting
	switch w.Reason {
	case "ContainerCreating", "PodInitializing", "":
		return s.notMounted()
	case "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError", "RegistryUnavailable":
		return &trouble{"ImageNotPulled", s.imageMessage(c.Image, w.Message)}
	case "CreateContainerConfigError":
		return s.missing(w.Message)
	case "CrashLoopBackOff":
		if c.LastTerminationState.Terminated != nil {
			return ending(c.LastTerminationState.Terminated)
		}
	}
	return &trouble{w.Reason, w.Message}
}

// creating says whether a container waits for something before its image is run, for volumes for one.
func creating(p *corev1.Pod) bool {
	return slices.ContainsFunc(p.Status.ContainerStatuses, func(c corev1.ContainerStatus) bool {
		return c.State.Waiting != nil && c.State.Waiting.Reason == "ContainerCreating"
	})
}

// lacking finds the ConfigMaps of volumes that are not there, once a pod may wait for them: the kubelet tells of that by events
// alone. Whether one is there is asked of the API server, because the cache holds only what is ours.
func (r *reconciler) lacking(ctx context.Context, s *snapshot) ([]string, error) {
	if !slices.ContainsFunc(s.pods, func(p corev1.Pod) bool { return creating(&p) }) {
		return nil, nil
	}
	var names []string
	for _, v := range s.effect.Spec.Template.Volumes {
		if v.ConfigMap == nil {
			continue
		}
		list := &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMapList"}}
		if err := r.live.List(ctx, list, client.InNamespace(s.pipeline.Namespace), client.MatchingFields{"metadata.name": v.ConfigMap.Name}); err != nil {
			return nil, fmt.Errorf("look for ConfigMap %s: %w", v.ConfigMap.Name, err)
		}
		if len(list.Items) == 0 {
			names = append(names, v.ConfigMap.Name)
		}
	}
	return names, nil
}

// notMounted names a ConfigMap that pods wait for.
func (s *snapshot) notMounted() *trouble {
	if len(s.lacking) == 0 {
		return nil
	}
	return s.notThere("ConfigMap", s.lacking[0])
}

func (s *snapshot) notThere(kind, name string) *trouble {
	return &trouble{"Missing" + kind, fmt.Sprintf("%s %s is not in namespace %s: make it, or mend %s", kind, name, s.pipeline.Namespace, s.uses(name))}
}

// backOff is what the kubelet says first while it waits to pull again; without it the text stays the same.
var backOff = regexp.MustCompile(`^Back-off pulling image "[^"]*"(: ErrImagePull)?:? ?`)

func (s *snapshot) imageMessage(image, why string) string {
	why = backOff.ReplaceAllString(why, "")
	message := fmt.Sprintf("image %s cannot be pulled", image)
	if why != "" {
		message += ": " + why
	}
	if s.effect.Spec.Template.Image == "" {
		return message + ": set spec.template.image, which is the operator's image now, or spec.template.imagePullSecrets"
	}
	return message + ": mend spec.template.image, or set spec.template.imagePullSecrets"
}

var (
	missingObject = regexp.MustCompile(`(?i)\b(secret|configmap) "([^"]+)" not found`)
	missingKey    = regexp.MustCompile(`(?i)couldn't find key (\S+) in (secret|configmap) \S+/(\S+)`)
)

// missing names the Secret or ConfigMap, or the key in it, that a pod waits for, and the fields that ask for it.
func (s *snapshot) missing(message string) *trouble {
	kinds := map[string]string{"secret": "Secret", "configmap": "ConfigMap"}
	ns := s.pipeline.Namespace
	if m := missingObject.FindStringSubmatch(message); m != nil {
		return s.notThere(kinds[strings.ToLower(m[1])], m[2])
	}
	if m := missingKey.FindStringSubmatch(message); m != nil {
		kind := kinds[strings.ToLower(m[2])]
		return &trouble{"Missing" + kind, fmt.Sprintf("%s %s in namespace %s has no key %s: add it, or mend %s", kind, m[3], ns, m[1], s.uses(m[3]))}
	}
	return &trouble{"CreateContainerConfigError", message}
}

func (s *snapshot) uses(name string) string {
	uses := secretUses(s.effect, name)
	if len(uses) == 0 {
		return "spec.template"
	}
	return strings.Join(uses, " and ")
}

// maxLastWords bounds what is repeated of a process's last words, in bytes.
const maxLastWords = 512

func ending(t *corev1.ContainerStateTerminated) *trouble {
	if t.Reason == "OOMKilled" {
		return &trouble{"OutOfMemory", "a pod was killed because it took more memory than it may: raise spec.template.resources.limits.memory, or lower spec.flow.memory"}
	}
	words := strings.TrimSpace(t.Message)
	if len(words) > maxLastWords {
		words = strings.ToValidUTF8(words[len(words)-maxLastWords:], "")
	}
	if words == "" {
		words = "it said nothing"
	}
	return &trouble{"PodsCrash", fmt.Sprintf("a pod ended with code %d: %s", t.ExitCode, words)}
}
