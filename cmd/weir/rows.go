package main

import (
	"bytes"
	"fmt"
	"math"
	"time"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// object is a struct value; its members keep the order of the schema.
type object []member

type member struct {
	name  string
	value any // as printable returns it
}

// MarshalJSON implements json.Marshaler.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := marshal(m.name)
		if err != nil {
			return nil, err
		}
		value, err := marshal(m.value)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// printableRow is row i of b with values that JSON can hold and people can read.
func printableRow(b *column.Batch, i int) object {
	row := make(object, len(b.Schema.Fields))
	for c, f := range b.Schema.Fields {
		row[c] = member{f.Name, printable(f.Type, b.Columns[c].Value(i))}
	}
	return row
}

// printable renders a value of type t: times in RFC 3339, NaN and infinities as text, maps as objects.
func printable(t *schema.Type, v any) any {
	switch v := v.(type) {
	case int64:
		return printableTime(t, v)
	case int32:
		if t.Kind == schema.Date {
			return time.Unix(int64(v)*86400, 0).UTC().Format(time.DateOnly)
		}
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Sprint(v)
		}
	case float32:
		if f := float64(v); math.IsNaN(f) || math.IsInf(f, 0) {
			return fmt.Sprint(v)
		}
	case map[string]any:
		o := make(object, len(t.Fields))
		for c, f := range t.Fields {
			o[c] = member{f.Name, printable(f.Type, v[f.Name])}
		}
		return o
	case []any:
		for i := range v {
			v[i] = printable(t.Elem, v[i])
		}
	case []column.Entry:
		o := make(object, len(v))
		for i, e := range v {
			o[i] = member{fmt.Sprint(printable(t.Key, e.Key)), printable(t.Elem, e.Value)}
		}
		return o
	}
	return v
}

func printableTime(t *schema.Type, micros int64) any {
	switch t.Kind {
	case schema.Timestamp:
		return time.UnixMicro(micros).UTC().Format("2006-01-02T15:04:05.999999Z07:00")
	case schema.TimestampNTZ:
		return time.UnixMicro(micros).UTC().Format("2006-01-02T15:04:05.999999")
	default:
		return micros
	}
}
