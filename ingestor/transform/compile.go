package transform

import (
	"errors"
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"

	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
)

// compiled is a step with its expression.
type compiled struct {
	Step
	expr *expr        // of set, filter, route
	typ  *schema.Type // of the column that set makes; nil when its first value says
}

// names is what the compiler knows of the columns before a step.
type names struct {
	known  map[string]*schema.Type // by name; nil of a type that is not known
	gone   map[string]string       // why a column is not there any more
	closed bool
}

func (n *names) find(name string) (*cel.Type, error) {
	if t, ok := n.known[name]; ok {
		if t == nil {
			return cel.DynType, nil
		}
		return celType(t), nil
	}
	if why := n.gone[name]; why != "" {
		return nil, fmt.Errorf("there is no column %s here: %s", name, why)
	}
	for other := range n.known {
		if decode.Fold(other) == decode.Fold(name) {
			return nil, fmt.Errorf("there is no column %s; did you mean %s?", name, other)
		}
	}
	if n.closed {
		return nil, fmt.Errorf("there is no column %s: declare it in schema.columns", name)
	}
	return cel.DynType, nil
}

// fieldOf says whether name is no column that is known but the path of a field in one.
func (n *names) fieldOf(name string) (parent string, ok bool) {
	if _, known := n.known[name]; known {
		return "", false
	}
	parent, rest, _ := strings.Cut(name, ".")
	t := n.known[parent]
	for rest != "" && t != nil && t.Kind == schema.Struct {
		var field string
		field, rest, _ = strings.Cut(rest, ".")
		i := t.Index(field)
		if i < 0 {
			return "", false
		}
		t = t.Fields[i].Type
		ok = rest == ""
	}
	return parent, ok
}

func (n *names) add(name string, t *schema.Type) {
	n.known[name] = t
	delete(n.gone, name)
}

func (n *names) remove(name, why string) {
	delete(n.known, name)
	n.gone[name] = why
}

// Compile compiles the steps. Without any the program is nil. What is wrong with them comes back as faults, all at once.
func Compile(o Options) (*Program, []*Fault) {
	if len(o.Steps) == 0 {
		return nil, nil
	}
	c := compiler{names: names{known: map[string]*schema.Type{}, gone: map[string]string{}, closed: o.Closed}}
	if o.Columns != nil {
		for _, f := range o.Columns.Fields {
			c.names.known[f.Name] = f.Type
		}
	}
	p := &Program{opts: o}
	for i := range o.Steps {
		c.step = i
		s := compiled{Step: o.Steps[i]}
		c.compile(&s)
		p.steps = append(p.steps, s)
	}
	if len(c.faults) > 0 {
		return nil, c.faults
	}
	return p, nil
}

type compiler struct {
	names  names
	step   int
	faults []*Fault
}

func (c *compiler) fail(field, format string, args ...any) {
	c.faults = append(c.faults, &Fault{Step: c.step, Field: field, Message: fmt.Sprintf(format, args...)})
}

func (c *compiler) compile(s *compiled) {
	switch {
	case s.Set != nil:
		c.set(s)
	case s.Filter != "":
		s.expr = c.condition("filter", s.Filter)
	case s.Rename != nil:
		c.rename(s.Rename)
	case s.Flatten != nil:
		c.flatten(s.Flatten)
	case s.Mask != nil:
		for i, name := range s.Mask.Columns {
			c.column(fmt.Sprintf("mask.columns[%d]", i), name)
			c.names.add(name, stringType)
		}
	case s.Derive != nil:
		c.derive(s.Derive)
	case s.Route != nil:
		s.expr = c.condition("route.when", s.Route.When)
	default:
		for i, name := range s.Drop {
			c.column(fmt.Sprintf("drop[%d]", i), name)
			c.names.remove(name, fmt.Sprintf("transform[%d] drops it", c.step))
		}
	}
}

// column checks the name of a column that should be there.
func (c *compiler) column(field, name string) {
	if name == "" {
		c.fail(field, "is missing: the name of a column")
	} else if parent, of := c.names.fieldOf(name); of {
		c.fail(field, "there is no column %s: it is a field of the struct %s; flatten that one first", name, parent)
	} else if _, err := c.names.find(name); err != nil {
		c.fail(field, "%v", err)
	}
}

// target checks the name of a column that a step makes.
func (c *compiler) target(field, name string) {
	switch err := schema.CheckName(name); {
	case name == "":
		c.fail(field, "is missing: the name of a column")
	case err != nil:
		c.fail(field, "%v", err)
	case decode.IsReserved(name):
		c.fail(field, "%q is a name of weir's own: use another one", name)
	default:
		for other := range c.names.known {
			if other != name && decode.Fold(other) == decode.Fold(name) {
				c.fail(field, "%q differs from the column %s by case alone: readers take the two for one", name, other)
			}
		}
	}
}

