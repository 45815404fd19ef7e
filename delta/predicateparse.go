package delta

import (
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// ParsePredicate reads a condition in SQL on the columns of s: comparisons (= <> != < <= > >=) of a column with a literal
// or another column, IN, BETWEEN, IS NULL, AND, OR, NOT and parentheses. Strings stand in single quotes, names may stand in
// backticks; times without a zone are in UTC. Anything else, functions and arithmetic above all, is refused rather than
// guessed at.
//
// Error: *PredicateError.
func ParsePredicate(text string, s *schema.Type) (*Predicate, error) {
	p := &parser{text: text, schema: s}
	if err := p.lex(); err != nil {
		return nil, err
	}
	root, err := p.or()
	if err == nil && p.peek().kind != endToken {
		err = p.fail("%q is not understood here", p.peek().text)
	}
	if err != nil {
		return nil, err
	}
	return &Predicate{text: text, root: root}, nil
}

type tokenKind uint8

const (
	endToken tokenKind = iota
	wordToken
	quotedToken // a name in backticks
	stringToken
	numberToken
	signToken
)

type token struct {
	kind tokenKind
	text string
	at   int
}

// maxNesting bounds parentheses and NOTs.
const maxNesting = 100

type parser struct {
	text   string
	schema *schema.Type
	tokens []token
	depth  int
}

func (p *parser) fail(format string, args ...any) error {
	return &PredicateError{Text: p.text, At: p.peek().at, Reason: fmt.Sprintf(format, args...)}
}

func (p *parser) peek() token { return p.tokens[0] }

func (p *parser) next() token {
	t := p.tokens[0]
	if t.kind != endToken {
		p.tokens = p.tokens[1:]
	}
	return t
}

// word takes the next token if it is that keyword.
func (p *parser) word(w string) bool {
	if t := p.peek(); t.kind != wordToken || !strings.EqualFold(t.text, w) {
		return false
	}
	p.next()
	return true
}

func (p *parser) sign(s string) bool {
	if t := p.peek(); t.kind != signToken || t.text != s {
		return false
	}
	p.next()
	return true
}

func (p *parser) lex() error {
	for at := 0; at < len(p.text); {
		c := p.text[at]
		n, kind := 1, signToken
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			at++
			continue
		case c == '\'' || c == '`':
			text, size := quotedText(p.text[at:], c)
			if size == 0 {
				return &PredicateError{p.text, at, "the quote does not end"}
			}
			kind = stringToken
			if c == '`' {
				kind = quotedToken
			}
			p.tokens = append(p.tokens, token{kind, text, at})
			at += size
			continue
		case c >= '0' && c <= '9' || c == '.' && at+1 < len(p.text) && p.text[at+1] >= '0' && p.text[at+1] <= '9':
			n, kind = numberLength(p.text[at:]), numberToken
		case c == '_' || c >= 0x80 || unicode.IsLetter(rune(c)):
			n, kind = wordLength(p.text[at:]), wordToken
		case at+1 < len(p.text) && slices.Contains([]string{"<=", ">=", "<>", "!=", "=="}, p.text[at:at+2]):
			n = 2
		case strings.IndexByte("=<>(),.+-", c) < 0:
			return &PredicateError{p.text, at, fmt.Sprintf("%q is not understood", c)}
		}
		p.tokens = append(p.tokens, token{kind, p.text[at : at+n], at})
		at += n
	}
	p.tokens = append(p.tokens, token{kind: endToken, at: len(p.text)})
	return nil
}

// quotedText reads a text that begins with the quote c, which stands doubled for itself. A size of 0: it does not end. A
// backslash means different things to different engines, so a string with one does not end either.
func quotedText(s string, c byte) (text string, size int) {
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] == '\\' && c == '\'':
			return "", 0
		case s[i] != c:
			b.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == c:
			b.WriteByte(c)
			i++
		default:
			return b.String(), i + 1
		}
	}
	return "", 0
}

