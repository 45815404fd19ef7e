package transform_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
	"github.com/weir-dev/weir/ingestor/transform"
)

type row = map[string]any

func columns(t *testing.T, ddl string) *schema.Type {
	t.Helper()
	d, err := schema.ParseDDL("struct<" + ddl + ">")
	if err != nil {
		t.Fatal(err)
	}
	return d.Type
}

func compile(t *testing.T, o transform.Options) *transform.Program {
	t.Helper()
	p, faults := transform.Compile(o)
	for _, f := range faults {
		t.Fatal(f)
	}
	return p
}

// pod is what a pipeline has: two schemas and a decoder.
type pod struct {
	records, table *decode.Schema
	*transform.Decoder
}

func newPod(table *schema.Type, p *transform.Program, declared *schema.Type) *pod {
	initial, _ := decode.Overlay(p.Source(table), declared)
	r := &pod{records: decode.NewSchema(initial, decode.Options{Widen: true}), table: decode.NewSchema(table, decode.Options{})}
	r.Decoder = transform.NewDecoder(r.records, r.table, p)
	return r
}

func (r *pod) send(t *testing.T, records ...string) []decode.Reject {
	t.Helper()
	_, rejects := r.Append(event.NDJSON, []byte(strings.Join(records, "\n")), decode.System{}, nil)
	return rejects
}

// take returns the rows without nulls.
func (r *pod) take(t *testing.T) []row {
	t.Helper()
	b := r.Take()
	var rows []row
	for i := range b.Rows {
		rows = append(rows, prune(b.Row(i)))
	}
	r.Recycle(b)
	return rows
}

func prune(in row) row {
	out := row{}
	for k, v := range in {
		switch v := v.(type) {
		case nil:
		case row:
			out[k] = prune(v)
		default:
			out[k] = v
		}
	}
	return out
}

func hash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

