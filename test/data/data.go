// Package data embeds the real data that the demo and the tests send. docs/data.md has source and licence of each set.
package data

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"fmt"
	"io"
)

// FlightsRows is the number of rows of [FlightsJanuary]; FlightsCancelled of them have no departure (dep_time is null).
const (
	FlightsRows      = 27_004
	FlightsCancelled = 521
)

//go:embed flights-2013-01.ndjson.gz
var flights []byte

// FlightsJanuary returns the flights that were to leave New York City in January 2013, as NDJSON: 8.1 MB, one object a
// line, integers, strings, nulls, and time_hour as an RFC 3339 timestamp in UTC.
func FlightsJanuary() (io.Reader, error) {
	r, err := gzip.NewReader(bytes.NewReader(flights))
	if err != nil {
		return nil, fmt.Errorf("embedded flights: %w", err)
	}
	return r, nil
}
