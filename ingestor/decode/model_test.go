package decode_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// The model says what a record becomes under a schema, told by encoding/json and math/big instead of by the decoder.

// acceptable says whether b is a record by encoding/json, within the limits.
func acceptable(b []byte, o decode.Options) bool {
	if len(b) > o.MaxEventBytes {
		return false
	}
	b = bytes.TrimPrefix(b, []byte("\xef\xbb\xbf"))
	trimmed := bytes.TrimLeft(b, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == '{' && json.Valid(b) && utf8.Valid(b) && depthOf(b) <= o.MaxDepth
}

func depthOf(b []byte) int {
	dec := json.NewDecoder(bytes.NewReader(b))
	dec.UseNumber()
	depth, deepest := 0, 0
	for {
		t, err := dec.Token()
		if err != nil {
			return deepest
		}
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
			deepest = max(deepest, depth)
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
	}
}

// loneSurrogate matches escapes that may be halves of surrogate pairs, which encoding/json replaces.
var loneSurrogate = regexp.MustCompile(`(?i)\\u(d[89a-f])`)

type member struct {
	key string
	raw json.RawMessage
}

// members returns the members of an object, or the elements of a list, in order.
func members(raw json.RawMessage) []member {
	dec := json.NewDecoder(bytes.NewReader(raw))
	open, err := dec.Token()
	if err != nil {
		panic(err)
	}
	var all []member
	for dec.More() {
		var m member
		if open == json.Delim('{') {
			key, err := dec.Token()
			if err != nil {
				panic(err)
			}
			m.key, _ = key.(string)
		}
		if err := dec.Decode(&m.raw); err != nil {
			panic(err)
		}
		all = append(all, m)
	}
	return all
}

// modelRecord returns the row that record becomes under a schema, without nulls.
func modelRecord(record []byte, s *schema.Type) row {
	m := &model{}
	out := m.object(s, bytes.TrimPrefix(record, []byte("\xef\xbb\xbf")), "", true)
	if len(m.rescued) > 0 {
		out["_rescued"] = m.rescuedText()
	}
	return out
}

type model struct{ rescued []member }

func (m *model) rescuedText() string {
	seen := map[string]int{}
	var parts []string
	for _, r := range m.rescued {
		seen[r.key]++
		if n := seen[r.key]; n > 1 {
			r.key += "#" + strconv.Itoa(n)
		}
		parts = append(parts, jsonString(r.key)+":"+string(r.raw))
	}
	return "{" + strings.Join(parts, ",") + "}"
}

// jsonString quotes s as the decoder does: only what must be escaped is.
func jsonString(s string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(s); err != nil {
		panic(err)
	}
	// encoding/json also escapes the line separators of JavaScript, and writes \b and \f short.
	return strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029", `\\`, `\\`, `\b`, `\u0008`, `\f`, `\u000c`).
		Replace(strings.TrimSuffix(b.String(), "\n"))
}

func (m *model) rescue(path string, raw json.RawMessage) {
	m.rescued = append(m.rescued, member{path, raw})
}

func (m *model) object(t *schema.Type, raw json.RawMessage, path string, root bool) row {
	out := row{}
	for _, f := range members(raw) {
		full := modelPath(path, f.key)
		at := fieldOf(t, f.key)
		if at < 0 || root && (strings.EqualFold(f.key, "_rescued") || strings.HasPrefix(strings.ToLower(f.key), "_weir_")) {
			if modelHoldsData(f.raw) {
				m.rescue(full, f.raw)
			}
			continue
		}
		if string(f.raw) == "null" {
			continue
		}
		column := t.Fields[at]
		if _, twice := out[column.Name]; twice {
			m.rescue(full, f.raw)
		} else if v, ok := m.value(column.Type, f.raw, full); ok {
			out[column.Name] = v
		} else {
			m.rescue(full, f.raw)
		}
	}
	return out
}

func fieldOf(t *schema.Type, key string) int {
	for i, f := range t.Fields {
		source, ok := f.Metadata["weir.source"].(string)
		if !ok {
			source = f.Name
		}
		if source == key {
			return i
		}
	}
	return -1
}

func modelPath(path, key string) string {
	if key == "" || strings.ContainsAny(key, ".[]`#$") {
		key = "`" + strings.ReplaceAll(key, "`", "``") + "`"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// modelHoldsData says whether there is a scalar other than null in raw.
func modelHoldsData(raw json.RawMessage) bool {
	if raw[0] != '{' && raw[0] != '[' {
		return string(raw) != "null"
	}
	return slices.ContainsFunc(members(raw), func(m member) bool { return modelHoldsData(m.raw) })
}

// value returns what raw, no null, becomes in a column of type t.
func (m *model) value(t *schema.Type, raw json.RawMessage, path string) (any, bool) {
	switch {
	case t.Kind == schema.Struct && raw[0] == '{':
		return m.object(t, raw, path, false), true
	case t.Kind == schema.Array && raw[0] == '[':
		return m.list(t.Elem, raw, path), true
	case t.Kind == schema.Boolean && (raw[0] == 't' || raw[0] == 'f'):
		return raw[0] == 't', true
	case t.Kind == schema.Long && isNumber(raw):
		x := exactNumber(raw)
		return int64Of(x), x != nil && x.IsInt() && x.Num().IsInt64()
	case t.Kind == schema.Double && isNumber(raw):
		return modelDouble(raw)
	case raw[0] != '"':
		return nil, false
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		panic(err)
	}
	switch t.Kind {
	case schema.String:
		return s, true
	case schema.Timestamp:
		return modelTime(s)
	default:
		return nil, false
	}
}

func (m *model) list(elem *schema.Type, raw json.RawMessage, path string) any {
	out := []any{}
	for i, e := range members(raw) {
		full := fmt.Sprintf("%s[%d]", path, i)
		if string(e.raw) == "null" {
			out = append(out, nil)
		} else if v, ok := m.value(elem, e.raw, full); ok {
			out = append(out, v)
		} else {
			m.rescue(full, e.raw)
			out = append(out, nil)
		}
	}
	return out
}

func isNumber(raw json.RawMessage) bool { return raw[0] == '-' || '0' <= raw[0] && raw[0] <= '9' }

// exactNumber is nil when the exponent is beyond reason.
func exactNumber(raw json.RawMessage) *big.Rat {
	mantissa, exp, _ := strings.Cut(strings.ToLower(string(raw)), "e")
	if strings.Trim(mantissa, "-0.") == "" {
		return new(big.Rat)
	}
	if n, err := strconv.Atoi(exp); exp != "" && (err != nil || n > 5000 || n < -5000) {
		return nil
	}
	x, ok := new(big.Rat).SetString(string(raw))
	if !ok {
		panic("no number: " + string(raw))
	}
	return x
}

func int64Of(x *big.Rat) int64 {
	if x == nil {
		return 0
	}
	return x.Num().Int64()
}

func modelDouble(raw json.RawMessage) (any, bool) {
	x, err := strconv.ParseFloat(string(raw), 64)
	if err != nil {
		return nil, false
	}
	exact := exactNumber(raw)
	if !bytes.ContainsAny(raw, ".eE") {
		return x, new(big.Rat).SetFloat64(x).Cmp(exact) == 0
	}
	return x, x != 0 || exact != nil && exact.Sign() == 0
}

var rfc3339 = regexp.MustCompile(`^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(\.\d+)?([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

func modelTime(s string) (any, bool) {
	p := rfc3339.FindStringSubmatch(s)
	if p == nil || strings.HasPrefix(s, "0000") {
		return nil, false
	}
	fraction := (p[3] + "000000000")[:min(len(p[3])+9, 10)]
	if p[3] == "" {
		fraction = ""
	}
	x, err := time.Parse(time.RFC3339Nano, p[1]+"T"+p[2]+fraction+strings.ToUpper(p[4]))
	if err != nil {
		return nil, false
	}
	return x.UnixMicro(), true
}

var modelOptions = decode.Options{MaxDepth: 12, MaxColumns: 40, MaxEventBytes: 20_000}

// checkRecords decodes records one by one and compares with the model: whether each is accepted, and what it becomes.
func checkRecords(t tester, s *decode.Schema, d *decode.Decoder, records [][]byte) {
	t.Helper()
	var want []row
	for _, r := range records {
		before := s.Current()
		n, rejects := d.Append(event.JSON, r, decode.System{}, nil)
		if ok := acceptable(r, modelOptions); n == 1 != ok || len(rejects) != 1-n {
			t.Fatalf("%q: accepted %d with rejects %+v, encoding/json says %t", r, n, rejects, ok)
		}
		if n == 0 {
			checkReason(t, rejects[0].Reason)
			if s.Current() != before {
				t.Fatalf("%q: the schema grew by a record that was refused: %s", r, s.Current())
			}
			continue
		}
		if loneSurrogate.Match(r) {
			want = append(want, nil)
		} else {
			want = append(want, modelRecord(r, s.Current()))
		}
	}
	b := d.Take()
	checkBatch(t, b)
	if b.Rows != len(want) {
		t.Fatalf("%d rows, want %d", b.Rows, len(want))
	}
	for i, got := range rowsOf(b) {
		rescued, _ := got["_rescued"].(string)
		if rescued != "" && !json.Valid([]byte(rescued)) {
			t.Fatalf("row %d: _rescued is no JSON: %q", i, rescued)
		}
		if want[i] == nil || strings.HasPrefix(rescued, `{"$":`) {
			continue
		}
		if diff := cmp.Diff(withoutNulls(want[i]), any(got), cmp.Comparer(sameFloat)); diff != "" {
			t.Fatalf("row %d of\n%q\nschema %s (-want +got):\n%s", i, records, b.Schema, diff)
		}
	}
	d.Recycle(b)
}

func sameFloat(a, b float64) bool { return math.Float64bits(a) == math.Float64bits(b) }
