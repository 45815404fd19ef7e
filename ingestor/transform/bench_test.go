package transform_test

import (
	"fmt"
	"testing"

	"github.com/weir-dev/weir/delta/schema"
	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
	"github.com/weir-dev/weir/ingestor/transform"
)

// BenchmarkSteps measures an event of seven columns with one step, beside the same without any: the difference is what the
// step costs. ns/op and allocs/op are for one event.
func BenchmarkSteps(b *testing.B) {
	number := &schema.Type{Kind: schema.Double}
	for _, c := range []struct {
		name  string
		steps []transform.Step
	}{
		{"none", nil},
		{"set arithmetic", []transform.Step{{Set: &transform.Set{Column: "total", Value: "price * 1.2", Type: number}}}},
		{"set text", []transform.Step{{Set: &transform.Set{Column: "full", Value: `user.first + " " + user.last`}}}},
		{"filter keeps", []transform.Step{{Filter: `qty > 0`}}},
		{"filter drops", []transform.Step{{Filter: `qty < 0`}}},
		{"drop", []transform.Step{{Drop: []string{"sku"}}}},
		{"rename", []transform.Step{{Rename: &transform.Rename{From: "sku", To: "article"}}}},
		{"flatten", []transform.Step{{Flatten: &transform.Flatten{Column: "user", Separator: "_"}}}},
		{"mask redact", []transform.Step{{Mask: &transform.Mask{Columns: []string{"email"}}}}},
		{"mask hash", []transform.Step{{Mask: &transform.Mask{Columns: []string{"email"}, Hash: true}}}},
		{"derive date", []transform.Step{{Derive: &transform.Derive{Column: "day", From: "at"}}}},
		{"route", []transform.Step{{Route: &transform.Route{When: `sku == ""`}}}},
		{"loop over 3", []transform.Step{{Filter: `tags.exists(t, t == "c")`}}},
	} {
		b.Run(c.name, func(b *testing.B) {
			p, faults := transform.Compile(transform.Options{Steps: c.steps})
			if len(faults) > 0 {
				b.Fatal(faults)
			}
			table := decode.NewSchema(nil, decode.Options{})
			records := table
			if p != nil {
				records = decode.NewSchema(nil, decode.Options{})
			}
			d := transform.NewDecoder(records, table, p)
			var events [][]byte
			for i := range 64 {
				events = append(events, fmt.Appendf(nil,
					`{"sku":"SKU-%05d","price":%d.25,"qty":%d,"email":"user%d@example.org","at":"2026-11-24T16:%02d:00Z","user":{"first":"Ada","last":"L%d"},"tags":["a","b","c"]}`,
					i, i, i+1, i, i%60, i))
			}
			var rejects []decode.Reject
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_, rejects = d.Append(event.JSON, events[i%len(events)], decode.System{}, rejects[:0])
				if len(rejects) > 0 {
					b.Fatal(rejects)
				}
				if i%10_000 == 9_999 {
					d.Recycle(d.Take())
				}
			}
		})
	}
}
