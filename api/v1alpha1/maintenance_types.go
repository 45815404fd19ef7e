package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// MaintenanceSpec says how weir looks after the table while it writes to it.
type MaintenanceSpec struct {
	// Whether small files are packed into larger ones, so that the table stays fast to read. Rows and readers are not
	// affected; the old files stay until they are vacuumed. Default true.
	// +optional
	// +default=true
	Compact *bool `json:"compact,omitempty"`

	// Size of a packed file in bytes, 1Mi to 4Gi. Default: the table's property delta.targetFileSize, or 128Mi without one.
	// +optional
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('1Mi')) >= 0 && quantity(string(self)).compareTo(quantity('4Gi')) <= 0",message="1Mi to 4Gi"
	TargetFileSize *resource.Quantity `json:"targetFileSize,omitempty"`

	// Columns along whose Z-order curve rows are sorted while they are packed, so that queries by any of them skip files; at
	// most 8, none of partitionBy. Default none: rows keep their order.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, b == a))",message="each column once"
	ZOrderBy []string `json:"zOrderBy,omitempty"`

	// Whether data files that the table has not used for its retention are deleted, once a day. The retention is the table's
	// property delta.deletedFileRetentionDuration, a week without one; versions older than that can no longer be read.
	// Default true.
	// +optional
	// +default=true
	Vacuum *bool `json:"vacuum,omitempty"`

	// Whether entries of the table's log are deleted, once an hour, that are older than its property
	// delta.logRetentionDuration, 30 days without one, and that no newer version needs. Default true.
	// +optional
	// +default=true
	CleanLog *bool `json:"cleanLog,omitempty"`

	// Time between two looks at the table, a duration such as 30s or 5m; 1s to 24h. Default 1m.
	// +optional
	// +default="1m0s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=duration
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="1s to 24h"
	Interval *metav1.Duration `json:"interval,omitempty"`

	// How much of one processor maintenance may take while there is some to do, in percent, 1 to 100. Default 25.
	// +optional
	// +default=25
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	CPUPercent *int32 `json:"cpuPercent,omitempty"`
}
