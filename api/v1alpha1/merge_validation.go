package v1alpha1

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// The bounds of a merge.
const (
	maxKeyColumns         = 16
	maxIdentityName       = 255
	maxOps                = 32
	maxOpValue            = 64
	maxTombstoneRetention = 8760 * time.Hour
)

func defaultMerge(s *PipelineSpec, d *DeltaSink) {
	if d.Mode == "" {
		d.Mode = SinkModeAppend
	}
	setDefault(&d.Merge.TombstoneRetention, metav1.Duration{Duration: 168 * time.Hour})
	setDefault(&d.Merge.DeletionVectors, false)
	if s.Identity == nil || s.Identity.Op == nil {
		return
	}
	op := s.Identity.Op
	if len(op.Upsert) == 0 {
		op.Upsert = []string{"c", "r", "u"}
	}
	if len(op.Delete) == 0 {
		op.Delete = []string{"d"}
	}
}

func validateMerge(s *PipelineSpec, at *field.Path) field.ErrorList {
	d := s.Sink.Delta
	if d == nil {
		return nil
	}
	var errs field.ErrorList
	sink := at.Child("sink", "delta")
	errs = appendBad(errs, oneOf(d.Mode, sink.Child("mode"), SinkModeAppend, SinkModeMerge))
	switch merges := d.Mode == SinkModeMerge; {
	case merges && s.Identity == nil:
		errs = append(errs, field.Required(at.Child("identity"), "a table of mode Merge needs identity.key and identity.sequence"))
	case !merges && s.Identity != nil:
		errs = append(errs, field.Invalid(at.Child("identity"), s.Identity.Key, "identity is for tables of mode Merge: set mode to Merge, or leave identity out"))
	}
	if t := d.Merge.TombstoneRetention.Duration; t < 0 || t > maxTombstoneRetention {
		errs = append(errs, field.Invalid(sink.Child("merge", "tombstoneRetention"), t.String(), "must be from 0s to 8760h"))
	}
	if s.Identity != nil {
		errs = append(errs, validateIdentity(s.Identity, at.Child("identity"))...)
	}
	return errs
}

func validateIdentity(id *IdentitySpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	switch n := len(id.Key); {
	case n == 0:
		errs = append(errs, field.Required(at.Child("key"), "the columns that name a row"))
	case n > maxKeyColumns:
		errs = append(errs, field.TooMany(at.Child("key"), n, maxKeyColumns))
	}
	twice := false
	for i, name := range id.Key {
		at := at.Child("key").Index(i)
		errs = appendBad(errs, identityName(name, at))
		twice = twice || slices.Contains(id.Key[:i], name)
	}
	if twice {
		errs = append(errs, field.Invalid(at.Child("key"), id.Key, "names a column twice: each column once"))
	}
	errs = appendBad(errs, identityName(id.Sequence, at.Child("sequence")))
	if id.Op == nil {
		return errs
	}
	op := at.Child("op")
	errs = appendBad(errs, identityName(id.Op.Field, op.Child("field")))
	if id.Op.Field != "" && (slices.Contains(id.Key, id.Op.Field) || id.Op.Field == id.Sequence) {
		errs = append(errs, field.Invalid(op.Child("field"), id.Op.Field, "is part of the key or the sequence too: the operation is a field of its own"))
	}
	errs = append(errs, validateOps(id.Op.Upsert, op.Child("upsert"))...)
	errs = append(errs, validateOps(id.Op.Delete, op.Child("delete"))...)
	for i, v := range id.Op.Delete {
		if slices.Contains(id.Op.Upsert, v) {
			errs = append(errs, field.Invalid(op.Child("delete").Index(i), v, "is among upsert too: a value does one thing"))
		}
	}
	return errs
}

func validateOps(values []string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(values) > maxOps {
		errs = append(errs, field.TooMany(at, len(values), maxOps))
	}
	for i, v := range values {
		if len(v) > maxOpValue {
			errs = append(errs, field.TooLong(at.Index(i), v, maxOpValue))
		}
	}
	return errs
}

func identityName(name string, at *field.Path) *field.Error {
	switch {
	case name == "":
		return field.Required(at, "the name of a column")
	case len(name) > maxIdentityName:
		return field.TooLong(at, name, maxIdentityName)
	}
	return nil
}
