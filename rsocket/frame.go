package rsocket

import (
	"fmt"
	"math"
)

// FrameType is the 6-bit type of a frame.
type FrameType uint8

// Frame types of RSocket 1.0.
const (
	FrameSetup           FrameType = 0x01
	FrameLease           FrameType = 0x02
	FrameKeepAlive       FrameType = 0x03
	FrameRequestResponse FrameType = 0x04
	FrameRequestFNF      FrameType = 0x05
	FrameRequestStream   FrameType = 0x06
	FrameRequestChannel  FrameType = 0x07
	FrameRequestN        FrameType = 0x08
	FrameCancel          FrameType = 0x09
	FramePayload         FrameType = 0x0A
	FrameError           FrameType = 0x0B
	FrameMetadataPush    FrameType = 0x0C
	FrameResume          FrameType = 0x0D
	FrameResumeOK        FrameType = 0x0E
	FrameExt             FrameType = 0x3F
)

var frameNames = map[FrameType]string{
	FrameSetup: "SETUP", FrameLease: "LEASE", FrameKeepAlive: "KEEPALIVE", FrameRequestResponse: "REQUEST_RESPONSE",
	FrameRequestFNF: "REQUEST_FNF", FrameRequestStream: "REQUEST_STREAM", FrameRequestChannel: "REQUEST_CHANNEL",
	FrameRequestN: "REQUEST_N", FrameCancel: "CANCEL", FramePayload: "PAYLOAD", FrameError: "ERROR",
	FrameMetadataPush: "METADATA_PUSH", FrameResume: "RESUME", FrameResumeOK: "RESUME_OK", FrameExt: "EXT",
}

// String returns the protocol's name of the type.
func (t FrameType) String() string {
	if s, ok := frameNames[t]; ok {
		return s
	}
	return fmt.Sprintf("0x%02X", uint8(t))
}

// Flags are the 10 flag bits of a frame. Some bits mean different things in different frame types.
type Flags uint16

// Flag bits.
const (
	FlagIgnore   Flags = 0x200 // every type: ignore the frame if not understood
	FlagMetadata Flags = 0x100 // every type: metadata present
	FlagFollows  Flags = 0x080 // REQUEST_*, PAYLOAD: more fragments follow
	FlagResume   Flags = 0x080 // SETUP: resume token present
	FlagRespond  Flags = 0x080 // KEEPALIVE: answer it
	FlagComplete Flags = 0x040 // REQUEST_CHANNEL, PAYLOAD: the sender's direction ends
	FlagLease    Flags = 0x040 // SETUP: the client honours leases
	FlagNext     Flags = 0x020 // PAYLOAD: carries a payload
)

const (
	headerSize   = 6 // stream id and type with flags
	lengthSize   = 3 // frame length, and metadata length inside a frame
	maxFrameSize = 1<<24 - 1
	maxCredit    = math.MaxInt32
	maxStreamID  = math.MaxInt32
	minMTU       = 64
	versionMajor = 1
	versionMinor = 0
)

// FrameHeader is what a frame recorder sees of a frame.
type FrameHeader struct {
	Type     FrameType
	Flags    Flags
	StreamID uint32
	N        uint32 // initial request n, request n, number of requests of a LEASE, code of an ERROR; else 0
	Length   int    // bytes of the frame without the length field
}

// Direction says whether a recorded frame was received or sent.
type Direction uint8

// Directions.
const (
	In Direction = iota
	Out
)

// Tap is told of every frame of a connection. It runs on the connection's own goroutines, partly under its locks: it must
// return quickly and must not call into the package.
type Tap func(conn uint64, dir Direction, h FrameHeader)

// frame is a decoded frame. Its slices point into the buffer it was parsed from.
type frame struct {
	FrameHeader
	hasMetadata bool
	metadata    []byte
	data        []byte // payload data, error message, keepalive data, extension body

	setup     setupFields // SETUP, RESUME
	position  uint64      // KEEPALIVE: last received; RESUME: last received server position; RESUME_OK: last received client position
	available uint64      // RESUME: first available client position
	ttl       uint32      // LEASE: milliseconds

	owned   bool // the slices are memory of their own, not the read buffer
	charged int  // bytes of the budget already reserved for it
}

// advance is how far the frame moves the position of a resumable connection: its length, if it belongs to a stream.
func (f *frame) advance() uint64 {
	if f.StreamID == 0 {
		return 0
	}
	return uint64(f.Length)
}

// take hands the payload on, together with the responsibility for its charge.
func (f *frame) take() received {
	r := received{Payload: Payload{Data: f.data, Metadata: f.metadata, HasMetadata: f.hasMetadata}, owned: f.owned, charged: f.charged}
	f.charged = 0
	return r
}

type setupFields struct {
	major, minor           uint16
	keepAlive, maxLifetime uint32 // milliseconds
	token                  []byte
	metadataMIME, dataMIME []byte
}

// frameError says that the bytes of a frame do not form one.
type frameError struct {
	typ    FrameType
	reason string
}

func (e *frameError) Error() string { return "malformed " + e.typ.String() + " frame: " + e.reason }

// isRequest reports whether the type opens a stream.
func (t FrameType) isRequest() bool { return t >= FrameRequestResponse && t <= FrameRequestChannel }

// carriesPayload reports whether the type has metadata and data of the application on a stream.
func (t FrameType) carriesPayload() bool { return t.isRequest() || t == FramePayload }

// hasInitialN reports whether the type has an initial request n.
func (t FrameType) hasInitialN() bool { return t == FrameRequestStream || t == FrameRequestChannel }