func (c *compiler) expr(field, text string) *expr {
	if text == "" {
		c.fail(field, "is missing: a CEL expression")
		return nil
	}
	e, err := compileExpr(text, c.names.find)
	if err == nil {
		return e
	}
	f := &Fault{Step: c.step, Field: field, Message: err.Error()}
	if bad, ok := errors.AsType[*badExpr](err); ok {
		f.Line, f.Column = bad.line, bad.column
	}
	c.faults = append(c.faults, f)
	return nil
}

func (c *compiler) condition(field, text string) *expr {
	e := c.expr(field, text)
	if e != nil && !isBool(e.out) {
		c.faults = append(c.faults, &Fault{
			Step: c.step, Field: field, Line: 1, Column: 1,
			Message: fmt.Sprintf("the expression is a %s, it must be true or false", cel.FormatCELType(e.out)),
		})
	}
	return e
}

func (c *compiler) set(s *compiled) {
	c.target("set.column", s.Set.Column)
	s.typ = s.Set.Type
	s.expr = c.expr("set.value", s.Set.Value)
	if s.expr != nil {
		t, ok := columnType(s.expr.out)
		switch {
		case !ok:
			c.fail("set.value", "the expression is a %s, which no column holds: set one column for each part", cel.FormatCELType(s.expr.out))
		case s.typ == nil:
			s.typ = t
		case t != nil && !convertible(t, s.typ):
			c.fail("set.type", "the expression is a %s, which does not become a %s: convert it, such as with double(x) or string(x)", t, s.typ)
		}
	}
	c.names.add(s.Set.Column, s.typ)
}

// convertible says whether values of type from can become those of a column of type to.
func convertible(from, to *schema.Type) bool {
	switch to.Kind {
	case schema.Integer, schema.Long:
		return from.Kind == schema.Long || from.Kind == schema.Double
	case schema.Double:
		return from.Kind == schema.Long || from.Kind == schema.Double
	case schema.Timestamp, schema.Date:
		return from.Kind == schema.Timestamp || from.Kind == schema.String
	default:
		return from.Kind == to.Kind
	}
}

func (c *compiler) rename(r *Rename) {
	c.column("rename.from", r.From)
	t := c.names.known[r.From]
	c.names.remove(r.From, fmt.Sprintf("transform[%d] renames it to %s", c.step, r.To))
	c.target("rename.to", r.To)
	if _, there := c.names.known[r.To]; there {
		c.fail("rename.to", "there is a column %s already: drop or rename that one first", r.To)
	}
	c.names.add(r.To, t)
}

func (c *compiler) flatten(f *Flatten) {
	c.column("flatten.column", f.Column)
	t, declared := c.names.known[f.Column]
	if declared && t != nil && t.Kind != schema.Struct {
		c.fail("flatten.column", "%s is %s, it must be a struct", f.Column, t)
		return
	}
	c.names.remove(f.Column, fmt.Sprintf("transform[%d] flattens it", c.step))
	if t == nil {
		return
	}
	flattened(t, f.Column, f.Separator, func(name string, leaf *schema.Field) {
		if _, twice := c.names.known[name]; twice {
			c.fail("flatten.column", "the column %s that it makes is there already: rename that one, or use another separator", name)
		}
		c.names.add(name, leaf.Type)
	})
}

// flattened calls visit for every field of the struct t that is none itself, with the name of its column.
func flattened(t *schema.Type, prefix, separator string, visit func(name string, leaf *schema.Field)) {
	for i := range t.Fields {
		f := &t.Fields[i]
		name := prefix + separator + f.Name
		if f.Type.Kind == schema.Struct {
			flattened(f.Type, name, separator, visit)
		} else {
			visit(name, f)
		}
	}
}

func (c *compiler) derive(d *Derive) {
	c.column("derive.from", d.From)
	if t := c.names.known[d.From]; t != nil && !isTime(t) {
		c.fail("derive.from", "%s is %s, it must be a timestamp or a date", d.From, t)
	}
	c.target("derive.column", d.Column)
	if d.Column == d.From {
		c.fail("derive.column", "is the column that it is made from: give it a name of its own")
	}
	c.names.add(d.Column, derivedType(d))
}

func isTime(t *schema.Type) bool {
	return t.Kind == schema.Timestamp || t.Kind == schema.TimestampNTZ || t.Kind == schema.Date
}

func derivedType(d *Derive) *schema.Type {
	if d.Hour {
		return integerType
	}
	return dateType
}
