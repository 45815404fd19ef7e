package v1alpha1

import (
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:subresource:scale:specpath=.spec.replicas,statuspath=.status.replicas,selectorpath=.status.selector
// +kubebuilder:resource:path=pipelines,shortName=wpl,categories=weir,scope=Namespaced
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Phase",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Pods",type=string,JSONPath=`.status.pods`
// +kubebuilder:printcolumn:name="In/s",type=integer,JSONPath=`.status.recordsPerSecond`
// +kubebuilder:printcolumn:name="Version",type=integer,JSONPath=`.status.tableVersion`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:printcolumn:name="Mode",type=string,priority=1,JSONPath=`.spec.sink.delta.mode`
// +kubebuilder:printcolumn:name="URI",type=string,priority=1,JSONPath=`.spec.sink.delta.uri`
// +kubebuilder:printcolumn:name="Message",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:validation:XValidation:rule="self.metadata.name.size() <= 52",message="metadata.name has at most 52 characters, so that names made from it stay valid"
// +kubebuilder:validation:XValidation:rule="!self.metadata.name.contains('.')",message="metadata.name holds no dot: a route is the name, a dot and what to do"

// Pipeline takes events from producers and puts them into a table. The same file runs with weir run.
type Pipeline struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// What the pipeline does. Only sink is required.
	// +required
	Spec PipelineSpec `json:"spec"`

	// What a cluster saw of the pipeline; weir run ignores it.
	// +optional
	Status PipelineStatus `json:"status,omitempty,omitzero"`
}

// +kubebuilder:object:root=true

// PipelineList is a list of pipelines.
type PipelineList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []Pipeline `json:"items"`
}

// PipelineSpec says where events come in, what becomes of them and which table they end in.
//
// +kubebuilder:validation:XValidation:rule="self.?ingress.?rsocket.?port.orValue(7000) == 0 || self.?ingress.?rsocket.?port.orValue(7000) != self.?ingress.?http.?port.orValue(7080)",message="ingress.http.port is the port of ingress.rsocket.port: give each door its own",fieldPath=".ingress.http.port"
// +kubebuilder:validation:XValidation:rule="self.?observability.?metricsPort.orValue(9090) == 0 || self.?observability.?metricsPort.orValue(9090) != self.?ingress.?rsocket.?port.orValue(7000)",message="observability.metricsPort is the port of ingress.rsocket.port: give each door its own",fieldPath=".observability.metricsPort"
// +kubebuilder:validation:XValidation:rule="self.?observability.?metricsPort.orValue(9090) == 0 || self.?observability.?metricsPort.orValue(9090) != self.?ingress.?http.?port.orValue(7080)",message="observability.metricsPort is the port of ingress.http.port: give each door its own",fieldPath=".observability.metricsPort"
// +kubebuilder:validation:XValidation:rule="self.?sink.?delta.?mode.orValue('Append') != 'Merge' || has(self.identity)",message="a table of mode Merge needs identity.key and identity.sequence",fieldPath=".identity"
// +kubebuilder:validation:XValidation:rule="self.?sink.?delta.?mode.orValue('Append') == 'Merge' || !has(self.identity)",message="identity is for tables of mode Merge: set sink.delta.mode to Merge, or leave identity out",fieldPath=".identity"
type PipelineSpec struct {
	// The doors through which events come in.
	// +optional
	Ingress IngressSpec `json:"ingress,omitempty,omitzero"`

	// How the table's columns follow the events.
	// +optional
	Schema SchemaSpec `json:"schema,omitempty,omitzero"`

	// What is changed between the events and the table: steps that each event goes through, in this order. Default none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Transform []TransformStep `json:"transform,omitempty"`

	// What happens to an event for which a step of transform fails, such as a division by zero. Rescue (the default) keeps
	// the event: the column that the step makes is null, what was wrong stands in _rescued, and a filter lets it pass.
	// Reject refuses the event and tells its producer. Suspend pauses the pipeline before the event, until it is started
	// again with other steps.
	// +optional
	// +default="Rescue"
	OnTransformError TransformErrorPolicy `json:"onTransformError,omitempty"`

	// Which row of the table an event is about; for tables of mode Merge, which need it.
	// +optional
	Identity *IdentitySpec `json:"identity,omitempty"`

	// How much the pipeline may hold at once. What does not fit is not asked for, so producers wait.
	// +optional
	Flow FlowSpec `json:"flow,omitempty,omitzero"`

	// Where the events end. Exactly one kind of sink; delta is the only one so far.
	// +required
	Sink SinkSpec `json:"sink"`

	// What the pipeline tells about itself.
	// +optional
	Observability ObservabilitySpec `json:"observability,omitempty,omitzero"`

	// Pods that take events, 0 to 1000, in place of scaling.min; 0 stops the pipeline. It is there for kubectl scale and for
	// autoscalers, which set it; nothing else does, so an autoscaler needs a first value here. No default. Only a cluster
	// looks at it.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Replicas *int32 `json:"replicas,omitempty"`

	// How many pods take events in a cluster.
	// +optional
	Scaling ScalingSpec `json:"scaling,omitempty,omitzero"`

	// What the pods in a cluster are like.
	// +optional
	Template TemplateSpec `json:"template,omitempty,omitzero"`
}

