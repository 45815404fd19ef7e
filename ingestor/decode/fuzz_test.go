package decode_test

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// seeds are records for the fuzzers: the shapes of the benchmarks, and corner cases of the grammar.
func seeds() []string {
	r := rand.New(rand.NewPCG(3, 4))
	all := []string{
		`{"a":1,"b":"x","c":[1,2.5,null],"d":{"e":true},"t":"2026-01-02T03:04:05.678Z"}` + "\n" + `{"a":"y","c":[{}],"d":{"e":1,"f":2},"t":0}`,
		`{"a":1e400,"a":-0,"A":0.1e-7}` + "\n" + `{"a b":1,"a_b":2,"":3}`,
		`{"s":"\ud83d\ude00\u00e9\\\"\/"}` + "\n" + `{"s":"\ud800"}`,
		"\xef\xbb\xbf{\"a\":[[[[1]]]],\"b\":{\"c\":{\"d\":{\"e\":1}}}}\r",
		`{"a":[` + strings.Repeat(`{"x":1},`, 20) + `{"y":[null,{"z":"q"}]}]}`,
		`{"a":12345678901234567890,"b":1.7976931348623157e309,"c":` + strings.Repeat("9", 60) + `}`,
		`{"a":1}x` + "\n" + `{"a":tru}` + "\n" + `[{"a":1}]` + "\n" + `{"a":"` + "\xff" + `"}`,
	}
	for _, s := range shapes {
		for i := range 2 {
			all = append(all, string(s.make(r, i)))
		}
	}
	return all
}

// FuzzJSON compares the decoder with encoding/json, a line of the input a record, under one schema that evolves.
func FuzzJSON(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 1<<16 {
			return
		}
		s := decode.NewSchema(nil, modelOptions)
		d := decode.NewDecoder(s)
		records := bytes.Split(in, []byte("\n"))
		checkRecords(t, s, d, records)
		checkRecords(t, s, d, records) // again, with the columns all known and the memory recycled
	})
}

// FuzzTargets throws bytes at a table with columns of every type, under both policies.
func FuzzTargets(f *testing.F) {
	for _, s := range seeds() {
		f.Add([]byte(s), true)
	}
	f.Add([]byte(`{"dec":"1.5","wide":-123456789012345678901.5,"bin":"AAEC","date":"2026-01-01","ntz":"2026-01-01T00:00:00","map":{"1":{"k":[1,null]},"2":null},"b":1,"s":2,"i":3,"f":1.5,"strict":[1,2]}`), false)
	f.Fuzz(func(t *testing.T, in []byte, rescue bool) {
		if len(in) > 1<<16 {
			return
		}
		o := modelOptions
		if !rescue {
			o.OnMismatch = decode.RejectRecord
		}
		d := decode.NewDecoder(decode.NewSchema(everyType(), o))
		for range 2 {
			n, rejects := d.Append(event.NDJSON, in, decode.System{}, nil)
			for _, r := range rejects {
				checkReason(t, r.Reason)
			}
			if n != d.Rows() {
				t.Fatalf("accepted %d, %d rows", n, d.Rows())
			}
			estimate := d.Bytes()
			b := d.Take()
			checkBatch(t, b)
			if used := usedBytes(b.Columns); estimate != used {
				t.Fatalf("Bytes() said %d, the sealed batch uses %d", estimate, used)
			}
			d.Recycle(b)
		}
	})
}

// usedBytes is what vectors hold, whatever their capacity.
func usedBytes(vectors []*column.Vector) int64 {
	n := int64(0)
	for _, v := range vectors {
		n += int64(len(v.Valid)+len(v.Bools)+len(v.Data)) + 4*int64(len(v.Int32s)+len(v.Float32s)+len(v.Offsets)) +
			8*int64(len(v.Int64s)+len(v.Float64s)) + usedBytes(v.Children)
	}
	return n
}

