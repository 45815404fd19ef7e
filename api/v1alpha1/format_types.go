package v1alpha1

// FormatSpec says what the payloads are that bring no types of their own. JSON needs no word, and is always taken.
type FormatSpec struct {
	// Payloads of type application/protobuf (also application/x-protobuf, application/vnd.google.protobuf): one message;
	// with the parameter encoding=delimited many, each behind its length as a varint. Payloads that name no type are taken
	// for one message. The fields of the message are columns from the first payload on. Default: they are refused.
	// +optional
	Protobuf *ProtobufFormat `json:"protobuf,omitempty"`
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
