package v1alpha1

// StorageSpec says how the object store of a table is reached. What is left out is taken from the environment of the
// process, and from where it runs, as the tools of the cloud do: see docs/storage.md.
type StorageSpec struct {
	// URL of the service, such as http://minio.store:9000, for one that is not the cloud's own. Default: AWS_ENDPOINT_URL_S3,
	// AWS_ENDPOINT_URL, STORAGE_EMULATOR_HOST or AZURE_STORAGE_BLOB_ENDPOINT of the environment, or else the cloud's.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^(https?://[^/?#@ ]+(/[^?# ]*)?)?$`
	Endpoint string `json:"endpoint,omitempty"`

	// Region of an s3:// bucket, such as eu-central-1. Default: AWS_REGION or AWS_DEFAULT_REGION of the environment, the
	// region of the AWS profile, or else where the bucket is; us-east-1 with an endpoint of your own.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9-]*$`
	Region string `json:"region,omitempty"`

	// Whether the addresses of an s3:// bucket have its name in the path (true) or in the host's name (false). Default true
	// with an endpoint, false without.
	// +optional
	PathStyle *bool `json:"pathStyle,omitempty"`

	// Storage account of an az:// container. Default: AZURE_STORAGE_ACCOUNT_NAME or AZURE_STORAGE_ACCOUNT of the environment.
	// +optional
	// +kubebuilder:validation:MaxLength=24
	// +kubebuilder:validation:Pattern=`^([a-z0-9]{3,24})?$`
	Account string `json:"account,omitempty"`

	// Name of a Secret beside the Pipeline whose keys, such as AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, become
	// environment variables of the pods. weir run has an environment of its own and does not read it. Default none: the
	// pods get their credentials from where they run (workload identity).
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*)?$`
	CredentialsSecret string `json:"credentialsSecret,omitempty"`
}
