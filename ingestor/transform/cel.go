package transform

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/ext"

	"github.com/weir-dev/weir/delta/schema"
)

// What an expression may cost. Without a loop the size of the expression and that of the event bound the work; with one
// the cost of each evaluation is counted, in CEL's units of about one operation.
const (
	maxCost       = 1_000_000
	maxExpression = 8192 // bytes
	maxRecursion  = 64
)

// baseEnv knows the functions of CEL and no column.
var baseEnv = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(ext.Strings(), ext.Math(), ext.Encoders(), cel.ParserRecursionLimit(maxRecursion),
		cel.ParserExpressionSizeLimit(maxExpression), cel.CrossTypeNumericComparisons(true))
})

// expr is a compiled expression.
type expr struct {
	text    string
	program cel.Program
	names   []string  // of the columns that it reads
	out     *cel.Type // dyn when it is not known
}

// badExpr says where an expression is wrong.
type badExpr struct {
	line, column int // from 1
	message      string
}

func (e *badExpr) Error() string { return e.message }

// lookup returns the type of a column, or an error that says why there is none of that name.
type lookup func(name string) (*cel.Type, error)

// compileExpr compiles text over the columns that find knows. Error: *badExpr, or that of CEL's own making.
func compileExpr(text string, find lookup) (*expr, error) {
	base, err := baseEnv()
	if err != nil {
		return nil, err
	}
	parsed, iss := base.Parse(text)
	if iss.Err() != nil {
		return nil, firstIssue(iss)
	}
	e := &expr{text: text}
	free, loops := freeNames(parsed.NativeRep())
	vars := make([]cel.EnvOption, 0, len(free))
	for _, id := range free {
		t, err := find(id.name)
		if err != nil {
			if typeNames[id.name] {
				continue
			}
			at := parsed.NativeRep().SourceInfo().GetStartLocation(id.id)
			return nil, &badExpr{at.Line(), at.Column() + 1, err.Error()}
		}
		if typeNames[id.name] && t == cel.DynType {
			continue // nobody declared such a column: the word means the type
		}
		vars = append(vars, cel.Variable(id.name, t))
		e.names = append(e.names, id.name)
	}
	env, err := base.Extend(vars...)
	if err != nil {
		return nil, &badExpr{1, 1, err.Error()}
	}
	checked, iss := env.Check(parsed)
	if iss.Err() != nil {
		return nil, firstIssue(iss)
	}
	e.out = checked.OutputType()
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	if loops {
		options = append(options, cel.CostLimit(maxCost))
	}
	e.program, err = env.Program(checked, options...)
	if err != nil {
		return nil, &badExpr{1, 1, err.Error()}
	}
	return e, nil
}

// typeNames are the words that CEL takes for types.
var typeNames = map[string]bool{
	"bool": true, "bytes": true, "double": true, "int": true, "list": true, "map": true, "null_type": true, "string": true,
	"type": true, "uint": true,
}

// nullable matches how CEL words the type of a column, which may be null.
var nullable = regexp.MustCompile(`wrapper\((\w+)\)`)

func firstIssue(iss *cel.Issues) error {
	errs := iss.Errors()
	if len(errs) == 0 {
		return &badExpr{1, 1, iss.Err().Error()}
	}
	message := nullable.ReplaceAllString(errs[0].Message, "$1")
	return &badExpr{errs[0].Location.Line(), errs[0].Location.Column() + 1, message}
}

type freeName struct {
	name string
	id   int64
}

// freeNames returns the names that an expression takes from outside, each once, and whether it loops over something.
func freeNames(a *ast.AST) (names []freeName, loops bool) {
	bound, seen := map[string]bool{}, map[string]bool{}
	ast.PreOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.ComprehensionKind {
			c := e.AsComprehension()
			bound[c.IterVar()], bound[c.AccuVar()], loops = true, true, true
			if c.HasIterVar2() {
				bound[c.IterVar2()] = true
			}
		}
	}))
	ast.PreOrderVisit(a.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() == ast.IdentKind {
			if name := e.AsIdent(); !bound[name] && !seen[name] {
				seen[name] = true
				names = append(names, freeName{name, e.ID()})
			}
		}
	}))
	return names, loops
}

// celType is how expressions see a column of type t. A column may be null.
func celType(t *schema.Type) *cel.Type {
	switch t.Kind {
	case schema.Boolean:
		return cel.NullableType(cel.BoolType)
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		return cel.NullableType(cel.IntType)
	case schema.Float, schema.Double, schema.Decimal:
		return cel.NullableType(cel.DoubleType)
	case schema.String:
		return cel.NullableType(cel.StringType)
	case schema.Binary:
		return cel.NullableType(cel.BytesType)
	case schema.Date, schema.Timestamp, schema.TimestampNTZ:
		return cel.TimestampType
	default:
		return cel.DynType
	}
}

// columnType is the type of the column for results of type t, nil when that is not known yet. ok is false when no column
// can hold them.
func columnType(t *cel.Type) (out *schema.Type, ok bool) {
	kind := t.Kind()
	if cel.NullType.IsExactType(t) {
		return nil, true
	}
	switch {
	case kind == types.DynKind || kind == types.AnyKind:
		return nil, true
	case t.IsAssignableType(cel.BoolType):
		return booleanType, true
	case t.IsAssignableType(cel.IntType), t.IsAssignableType(cel.UintType):
		return longType, true
	case t.IsAssignableType(cel.DoubleType):
		return doubleType, true
	case t.IsAssignableType(cel.StringType):
		return stringType, true
	case t.IsAssignableType(cel.BytesType):
		return binaryType, true
	case t.IsAssignableType(cel.TimestampType):
		return timestampType, true
	}
	return nil, false
}

// Types are immutable, so one of each will do.
var (
	booleanType   = &schema.Type{Kind: schema.Boolean}
	longType      = &schema.Type{Kind: schema.Long}
	integerType   = &schema.Type{Kind: schema.Integer}
	doubleType    = &schema.Type{Kind: schema.Double}
	stringType    = &schema.Type{Kind: schema.String}
	binaryType    = &schema.Type{Kind: schema.Binary}
	timestampType = &schema.Type{Kind: schema.Timestamp}
	dateType      = &schema.Type{Kind: schema.Date}
)

// isBool says whether results of type t may be true.
func isBool(t *cel.Type) bool {
	k := t.Kind()
	return k == types.DynKind || k == types.AnyKind || t.IsAssignableType(cel.BoolType) && !cel.NullType.IsExactType(t)
}

// errNull is the result of an expression that could not be evaluated because something that it reads is null.
var errNull = errors.New("null")

// eval evaluates e over the columns of a. The value is nil for null.
func (e *expr) eval(a *activation) (ref.Val, error) {
	a.null = false
	out, _, err := e.program.Eval(a)
	switch {
	case err == nil && (out == nil || out.Type() == types.NullType):
		return nil, nil //nolint:nilnil // a null is a value of its own
	case err != nil && a.null && fromNull(err):
		return nil, errNull
	}
	return out, err
}

// nullCannot has what errors say that no null leads to, whatever else of the record is null. CEL has no types for its errors.
var nullCannot = []string{"division by zero", "modulus by zero", "overflow", "cost limit exceeded", "out of bounds", "out of range"}

// fromNull says whether a null that was read may be why an expression could not be computed.
func fromNull(err error) bool {
	text := err.Error()
	if strings.Contains(text, "conversion error") {
		return strings.Contains(text, "null")
	}
	return !slices.ContainsFunc(nullCannot, func(of string) bool { return strings.Contains(text, of) })
}
