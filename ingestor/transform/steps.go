package transform

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
)

// StepError says which step failed for a record.
type StepError struct {
	Step   int
	Column string // that the step makes; empty for a condition
	Err    error
}

func (e *StepError) Error() string {
	const most = 180
	what := e.Err.Error()
	if len(what) > most {
		what = strings.ToValidUTF8(what[:most], "") + "..."
	}
	return e.place() + ": " + strings.Join(strings.Fields(what), " ")
}

// place names the step as the API does.
func (e *StepError) place() string {
	s := "transform[" + strconv.Itoa(e.Step) + "]"
	if e.Column != "" {
		s += " (" + e.Column + ")"
	}
	return s
}

// Unwrap returns the cause.
func (e *StepError) Unwrap() error { return e.Err }

// set writes the value of an expression.
func (d *Decoder) set(o *op, row int) error {
	o.act.row = row
	v, err := o.step.expr.eval(o.act)
	if errors.Is(err, errNull) || err == nil && v == nil {
		return nil // the column is null
	}
	if err != nil {
		return err
	}
	if o.to.vec == nil {
		t := typeOf(v)
		if t == nil {
			return errors.New("the expression is a " + v.Type().TypeName() + ", which no column holds")
		}
		d.typed(o.to, o.name, t)
	}
	o.to.vec.PadNulls(row)
	return put(o.to.vec, v)
}

// typeOf is the type of the column for a value, nil if there is none.
func typeOf(v ref.Val) *schema.Type {
	switch v.(type) {
	case types.Bool:
		return booleanType
	case types.Int, types.Uint:
		return longType
	case types.Double:
		return doubleType
	case types.String:
		return stringType
	case types.Bytes:
		return binaryType
	case types.Timestamp:
		return timestampType
	}
	return nil
}

// settable says whether put can fill a column of type t.
func settable(t *schema.Type) bool {
	switch t.Kind {
	case schema.Boolean, schema.Integer, schema.Long, schema.Double, schema.String, schema.Binary, schema.Date, schema.Timestamp:
		return true
	default:
		return false
	}
}

// put appends a value to a column, if it fits.
func put(vec *column.Vector, v ref.Val) error {
	switch vec.Type.Kind {
	case schema.Boolean:
		if b, ok := v.(types.Bool); ok {
			vec.AppendBool(bool(b))
			return nil
		}
	case schema.Integer, schema.Long:
		if x, ok := integer(v); ok {
			return putInteger(vec, x)
		}
	case schema.Double:
		switch x := v.(type) {
		case types.Double:
			vec.AppendFloat64(float64(x))
			return nil
		case types.Int:
			vec.AppendFloat64(float64(x))
			return nil
		}
	case schema.String:
		if s, ok := v.(types.String); ok {
			vec.AppendString(string(s))
			return nil
		}
	case schema.Binary:
		if b, ok := v.(types.Bytes); ok {
			vec.AppendBytes(b)
			return nil
		}
	case schema.Timestamp, schema.Date:
		if micros, ok := instant(v); ok {
			putTime(vec, micros)
			return nil
		}
	default:
	}
	return fmt.Errorf("%s does not fit the column's type %s: convert it, such as with double(x) or string(x)", describe(v), vec.Type)
}

func describe(v ref.Val) string {
	const most = 60
	s := fmt.Sprintf("%v", v.Value())
	if len(s) > most {
		s = strings.ToValidUTF8(s[:most], "") + "..."
	}
	return "the " + v.Type().TypeName() + " " + s
}

// integer is v as a whole number; a double must be one.
func integer(v ref.Val) (int64, bool) {
	switch x := v.(type) {
	case types.Int:
		return int64(x), true
	case types.Uint:
		return int64(x), x <= math.MaxInt64
	case types.Double:
		return int64(x), float64(int64(x)) == float64(x) && math.Abs(float64(x)) < 1<<63
	}
	return 0, false
}

