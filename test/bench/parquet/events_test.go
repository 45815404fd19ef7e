package parquet

import (
	"fmt"
	"math/rand/v2"

	"github.com/weir-dev/weir/delta/column"
	"github.com/weir-dev/weir/delta/schema"
)

const batchRows = 10_000

func typ(k schema.Kind) *schema.Type { return &schema.Type{Kind: k} }

func field(name string, t *schema.Type) schema.Field {
	return schema.Field{Name: name, Type: t, Nullable: true}
}

// eventSchema is the varied event: identifiers, low-cardinality strings, numbers, a URL, a struct and a small list.
func eventSchema() *schema.Type {
	return &schema.Type{Kind: schema.Struct, Fields: []schema.Field{
		field("id", typ(schema.String)),
		field("ts", typ(schema.Timestamp)),
		field("user", typ(schema.String)),
		field("region", typ(schema.String)),
		field("status", typ(schema.Long)),
		field("latency", typ(schema.Double)),
		field("bytes", typ(schema.Long)),
		field("score", typ(schema.Double)),
		field("ok", typ(schema.Boolean)),
		field("url", typ(schema.String)),
		field("device", &schema.Type{Kind: schema.Struct, Fields: []schema.Field{
			field("os", typ(schema.String)), field("version", typ(schema.String)), field("model", typ(schema.String)),
		}}),
		field("tags", &schema.Type{Kind: schema.Array, Elem: typ(schema.String), ContainsNull: true}),
	}}
}

// events returns sealed batches of batchRows rows, and the bytes of their values per row.
func events(batches int) (s *schema.Type, out []*column.Batch, rowBytes float64) {
	rng := rand.New(rand.NewPCG(1, 2))
	s = eventSchema()
	total := int64(0)
	for k := range batches {
		b := column.NewBatch(s)
		for i := range batchRows {
			appendEvent(b, rng, k*batchRows+i)
		}
		b.Seal(batchRows)
		for _, c := range b.Columns {
			total += valueBytes(c)
		}
		out = append(out, b)
	}
	return s, out, float64(total) / float64(batches*batchRows)
}

func valueBytes(v *column.Vector) int64 {
	n := int64(len(v.Data) + len(v.Bools) + 8*len(v.Int64s) + 8*len(v.Float64s))
	for _, c := range v.Children {
		n += valueBytes(c)
	}
	return n
}

var (
	regions  = []string{"eu-west-1", "eu-central-1", "us-east-1", "us-west-2", "ap-south-1", "ap-northeast-1", "sa-east-1"}
	systems  = []string{"iOS", "Android", "Windows", "macOS", "Linux"}
	statuses = []int64{200, 200, 200, 200, 204, 301, 404, 500}
	tagNames = []string{"new", "trial", "beta", "vip", "mobile", "web", "batch", "retry"}
)

func appendEvent(b *column.Batch, rng *rand.Rand, i int) {
	c := b.Columns
	c[0].AppendString(fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", rng.Uint32(), rng.Uint32()>>16, rng.Uint32()>>20,
		rng.Uint32()>>20, rng.Uint64()>>16))
	c[1].AppendInt64(1_760_000_000_000_000 + int64(i)*1_371 + int64(rng.IntN(900)))
	if rng.IntN(50) == 0 {
		c[2].AppendNull()
	} else {
		c[2].AppendString(fmt.Sprintf("user-%06d", rng.IntN(20_000)))
	}
	c[3].AppendString(regions[rng.IntN(len(regions))])
	c[4].AppendInt64(statuses[rng.IntN(len(statuses))])
	c[5].AppendFloat64(rng.ExpFloat64() * 40)
	c[6].AppendInt64(int64(rng.IntN(1 << 20)))
	if rng.IntN(10) == 0 {
		c[7].AppendNull()
	} else {
		c[7].AppendFloat64(float64(rng.IntN(1000)) / 10)
	}
	c[8].AppendBool(rng.IntN(5) != 0)
	c[9].AppendString(fmt.Sprintf("https://shop.example.com/catalogue/%d/items/%08x?session=%016x&ref=newsletter&page=%d",
		rng.IntN(40), rng.Uint32(), rng.Uint64(), rng.IntN(9)))
	c[10].AppendStruct()
	c[10].Children[0].AppendString(systems[rng.IntN(len(systems))])
	c[10].Children[1].AppendString(fmt.Sprintf("%d.%d.%d", 10+rng.IntN(8), rng.IntN(10), rng.IntN(4)))
	c[10].Children[2].AppendString(fmt.Sprintf("model-%03d", rng.IntN(300)))
	for range rng.IntN(4) {
		c[11].Children[0].AppendString(tagNames[rng.IntN(len(tagNames))])
	}
	c[11].AppendList()
}
