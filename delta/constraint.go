package delta

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
)

// A constraint is a condition that each row of a table fulfils: a CHECK constraint of the table, or an invariant of a
// column. A row for which it is unknown, because of a null, breaks it, as in Spark.

const (
	constraintPrefix = "delta.constraints."
	invariantKey     = "delta.invariants"
)

// ConstraintError refuses a row that breaks a constraint of the table.
type ConstraintError struct {
	Name      string // of the constraint, or the column of an invariant
	Condition string
	Row       map[string]any // what the condition speaks of
}

func (e *ConstraintError) Error() string {
	var values []string
	for _, name := range slices.Sorted(maps.Keys(e.Row)) {
		values = append(values, fmt.Sprintf("%s = %v", name, e.Row[name]))
	}
	return fmt.Sprintf("constraint %s (%s) is broken by a row with %s", e.Name, e.Condition, strings.Join(values, ", "))
}

// rule is a constraint that can be evaluated.
type rule struct {
	name      string
	condition *Predicate
}

// unruly says which constraint cannot be evaluated.
type unruly struct {
	what string // such as "CHECK constraint positive"
	err  error
}

// rulesOf reads the constraints of a table. What cannot be evaluated is the second result, nil if all can.
func rulesOf(m *Metadata, s *schema.Type) ([]rule, *unruly) {
	var rules []rule
	add := func(what, name, text string) *unruly {
		p, err := ParsePredicate(text, s)
		if err != nil {
			return &unruly{what + " " + name, err}
		}
		rules = append(rules, rule{name, p})
		return nil
	}
	for _, key := range slices.Sorted(maps.Keys(m.Configuration)) {
		if name, ok := strings.CutPrefix(key, constraintPrefix); ok {
			if bad := add("CHECK constraint", name, m.Configuration[key]); bad != nil {
				return nil, bad
			}
		}
	}
	for _, f := range s.Fields {
		text, err := invariant(&f)
		if err != nil {
			return nil, &unruly{"column invariant " + f.Name, err}
		}
		if text == "" {
			continue
		}
		if bad := add("column invariant", f.Name, text); bad != nil {
			return nil, bad
		}
	}
	return rules, nil
}

// invariant is the condition of a column, empty for none.
func invariant(f *schema.Field) (string, error) {
	raw, ok := f.Metadata[invariantKey]
	if !ok {
		return "", nil
	}
	var parsed struct {
		Expression struct {
			Expression string `json:"expression"`
		} `json:"expression"`
	}
	text, _ := raw.(string)
	if err := json.Unmarshal([]byte(text), &parsed); err != nil {
		return "", fmt.Errorf("it is malformed: %w", err)
	}
	return parsed.Expression.Expression, nil
}

// Constraints names the conditions that rows of the table must fulfil, empty if there are none. It is the same for two
// snapshots if and only if their conditions are. See [Transaction.Constraints].
func (s *Snapshot) Constraints() string {
	if s.metadata == nil {
		return ""
	}
	return constraintsOf(s.metadata, s.schema)
}

func constraintsOf(m *Metadata, s *schema.Type) string {
	rules, bad := rulesOf(m, s)
	if bad != nil {
		return bad.what
	}
	names := make([]string, len(rules))
	for i, r := range rules {
		names[i] = fmt.Sprintf("%q: %q", r.name, r.condition.text)
	}
	return strings.Join(names, ", ")
}

// checkRows refuses rows that break a constraint of the table. Errors: *ConstraintError, *UnsupportedFeatureError,
// parquet.ErrMisfit.
func (s *state) checkRows(batches []*column.Batch) error {
	if s.metadata == nil {
		return nil
	}
	rules, bad := rulesOf(s.metadata, s.schema)
	if bad != nil {
		return &UnsupportedFeatureError{Feature: bad.what, Write: true}
	}
	for _, r := range rules {
		for _, b := range batches {
			if err := r.check(s.schema, b); err != nil {
				return err
			}
		}
	}
	return nil
}

func (r *rule) check(table *schema.Type, b *column.Batch) error {
	names := r.condition.Columns()
	for _, name := range names {
		f, _ := table.Field(name)
		if v := find(b, name); v != nil && !v.Type.Equal(f.Type) {
			return fmt.Errorf("%w: column %s is %s, not %s", parquet.ErrMisfit, name, v.Type, f.Type)
		}
	}
	for row, holds := range r.condition.root.eval(b) {
		if holds == isTrue3 {
			continue
		}
		e := &ConstraintError{Name: r.name, Condition: r.condition.text, Row: map[string]any{}}
		for _, name := range names {
			e.Row[name] = nil
			if v := find(b, name); v != nil {
				e.Row[name] = v.Value(row)
			}
		}
		return e
	}
	return nil
}
