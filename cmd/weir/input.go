package main

import (
	"encoding/json"
	"errors"
	"io"
)

// csvValue is what a cell of CSV looks like: a number, true or false as it stands, nil when it is empty, else a text.
func csvValue(cell string) any {
	switch {
	case cell == "":
		return nil
	case cell == "true", cell == "false", json.Valid([]byte(cell)) && (cell[0] == '-' || cell[0]-'0' <= 9):
		return json.RawMessage(cell)
	}
	return cell
}

// unfinished is err where the end of the source is one.
func unfinished(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
