package strict

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Position is a place in a file. Line and column count from 1; 0 means the whole file.
type Position struct {
	File         string
	Line, Column int
}

// String returns file:line:column.
func (p Position) String() string {
	if p.Line == 0 {
		return p.File
	}
	return fmt.Sprintf("%s:%d:%d", p.File, p.Line, p.Column)
}

// Error is one thing that is wrong with a file.
type Error struct {
	Position Position
	Path     string // of the field, such as spec.sink.delta.uri; empty if no field is meant
	Message  string // what is wrong and what to do
}

// Error returns file:line:column: path: message.
func (e *Error) Error() string {
	if e.Path == "" {
		return e.Position.String() + ": " + e.Message
	}
	return e.Position.String() + ": " + e.Path + ": " + e.Message
}

// ErrorList is everything that is wrong with a file, in the order of the file. It is never empty when it is an error.
type ErrorList []*Error

// Error returns one line for each error.
func (l ErrorList) Error() string {
	lines := make([]string, len(l))
	for i, e := range l {
		lines[i] = e.Error()
	}
	return strings.Join(lines, "\n")
}

// maxErrors bounds an ErrorList: a file that is no Pipeline at all would fill screens.
const maxErrors = 100

// list sorts l by position, bounds it and makes it an error if it holds any.
func (l ErrorList) list() error {
	if len(l) == 0 {
		return nil
	}
	slices.SortStableFunc(l, func(a, b *Error) int {
		return cmp.Or(a.Position.Line-b.Position.Line, a.Position.Column-b.Position.Column)
	})
	if len(l) >= maxErrors {
		l = append(l[:maxErrors:maxErrors], &Error{Position: Position{File: l[0].Position.File}, Message: "too many errors, the rest of the file was not read"})
	}
	return l
}
