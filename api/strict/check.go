package strict

import (
	"bytes"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/weir-dev/weir/api/v1alpha1"
)

// Check looks at a Pipeline that is valid as far as the API knows, and returns what else is wrong with it.
type Check func(*v1alpha1.Pipeline) []Fault

// Fault is what a [Check] found.
type Fault struct {
	Path         string // of the field, such as spec.transform[0].filter
	Line, Column int    // in the text of that field, from 1; 0 when it is about the field as a whole
	Message      string // what is wrong and what to do
}

// check runs the checks and finds the places of their faults.
func (w *walker) check(p *v1alpha1.Pipeline) {
	for _, check := range w.checks {
		for _, f := range check(p) {
			at := w.place(f.Path)
			if n := w.texts[f.Path]; n != nil && f.Line > 0 {
				at = w.inside(n, f.Line, f.Column)
			}
			w.fail(at, f.Path, "%s", f.Message)
		}
	}
}

// inside returns where line and column of the text of n stand in the file. Text that YAML folds, or that has escapes, is
// not followed to the column.
func (w *walker) inside(n *yaml.Node, line, column int) Position {
	at := w.at(n)
	switch n.Style &^ yaml.TaggedStyle {
	case yaml.LiteralStyle:
		lines := bytes.Split(w.data, []byte("\n"))
		at.Line += line
		if at.Line <= len(lines) {
			text := lines[at.Line-1]
			at.Column = len(text) - len(bytes.TrimLeft(text, " ")) + column
			if indent := indentOf(n, lines); indent >= 0 {
				at.Column = indent + column
			}
		}
	case 0:
		if line == 1 && !strings.Contains(n.Value, "\n") {
			at.Column += column - 1
		}
	case yaml.SingleQuotedStyle, yaml.DoubleQuotedStyle:
		if line == 1 && !strings.ContainsAny(n.Value, "'\"\\\n") {
			at.Column += column
		}
	default:
	}
	return at
}

// indentOf is by how many blanks the lines of the literal block n are indented, -1 if it has none.
func indentOf(n *yaml.Node, lines [][]byte) int {
	for i := n.Line; i < len(lines); i++ {
		if text := bytes.TrimLeft(lines[i], " "); len(text) > 0 {
			return len(lines[i]) - len(text)
		}
	}
	return -1
}
