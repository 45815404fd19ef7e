package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// PipelineStatus is what a cluster saw of the pipeline.
type PipelineStatus struct {
	// The metadata.generation that this status speaks of.
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Where the pipeline is, in one word, for people; programs read conditions.
	// +optional
	Phase Phase `json:"phase,omitempty"`

	// Pods that there are.
	// +optional
	Replicas int32 `json:"replicas,omitempty"`

	// Pods that take events.
	// +optional
	ReadyReplicas int32 `json:"readyReplicas,omitempty"`

	// Pods that take events and pods that there should be, such as 2/3.
	// +optional
	Pods string `json:"pods,omitempty"`

	// Label selector of the pods, for the scale subresource.
	// +optional
	Selector string `json:"selector,omitempty"`

	// Records taken in a second, by all pods. At most 15 s old; not set before a pod has reported.
	// +optional
	RecordsPerSecond *int64 `json:"recordsPerSecond,omitempty"`

	// Newest version of the table that a pod has committed or read; not set before the table exists. At most 15 s old.
	// +optional
	TableVersion *int64 `json:"tableVersion,omitempty"`

	// The stage that limits the flow: producers, write or commit. At most 15 s old.
	// +optional
	LimitedBy string `json:"limitedBy,omitempty"`

	// The image of the pods.
	// +optional
	Image string `json:"image,omitempty"`

	// The latest observations, one for each type: Ready, Accepted, StorageReachable, TableCompatible, Ingesting, and Stalled while the
	// spec is refused.
	// +optional
	// +listType=map
	// +listMapKey=type
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Phase is where a pipeline is.
type Phase string

// The phases.
const (
	PhasePending    Phase = "Pending"    // pods are starting
	PhaseRunning    Phase = "Running"    // every pod takes events
	PhaseRollingOut Phase = "RollingOut" // pods are replaced after a change; the others take events
	PhaseDegraded   Phase = "Degraded"   // some pods take events, others cannot, or commits fail
	PhaseBlocked    Phase = "Blocked"    // no pod takes events
	PhaseSuspended  Phase = "Suspended"  // paused by a policy of its own
	PhaseRefused    Phase = "Refused"    // the spec is not accepted
	PhaseStopped    Phase = "Stopped"    // replicas is 0
)

// The types of conditions. Each but Stalled is True when all is well.
const (
	// ConditionReady sums up the others: the spec as it is now runs in every pod.
	ConditionReady = "Ready"
	// ConditionAccepted says whether the operator can do what the spec asks for.
	ConditionAccepted = "Accepted"
	// ConditionStorageReachable says whether the pods can write to the table's store and put-if-absent works there.
	ConditionStorageReachable = "StorageReachable"
	// ConditionTableCompatible says whether the pods can write to the table that is there.
	ConditionTableCompatible = "TableCompatible"
	// ConditionIngesting says whether events are taken and commits succeed.
	ConditionIngesting = "Ingesting"
	// ConditionStalled is True while nothing goes on before the spec is changed, and is there only then: kstatus fails at it.
	ConditionStalled = "Stalled"
)
