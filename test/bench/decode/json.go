package main

import (
	"fmt"
	"io"
	"reflect"
	"slices"
	"text/tabwriter"

	"github.com/google/go-cmp/cmp"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// jsonWays begin with weir.
var jsonWays = []way{
	{"weir", openWeir},
	{"weir, lines", openWeirLines},
	{"fastjson", openFastjson},
	{"sonic", openSonic},
	{"simdjson-go", openSimdjson},
	{"goccy", openGoccy},
	{"arrow-go", openArrow},
	{"encoding/json", openStandard},
}

// flatBar is how many times as fast as fastjson weir is to be on the flat shape.
const flatBar = 2

// mostAllocs per event is what counts as none: the runtime itself allocates a little in a round.
const mostAllocs = 0.01

func compareJSON(c config, w io.Writer) error {
	missed := false
	for _, s := range shapes {
		if !listed(c.shapes, s.name) {
			continue
		}
		events, err := s.make(c.cache)
		if err != nil {
			return err
		}
		l, err := newLoad(s.name, events)
		if err != nil {
			return err
		}
		all, err := contestants(c, l)
		if err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		if err := compete(all, c.rounds, c.spin); err != nil {
			return fmt.Errorf("%s: %w", l.name, err)
		}
		missed = !report(w, l, all) || missed
	}
	if missed {
		return errBar
	}
	return nil
}

// contestants opens all ways for a load and checks that their columns are weir's.
func contestants(c config, l *load) ([]*contestant, error) {
	want := rowsOf(l.sample)
	var all []*contestant
	for i, way := range jsonWays {
		if i > 0 && !listed(c.ways, way.name) {
			continue
		}
		d, err := way.open(l)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", way.name, err)
		}
		for range 2 { // the second time into memory that was used before
			if err := d.decode(); err != nil {
				return nil, fmt.Errorf("%s: %w", way.name, err)
			}
			got, err := d.rows()
			if err != nil {
				return nil, fmt.Errorf("%s: %w", way.name, err)
			}
			if !reflect.DeepEqual(want, got) {
				return nil, fmt.Errorf("%s has other values (-weir +%s): %.2000s", way.name, way.name, cmp.Diff(want, got))
			}
		}
		all = append(all, &contestant{name: way.name, events: len(l.events), decode: d.decode})
	}
	return all, nil
}

// report prints what a load took and says whether weir keeps its bars.
func report(w io.Writer, l *load, all []*contestant) bool {
	fmt.Fprintf(w, "\n%s: %d events of %.0f bytes into %d leaf columns\n", l.name, len(l.events), l.size, leaves(l.sample.Columns))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "way\tµs/event\tMB/s\tallocs/event\tB/event\tof weir's time\t")
	weir := all[0].median()
	good := weir.allocs < mostAllocs
	for _, c := range all {
		m := c.median()
		fmt.Fprintf(t, "%s\t%.2f\t%.0f\t%.2f\t%.0f\t%.2f\t\n", c.name, m.nanos/1000, l.size/m.nanos*1000, m.allocs, m.bytes, m.nanos/weir.nanos)
		bar := 1.0
		if c.name == "fastjson" && l.name == "flat" {
			bar = flatBar
		}
		if !slices.Contains([]string{"weir", "weir, lines"}, c.name) && m.nanos < bar*weir.nanos {
			good = false
		}
	}
	t.Flush() //nolint:errcheck,gosec // as other prints
	if !good {
		fmt.Fprintf(w, "a bar was missed: no allocations, fastest, and on the flat shape %d times as fast as fastjson\n", flatBar)
	}
	return good
}

func leaves(vectors []*column.Vector) int {
	n := 0
	for _, v := range vectors {
		if len(v.Children) == 0 {
			n++
		}
		n += leaves(v.Children)
	}
	return n
}

// weirDecoder decodes one event a payload.
type weirDecoder struct {
	load  *load
	d     *decode.Decoder
	batch *column.Batch
	lines bool
}

func openWeir(l *load) (decoder, error) { return &weirDecoder{load: l, d: newDecoder(l)}, nil }

func openWeirLines(l *load) (decoder, error) {
	return &weirDecoder{load: l, d: newDecoder(l), lines: true}, nil
}

func (w *weirDecoder) decode() error {
	w.d.Recycle(w.batch)
	if w.lines {
		if n, rejects := w.d.Append(event.NDJSON, w.load.lines, decode.System{}, nil); n != len(w.load.events) {
			return fmt.Errorf("%d events, %v", n, rejects)
		}
	} else {
		for _, e := range w.load.events {
			if n, rejects := w.d.Append(event.JSON, e, decode.System{}, nil); n != 1 {
				return fmt.Errorf("refused: %v", rejects)
			}
		}
	}
	w.batch = w.d.Take()
	return nil
}

func (w *weirDecoder) rows() ([]map[string]any, error) { return rowsOf(w.batch), nil }

func rowsOf(b *column.Batch) []map[string]any {
	var all []map[string]any
	for i := range b.Rows {
		all = append(all, b.Row(i))
	}
	return all
}
