package v1alpha1

import "k8s.io/apimachinery/pkg/api/resource"

// ScalingSpec says how many pods take events. Only a cluster looks at it.
type ScalingSpec struct {
	// Pods while replicas is not set, 1 to 1000. Default 1.
	// +optional
	// +default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Min *int32 `json:"min,omitempty"`
}

// TemplateSpec is what the pods of the pipeline have that others may not need. Only a cluster looks at it. A change
// replaces the pods one by one.
type TemplateSpec struct {
	// Image of the pods, such as ghcr.io/weir-dev/weir:v0.1.0. Default: the one that the operator was told when it made the
	// pods first; a later operator does not change it, so that its upgrade restarts nothing.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image,omitempty"`

	// When nodes pull the image: Always, IfNotPresent or Never. Default: what the cluster makes of the image's tag.
	// +optional
	ImagePullPolicy ImagePullPolicy `json:"imagePullPolicy,omitempty"`

	// Secrets of the namespace with credentials for the image's registry. Default none.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	ImagePullSecrets []LocalReference `json:"imagePullSecrets,omitempty"`

	// CPU and memory of a pod. Default: 100m of CPU requested; memory requested and limited to flow.memory, a quarter more
	// and 64Mi.
	// +optional
	Resources *Resources `json:"resources,omitempty"`

	// Environment of the pods. Default none.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Env []EnvVar `json:"env,omitempty"`

	// Secrets and ConfigMaps whose keys become environment of the pods. Default none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	EnvFrom []EnvSource `json:"envFrom,omitempty"`

	// What the pods mount: a PersistentVolumeClaim for a table in a directory that all of them share, a ConfigMap with the
	// schemas of schema.format. Default none.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	Volumes []Volume `json:"volumes,omitempty"`

	// ServiceAccount of the pods, for identities that a cloud ties to it. Default: the pipeline's own, which has no rights.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServiceAccountName string `json:"serviceAccountName,omitempty"`

	// Labels of the pods, besides weir's own. Default none.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('weir.dev/') && !k.startsWith('app.kubernetes.io/'))",message="labels that begin with weir.dev/ or app.kubernetes.io/ are weir's own: use other names"
	Labels map[string]string `json:"labels,omitempty"`

	// Annotations of the pods, besides weir's own. Default none.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(k, !k.startsWith('weir.dev/'))",message="annotations that begin with weir.dev/ are weir's own: use other names"
	Annotations map[string]string `json:"annotations,omitempty"`

	// Labels that a node must have. Default none.
	// +optional
	// +kubebuilder:validation:MaxProperties=64
	NodeSelector map[string]string `json:"nodeSelector,omitempty"`

	// Taints of nodes that do not keep the pods away. Default none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Tolerations []Toleration `json:"tolerations,omitempty"`

	// PriorityClass of the pods. Default: the cluster's.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	PriorityClassName string `json:"priorityClassName,omitempty"`
}

// ImagePullPolicy says when nodes pull an image.
//
// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
type ImagePullPolicy string

// The pull policies.
const (
	PullAlways       ImagePullPolicy = "Always"
	PullIfNotPresent ImagePullPolicy = "IfNotPresent"
	PullNever        ImagePullPolicy = "Never"
)

// LocalReference names an object of the pipeline's namespace.
type LocalReference struct {
	// Name of the object.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
}

// Resources are those of a pod.
type Resources struct {
	// The least that a node must have free, by resource, such as {cpu: 500m, memory: 512Mi}. Default: what limits says.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	Requests map[string]resource.Quantity `json:"requests,omitempty"`

	// The most that a pod may take, by resource. Memory below flow.memory gets it killed under load. Default none.
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	Limits map[string]resource.Quantity `json:"limits,omitempty"`
}

// EnvVar is a variable of the environment.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.value) && has(self.valueFrom))",message="a variable has one value: set value or valueFrom"
type EnvVar struct {
	// Name of the variable. Those that begin with WEIR_ are weir's own.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="!self.startsWith('WEIR_')",message="variables that begin with WEIR_ are weir's own: use another name"
	Name string `json:"name"`

	// Value of the variable. Default empty.
	// +optional
	// +kubebuilder:validation:MaxLength=32768
	Value string `json:"value,omitempty"`

	// Where the value comes from. Default: from value.
	// +optional
	ValueFrom *EnvValueSource `json:"valueFrom,omitempty"`
}

