package decode_test

import (
	"fmt"

	"github.com/weir-dev/weir/ingestor/decode"
	"github.com/weir-dev/weir/ingestor/event"
)

func Example() {
	s := decode.NewSchema(nil, decode.Options{}) // of a table that does not exist yet; shards share it
	d := decode.NewDecoder(s)

	payload := `{"sensor":"a1","celsius":20.5}
{"sensor":"a2","celsius":"broken","at":"2026-11-23T20:15:00Z"}
{"sensor":"a3",}`
	accepted, rejects := d.Append(event.NDJSON, []byte(payload), decode.System{}, nil)
	fmt.Println(accepted, "accepted")
	for _, r := range rejects {
		fmt.Printf("line %d: %s\n", r.Row, r.Reason)
	}

	batch := d.Take()
	fmt.Println(batch.Schema)
	fmt.Println(batch.Row(1)["_rescued"])
	d.Recycle(batch)
	// Output:
	// 2 accepted
	// line 2: field sensor, byte 15: a comma before '}'; remove the last comma
	// struct<sensor:string,celsius:double,at:timestamp,_rescued:string>
	// {"celsius":"broken"}
}