func putInteger(vec *column.Vector, x int64) error {
	if vec.Type.Kind == schema.Long {
		vec.AppendInt64(x)
		return nil
	}
	if x < math.MinInt32 || x > math.MaxInt32 {
		return fmt.Errorf("%d is beyond the column's type integer", x)
	}
	vec.AppendInt32(int32(x))
	return nil
}

// instant is v in microseconds since 1970, of a timestamp or of text in the form of RFC 3339.
func instant(v ref.Val) (int64, bool) {
	switch x := v.(type) {
	case types.Timestamp:
		return x.UnixMicro(), x.Year() >= 1 && x.Year() <= 9999
	case types.String:
		return decode.ParseTimestamp(string(x))
	}
	return 0, false
}

func putTime(vec *column.Vector, micros int64) {
	if vec.Type.Kind == schema.Timestamp {
		vec.AppendInt64(micros)
		return
	}
	vec.AppendInt32(int32(floorDiv(micros, microsPerDay)))
}

const (
	microsPerHour = int64(time.Hour / time.Microsecond)
	microsPerDay  = 24 * microsPerHour
)

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// derive writes a part of a time.
func (d *Decoder) derive(o *op, row int) error {
	if o.from == nil {
		return nil
	}
	c, p := o.from.seek(row)
	if p < 0 {
		return nil
	}
	var micros int64
	switch c.vec.Type.Kind {
	case schema.Timestamp, schema.TimestampNTZ:
		micros = c.vec.Int64s[p]
	case schema.Date:
		micros = int64(c.vec.Int32s[p]) * microsPerDay
	default:
		return fmt.Errorf("%s is %s, no timestamp: declare it as one in schema.columns", o.step.Derive.From, c.vec.Type)
	}
	o.to.vec.PadNulls(row)
	if o.step.Derive.Hour {
		o.to.vec.AppendInt32(int32(floorDiv(micros, microsPerHour) - 24*floorDiv(micros, microsPerDay)))
	} else {
		o.to.vec.AppendInt32(int32(floorDiv(micros, microsPerDay)))
	}
	return nil
}

// Redacted stands for values that a mask hides.
const Redacted = "***"

// mask writes what stands for a value.
func (d *Decoder) mask(o *op, row int) {
	if o.from == nil {
		return
	}
	c, p := o.from.seek(row)
	if p < 0 {
		return
	}
	o.to.vec.PadNulls(row)
	if !o.step.Mask.Hash {
		o.to.vec.AppendString(Redacted)
		return
	}
	if o.hash == nil {
		o.hash = newHasher(o.step.Mask.Salt)
	}
	o.hash.text = appendText(o.hash.text[:0], c, p)
	o.to.vec.AppendBytes(o.hash.digest(o.hash.text))
}

// appendText appends value p as the text that is hashed: a string as it is, all else as JSON would have it.
func appendText(dst []byte, c *cursor, p int) []byte {
	v := c.vec
	if k := v.Type.Kind; k == schema.String || k == schema.Binary {
		return append(dst, v.BytesAt(p)...)
	}
	if v.Type.Kind == schema.Long {
		return strconv.AppendInt(dst, v.Int64s[p], 10)
	}
	one := *v // a view: the value of a slot is found by counting, here it is known
	one.Valid = nil
	one.Len = p + 1
	return decode.AppendJSON(dst, &one, p)
}

// hasher hashes values one after the other in memory of its own.
type hasher struct {
	hash       hash.Hash
	text       []byte // what is hashed
	sum, coded []byte
}

// newHasher returns SHA-256, or HMAC-SHA-256 with the salt as its key if there is one.
func newHasher(salt string) *hasher {
	if salt == "" {
		return &hasher{hash: sha256.New()}
	}
	return &hasher{hash: hmac.New(sha256.New, []byte(salt))}
}

// digest is the hash of a value, in hexadecimal, until the next call.
func (h *hasher) digest(value []byte) []byte {
	h.hash.Reset()
	h.hash.Write(value)
	h.sum = h.hash.Sum(h.sum[:0])
	h.coded = hex.AppendEncode(h.coded[:0], h.sum)
	return h.coded
}