// IngressSpec names the doors.
type IngressSpec struct {
	// RSocket over TCP: channels, requests, fire-and-forget.
	// +optional
	RSocket RSocketDoor `json:"rsocket,omitempty,omitzero"`

	// HTTP: one POST with JSON or NDJSON, answered after the commit.
	// +optional
	HTTP HTTPDoor `json:"http,omitempty,omitzero"`
}

// RSocketDoor listens for RSocket connections.
type RSocketDoor struct {
	// TCP port, 0 to 65535; 0 takes any free port. Default 7000.
	// +optional
	// +default=7000
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	Port *int32 `json:"port,omitempty"`
}

// HTTPDoor listens for HTTP requests.
type HTTPDoor struct {
	// TCP port, 0 to 65535; 0 takes any free port. Default 7080.
	// +optional
	// +default=7080
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	Port *int32 `json:"port,omitempty"`
}

// SchemaSpec says how columns follow the events. A field that is new in the events becomes a new column, its type taken
// from its first value; once a column is in the table its type never changes.
type SchemaSpec struct {
	// Types of payloads that are not JSON. Default none: JSON is taken, and what brings its types along.
	// +optional
	Format FormatSpec `json:"format,omitempty,omitzero"`

	// Columns that are known in advance. The table has them from its first commit on. Default none: all are found in the
	// events.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=2000
	Columns []ColumnSpec `json:"columns,omitempty"`

	// What happens to a field of an event that is no column. AddColumns (the default) makes a column of it. Rescue puts it
	// into the string column _rescued. Drop leaves it out. Reject refuses the event and tells its producer. Suspend pauses
	// the pipeline before the event, until it is started again. Where columns is empty, the fields of format.protobuf and
	// format.avro.file are columns under each of these.
	// +optional
	// +default="AddColumns"
	OnUnknown UnknownPolicy `json:"onUnknown,omitempty"`

	// What happens to a value that does not fit its column. Rescue (the default) puts it as JSON into the string column
	// _rescued and keeps the event. Reject refuses the event and tells its producer. Suspend pauses the pipeline before the
	// event, until it is started again: nothing is taken, and the status says why.
	// +optional
	// +default="Rescue"
	OnMismatch MismatchPolicy `json:"onMismatch,omitempty"`

	// Largest number of columns, those inside of structs included, 1 to 10000. Fields beyond it go to _rescued, or their
	// event is refused, as onMismatch says. Default 1000.
	// +optional
	// +default=1000
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	MaxColumns *int32 `json:"maxColumns,omitempty"`

	// Columns that weir adds to every event: stream (_weir_stream, the name of its stream), seq (_weir_seq, the number of
	// its payload in the stream) and received (_weir_received, when it came in). Default none.
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=3
	SystemColumns []SystemColumn `json:"systemColumns,omitempty"`
}

// MismatchPolicy says what happens to a value that does not fit its column.
//
// +kubebuilder:validation:Enum=Rescue;Reject;Suspend
type MismatchPolicy string

// The policies.
const (
	MismatchRescue  MismatchPolicy = "Rescue"
	MismatchReject  MismatchPolicy = "Reject"
	MismatchSuspend MismatchPolicy = "Suspend"
)

// SystemColumn is a column that weir adds.
//
// +kubebuilder:validation:Enum=stream;seq;received
type SystemColumn string

// The system columns.
const (
	SystemColumnStream   SystemColumn = "stream"
	SystemColumnSeq      SystemColumn = "seq"
	SystemColumnReceived SystemColumn = "received"
)

