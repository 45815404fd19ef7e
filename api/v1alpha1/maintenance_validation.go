package v1alpha1

import (
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The bounds of maintenance.
const (
	maxZOrderColumns = 8
	maxColumnName    = 255
	minLook          = time.Second
	maxLook          = 24 * time.Hour
)

var minTargetFile, maxTargetFile = resource.MustParse("1Mi"), resource.MustParse("4Gi")

func defaultMaintenance(m *MaintenanceSpec) {
	setDefault(&m.Compact, true)
	setDefault(&m.Vacuum, true)
	setDefault(&m.CleanLog, true)
	setDefault(&m.Interval, metav1.Duration{Duration: time.Minute})
	setDefault(&m.CPUPercent, 25)
}

func validateMaintenance(d *DeltaSink, at *field.Path) field.ErrorList {
	if d == nil {
		return nil
	}
	m := &d.Maintenance
	at = at.Child("sink", "delta", "maintenance")
	var errs field.ErrorList
	if q := m.TargetFileSize; q != nil && (q.Cmp(minTargetFile) < 0 || q.Cmp(maxTargetFile) > 0) {
		errs = append(errs, field.Invalid(at.Child("targetFileSize"), q.String(), "must be from 1Mi to 4Gi"))
	}
	if t := m.Interval.Duration; t < minLook || t > maxLook {
		errs = append(errs, field.Invalid(at.Child("interval"), t.String(), "must be from 1s to 24h"))
	}
	if n := *m.CPUPercent; n < 1 || n > 100 {
		errs = append(errs, field.Invalid(at.Child("cpuPercent"), n, "must be from 1 to 100"))
	}
	return append(errs, validateZOrder(m.ZOrderBy, d.PartitionBy, at.Child("zOrderBy"))...)
}

func validateZOrder(columns, partitionBy []string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(columns) > maxZOrderColumns {
		errs = append(errs, field.TooMany(at, len(columns), maxZOrderColumns))
	}
	twice, shared := false, false
	for i, c := range columns {
		switch at := at.Index(i); {
		case c == "":
			errs = append(errs, field.Required(at, "the name of a column"))
		case len(c) > maxColumnName:
			errs = append(errs, field.TooLong(at, c, maxColumnName))
		}
		twice = twice || slices.Contains(columns[:i], c)
		shared = shared || slices.Contains(partitionBy, c)
	}
	if twice {
		errs = append(errs, field.Invalid(at, columns, "names a column twice: each column once"))
	}
	if shared {
		errs = append(errs, field.Invalid(at, columns, "has a column of partitionBy, whose values never share a file: leave it out"))
	}
	return errs
}
