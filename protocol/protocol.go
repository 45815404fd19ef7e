// Package protocol holds what a producer and an ingestor say to each other above RSocket: the routes, the header that
// opens a stream, and the messages that come back. docs/protocol.md has them byte for byte, for clients in any language.
package protocol

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// The routes of a pipeline. A pod that hosts one pipeline takes them bare; "<pipeline>.<route>" always works.
const (
	RouteStream        = "ingest.stream"
	RouteRequest       = "ingest.request"
	RouteFireAndForget = "ingest.fire-forget"
	RouteStatus        = "status.watch"
)

// MIMEStream is the type of the metadata entry that opens a stream.
const MIMEStream = "application/vnd.weir.stream+json"

// LevelCommitted acknowledges records that are visible in a version of the table.
const LevelCommitted = "committed"

// Bounds of what a header may hold.
const (
	MaxHeaderBytes = 4096
	MaxNameBytes   = 256
	MaxSequence    = 1 << 62 // of a payload, and of an epoch
)

// Header opens a stream.
type Header struct {
	Producer    string `json:"producer,omitempty"` // for humans; at most MaxNameBytes
	Incarnation string `json:"incarnation"`        // a fresh random id per producer process
	Stream      string `json:"stream"`
	Epoch       int64  `json:"epoch"`  // ≥ 1, one above the highest ever tried
	Ack         string `json:"ack"`    // the level, "committed"
	Acked       int64  `json:"k"`      // the last sequence acknowledged at that level
	Reopen      bool   `json:"reopen"` // take the stream over from another incarnation
}

// Error codes of an error message.
const (
	CodeBadHeader           = "badHeader"           // the header is not what docs/protocol.md says
	CodeUnsupportedAckLevel = "unsupportedAckLevel" // never downgraded
	CodeUnsupportedReopen   = "unsupportedReopen"
	CodeUnsupportedMIME     = "unsupportedMIME"
	CodeUnavailable         = "unavailable" // the pipeline takes nothing now; try another pod or later
	CodeFailed              = "failed"      // the pipeline has stopped; its status says why
)

// Error is a refusal that goes to the peer as an error message.
type Error struct {
	Code    string
	Message string
}

func (e *Error) Error() string { return e.Code + ": " + e.Message }

// ParseHeader reads and checks a header. Its errors are *Error.
func ParseHeader(b []byte) (Header, error) {
	var h Header
	if len(b) > MaxHeaderBytes {
		return h, badHeader("has %d bytes, at most %d are allowed", len(b), MaxHeaderBytes)
	}
	if err := json.Unmarshal(b, &h); err != nil {
		return h, badHeader("is not the expected JSON object: %v", err)
	}
	switch {
	case h.Stream == "" || len(h.Stream) > MaxNameBytes:
		return h, badHeader("stream must have 1 to %d bytes", MaxNameBytes)
	case h.Incarnation == "" || len(h.Incarnation) > MaxNameBytes:
		return h, badHeader("incarnation must have 1 to %d bytes", MaxNameBytes)
	case len(h.Producer) > MaxNameBytes:
		return h, badHeader("producer must have at most %d bytes", MaxNameBytes)
	case h.Epoch < 1 || h.Epoch > MaxSequence:
		return h, badHeader("epoch is %d, it counts from 1 to 2^62", h.Epoch)
	case h.Acked < 0 || h.Acked > MaxSequence:
		return h, badHeader("k is %d, it is the last acknowledged sequence, 0 to 2^62", h.Acked)
	case h.Reopen:
		return h, &Error{CodeUnsupportedReopen, "reopen is not offered yet: open the stream with the incarnation that holds it, or use a new stream name"}
	case h.Ack != LevelCommitted:
		return h, &Error{CodeUnsupportedAckLevel, fmt.Sprintf("ack level %.40q is not offered: this pod has no write-ahead log, use %q", h.Ack, LevelCommitted)}
	}
	return h, nil
}

func badHeader(format string, args ...any) *Error {
	return &Error{CodeBadHeader, "stream header " + fmt.Sprintf(format, args...)}
}

// Type names a message of a stream.
type Type string

// The messages that an ingestor sends on a stream.
const (
	TypeOpened     Type = "opened"
	TypeAck        Type = "ack"
	TypeDrain      Type = "drain"
	TypeStaleEpoch Type = "staleEpoch"
	TypeOutOfRange Type = "outOfRange"
	TypeFenced     Type = "fenced"
	TypeError      Type = "error"
)