var stepCases = []struct {
	name     string
	options  transform.Options
	declared string
	records  []string
	rows     []row
	schema   string
	rejects  []string
}{
	{
		name:    "set makes and replaces columns; a null in, a null out",
		options: transform.Options{Steps: []transform.Step{{Set: &transform.Set{Column: "total", Value: "price * qty"}}, {Set: &transform.Set{Column: "qty", Value: "qty + 1"}}, {Set: &transform.Set{Column: "big", Value: "total > 10"}}}},
		records: []string{`{"price":2,"qty":3}`, `{"price":4}`, `{"price":5,"qty":6}`},
		rows:    []row{{"price": int64(2), "qty": int64(4), "total": int64(6), "big": false}, {"price": int64(4)}, {"price": int64(5), "qty": int64(7), "total": int64(30), "big": true}},
		schema:  "struct<price:long,qty:long,big:boolean,total:long>",
	},
	{
		name:     "typed steps over declared columns",
		options:  transform.Options{Steps: []transform.Step{{Set: &transform.Set{Column: "total", Value: "price * double(qty)"}}, {Set: &transform.Set{Column: "day", Value: "at", Type: &schema.Type{Kind: schema.Date}}}, {Set: &transform.Set{Column: "n", Value: "size(name)", Type: &schema.Type{Kind: schema.Integer}}}}},
		declared: "price: double, qty: long, at: timestamp, name: string",
		records:  []string{`{"price":1.5,"qty":2,"at":"2026-11-24T23:59:59-01:00","name":"äb"}`},
		rows:     []row{{"price": 1.5, "qty": int64(2), "at": int64(1795568399000000), "name": "äb", "total": 3.0, "day": int32(20782), "n": int32(2)}},
		schema:   "struct<price:double,qty:long,at:timestamp,name:string,total:double,day:date,n:integer>",
	},
	{
		name:    "filter keeps what is true; null is not",
		options: transform.Options{Steps: []transform.Step{{Filter: `level != "debug"`}}},
		records: []string{`{"level":"debug","n":1}`, `{"level":"info","n":2}`, `{"n":3}`, `{"level":"debug","n":4}`},
		rows:    []row{{"level": "info", "n": int64(2)}, {"n": int64(3)}},
		schema:  "struct<level:string,n:long>",
	},
	{
		name:    "names: drop, rename, what has the new name already",
		options: transform.Options{Steps: []transform.Step{{Drop: []string{"secret"}}, {Rename: &transform.Rename{From: "a", To: "b"}}, {Set: &transform.Set{Column: "c", Value: "b"}}}},
		records: []string{`{"secret":1,"a":2,"b":3}`, `{"b":4}`},
		rows:    []row{{"b": int64(2), "b_2": int64(3), "c": int64(2)}, {"b_2": int64(4)}},
		schema:  "struct<b_2:long,b:long,c:long>",
	},
	{
		name:    "flatten, with structs that are missing and in structs",
		options: transform.Options{Steps: []transform.Step{{Flatten: &transform.Flatten{Column: "user", Separator: "_"}}, {Set: &transform.Set{Column: "where", Value: `user_home_city + "!"`}}}},
		records: []string{`{"user":{"id":1,"home":{"city":"X"}},"n":1}`, `{"n":2}`, `{"user":{"id":3},"n":3}`, `{"user":{"home":{"zip":"4"},"tags":["a"]},"n":4}`},
		rows: []row{
			{"user_id": int64(1), "user_home_city": "X", "n": int64(1), "where": "X!"},
			{"n": int64(2)},
			{"user_id": int64(3), "n": int64(3)},
			{"user_home_zip": "4", "user_tags": []any{"a"}, "n": int64(4)},
		},
	},
	{
		name:    "expressions over structs, lists and fields that are not there",
		options: transform.Options{Steps: []transform.Step{{Set: &transform.Set{Column: "city", Value: `user.home.city`}}, {Set: &transform.Set{Column: "known", Value: `has(user.home)`}}, {Set: &transform.Set{Column: "paid", Value: `items.filter(i, i.price > 1).map(i, i.sku).join("+")`}}}},
		records: []string{`{"user":{"home":{"city":"X"}},"items":[{"sku":"a","price":1},{"sku":"b","price":2},{"sku":"c","price":3}]}`, `{"user":{"id":1}}`, `{"n":1}`},
		rows: []row{
			{"user": row{"home": row{"city": "X"}}, "items": []any{row{"sku": "a", "price": int64(1)}, row{"sku": "b", "price": int64(2)}, row{"sku": "c", "price": int64(3)}}, "city": "X", "known": true, "paid": "b+c"},
			{"user": row{"id": int64(1)}, "known": false},
			{"n": int64(1), "known": false},
		},
	},
	{
		name:    "mask hides values, and what of them was rescued",
		options: transform.Options{Steps: []transform.Step{{Mask: &transform.Mask{Columns: []string{"email"}, Hash: true}}, {Mask: &transform.Mask{Columns: []string{"pin"}}}, {Drop: []string{"secret"}}}},
		records: []string{`{"email":"a@b","pin":1234,"secret":1}`, `{"email":7,"pin":"x","Email":"c@d","other":1}`, `{"email":{"raw":"a@b"},"secret":"s"}`},
		rows: []row{
			{"email": hash("a@b"), "pin": "***"},
			{"other": int64(1), "_rescued": `{"email":"` + hash("7") + `","pin":"***","Email":"` + hash("c@d") + `"}`},
			{"_rescued": `{"email":"` + hash(`{"raw":"a@b"}`) + `"}`},
		},
		schema: "struct<email:string,pin:string,other:long,_rescued:string>",
	},
	{
		name:    "a nested field that is masked after flattening is hidden where its struct did not fit",
		options: transform.Options{Steps: []transform.Step{{Flatten: &transform.Flatten{Column: "user", Separator: "_"}}, {Mask: &transform.Mask{Columns: []string{"user_email"}}}}},
		records: []string{`{"user":{"email":"a@b","id":1}}`, `{"user":"a@b"}`, `{"user":{"email":["a@b"],"id":"z"}}`},
		rows:    []row{{"user_email": "***", "user_id": int64(1)}, {"_rescued": `{"user":"***"}`}, {"_rescued": `{"user.email":"***","user.id":"z"}`}},
	},
	{
		name:     "derive, also before 1970",
		options:  transform.Options{Steps: []transform.Step{{Derive: &transform.Derive{Column: "day", From: "at"}}, {Derive: &transform.Derive{Column: "hour", From: "at", Hour: true}}}},
		declared: "at: timestamp",
		records:  []string{`{"at":"1970-01-02T05:00:00Z"}`, `{"at":"1969-12-31T23:30:00Z"}`, `{"n":1}`},
		rows:     []row{{"at": int64(104400000000), "day": int32(1), "hour": int32(5)}, {"at": int64(-1800000000), "day": int32(-1), "hour": int32(23)}, {"n": int64(1)}},
		schema:   "struct<at:timestamp,n:long,day:date,hour:integer>",
	},
	{
		name:    "route refuses by name and reason; rows count blank lines and what JSON refused",
		options: transform.Options{Steps: []transform.Step{{Route: &transform.Route{When: "n < 0", Reason: "negative"}}, {Route: &transform.Route{When: "n > 100"}}}},
		records: []string{`{"n":1}`, ``, `{`, `{"n":-1}`, `{"n":101}`, `{"n":2}`},
		rows:    []row{{"n": int64(1)}, {"n": int64(2)}},
		rejects: []string{"2: byte 1: ", "3: negative", "4: the pipeline refuses events with n > 100"},
	},
	{
		name:    "an error is noted and the event kept",
		options: transform.Options{Steps: []transform.Step{{Set: &transform.Set{Column: "r", Value: "a / b"}}, {Filter: "a / b > 0 || b == 0"}}},
		records: []string{`{"a":1,"b":0}`, `{"a":6,"b":3}`, `{"a":1,"b":"x"}`},
		rows: []row{
			{"a": int64(1), "b": int64(0), "_rescued": `{"$transform[0].r":"transform[0] (r): division by zero"}`},
			{"a": int64(6), "b": int64(3), "r": int64(2)},
		},
	},
	{
		name:    "an error is none of a null that is read beside it",
		options: transform.Options{Steps: []transform.Step{{Set: &transform.Set{Column: "r", Value: "c == null ? a / b : a"}}, {Set: &transform.Set{Column: "n", Value: "c == null ? int(s) : 0"}}}},
		records: []string{`{"a":1,"b":0,"c":1,"s":"1"}`, `{"a":1,"b":0,"s":"x"}`, `{"a":1,"s":"2"}`},
		rows: []row{
			{"a": int64(1), "b": int64(0), "c": int64(1), "s": "1", "r": int64(1), "n": int64(0)},
			{"a": int64(1), "b": int64(0), "s": "x", "_rescued": `{"$transform[0].r":"transform[0] (r): division by zero","$transform[1].n":"transform[1] (n): type conversion error from 'string' to 'int'"}`},
			{"a": int64(1), "s": "2", "n": int64(2)},
		},
	},
	{
		name:    "why a step failed does not tell what another one hides",
		options: transform.Options{Steps: []transform.Step{{Set: &transform.Set{Column: "n", Value: "int(pin)"}}, {Drop: []string{"pin"}}}},
		records: []string{`{"a":1,"pin":"secret"}`},
		rows:    []row{{"a": int64(1), "_rescued": `{"$transform[0].n":"the step failed; why is not kept, since steps of the pipeline mask or drop columns"}`}},
	},
	{
		name:    "an error refuses the event",
		options: transform.Options{OnError: transform.Reject, Steps: []transform.Step{{Set: &transform.Set{Column: "r", Value: "a / b"}}}},
		records: []string{`{"a":1,"b":0}`, `{"a":6,"b":3}`},
		rows:    []row{{"a": int64(6), "b": int64(3), "r": int64(2)}},
		rejects: []string{"0: transform[0] (r): division by zero"},
	},
	{
		name:    "a value that does not fit the type of the first",
		options: transform.Options{Steps: []transform.Step{{Set: &transform.Set{Column: "r", Value: "a > 1 ? dyn(1.5) : dyn(1)"}}}},
		records: []string{`{"a":1}`, `{"a":2}`},
		rows:    []row{{"a": int64(1), "r": int64(1)}, {"a": int64(2), "_rescued": `{"$transform[0].r":"transform[0] (r): the double 1.5 does not fit the column's type long: convert it, such as with double(x) or string(x)"}`}},
	},
}

