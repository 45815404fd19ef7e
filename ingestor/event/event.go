// Package event holds what every stage of an ingestor says of a payload: which stream it belongs to, and what it carries.
package event

import "strings"

// MIME is the media type of a payload.
type MIME string

// The payload formats that a pipeline takes.
const (
	JSON   MIME = "application/json"     // one record
	NDJSON MIME = "application/x-ndjson" // one record a line

	Protobuf     MIME = "application/protobuf"                    // one message
	ProtobufMany MIME = "application/protobuf;encoding=delimited" // many, each behind its length as a varint
)

// ParseMIME reads the name of a payload type: a Content-Type, the data MIME type of a connection, that of a payload. It is
// empty for the names that clients use who say nothing of it; known is false for what is none of the formats above.
func ParseMIME(name string) (m MIME, known bool) {
	if m = MIME(name); m == JSON || m == NDJSON {
		return m, true
	}
	base, params, _ := strings.Cut(strings.ToLower(name), ";")
	many := delimited(params)
	switch strings.TrimSpace(base) {
	case "", "application/octet-stream", "application/binary", "*/*":
		return "", true
	case "application/json":
		return JSON, true
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
		return NDJSON, true
	case "application/protobuf", "application/x-protobuf", "application/vnd.google.protobuf":
		if many {
			return ProtobufMany, true
		}
		return Protobuf, true
	}
	return m, false
}

// delimited says whether the parameters of a type say that records stand each behind its length.
func delimited(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		key, value, _ := strings.Cut(p, "=")
		if strings.TrimSpace(key) == "encoding" && strings.Trim(value, " \"") == "delimited" {
			return true
		}
	}
	return false
}

// StreamID names one claim of a stream: the sequence of a stream goes on over its epochs.
type StreamID struct {
	Name  string
	Epoch int64 // ≥ 1
}
