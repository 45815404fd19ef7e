package delta

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// Predicate is a condition on the rows of a table, in three-valued logic: a comparison with null is neither true nor false.
type Predicate struct {
	text string
	root node
}

// PredicateError refuses the text of a condition that cannot be evaluated exactly as other Delta writers do.
type PredicateError struct {
	Text   string // of the condition
	At     int    // byte in it where the trouble is
	Reason string
}

func (e *PredicateError) Error() string {
	return fmt.Sprintf("condition %q, at byte %d: %s", e.Text, e.At, e.Reason)
}

// String is the text that was parsed.
func (p *Predicate) String() string { return p.text }

// Columns are the top-level columns that the condition speaks of, each once.
func (p *Predicate) Columns() []string {
	var names []string
	p.root.columns(&names)
	slices.Sort(names)
	return slices.Compact(names)
}

// truth is a value of three-valued logic.
type truth uint8

const (
	isFalse truth = iota
	isTrue3
	unknown
)

func truthOf(b bool) truth {
	if b {
		return isTrue3
	}
	return isFalse
}

// node is a part of a condition. There is no negation: the parser pushes it down to the leaves.
type node interface {
	// eval says what holds for each row of b.
	eval(b *column.Batch) []truth
	// possible says whether the condition can be true for a row of a file with these bounds.
	possible(f *fileBounds) bool
	// negated is the condition that is true where this one is false, and the other way round.
	negated() node
	columns(names *[]string)
}

// both is AND, either is OR.
type both struct{ a, b node }

type either struct{ a, b node }

func (n *both) eval(b *column.Batch) []truth {
	x, y := n.a.eval(b), n.b.eval(b)
	for i := range x {
		switch {
		case x[i] == isFalse || y[i] == isFalse:
			x[i] = isFalse
		case y[i] == unknown:
			x[i] = unknown
		}
	}
	return x
}

func (n *both) possible(f *fileBounds) bool { return n.a.possible(f) && n.b.possible(f) }
func (n *both) negated() node               { return &either{n.a.negated(), n.b.negated()} }
func (n *both) columns(names *[]string)     { n.a.columns(names); n.b.columns(names) }

func (n *either) eval(b *column.Batch) []truth {
	x, y := n.a.eval(b), n.b.eval(b)
	for i := range x {
		switch {
		case x[i] == isTrue3 || y[i] == isTrue3:
			x[i] = isTrue3
		case y[i] == unknown:
			x[i] = unknown
		}
	}
	return x
}

func (n *either) possible(f *fileBounds) bool { return n.a.possible(f) || n.b.possible(f) }
func (n *either) negated() node               { return &both{n.a.negated(), n.b.negated()} }
func (n *either) columns(names *[]string)     { n.a.columns(names); n.b.columns(names) }

// constant is TRUE, FALSE or NULL.
type constant struct{ value truth }

func (n *constant) eval(b *column.Batch) []truth {
	out := make([]truth, b.Rows)
	for i := range out {
		out[i] = n.value
	}
	return out
}

func (n *constant) possible(*fileBounds) bool { return n.value == isTrue3 }
func (n *constant) columns(*[]string)         {}

func (n *constant) negated() node {
	if n.value == unknown {
		return n
	}
	return &constant{isTrue3 - n.value}
}

// nullness is IS NULL, or IS NOT NULL.
type nullness struct {
	of  reference
	not bool
}

func (n *nullness) eval(b *column.Batch) []truth {
	out := make([]truth, b.Rows)
	null := n.of.nulls(b)
	for i := range out {
		out[i] = truthOf(null(i) != n.not)
	}
	return out
}

func (n *nullness) possible(f *fileBounds) bool {
	r := f.of(n.of)
	if n.not {
		return !r.allNull
	}
	return !r.noNull
}

func (n *nullness) negated() node           { return &nullness{n.of, !n.not} }
func (n *nullness) columns(names *[]string) { *names = append(*names, n.of.path[0]) }

// operator compares two values.
type operator uint8

const (
	equal operator = iota
	notEqual
	less
	lessOrEqual
	greater
	greaterOrEqual
)

var operators = map[string]operator{
	"=": equal, "==": equal, "<>": notEqual, "!=": notEqual, "<": less, "<=": lessOrEqual, ">": greater, ">=": greaterOrEqual,
}

func (o operator) holds(c int) bool {
	switch o {
	case equal:
		return c == 0
	case notEqual:
		return c != 0
	case less:
		return c < 0
	case lessOrEqual:
		return c <= 0
	case greater:
		return c > 0
	default:
		return c >= 0
	}
}

