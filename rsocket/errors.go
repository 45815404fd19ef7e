package rsocket

import (
	"errors"
	"fmt"
	"io"
)

// ErrorCode is the code of an ERROR frame.
type ErrorCode uint32

// Error codes of the protocol. Codes from 0x301 to 0xFFFFFFFE belong to applications.
const (
	CodeInvalidSetup     ErrorCode = 0x001 // the SETUP frame is malformed or of an unknown version
	CodeUnsupportedSetup ErrorCode = 0x002 // SETUP asks for something the server does not offer
	CodeRejectedSetup    ErrorCode = 0x003 // the server refused the client
	CodeRejectedResume   ErrorCode = 0x004 // the session cannot be resumed
	CodeConnectionError  ErrorCode = 0x101 // the connection ends at once
	CodeConnectionClose  ErrorCode = 0x102 // the connection ends after the streams in progress
	CodeApplicationError ErrorCode = 0x201 // the handler failed
	CodeRejected         ErrorCode = 0x202 // refused, certainly not processed
	CodeCanceled         ErrorCode = 0x203 // cancelled by the responder, perhaps processed in part
	CodeInvalid          ErrorCode = 0x204 // the request is invalid
)

// String returns the protocol's name of the code.
func (c ErrorCode) String() string {
	switch c {
	case CodeInvalidSetup:
		return "INVALID_SETUP"
	case CodeUnsupportedSetup:
		return "UNSUPPORTED_SETUP"
	case CodeRejectedSetup:
		return "REJECTED_SETUP"
	case CodeRejectedResume:
		return "REJECTED_RESUME"
	case CodeConnectionError:
		return "CONNECTION_ERROR"
	case CodeConnectionClose:
		return "CONNECTION_CLOSE"
	case CodeApplicationError:
		return "APPLICATION_ERROR"
	case CodeRejected:
		return "REJECTED"
	case CodeCanceled:
		return "CANCELED"
	case CodeInvalid:
		return "INVALID"
	default:
		return fmt.Sprintf("0x%08X", uint32(c))
	}
}

// Error is an ERROR frame: received from the peer, or to be sent to it when a handler returns one.
type Error struct {
	Code    ErrorCode
	Message string // UTF-8, may be empty
}

// Error returns code and message.
func (e *Error) Error() string {
	if e.Message == "" {
		return "rsocket: " + e.Code.String()
	}
	return "rsocket: " + e.Code.String() + ": " + e.Message
}

// Errorf returns an [Error] with a formatted message.
func Errorf(code ErrorCode, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Errors of streams and connections; test for them with [errors.Is].
var (
	ErrCanceled         = errors.New("rsocket: stream canceled")
	ErrCompleted        = errors.New("rsocket: stream completed")
	ErrConnClosed       = errors.New("rsocket: connection closed")
	ErrConnDraining     = errors.New("rsocket: connection is draining")
	ErrLifetimeExceeded = errors.New("rsocket: nothing received within the maximum lifetime")
	ErrServerClosed     = errors.New("rsocket: server closed")
	ErrStreamIDs        = errors.New("rsocket: all stream ids in use")
	ErrPayloadTooLarge  = errors.New("rsocket: payload too large")
	ErrCredit           = errors.New("rsocket: initial credit must be between 1 and 2147483647")
)

// closedError is what streams of a closed connection see: ErrConnClosed with its cause.
type closedError struct{ cause error }

func (e *closedError) Error() string {
	if e.cause == nil {
		return ErrConnClosed.Error()
	}
	return ErrConnClosed.Error() + ": " + e.cause.Error()
}

// Is makes it [ErrConnClosed].
func (e *closedError) Is(target error) bool { return target == ErrConnClosed }

// Unwrap returns the cause, except io.EOF: that is how a stream ends regularly, and the end of a connection is not that.
func (e *closedError) Unwrap() error {
	if errors.Is(e.cause, io.EOF) {
		return nil
	}
	return e.cause
}

// errorFrameOf maps the error of a handler to what the peer is told.
func errorFrameOf(err error) *Error {
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: CodeApplicationError, Message: err.Error()}
}
