package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SinkMode says how events get into the table.
//
// +kubebuilder:validation:Enum=Append;Merge
type SinkMode string

// The modes.
const (
	SinkModeAppend SinkMode = "Append"
	SinkModeMerge  SinkMode = "Merge"
)

// IdentitySpec says which row of the table an event is about.
type IdentitySpec struct {
	// Columns that together name a row, 1 to 16. Their values are integers, strings, booleans, dates, timestamps or
	// decimals; an event without a value for one is refused.
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, b == a))",message="each column once"
	Key []string `json:"key"`

	// Column that orders the events of one row, such as a log position or a time of change: the event with the highest value
	// is the last, whenever it comes. Of equal ones the later arrival is. An event without a value is refused.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Sequence string `json:"sequence"`

	// What an event does to its row. Default: it takes the row's place, or makes one.
	// +optional
	Op *OpSpec `json:"op,omitempty"`
}

// OpSpec says which field of an event tells what it does. The field does not become a column of the table.
type OpSpec struct {
	// The field, at the top of the event. An event without it puts its row into the table.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Field string `json:"field"`

	// Values that put the row into the table, in the place of the one of the same key. Default c, r, u.
	// +optional
	// +listType=atomic
	// +default=["c","r","u"]
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=64
	Upsert []string `json:"upsert,omitempty"`

	// Values that delete the row. Any other value is refused. Default d.
	// +optional
	// +listType=atomic
	// +default=["d"]
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=64
	Delete []string `json:"delete,omitempty"`
}

// MergeSpec says how a table of mode Merge is kept.
type MergeSpec struct {
	// How long a delete is remembered, so that an older event which comes late does not bring the row back; a duration such
	// as 24h, 0s to 8760h. Default 168h.
	// +optional
	// +default="168h0m0s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=duration
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) <= duration('8760h')",message="0s to 8760h"
	TombstoneRetention *metav1.Duration `json:"tombstoneRetention,omitempty"`

	// Whether rows are marked as deleted (the table feature deletionVectors) instead of rewriting the files that hold them:
	// many times less is written, and only readers that know deletion vectors open the table. It cannot be taken back.
	// Default false.
	// +optional
	// +default=false
	DeletionVectors *bool `json:"deletionVectors,omitempty"`
}
