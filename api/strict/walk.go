package strict

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
	"k8s.io/apimachinery/pkg/api/resource"
)

// walker follows one document and the schema side by side. It checks the form (fields, types) and makes the value that
// JSON would give; which values are good is left to the API's validation, which then finds their places here.
type walker struct {
	*decoder
	places  map[string]Position   // of the fields that are there, by path
	texts   map[string]*yaml.Node // of strings, by path
	settled map[string]bool       // paths about which enough was said
}

// place returns where the field at path stands, or where the nearest field around it does.
func (w *walker) place(path string) Position {
	for ; path != ""; path = parent(path) {
		if at, ok := w.places[path]; ok {
			return at
		}
	}
	return w.places[""]
}

// reject reports what is wrong with the form of the value at path. The validation need not speak of it again.
func (w *walker) reject(n *yaml.Node, path, format string, args ...any) any {
	w.settled[path] = true
	w.fail(w.at(n), path, format, args...)
	return nil
}

// walk returns the value of n, which stands at path and should be what s says; nil if it is not.
func (w *walker) walk(n *yaml.Node, s *schema, path string, depth int) any {
	if _, known := w.places[path]; !known {
		w.places[path] = w.at(n)
	}
	if depth > maxDepth {
		return w.reject(n, path, "is nested deeper than %d", maxDepth)
	}
	switch w.nodes++; {
	case w.full() || w.nodes > maxNodes:
		return nil
	case w.nodes == maxNodes:
		return w.reject(n, path, "the file has too many values, more than %d", maxNodes-1)
	}
	if n.Kind == yaml.AliasNode {
		return w.walk(n.Alias, s, path, depth+1)
	}
	switch {
	case s.Unstructured:
		return w.unstructured(n, path, depth)
	case isNull(n):
		return w.reject(n, path, "is empty: give it a value (%s) or remove it", s.typeName())
	case s.Type == "object":
		return w.object(n, s, path, depth)
	case s.Type == "array":
		return w.array(n, s, path, depth)
	}
	return w.scalar(n, s, path)
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// unstructured bounds what a cluster keeps about an object, and drops it: nothing here looks at it.
func (w *walker) unstructured(n *yaml.Node, path string, depth int) any {
	for _, c := range n.Content {
		w.walk(c, &schema{Unstructured: true}, path, depth+1)
	}
	return nil
}

func (w *walker) object(n *yaml.Node, s *schema, path string, depth int) any {
	if n.Kind != yaml.MappingNode {
		return w.reject(n, path, "is %s, it must be a mapping%s", kindOf(n), fieldsHint(s))
	}
	object, lines := make(map[string]any, len(n.Content)/2), map[string]int{}
	for i := 0; i+1 < len(n.Content) && !w.full(); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		name, child := w.field(key, s, path)
		if child == nil {
			continue
		}
		at := join(path, name)
		if s.Values != nil {
			at = path + "[" + shorten(name) + "]"
		}
		if line, twice := lines[name]; twice {
			w.reject(key, at, "is set twice, first in line %d", line)
			continue
		}
		lines[name] = key.Line
		if value.Kind != yaml.ScalarNode {
			w.places[at] = w.at(key)
		}
		if v := w.walk(value, child, at, depth+1); v != nil {
			object[name] = v
		}
	}
	return object
}

// field returns the name and the schema of the field that key sets, or a nil schema if there is none.
func (w *walker) field(key *yaml.Node, s *schema, path string) (string, *schema) {
	if key.Kind == yaml.AliasNode {
		key = key.Alias
	}
	switch tag := key.ShortTag(); {
	case tag == "!!merge":
		w.reject(key, path, "merge keys are not supported: write the fields out")
		return "", nil
	case key.Kind != yaml.ScalarNode || tag != "!!str":
		w.reject(key, path, "has %s as a field's name: it must be a string", kindOf(key))
		return "", nil
	case s.Values != nil:
		return key.Value, s.Values
	}
	child := s.Properties[key.Value]
	if child == nil {
		message, meant := unknownField(s, "", path, key.Value)
		w.reject(key, join(path, shorten(key.Value)), "%s", message)
		if meant != "" {
			w.settled[join(path, meant)] = true
		}
	}
	return key.Value, child
}

func (w *walker) array(n *yaml.Node, s *schema, path string, depth int) any {
	if n.Kind != yaml.SequenceNode {
		return w.reject(n, path, "is %s, it must be a list: [a, b]", kindOf(n))
	}
	list := make([]any, 0, len(n.Content))
	for i, c := range n.Content {
		v := w.walk(c, s.Items, path+"["+strconv.Itoa(i)+"]", depth+1)
		if v == nil {
			v = s.Items.zero() // the others keep their index
		}
		list = append(list, v)
	}
	return list
}

