package rsocket

import "encoding/binary"

// All append functions write the 24-bit length field first: the form of a frame on a byte stream.

func appendUint24(dst []byte, n int) []byte {
	return append(dst, byte(n>>16), byte(n>>8), byte(n))
}

// appendHeader starts a frame whose body after the header has n bytes.
func appendHeader(dst []byte, typ FrameType, flags Flags, id uint32, n int) []byte {
	n += headerSize
	tf := uint16(typ)<<10 | uint16(flags)
	return append(dst, byte(n>>16), byte(n>>8), byte(n), byte(id>>24), byte(id>>16), byte(id>>8), byte(id), byte(tf>>8), byte(tf))
}

// appendRequestN encodes REQUEST_N.
func appendRequestN(dst []byte, id, n uint32) []byte {
	dst = appendHeader(dst, FrameRequestN, 0, id, 4)
	return binary.BigEndian.AppendUint32(dst, n)
}

// appendCancel encodes CANCEL.
func appendCancel(dst []byte, id uint32) []byte { return appendHeader(dst, FrameCancel, 0, id, 0) }

// maxErrorMessage bounds the message of an ERROR frame we send.
const maxErrorMessage = 4096

// encodeError encodes ERROR; the message is cut to 4 KiB.
func encodeError(id uint32, e *Error) []byte {
	msg := e.Message
	if len(msg) > maxErrorMessage {
		msg = msg[:maxErrorMessage]
	}
	dst := appendHeader(nil, FrameError, 0, id, 4+len(msg))
	dst = binary.BigEndian.AppendUint32(dst, uint32(e.Code))
	return append(dst, msg...)
}

// appendKeepAlive encodes KEEPALIVE.
func appendKeepAlive(dst []byte, respond bool, position uint64, data []byte) []byte {
	var flags Flags
	if respond {
		flags = FlagRespond
	}
	dst = appendHeader(dst, FrameKeepAlive, flags, 0, 8+len(data))
	dst = binary.BigEndian.AppendUint64(dst, position)
	return append(dst, data...)
}

// appendMetadataPush encodes METADATA_PUSH.
func appendMetadataPush(dst, metadata []byte) []byte {
	dst = appendHeader(dst, FrameMetadataPush, FlagMetadata, 0, len(metadata))
	return append(dst, metadata...)
}

// appendLease encodes LEASE; ttl in milliseconds. Metadata nil means none.
func appendLease(dst []byte, ttl, n uint32, metadata []byte) []byte {
	var flags Flags
	if metadata != nil {
		flags = FlagMetadata
	}
	dst = appendHeader(dst, FrameLease, flags, 0, 8+len(metadata))
	dst = binary.BigEndian.AppendUint32(dst, ttl)
	dst = binary.BigEndian.AppendUint32(dst, n)
	return append(dst, metadata...)
}

// encodeSetup encodes SETUP. Flags may hold FlagLease; FlagResume and FlagMetadata follow from the arguments.
func encodeSetup(flags Flags, s *setupFields, p *Payload) []byte {
	n := 12 + 2 + len(s.metadataMIME) + len(s.dataMIME) + payloadSize(p)
	if s.token != nil {
		flags |= FlagResume
		n += 2 + len(s.token)
	}
	if p.HasMetadata {
		flags |= FlagMetadata
	}
	dst := appendHeader(nil, FrameSetup, flags, 0, n)
	dst = binary.BigEndian.AppendUint16(dst, s.major)
	dst = binary.BigEndian.AppendUint16(dst, s.minor)
	dst = binary.BigEndian.AppendUint32(dst, s.keepAlive)
	dst = binary.BigEndian.AppendUint32(dst, s.maxLifetime)
	if s.token != nil {
		dst = appendToken(dst, s.token)
	}
	dst = append(append(dst, byte(len(s.metadataMIME))), s.metadataMIME...)
	dst = append(append(dst, byte(len(s.dataMIME))), s.dataMIME...)
	return appendBody(dst, p)
}

