package delta

import (
	"fmt"
	"unicode/utf8"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// TextError refuses a string that is not UTF-8, which Parquet asks of strings: some readers fail on the whole file, others
// make another value of it.
type TextError struct{ Column string } // dotted where it is nested

func (e *TextError) Error() string {
	return fmt.Sprintf("column %s has a value that is not valid UTF-8; bytes belong into a column of type binary", e.Column)
}

func checkText(batches []*column.Batch) error {
	for _, b := range batches {
		for i, f := range b.Schema.Fields {
			if err := checkTextOf(b.Columns[i], f.Name); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkTextOf(v *column.Vector, name string) error {
	switch v.Type.Kind {
	case schema.String:
		if !validText(v) {
			return &TextError{name}
		}
	case schema.Struct:
		for i, f := range v.Type.Fields {
			if err := checkTextOf(v.Children[i], name+"."+f.Name); err != nil {
				return err
			}
		}
	case schema.Array:
		return checkTextOf(v.Children[0], name+".element")
	case schema.Map:
		if err := checkTextOf(v.Children[0], name+".key"); err != nil {
			return err
		}
		return checkTextOf(v.Children[1], name+".value")
	default:
	}
	return nil
}

// validText looks at all values in one go: together they are UTF-8, and each begins where a character does.
func validText(v *column.Vector) bool {
	if !utf8.Valid(v.Data) {
		return false
	}
	for _, at := range v.Offsets {
		if int(at) < len(v.Data) && !utf8.RuneStart(v.Data[at]) {
			return false
		}
	}
	return true
}