// FlowSpec bounds what the pipeline holds.
//
// +kubebuilder:validation:XValidation:rule="quantity(string(self.memory)).asApproximateFloat() >= 16.0 * quantity(string(self.maxEventBytes)).asApproximateFloat()",message="memory is at least 16 times maxEventBytes: raise memory or lower maxEventBytes",fieldPath=".memory"
type FlowSpec struct {
	// Bytes for everything the pipeline holds: events on their way, columns, encoding; 32Mi to 1Ti. Default 256Mi.
	// +optional
	// +default="256Mi"
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('32Mi')) >= 0 && quantity(string(self)).compareTo(quantity('1Ti')) <= 0",message="32Mi to 1Ti"
	Memory *resource.Quantity `json:"memory,omitempty"`

	// Bytes of the largest event, 1Ki to 16Mi. A larger one is refused and its producer told. Default 1Mi.
	// +optional
	// +default="1Mi"
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('1Ki')) >= 0 && quantity(string(self)).compareTo(quantity('16Mi')) <= 0",message="1Ki to 16Mi"
	MaxEventBytes *resource.Quantity `json:"maxEventBytes,omitempty"`

	// Largest number of connections at once, over RSocket and over HTTP each, 1 to 1000000. Further ones are refused over RSocket
	// and wait over HTTP. Default 10000.
	// +optional
	// +default=10000
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MaxConnections *int32 `json:"maxConnections,omitempty"`
}

// SinkSpec is where the events end.
//
// +kubebuilder:validation:XValidation:rule="has(self.delta)",message="a sink is required: set sink.delta.uri"
type SinkSpec struct {
	// A Delta Lake table.
	// +optional
	Delta *DeltaSink `json:"delta,omitempty"`
}

// DeltaSink is a Delta Lake table. It is made with the first commit if it is not there.
//
// +kubebuilder:validation:XValidation:rule="self.uri == oldSelf.uri",message="uri cannot change: make another Pipeline for another table"
// +kubebuilder:validation:XValidation:rule="!has(self.storage) || self.uri.matches('^(s3a?|gs|az|abfss)://')",message="storage is for tables in an object store: give uri a scheme such as s3://, or leave storage out",fieldPath=".storage"
// +kubebuilder:validation:XValidation:rule="!has(self.storage) || !has(self.storage.region) && !has(self.storage.pathStyle) || self.uri.startsWith('s3')",message="region and pathStyle are for tables at s3://",fieldPath=".storage"
// +kubebuilder:validation:XValidation:rule="!has(self.storage) || !has(self.storage.account) || self.uri.startsWith('az:')",message="account is for tables at az://; the URI of abfss:// names it",fieldPath=".storage"
// +kubebuilder:validation:XValidation:rule="!has(self.partitionBy) || !has(self.maintenance) || !has(self.maintenance.zOrderBy) || self.maintenance.zOrderBy.all(c, !self.partitionBy.exists(p, p == c))",message="zOrderBy and partitionBy share no column: values of a partition column never share a file",fieldPath=".maintenance.zOrderBy"
// +kubebuilder:validation:XValidation:rule="has(self.partitionBy) == has(oldSelf.partitionBy)",message="partitionBy cannot be added or removed: a table keeps its partition columns"
type DeltaSink struct {
	// The table's place: a path, file:///path, s3://bucket/path, gs://bucket/path, az://container/path or
	// abfss://container@account.dfs.core.windows.net/path. A relative path starts at the working directory of weir. It
	// cannot change.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:XValidation:rule="!self.matches('^[A-Za-z][A-Za-z0-9+.-]*:/') || self.startsWith('file:///') || self.matches('^((s3a?|gs|az)://[a-z0-9][a-z0-9._-]{1,61}[a-z0-9]|abfss://[a-z0-9][a-z0-9-]{1,61}[a-z0-9]@[a-z0-9]{3,24}[.][a-z0-9.-]+)(/[^/%?#]+)*/?$') && !self.matches('/[.]{1,2}(/|$)')",message="only a path, file:///path, s3://bucket/path, gs://bucket/path, az://container/path and abfss://container@account.dfs.core.windows.net/path are supported"
	URI string `json:"uri"`

	// How the object store of uri is reached; for tables in one. Default: as the environment says.
	// +optional
	Storage *StorageSpec `json:"storage,omitempty"`

	// Columns by whose values the table is split into directories, outermost first; at most 16. They cannot change.
	// Default none.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="partitionBy cannot change: a table keeps its partition columns"
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, b.lowerAscii() == a.lowerAscii()))",message="each column once: readers ignore case"
	// +kubebuilder:validation:XValidation:rule="self.all(a, !a.matches('[ ,;{}()\\n\\t=]'))",message="no blank and none of , ; { } ( ) = in a column"
	PartitionBy []string `json:"partitionBy,omitempty"`

	// When a batch of events is committed. While a commit is under way the next batch grows.
	// +optional
	Batch BatchSpec `json:"batch,omitempty,omitzero"`

	// How events get into the table. Append (the default) adds a row for each. Merge changes the row that identity names: it
	// inserts, updates or deletes it.
	// +optional
	// +default="Append"
	Mode SinkMode `json:"mode,omitempty"`

	// How a table of mode Merge is kept.
	// +optional
	Merge MergeSpec `json:"merge,omitempty,omitzero"`

	// Whether commits also tell which rows they insert, update and delete (the table property delta.enableChangeDataFeed,
	// writer version 4), for readers that follow changes. It costs a copy of what is updated and deleted. Once it is on it
	// stays on. Default false.
	// +optional
	// +default=false
	ChangeDataFeed *bool `json:"changeDataFeed,omitempty"`

	// How weir looks after the table: it packs small files, deletes what is no longer used, and keeps the log short.
	// +optional
	Maintenance MaintenanceSpec `json:"maintenance,omitempty,omitzero"`

	// Compression of the data files: Zstd (the default, smallest), Snappy (least CPU) or None.
	// +optional
	// +default="Zstd"
	Compression Compression `json:"compression,omitempty"`

	// Encodings of values in data files: V2 (the default, smaller), or V1 for readers such as Spark before 3.4 that lack
	// those of version 2 of Parquet. A table that the pipeline makes with V1 has the property delta.parquet.format.version
	// = 1.0.0, which checkpoints and other writers follow.
	// +optional
	// +default="V2"
	Encodings Encodings `json:"encodings,omitempty"`
}

