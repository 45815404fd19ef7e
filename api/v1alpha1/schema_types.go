package v1alpha1

// ColumnSpec declares a column before any event had it.
//
// +kubebuilder:validation:XValidation:rule="!has(self.unit) || self.type == 'timestamp'",message="unit is for columns of type timestamp",fieldPath=".unit"
type ColumnSpec struct {
	// Name of the field in events, and of the column. Readers ignore case.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Name string `json:"name"`

	// Type: long, integer, short, byte, double, float, decimal(p,s), string, boolean, timestamp (RFC 3339 with a zone),
	// timestamp_ntz, date, binary (base64), json (any value, kept as text), array<TYPE>, map<KEY, TYPE> or
	// struct<NAME: TYPE [not null] [comment 'TEXT'], ...>. Inside of another type a timestamp may be followed by unit s, ms
	// or us.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=65536
	Type string `json:"type"`

	// Whether the column is NOT NULL: an event without a value for it is refused. Default false.
	// +optional
	Required bool `json:"required,omitempty"`

	// What the column holds, for readers of the table. Default none.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Comment string `json:"comment,omitempty"`

	// Unit of a timestamp that comes as a number since 1970: s, ms or us. Times as text are read all the same. Default none:
	// a number is no timestamp.
	// +optional
	Unit TimeUnit `json:"unit,omitempty"`
}

// TimeUnit is the unit of a time that comes as a number.
//
// +kubebuilder:validation:Enum=s;ms;us
type TimeUnit string

// The units.
const (
	TimeUnitSeconds      TimeUnit = "s"
	TimeUnitMilliseconds TimeUnit = "ms"
	TimeUnitMicroseconds TimeUnit = "us"
)

// UnknownPolicy says what happens to a field that is no column.
//
// +kubebuilder:validation:Enum=AddColumns;Rescue;Drop;Reject;Suspend
type UnknownPolicy string

// The policies for unknown fields.
const (
	UnknownAddColumns UnknownPolicy = "AddColumns"
	UnknownRescue     UnknownPolicy = "Rescue"
	UnknownDrop       UnknownPolicy = "Drop"
	UnknownReject     UnknownPolicy = "Reject"
	UnknownSuspend    UnknownPolicy = "Suspend"
)
