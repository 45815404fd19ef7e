package v1alpha1

import (
	"maps"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The bounds of what a cluster looks at.
const (
	maxReplicas  = 1000
	maxObject    = 253 // characters of the name of an object in a cluster
	maxImage     = 512
	maxEnvValue  = 32 << 10
	maxMountPath = 1024
	maxPairs     = 64
	configDir    = "/etc/weir" // where pods see their Pipeline
)

func validateCluster(s *PipelineSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Replicas != nil {
		errs = appendBad(errs, between(s.Replicas, 0, maxReplicas, at.Child("replicas")))
	}
	errs = appendBad(errs, between(s.Scaling.Min, 1, maxReplicas, at.Child("scaling", "min")))
	return append(errs, validateTemplate(&s.Template, at.Child("template"))...)
}

func validateTemplate(t *TemplateSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	errs = appendBad(errs, notLonger(t.Image, maxImage, at.Child("image")))
	if t.ImagePullPolicy != "" {
		errs = appendBad(errs, oneOf(t.ImagePullPolicy, at.Child("imagePullPolicy"), PullAlways, PullIfNotPresent, PullNever))
	}
	errs = append(errs, list(t.ImagePullSecrets, 16, at.Child("imagePullSecrets"), func(r *LocalReference) string { return r.Name },
		func(r *LocalReference, at *field.Path) field.ErrorList { return named(r.Name, at.Child("name")) })...)
	errs = append(errs, list(t.Env, 64, at.Child("env"), func(e *EnvVar) string { return e.Name }, validateEnv)...)
	errs = append(errs, list(t.EnvFrom, 16, at.Child("envFrom"), nil, validateEnvFrom)...)
	errs = append(errs, list(t.Volumes, 8, at.Child("volumes"), func(v *Volume) string { return v.Name }, validateVolume)...)
	errs = append(errs, list(t.Tolerations, 32, at.Child("tolerations"), nil, validateToleration)...)
	errs = appendBad(errs, notLonger(t.ServiceAccountName, maxObject, at.Child("serviceAccountName")))
	errs = appendBad(errs, notLonger(t.PriorityClassName, maxObject, at.Child("priorityClassName")))
	errs = append(errs, ownKeys(t.Labels, at.Child("labels"), "labels", "weir.dev/", "app.kubernetes.io/")...)
	errs = append(errs, ownKeys(t.Annotations, at.Child("annotations"), "annotations", "weir.dev/")...)
	if len(t.NodeSelector) > maxPairs {
		errs = append(errs, field.TooMany(at.Child("nodeSelector"), len(t.NodeSelector), maxPairs))
	}
	return errs
}

// list checks a list: how many there are, that each key is there once, and each element.
func list[T any](all []T, most int, at *field.Path, key func(*T) string, check func(*T, *field.Path) field.ErrorList) field.ErrorList {
	var errs field.ErrorList
	if len(all) > most {
		errs = append(errs, field.TooMany(at, len(all), most))
	}
	seen := map[string]bool{}
	for i := range all {
		errs = append(errs, check(&all[i], at.Index(i))...)
		if key == nil {
			continue
		}
		if k := key(&all[i]); seen[k] {
			errs = append(errs, field.Duplicate(at.Index(i), k))
		} else {
			seen[k] = true
		}
	}
	return errs
}

func notLonger(s string, most int, at *field.Path) *field.Error {
	if len(s) > most {
		return field.TooLong(at, s, most)
	}
	return nil
}

// named wants the name of an object.
func named(name string, at *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(at, "the name of an object in the pipeline's namespace")}
	}
	return appendBad(nil, notLonger(name, maxObject, at))
}

