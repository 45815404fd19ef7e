package rsocket

import "encoding/binary"

// Sampling says what is to become of a trace.
type Sampling uint8

// Sampling decisions of the tracing extension.
const (
	SamplingUndecided Sampling = iota
	SamplingNo
	SamplingYes
	SamplingDebug // recorded whatever the samplers say
)

// Trace is the content of a [MIMETracing] entry, Zipkin's B3 propagation in binary.
type Trace struct {
	Sampling  Sampling
	HasIDs    bool // without, only Sampling counts
	TraceHigh uint64
	TraceID   uint64 // the low half if TraceHigh is not 0
	SpanID    uint64
	ParentID  uint64
	HasParent bool
}

const (
	traceIDs    = 0x80
	traceDebug  = 0x40
	traceSample = 0x20
	traceNot    = 0x10
	traceWide   = 0x08
	traceParent = 0x04
)

// AppendTrace appends the content of a [MIMETracing] entry.
func AppendTrace(dst []byte, t Trace) []byte {
	flags := map[Sampling]byte{SamplingNo: traceNot, SamplingYes: traceSample, SamplingDebug: traceDebug}[t.Sampling]
	if !t.HasIDs {
		return append(dst, flags)
	}
	flags |= traceIDs
	if t.TraceHigh != 0 {
		flags |= traceWide
	}
	if t.HasParent {
		flags |= traceParent
	}
	dst = append(dst, flags)
	if t.TraceHigh != 0 {
		dst = binary.BigEndian.AppendUint64(dst, t.TraceHigh)
	}
	dst = binary.BigEndian.AppendUint64(dst, t.TraceID)
	dst = binary.BigEndian.AppendUint64(dst, t.SpanID)
	if t.HasParent {
		dst = binary.BigEndian.AppendUint64(dst, t.ParentID)
	}
	return dst
}

// ParseTrace reads the content of a [MIMETracing] entry. The error is [ErrMetadata].
func ParseTrace(b []byte) (Trace, error) {
	if len(b) == 0 {
		return Trace{}, ErrMetadata
	}
	flags, b := b[0], b[1:]
	t := Trace{Sampling: samplingOf(flags), HasIDs: flags&traceIDs != 0}
	if !t.HasIDs {
		return t, nil
	}
	t.HasParent = flags&traceParent != 0
	fields := make([]*uint64, 0, 4)
	if flags&traceWide != 0 {
		fields = append(fields, &t.TraceHigh)
	}
	fields = append(fields, &t.TraceID, &t.SpanID)
	if t.HasParent {
		fields = append(fields, &t.ParentID)
	}
	if len(b) < 8*len(fields) {
		return Trace{}, ErrMetadata
	}
	for i, f := range fields {
		*f = binary.BigEndian.Uint64(b[8*i:])
	}
	return t, nil
}

// samplingOf reads the flags in the order of precedence the extension gives them.
func samplingOf(flags byte) Sampling {
	switch {
	case flags&traceDebug != 0:
		return SamplingDebug
	case flags&traceSample != 0:
		return SamplingYes
	case flags&traceNot != 0:
		return SamplingNo
	default:
		return SamplingUndecided
	}
}
