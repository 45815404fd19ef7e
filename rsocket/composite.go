package rsocket

import (
	"errors"
	"iter"
)

// MIME types of the protocol's extensions.
const (
	MIMEComposite       = "message/x.rsocket.composite-metadata.v0"
	MIMERouting         = "message/x.rsocket.routing.v0"
	MIMEPerStreamData   = "message/x.rsocket.mime-type.v0"
	MIMEPerStreamAccept = "message/x.rsocket.accept-mime-types.v0"
	MIMEAuthentication  = "message/x.rsocket.authentication.v0"
	MIMETracing         = "message/x.rsocket.tracing-zipkin.v0"
)

// wellKnown are the MIME types that travel as one byte, by id.
var wellKnown = map[uint8]string{
	0x00: "application/avro", 0x01: "application/cbor", 0x02: "application/graphql", 0x03: "application/gzip",
	0x04: "application/javascript", 0x05: "application/json", 0x06: "application/octet-stream", 0x07: "application/pdf",
	0x08: "application/vnd.apache.thrift.binary", 0x09: "application/vnd.google.protobuf", 0x0A: "application/xml",
	0x0B: "application/zip", 0x0C: "audio/aac", 0x0D: "audio/mp3", 0x0E: "audio/mp4", 0x0F: "audio/mpeg3", 0x10: "audio/mpeg",
	0x11: "audio/ogg", 0x12: "audio/opus", 0x13: "audio/vorbis", 0x14: "image/bmp", 0x15: "image/gif", 0x16: "image/heic-sequence",
	0x17: "image/heic", 0x18: "image/heif-sequence", 0x19: "image/heif", 0x1A: "image/jpeg", 0x1B: "image/png", 0x1C: "image/tiff",
	0x1D: "multipart/mixed", 0x1E: "text/css", 0x1F: "text/csv", 0x20: "text/html", 0x21: "text/plain", 0x22: "text/xml",
	0x23: "video/H264", 0x24: "video/H265", 0x25: "video/VP8", 0x26: "application/x-hessian", 0x27: "application/x-java-object",
	0x28: "application/cloudevents+json", 0x29: "application/x-capnp", 0x2A: "application/x-flatbuffers",
	0x7A: MIMEPerStreamData, 0x7B: MIMEPerStreamAccept, 0x7C: MIMEAuthentication, 0x7D: MIMETracing, 0x7E: MIMERouting, 0x7F: MIMEComposite,
}

var wellKnownIDs = func() map[string]uint8 {
	ids := make(map[string]uint8, len(wellKnown))
	for id, name := range wellKnown {
		ids[name] = id
	}
	return ids
}()

// ErrMetadata says that metadata is not what its MIME type promises.
var ErrMetadata = errors.New("rsocket: malformed metadata")

// CompositeEntry is one entry of composite metadata. Its content is part of the metadata it was read from.
type CompositeEntry struct {
	MIME    string // empty for an unknown well-known id
	ID      int    // the well-known id, or -1 if the MIME type was spelled out
	Content []byte
}

// AppendComposite appends an entry. A well-known MIME type takes one byte. mime must have 1 to 128 ASCII bytes and content
// fewer than 2²⁴; otherwise nothing is appended.
func AppendComposite(dst []byte, mime string, content []byte) []byte {
	if len(content) > maxFrameSize {
		return dst
	}
	var ok bool
	if dst, ok = appendMIME(dst, mime); !ok {
		return dst
	}
	dst = appendUint24(dst, len(content))
	return append(dst, content...)
}

// appendMIME writes a MIME type as an id, or as length and name.
func appendMIME(dst []byte, mime string) ([]byte, bool) {
	if id, ok := wellKnownIDs[mime]; ok {
		return append(dst, 0x80|id), true
	}
	if mime == "" || len(mime) > 128 {
		return dst, false
	}
	dst = append(dst, byte(len(mime)-1))
	return append(dst, mime...), true
}

// cutWellKnown takes a MIME type off b: an id, or length and name.
func cutWellKnown(b []byte) (mime string, id int, rest []byte, ok bool) {
	if len(b) == 0 {
		return "", 0, nil, false
	}
	if b[0]&0x80 != 0 {
		k := b[0] & 0x7F
		return wellKnown[k], int(k), b[1:], true
	}
	n := int(b[0]) + 1
	if len(b) < 1+n {
		return "", 0, nil, false
	}
	name := b[1 : 1+n]
	if k, known := wellKnownIDs[string(name)]; known {
		return wellKnown[k], -1, b[1+n:], true
	}
	return string(name), -1, b[1+n:], true
}

// cutComposite takes the first entry off b.
func cutComposite(b []byte) (e CompositeEntry, rest []byte, err error) {
	mime, id, b, ok := cutWellKnown(b)
	if !ok || len(b) < lengthSize {
		return CompositeEntry{}, nil, ErrMetadata
	}
	n := int(uint24(b))
	b = b[lengthSize:]
	if n > len(b) {
		return CompositeEntry{}, nil, ErrMetadata
	}
	return CompositeEntry{MIME: mime, ID: id, Content: b[:n:n]}, b[n:], nil
}

// EachComposite iterates over the entries of composite metadata. After malformed bytes it yields an error that is
// [ErrMetadata] and ends.
func EachComposite(md []byte) iter.Seq2[CompositeEntry, error] {
	return func(yield func(CompositeEntry, error) bool) {
		for len(md) > 0 {
			e, rest, err := cutComposite(md)
			if !yield(e, err) || err != nil {
				return
			}
			md = rest
		}
	}
}

// FindComposite returns the content of the first entry with the MIME type. Malformed bytes before it are an error that is
// [ErrMetadata].
func FindComposite(md []byte, mime string) (content []byte, found bool, err error) {
	for len(md) > 0 {
		e, rest, err := cutComposite(md)
		if err != nil {
			return nil, false, err
		}
		if e.MIME == mime {
			return e.Content, true, nil
		}
		md = rest
	}
	return nil, false, nil
}
