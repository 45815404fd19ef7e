package strict

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-dev/weir/api/v1alpha1"
)

// Explain describes the field at path, such as pipeline.spec.sink, and the fields in it: type, default, meaning. The
// path starts with the kind in any of its names. The text is that of the CustomResourceDefinition, as kubectl explain
// shows it too. An unknown path is an error that says which one was meant.
func Explain(path string) (string, error) {
	names := strings.Split(path, ".")
	if !slices.Contains([]string{"pipeline", "pipelines", "wpl"}, strings.ToLower(names[0])) {
		return "", fmt.Errorf("%s: a path starts with the kind, such as pipeline.spec.sink", shorten(path))
	}
	const top = "pipeline"
	at, s, required := top, pipelineSchema(), false
	for _, name := range names[1:] {
		s = s.inner()
		child := s.Properties[name]
		if child == nil {
			message, _ := unknownField(s, top, at, name)
			return "", fmt.Errorf("%s.%s: %s", at, shorten(name), message)
		}
		at, s, required = join(at, name), child, slices.Contains(s.Required, name)
	}
	var b strings.Builder
	s.explain(&b, at, required)
	return b.String(), nil
}

// inner returns the schema that has the fields of s: its own, or that of its elements.
func (s *schema) inner() *schema {
	for s.Type == "array" {
		s = s.Items
	}
	return s
}

const textWidth = 100

func (s *schema) explain(b *strings.Builder, path string, required bool) {
	fmt.Fprintf(b, "KIND:     %s\nVERSION:  %s\n\nFIELD:    %s <%s>%s\n", v1alpha1.Kind, apiVersion(), path, s.typeName(), s.notes(required))
	b.WriteString("\nDESCRIPTION:\n")
	wrap(b, s.Description, "    ")
	if len(s.Rules) > 0 {
		b.WriteString("\nRULES:\n")
		for _, r := range s.Rules {
			wrap(b, r.Message, "    ")
		}
	}
	inner := s.inner()
	if len(inner.Properties) == 0 {
		return
	}
	b.WriteString("\nFIELDS:\n")
	for _, name := range inner.fields() {
		f := inner.Properties[name]
		fmt.Fprintf(b, "  %s <%s>%s\n", name, f.typeName(), f.notes(slices.Contains(inner.Required, name)))
		wrap(b, f.Description, "    ")
	}
}

// notes adds what the type alone does not say.
func (s *schema) notes(required bool) string {
	var notes []string
	if required {
		notes = append(notes, "required")
	}
	if s.Default != nil {
		notes = append(notes, fmt.Sprintf("default %v", s.Default))
	}
	if enum := s.inner().Enum; enum != nil {
		notes = append(notes, "one of "+strings.Join(enum, ", "))
	}
	if len(notes) == 0 {
		return ""
	}
	return "  " + strings.Join(notes, "; ")
}

// wrap writes text in lines of at most textWidth, each indented.
func wrap(b *strings.Builder, text, indent string) {
	width := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case width == 0:
			b.WriteString(indent)
			width = len(indent)
		case width+1+len(word) > textWidth:
			b.WriteString("\n" + indent)
			width = len(indent)
		default:
			b.WriteByte(' ')
			width++
		}
		b.WriteString(word)
		width += len(word)
	}
	if width > 0 {
		b.WriteByte('\n')
	}
}