func TestSteps(t *testing.T) {
	for _, c := range stepCases {
		t.Run(c.name, func(t *testing.T) {
			var declared *schema.Type
			if c.declared != "" {
				declared = columns(t, c.declared)
			}
			c.options.Columns = declared
			r := newPod(nil, compile(t, c.options), declared)
			var got []string
			for _, reject := range r.send(t, c.records...) {
				got = append(got, fmt.Sprintf("%d: %s", reject.Row, reject.Reason))
			}
			if len(got) != len(c.rejects) {
				t.Fatalf("rejects %q, want %q", got, c.rejects)
			}
			for i := range got {
				if !strings.HasPrefix(got[i], c.rejects[i]) {
					t.Errorf("reject %q, want %q", got[i], c.rejects[i])
				}
			}
			if diff := cmp.Diff(c.rows, r.take(t)); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if s := r.table.Current().String(); c.schema != "" && s != c.schema {
				t.Errorf("schema %s, want %s", s, c.schema)
			}
		})
	}
}

// TestHashWithSalt is HMAC-SHA-256.
func TestHashWithSalt(t *testing.T) {
	p := compile(t, transform.Options{Steps: []transform.Step{{Mask: &transform.Mask{Columns: []string{"a"}, Hash: true, Salt: "pepper"}}}})
	r := newPod(nil, p, nil)
	r.send(t, `{"a":"x"}`)
	h := hmac.New(sha256.New, []byte("pepper"))
	h.Write([]byte("x"))
	if diff := cmp.Diff([]row{{"a": hex.EncodeToString(h.Sum(nil))}}, r.take(t)); diff != "" {
		t.Error(diff)
	}
}

