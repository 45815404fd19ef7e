package main

import (
	"github.com/weir-dev/weir/api/v1alpha1"
	"github.com/weir-dev/weir/delta"
)

// The share of a pipeline's memory that maintenance holds rows in, and the bounds of it: more makes larger row groups.
const (
	careShare     = 8
	leastCareRows = 8 << 20
	mostCareRows  = 128 << 20
)

// maintenanceSettings says how p's table is looked after; nil if it is not to be.
func maintenanceSettings(p *v1alpha1.Pipeline) *delta.MaintenancePolicy {
	m := &p.Spec.Sink.Delta.Maintenance
	if !*m.Compact && !*m.Vacuum && !*m.CleanLog {
		return nil
	}
	out := &delta.MaintenancePolicy{
		Every: m.Interval.Duration, Compact: *m.Compact, ZOrder: m.ZOrderBy, Vacuum: *m.Vacuum, CleanLog: *m.CleanLog,
		Share: float64(*m.CPUPercent) / 100, Memory: min(max(p.Spec.Flow.Memory.Value()/careShare, leastCareRows), mostCareRows),
	}
	if m.TargetFileSize != nil {
		out.TargetSize = m.TargetFileSize.Value()
	}
	return out
}
