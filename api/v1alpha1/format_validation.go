package v1alpha1

import (
	"k8s.io/apimachinery/pkg/util/validation/field"
)

const (
	maxFormatFile   = 1024
	maxFormatInline = 256 << 10
	maxMessageName  = 512
)

// validateFormat checks the shape. What files hold is checked by weir lint and weir run, which read them.
func validateFormat(f *FormatSpec, at *field.Path) field.ErrorList {
	if f.Protobuf == nil {
		return nil
	}
	p, at := f.Protobuf, at.Child("protobuf")
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
