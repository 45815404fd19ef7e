package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
	"github.com/weir-dev/weir/ingestor/transform"
)

// stepCases are transforms of one step each. The first has none: what the others take beyond it is the cost of the step.
var stepCases = []struct {
	name  string
	steps []transform.Step
}{
	{"no step", nil},
	{"set: price * 1.2", set("total", "price * 1.2")},
	{`set: user.first + " " + user.last`, set("full", `user.first + " " + user.last`)},
	{"filter: qty > 0", []transform.Step{{Filter: "qty > 0"}}},
	{`filter: tags.exists(t, t == "c")`, []transform.Step{{Filter: `tags.exists(t, t == "c")`}}},
	{"drop", []transform.Step{{Drop: []string{"sku"}}}},
	{"rename", []transform.Step{{Rename: &transform.Rename{From: "sku", To: "article"}}}},
	{"flatten", []transform.Step{{Flatten: &transform.Flatten{Column: "user", Separator: "_"}}}},
	{"mask: Redact", []transform.Step{{Mask: &transform.Mask{Columns: []string{"email"}}}}},
	{"mask: Hash", []transform.Step{{Mask: &transform.Mask{Columns: []string{"email"}, Hash: true}}}},
	{"mask: Hash, salted", []transform.Step{{Mask: &transform.Mask{Columns: []string{"email"}, Hash: true, Salt: "pepper"}}}},
	{"derive: Date", []transform.Step{{Derive: &transform.Derive{Column: "day", From: "at"}}}},
	{"derive: Hour", []transform.Step{{Derive: &transform.Derive{Column: "hour", From: "at", Hour: true}}}},
	{`route: sku == ""`, []transform.Step{{Route: &transform.Route{When: `sku == ""`}}}},
}

func set(column, value string) []transform.Step {
	return []transform.Step{{Set: &transform.Set{Column: column, Value: value}}}
}

// stepEvents are orders of seven fields, about 160 bytes.
func stepEvents() [][]byte {
	var all [][]byte
	for i := range 1024 {
		all = append(all, fmt.Appendf(nil,
			`{"sku":"SKU-%05d","price":%d.25,"qty":%d,"email":"user%d@example.org","at":"2026-11-24T16:%02d:00Z","user":{"first":"Ada","last":"L%d"},"tags":["a","b","c"]}`,
			i, i, i+1, i, i%60, i))
	}
	return all
}

func measureSteps(c config, w io.Writer) error {
	events := stepEvents()
	var all []*contestant
	for _, s := range stepCases {
		run, err := openSteps(events, s.steps)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		all = append(all, &contestant{name: s.name, events: len(events), decode: run})
	}
	if err := compete(all, c.rounds, c.spin); err != nil {
		return err
	}
	fmt.Fprintf(w, "\nsteps: events of seven fields, %d bytes\n", len(events[0]))
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "step\tµs/event\tthe step's\tallocs/event\tB/event\t")
	base := all[0].median()
	for _, c := range all {
		m := c.median()
		fmt.Fprintf(t, "%s\t%.2f\t%+.2f\t%.2f\t%.0f\t\n", c.name, m.nanos/1000, (m.nanos-base.nanos)/1000, m.allocs, m.bytes)
	}
	return t.Flush()
}

// openSteps returns what decodes all events through the steps into one batch.
func openSteps(events [][]byte, steps []transform.Step) (func() error, error) {
	p, faults := transform.Compile(transform.Options{Steps: steps})
	if len(faults) > 0 {
		return nil, faults[0]
	}
	table := decode.NewSchema(nil, decode.Options{})
	records := table
	if p != nil {
		records = decode.NewSchema(nil, decode.Options{})
	}
	d := transform.NewDecoder(records, table, p)
	var batch *column.Batch
	return func() error {
		d.Recycle(batch)
		for _, e := range events {
			if n, rejects := d.Append(event.JSON, e, decode.System{}, nil); n != 1 {
				return fmt.Errorf("refused: %v", rejects)
			}
		}
		batch = d.Take()
		if batch.Rows != len(events) {
			return fmt.Errorf("%d rows of %d events", batch.Rows, len(events))
		}
		return nil
	}, nil
}
