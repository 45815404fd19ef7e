package v1alpha1

// TransformStep changes the columns between events and table. Exactly one of its fields is set.
//
// +kubebuilder:validation:XValidation:rule="[has(self.set), has(self.filter), has(self.drop), has(self.rename), has(self.flatten), has(self.mask), has(self.derive), has(self.route)].filter(x, x).size() == 1",message="a step does one thing: set exactly one of set, filter, drop, rename, flatten, mask, derive, route"
type TransformStep struct {
	// Sets a column to the value of an expression.
	// +optional
	Set *SetStep `json:"set,omitempty"`

	// Keeps the events for which this CEL expression is true. It leaves out the others, and those for which it is null; they
	// count as filtered.
	// +optional
	// +kubebuilder:validation:MaxLength=8192
	Filter string `json:"filter,omitempty"`

	// Leaves these columns out.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=255
	Drop []string `json:"drop,omitempty"`

	// Gives a column another name.
	// +optional
	Rename *RenameStep `json:"rename,omitempty"`

	// Makes columns of the fields of a struct.
	// +optional
	Flatten *FlattenStep `json:"flatten,omitempty"`

	// Hides the values of columns.
	// +optional
	Mask *MaskStep `json:"mask,omitempty"`

	// Makes a column with a part of a time, to partition by.
	// +optional
	Derive *DeriveStep `json:"derive,omitempty"`

	// Sends events another way than to the table.
	// +optional
	Route *RouteStep `json:"route,omitempty"`
}

// SetStep sets a column to the value of an expression.
type SetStep struct {
	// Name of the column. One that is there is replaced.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Column string `json:"column"`

	// A CEL expression over the columns by name, such as price * double(quantity). When it fails because a column is null
	// its value is null.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=8192
	Value string `json:"value"`

	// Type of the column: boolean, integer, long, double, string, timestamp, date or binary. Default: that of the expression,
	// or of its first value if that cannot be told.
	// +optional
	Type SetType `json:"type,omitempty"`
}

// SetType is a type of a column that a step makes.
//
// +kubebuilder:validation:Enum=boolean;integer;long;double;string;timestamp;date;binary
type SetType string

// RenameStep gives a column another name.
type RenameStep struct {
	// Its name so far.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	From string `json:"from"`

	// Its new name. A column that has this name already gets _2 appended to its own.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	To string `json:"to"`
}

// FlattenStep makes columns of the fields of a struct.
type FlattenStep struct {
	// Name of the struct column. Structs in it are flattened too.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Column string `json:"column"`

	// What stands between the names. Default "_".
	// +optional
	// +default="_"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=8
	Separator string `json:"separator,omitempty"`
}

// MaskStep hides the values of columns, in _rescued too.
type MaskStep struct {
	// Names of the columns. They become strings.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=256
	// +kubebuilder:validation:items:MaxLength=255
	Columns []string `json:"columns"`

	// Redact (the default) puts *** in place of a value. Hash puts the SHA-256 of its text there, in hexadecimal: equal
	// values stay equal.
	// +optional
	// +default="Redact"
	Method MaskMethod `json:"method,omitempty"`

	// Text that goes into every hash (HMAC-SHA-256), so that tables of hashes made elsewhere do not match. Default none.
	// +optional
	// +kubebuilder:validation:MaxLength=255
	Salt string `json:"salt,omitempty"`
}

// MaskMethod is a way to hide values.
//
// +kubebuilder:validation:Enum=Redact;Hash
type MaskMethod string

// The methods.
const (
	MaskRedact MaskMethod = "Redact"
	MaskHash   MaskMethod = "Hash"
)

// DeriveStep makes a column with a part of a time.
type DeriveStep struct {
	// Name of the new column.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	Column string `json:"column"`

	// Name of a column of type timestamp or date.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	From string `json:"from"`

	// Date (the default) makes a column of type date, Hour one of integers from 0 to 23, both in UTC.
	// +optional
	// +default="Date"
	Part TimePart `json:"part,omitempty"`
}

// TimePart is a part of a time.
//
// +kubebuilder:validation:Enum=Date;Hour
type TimePart string

// The parts.
const (
	TimePartDate TimePart = "Date"
	TimePartHour TimePart = "Hour"
)

// RouteStep sends events another way than to the table.
type RouteStep struct {
	// A CEL expression; the events for which it is true take the way.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=8192
	When string `json:"when"`

	// Where to. Reject (the default, and the only way so far) refuses the event and tells its producer.
	// +optional
	// +default="Reject"
	To RouteTarget `json:"to,omitempty"`

	// What the producer is told. Default: the expression.
	// +optional
	// +kubebuilder:validation:MaxLength=200
	Reason string `json:"reason,omitempty"`
}

// RouteTarget is a way that events can take.
//
// +kubebuilder:validation:Enum=Reject
type RouteTarget string

// RouteReject refuses events.
const RouteReject RouteTarget = "Reject"

// TransformErrorPolicy says what happens to an event for which a step fails.
//
// +kubebuilder:validation:Enum=Rescue;Reject;Suspend
type TransformErrorPolicy string

// The policies for errors.
const (
	TransformErrorRescue  TransformErrorPolicy = "Rescue"
	TransformErrorReject  TransformErrorPolicy = "Reject"
	TransformErrorSuspend TransformErrorPolicy = "Suspend"
)
