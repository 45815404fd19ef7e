package v1alpha1

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	maxSteps    = 64
	maxDeclared = 2000
)

// validateColumns checks names and units. Types and expressions are checked by weir lint and weir run, which know them.
func validateColumns(columns []ColumnSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(columns) > maxDeclared {
		errs = append(errs, field.TooMany(at, len(columns), maxDeclared))
	}
	seen := map[string]int{}
	for i := range columns {
		c, at := &columns[i], at.Index(i)
		folded := strings.ToLower(c.Name)
		first, twice := seen[folded]
		switch {
		case c.Name == "":
			errs = append(errs, field.Required(at.Child("name"), "the name of the column"))
		case len(c.Name) > maxPartitionName:
			errs = append(errs, field.TooLong(at.Child("name"), c.Name, maxPartitionName))
		case strings.ContainsAny(c.Name, forbiddenInColumns):
			errs = append(errs, field.Invalid(at.Child("name"), c.Name, "holds what no column's name may: a blank, a tab, a line end or one of , ; { } ( ) ="))
		case twice:
			errs = append(errs, field.Invalid(at.Child("name"), c.Name, fmt.Sprintf("is the name of columns[%d] too: declare each once (readers ignore case)", first)))
		default:
			seen[folded] = i
		}
		if c.Type == "" {
			errs = append(errs, field.Required(at.Child("type"), "a type such as long, string or timestamp"))
		}
		if c.Unit != "" {
			errs = appendBad(errs, oneOf(c.Unit, at.Child("unit"), TimeUnitSeconds, TimeUnitMilliseconds, TimeUnitMicroseconds))
			if c.Type != "timestamp" && c.Type != "" {
				errs = append(errs, field.Invalid(at.Child("unit"), string(c.Unit), "is for columns of type timestamp"))
			}
		}
	}
	return errs
}

func validateTransform(steps []TransformStep, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(steps) > maxSteps {
		errs = append(errs, field.TooMany(at, len(steps), maxSteps))
	}
	for i := range steps {
		s, at := &steps[i], at.Index(i)
		set := 0
		for _, there := range []bool{
			s.Set != nil, s.Filter != "", len(s.Drop) > 0, s.Rename != nil, s.Flatten != nil, s.Mask != nil, s.Derive != nil, s.Route != nil,
		} {
			if there {
				set++
			}
		}
		if set != 1 {
			errs = append(errs, field.Invalid(at, set, "fields are set: a step does one thing, so set exactly one of set, filter, drop, rename, flatten, mask, derive, route"))
		}
		errs = append(errs, validateStep(s, at)...)
	}
	return errs
}

// validateStep checks the choices of a step.
func validateStep(s *TransformStep, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Set != nil && s.Set.Type != "" {
		errs = appendBad(errs, oneOf(s.Set.Type, at.Child("set", "type"), "boolean", "integer", "long", "double", "string", "timestamp", "date", "binary"))
	}
	if s.Mask != nil {
		errs = appendBad(errs, oneOf(s.Mask.Method, at.Child("mask", "method"), MaskRedact, MaskHash))
	}
	if s.Derive != nil {
		errs = appendBad(errs, oneOf(s.Derive.Part, at.Child("derive", "part"), TimePartDate, TimePartHour))
	}
	if s.Route != nil {
		errs = appendBad(errs, oneOf(s.Route.To, at.Child("route", "to"), RouteReject))
	}
	return errs
}

func defaultTransform(steps []TransformStep) {
	for i := range steps {
		s := &steps[i]
		if s.Flatten != nil && s.Flatten.Separator == "" {
			s.Flatten.Separator = "_"
		}
		if s.Mask != nil && s.Mask.Method == "" {
			s.Mask.Method = MaskRedact
		}
		if s.Derive != nil && s.Derive.Part == "" {
			s.Derive.Part = TimePartDate
		}
		if s.Route != nil && s.Route.To == "" {
			s.Route.To = RouteReject
		}
	}
}