// Message is any message of a stream; Type says which of the fields count.
type Message struct {
	Type Type `json:"type"`

	Epoch      int64 `json:"epoch,omitempty"`      // opened
	ResumeFrom int64 `json:"resumeFrom,omitempty"` // opened
	Highest    int64 `json:"highest,omitempty"`    // staleEpoch
	Expected   int64 `json:"expected,omitempty"`   // outOfRange

	Level    string   `json:"level,omitempty"`    // ack
	Sequence int64    `json:"sequence,omitempty"` // ack: cumulative
	Records  int64    `json:"records,omitempty"`  // ack: accepted in this epoch so far
	Version  int64    `json:"version,omitempty"`  // ack: of the table
	Rejected []Reject `json:"rejected,omitempty"` // ack

	Code    string `json:"code,omitempty"`    // error
	Message string `json:"message,omitempty"` // error
}

// Reject names a record that was not taken.
type Reject struct {
	Sequence int64  `json:"sequence"` // of its payload
	Row      int    `json:"row"`      // within the payload, from 0
	Reason   string `json:"reason"`
}

// ErrBadMessage is returned for bytes that are no message.
var ErrBadMessage = errors.New("not a stream message")

// ParseMessage reads a message. Unknown types and fields are kept out of the way of later versions: the caller ignores
// types that it does not know.
func ParseMessage(b []byte) (Message, error) {
	var m Message
	if err := json.Unmarshal(b, &m); err != nil {
		return m, fmt.Errorf("%w: %w", ErrBadMessage, err)
	}
	if m.Type == "" {
		return m, fmt.Errorf("%w: it has no type", ErrBadMessage)
	}
	return m, nil
}

// Append encodes m behind dst. The field order is fixed, so that the bytes are those of docs/protocol.md.
func (m *Message) Append(dst []byte) []byte {
	dst = append(dst, `{"type":"`...)
	dst = append(dst, m.Type...)
	dst = append(dst, '"')
	switch m.Type {
	case TypeOpened:
		dst = appendInt(dst, "epoch", m.Epoch)
		dst = appendInt(dst, "resumeFrom", m.ResumeFrom)
	case TypeAck:
		dst = append(dst, `,"level":"`...)
		dst = append(dst, m.Level...)
		dst = append(dst, '"')
		dst = appendInt(dst, "sequence", m.Sequence)
		dst = appendInt(dst, "records", m.Records)
		dst = appendInt(dst, "version", m.Version)
		dst = appendRejected(dst, m.Rejected)
	case TypeStaleEpoch:
		dst = appendInt(dst, "highest", m.Highest)
	case TypeOutOfRange:
		dst = appendInt(dst, "expected", m.Expected)
	case TypeError:
		dst = append(dst, `,"code":`...)
		dst = appendString(dst, m.Code)
		dst = append(dst, `,"message":`...)
		dst = appendString(dst, m.Message)
	case TypeDrain, TypeFenced:
	}
	return append(dst, '}')
}

func appendInt(dst []byte, name string, v int64) []byte {
	dst = append(dst, `,"`...)
	dst = append(dst, name...)
	dst = append(dst, `":`...)
	return strconv.AppendInt(dst, v, 10)
}

func appendRejected(dst []byte, rejected []Reject) []byte {
	if len(rejected) == 0 {
		return dst
	}
	dst = append(dst, `,"rejected":[`...)
	for i, r := range rejected {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, `{"sequence":`...)
		dst = strconv.AppendInt(dst, r.Sequence, 10)
		dst = appendInt(dst, "row", int64(r.Row))
		dst = append(dst, `,"reason":`...)
		dst = appendString(dst, r.Reason)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

// appendString encodes s as encoding/json does.
func appendString(dst []byte, s string) []byte {
	b, err := json.Marshal(s)
	if err != nil { // a string always encodes
		return append(dst, `""`...)
	}
	return append(dst, b...)
}

// Size is about what a reject takes in an ack, in bytes.
func (r Reject) Size() int { return len(r.Reason) + 64 }

// NewID returns 16 random bytes, from src, in hexadecimal: an incarnation or the name of an unnamed stream.
func NewID(src func([]byte) (int, error)) (string, error) {
	var b [16]byte
	if _, err := src(b[:]); err != nil {
		return "", fmt.Errorf("random id: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}
