package rsocket

import "encoding/binary"

// parseHeader reads the 6 bytes that start every frame. b must hold them.
func (f *frame) parseHeader(b []byte) {
	f.StreamID = binary.BigEndian.Uint32(b) & maxStreamID
	tf := binary.BigEndian.Uint16(b[4:])
	f.Type = FrameType(tf >> 10)
	f.Flags = Flags(tf & 0x3FF)
	f.N = 0
}

// parse decodes the frame in b (without its length field), replacing all that f held. It keeps no copy.
func (f *frame) parse(b []byte) error {
	if len(b) < headerSize {
		return &frameError{reason: "shorter than its header"}
	}
	f.parseHeader(b)
	f.Length = len(b)
	f.metadata, f.data, f.hasMetadata = nil, nil, false
	body := b[headerSize:]
	if f.Type == FramePayload {
		return f.parsePayload(body)
	}
	return f.parseBody(body)
}

func (f *frame) parseBody(body []byte) error {
	switch f.Type {
	case FrameRequestStream, FrameRequestChannel:
		return f.parseInitialN(body)
	case FramePayload, FrameRequestResponse, FrameRequestFNF:
		return f.parsePayload(body)
	case FrameRequestN:
		return f.parseN(body)
	case FrameKeepAlive:
		return f.parseKeepAlive(body)
	case FrameError:
		return f.parseError(body)
	case FrameMetadataPush:
		f.metadata, f.hasMetadata = body, true
	case FrameLease:
		return f.parseLease(body)
	case FrameSetup:
		return f.parseSetup(body)
	case FrameResume:
		return f.parseResume(body)
	case FrameResumeOK:
		return f.parseResumeOK(body)
	case FrameExt:
		return f.parseExt(body)
	case FrameCancel:
	default:
		f.data = body
	}
	return nil
}

func (f *frame) bad(reason string) error { return &frameError{typ: f.Type, reason: reason} }

// parsePayload splits metadata and data of b.
func (f *frame) parsePayload(b []byte) error {
	if f.Flags&FlagMetadata == 0 {
		f.data = b
		return nil
	}
	if len(b) < lengthSize {
		return f.bad("metadata length missing")
	}
	n := int(uint24(b))
	b = b[lengthSize:]
	if n > len(b) {
		return f.bad("metadata longer than the frame")
	}
	f.metadata, f.hasMetadata, f.data = b[:n:n], true, b[n:]
	return nil
}

func (f *frame) parseInitialN(b []byte) error {
	if len(b) < 4 {
		return f.bad("initial request n missing")
	}
	f.N = binary.BigEndian.Uint32(b) & maxCredit
	return f.parsePayload(b[4:])
}

func (f *frame) parseN(b []byte) error {
	if len(b) < 4 {
		return f.bad("request n missing")
	}
	f.N = binary.BigEndian.Uint32(b) & maxCredit
	return nil
}

func (f *frame) parseKeepAlive(b []byte) error {
	if len(b) < 8 {
		return f.bad("position missing")
	}
	f.position = uint63(b)
	f.data = b[8:]
	return nil
}

func (f *frame) parseError(b []byte) error {
	if len(b) < 4 {
		return f.bad("error code missing")
	}
	f.N = binary.BigEndian.Uint32(b)
	f.data = b[4:]
	return nil
}

func (f *frame) parseLease(b []byte) error {
	if len(b) < 8 {
		return f.bad("time to live or number of requests missing")
	}
	f.ttl = binary.BigEndian.Uint32(b) & maxCredit
	f.N = binary.BigEndian.Uint32(b[4:]) & maxCredit
	f.metadata, f.hasMetadata = b[8:], f.Flags&FlagMetadata != 0
	return nil
}

func (f *frame) parseSetup(b []byte) error {
	if len(b) < 12 {
		return f.bad("version or keepalive times missing")
	}
	s := setupFields{
		major: binary.BigEndian.Uint16(b), minor: binary.BigEndian.Uint16(b[2:]),
		keepAlive: binary.BigEndian.Uint32(b[4:]) & maxCredit, maxLifetime: binary.BigEndian.Uint32(b[8:]) & maxCredit,
	}
	b = b[12:]
	var ok bool
	if f.Flags&FlagResume != 0 {
		if s.token, b, ok = cutToken(b); !ok {
			return f.bad("resume token longer than the frame")
		}
	}
	if s.metadataMIME, b, ok = cutMIME(b); !ok {
		return f.bad("metadata MIME type longer than the frame")
	}
	if s.dataMIME, b, ok = cutMIME(b); !ok {
		return f.bad("data MIME type longer than the frame")
	}
	f.setup = s
	return f.parsePayload(b)
}

func (f *frame) parseResume(b []byte) error {
	if len(b) < 4 {
		return f.bad("version missing")
	}
	s := setupFields{major: binary.BigEndian.Uint16(b), minor: binary.BigEndian.Uint16(b[2:])}
	var ok bool
	if s.token, b, ok = cutToken(b[4:]); !ok {
		return f.bad("resume token longer than the frame")
	}
	if len(b) < 16 {
		return f.bad("positions missing")
	}
	f.setup, f.position, f.available = s, uint63(b), uint63(b[8:])
	return nil
}

func (f *frame) parseResumeOK(b []byte) error {
	if len(b) < 8 {
		return f.bad("position missing")
	}
	f.position = uint63(b)
	return nil
}

func (f *frame) parseExt(b []byte) error {
	if len(b) < 4 {
		return f.bad("extended type missing")
	}
	f.N = binary.BigEndian.Uint32(b) & maxCredit
	f.data = b[4:]
	return nil
}

// cutToken takes a resume token (length of 16 bits) off b.
func cutToken(b []byte) (token, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	b = b[2:]
	if n > len(b) {
		return nil, nil, false
	}
	return b[:n:n], b[n:], true
}

// cutMIME takes a MIME type (length of 8 bits) off b.
func cutMIME(b []byte) (mime, rest []byte, ok bool) {
	if len(b) < 1 || int(b[0]) > len(b)-1 {
		return nil, nil, false
	}
	n := int(b[0])
	return b[1 : 1+n : 1+n], b[1+n:], true
}

func uint24(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }

func uint63(b []byte) uint64 { return binary.BigEndian.Uint64(b) &^ (1 << 63) }