// BatchSpec says when a batch is committed: when any one of its bounds is reached.
type BatchSpec struct {
	// Records, 1 to 100000000. Default 1000.
	// +optional
	// +default=1000
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000000
	MaxRecords *int32 `json:"maxRecords,omitempty"`

	// Age of the oldest record as a duration such as 500ms, 5s or 1m; 1ms to 1h. Default 5s.
	// +optional
	// +default="5s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=duration
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1ms') && duration(self) <= duration('1h')",message="1ms to 1h"
	MaxAge *metav1.Duration `json:"maxAge,omitempty"`

	// Bytes of payload in the growing batch, 64Ki to 16Gi; a quarter of flow.memory bounds it too. Default 64Mi.
	// +optional
	// +default="64Mi"
	// +kubebuilder:validation:XValidation:rule="quantity(string(self)).compareTo(quantity('64Ki')) >= 0 && quantity(string(self)).compareTo(quantity('16Gi')) <= 0",message="64Ki to 16Gi"
	MaxBytes *resource.Quantity `json:"maxBytes,omitempty"`
}

// Encodings are encodings of values in data files.
//
// +kubebuilder:validation:Enum=V2;V1
type Encodings string

// The encodings.
const (
	EncodingsV2 Encodings = "V2"
	EncodingsV1 Encodings = "V1"
)

// Compression is a compression of data files.
//
// +kubebuilder:validation:Enum=Zstd;Snappy;None
type Compression string

// The compressions.
const (
	CompressionZstd   Compression = "Zstd"
	CompressionSnappy Compression = "Snappy"
	CompressionNone   Compression = "None"
)

// ObservabilitySpec is what the pipeline tells about itself.
type ObservabilitySpec struct {
	// TCP port of /metrics, /livez, /readyz and /status, 0 to 65535; 0 takes any free port. Default 9090.
	// +optional
	// +default=9090
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=65535
	MetricsPort *int32 `json:"metricsPort,omitempty"`

	// What weir tap may show of the events that pass. Masked: nothing that a mask or drop step hides, so that a pipeline with
	// such steps shows events only as they go into the table. All: events as they were sent, too. Off: nothing. Taps are
	// answered on the metrics port, to the same host only. Default Masked.
	// +optional
	// +default="Masked"
	Tap TapPolicy `json:"tap,omitempty"`
}

// TapPolicy is what weir tap may show.
// +kubebuilder:validation:Enum=Masked;All;Off
type TapPolicy string

// The policies for taps.
const (
	TapMasked TapPolicy = "Masked"
	TapAll    TapPolicy = "All"
	TapOff    TapPolicy = "Off"
)