func (w *walker) scalar(n *yaml.Node, s *schema, path string) any {
	if n.Kind != yaml.ScalarNode {
		return w.reject(n, path, "is %s, it must be %s", kindOf(n), withArticle(s.typeName()))
	}
	switch s.typeName() {
	case "quantity":
		return w.quantity(n, path)
	case "duration":
		return w.duration(n, s, path)
	case "integer":
		return w.integer(n, s, path)
	case "boolean":
		var v bool
		if n.ShortTag() != "!!bool" || n.Decode(&v) != nil {
			return w.reject(n, path, "is %s, it must be true or false", kindOf(n))
		}
		return v
	}
	return w.text(n, s, path)
}

func (w *walker) text(n *yaml.Node, s *schema, path string) any {
	if n.ShortTag() != "!!str" {
		return w.reject(n, path, "is %s, it must be a string: quote it, %q", kindOf(n), shorten(n.Value))
	}
	w.texts[path] = n
	if s.Enum == nil || slices.Contains(s.Enum, n.Value) {
		return n.Value
	}
	hint := ""
	if meant := closest(n.Value, s.Enum); meant != "" {
		hint = fmt.Sprintf(", did you mean %q?", meant)
	}
	return w.reject(n, path, "%s is none of %s%s", quote(n.Value), strings.Join(s.Enum, ", "), hint)
}

func (w *walker) integer(n *yaml.Node, s *schema, path string) any {
	var v int64
	if n.ShortTag() != "!!int" {
		return w.reject(n, path, "is %s, it must be an integer%s", kindOf(n), rangeHint(s))
	}
	if err := n.Decode(&v); err != nil || s.Format == "int32" && (v < math.MinInt32 || v > math.MaxInt32) {
		return w.reject(n, path, "%s is out of range: it must be an integer%s", shorten(n.Value), rangeHint(s))
	}
	return v
}

// quantity reads a number of bytes, such as 256Mi. The pattern of a cluster allows the same.
func (w *walker) quantity(n *yaml.Node, path string) any {
	text := n.Value
	switch n.ShortTag() {
	case "!!int":
		var v int64
		if err := n.Decode(&v); err != nil {
			return w.reject(n, path, "%s is out of range", shorten(text))
		}
		return v
	case "!!str":
		if _, err := resource.ParseQuantity(text); err == nil {
			return text
		}
		return w.reject(n, path, "%s is not a quantity: write bytes with Ki, Mi or Gi, such as 256Mi", quote(text))
	}
	return w.reject(n, path, "is %s, it must be a quantity: write bytes with Ki, Mi or Gi, such as 256Mi", kindOf(n))
}

// duration reads what both time.ParseDuration and the pattern of a cluster allow.
func (w *walker) duration(n *yaml.Node, s *schema, path string) any {
	if n.ShortTag() != "!!str" {
		return w.reject(n, path, "is %s, it must be a duration: a number and ms, s, m or h, such as 5s", kindOf(n))
	}
	if ok, err := regexp.MatchString(s.Pattern, n.Value); err != nil || !ok {
		return w.reject(n, path, "%s is not a duration: write a number and ms, s, m or h, such as 5s", quote(n.Value))
	}
	if _, err := time.ParseDuration(n.Value); err != nil {
		return w.reject(n, path, "%s is out of range", quote(n.Value))
	}
	return n.Value
}

// kindOf words what n is.
func kindOf(n *yaml.Node) string {
	if n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind == yaml.MappingNode {
		return "a mapping"
	}
	if n.Kind == yaml.SequenceNode {
		return "a list"
	}
	switch tag := n.ShortTag(); tag {
	case "!!str":
		return "the string " + quote(n.Value)
	case "!!int":
		return "the integer " + shorten(n.Value)
	case "!!float":
		return "the number " + shorten(n.Value)
	case "!!bool":
		return "the boolean " + n.Value
	case "!!null":
		return "empty"
	case "!!timestamp":
		return "the date " + n.Value
	default:
		return "a value tagged " + quote(tag)
	}
}

func withArticle(noun string) string {
	if strings.HasPrefix(noun, "i") {
		return "an " + noun
	}
	return "a " + noun
}

func fieldsHint(s *schema) string {
	if len(s.Properties) == 0 {
		return " of names to strings"
	}
	return " with " + strings.Join(s.fields(), ", ")
}

func rangeHint(s *schema) string {
	if s.Minimum == nil || s.Maximum == nil {
		return ""
	}
	return fmt.Sprintf(" from %d to %d", *s.Minimum, *s.Maximum)
}

// shorten makes a word of the file fit for a message.
func shorten(s string) string {
	q := quote(s)
	if s != "" && q == `"`+s+`"` {
		return s
	}
	return q
}
