package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// load is a set of events of one shape.
type load struct {
	name   string
	events [][]byte
	lines  []byte        // the events as NDJSON
	size   float64       // bytes of an event
	schema *schema.Type  // the columns that all ways fill
	sample *column.Batch // the events as weir decodes them
}

// shapes make the events of a load.
var shapes = []struct {
	name string
	make func(cache string) ([][]byte, error)
}{
	{"flat", made(1024, flatEvent)},
	{"nested", hooks},
	{"wide", made(1024, wideEvent)},
}

func made(n int, one func(r *rand.Rand, i int) []byte) func(string) ([][]byte, error) {
	return func(string) ([][]byte, error) {
		r := rand.New(rand.NewPCG(1, 2))
		var all [][]byte
		for i := range n {
			all = append(all, one(r, i))
		}
		return all, nil
	}
}

// maxColumns is enough for the nested shape.
const maxColumns = 10_000

// newLoad keeps those events of which every value fits a column: the libraries know no other place for the rest.
func newLoad(name string, events [][]byte) (*load, error) {
	s := decode.NewSchema(nil, decode.Options{MaxColumns: maxColumns})
	d := decode.NewDecoder(s)
	l := &load{name: name}
	for _, e := range events {
		before := s.Stats().Rescued
		if n, rejects := d.Append(event.JSON, e, decode.System{}, nil); n != 1 {
			return nil, errors.New(rejects[0].Reason)
		}
		if s.Stats().Rescued == before {
			l.events = append(l.events, e)
			l.size += float64(len(e))
		}
	}
	l.size /= float64(len(l.events))
	l.lines = append(bytes.Join(l.events, []byte("\n")), '\n')
	l.schema = &schema.Type{Kind: schema.Struct}
	for _, f := range s.Settle().Fields {
		if f.Name != decode.RescuedColumn {
			l.schema.Fields = append(l.schema.Fields, f)
		}
	}
	sample := &weirDecoder{load: l, d: newDecoder(l)}
	err := sample.decode()
	l.sample = sample.batch
	return l, err
}

func newDecoder(l *load) *decode.Decoder {
	return decode.NewDecoder(decode.NewSchema(l.schema, decode.Options{MaxColumns: maxColumns}))
}

// flatEvent is a sensor's reading: 20 fields, about 960 bytes.
func flatEvent(r *rand.Rand, i int) []byte {
	cities := []string{"Wien", "Graz", "Linz", "Salzburg", "Innsbruck", "Klagenfurt"}
	e := fmt.Appendf(nil, `{"event_id":"%016x-%08x","device":"sensor-%05d","site":"plant-%02d","line":"line-%d",`, r.Uint64(), i, r.IntN(20000), r.IntN(40), r.IntN(8))
	e = fmt.Appendf(e, `"ts":"2026-11-%02dT%02d:%02d:%02d.%06dZ","seq":%d,"temperature":%.2f,"humidity":%.1f,"pressure":%.3f,`,
		1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1e6), i, r.Float64()*80-20, r.Float64()*100, 950+r.Float64()*100)
	e = fmt.Appendf(e, `"voltage":%.4f,"rpm":%d,"errors":%d,"ok":%t,"maintenance":%t,"firmware":"v%d.%d.%d",`,
		220+r.Float64()*20, r.IntN(12000), r.IntN(4), r.IntN(10) > 0, r.IntN(50) == 0, r.IntN(4), r.IntN(20), r.IntN(100))
	e = fmt.Appendf(e, `"city":"%s","latitude":%.6f,"longitude":%.6f,"operator":"%s",`, cities[r.IntN(len(cities))], 46+r.Float64()*3, 9+r.Float64()*8, word(r, 12))
	e = append(e, `"note":"`...)
	for len(e) < 958 {
		e = append(e, word(r, 3+r.IntN(8))...)
		e = append(e, ' ')
	}
	return append(e[:958], `"}`...)
}

// wideEvent has 200 columns, a fifth of which each event leaves out.
func wideEvent(r *rand.Rand, _ int) []byte {
	e := []byte{'{'}
	for c := range 200 {
		if r.IntN(5) == 0 && c > 0 {
			continue
		}
		if len(e) > 1 {
			e = append(e, ',')
		}
		switch c % 4 {
		case 0:
			e = fmt.Appendf(e, `"column_%03d":%d`, c, r.IntN(1e6))
		case 1:
			e = fmt.Appendf(e, `"column_%03d":%.3f`, c, r.Float64()*1000)
		case 2:
			e = fmt.Appendf(e, `"column_%03d":"%s"`, c, word(r, 8))
		default:
			e = fmt.Appendf(e, `"column_%03d":%t`, c, r.IntN(2) == 0)
		}
	}
	return append(e, '}')
}

func word(r *rand.Rand, n int) string {
	var b strings.Builder
	for range n {
		b.WriteByte("abcdefghijklmnopqrstuvwxyz"[r.IntN(26)])
	}
	return b.String()
}

// hooks are the examples of GitHub's webhooks, all kinds of event into one table.
func hooks(cache string) ([][]byte, error) {
	name := filepath.Join(cache, "data/node/node_modules/@octokit/webhooks-examples/api.github.com/index.json")
	text, err := os.ReadFile(name) //nolint:gosec // the user's own file
	if err != nil {
		return nil, fmt.Errorf("%w; run test/setup.sh, or say -cache", err)
	}
	var kinds []struct {
		Examples []json.RawMessage `json:"examples"`
	}
	if err := json.Unmarshal(text, &kinds); err != nil {
		return nil, err
	}
	var all [][]byte
	for _, k := range kinds {
		for _, e := range k.Examples {
			var b bytes.Buffer
			if err := json.Compact(&b, e); err != nil {
				return nil, err
			}
			all = append(all, b.Bytes())
		}
	}
	return all, nil
}