// TestSuspend: the payload of the record that failed is not taken at all.
func TestSuspend(t *testing.T) {
	p := compile(t, transform.Options{OnError: transform.Suspend, Steps: []transform.Step{{Filter: "a != 5"}, {Set: &transform.Set{Column: "r", Value: "a / b"}}}})
	r := newPod(nil, p, nil)
	r.send(t, `{"a":1,"b":1}`, `{"a":5}`)
	rejects := r.send(t, `{"a":2,"b":1}`, `{"a":5}`, `{"a":1,"b":0}`, `{"a":4,"b":1}`)
	if len(rejects) != 1 || !rejects[0].Suspend || rejects[0].Row != 2 {
		t.Fatalf("%+v", rejects)
	}
	r.send(t, `{"a":9,"b":3}`)
	if diff := cmp.Diff([]row{{"a": int64(1), "b": int64(1), "r": int64(1)}, {"a": int64(9), "b": int64(3), "r": int64(3)}}, r.take(t)); diff != "" {
		t.Error(diff)
	}
}

// TestAcrossPayloads compares with a plain loop: rows are filtered and refused at random, fields come and go, batches are
// taken at random, the schema grows in the middle of them, and two decoders share it.
func TestAcrossPayloads(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	p := compile(t, transform.Options{OnError: transform.Reject, Steps: []transform.Step{
		{Filter: "n % 3 != 0"},
		{Route: &transform.Route{When: "n % 7 == 0", Reason: "seven"}},
		{Set: &transform.Set{Column: "sum", Value: "o.x + n"}},
		{Flatten: &transform.Flatten{Column: "o", Separator: "."}},
		{Set: &transform.Set{Column: "joined", Value: `l.map(e, string(e)).join(",")`}},
		{Rename: &transform.Rename{From: "s", To: "text"}},
	}})
	a := newPod(nil, p, nil)
	b := &pod{records: a.records, table: a.table, Decoder: transform.NewDecoder(a.records, a.table, p)}
	var want, got []row
	pending := map[*pod][]row{}
	n := int64(0)
	for range 400 {
		r := []*pod{a, b}[rnd.IntN(2)]
		var records []string
		for range 1 + rnd.IntN(5) {
			n++
			fields := []string{fmt.Sprintf(`"n":%d`, n)}
			w := row{"n": n}
			if rnd.IntN(2) == 0 {
				fields = append(fields, fmt.Sprintf(`"o":{"x":%d}`, n*2))
				w["o.x"], w["sum"] = n*2, n*3
			}
			if rnd.IntN(3) == 0 {
				fields = append(fields, fmt.Sprintf(`"l":[%d,%d]`, n, n+1))
				w["l"], w["joined"] = []any{n, n + 1}, fmt.Sprintf("%d,%d", n, n+1)
			}
			if rnd.IntN(3) == 0 {
				fields = append(fields, fmt.Sprintf(`"s":"s%d"`, n))
				w["text"] = fmt.Sprint("s", n)
			}
			if rnd.IntN(20) == 0 {
				name := fmt.Sprint("new", n)
				fields = append(fields, fmt.Sprintf(`"%s":true`, name))
				w[name] = true
			}
			rnd.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
			records = append(records, "{"+strings.Join(fields, ",")+"}")
			if n%3 != 0 && n%7 != 0 {
				pending[r] = append(pending[r], w)
			}
		}
		r.send(t, records...)
		if rnd.IntN(10) == 0 {
			got, want = append(got, r.take(t)...), append(want, pending[r]...)
			pending[r] = nil
		}
	}
	for _, r := range []*pod{a, b} {
		got, want = append(got, r.take(t)...), append(want, pending[r]...)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatal(diff)
	}
	if p.Stats().Filtered == 0 || p.Stats().Failed != 0 {
		t.Errorf("%+v", p.Stats())
	}
}

