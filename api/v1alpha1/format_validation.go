package v1alpha1

import (
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	maxFormatFile   = 1024
	maxFormatInline = 256 << 10
	maxMessageName  = 512
)

// validateFormat checks the shape. What files hold is checked by weir lint and weir run, which read them.
func validateFormat(f *FormatSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if f.Protobuf != nil {
		errs = append(errs, validateProtobuf(f.Protobuf, at.Child("protobuf"))...)
	}
	if f.Avro != nil {
		errs = append(errs, validateAvro(f.Avro, at.Child("avro"))...)
	}
	return errs
}

func validateAvro(a *AvroFormat, at *field.Path) field.ErrorList {
	switch {
	case a.File != "" && a.Inline != "":
		return field.ErrorList{field.Invalid(at.Child("file"), a.File, "set at most one of file and inline")}
	case a.File == "" && a.Inline == "" && a.Registry == nil:
		return field.ErrorList{field.Required(at.Child("file"), "set file, inline or registry")}
	case len(a.File) > maxFormatFile:
		return field.ErrorList{field.TooLong(at.Child("file"), a.File, maxFormatFile)}
	case len(a.Inline) > maxFormatInline:
		return field.ErrorList{field.TooLong(at.Child("inline"), "", maxFormatInline)}
	case a.Registry == nil:
		return nil
	}
	r, at := a.Registry, at.Child("registry")
	var errs field.ErrorList
	switch {
	case (r.URL == "") == (r.Directory == ""):
		errs = append(errs, field.Invalid(at.Child("url"), r.URL, "set exactly one of url and directory"))
	case r.URL != "" && !strings.HasPrefix(r.URL, "http://") && !strings.HasPrefix(r.URL, "https://"):
		errs = append(errs, field.Invalid(at.Child("url"), r.URL, "must begin with http:// or https://"))
	case len(r.URL) > maxFormatFile:
		errs = append(errs, field.TooLong(at.Child("url"), r.URL, maxFormatFile))
	case len(r.Directory) > maxFormatFile:
		errs = append(errs, field.TooLong(at.Child("directory"), r.Directory, maxFormatFile))
	}
	if t := r.Timeout.Duration; t < 100*time.Millisecond || t > time.Minute {
		errs = append(errs, field.Invalid(at.Child("timeout"), t.String(), "must be from 100ms to 1m"))
	}
	return errs
}

func validateProtobuf(p *ProtobufFormat, at *field.Path) field.ErrorList {
	errs := validateSource(p.File, p.Inline, at)
	switch {
	case p.Message == "":
		errs = append(errs, field.Required(at.Child("message"), "the full name of the message, such as acme.orders.v1.Order"))
	case len(p.Message) > maxMessageName:
		errs = append(errs, field.TooLong(at.Child("message"), p.Message, maxMessageName))
	}
	return errs
}

// validateSource checks what is given as a file or inline.
func validateSource(file, inline string, at *field.Path) field.ErrorList {
	switch {
	case file == "" && inline == "":
		return field.ErrorList{field.Required(at.Child("file"), "set exactly one of file and inline")}
	case file != "" && inline != "":
		return field.ErrorList{field.Invalid(at.Child("file"), file, "set exactly one of file and inline")}
	case len(file) > maxFormatFile:
		return field.ErrorList{field.TooLong(at.Child("file"), file, maxFormatFile)}
	case len(inline) > maxFormatInline:
		return field.ErrorList{field.TooLong(at.Child("inline"), "", maxFormatInline)}
	}
	return nil
}
