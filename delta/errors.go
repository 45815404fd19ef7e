package delta

import (
	"context"
	"errors"
	"fmt"
)

var (
	// ErrNotATable says that the store holds no Delta log.
	ErrNotATable = errors.New("not a Delta table: no _delta_log")
	// ErrExist says that [Create] found a table.
	ErrExist = errors.New("a Delta table exists already")
	// ErrTableRecreated says that the log is not the one that was read before: the table was deleted and made anew, rolled
	// back or its log was damaged. Nothing is written into a wrong history; the table must be opened again.
	ErrTableRecreated = errors.New("the table's log is not the one read before: it was recreated or rolled back")
	// ErrAppendOnly refuses to remove rows of a table with delta.appendOnly.
	ErrAppendOnly = errors.New("the table is append-only (delta.appendOnly)")
	// ErrClosed says that the table was closed.
	ErrClosed = errors.New("table is closed")
)

// CorruptLogError says that a part of the log cannot be understood. It is never taken for the log's end.
type CorruptLogError struct {
	Key  string // of the file in the store; empty when the fault is in what the files say together
	Line int    // from 1; 0 when it does not apply
	Err  error
}

func (e *CorruptLogError) Error() string {
	switch {
	case e.Key == "":
		return fmt.Sprintf("corrupt Delta log: %v", e.Err)
	case e.Line == 0:
		return fmt.Sprintf("corrupt Delta log: %s: %v", e.Key, e.Err)
	}
	return fmt.Sprintf("corrupt Delta log: %s line %d: %v", e.Key, e.Line, e.Err)
}

func (e *CorruptLogError) Unwrap() error { return e.Err }

// VersionError says that a version cannot be had.
type VersionError struct {
	Version int64
	Reason  string
}

func (e *VersionError) Error() string { return fmt.Sprintf("version %d %s", e.Version, e.Reason) }

// UnsupportedFeatureError refuses a table that needs what this version of weir cannot do.
type UnsupportedFeatureError struct {
	Feature string // as the protocol calls it
	Write   bool   // the table could be read
}

func (e *UnsupportedFeatureError) Error() string {
	verb := "read"
	if e.Write {
		verb = "write"
	}
	return fmt.Sprintf("cannot %s this table: it uses %s, which this version does not support", verb, e.Feature)
}

// ConflictKind says what two commits disagree about.
type ConflictKind string

// The kinds of conflict of the Delta protocol.
const (
	ConflictProtocol     ConflictKind = "protocol changed"
	ConflictMetadata     ConflictKind = "metadata changed"
	ConflictAppend       ConflictKind = "files added to what was read"
	ConflictDeleteRead   ConflictKind = "a file that was read was removed"
	ConflictDeleteDelete ConflictKind = "a file was removed by both"
	ConflictTxn          ConflictKind = "transaction version changed"
	ConflictDomain       ConflictKind = "domain metadata changed by both"
	ConflictAttempts     ConflictKind = "lost against other writers too often"
)

// ConflictError says that a commit of another writer made a transaction invalid. What was read must be read again.
type ConflictError struct {
	Kind    ConflictKind
	Version int64  // of the other commit
	Subject string // path, application or domain, where there is one
}

func (e *ConflictError) Error() string {
	s := fmt.Sprintf("conflict with version %d: %s", e.Version, e.Kind)
	if e.Subject != "" {
		s += ": " + e.Subject
	}
	return s
}

// UnknownOutcomeError says that a commit may or may not have been made: the store failed, and failed to say. It is
// settled by looking for TxnID in the commitInfo of Version, or for an added file in a later snapshot.
type UnknownOutcomeError struct {
	Version int64
	TxnID   string
	Err     error
}

func (e *UnknownOutcomeError) Error() string {
	return fmt.Sprintf("outcome of commit %s as version %d is unknown: %v", e.TxnID, e.Version, e.Err)
}

func (e *UnknownOutcomeError) Unwrap() error { return e.Err }

// InvalidTransactionError says that a transaction breaks a rule of the protocol or of the table.
type InvalidTransactionError struct{ Reason string }

func (e *InvalidTransactionError) Error() string { return "invalid transaction: " + e.Reason }

func invalid(format string, args ...any) error {
	return &InvalidTransactionError{fmt.Sprintf(format, args...)}
}

// IsReject says whether err refuses this transaction or table for good: the same call will fail again.
func IsReject(err error) bool {
	if _, ok := errors.AsType[*UnsupportedFeatureError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*InvalidTransactionError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*ZOrderError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*KeyError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*ConstraintError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*NotNullError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*TextError](err); ok {
		return true
	}
	return errors.Is(err, ErrAppendOnly) || errors.Is(err, ErrExist) || errors.Is(err, ErrNotATable)
}

// IsFatal says whether err means that this table must not be written any more until someone has looked at it.
func IsFatal(err error) bool {
	_, corrupt := errors.AsType[*CorruptLogError](err)
	return corrupt || errors.Is(err, ErrTableRecreated)
}

// IsRetry says whether the same work may succeed later, read anew: conflicts and failures of the store. After an
// *UnknownOutcomeError the outcome must be settled first.
func IsRetry(err error) bool {
	return err != nil && !IsReject(err) && !IsFatal(err) && !errors.Is(err, ErrClosed) &&
		!errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}
