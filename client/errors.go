package client

import (
	"errors"
	"fmt"

	"github.com/weir-dev/weir/protocol"
	"github.com/weir-dev/weir/rsocket"
)

// Errors of streams; test for them with [errors.Is].
var (
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("closed")
	// ErrBufferFull is returned by Send under the policy [Fail]. The payload was not taken.
	ErrBufferFull = errors.New("buffer full")
	// ErrTooLarge is returned for a payload that is larger than the whole buffer. It was not taken.
	ErrTooLarge = errors.New("payload larger than the buffer")
	// ErrFenced says that the stream belongs to another incarnation. It is final.
	ErrFenced = errors.New("the stream belongs to another producer, or to an earlier process: use a new stream name, or the incarnation that opened it")
	// ErrStreamOpen is returned by OpenStream for a name that is open on the same client.
	ErrStreamOpen = errors.New("stream is open already")
	// ErrGaveUp says that the stream could not be opened again within [Options.GiveUpAfter]. It wraps the last failure.
	ErrGaveUp = errors.New("gave up reconnecting")
	// ErrUnacked is returned by Close along with payloads that were not acknowledged. It wraps the reason.
	ErrUnacked = errors.New("not everything was acknowledged")
	// ErrProtocol says that the server broke the protocol. It is final.
	ErrProtocol = errors.New("the server broke the protocol")
)

// OutOfRangeError says that the server has lost acknowledged payloads of the stream, or knows others: it expects a sequence
// that this client cannot send. It is final.
type OutOfRangeError struct {
	Expected int64 // the sequence that the server wants next
}

func (e *OutOfRangeError) Error() string {
	return fmt.Sprintf("the server expects payload %d, which was acknowledged before: its state of the stream is not the one this producer wrote to", e.Expected)
}

// final says whether err ends a stream for good. Everything else is tried again: a lost connection, a draining or refusing
// server, and a pipeline that has stopped, since that heals once its operator has acted.
func final(err error) bool {
	if refused, ok := errors.AsType[*protocol.Error](err); ok {
		return refused.Code != protocol.CodeUnavailable && refused.Code != protocol.CodeFailed
	}
	if frame, ok := errors.AsType[*rsocket.Error](err); ok {
		return frame.Code == rsocket.CodeInvalid
	}
	_, outOfRange := errors.AsType[*OutOfRangeError](err)
	return outOfRange || errors.Is(err, ErrFenced) || errors.Is(err, ErrProtocol) || errors.Is(err, ErrClosed)
}