func validateEnv(e *EnvVar, at *field.Path) field.ErrorList {
	errs := named(e.Name, at.Child("name"))
	if strings.HasPrefix(e.Name, "WEIR_") {
		errs = append(errs, field.Invalid(at.Child("name"), e.Name, "begins with WEIR_, as weir's own variables do: use another name"))
	}
	errs = appendBad(errs, notLonger(e.Value, maxEnvValue, at.Child("value")))
	from := e.ValueFrom
	if from == nil {
		return errs
	}
	if e.Value != "" {
		errs = append(errs, field.Invalid(at, e.Name, "has value and valueFrom: set one of them"))
	}
	if (from.SecretKeyRef != nil) == (from.ConfigMapKeyRef != nil) {
		return append(errs, field.Invalid(at.Child("valueFrom"), e.Name, "comes from one place: set secretKeyRef or configMapKeyRef"))
	}
	for name, ref := range map[string]*KeyReference{"secretKeyRef": from.SecretKeyRef, "configMapKeyRef": from.ConfigMapKeyRef} {
		if ref != nil {
			errs = append(errs, named(ref.Name, at.Child("valueFrom", name, "name"))...)
			errs = append(errs, named(ref.Key, at.Child("valueFrom", name, "key"))...)
		}
	}
	return errs
}

func validateEnvFrom(e *EnvSource, at *field.Path) field.ErrorList {
	errs := appendBad(nil, notLonger(e.Prefix, maxObject, at.Child("prefix")))
	if (e.SecretRef != nil) == (e.ConfigMapRef != nil) {
		return append(errs, field.Invalid(at, e.Prefix, "comes from one place: set secretRef or configMapRef"))
	}
	for name, ref := range map[string]*LocalReference{"secretRef": e.SecretRef, "configMapRef": e.ConfigMapRef} {
		if ref != nil {
			errs = append(errs, named(ref.Name, at.Child(name, "name"))...)
		}
	}
	return errs
}

var volumeName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$`)

func validateVolume(v *Volume, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if !volumeName.MatchString(v.Name) || v.Name == "pipeline" || v.Name == "tmp" {
		errs = append(errs, field.Invalid(at.Child("name"), v.Name, "must be lower-case letters, digits and '-' in between, at most 63, and neither pipeline nor tmp"))
	}
	p := v.MountPath
	if len(p) < 2 || len(p) > maxMountPath || !strings.HasPrefix(p, "/") || strings.Contains(p, ":") || p == configDir {
		errs = append(errs, field.Invalid(at.Child("mountPath"), p, "must begin with /, hold no colon and not be /etc/weir"))
	}
	switch claim, files := v.PersistentVolumeClaim, v.ConfigMap; {
	case (claim == nil) == (files == nil):
		errs = append(errs, field.Invalid(at, v.Name, "set exactly one of persistentVolumeClaim and configMap"))
	case claim != nil:
		errs = append(errs, named(claim.ClaimName, at.Child("persistentVolumeClaim", "claimName"))...)
	default:
		errs = append(errs, named(files.Name, at.Child("configMap", "name"))...)
	}
	return errs
}

func validateToleration(t *Toleration, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if t.Operator != "" {
		errs = appendBad(errs, oneOf(t.Operator, at.Child("operator"), TolerationEqual, TolerationExists))
	}
	if t.Effect != "" {
		errs = appendBad(errs, oneOf(t.Effect, at.Child("effect"), TaintNoSchedule, TaintPreferNoSchedule, TaintNoExecute))
	}
	switch exists := t.Operator == TolerationExists; {
	case exists && t.Value != "":
		errs = append(errs, field.Invalid(at, t.Value, "operator Exists takes no value: remove value, or use Equal"))
	case !exists && t.Key == "":
		errs = append(errs, field.Invalid(at, t.Value, "a toleration without key needs operator Exists"))
	}
	if t.TolerationSeconds != nil && t.Effect != TaintNoExecute {
		errs = append(errs, field.Invalid(at, *t.TolerationSeconds, "tolerationSeconds needs effect NoExecute"))
	}
	return errs
}

// ownKeys refuses keys that begin as weir's own do.
func ownKeys(pairs map[string]string, at *field.Path, what string, own ...string) field.ErrorList {
	if len(pairs) > maxPairs {
		return field.ErrorList{field.TooMany(at, len(pairs), maxPairs)}
	}
	for _, k := range slices.Sorted(maps.Keys(pairs)) {
		for _, prefix := range own {
			if strings.HasPrefix(k, prefix) {
				return field.ErrorList{field.Invalid(at, k, what+" that begin with "+prefix+" are weir's own: use other names")}
			}
		}
	}
	return nil
}
