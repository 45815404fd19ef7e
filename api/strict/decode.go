// Package strict reads Pipelines from YAML files and explains their fields. It follows the CustomResourceDefinition, so a
// file that it accepts is one that a cluster accepts. Nothing is guessed or dropped in silence: an unknown field, a value
// of the wrong type or a field set twice is an error with its place in the file.
package strict

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/weir-dev/weir/api/v1alpha1"
)

// The bounds of a file.
const (
	MaxFileBytes = 1 << 20
	maxNodes     = 100_000 // of YAML, each use of an alias counted
	maxDepth     = 64
)

// Decode reads the Pipelines of data, one for each YAML document, sets their defaults and validates them; what is good so
// far goes through the checks. At least one is returned, or an ErrorList with everything that is wrong; name stands for
// the file in it.
func Decode(name string, data []byte, checks ...Check) ([]*v1alpha1.Pipeline, error) {
	d := decoder{file: name, data: data, checks: checks, first: map[string]Position{}}
	d.decode(data)
	if err := d.errs.list(); err != nil {
		return nil, err
	}
	return d.pipelines, nil
}

// decoder holds what was found in one file.
type decoder struct {
	file      string
	data      []byte
	checks    []Check
	nodes     int // visited so far
	errs      ErrorList
	pipelines []*v1alpha1.Pipeline
	first     map[string]Position // where a name was used, by namespace/name
}

func (d *decoder) fail(at Position, path, format string, args ...any) {
	d.errs = append(d.errs, &Error{Position: at, Path: path, Message: fmt.Sprintf(format, args...)})
}

// full says that so much is wrong that reading on is of no use.
func (d *decoder) full() bool { return len(d.errs) >= maxErrors }

func (d *decoder) at(n *yaml.Node) Position { return Position{d.file, n.Line, n.Column} }

func (d *decoder) decode(data []byte) {
	if len(data) > MaxFileBytes {
		d.fail(Position{File: d.file}, "", "is larger than %d bytes: it cannot be a file of Pipelines", MaxFileBytes)
		return
	}
	if at, ok := invalidUTF8(data); ok {
		d.fail(Position{d.file, at.Line, at.Column}, "", "is not UTF-8")
		return
	}
	documents := 0
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for !d.full() {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			d.syntax(data, err)
			return
		}
		if len(doc.Content) == 1 && !isNull(doc.Content[0]) {
			documents++
			d.document(doc.Content[0])
		}
	}
	if documents == 0 {
		d.fail(Position{d.file, 1, 1}, "", "holds no Pipeline: it needs at least apiVersion, kind, metadata.name and spec.sink.delta.uri")
	}
}

// document reads one Pipeline.
func (d *decoder) document(root *yaml.Node) {
	w := walker{decoder: d, places: map[string]Position{}, texts: map[string]*yaml.Node{}, settled: map[string]bool{}}
	if w.foreign(root) {
		return
	}
	object, ok := w.walk(root, pipelineSchema(), "", 0).(map[string]any)
	if !ok || w.nodes >= maxNodes {
		return
	}
	w.typeMeta(object)
	p, err := toPipeline(object)
	if err != nil {
		d.fail(d.at(root), "", "%v", err)
		return
	}
	v1alpha1.SetDefaults(p)
	found := v1alpha1.Validate(p)
	for _, e := range found {
		w.invalid(e)
	}
	if len(found) == 0 {
		w.check(p)
	}
	key, at := p.Namespace+"/"+p.Name, w.place("metadata.name")
	if before, ok := d.first[key]; ok && p.Name != "" {
		d.fail(at, "metadata.name", "%q is the name of the Pipeline in line %d too: give each its own", p.Name, before.Line)
		return
	}
	d.first[key] = at
	d.pipelines = append(d.pipelines, p)
}

func toPipeline(object map[string]any) (*v1alpha1.Pipeline, error) {
	b, err := json.Marshal(object)
	if err != nil {
		return nil, fmt.Errorf("read Pipeline: %w", err)
	}
	p := new(v1alpha1.Pipeline)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("read Pipeline: %w", err)
	}
	return p, nil
}

