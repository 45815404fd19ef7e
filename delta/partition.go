package delta

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// Partition values are strings in the log: "Partition Value Serialization" of the protocol.

const (
	dateLayout      = "2006-01-02"
	timestampLayout = "2006-01-02T15:04:05.000000Z" // UTC, so that it means the same to every reader
	localLayout     = "2006-01-02 15:04:05.000000"
)

// PartitionValueError says that a value of a partition column cannot be written to, or read from, the log.
type PartitionValueError struct {
	Column string
	Type   *schema.Type
	Value  string
	Reason string
}

func (e *PartitionValueError) Error() string {
	return fmt.Sprintf("partition column %s of type %s: value %q %s", e.Column, e.Type, e.Value, e.Reason)
}

var errYear = errors.New("has a year outside of 1 to 9999")

// appendPartitionValue appends value p (see [column.Vector.Position]) of v as the log has it.
func appendPartitionValue(b []byte, v *column.Vector, p int) ([]byte, error) {
	switch v.Type.Kind {
	case schema.Boolean:
		return strconv.AppendBool(b, v.Bools[p]), nil
	case schema.Byte, schema.Short, schema.Integer:
		return strconv.AppendInt(b, int64(v.Int32s[p]), 10), nil
	case schema.Long:
		return strconv.AppendInt(b, v.Int64s[p], 10), nil
	case schema.Float:
		return appendFloat(b, float64(v.Float32s[p]), 32), nil
	case schema.Double:
		return appendFloat(b, v.Float64s[p], 64), nil
	case schema.Decimal:
		return append(b, column.FormatDecimal(v.UnscaledAt(p), v.Type.Scale)...), nil
	case schema.String:
		return append(b, v.BytesAt(p)...), nil
	case schema.Date:
		return appendTime(b, time.Unix(int64(v.Int32s[p])*86400, 0), dateLayout)
	case schema.Timestamp:
		return appendTime(b, time.UnixMicro(v.Int64s[p]), timestampLayout)
	case schema.TimestampNTZ:
		return appendTime(b, time.UnixMicro(v.Int64s[p]), localLayout)
	default:
		return b, errors.New("has a type that cannot partition a table")
	}
}

func appendTime(b []byte, t time.Time, layout string) ([]byte, error) {
	t = t.UTC()
	if y := t.Year(); y < 1 || y > 9999 {
		return b, errYear
	}
	return t.AppendFormat(b, layout), nil
}

// appendFloat writes floats as Java does where readers care: NaN, Infinity, and a point in whole numbers.
func appendFloat(b []byte, f float64, bits int) []byte {
	switch {
	case math.IsNaN(f):
		return append(b, "NaN"...)
	case math.IsInf(f, 1):
		return append(b, "Infinity"...)
	case math.IsInf(f, -1):
		return append(b, "-Infinity"...)
	}
	s := strconv.FormatFloat(f, 'g', -1, bits)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return append(b, s...)
}

// partitionVector is the column of a file's partition value: n times the same.
func partitionVector(f schema.Field, value string, n int) (*column.Vector, error) {
	v := column.New(f.Type)
	if value == "" {
		v.PadNulls(n)
		return v, nil
	}
	one := column.New(f.Type)
	if err := parsePartitionValue(one, value); err != nil {
		return nil, &PartitionValueError{Column: f.Name, Type: f.Type, Value: value, Reason: err.Error()}
	}
	return one.Gather(make([]int, n)), nil
}

// parsePartitionValue appends value to v.
func parsePartitionValue(v *column.Vector, value string) error {
	bits := map[schema.Kind]int{schema.Byte: 8, schema.Short: 16, schema.Integer: 32}[v.Type.Kind]
	switch v.Type.Kind {
	case schema.Boolean:
		b, err := strconv.ParseBool(strings.ToLower(value))
		v.AppendBool(b)
		return reason(err)
	case schema.Byte, schema.Short, schema.Integer:
		n, err := strconv.ParseInt(value, 10, bits)
		v.AppendInt32(int32(n))
		return reason(err)
	case schema.Long:
		n, err := strconv.ParseInt(value, 10, 64)
		v.AppendInt64(n)
		return reason(err)
	case schema.Float:
		n, err := strconv.ParseFloat(value, 32)
		v.AppendFloat32(float32(n))
		return reason(err)
	case schema.Double:
		n, err := strconv.ParseFloat(value, 64)
		v.AppendFloat64(n)
		return reason(err)
	case schema.Decimal:
		return parseDecimal(v, value)
	case schema.String, schema.Binary:
		v.AppendString(value)
		return nil
	case schema.Date:
		t, err := parseTime(value, dateLayout)
		v.AppendInt32(int32(t.Unix() / 86400))
		return err
	case schema.Timestamp, schema.TimestampNTZ:
		t, err := parseTime(value, "2006-01-02 15:04:05", "2006-01-02T15:04:05Z07:00", "2006-01-02T15:04:05", dateLayout)
		v.AppendInt64(t.UnixMicro())
		return err
	default:
		return errors.New("has a type that cannot partition a table")
	}
}

// reason shortens an error of package strconv.
func reason(err error) error {
	if num, ok := errors.AsType[*strconv.NumError](err); ok {
		return num.Err
	}
	return err
}

// parseTime reads a time in UTC unless it says otherwise; fractions of a second are always allowed.
func parseTime(value string, layouts ...string) (time.Time, error) {
	for _, layout := range layouts {
		if t, err := time.ParseInLocation(layout, value, time.UTC); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("is not a date or time")
}

var plainNumber = regexp.MustCompile(`^[+-]?[0-9]{0,40}(\.[0-9]{0,40})?([eE][+-]?[0-9]{1,2})?$`)

// parseDecimal appends a number in plain or scientific notation, scaled to v's type without loss.
func parseDecimal(v *column.Vector, value string) error {
	if !plainNumber.MatchString(value) { // a large exponent would cost as much memory
		return errors.New("is not a decimal")
	}
	r, ok := new(big.Rat).SetString(value)
	if !ok {
		return errors.New("is not a decimal")
	}
	scale := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(v.Type.Scale)), nil)
	r.Mul(r, new(big.Rat).SetInt(scale))
	if !r.IsInt() {
		return fmt.Errorf("has more than %d digits after the point", v.Type.Scale)
	}
	n := r.Num()
	if limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(v.Type.Precision)), nil); n.CmpAbs(limit) >= 0 {
		return fmt.Errorf("has more than %d digits", v.Type.Precision)
	}
	if v.Type.Precision <= 18 {
		v.AppendInt64(n.Int64())
		return nil
	}
	low := new(big.Int).And(n, new(big.Int).SetUint64(math.MaxUint64)).Uint64() // And is of two's complement
	v.AppendDecimal128(new(big.Int).Rsh(n, 64).Int64(), low)
	return nil
}
