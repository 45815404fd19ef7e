package parquet

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

// statsRunes is how many characters of a string bound are kept, as in Spark.
const statsRunes = 32

// Stats are the statistics of a file, in the form of Delta's add action ("Per-file Statistics" of the protocol).
//
// Bounds are left out where there is no safe text for them: for Boolean and Binary, for years that ISO 8601 cannot write
// in four digits, for strings that are not UTF-8. An infinite bound is spelt "Infinity" or "-Infinity", as Spark does. A
// column with a NaN has the upper bound "Infinity": a missing bound would be right too, but deltalake 1.6.6 takes it for
// one that no row fulfils (so it does with "NaN"), and then finds none of the file's other rows.
type Stats struct {
	NumRecords int64
	Columns    []ColumnStats // the first columns only, see [WriterOptions]
}

// ColumnStats are the statistics of one column. A struct has only Children.
type ColumnStats struct {
	Name      string
	NullCount int64
	Min, Max  string // JSON literals; empty when unknown. A bound may be wider than the values.
	Children  []ColumnStats
}

// JSON returns the text for the stats field of an add action.
func (s Stats) JSON() string {
	b := fmt.Appendf(nil, `{"numRecords":%d`, s.NumRecords)
	b = append(b, `,"minValues":`...)
	b = appendStats(b, s.Columns, func(c *ColumnStats) string { return c.Min })
	b = append(b, `,"maxValues":`...)
	b = appendStats(b, s.Columns, func(c *ColumnStats) string { return c.Max })
	b = append(b, `,"nullCount":`...)
	b = appendStats(b, s.Columns, func(c *ColumnStats) string { return strconv.FormatInt(c.NullCount, 10) })
	return string(append(b, '}'))
}

// appendStats appends an object of what pick returns for each leaf; "" leaves the column out.
func appendStats(b []byte, cols []ColumnStats, pick func(*ColumnStats) string) []byte {
	b = append(b, '{')
	first := true
	for i := range cols {
		c := &cols[i]
		var literal string
		if c.Children != nil {
			literal = string(appendStats(nil, c.Children, pick))
		} else {
			literal = pick(c)
		}
		if literal == "" || literal == "{}" {
			continue
		}
		if !first {
			b = append(b, ',')
		}
		first = false
		b = append(append(append(b, quote(c.Name)...), ':'), literal...)
	}
	return append(b, '}')
}

// quote returns s as a JSON string without HTML escapes.
func quote(s string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(s); err != nil {
		return `""` // a string always encodes
	}
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
}

// fieldStats collects the statistics of a field while a file is written.
type fieldStats struct {
	name     string
	t        *schema.Type
	children []*fieldStats
	nulls    int64
	bounds
}

func (f *fieldStats) result() ColumnStats {
	c := ColumnStats{Name: f.name, NullCount: f.nulls}
	if f.t.Kind == schema.Struct {
		for _, k := range f.children {
			c.Children = append(c.Children, k.result())
		}
		return c
	}
	if f.seen || f.nan {
		c.Min, c.Max = f.literals()
	}
	return c
}

// literals returns the bounds as JSON.
func (f *fieldStats) literals() (lo, hi string) {
	switch f.t.Kind {
	case schema.Byte, schema.Short, schema.Integer, schema.Long:
		return strconv.FormatInt(f.minI, 10), strconv.FormatInt(f.maxI, 10)
	case schema.Float, schema.Double:
		x, y := f.floats()
		return floatLiteral(x), floatLiteral(y)
	case schema.String:
		x, y, ok := cut(f.minB, f.maxB)
		if ok {
			lo = quote(string(x))
		}
		if ok && y != nil {
			hi = quote(string(y))
		}
		return lo, hi
	case schema.Date:
		return timeLiteral(time.Unix(f.minI*86400, 0), time.DateOnly), timeLiteral(time.Unix(f.maxI*86400, 0), time.DateOnly)
	case schema.Timestamp, schema.TimestampNTZ:
		layout := "2006-01-02T15:04:05.000"
		if f.t.Kind == schema.Timestamp {
			layout += "Z"
		}
		return timeLiteral(time.UnixMilli(thousandth(f.minI)), layout),
			timeLiteral(time.UnixMilli(-thousandth(-max(f.maxI, math.MinInt64+1))), layout)
	case schema.Decimal:
		return f.decimalLiterals()
	default:
		return "", ""
	}
}

func (f *fieldStats) decimalLiterals() (lo, hi string) {
	if f.t.Precision <= 18 {
		return column.FormatDecimal(big.NewInt(f.minI), f.t.Scale), column.FormatDecimal(big.NewInt(f.maxI), f.t.Scale)
	}
	wide := func(x []byte) string {
		return column.FormatDecimal((&column.Vector{Type: f.t, Data: x}).UnscaledAt(0), f.t.Scale)
	}
	return wide(f.minB), wide(f.maxB)
}

func floatLiteral(x float64) string {
	switch {
	case math.IsInf(x, 1):
		return `"Infinity"`
	case math.IsInf(x, -1):
		return `"-Infinity"`
	default:
		return strconv.FormatFloat(x, 'g', -1, 64)
	}
}

func timeLiteral(t time.Time, layout string) string {
	t = t.UTC()
	if t.Year() < 1 || t.Year() > 9999 {
		return ""
	}
	return `"` + t.Format(layout) + `"`
}

// thousandth returns ⌊x/1000⌋: a coarser unit of time, also before 1970.
func thousandth(x int64) int64 {
	q := x / 1000
	if x%1000 < 0 {
		q--
	}
	return q
}

// cut shortens string bounds to statsRunes characters: the lower one to a prefix; the upper one to a prefix whose last
// possible character is raised, so that it is above every string with that prefix, or to nil when no character can be.
// The order is that of the bytes, which for UTF-8 is that of the code points. ok is false for what is not UTF-8.
func cut(lo, hi []byte) (cutLo, cutHi []byte, ok bool) {
	p, q := runePrefix(lo), runePrefix(hi)
	if !utf8.Valid(lo[:p]) || !utf8.Valid(hi[:q]) {
		return nil, nil, false
	}
	if q == len(hi) {
		return lo[:p], hi, true
	}
	return lo[:p], raiseLast(hi[:q]), true
}

// runePrefix returns the length of the first statsRunes characters.
func runePrefix(s []byte) int {
	at := 0
	for range statsRunes {
		if at == len(s) {
			break
		}
		_, n := utf8.DecodeRune(s[at:])
		at += n
	}
	return at
}

// raiseLast returns the smallest string of at most as many characters that is above all strings that begin with s.
func raiseLast(s []byte) []byte {
	for len(s) > 0 {
		r, n := utf8.DecodeLastRune(s)
		s = s[:len(s)-n]
		switch r {
		case utf8.MaxRune:
			continue
		case 0xD7FF:
			r = 0xE000 // over the surrogates
		default:
			r++
		}
		return utf8.AppendRune(slices.Clip(s), r)
	}
	return nil
}