// values draws JSON values with names and texts that collide often.
func values(depth int) *rapid.Generator[string] {
	scalars := rapid.OneOf(
		rapid.SampledFrom([]string{
			"null", "true", "false", "0", "-1", "2.5", "1e3", "1.0", "9223372036854775807", "9223372036854775808", "1e400", "1e-400",
			"123456789012345678901234567890", `""`, `"x"`, `"2026-01-02T03:04:05Z"`, `"2026-01-02T03:04:05+25:00"`, `"\u00e9\n"`, `"日本"`, "{}", "[]",
		}),
		rapid.Custom(func(t *rapid.T) string { return jsonString(rapid.String().Draw(t, "text")) }),
		rapid.Custom(func(t *rapid.T) string {
			return rapid.StringMatching(`-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?`).Draw(t, "number")
		}),
	)
	if depth == 0 {
		return scalars
	}
	return rapid.OneOf(scalars, scalars, objects(depth-1), rapid.Custom(func(t *rapid.T) string {
		return "[" + strings.Join(rapid.SliceOfN(values(depth-1), 0, 4).Draw(t, "elements"), ", ") + "]"
	}))
}

func objects(depth int) *rapid.Generator[string] {
	names := rapid.SampledFrom([]string{"a", "b", "c", "A", "d e", "d_e", "", "f.g", "_rescued", "_weir_seq", "ſ", "S", "s", "a\"b"})
	return rapid.Custom(func(t *rapid.T) string {
		var parts []string
		for range rapid.IntRange(0, 5).Draw(t, "members") {
			parts = append(parts, jsonString(names.Draw(t, "name"))+" :"+values(depth).Draw(t, "value"))
		}
		return "{" + strings.Join(parts, ",") + "}"
	})
}

// evolve compares the decoder with the model on records that are mostly valid, over several batches.
func evolve(t *rapid.T) {
	s := decode.NewSchema(nil, modelOptions)
	d := decode.NewDecoder(s)
	for range rapid.IntRange(1, 3).Draw(t, "batches") {
		var records [][]byte
		for _, r := range rapid.SliceOfN(objects(3), 0, 8).Draw(t, "records") {
			if broken := rapid.IntRange(0, 9).Draw(t, "broken"); broken == 0 {
				r = r[:rapid.IntRange(0, len(r)).Draw(t, "cut")]
			}
			records = append(records, []byte(r))
		}
		checkRecords(t, s, d, records)
	}
}

func TestModel(t *testing.T) { rapid.Check(t, evolve) }

// FuzzModel is TestModel driven by coverage: it knows the structure of records, which FuzzJSON does not.
func FuzzModel(f *testing.F) { f.Fuzz(rapid.MakeFuzz(evolve)) }

// TestLinesAreRecords decodes the same records as lines and one by one.
func TestLinesAreRecords(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var payload []byte
		var rejected []int
		one := decode.NewDecoder(decode.NewSchema(nil, modelOptions))
		many := decode.NewDecoder(decode.NewSchema(nil, modelOptions))
		records := rapid.SliceOfN(rapid.OneOf(objects(2), rapid.SampledFrom([]string{"", " ", "x", "[]"})), 0, 8).Draw(t, "records")
		for i, r := range records {
			payload = append(payload, r+rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "end")...)
			if strings.TrimSpace(r) == "" {
				continue
			}
			if n, _ := one.Append(event.JSON, []byte(r), decode.System{}, nil); n == 0 {
				rejected = append(rejected, i)
			}
		}
		if strings.TrimSpace(string(payload)) == "" {
			return
		}
		_, rejects := many.Append(event.NDJSON, payload, decode.System{}, nil)
		var got []int
		for _, r := range rejects {
			got = append(got, r.Row)
		}
		if diff := cmp.Diff(rejected, got); diff != "" {
			t.Errorf("rejected lines (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(rowsOf(one.Take()), rowsOf(many.Take())); diff != "" {
			t.Errorf("rows (-one by one +as lines):\n%s", diff)
		}
	})
}
