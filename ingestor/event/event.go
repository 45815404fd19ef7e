// Package event holds what every stage of an ingestor says of a payload: which stream it belongs to, and what it carries.
package event

import "strings"

// MIME is the media type of a payload.
type MIME string

// The payload formats that a pipeline takes.
const (
	JSON   MIME = "application/json"     // one record
	NDJSON MIME = "application/x-ndjson" // one record a line

	Arrow MIME = "application/vnd.apache.arrow.stream" // a schema, dictionaries and record batches

	Avro     MIME = "application/avro"                    // one record
	AvroMany MIME = "application/avro;encoding=delimited" // many, each behind its length as a varint
	AvroFile MIME = "application/avro;encoding=file"      // an object container file

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
	encoding := encodingOf(params)
	switch strings.TrimSpace(base) {
	case "", "application/octet-stream", "application/binary", "*/*":
		return "", true
	case "application/json":
		return JSON, true
	case "application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines":
		return NDJSON, true
	case string(Arrow):
		return Arrow, true
	case "application/protobuf", "application/x-protobuf", "application/vnd.google.protobuf":
		return choose(m, encoding, Protobuf, ProtobufMany, "")
	case "application/avro", "application/x-avro", "application/vnd.apache.avro", "avro/binary":
		return choose(m, encoding, Avro, AvroMany, AvroFile)
	}
	return m, false
}

// choose is the type for an encoding; m is the name.
func choose(m MIME, encoding string, one, many, file MIME) (MIME, bool) {
	switch {
	case encoding == "":
		return one, true
	case encoding == "delimited":
		return many, true
	case encoding == "file" && file != "":
		return file, true
	}
	return m, false
}

// encodingOf is the parameter encoding of a type.
func encodingOf(params string) string {
	for p := range strings.SplitSeq(params, ";") {
		if key, value, _ := strings.Cut(p, "="); strings.TrimSpace(key) == "encoding" {
			return strings.Trim(value, " \"")
		}
	}
	return ""
}

// StreamID names one claim of a stream: the sequence of a stream goes on over its epochs.
type StreamID struct {
	Name  string
	Epoch int64 // ≥ 1
}