func numberLength(s string) int {
	n := 0
	for n < len(s) && (s[n] >= '0' && s[n] <= '9' || s[n] == '.' || s[n] == 'e' || s[n] == 'E' ||
		(s[n] == '-' || s[n] == '+') && n > 0 && (s[n-1] == 'e' || s[n-1] == 'E')) {
		n++
	}
	return n
}

func wordLength(s string) int {
	for i, r := range s {
		if r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return i
		}
	}
	return len(s)
}

func (p *parser) or() (node, error) {
	a, err := p.and()
	for err == nil && p.word("or") {
		var b node
		b, err = p.and()
		a = &either{a, b}
	}
	return a, err
}

func (p *parser) and() (node, error) {
	a, err := p.not()
	for err == nil && p.word("and") {
		var b node
		b, err = p.not()
		a = &both{a, b}
	}
	return a, err
}

func (p *parser) not() (node, error) {
	if p.depth++; p.depth > maxNesting {
		return nil, p.fail("it is nested too deep")
	}
	defer func() { p.depth-- }()
	if p.word("not") {
		n, err := p.not()
		if err != nil {
			return nil, err
		}
		return n.negated(), nil
	}
	if p.sign("(") {
		n, err := p.or()
		if err == nil && !p.sign(")") {
			err = p.fail("a ) is missing")
		}
		return n, err
	}
	return p.comparison()
}

// operand is a column or a literal.
type operand struct {
	ref *reference
	lit literal
	at  int
}

// literal is a value before it has met its column.
type literal struct {
	null, isBool, b bool
	number          *big.Rat
	text            *string
}

func (p *parser) comparison() (node, error) {
	start := p.peek()
	a, err := p.operand()
	if err != nil {
		return nil, err
	}
	not := p.word("not")
	switch {
	case p.word("in"):
		return p.in(a, not)
	case p.word("between"):
		return p.between(a, not)
	case not:
		return nil, p.fail("IN or BETWEEN is expected after NOT")
	case p.word("is"):
		return p.is(a)
	}
	op, ok := operators[p.peek().text]
	if p.peek().kind != signToken || !ok {
		return p.alone(a, start)
	}
	p.next()
	b, err := p.operand()
	if err != nil {
		return nil, err
	}
	return p.compare(a, op, b)
}

// alone is an operand as a condition of its own.
func (p *parser) alone(a operand, at token) (node, error) {
	switch {
	case a.ref != nil && a.ref.t.Kind == schema.Boolean:
		return &comparison{a: *a.ref, op: equal, class: intClass, value: datum{i: 1}}, nil
	case a.ref == nil && a.lit.isBool:
		return &constant{truthOf(a.lit.b)}, nil
	case a.ref == nil && a.lit.null:
		return &constant{unknown}, nil
	}
	return nil, &PredicateError{p.text, at.at, "a comparison is expected"}
}

func (p *parser) is(a operand) (node, error) {
	not := p.word("not")
	if !p.word("null") || a.ref == nil {
		return nil, p.fail("only a column IS NULL or IS NOT NULL")
	}
	return &nullness{of: *a.ref, not: not}, nil
}

func (p *parser) between(a operand, not bool) (node, error) {
	low, err := p.operand()
	if err == nil && !p.word("and") {
		err = p.fail("AND is expected")
	}
	if err != nil {
		return nil, err
	}
	high, err := p.operand()
	if err != nil {
		return nil, err
	}
	x, err := p.compare(a, greaterOrEqual, low)
	if err != nil {
		return nil, err
	}
	y, err := p.compare(a, lessOrEqual, high)
	if err != nil {
		return nil, err
	}
	n := node(&both{x, y})
	if not {
		n = n.negated()
	}
	return n, nil
}