// TestRestart: the table's schema tells what the records' was, through the names that steps gave.
func TestRestart(t *testing.T) {
	p := compile(t, transform.Options{Steps: []transform.Step{
		{Rename: &transform.Rename{From: "a", To: "b"}}, {Set: &transform.Set{Column: "s", Value: "b"}}, {Drop: []string{"d"}}, {Mask: &transform.Mask{Columns: []string{"m"}}},
	}})
	table := columns(t, "b: double, c: timestamp, s: double, m: string")
	if got := p.Source(table).String(); got != "struct<a:double,c:timestamp>" {
		t.Error(got)
	}
	r := newPod(table, p, nil)
	r.send(t, `{"a":1,"m":7,"d":1}`)
	if diff := cmp.Diff([]row{{"b": 1.0, "s": 1.0, "m": "***"}}, r.take(t)); diff != "" {
		t.Error(diff)
	}
	if !r.table.Current().Equal(table) {
		t.Error(r.table.Current())
	}
}

var faultCases = []struct {
	name, declared string
	closed         bool
	step           transform.Step
	field          string
	line, column   int
	says           string
}{
	{"syntax", "a: long", false, transform.Step{Filter: "a > > 1"}, "filter", 1, 5, "Syntax error"},
	{"in the second line", "a: long", false, transform.Step{Filter: "a > 1 &&\n  a + 'x' == 1"}, "filter", 2, 5, "no matching overload for '_+_'"},
	{"not a condition", "a: long", false, transform.Step{Route: &transform.Route{When: "a + 1"}}, "route.when", 1, 1, "must be true or false"},
	{"a column in another case", "userId: long", false, transform.Step{Filter: "1 < userid"}, "filter", 1, 5, "did you mean userId?"},
	{"an unknown column", "a: long", true, transform.Step{Filter: "a == b"}, "filter", 1, 6, "there is no column b: declare it"},
	{"an unknown function", "", false, transform.Step{Set: &transform.Set{Column: "x", Value: "frobnicate(a)"}}, "set.value", 1, 11, "undeclared reference to 'frobnicate'"},
	{"types", "a: long", false, transform.Step{Set: &transform.Set{Column: "x", Value: "a", Type: &schema.Type{Kind: schema.String}}}, "set.type", 0, 0, "convert it"},
	{"a list in a column", "a: array<long>", false, transform.Step{Set: &transform.Set{Column: "x", Value: "[1, 2]"}}, "set.value", 0, 0, "no column holds"},
	{"reserved", "", false, transform.Step{Set: &transform.Set{Column: "_weir_seq", Value: "1"}}, "set.column", 0, 0, "weir's own"},
	{"a name of no column", "", false, transform.Step{Rename: &transform.Rename{From: "a", To: "b c"}}, "rename.to", 0, 0, "none of"},
	{"taken", "a: long, b: long", false, transform.Step{Rename: &transform.Rename{From: "a", To: "b"}}, "rename.to", 0, 0, "already"},
	{"no struct", "a: long", false, transform.Step{Flatten: &transform.Flatten{Column: "a", Separator: "_"}}, "flatten.column", 0, 0, "must be a struct"},
	{"no time", "a: long", false, transform.Step{Derive: &transform.Derive{Column: "d", From: "a"}}, "derive.from", 0, 0, "must be a timestamp"},
	{"a field that is not hidden", "user: struct<email: string>", false, transform.Step{Mask: &transform.Mask{Columns: []string{"user.email"}}}, "mask.columns[0]", 0, 0, "a field of the struct user; flatten that one first"},
	{"a field that is not there to be dropped", "user: struct<home: struct<city: string>>", true, transform.Step{Drop: []string{"user.home.city"}}, "drop[0]", 0, 0, "flatten that one first"},
	{"missing", "", false, transform.Step{Set: &transform.Set{}}, "set.column", 0, 0, "is missing"},
}

