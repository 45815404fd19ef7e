package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/parquet"
	"github.com/weir-dev/weir/delta/schema"
)

// batchRows is how many events a batch has.
const batchRows = 10_000

// eventSchema is the varied event of about 290 bytes: identifiers, strings of low cardinality, numbers, a URL, a struct and
// a small list. seq, the number of the event, lets checks add up.
var eventSchema = &schema.Type{Kind: schema.Struct, Fields: []schema.Field{
	field("seq", schema.Long), field("id", schema.String), field("ts", schema.Timestamp), field("user", schema.String),
	field("region", schema.String), field("status", schema.Long), field("latency", schema.Double), field("bytes", schema.Long),
	field("score", schema.Double), field("ok", schema.Boolean), field("url", schema.String),
	{Name: "device", Nullable: true, Type: &schema.Type{Kind: schema.Struct, Fields: []schema.Field{
		field("os", schema.String), field("version", schema.String), field("model", schema.String),
	}}},
	{Name: "tags", Nullable: true, Type: &schema.Type{Kind: schema.Array, Elem: &schema.Type{Kind: schema.String}, ContainsNull: true}},
}}

var (
	systems  = []string{"iOS", "Android", "Windows", "macOS", "Linux"}
	statuses = []int64{200, 200, 200, 200, 204, 301, 404, 500}
	tagNames = []string{"new", "trial", "beta", "vip", "mobile", "web", "batch", "retry"}
)

// makeEvents returns events first to first+rows in batches.
func makeEvents(seed uint64, first, rows int) (out []*column.Batch) {
	rng := rand.New(rand.NewPCG(seed, uint64(first)))
	for at := first; at < first+rows; at += batchRows {
		b := column.NewBatch(eventSchema)
		n := min(batchRows, first+rows-at)
		for i := range n {
			appendEvent(b.Columns, rng, at+i)
		}
		b.Seal(n)
		out = append(out, b)
	}
	return out
}

func appendEvent(c []*column.Vector, rng *rand.Rand, i int) {
	c[0].AppendInt64(int64(i))
	c[1].AppendString(fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", rng.Uint32(), rng.Uint32()>>16, rng.Uint32()>>20, rng.Uint32()>>20, rng.Uint64()>>16))
	c[2].AppendInt64(1_760_000_000_000_000 + int64(i)*1_371 + int64(rng.IntN(900)))
	if rng.IntN(50) == 0 {
		c[3].AppendNull()
	} else {
		c[3].AppendString(fmt.Sprintf("user-%06d", rng.IntN(20_000)))
	}
	c[4].AppendString(regions[rng.IntN(len(regions))])
	c[5].AppendInt64(statuses[rng.IntN(len(statuses))])
	c[6].AppendFloat64(rng.ExpFloat64() * 40)
	c[7].AppendInt64(int64(rng.IntN(1 << 20)))
	if rng.IntN(10) == 0 {
		c[8].AppendNull()
	} else {
		c[8].AppendFloat64(float64(rng.IntN(1000)) / 10)
	}
	c[9].AppendBool(rng.IntN(5) != 0)
	c[10].AppendString(fmt.Sprintf("https://shop.example.com/catalogue/%d/items/%08x?session=%016x&ref=newsletter&page=%d",
		rng.IntN(40), rng.Uint32(), rng.Uint64(), rng.IntN(9)))
	c[11].AppendStruct()
	c[11].Children[0].AppendString(systems[rng.IntN(len(systems))])
	c[11].Children[1].AppendString(fmt.Sprintf("%d.%d.%d", 10+rng.IntN(8), rng.IntN(10), rng.IntN(4)))
	c[11].Children[2].AppendString(fmt.Sprintf("model-%03d", rng.IntN(300)))
	for range rng.IntN(4) {
		c[12].Children[0].AppendString(tagNames[rng.IntN(len(tagNames))])
	}
	c[12].AppendList()
}

// writeSource writes batches as a Parquet file, for contestants to read.
func writeSource(file string, s *schema.Type, batches []*column.Batch) (int64, error) {
	f, err := os.Create(file)
	if err != nil {
		return 0, err
	}
	info, err := parquet.Write(f, s, batches, parquet.WriterOptions{})
	if err != nil {
		return 0, err
	}
	return info.Size, f.Close()
}

// readSource reads what writeSource wrote.
func readSource(ctx context.Context, file string, s *schema.Type) ([]*column.Batch, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	p, err := parquet.Open(f, info.Size())
	if err != nil {
		return nil, err
	}
	var source []*column.Batch
	for b, err := range p.Read(ctx, s) {
		if err != nil {
			return nil, err
		}
		source = append(source, b)
	}
	return source, nil
}
