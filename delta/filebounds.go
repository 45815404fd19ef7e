package delta

import (
	"encoding/json"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// fileBounds is what the log says about the values in a file: its partition values and its statistics. What it does not
// say bounds nothing. Statistics of writers differ in what they leave out, so nothing is read into an absence.
type fileBounds struct {
	add       *Add
	partition map[string]string // by name of the table: name in the log
	names     func(top string) string
	stats     *statsObject // nil: none
}

type statsObject struct {
	NumRecords *int64
	MinValues  map[string]json.RawMessage
	MaxValues  map[string]json.RawMessage
	NullCount  map[string]json.RawMessage
}

// boundsOf prepares the bounds of a file.
func (s *state) boundsOf(a *Add) *fileBounds {
	f := statsBounds(a.Stats)
	f.add, f.partition = a, map[string]string{}
	if s.mapped() {
		f.names = func(top string) string {
			if own, ok := s.schema.Field(top); ok {
				return physical(&own)
			}
			return top
		}
	}
	for _, c := range s.metadata.PartitionColumns {
		f.partition[c] = f.names(c)
	}
	return f
}

// statsBounds are the bounds of a file that has no partition values.
func statsBounds(text string) *fileBounds {
	f := &fileBounds{names: func(top string) string { return top }}
	var stats statsObject
	if text != "" && json.Unmarshal([]byte(text), &stats) == nil {
		f.stats = &stats
	}
	return f
}

// valueBounds bounds the values of one column of a file.
type valueBounds struct {
	allNull, noNull bool
	class           class
	hasLow, hasHigh bool
	low, high       datum // inclusive
}

// of returns the bounds of a column; for what is not known, none.
func (f *fileBounds) of(r reference) valueBounds {
	if name, ok := f.partition[r.path[0]]; ok && len(r.path) == 1 {
		return partitionBounds(r.t, f.add.PartitionValues[name])
	}
	out := valueBounds{class: classOf(r.t)}
	if f.stats == nil || f.stats.NumRecords == nil || len(r.path) > 1 || out.class == noClass {
		return out
	}
	name := f.names(r.path[0])
	var nulls int64
	if raw, ok := f.stats.NullCount[name]; ok && json.Unmarshal(raw, &nulls) == nil {
		out.allNull = nulls == *f.stats.NumRecords
		out.noNull = nulls == 0
	}
	out.low, out.hasLow = statsValue(r.t, f.stats.MinValues[name], false)
	out.high, out.hasHigh = statsValue(r.t, f.stats.MaxValues[name], true)
	return out
}

func partitionBounds(t *schema.Type, value string) valueBounds {
	if value == "" {
		return valueBounds{class: classOf(t), allNull: true}
	}
	v := column.New(t)
	if parsePartitionValue(v, value) != nil {
		return valueBounds{class: classOf(t)} // reading the file will say so
	}
	d := valueAt(v, 0)
	return valueBounds{class: classOf(t), noNull: true, hasLow: true, hasHigh: true, low: d, high: d}
}

// statsValue reads a bound. Upper bounds of times may have been cut to milliseconds, those of floating-point columns may
// leave NaN out, which is above all numbers; so the one is raised and the other not used.
func statsValue(t *schema.Type, raw json.RawMessage, high bool) (datum, bool) {
	if len(raw) == 0 || string(raw) == "null" {
		return datum{}, false
	}
	switch t.Kind {
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		n, ok := parseInt(string(raw))
		return datum{i: n}, ok
	case schema.Boolean:
		var b bool
		err := json.Unmarshal(raw, &b)
		return datum{i: int64(truthOf(b))}, err == nil
	case schema.Float, schema.Double:
		return floatBound(raw, high)
	case schema.Decimal:
		return decimalBound(t, raw, high)
	case schema.String:
		var s string
		if json.Unmarshal(raw, &s) != nil {
			return datum{}, false
		}
		return stringBound(s, high)
	case schema.Date, schema.Timestamp, schema.TimestampNTZ:
		return timeBound(t, raw, high)
	default:
		return datum{}, false
	}
}

// floatBound: the text may be the shortest that names a value of 32 bits, and another value of a wider type, which can be above
// it. Of that kind are also the bounds from before a column was widened to double.
func floatBound(raw json.RawMessage, high bool) (datum, bool) {
	f, err := strconv.ParseFloat(string(raw), 64)
	return datum{f: min(f, float64(float32(f)))}, err == nil && !high && !math.IsNaN(f)
}

// doubleDigits is how many decimal digits a double keeps.
const doubleDigits = 15

// decimalBound: some writers, deltalake among them, write decimals as doubles, which may be off in the last of their bits. So
// what has more digits than a double keeps is lowered, or raised, by as much.
func decimalBound(t *schema.Type, raw json.RawMessage, high bool) (datum, bool) {
	text := strings.Trim(string(raw), `"`)
	if !plainNumber.MatchString(text) { // a large exponent would cost as much memory
		return datum{}, false
	}
	n, ok := new(big.Rat).SetString(text)
	if !ok || t.Precision <= doubleDigits {
		return datum{r: n}, ok
	}
	off := new(big.Rat).Abs(n)
	off.Mul(off, big.NewRat(1, 1<<50)) // rounded once for the digits, the power of ten and the quotient each
	if high {
		return datum{r: n.Add(n, off)}, true
	}
	return datum{r: n.Sub(n, off)}, true
}

// stringBound: some writers cut an upper bound to a prefix and append a tie breaker, the largest character.
func stringBound(s string, high bool) (datum, bool) {
	if high && len(s) >= cutLength {
		return datum{b: append([]byte(s), 0xff)}, true // above all strings with that prefix
	}
	return datum{b: []byte(s)}, true
}

// cutLength is the number of bytes from which on a string in statistics may be a prefix of the value.
const cutLength = 16

func timeBound(t *schema.Type, raw json.RawMessage, high bool) (datum, bool) {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return datum{}, false
	}
	at, err := parseTime(s, time.RFC3339Nano, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", dateLayout)
	if err != nil {
		return datum{}, false
	}
	if t.Kind == schema.Date {
		return datum{i: floorDiv(at.Unix(), 86400)}, true
	}
	micros := at.UnixMicro()
	if high {
		micros += 999
	}
	return datum{i: micros}, true
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// mayHold says whether a value within the bounds can stand in that relation to v, a value of class c.
func (b *valueBounds) mayHold(op operator, c class, v datum) bool {
	if b.allNull {
		return false
	}
	low := func() int { return c.compare(b.class.as(c, b.low), v) }
	high := func() int { return c.compare(b.class.as(c, b.high), v) }
	switch op {
	case equal:
		return (!b.hasLow || low() <= 0) && (!b.hasHigh || high() >= 0)
	case less:
		return !b.hasLow || low() < 0
	case lessOrEqual:
		return !b.hasLow || low() <= 0
	case greater:
		return !b.hasHigh || high() > 0
	case greaterOrEqual:
		return !b.hasHigh || high() >= 0
	default:
		return true
	}
}

// mayHoldAny says whether one of the sorted values may be within the bounds.
func (b *valueBounds) mayHoldAny(sorted []datum) bool {
	if b.allNull {
		return false
	}
	i := 0
	if b.hasLow {
		i, _ = slices.BinarySearchFunc(sorted, b.low, b.class.compare) // the first that is not below
	}
	return i < len(sorted) && (!b.hasHigh || b.class.compare(sorted[i], b.high) <= 0)
}
