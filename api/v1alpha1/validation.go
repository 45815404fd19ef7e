package v1alpha1

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The bounds of the API; the markers of the types say the same to a cluster, and a test compares them.
const (
	maxName          = 52 // the label of a StatefulSet's revision adds 11 to make 63
	maxPort          = 65535
	maxColumns       = 10_000
	minMemory        = 32 << 20
	maxMemory        = 1 << 40
	minEventBytes    = 1 << 10
	maxEventBytes    = 16 << 20
	memoryPerEvent   = 16 // a quarter of the memory must hold four of the largest events
	maxConnections   = 1_000_000
	maxURI           = 2048
	maxPartitions    = 16
	maxPartitionName = 255
	maxBatchRecords  = 100_000_000
	minBatchAge      = time.Millisecond
	maxBatchAge      = time.Hour
	minBatchBytes    = 64 << 10
	maxBatchBytes    = 16 << 30
)

// Validate checks p, whose defaults must be set, and returns everything that is wrong with it: the field, its value and
// what to do. It looks at p alone; whether the table can be reached shows when the pipeline starts.
func Validate(p *Pipeline) field.ErrorList {
	errs := validateName(p.Name, field.NewPath("metadata", "name"))
	spec := field.NewPath("spec")
	errs = append(errs, validatePorts(&p.Spec, spec)...)
	errs = append(errs, validateSchema(&p.Spec.Schema, spec.Child("schema"))...)
	errs = append(errs, validateTransform(p.Spec.Transform, spec.Child("transform"))...)
	errs = appendBad(errs, oneOf(p.Spec.OnTransformError, spec.Child("onTransformError"), TransformErrorRescue, TransformErrorReject, TransformErrorSuspend))
	errs = appendBad(errs, oneOf(p.Spec.Observability.Tap, spec.Child("observability", "tap"), TapMasked, TapAll, TapOff))
	errs = append(errs, validateFlow(&p.Spec.Flow, spec.Child("flow"))...)
	errs = append(errs, validateMerge(&p.Spec, spec)...)
	errs = append(errs, validateCluster(&p.Spec, spec)...)
	errs = append(errs, validateMaintenance(p.Spec.Sink.Delta, spec)...)
	return append(errs, validateSink(&p.Spec.Sink, spec.Child("sink"))...)
}

func validateName(name string, at *field.Path) field.ErrorList {
	switch {
	case name == "":
		return field.ErrorList{field.Required(at, "the pipeline's name is the first part of its routes")}
	case len(name) > maxName:
		return field.ErrorList{field.Invalid(at, name, fmt.Sprintf("is %d characters long: use at most %d", len(name), maxName))}
	case len(validation.IsDNS1123Label(name)) > 0:
		return field.ErrorList{field.Invalid(at, name, "must be lower-case letters, digits and '-' in between")}
	}
	return nil
}

func validatePorts(s *PipelineSpec, at *field.Path) field.ErrorList {
	doors := []struct {
		at   *field.Path
		port *int32
	}{
		{at.Child("ingress", "rsocket", "port"), s.Ingress.RSocket.Port},
		{at.Child("ingress", "http", "port"), s.Ingress.HTTP.Port},
		{at.Child("observability", "metricsPort"), s.Observability.MetricsPort},
	}
	var errs field.ErrorList
	taken := map[int32]*field.Path{}
	for _, d := range doors {
		if bad := between(d.port, 0, maxPort, d.at); bad != nil {
			errs = append(errs, bad)
			continue
		}
		if other := taken[*d.port]; other != nil && *d.port != 0 {
			errs = append(errs, field.Invalid(d.at, *d.port, fmt.Sprintf("is the port of %s too: give each door its own", other)))
		}
		taken[*d.port] = d.at
	}
	return errs
}

func validateSchema(s *SchemaSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	errs = appendBad(errs, oneOf(s.OnMismatch, at.Child("onMismatch"), MismatchRescue, MismatchReject, MismatchSuspend))
	errs = appendBad(errs, oneOf(s.OnUnknown, at.Child("onUnknown"), UnknownAddColumns, UnknownRescue, UnknownDrop, UnknownReject, UnknownSuspend))
	errs = append(errs, validateFormat(&s.Format, at.Child("format"))...)
	errs = append(errs, validateColumns(s.Columns, at.Child("columns"))...)
	errs = appendBad(errs, between(s.MaxColumns, 1, maxColumns, at.Child("maxColumns")))
	seen := map[SystemColumn]bool{}
	for i, c := range s.SystemColumns {
		at := at.Child("systemColumns").Index(i)
		errs = appendBad(errs, oneOf(c, at, SystemColumnStream, SystemColumnSeq, SystemColumnReceived))
		if seen[c] {
			errs = append(errs, field.Duplicate(at, c))
		}
		seen[c] = true
	}
	return errs
}

