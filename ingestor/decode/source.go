package decode

import (
	"encoding/base64"
	"strconv"
	"time"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// source reads a sealed vector slot by slot.
type source struct {
	v         *column.Vector
	positions []int32 // of the values, by slot; nil when every slot has one
	children  []*source
}

func newSource(v *column.Vector) *source {
	s := &source{v: v}
	if v.Valid != nil {
		s.positions = v.Positions(make([]int32, 0, v.Len))
	}
	for _, c := range v.Children {
		s.children = append(s.children, newSource(c))
	}
	return s
}

// position is the index of the value of a slot, -1 for a null.
func (s *source) position(slot int) int {
	if s.positions == nil {
		return slot
	}
	return int(s.positions[slot])
}

// appendJSON appends value p as JSON such that it could be decoded again.
func (s *source) appendJSON(dst []byte, p int) []byte {
	switch s.v.Type.Kind {
	case schema.Boolean, schema.Byte, schema.Short, schema.Integer, schema.Long, schema.Decimal:
		return s.appendText(dst, p)
	case schema.Float:
		return appendFloat(dst, float64(s.v.Float32s[p]), 32)
	case schema.Double:
		return appendFloat(dst, s.v.Float64s[p], 64)
	case schema.Struct:
		return s.appendStruct(dst, p)
	case schema.Array:
		dst = append(dst, '[')
		for e := s.v.Offsets[p]; e < s.v.Offsets[p+1]; e++ {
			if e > s.v.Offsets[p] {
				dst = append(dst, ',')
			}
			dst = s.children[0].appendSlot(dst, int(e))
		}
		return append(dst, ']')
	case schema.Map:
		return s.appendMap(dst, p)
	default:
		return appendQuoted(dst, s.appendText(nil, p))
	}
}

// appendFloat writes x so that it reads as a number with a fraction again; JSON has no infinities.
func appendFloat(dst []byte, x float64, bits int) []byte {
	from := len(dst)
	dst = strconv.AppendFloat(dst, x, 'g', -1, bits)
	for _, c := range dst[from:] {
		switch c {
		case 'I', 'N': // an infinity or NaN, which only another format can have brought
			return append(appendQuoted(dst[:from], strconv.AppendFloat(nil, x, 'g', -1, bits)), ""...)
		case '.', 'e':
			return dst
		}
	}
	return append(dst, '.', '0')
}

func (s *source) appendSlot(dst []byte, slot int) []byte {
	p := s.position(slot)
	if p < 0 {
		return append(dst, "null"...)
	}
	return s.appendJSON(dst, p)
}

func (s *source) appendStruct(dst []byte, p int) []byte {
	dst = append(dst, '{')
	first := true
	for i := range s.children {
		q := s.children[i].position(p)
		if q < 0 {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = appendQuoted(dst, []byte(sourceName(&s.v.Type.Fields[i])))
		dst = append(dst, ':')
		dst = s.children[i].appendJSON(dst, q)
	}
	return append(dst, '}')
}

func (s *source) appendMap(dst []byte, p int) []byte {
	dst = append(dst, '{')
	for e := s.v.Offsets[p]; e < s.v.Offsets[p+1]; e++ {
		if e > s.v.Offsets[p] {
			dst = append(dst, ',')
		}
		key := s.children[0]
		dst = appendQuoted(dst, key.appendText(nil, key.position(int(e))))
		dst = append(dst, ':')
		dst = s.children[1].appendSlot(dst, int(e))
	}
	return append(dst, '}')
}

// appendText appends scalar value p as the text that stands for it in a record, without quotes.
func (s *source) appendText(dst []byte, p int) []byte {
	v := s.v
	switch v.Type.Kind {
	case schema.Boolean:
		return strconv.AppendBool(dst, v.Bools[p])
	case schema.Byte, schema.Short, schema.Integer:
		return strconv.AppendInt(dst, int64(v.Int32s[p]), 10)
	case schema.Long:
		return strconv.AppendInt(dst, v.Int64s[p], 10)
	case schema.Decimal:
		return append(dst, column.FormatDecimal(v.UnscaledAt(p), v.Type.Scale)...)
	case schema.Float:
		return appendFloat(dst, float64(v.Float32s[p]), 32)
	case schema.Double:
		return appendFloat(dst, v.Float64s[p], 64)
	case schema.Date:
		return time.Unix(int64(v.Int32s[p])*secondsPerDay, 0).UTC().AppendFormat(dst, time.DateOnly)
	case schema.Timestamp:
		return time.UnixMicro(v.Int64s[p]).UTC().AppendFormat(dst, "2006-01-02T15:04:05.999999Z07:00")
	case schema.TimestampNTZ:
		return time.UnixMicro(v.Int64s[p]).UTC().AppendFormat(dst, "2006-01-02T15:04:05.999999")
	case schema.Binary:
		return base64.StdEncoding.AppendEncode(dst, v.BytesAt(p))
	default:
		return append(dst, v.BytesAt(p)...)
	}
}
