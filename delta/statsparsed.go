package delta

import (
	"encoding/json"
	"math"
	"slices"
	"time"

	"github.com/weir-dev/weir/delta/schema"
)

// Some writers put the statistics of a checkpoint's files into columns, add.stats_parsed, and not as JSON: Spark does if the
// table says delta.checkpoint.writeStatsAsJson = false. They become JSON here, the one form that the rest of the package knows
// and that weir's own checkpoints have; otherwise those would lose them for every reader.

// checkpointSchema is what to read of a checkpoint file of the given columns: readSchema, and behind the other fields of add
// the statistics that are not there as JSON.
func checkpointSchema(file *schema.Type) *schema.Type {
	add, ok := file.Field("add")
	if !ok || add.Type.Kind != schema.Struct {
		return readSchema
	}
	if _, asJSON := add.Type.Field("stats"); asJSON {
		return readSchema
	}
	parsed, ok := add.Type.Field("stats_parsed")
	if !ok || parsed.Type.Kind != schema.Struct {
		return readSchema
	}
	if parsed.Type = statsColumns(parsed.Type); len(parsed.Type.Fields) == 0 {
		return readSchema
	}
	out := *readSchema
	out.Fields = slices.Clone(readSchema.Fields)
	fields := slices.Concat(addGroup.Type.Fields, []schema.Field{parsed})
	out.Fields[addColumn] = group("add", fields...)
	return &out
}

// statsColumns are the columns of t that have a form in statistics.
func statsColumns(t *schema.Type) *schema.Type {
	out := *t
	out.Fields = nil
	for _, f := range t.Fields {
		switch f.Type.Kind {
		case schema.Struct:
			f.Type = statsColumns(f.Type)
			if len(f.Type.Fields) == 0 {
				continue
			}
		case schema.Array, schema.Map, schema.Binary:
			continue
		default:
		}
		out.Fields = append(out.Fields, f)
	}
	return &out
}

// appendStatsObject appends the struct at place p as a JSON object, without the members that are null or have no form in
// statistics.
func appendStatsObject(b []byte, f *fields, p int) []byte {
	b = append(b, '{')
	first := true
	for i := range f.children {
		start := len(b)
		if !first {
			b = append(b, ',')
		}
		b = append(appendJSONText(b, f.v.Type.Fields[i].Name), ':')
		var ok bool
		if b, ok = appendStatsValue(b, &f.children[i], int(f.children[i].place[p])); !ok {
			b = b[:start]
			continue
		}
		first = false
	}
	return append(b, '}')
}

func appendStatsValue(b []byte, f *fields, p int) (_ []byte, ok bool) {
	if p < 0 {
		return b, false
	}
	var err error
	v := f.v
	switch v.Type.Kind {
	case schema.Struct:
		b = appendStatsObject(b, f, p)
	case schema.String:
		b = appendJSONText(b, f.text(p))
	case schema.Float:
		b = appendStatsFloat(b, float64(v.Float32s[p]), 32)
	case schema.Double:
		b = appendStatsFloat(b, v.Float64s[p], 64)
	case schema.Date:
		b, err = appendTime(b, time.Unix(int64(v.Int32s[p])*86400, 0), `"2006-01-02"`)
	case schema.Timestamp:
		b, err = appendTime(b, time.UnixMicro(v.Int64s[p]), `"2006-01-02T15:04:05.000000Z"`)
	case schema.TimestampNTZ:
		b, err = appendTime(b, time.UnixMicro(v.Int64s[p]), `"2006-01-02T15:04:05.000000"`)
	default: // as JSON has them, too
		b, err = appendPartitionValue(b, v, p)
	}
	return b, err == nil
}

// appendStatsFloat quotes what is no number of JSON.
func appendStatsFloat(b []byte, x float64, bits int) []byte {
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return append(appendFloat(append(b, '"'), x, bits), '"')
	}
	return appendFloat(b, x, bits)
}

func appendJSONText(b []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil {
		return append(b, `""`...) // a string always encodes
	}
	return append(b, text...)
}