// EnvValueSource is where the value of a variable comes from.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretKeyRef) != has(self.configMapKeyRef)",message="a value comes from one place: set secretKeyRef or configMapKeyRef"
type EnvValueSource struct {
	// A key of a Secret of the namespace.
	// +optional
	SecretKeyRef *KeyReference `json:"secretKeyRef,omitempty"`

	// A key of a ConfigMap of the namespace.
	// +optional
	ConfigMapKeyRef *KeyReference `json:"configMapKeyRef,omitempty"`
}

// KeyReference names a key of a Secret or ConfigMap.
type KeyReference struct {
	// Name of the Secret or ConfigMap.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`

	// Key in it.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}

// EnvSource is a Secret or ConfigMap all of whose keys become environment.
//
// +kubebuilder:validation:XValidation:rule="has(self.secretRef) != has(self.configMapRef)",message="environment comes from one place: set secretRef or configMapRef"
type EnvSource struct {
	// Text before each key. Default none.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Prefix string `json:"prefix,omitempty"`

	// A Secret of the namespace.
	// +optional
	SecretRef *LocalReference `json:"secretRef,omitempty"`

	// A ConfigMap of the namespace.
	// +optional
	ConfigMapRef *LocalReference `json:"configMapRef,omitempty"`
}

// Volume is a PersistentVolumeClaim or a ConfigMap in the pods.
//
// +kubebuilder:validation:XValidation:rule="has(self.persistentVolumeClaim) != has(self.configMap)",message="set exactly one of persistentVolumeClaim and configMap"
type Volume struct {
	// Name of the volume in the pod: lower-case letters, digits and '-' in between.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$') && self != 'pipeline' && self != 'tmp'",message="a volume's name is lower-case letters, digits and '-' in between, and neither pipeline nor tmp"
	Name string `json:"name"`

	// Directory where the pods see it. One at /tmp takes the place of the pods' own directory for temporary files.
	// +required
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:XValidation:rule="self.startsWith('/') && !self.contains(':') && self != '/etc/weir'",message="mountPath begins with /, holds no colon and is not /etc/weir"
	MountPath string `json:"mountPath"`

	// The claim, in the pipeline's namespace. With more than one pod it must be one that many nodes can write to.
	// +optional
	PersistentVolumeClaim *ClaimReference `json:"persistentVolumeClaim,omitempty"`

	// A ConfigMap of the pipeline's namespace, each of its keys a file in mountPath, such as a descriptor set under binaryData
	// that schema.format.protobuf.file names. Read when a pod starts: for another content, name another ConfigMap.
	// +optional
	ConfigMap *LocalReference `json:"configMap,omitempty"`
}

// ClaimReference names a PersistentVolumeClaim.
type ClaimReference struct {
	// Name of the claim.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	ClaimName string `json:"claimName"`
}

// Toleration lets pods onto nodes with a taint.
//
// +kubebuilder:validation:XValidation:rule="self.?operator.orValue('Equal') != 'Exists' || !has(self.value)",message="operator Exists takes no value: remove value, or use Equal"
// +kubebuilder:validation:XValidation:rule="has(self.key) || self.?operator.orValue('Equal') == 'Exists'",message="a toleration without key needs operator Exists"
// +kubebuilder:validation:XValidation:rule="!has(self.tolerationSeconds) || has(self.effect) && self.effect == 'NoExecute'",message="tolerationSeconds needs effect NoExecute"
type Toleration struct {
	// Key of the taint. Default: any, with operator Exists.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=316
	Key string `json:"key,omitempty"`

	// Equal, or Exists for any value. Default: Equal.
	// +optional
	Operator TolerationOperator `json:"operator,omitempty"`

	// Value of the taint. Default: empty.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Value string `json:"value,omitempty"`

	// Effect of the taint: NoSchedule, PreferNoSchedule or NoExecute. Default: every one.
	// +optional
	Effect TaintEffect `json:"effect,omitempty"`

	// Seconds that a pod stays after the taint came, for the effect NoExecute. Default: for ever.
	// +optional
	TolerationSeconds *int64 `json:"tolerationSeconds,omitempty"`
}

// TolerationOperator compares a taint.
//
// +kubebuilder:validation:Enum=Equal;Exists
type TolerationOperator string

// The operators.
const (
	TolerationEqual  TolerationOperator = "Equal"
	TolerationExists TolerationOperator = "Exists"
)

// TaintEffect is what a taint does to pods.
//
// +kubebuilder:validation:Enum=NoSchedule;PreferNoSchedule;NoExecute
type TaintEffect string

// The effects.
const (
	TaintNoSchedule       TaintEffect = "NoSchedule"
	TaintPreferNoSchedule TaintEffect = "PreferNoSchedule"
	TaintNoExecute        TaintEffect = "NoExecute"
)