func TestFaults(t *testing.T) {
	for _, c := range faultCases {
		t.Run(c.name, func(t *testing.T) {
			o := transform.Options{Steps: []transform.Step{c.step}, Closed: c.closed}
			if c.declared != "" {
				o.Columns = columns(t, c.declared)
			}
			_, faults := transform.Compile(o)
			if len(faults) == 0 {
				t.Fatal("no fault is found")
			}
			f := faults[0]
			if f.Field != c.field || f.Line != c.line || f.Column != c.column || !strings.Contains(f.Message, c.says) {
				t.Errorf("%s at %d:%d: %s; want %s at %d:%d: %s", f.Field, f.Line, f.Column, f.Message, c.field, c.line, c.column, c.says)
			}
		})
	}
}

// TestGone: a step sees the columns as the steps before it left them.
func TestGone(t *testing.T) {
	_, faults := transform.Compile(transform.Options{Steps: []transform.Step{
		{Drop: []string{"a"}}, {Rename: &transform.Rename{From: "b", To: "c"}}, {Filter: "a > 1"}, {Filter: "b > 1 && c > 1"},
	}})
	if len(faults) != 2 || !strings.Contains(faults[0].Message, "transform[0] drops it") || !strings.Contains(faults[1].Message, "transform[1] renames it to c") {
		t.Fatalf("%v", faults)
	}
}

// TestCost: a loop that would take too long ends in an error of the record.
func TestCost(t *testing.T) {
	p := compile(t, transform.Options{OnError: transform.Reject, Steps: []transform.Step{{Filter: "l.all(a, l.all(b, l.all(c, a + b + c >= 0)))"}}})
	r := newPod(nil, p, nil)
	rejects := r.send(t, `{"l":[`+strings.Repeat("1,", 999)+`1]}`, `{"l":[1]}`)
	if len(rejects) != 1 || !strings.Contains(rejects[0].Reason, "cost limit exceeded") {
		t.Fatalf("%+v", rejects)
	}
}

// TestManyRefused: to name a refused row costs no walk over all rows before it.
func TestManyRefused(t *testing.T) {
	p := compile(t, transform.Options{Steps: []transform.Step{{Route: &transform.Route{When: "n < 0"}}}})
	r := newPod(nil, p, nil)
	const rows = 100_000
	rejects := r.send(t, "", `{"n":1}`, "  ", strings.Repeat(`{"n":-1}`+"\n", rows)+`{`)
	if len(rejects) != rows+1 || rejects[0].Row != rows+3 || rejects[1].Row != 3 || rejects[rows].Row != rows+2 {
		t.Fatalf("%d refused, %+v", len(rejects), rejects[:2])
	}
}