// negated is the operator that holds where o does not.
func (o operator) negated() operator {
	return [...]operator{notEqual, equal, greaterOrEqual, greater, lessOrEqual, less}[o]
}

// flipped is the operator for the operands in the other order.
func (o operator) flipped() operator {
	return [...]operator{equal, notEqual, greater, greaterOrEqual, less, lessOrEqual}[o]
}

// comparison compares a column with a literal, or with another column.
type comparison struct {
	a     reference
	op    operator
	class class
	value datum      // of the literal
	b     *reference // nil: the literal
}

func (n *comparison) eval(b *column.Batch) []truth {
	out := make([]truth, b.Rows)
	left, right := n.a.cells(b), cells{}
	if n.b != nil {
		right = n.b.cells(b)
	}
	for i := range out {
		x, ok := left.get(i)
		y := n.value
		if n.b != nil && ok {
			y, ok = right.get(i)
			y = right.class.as(n.class, y)
		}
		if !ok {
			out[i] = unknown
			continue
		}
		out[i] = truthOf(n.op.holds(n.class.compare(left.class.as(n.class, x), y)))
	}
	return out
}

func (n *comparison) negated() node { return &comparison{n.a, n.op.negated(), n.class, n.value, n.b} }

func (n *comparison) columns(names *[]string) {
	*names = append(*names, n.a.path[0])
	if n.b != nil {
		*names = append(*names, n.b.path[0])
	}
}

func (n *comparison) possible(f *fileBounds) bool {
	r := f.of(n.a)
	if r.allNull {
		return false
	}
	if n.b != nil {
		return !f.of(*n.b).allNull
	}
	return r.mayHold(n.op, n.class, n.value)
}

// membership is IN, or NOT IN, of values that are not null.
type membership struct {
	of     reference
	class  class
	values []datum
	null   bool // NULL is among the values
	not    bool
}

func (n *membership) eval(b *column.Batch) []truth {
	out := make([]truth, b.Rows)
	left := n.of.cells(b)
	for i := range out {
		x, ok := left.get(i)
		if !ok {
			out[i] = unknown
			continue
		}
		x = left.class.as(n.class, x)
		found := slices.ContainsFunc(n.values, func(y datum) bool { return n.class.compare(x, y) == 0 })
		if !found && n.null {
			out[i] = unknown
			continue
		}
		out[i] = truthOf(found != n.not)
	}
	return out
}

func (n *membership) possible(f *fileBounds) bool {
	r := f.of(n.of)
	switch {
	case r.allNull:
		return false
	case n.not:
		return !n.null
	}
	return slices.ContainsFunc(n.values, func(y datum) bool { return r.mayHold(equal, n.class, y) })
}

func (n *membership) negated() node {
	return &membership{n.of, n.class, n.values, n.null, !n.not}
}

func (n *membership) columns(names *[]string) { *names = append(*names, n.of.path[0]) }

// reference names a column, or a member of struct columns.
type reference struct {
	path []string // as the schema spells it
	t    *schema.Type
}

func (r reference) String() string { return strings.Join(r.path, ".") }

// cells are the values in b of a column that is not nested in another.
func (r reference) cells(b *column.Batch) cells {
	v := find(b, r.path[0])
	if len(r.path) == 1 || v == nil {
		return newCells(v)
	}
	return r.member(v)
}

// member are the values of a member of a struct, whose slots are those of the valid structs around it.
func (r reference) member(v *column.Vector) cells {
	outer := newCells(v)
	at := outer.positions(v.Len)
	for _, name := range r.path[1:] {
		i := v.Type.Index(name)
		if i < 0 {
			return cells{}
		}
		v = v.Children[i]
		inner := newCells(v)
		for row, p := range at {
			if p >= 0 {
				at[row] = int32(inner.position(int(p)))
			}
		}
	}
	return cells{v: v, class: classOf(v.Type), at: at}
}

func (c *cells) positions(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(c.position(i))
	}
	return out
}

// nulls says which rows have no value.
func (r reference) nulls(b *column.Batch) func(row int) bool {
	c := r.cells(b)
	return func(row int) bool { return c.position(row) < 0 }
}

// where keeps the rows of b for which p is true.
func (p *Predicate) where(b *column.Batch) *column.Batch {
	rows := make([]int, 0, b.Rows)
	for i, t := range p.root.eval(b) {
		if t == isTrue3 {
			rows = append(rows, i)
		}
	}
	if len(rows) == b.Rows {
		return b
	}
	return b.Gather(rows)
}
