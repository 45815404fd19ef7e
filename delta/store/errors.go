package store

import (
	"errors"
	"fmt"
	"strings"
)

// Class says what the error of a store means to who calls it.
type Class int

// The classes.
const (
	// Retry: the service is busy, away or was cut off. The same call may succeed later.
	Retry Class = iota + 1
	// Reject: the service refuses. The same call fails until someone changes a setting, a permission or a clock.
	Reject
	// Fatal: the store is not what a table needs, such as one that cannot put an object only if it is absent.
	Fatal
)

// ServiceError is what a service that is reached over a network said.
type ServiceError struct {
	Class     Class
	Status    int    // of HTTP; 0 when no answer came
	Code      string // the service's own, such as SlowDown; may be empty
	Message   string
	RequestID string // for the service's support; may be empty
	Hint      string // what to do; may be empty
	Err       error  // the cause; may be nil
}

func (e *ServiceError) Error() string {
	var b strings.Builder
	switch {
	case e.Code != "" && e.Message != "":
		b.WriteString(e.Code + ": " + e.Message)
	case e.Code != "" || e.Message != "":
		b.WriteString(e.Code + e.Message)
	case e.Err != nil:
		b.WriteString(e.Err.Error())
	default:
		b.WriteString("no answer")
	}
	if e.Status != 0 {
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	if e.RequestID != "" {
		b.WriteString(", request " + e.RequestID)
	}
	if e.Hint != "" {
		b.WriteString(": " + e.Hint)
	}
	return b.String()
}

func (e *ServiceError) Unwrap() error { return e.Err }

// ClassOf is the class of an error of a store, 0 if it has none: errors about one object, and those of a context.
func ClassOf(err error) Class {
	if _, ok := errors.AsType[*UnsafeError](err); ok {
		return Fatal
	}
	if e, ok := errors.AsType[*ServiceError](err); ok {
		return e.Class
	}
	return 0
}