// encodeResume encodes RESUME.
func encodeResume(token []byte, lastReceived, firstAvailable uint64) []byte {
	dst := appendHeader(nil, FrameResume, 0, 0, 4+2+len(token)+16)
	dst = binary.BigEndian.AppendUint16(dst, versionMajor)
	dst = binary.BigEndian.AppendUint16(dst, versionMinor)
	dst = appendToken(dst, token)
	dst = binary.BigEndian.AppendUint64(dst, lastReceived)
	return binary.BigEndian.AppendUint64(dst, firstAvailable)
}

// appendResumeOK encodes RESUME_OK.
func appendResumeOK(dst []byte, lastReceived uint64) []byte {
	dst = appendHeader(dst, FrameResumeOK, 0, 0, 8)
	return binary.BigEndian.AppendUint64(dst, lastReceived)
}

// appendExt encodes EXT.
func appendExt(dst []byte, flags Flags, id, extended uint32, body []byte) []byte {
	dst = appendHeader(dst, FrameExt, flags, id, 4+len(body))
	dst = binary.BigEndian.AppendUint32(dst, extended)
	return append(dst, body...)
}

func appendToken(dst, token []byte) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(len(token)))
	return append(dst, token...)
}

// payloadSize is the length of metadata (with its length field) and data in a frame.
func payloadSize(p *Payload) int {
	n := len(p.Data)
	if p.HasMetadata {
		n += lengthSize + len(p.Metadata)
	}
	return n
}

// appendBody writes metadata, if present, and data.
func appendBody(dst []byte, p *Payload) []byte {
	if p.HasMetadata {
		dst = appendUint24(dst, len(p.Metadata))
		dst = append(dst, p.Metadata...)
	}
	return append(dst, p.Data...)
}

// fragmenter encodes one payload as one frame, or as a frame and its fragments when it exceeds the MTU.
type fragmenter struct {
	typ   FrameType // of the first frame; the others are PAYLOAD
	id    uint32
	n     uint32 // initial request n, if the type has one
	flags Flags  // FlagComplete goes on the last frame, FlagNext on every PAYLOAD
	p     Payload
	mtu   int // longest frame without the length field

	observed func(error) // of the stream it opens, see [RequestObserver]
	answer   bool        // to a request-response
}

// next appends one frame and reports whether it was the last. After it returned false, f holds what remains.
func (f *fragmenter) next(dst []byte) (out []byte, h FrameHeader, last bool) {
	fixed := 0
	if f.typ.hasInitialN() {
		fixed = 4
	}
	part, flags, last := f.p, f.flags, true
	size := headerSize + fixed + payloadSize(&part)
	if size > f.mtu {
		part, last = f.cut(f.mtu-headerSize-fixed), false
		size = headerSize + fixed + payloadSize(&part)
		flags = flags&^FlagComplete | FlagFollows
	}
	if part.HasMetadata {
		flags |= FlagMetadata
	}
	h = FrameHeader{Type: f.typ, Flags: flags, StreamID: f.id, N: f.n, Length: size}
	dst = appendHeader(dst, f.typ, flags, f.id, size-headerSize)
	if fixed > 0 {
		dst = binary.BigEndian.AppendUint32(dst, f.n)
	}
	dst = appendBody(dst, &part)
	f.typ, f.n, f.flags = FramePayload, 0, f.flags|FlagNext
	return dst, h, last
}

// cut takes off what fits into room bytes, metadata first.
func (f *fragmenter) cut(room int) Payload {
	var part Payload
	if f.p.HasMetadata {
		n := min(room-lengthSize, len(f.p.Metadata))
		part.Metadata, part.HasMetadata = f.p.Metadata[:n], true
		f.p.Metadata = f.p.Metadata[n:]
		f.p.HasMetadata = len(f.p.Metadata) > 0
		room -= lengthSize + n
	}
	n := min(room, len(f.p.Data))
	part.Data, f.p.Data = f.p.Data[:n], f.p.Data[n:]
	return part
}