func (p *parser) in(a operand, not bool) (node, error) {
	if a.ref == nil || !p.sign("(") {
		return nil, p.fail("a column IN (…) is expected")
	}
	n := &membership{of: *a.ref, not: not}
	for {
		x, err := p.operand()
		if err != nil {
			return nil, err
		}
		switch {
		case x.ref != nil:
			return nil, &PredicateError{p.text, x.at, "IN takes literals"}
		case x.lit.null:
			n.null = true
		default:
			c, v, err := x.lit.as(a.ref.t)
			if err != nil {
				return nil, &PredicateError{p.text, x.at, err.Error()}
			}
			n.add(c, v)
		}
		if p.sign(")") {
			return n, nil
		}
		if !p.sign(",") {
			return nil, p.fail("a , or ) is expected")
		}
	}
}

// add takes a value in; the class of all is the widest.
func (n *membership) add(c class, v datum) {
	if len(n.values) == 0 || n.class == c {
		n.class, n.values = c, append(n.values, v)
		return
	}
	if c == ratClass { // all others were whole numbers
		for i, x := range n.values {
			n.values[i] = n.class.as(c, x)
		}
		n.class = c
	}
	n.values = append(n.values, c.as(n.class, v))
}

func (p *parser) compare(a operand, op operator, b operand) (node, error) {
	switch {
	case a.ref == nil && b.ref == nil:
		return nil, &PredicateError{p.text, a.at, "a column is expected on one side"}
	case a.ref == nil:
		a, b, op = b, a, op.flipped()
	}
	if classOf(a.ref.t) == noClass {
		return nil, &PredicateError{p.text, a.at, fmt.Sprintf("column %s of type %s cannot be compared", a.ref, a.ref.t)}
	}
	if b.ref != nil {
		c, err := common(a.ref.t, b.ref.t)
		if err != nil {
			return nil, &PredicateError{p.text, b.at, err.Error()}
		}
		return &comparison{a: *a.ref, op: op, class: c, b: b.ref}, nil
	}
	if b.lit.null {
		return &constant{unknown}, nil
	}
	c, v, err := b.lit.as(a.ref.t)
	if err != nil {
		return nil, &PredicateError{p.text, b.at, err.Error()}
	}
	return &comparison{a: *a.ref, op: op, class: c, value: v}, nil
}

func (p *parser) operand() (operand, error) {
	t := p.peek()
	at := t.at
	switch {
	case t.kind == stringToken:
		p.next()
		return operand{lit: literal{text: &t.text}, at: at}, nil
	case t.kind == numberToken || t.kind == signToken && (t.text == "-" || t.text == "+"):
		n, err := p.number()
		return operand{lit: literal{number: n}, at: at}, err
	case t.kind == quotedToken, t.kind == wordToken:
		return p.named(t)
	}
	return operand{}, p.fail("a column or a literal is expected")
}

func (p *parser) number() (*big.Rat, error) {
	negative := p.sign("-")
	if !negative {
		p.sign("+")
	}
	t := p.next()
	if t.kind != numberToken || !plainNumber.MatchString(t.text) {
		return nil, p.fail("a number is expected")
	}
	n, ok := new(big.Rat).SetString(t.text)
	if !ok {
		return nil, p.fail("%q is not a number", t.text)
	}
	if negative {
		n.Neg(n)
	}
	return n, nil
}

// named is what begins with a name: a column, or a literal such as TRUE or DATE '2024-01-01'.
func (p *parser) named(t token) (operand, error) {
	p.next()
	if t.kind == wordToken {
		switch strings.ToLower(t.text) {
		case "null":
			return operand{lit: literal{null: true}, at: t.at}, nil
		case "true", "false":
			return operand{lit: literal{isBool: true, b: strings.EqualFold(t.text, "true")}, at: t.at}, nil
		case "date", "timestamp":
			if text := p.peek(); text.kind == stringToken {
				p.next()
				return operand{lit: literal{text: &text.text}, at: t.at}, nil
			}
		}
		if p.peek().kind == signToken && p.peek().text == "(" {
			return operand{}, &PredicateError{p.text, t.at, fmt.Sprintf("the function %s cannot be evaluated", t.text)}
		}
	}
	ref := &reference{}
	for in := p.schema; ; {
		f, ok := fieldFolded(in, t.text)
		if !ok {
			return operand{}, &PredicateError{p.text, t.at, "there is no column " + t.text}
		}
		ref.path, ref.t, in = append(ref.path, f.Name), f.Type, f.Type
		if !p.sign(".") {
			break
		}
		if t = p.next(); t.kind != wordToken && t.kind != quotedToken || in.Kind != schema.Struct {
			return operand{}, &PredicateError{p.text, t.at, "a member of a struct is expected"}
		}
	}
	if c := p.peek(); c.kind == signToken && (c.text == "+" || c.text == "-") {
		return operand{}, p.fail("arithmetic cannot be evaluated")
	}
	return operand{ref: ref, at: t.at}, nil
}

