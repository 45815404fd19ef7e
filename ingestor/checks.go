package ingestor

import (
	"errors"
	"regexp"

	"github.com/weir-dev/weir/delta"
	"github.com/weir-dev/weir/delta/store"
	"github.com/weir-dev/weir/protocol"
)

// openError says that a pipeline could not be started, and at which of the things that it depends on.
type openError struct {
	part part
	err  error
}

type part int

const (
	storagePart part = iota // writing to the store
	tablePart               // reading the table and agreeing with it
)

func (e *openError) Error() string { return e.err.Error() }
func (e *openError) Unwrap() error { return e.err }

// checks says what err, the newest failure of a pipeline or nil, tells about its store and its table.
func checks(err error, version int64) (storage, table protocol.Check) {
	storage = protocol.Check{State: protocol.CheckPassed, Reason: protocol.ReasonPutIfAbsent, Message: "put-if-absent works"}
	table = protocol.Check{State: protocol.CheckPassed, Reason: protocol.ReasonWritable, Message: "the table can be written to"}
	if version < 0 {
		table = protocol.Check{State: protocol.CheckPassed, Reason: protocol.ReasonNoTableYet, Message: "the first commit makes the table"}
	}
	if err == nil {
		return storage, table
	}
	if reason := tableReason(err); reason != "" {
		return storage, protocol.Check{State: protocol.CheckFailed, Reason: reason, Message: plain(err)}
	}
	storage = protocol.Check{State: protocol.CheckFailed, Reason: protocol.ReasonUnreachable, Message: plain(err)}
	if _, unsafe := errors.AsType[*store.UnsafeError](err); unsafe {
		storage.Reason = protocol.ReasonUnsafePutIfAbsent
	}
	if _, opening := errors.AsType[*openError](err); opening {
		table = protocol.Check{State: protocol.CheckUnknown, Reason: protocol.ReasonUnreachable, Message: "the table was not read yet"}
	}
	return storage, table
}

// tableReason says what is wrong with the table; "" if err is about the store. What a table cannot have said comes from the
// store; while a pipeline opens, what is left over is a disagreement between the table and the pipeline.
func tableReason(err error) string {
	opening, _ := errors.AsType[*openError](err)
	switch {
	case opening != nil && opening.part == storagePart:
		return ""
	case errors.Is(err, delta.ErrTableRecreated):
		return protocol.ReasonRecreated
	case delta.IsFatal(err):
		return protocol.ReasonDamaged
	case unsupported(err):
		return protocol.ReasonUnsupported
	case delta.IsReject(err) || opening != nil && !fromStore(err):
		return protocol.ReasonMismatch
	}
	return ""
}

func unsupported(err error) bool {
	_, ok := errors.AsType[*delta.UnsupportedFeatureError](err)
	return ok
}

// fromStore says whether an operation of the store failed.
func fromStore(err error) bool {
	_, ok := errors.AsType[*store.KeyError](err)
	return ok
}

// perRequest matches what is another in each attempt: the name of the probe's object, and what services add to an error.
var perRequest = regexp.MustCompile(`(?i),? ?(request ?id|host ?id|x-ms-request-id): ?[^\s,]*|\w+ \S*\.weir-probe-\w+: `)

// plain words err without what differs from one attempt to the next, so that the same trouble has the same text.
func plain(err error) string { return perRequest.ReplaceAllString(err.Error(), "") }