func validateFlow(f *FlowSpec, at *field.Path) field.ErrorList {
	memory := bytesBetween(f.Memory, minMemory, maxMemory, at.Child("memory"))
	event := bytesBetween(f.MaxEventBytes, minEventBytes, maxEventBytes, at.Child("maxEventBytes"))
	var errs field.ErrorList
	errs = appendBad(appendBad(errs, memory), event)
	if memory == nil && event == nil && f.Memory.Value()/memoryPerEvent < f.MaxEventBytes.Value() {
		errs = append(errs, field.Invalid(at.Child("memory"), f.Memory.String(), fmt.Sprintf(
			"must be at least %d times maxEventBytes, which is %s: raise memory or lower maxEventBytes", memoryPerEvent, f.MaxEventBytes)))
	}
	return appendBad(errs, between(f.MaxConnections, 1, maxConnections, at.Child("maxConnections")))
}

func validateSink(s *SinkSpec, at *field.Path) field.ErrorList {
	if s.Delta == nil {
		return field.ErrorList{field.Required(at.Child("delta"), "a sink is required: set sink.delta.uri")}
	}
	d, at := s.Delta, at.Child("delta")
	var errs field.ErrorList
	errs = appendBad(errs, validateURI(d.URI, at.Child("uri")))
	errs = append(errs, validateStorage(d.Storage, d.URI, at.Child("storage"))...)
	errs = append(errs, validatePartitionBy(d.PartitionBy, at.Child("partitionBy"))...)
	batch := at.Child("batch")
	errs = appendBad(errs, between(d.Batch.MaxRecords, 1, maxBatchRecords, batch.Child("maxRecords")))
	if age := d.Batch.MaxAge.Duration; age < minBatchAge || age > maxBatchAge {
		errs = append(errs, field.Invalid(batch.Child("maxAge"), age.String(), "must be from 1ms to 1h"))
	}
	errs = appendBad(errs, bytesBetween(d.Batch.MaxBytes, minBatchBytes, maxBatchBytes, batch.Child("maxBytes")))
	errs = appendBad(errs, oneOf(d.Compression, at.Child("compression"), CompressionZstd, CompressionSnappy, CompressionNone))
	return appendBad(errs, oneOf(d.Encodings, at.Child("encodings"), EncodingsV2, EncodingsV1))
}

// forbiddenInColumns are the characters that Spark refuses in the columns of tables without column mapping.
const forbiddenInColumns = " ,;{}()\n\t="

func validatePartitionBy(columns []string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(columns) > maxPartitions {
		errs = append(errs, field.TooMany(at, len(columns), maxPartitions))
	}
	seen := map[string]int{}
	for i, c := range columns {
		at := at.Index(i)
		first, twice := seen[strings.ToLower(c)]
		switch {
		case c == "":
			errs = append(errs, field.Required(at, "the name of a column"))
		case len(c) > maxPartitionName:
			errs = append(errs, field.TooLong(at, c, maxPartitionName))
		case strings.ContainsAny(c, forbiddenInColumns):
			errs = append(errs, field.Invalid(at, c, "holds what no column's name may: a blank, a tab, a line end or one of , ; { } ( ) ="))
		case twice:
			errs = append(errs, field.Invalid(at, c, fmt.Sprintf("is the column of partitionBy[%d] too: name each once (readers ignore case)", first)))
		default:
			seen[strings.ToLower(c)] = i
		}
	}
	return errs
}

func appendBad(errs field.ErrorList, err *field.Error) field.ErrorList {
	if err == nil {
		return errs
	}
	return append(errs, err)
}

func between(v *int32, low, high int32, at *field.Path) *field.Error {
	if *v < low || *v > high {
		return field.Invalid(at, *v, fmt.Sprintf("must be from %d to %d", low, high))
	}
	return nil
}

func bytesBetween(q *resource.Quantity, low, high int64, at *field.Path) *field.Error {
	lowest, highest := resource.NewQuantity(low, resource.BinarySI), resource.NewQuantity(high, resource.BinarySI)
	if q.Cmp(*lowest) < 0 || q.Cmp(*highest) > 0 {
		return field.Invalid(at, q.String(), fmt.Sprintf("must be from %s to %s", lowest, highest))
	}
	return nil
}

func oneOf[T ~string](v T, at *field.Path, known ...T) *field.Error {
	if slices.Contains(known, v) {
		return nil
	}
	return field.NotSupported(at, v, known)
}