// fieldFolded is the member of that name, exactly or else without regard to case, as SQL has it.
func fieldFolded(s *schema.Type, name string) (schema.Field, bool) {
	if f, ok := s.Field(name); ok {
		return f, true
	}
	i := slices.IndexFunc(s.Fields, func(f schema.Field) bool { return strings.EqualFold(f.Name, name) })
	if i < 0 {
		return schema.Field{}, false
	}
	return s.Fields[i], true
}

// as is the value beside a column of type t, and the class in which both compare.
func (l *literal) as(t *schema.Type) (class, datum, error) {
	misfit := fmt.Errorf("the literal cannot be compared with a column of type %s", t)
	switch c := classOf(t); {
	case t.Kind == schema.Boolean && l.isBool:
		return c, datum{i: int64(truthOf(l.b))}, nil
	case l.isBool, t.Kind == schema.Boolean, c == noClass:
		return c, datum{}, misfit
	case l.number != nil:
		return l.numberAs(t, misfit)
	case t.Kind == schema.Date, t.Kind == schema.Timestamp, t.Kind == schema.TimestampNTZ:
		v := column.New(t)
		if err := parsePartitionValue(v, *l.text); err != nil {
			return c, datum{}, fmt.Errorf("%q %w", *l.text, err)
		}
		return c, valueAt(v, 0), nil
	case c == bytesClass:
		return c, datum{b: []byte(*l.text)}, nil
	default:
		return c, datum{}, misfit
	}
}

func (l *literal) numberAs(t *schema.Type, misfit error) (class, datum, error) {
	switch c := classOf(t); {
	case t.Kind == schema.Date, t.Kind == schema.Timestamp, t.Kind == schema.TimestampNTZ, c == bytesClass:
		return c, datum{}, misfit
	case c == floatClass:
		f, _ := l.number.Float64()
		return c, datum{f: f}, nil
	case c == intClass && l.number.IsInt() && l.number.Num().IsInt64():
		return c, datum{i: l.number.Num().Int64()}, nil
	default:
		return ratClass, datum{r: l.number}, nil
	}
}

var errTypes = errors.New("the columns have types that cannot be compared")

// common is the class in which values of two columns compare.
func common(a, b *schema.Type) (class, error) {
	x, y := classOf(a), classOf(b)
	temporal := func(t *schema.Type) bool {
		return t.Kind == schema.Boolean || t.Kind == schema.Date || t.Kind == schema.Timestamp || t.Kind == schema.TimestampNTZ
	}
	switch {
	case x == noClass || y == noClass, (temporal(a) || temporal(b)) && a.Kind != b.Kind, (x == bytesClass) != (y == bytesClass):
		return noClass, errTypes
	case x == y:
		return x, nil
	case x == floatClass || y == floatClass:
		return floatClass, nil
	default:
		return ratClass, nil
	}
}

// as turns a value of class c into one of the class to.
func (c class) as(to class, v datum) datum {
	switch {
	case c == to || c == noClass:
		return v
	case to == ratClass && c == intClass:
		return datum{r: new(big.Rat).SetInt64(v.i)}
	case to == floatClass && c == intClass:
		return datum{f: float64(v.i)}
	case to == floatClass && c == ratClass:
		f, _ := v.r.Float64()
		return datum{f: f}
	default:
		return v
	}
}

func parseInt(s string) (int64, bool) {
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}
