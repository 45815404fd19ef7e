// Package event holds what every stage of an ingestor says of a payload: which stream it belongs to, and what it carries.
package event

// MIME is the media type of a payload.
type MIME string

// The payload formats that a pipeline takes.
const (
	JSON   MIME = "application/json"     // one record
	NDJSON MIME = "application/x-ndjson" // one record a line
)

// StreamID names one claim of a stream: the sequence of a stream goes on over its epochs.
type StreamID struct {
	Name  string
	Epoch int64 // ≥ 1
}
