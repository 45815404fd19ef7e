package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// FormatSpec says what the payloads are that bring no types of their own. JSON needs no word, and is always taken.
type FormatSpec struct {
	// Payloads of type application/protobuf (also application/x-protobuf, application/vnd.google.protobuf): one message;
	// with the parameter encoding=delimited many, each behind its length as a varint. Payloads that name no type are taken
	// for one message. The fields of the message are columns from the first payload on. Default: they are refused.
	// +optional
	Protobuf *ProtobufFormat `json:"protobuf,omitempty"`

	// Payloads of type application/avro (also avro/binary, application/vnd.apache.avro): one record; with the parameter
	// encoding=delimited many, each behind its length as a varint. Payloads that name no type are taken for one record,
	// unless there is a protobuf format too. Default: only object container files are taken, which bring their schema.
	// +optional
	Avro *AvroFormat `json:"avro,omitempty"`
}

// AvroFormat names the schema of Avro payloads, or where schemas are found.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.file) && has(self.inline))",message="set at most one of file and inline",fieldPath=".file"
// +kubebuilder:validation:XValidation:rule="has(self.file) || has(self.inline) || has(self.registry)",message="set file, inline or registry",fieldPath=".file"
type AvroFormat struct {
	// Path of the schema, as JSON. A relative path is relative to where weir runs; in a cluster it is that of a mounted
	// ConfigMap. Read when weir starts. With a registry it is the reader's schema: names and defaults of columns come from it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	File string `json:"file,omitempty"`

	// The schema itself, as JSON.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=262144
	Inline string `json:"inline,omitempty"`

	// Where schemas are found by id. Each record stands behind a zero byte and the id of its schema in four bytes, as
	// serializers for a schema registry write it. Default none: records are of the schema above, without an id.
	// +optional
	Registry *SchemaRegistry `json:"registry,omitempty"`
}

// SchemaRegistry is where schemas are found by id.
//
// +kubebuilder:validation:XValidation:rule="has(self.url) != has(self.directory)",message="set exactly one of url and directory",fieldPath=".url"
type SchemaRegistry struct {
	// Base URL of a schema registry that answers GET /schemas/ids/{id}, such as http://registry:8081. A schema is fetched
	// once. While the registry does not answer, streams end with an error and producers send again.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^https?://`
	URL string `json:"url,omitempty"`

	// Directory with a file for each schema, named by its id, such as 17.avsc. A relative path is relative to where weir runs.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	Directory string `json:"directory,omitempty"`

	// How long one request may take, 100ms to 1m. Default 5s.
	// +optional
	// +default="5s"
	Timeout *metav1.Duration `json:"timeout,omitempty"`
}

// ProtobufFormat names the type of Protobuf payloads.
//
// +kubebuilder:validation:XValidation:rule="has(self.file) != has(self.inline)",message="set exactly one of file and inline",fieldPath=".file"
type ProtobufFormat struct {
	// Path of a descriptor set (protoc --include_imports --descriptor_set_out, buf build -o) or of a .proto file, whose
	// imports are looked for beside it. A relative path is relative to where weir runs; in a cluster it is that of a mounted
	// ConfigMap. Read when weir starts.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	File string `json:"file,omitempty"`

	// The descriptor set itself, in base64, at most 256 KiB of it.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=262144
	Inline string `json:"inline,omitempty"`

	// Full name of the message, such as acme.orders.v1.Order.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Message string `json:"message"`
}
