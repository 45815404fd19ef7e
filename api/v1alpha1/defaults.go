package v1alpha1

import (
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SetDefaults gives every optional field of p's spec that has a default and is not set its value. They are the same as
// those of the CustomResourceDefinition; afterwards every pointer of the spec but Sink.Delta, Identity, Replicas and
// those of Template is set, and those of Sink.Delta too if it is there.
func SetDefaults(p *Pipeline) {
	s := &p.Spec
	setDefault(&s.Ingress.RSocket.Port, 7000)
	setDefault(&s.Ingress.HTTP.Port, 7080)
	setDefault(&s.Observability.MetricsPort, 9090)
	if s.Observability.Tap == "" {
		s.Observability.Tap = TapMasked
	}

	if s.Schema.OnMismatch == "" {
		s.Schema.OnMismatch = MismatchRescue
	}
	if a := s.Schema.Format.Avro; a != nil && a.Registry != nil {
		setDefault(&a.Registry.Timeout, metav1.Duration{Duration: 5 * time.Second})
	}
	if s.Schema.OnUnknown == "" {
		s.Schema.OnUnknown = UnknownAddColumns
	}
	if s.OnTransformError == "" {
		s.OnTransformError = TransformErrorRescue
	}
	defaultTransform(s.Transform)
	setDefault(&s.Schema.MaxColumns, 1000)

	setDefault(&s.Flow.Memory, resource.MustParse("256Mi"))
	setDefault(&s.Flow.MaxEventBytes, resource.MustParse("1Mi"))
	setDefault(&s.Flow.MaxConnections, 10_000)
	setDefault(&s.Scaling.Min, 1)

	d := s.Sink.Delta
	if d == nil {
		return
	}
	defaultMerge(s, d)
	defaultMaintenance(&d.Maintenance)
	setDefault(&d.ChangeDataFeed, false)
	setDefault(&d.Batch.MaxRecords, 1000)
	setDefault(&d.Batch.MaxAge, metav1.Duration{Duration: 5 * time.Second})
	setDefault(&d.Batch.MaxBytes, resource.MustParse("64Mi"))
	if d.Compression == "" {
		d.Compression = CompressionZstd
	}
	if d.Encodings == "" {
		d.Encodings = EncodingsV2
	}
}

func setDefault[T any](field **T, value T) {
	if *field == nil {
		*field = &value
	}
}
