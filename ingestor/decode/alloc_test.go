package decode_test

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

// TestNoAllocations decodes in steady state: columns known, memory recycled.
func TestNoAllocations(t *testing.T) {
	all := decode.SystemColumns{Stream: true, Seq: true, Received: true}
	cases := []struct {
		name    string
		mime    event.MIME
		options decode.Options
		payload func(r *rand.Rand, i int) []byte
	}{
		{"flat", event.JSON, decode.Options{}, flatEvent},
		{"nested", event.JSON, decode.Options{}, nestedEvent},
		{"wide", event.JSON, decode.Options{SystemColumns: all}, wideEvent},
		{"lines", event.NDJSON, decode.Options{}, func(r *rand.Rand, i int) []byte {
			return bytes.Join([][]byte{flatEvent(r, i), flatEvent(r, i+1), nil, flatEvent(r, i+2)}, []byte("\r\n"))
		}},
		{"misfits", event.JSON, decode.Options{}, func(_ *rand.Rand, i int) []byte {
			return [][]byte{
				[]byte(`{"a":1,"o":{"x":1},"l":[1,2]}`),
				[]byte(`{"a":"x\u00e9","o":{"x":[]},"l":[1,"y"],"A":3,"_rescued":"z","a":1.5,"u":18446744073709551615}`),
			}[i%2]
		}},
		{"full schema", event.JSON, decode.Options{MaxColumns: 2}, func(_ *rand.Rand, _ int) []byte {
			return []byte(`{"a":1,"b":2,"c":{"d":[1,2,3]},"\u00e9":4,"e":null,"f":{}}`)
		}},
		{"escapes and times", event.JSON, decode.Options{}, func(_ *rand.Rand, _ int) []byte {
			return []byte(`{"a":"x\n\u00e9\ud83d\ude00 日本","t":"2026-11-23T20:15:00\u005a","\u006b":1e3,"d":123456789.123456789012345}`)
		}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(5, 6))
			var payloads [][]byte
			for i := range 64 {
				payloads = append(payloads, c.payload(r, i))
			}
			d := decode.NewDecoder(decode.NewSchema(nil, c.options))
			var rejects []decode.Reject
			round := func() {
				for _, p := range payloads {
					if _, rejects = d.Append(c.mime, p, decode.System{Stream: "s", Seq: 1, ReceivedMicros: 1}, rejects[:0]); len(rejects) > 0 {
						t.Fatal(rejects[0].Reason)
					}
				}
				d.Recycle(d.Take())
			}
			for range 3 { // columns are made, both batches grow
				round()
			}
			if n := testing.AllocsPerRun(10, round); n != 0 {
				t.Errorf("%v allocations for %d payloads", n, len(payloads))
			}
		})
	}
}