// foreign says whether root is an object of another kind, about whose fields nothing useful can be said.
func (w *walker) foreign(root *yaml.Node) bool {
	if root.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i+1 < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		if key.Value == "kind" && value.ShortTag() == "!!str" && closest(value.Value, []string{v1alpha1.Kind}) == "" {
			w.fail(w.at(value), "kind", "is %s, this file must hold Pipelines only", quote(value.Value))
			return true
		}
	}
	return false
}

// typeMeta checks that object is a Pipeline of the version that is known here.
func (w *walker) typeMeta(object map[string]any) {
	for _, want := range []struct{ field, value string }{{"apiVersion", apiVersion()}, {"kind", v1alpha1.Kind}} {
		got, _ := object[want.field].(string)
		if got == want.value {
			continue
		}
		switch _, there := object[want.field]; {
		case there:
			w.fail(w.place(want.field), want.field, "is %s, it must be %s", quote(got), want.value)
		case !w.settled[want.field]:
			w.fail(w.place(want.field), want.field, "is missing: it must be %s", want.value)
		}
	}
}

// invalid reports what the validation of the API found, unless the reading of the file told more about it.
func (w *walker) invalid(e *field.Error) {
	for path := e.Field; path != ""; path = parent(path) {
		if w.settled[path] {
			return
		}
	}
	w.fail(w.place(e.Field), e.Field, "%s", describe(e))
}

// describe words a validation error: its value first, unless that is missing.
func describe(e *field.Error) string {
	switch e.Type {
	case field.ErrorTypeRequired:
		return "is missing: " + e.Detail
	case field.ErrorTypeInvalid:
		if s, ok := e.BadValue.(string); ok {
			return quote(s) + " " + e.Detail
		}
		return fmt.Sprintf("%v %s", e.BadValue, e.Detail)
	case field.ErrorTypeDuplicate:
		return quote(fmt.Sprint(e.BadValue)) + " is there twice"
	default:
		return lowerFirst(e.ErrorBody())
	}
}

func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

// parent returns the path of the field that holds the one at path, "" at the top.
func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }

// syntaxError matches what the YAML parser says of a place.
var syntaxError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)

// syntax reports that data is no YAML. The parser knows the line only, and that not always; a tab is the usual reason.
func (d *decoder) syntax(data []byte, err error) {
	if at, ok := indentingTab(data); ok {
		d.fail(Position{d.file, at.Line, at.Column}, "", "a tab indents this line: YAML wants spaces")
		return
	}
	at, message := Position{d.file, 1, 1}, err.Error()
	if m := syntaxError.FindStringSubmatch(message); m != nil {
		if line, err := strconv.Atoi(m[1]); err == nil {
			at.Line = min(line, 1+bytes.Count(data, []byte("\n"))) // the parser may point behind the end
		}
		message = m[2]
	}
	d.fail(at, "", "is no YAML: %s", message)
}

// indentingTab finds the first tab in the indentation of a line.
func indentingTab(data []byte) (Position, bool) {
	line := 0
	for text := range bytes.Lines(data) {
		line++
		indent := text[:len(text)-len(bytes.TrimLeft(text, " \t"))]
		if i := bytes.IndexByte(indent, '\t'); i >= 0 && len(bytes.TrimSpace(text)) > 0 {
			return Position{Line: line, Column: i + 1}, true
		}
	}
	return Position{}, false
}

// invalidUTF8 finds the first byte that is not UTF-8.
func invalidUTF8(data []byte) (Position, bool) {
	if utf8.Valid(data) {
		return Position{}, false
	}
	line := 0
	for text := range bytes.Lines(data) {
		line++
		for column := 1; len(text) > 0; column++ {
			r, n := utf8.DecodeRune(text)
			if r == utf8.RuneError && n == 1 {
				return Position{Line: line, Column: column}, true
			}
			text = text[n:]
		}
	}
	return Position{}, false
}

const maxQuoted = 64 // bytes of a value in a message

// quote makes s fit for a message.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.Quote(strings.ToValidUTF8(s[:maxQuoted], "")) + "..."
	}
	return strconv.Quote(s)
}
